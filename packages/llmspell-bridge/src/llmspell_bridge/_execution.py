"""What runs on a state's thread, and how long it may."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from llmspell_bridge._portal import Run
from llmspell_core import (
    ExecutionContext,
    LLMTimeoutError,
    ScriptArguments,
    ScriptResult,
    Source,
)

if TYPE_CHECKING:
    from llmspell_core import Config


def timed_out(context: ExecutionContext) -> LLMTimeoutError:
    """The error of a passed deadline."""
    seconds = context.deadline.seconds or 0.0
    return LLMTimeoutError(
        f"execution timed out after {seconds:g}s",
        duration_ms=round(seconds * 1000),
        operation="execution",
        hint="Allow more with runtime.script_timeout_seconds.",
    )


class Execution(Run):
    """One submitted script."""

    def __init__(
        self, source: Source, context: ExecutionContext, arguments: ScriptArguments | None
    ) -> None:
        super().__init__(context)
        self.source = source
        self.arguments = arguments or ScriptArguments()
        self.future: Future[ScriptResult] = Future()
        self.value: Any = None
        self.error: BaseException | None = None
        self.over = False
        """Whether the main chunk ended."""
        self.ended = False
        """Whether all of it ended."""
        self.doomed_at: float | None = None
        self._settled = threading.Lock()

    def main_over(self, value: Any, error: Any) -> None:
        """The main chunk ended."""
        self.value, self.error, self.over = value, error, True

    def settle(self, result: ScriptResult | None, error: BaseException | None) -> None:
        """Answer the caller, once."""
        if not self._settled.acquire(blocking=False):
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            assert result is not None
            self.future.set_result(result)


class Between:
    """What runs while there is no execution whose time limit would count: kept callbacks.

    Each piece of one, from a wait to the next, may take as long as a script.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.reason: BaseException | None = None
        """Why it must end, where it is not the time."""
        self.doomed_at = 0.0

    def begin(self) -> float:
        """When it must be over, in monotonic seconds."""
        self.doomed_at = time.monotonic() + self.seconds
        return 0.0 if self.reason is not None else self.doomed_at

    def over(self) -> BaseException:
        """Why it ends now."""
        self.doomed_at = time.monotonic()
        if self.reason is not None:
            return self.reason
        return LLMTimeoutError(
            f"callback timed out after {self.seconds:g}s",
            duration_ms=round(self.seconds * 1000),
            operation="callback",
            hint="Allow more with runtime.script_timeout_seconds.",
        )


def script_seconds(config: Config) -> float:
    """How long a script may take by the configuration."""
    seconds = config.get("runtime.script_timeout_seconds", 300)
    return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else 300.0
