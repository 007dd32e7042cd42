"""Running files of tests: each in a state and with data of its own."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from llmspell_cli._failures import describe
from llmspell_core import (
    SCRIPT_TESTS,
    ExecutionCancelled,
    LLMSpellError,
    LLMTimeoutError,
    ScriptArguments,
    ScriptError,
    ScriptTest,
    ScriptTests,
    Services,
    Source,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmspell_core import Config, PluginIndex, ScriptResult
    from llmspell_kernel import Execution, Kernel

Status = Literal["passed", "failed", "skipped"]

# Where the file itself ran no tests, they are run now; the answer says whether there is a library.
_RUN_THE_REST = """
local test = package and package.loaded["llmspell.test"]
if test then test.run_all() end
return test ~= nil
"""
_NOT_RUN = "not run"


@dataclass(slots=True)
class TestCase:
    """A test and what became of it; `output` is what was printed while it ran."""

    __test__ = False  # or pytest takes it for a class of tests

    name: str
    status: Status
    duration_ms: float = 0.0
    error: str | None = None
    traceback: str | None = None
    place: str | None = None
    output: str = ""


@dataclass(slots=True)
class TestFile:
    """A file and its tests; `output` is what was printed outside of them.

    A file that declares no tests is itself the one test, and so is one that fails outside of its
    tests.
    """

    __test__ = False

    path: str
    cases: list[TestCase] = field(default_factory=list[TestCase])
    duration_ms: float = 0.0
    output: str = ""

    def count(self, status: Status) -> int:
        """How many tests ended that way."""
        return sum(case.status == status for case in self.cases)

    @property
    def failed(self) -> bool:
        """Whether a test failed."""
        return self.count("failed") > 0


class _Collector:
    """What the library reports and the script prints, on the script's thread."""

    def __init__(self) -> None:
        self.cases: dict[int, TestCase] = {}
        self.running: int | None = None
        self.printed: list[str] = []
        self._of_test: list[str] = []
        self._since = 0.0

    def write(self, _stream: str, text: str) -> None:
        """Output of the script."""
        (self.printed if self.running is None else self._of_test).append(text)

    def report(self, test: ScriptTest) -> None:
        """What the library says of a test."""
        if test.status == "planned":
            planned = TestCase(test.name, "skipped", error=_NOT_RUN, place=test.place)
            self.cases.setdefault(test.number, planned)
        elif test.status == "started":
            self.running, self._since = test.number, time.perf_counter()
        else:
            self.running = None
            output, known = self._take(), self.cases.get(test.number)
            if known is None or known.status != "failed":  # run_all() may be called twice
                self.cases[test.number] = TestCase(
                    test.name,
                    test.status,
                    test.duration_ms,
                    test.error,
                    test.traceback,
                    test.place,
                    output,
                )

    def _take(self) -> str:
        output = "".join(self._of_test)
        self._of_test.clear()
        return output

    def end(self, error: str) -> bool:
        """The script ended for that reason; whether it ended in the middle of a test."""
        if self.running is None:
            return False
        case = self.cases[self.running]
        case.status, case.error, case.output = "failed", error, self._take()
        case.duration_ms = (time.perf_counter() - self._since) * 1000
        self.running = None
        return True


