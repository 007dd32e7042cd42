"""Running a script from the terminal: its output, its interruption, its end."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

from llmspell_cli._invocation import Invocation, write
from llmspell_core import ExecutionCancelled, LLMSpellError

if TYPE_CHECKING:
    from types import FrameType

    from llmspell_cli._desk import Desk
    from llmspell_core import ScriptResult
    from llmspell_kernel import Execution, Kernel


class Terminal:
    """Where the output of a script goes: to the streams, or collected for a document."""

    def __init__(self, *, collect: bool) -> None:
        self._collect = collect
        self._parts: list[str] = []
        self.closed = False
        self.interrupt: Callable[[str], None] = lambda _: None

    @property
    def collected(self) -> str:
        """What was collected of stdout, without the last newline."""
        return "".join(self._parts).removesuffix("\n")

    def write(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        """Called by the kernel, on the script's thread."""
        if stream == "stdout" and self._collect:
            self._parts.append(text)
            return
        if self.closed:
            return
        try:
            write(sys.stdout if stream == "stdout" else sys.stderr, text)
        except BrokenPipeError:
            self.closed = True
            self.interrupt("nobody reads the output")

    def read(self, prompt: str) -> str | None:
        """A line of stdin; None at its end."""
        if prompt:
            write(sys.stderr, prompt)
        line = sys.stdin.readline()
        return line.removesuffix("\n") if line else None


class Interruptible(Protocol):
    """What runs until it is told to end."""

    def interrupt(self, reason: str) -> None:
        """End it."""
        ...


class Signals:
    """Ctrl-C and SIGTERM interrupt what runs; a second one ends the process at once."""

    def __init__(self, running: Interruptible) -> None:
        self._running = running
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        self._running.interrupt("interrupted" if number == signal.SIGINT else "terminated")

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class DeskSignals(Signals):
    """Signals of an execution that reads at a desk: Ctrl-C goes there first."""

    def __init__(self, execution: Execution, desk: Desk) -> None:
        super().__init__(execution)
        self._desk = desk

    def _handle(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self._desk.interrupted():
            return
        super()._handle(number, _)
        self._desk.give_up_reading()


def perform(
    invocation: Invocation,
    start: Callable[[Kernel], Execution],
    *,
    desk: Desk | None = None,
    collect: bool | None = None,
) -> tuple[ScriptResult | None, Terminal, Execution]:
    """Start an execution and wait for its end; the result is None when the output was closed.

    Args:
        invocation: What was asked for.
        start: Starts it.
        desk: Where it reads lines; None reads stdin.
        collect: Whether stdout is collected; by the output format.

    Raises:
        LLMSpellError: what the script ended with; a recorded run's id and how to resume it
            have been told.
        ExecutionCancelled: after a signal, with the exit code in ``exit_code``.
    """
    from llmspell_kernel import Kernel

    terminal = Terminal(collect=invocation.output != "text" if collect is None else collect)
    reads = terminal.read if desk is None else desk.read
    kernel = Kernel(invocation.services(), output=terminal.write, input=reads)
    try:
        execution = start(kernel)
        # What was imported stays; from here on there may be garbage.
        gc.freeze()
        gc.enable()
        terminal.interrupt = execution.interrupt
        with Signals(execution) if desk is None else DeskSignals(execution, desk) as signals:
            try:
                if desk is not None:
                    desk.serve(execution)
                return execution.result(), terminal, execution
            except (ExecutionCancelled, LLMSpellError) as error:
                if terminal.closed:
                    raise BrokenPipeError from None
                if signals.received is not None and isinstance(error, ExecutionCancelled):
                    error.exit_code = 128 + signals.received  # type: ignore[attr-defined]
                raise
    finally:
        kernel.close()


def tell_run(invocation: Invocation, run_id: str | None, *, failed: bool) -> None:
    """Say under which id a run was recorded, and after a failure how to go on with it."""
    if run_id is None:
        return
    invocation.note(f"Recorded run {run_id}")
    if failed:
        invocation.note(f"Go on with it by: llmspell resume {run_id}")


def result_text(value: Any) -> str:
    """A script's value for people: text as it is, all else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return _dumped(value)


def _dumped(value: Any, **form: Any) -> str:
    """JSON with sorted keys: a Lua table has no order, and output should be the same twice."""
    import json

    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=_odd, **form)


def _odd(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def shown_result(terminal: Terminal, value: Any) -> str | None:
    """The ``result`` of a JSON document: what was printed, then the value."""
    parts = [part for part in (terminal.collected,) if part]
    if value is not None:
        import json

        parts.append(
            json.dumps(
                value, ensure_ascii=False, sort_keys=True, default=_odd, separators=(",", ":")
            )
        )
    return "\n".join(parts) if parts else None


def say_pretty(
    invocation: Invocation, terminal: Terminal, result: ScriptResult, engine: str
) -> None:
    """The decorated form of a result."""
    if terminal.collected:
        invocation.say(f"Console Output:\n{terminal.collected}\n")
    if result.value is not None:
        invocation.say(f"Output:\n{_dumped(result.value, indent=2)}\n")
    invocation.say(f"Engine: {engine}\nExecution time: {round(result.duration_ms)}ms")
