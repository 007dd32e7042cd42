"""A script engine whose language is Python, and services to try the kernel with."""

import threading
import time
from concurrent.futures import CancelledError, Future
from queue import SimpleQueue

from llmspell_core import (
    IO_LOOP,
    Config,
    ExecutionCancelled,
    LLMSpellError,
    LLMTimeoutError,
    Plugin,
    PluginIndex,
    ScriptArguments,
    ScriptEngine,
    ScriptError,
    ScriptResult,
    ScriptState,
    Services,
    StorageBackend,
)


class MemoryBackend(StorageBackend):
    """The smallest back end there is; `calls` counts what reached it."""

    def __init__(self, values=None):
        self.values = {} if values is None else values
        self.calls = 0
        self.closed = False

    async def get(self, key):
        self.calls += 1
        return self.values.get(key)

    async def write(self, puts, deletes=(), *, expect=None, expires_at=None):
        self.calls += 1
        for key, value in (expect or {}).items():
            if self.values.get(key) != value:
                return False
        for key in deletes:
            self.values.pop(key, None)
        self.values.update(puts)
        return True

    async def scan(self, prefix=""):
        self.calls += 1
        for key in sorted(self.values):
            if key.startswith(prefix):
                yield key, self.values[key]

    async def aclose(self):
        self.closed = True


class PythonState(ScriptState):
    """An actor: one thread runs the executions, one after the other."""

    def __init__(self, output):
        self._output = output
        self._shared = {}
        self._queue = SimpleQueue()
        self._current = None
        self.closed = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def submit(self, source, context, arguments=None):
        future = Future()
        self._queue.put((future, source, context, arguments or ScriptArguments()))
        return future

    def close(self):
        self.closed = True
        if self._current is not None:
            self._current.cancel.cancel("state closed")
        self._queue.put(None)
        self._thread.join(10)

    def _serve(self):
        while (job := self._queue.get()) is not None:
            future, source, context, arguments = job
            self._current = context
            started = time.perf_counter()
            try:
                value = self._run(source, context, arguments)
            except (LLMSpellError, ExecutionCancelled) as error:
                future.set_exception(error)
            except Exception as error:
                future.set_exception(ScriptError(f"{source.name}: {error}", source=error))
            else:
                future.set_result(ScriptResult(value, (time.perf_counter() - started) * 1000))
            self._current = None

    def _run(self, source, context, arguments):
        def wait(coroutine):
            future = IO_LOOP.submit(coroutine)
            drop = context.cancel.subscribe(lambda _: future.cancel())
            try:
                return future.result(context.deadline.remaining())
            except CancelledError:
                raise ExecutionCancelled(context.cancel.reason or "cancelled") from None
            except LLMSpellError:
                raise
            except TimeoutError:
                future.cancel()
                raise LLMTimeoutError("execution timed out") from None
            finally:
                drop()

        names = {
            "context": context,
            "arguments": arguments,
            "emit": lambda text: self._output("stdout", text + "\n"),
            "shared": self._shared,
            "wait": wait,
            "effect": lambda kind, request, run, effect_class: wait(
                context.effect(kind, request, run, effect_class=effect_class)
            ),
        }
        context.check()
        exec(compile(source.text, source.name, "exec"), names)
        return names.get("result")


class PythonEngine(ScriptEngine):
    language = "pytest"
    suffixes = (".pyt", ".pyscript")

    def __init__(self, services):
        self.services = services

    def open_state(self, *, output, input=None):
        return PythonState(output)


BACKENDS = {}


def open_backend(services, *, name, path=None):
    """Memory that stays for as long as somebody knows its path, as a file would."""
    return MemoryBackend(BACKENDS.setdefault(path, {}))


class Given(Plugin):
    """A plugin that is at hand, without an import."""

    __slots__ = ()

    def load(self):
        return GIVEN[self.group, self.name]


GIVEN = {
    ("llmspell.engines", "pytest"): PythonEngine,
    ("llmspell.storage", "sqlite"): open_backend,
    ("llmspell.storage", "memory"): lambda services, *, name, path=None: MemoryBackend(),
}

OWN = {
    ("llmspell.services", "ledger"): "llmspell_kernel._ledgers:open_ledger",
    ("llmspell.services", "state"): "llmspell_kernel._state:StateService",
}


def make_kernel_services(home, config=None, *, given=()):
    plugins = [Given(group, name, "-", "kit", "1") for group, name in [*GIVEN, *given]]
    plugins += [Plugin(*key, value, "llmspell-kernel", "1") for key, value in OWN.items()]
    settings = {"default_engine": "pytest", **(config or {})}
    return Services(Config(settings, home=str(home)), plugins=PluginIndex(plugins))


class Output:
    """Collects what scripts print."""

    def __init__(self):
        self.pieces = []

    def __call__(self, stream, text):
        self.pieces.append((stream, text))

    @property
    def text(self):
        return "".join(text for _, text in self.pieces)