class TestRunner:
    """Runs files of tests.

    Args:
        config: The settings; each file gets data of its own in a directory that is removed.
        plugins: What is installed.
        engine: The script engine; None goes by the file.
        filter: Only tests whose name contains this text.
        bail: Stop at the first failure.
        timeout_seconds: How long a file may take; None: as long as any script.
    """

    __test__ = False

    def __init__(
        self,
        config: Config,
        plugins: PluginIndex | None,
        *,
        engine: str | None = None,
        filter: str | None = None,
        bail: bool = False,
        timeout_seconds: float | None = None,
    ) -> None:
        self._config = config
        self._plugins = plugins
        self._engine = engine
        self._filter = filter
        self._bail = bail
        self._timeout = timeout_seconds
        self._lock = threading.Lock()
        self._executions: set[Execution] = set()
        self._stopped: str | None = None

    def run(self, paths: Sequence[str], *, jobs: int = 1) -> Iterator[TestFile]:
        """Run the files, *jobs* at a time; they come in the order of *paths*. After a failure with
        `bail`, or an `interrupt`, those not yet begun are left out.
        """
        with ThreadPoolExecutor(jobs, thread_name_prefix="llmspell-test") as pool:
            for future in [pool.submit(self._file, path) for path in paths]:
                done = future.result()
                if done is not None:
                    yield done

    def interrupt(self, reason: str) -> None:
        """End what runs and begin no other file; from any thread."""
        with self._lock:
            self._stopped = reason
            running = list(self._executions)
        for execution in running:
            execution.interrupt(reason)

    def _file(self, path: str) -> TestFile | None:
        if self._stopped is not None:
            return None
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(
            prefix="llmspell-test-", ignore_cleanup_errors=True
        ) as home:
            made = self._in_world_of_its_own(path, home)
        made.duration_ms = (time.perf_counter() - started) * 1000
        if self._bail and made.failed:
            with self._lock:
                self._stopped = self._stopped or "a test failed"
        return made

    def _in_world_of_its_own(self, path: str, home: str) -> TestFile:
        from llmspell_kernel import Kernel

        collector = _Collector()
        config = self._config.replaced(self._config.values, home=home)
        services = Services(config, plugins=self._plugins)
        try:
            with Kernel(services, output=collector.write) as kernel:
                file_case = self._perform(kernel, path, collector)
        finally:
            services.close()
        cases = list(collector.cases.values())
        if file_case is not None:
            cases.append(file_case)
        return TestFile(path, cases, output="".join(collector.printed))

    def _perform(self, kernel: Kernel, path: str, collector: _Collector) -> TestCase | None:
        """Run the file, then what it declared and did not run; the case of the file itself."""
        ends = None if self._timeout is None else time.monotonic() + self._timeout
        try:
            with open(path, "rb") as file:
                text = file.read().decode("utf-8", "surrogateescape")
            result = self._execute(kernel, Source(text, path, path=path), collector, ends)
            if not result.exit_code:
                rest = Source(_RUN_THE_REST, "<tests>", path=path)
                again = self._execute(kernel, rest, collector, ends, rest=True)
                result = again if again.exit_code is not None else result
                if again.value is False and self._names(path):
                    return TestCase(path, "passed", result.duration_ms)
            return self._exited(path, result, collector)
        except (LLMSpellError, ExecutionCancelled, OSError) as error:
            message = self._told(error)
            if collector.end(message):
                return None
            traceback = error.traceback if isinstance(error, ScriptError) else None
            return TestCase(path, "failed", 0.0, message, _way_there(traceback))

    def _names(self, path: str) -> bool:
        return self._filter is None or self._filter.lower() in path.lower()

    def _exited(self, path: str, result: ScriptResult, collector: _Collector) -> TestCase | None:
        if result.exit_code is None:
            return None
        message = f"the script called os.exit({result.exit_code})"
        if collector.end(message) or not result.exit_code:
            return None
        if any(case.status == "failed" for case in collector.cases.values()):
            return None  # It says the same.
        return TestCase(path, "failed", result.duration_ms, message)

    def _told(self, error: BaseException) -> str:
        if isinstance(error, ScriptError):
            return f"{error.message}\nHint: {error.hint}" if error.hint else error.message
        if isinstance(error, ExecutionCancelled):
            return str(error.reason)
        if isinstance(error, LLMTimeoutError) and error.operation == "execution":
            if self._timeout is not None:
                return f"the file took longer than {self._timeout:g} s"
            return f"{describe(error)}: see --timeout"
        return describe(error)

    def _execute(
        self,
        kernel: Kernel,
        source: Source,
        collector: _Collector,
        ends: float | None,
        *,
        rest: bool = False,
    ) -> ScriptResult:
        wishes = ScriptTests(collector.report, self._filter, self._bail, rest)
        left = None if ends is None else max(0.001, ends - time.monotonic())
        execution = kernel.execute(
            source,
            arguments=ScriptArguments(os.path.basename(source.path or source.name)),
            engine=self._engine,
            timeout_seconds=left,
            data={SCRIPT_TESTS: wishes},
        )
        with self._lock:
            self._executions.add(execution)
            stopped = self._stopped
        if stopped is not None and not self._bail:
            execution.interrupt(stopped)
        try:
            return execution.result()
        finally:
            with self._lock:
                self._executions.discard(execution)


def _way_there(traceback: str | None) -> str | None:
    """The lines of a Lua traceback that are the script's own; None where there is but one."""
    lines = [line.strip() for line in (traceback or "").splitlines()[1:]]
    own = [line for line in lines if not line.startswith(("[C]", "(...tail"))]
    return "\n".join(own) if len(own) > 1 else None
