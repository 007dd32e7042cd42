"""What an agent has done: counted as it happens, never estimated."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from llmspell_core import ToolCall, Usage

_KEPT = 1_000
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds, for the distribution of durations."""


class Statistics:
    """The executions and tool calls of one agent.

    Durations and outcomes are known of the last thousand executions; the counts are of all.

    Args:
        clock: A monotonic clock, in seconds.
    """

    __slots__ = ("_clock", "_ended", "active", "cost", "failed", "last_used", "tokens",
                 "tools", "total")  # fmt: skip

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.total = 0
        self.failed = 0
        self.active = 0
        self.tokens = 0
        self.cost = 0.0
        self.last_used: float | None = None
        self.tools: dict[str, list[float]] = {}
        self._ended: deque[tuple[float, float, bool]] = deque(maxlen=_KEPT)

    def begin(self) -> float:
        """An execution begins; gives what `end` wants."""
        self.total += 1
        self.active += 1
        return self._clock()

    def end(self, began: float, ok: bool | None, usage: Usage | None = None) -> None:
        """It is over: well, not well, or (None) cancelled, which says nothing about the agent."""
        now = self._clock()
        self.active -= 1
        self.last_used = now
        if usage is not None:
            self.tokens += usage.total_tokens
            self.cost += usage.cost or 0.0
        if ok is None:
            return
        if not ok:
            self.failed += 1
        self._ended.append((now, now - began, ok))

    def called(self, calls: Iterable[ToolCall]) -> None:
        """Tools were called."""
        for call in calls:
            self.call(call.name, ok=bool(call.success), milliseconds=call.duration_ms)

    def call(self, tool: str, *, ok: bool, milliseconds: float | None) -> None:
        """A tool was called."""
        counted = self.tools.setdefault(tool, [0, 0, 0.0])
        counted[0] += 1
        counted[1] += not ok
        counted[2] += milliseconds or 0.0

    @property
    def tool_invocations(self) -> int:
        """Calls of all tools."""
        # A copy, here and below: scripts read on their own thread while executions end on the loop.
        return int(sum(counted[0] for counted in list(self.tools.values())))

    @property
    def success_rate(self) -> float | None:
        """The part of the last thousand executions that ended well; None before the first."""
        return self._rate(list(self._ended))

    @staticmethod
    def _rate(ended: Iterable[tuple[float, float, bool]]) -> float | None:
        outcomes = [ok for _, _, ok in ended]
        return sum(outcomes) / len(outcomes) if outcomes else None

    def error_rate(self, seconds: float) -> float | None:
        """The part of the executions that ended in the last *seconds* and failed; None when none
        ended.
        """
        since = self._clock() - seconds
        rate = self._rate(entry for entry in list(self._ended) if entry[0] >= since)
        return None if rate is None else 1.0 - rate

    @property
    def average_ms(self) -> float | None:
        """The mean duration of the last thousand executions; None before the first."""
        ended = list(self._ended)
        return 1000 * sum(took for _, took, _ in ended) / len(ended) if ended else None

    def score(self) -> float:
        """How well it did and how lately, from 0 to 1: what a best match goes by. 0.5 before the
        first execution, then seven tenths its success and three tenths how short ago it was.
        """
        rate = self.success_rate
        if rate is None or self.last_used is None:
            return 0.5
        hours = (self._clock() - self.last_used) / 3600
        return 0.7 * rate + 0.3 / (1 + hours / 24)

    def performance(self) -> dict[str, Any]:
        """``{total_executions, avg_execution_time_ms, success_rate, error_rate, min_ms, max_ms,
        p50_ms, p95_ms, p99_ms, executions_per_second, buckets}``. Rates are from 0 to 1; before
        the first execution ended the success rate is 1 and the times are 0. Executions per
        second are those of the last minute; `buckets` counts executions by their duration in
        seconds, each bucket with the ones below it.
        """
        known = list(self._ended)
        took = sorted(seconds for _, seconds, _ in known)
        rate = self._rate(known)
        now = self._clock()
        lately = sum(1 for ended, _, _ in known if ended >= now - 60)
        return {
            "total_executions": self.total,
            "avg_execution_time_ms": self.average_ms or 0.0,
            "success_rate": 1.0 if rate is None else rate,
            "error_rate": 0.0 if rate is None else 1.0 - rate,
            "min_ms": 1000 * took[0] if took else 0.0,
            "max_ms": 1000 * took[-1] if took else 0.0,
            "p50_ms": 1000 * _percentile(took, 0.5),
            "p95_ms": 1000 * _percentile(took, 0.95),
            "p99_ms": 1000 * _percentile(took, 0.99),
            "executions_per_second": lately / 60,
            "buckets": {str(bound): sum(1 for t in took if t <= bound) for bound in BUCKETS},
        }

    def to_dict(self) -> dict[str, Any]:
        """What is kept when the agent is saved."""
        return {
            "requests_total": self.total,
            "requests_failed": self.failed,
            "tokens": self.tokens,
            "cost": self.cost,
            "tools": {
                name: {"calls": int(calls), "failures": int(failures), "total_ms": total}
                for name, (calls, failures, total) in list(self.tools.items())
            },
        }

    def restore(self, values: Mapping[str, Any]) -> None:
        """Count on from what `to_dict` gave."""
        self.total = int(values.get("requests_total") or 0)
        self.failed = int(values.get("requests_failed") or 0)
        self.tokens = int(values.get("tokens") or 0)
        self.cost = float(values.get("cost") or 0.0)
        tools = cast("Mapping[str, Mapping[str, Any]]", values.get("tools") or {})
        self.tools = {
            name: [counted["calls"], counted["failures"], float(counted["total_ms"])]
            for name, counted in tools.items()
        }


def _percentile(ordered: list[float], part: float) -> float:
    """The nearest-rank percentile of *ordered* values; 0 of none."""
    if not ordered:
        return 0.0
    rank = max(1, -(-len(ordered) * int(part * 1000) // 1000))
    return ordered[rank - 1]
