"""`Execution`: a script that was started, to wait for or to interrupt."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from llmspell_core import CancelSignal, ScriptResult

if TYPE_CHECKING:
    from llmspell_core import Effect


class Execution:
    """One execution of a script, from `Kernel.execute`, `replay` or `resume`.

    Wait for it with `result`, or with ``await`` where an event loop runs: both give the
    `ScriptResult` or raise what the script ended with (`ScriptError`, `LLMTimeoutError`,
    `ResourceLimitError`, `ReplayError`, `ExecutionCancelled` …). A failed run that was recorded
    has its id in ``error.details["run_id"]``. When the result is there, so is the run in the
    ledger.

    Attributes:
        run_id: The id of the recorded, replayed or resumed run; None when nothing is recorded.
        engine: The name of the script engine.
        unused: After a replay, what was recorded and not asked for this time. Not empty means
            that the script did less than when it was recorded.
    """

    def __init__(self, engine: str, run_id: str | None = None) -> None:
        self.engine = engine
        self.run_id = run_id
        self.unused: Sequence[Effect] = ()
        self.cancel = CancelSignal()
        self._future: Future[ScriptResult] = Future()
        # From here on nobody but the kernel decides how it ends.
        self._future.set_running_or_notify_cancel()

    @property
    def done(self) -> bool:
        """Whether `result` would return or raise at once."""
        return self._future.done()

    def interrupt(self, reason: str = "interrupted") -> None:
        """Ask the script to end; from any thread. It then ends with `ExecutionCancelled`."""
        self.cancel.cancel(reason)

    def result(self, timeout: float | None = None) -> ScriptResult:
        """Wait for the end, for synchronous code. An interrupted wait leaves the script running.

        Raises:
            TimeoutError: when it still runs after *timeout* seconds.
        """
        return self._future.result(timeout)

    def __await__(self) -> Generator[Any, None, ScriptResult]:
        """Wait for the end. Cancelling the wait interrupts the script."""
        return self._wait().__await__()

    async def _wait(self) -> ScriptResult:
        import asyncio

        try:
            return await asyncio.wrap_future(self._future)
        except asyncio.CancelledError:
            self.interrupt("cancelled")
            raise

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call *callback* at the end, on whatever thread that comes to; at once if it is over."""
        self._future.add_done_callback(lambda _: callback())

    def settled(self, timeout: float) -> bool:
        """Wait for the end without asking how it ended; whether it came in time."""
        from concurrent.futures import wait

        return not wait([self._future], timeout).not_done

    def conclude(self, result: ScriptResult | None, error: BaseException | None) -> None:
        """Set how it ended; the kernel's business."""
        if error is not None:
            self._future.set_exception(error)
        elif result is not None:
            self._future.set_result(result)
