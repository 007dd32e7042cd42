"""How well an agent is, judged by its state, its executions and the machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmspell_agents._managed import ManagedAgent
    from llmspell_agents._process import ProcessMeter

STATUSES = ("healthy", "degraded", "unhealthy")
"""From best to worst."""

LEAST_SUCCESS = 0.95
SLOW_MS = 5_000.0
BUSY_PERCENT = 80.0
LEAST_FREE_BYTES = 100_000_000
_SCORES = {"healthy": 100, "degraded": 50, "unhealthy": 0}


@dataclass(frozen=True, slots=True)
class Health:
    """How an agent is: the worst of what was looked at, in `checks` one by one."""

    status: str
    message: str
    checks: dict[str, dict[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """``{status, message, score, checks}``; the score is 100, 50 or 0."""
        return {
            "status": self.status,
            "message": self.message,
            "score": _SCORES[self.status],
            "checks": self.checks,
        }


def health_of(agent: ManagedAgent, meter: ProcessMeter) -> Health:
    """Look at *agent*: its state; the last thousand executions (95 % should end well, within 5 s
    on the average); the machine (100 MB of memory free, its processors not above 80 %).
    """
    checks = {
        "state": _state(agent),
        "success": _success(agent),
        "response_time": _response_time(agent),
        "memory": _memory(meter),
        "cpu": _cpu(meter),
    }
    worst = max((found[0] for found in checks.values()), key=STATUSES.index)
    words = "; ".join(found[1] for found in checks.values() if found[0] != "healthy")
    told = {name: {"status": found[0], "message": found[1]} for name, found in checks.items()}
    return Health(worst, words or checks["state"][1], told)


def _state(agent: ManagedAgent) -> tuple[str, str]:
    state = agent.state
    if state in ("Error", "Terminating", "Terminated"):
        why = f": {agent.last_error}" if state == "Error" and agent.last_error else ""
        return "unhealthy", f"the agent is in state {state}{why}"
    if state == "Recovering":
        return "degraded", "the agent is recovering"
    return "healthy", f"the agent is in state {state}"


def _success(agent: ManagedAgent) -> tuple[str, str]:
    rate = agent.statistics.success_rate
    if rate is None:
        return "healthy", "nothing was executed yet"
    words = f"{rate:.0%} of the executions succeeded"
    if rate >= LEAST_SUCCESS:
        return "healthy", words
    return ("degraded" if rate >= 0.5 else "unhealthy"), words


def _response_time(agent: ManagedAgent) -> tuple[str, str]:
    average = agent.statistics.average_ms
    if average is None:
        return "healthy", "nothing was executed yet"
    words = f"executions take {average:.0f} ms on the average"
    return ("healthy" if average <= SLOW_MS else "degraded"), words


def _memory(meter: ProcessMeter) -> tuple[str, str]:
    free = meter.free_bytes()
    if free is None:
        return "healthy", "the system does not tell how much memory is free"
    words = f"{free // 1_000_000} MB of memory are free"
    return ("healthy" if free >= LEAST_FREE_BYTES else "degraded"), words


def _cpu(meter: ProcessMeter) -> tuple[str, str]:
    percent = meter.judged_cpu_percent()
    if percent is None:
        return "healthy", "the processor was not watched for long enough"
    share = percent / (os.cpu_count() or 1)
    words = f"this process keeps the processors {share:.0f} % busy"
    return ("healthy" if share <= BUSY_PERCENT else "degraded"), words
