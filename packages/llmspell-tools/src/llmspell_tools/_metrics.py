"""What is counted about each tool, and the limits that follow from counting."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from llmspell_core import (
    InternalError,
    LLMSpellError,
    LLMTimeoutError,
    NetworkError,
    RateLimitError,
    ResourceError,
    ToolError,
)

FAILURES_TO_OPEN = 5
RECOVERY_SECONDS = 30.0

_COUNTED = (NetworkError, RateLimitError, LLMTimeoutError, ResourceError, InternalError)


@dataclass(slots=True)
class ToolStats:
    """Calls of one tool in these services. Durations are milliseconds of successful calls."""

    invocations: int = 0
    failures: int = 0
    timed: int = 0
    total_ms: float = 0.0

    def succeeded(self, duration_ms: Any, *, success: bool) -> None:
        """Count a call that returned."""
        self.invocations += 1
        if not success:
            self.failures += 1
        if isinstance(duration_ms, int | float):
            self.timed += 1
            self.total_ms += duration_ms

    def failed(self) -> None:
        """Count a call that raised."""
        self.invocations += 1
        self.failures += 1

    def to_dict(self) -> dict[str, Any]:
        """``{invocations, failures, average_duration}``."""
        average = self.total_ms / self.timed if self.timed else 0.0
        return {
            "invocations": self.invocations,
            "failures": self.failures,
            "average_duration": average,
        }


class CircuitBreaker:
    """Refuses calls of a tool that keeps failing, until it had time to recover.

    Five failures in a row that say the tool cannot work at the moment (network, time-out,
    exhausted resource, defect) open it for 30 seconds; then one call is let through to find out.
    Wrong parameters, refusals and missing files are the caller's business and do not count.
    """

    __slots__ = ("_failures", "_opened_at")

    def __init__(self) -> None:
        self._failures = 0
        self._opened_at = 0.0

    def check(self, name: str) -> None:
        """Raise while it is open.

        Raises:
            ToolError: naming the tool and the seconds left.
        """
        if self._failures < FAILURES_TO_OPEN:
            return
        left = self._opened_at + RECOVERY_SECONDS - time.monotonic()
        if left > 0:
            raise ToolError(
                f"circuit breaker of '{name}' is open after {self._failures} failures",
                tool_name=name,
                code="CIRCUIT_OPEN",
                hint=f"Try again in {left:.0f} s.",
                retry_after=left,
            )
        self._opened_at = time.monotonic()

    def succeeded(self) -> None:
        """Close it."""
        self._failures = 0

    def failed(self, error: LLMSpellError) -> None:
        """Count *error*, if it is of a kind that counts."""
        if isinstance(error, _COUNTED):
            self._failures += 1
            if self._failures >= FAILURES_TO_OPEN:
                self._opened_at = time.monotonic()


class RateLimit:
    """At most so many calls in any minute.

    Args:
        per_minute: The number.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._calls: deque[float] = deque()

    def take(self) -> None:
        """Count a call.

        Raises:
            RateLimitError: when it is one too many; `retry_after` says when it would not be.
        """
        now = time.monotonic()
        while self._calls and self._calls[0] <= now - 60:
            self._calls.popleft()
        if len(self._calls) >= self._per_minute:
            wait = self._calls[0] + 60 - now
            raise RateLimitError(
                f"more than {self._per_minute} tool calls in a minute",
                retry_after=wait,
                hint="Wait, or raise tools.rate_limit_per_minute.",
            )
        self._calls.append(now)
