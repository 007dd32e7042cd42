"""Alerts: conditions on the figures of an agent, and what is told when they hold."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from llmspell_agents._members import kind_of
from llmspell_core import ValidationError, nearest

if TYPE_CHECKING:
    import asyncio

SEVERITIES = ("info", "warning", "error", "critical")
CONDITIONS = ("metric_threshold", "health_status", "error_rate")
METRICS = (
    "requests_total",
    "requests_failed",
    "requests_active",
    "request_duration",
    "tool_invocations",
    "memory_bytes",
    "cpu_percent",
    "avg_execution_time_ms",
    "success_rate",
    "error_rate",
    "tokens",
    "cost",
)
"""What a threshold can be put on. ``request_duration`` is the mean in seconds."""

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">": lambda value, limit: value > limit,
    ">=": lambda value, limit: value >= limit,
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
    "==": lambda value, limit: value == limit,
    "!=": lambda value, limit: value != limit,
}
_WORSE = {
    "healthy": ("healthy",),
    "degraded": ("degraded", "unhealthy"),
    "unhealthy": ("unhealthy",),
}
_KEPT = 1_000
_RETENTION_SECONDS = 86_400.0
_PERIOD_SECONDS = 1.0


class Figures(Protocol):
    """Where conditions look."""

    def metric(self, name: str) -> float | None:
        """The value of one of `METRICS`; None while there is none."""
        ...

    def health(self) -> str:
        """``healthy``, ``degraded`` or ``unhealthy``."""
        ...

    def error_rate(self, seconds: float) -> float | None:
        """The part of the executions of the last *seconds* that failed, None of none."""
        ...


@dataclass(frozen=True, slots=True)
class Rule:
    """When an alert is raised.

    `condition` is one of `CONDITIONS`; it must hold for `duration_seconds` without a break. When
    an alert was raised, the next one of this rule comes `cooldown_seconds` later at the earliest.
    """

    name: str
    condition: str
    severity: str = "warning"
    metric: str | None = None
    operator: str = ">"
    threshold: float = 0.0
    status: str | None = None
    duration_seconds: float = 60.0
    cooldown_seconds: float = 300.0
    enabled: bool = True

    @classmethod
    def of(cls, values: Any) -> Rule:
        """From ``{name, severity, condition = {type, …}, cooldown_seconds, enabled}``.

        Raises:
            ValidationError: for what is missing, unknown or of the wrong type; ``Unknown alert
                condition type: <type>``.
        """
        table = _table(values, "an alert")
        condition = _table(_needed(table, "condition"), "the condition of an alert")
        kind = condition.get("type")
        if kind not in CONDITIONS:
            raise ValidationError(
                f"Unknown alert condition type: {kind}",
                field="condition.type",
                hint=f"Known: {', '.join(CONDITIONS)}",
            )
        name = _needed(table, "name")
        if not isinstance(name, str) or not name.strip():
            raise ValidationError("the name of an alert must be text", field="name")
        severity = _word(table.get("severity", "warning"), SEVERITIES, "severity")
        for key in table:
            if key not in ("name", "severity", "condition", "cooldown_seconds", "enabled"):
                raise ValidationError(f"an alert has no option '{key}'", field=key)
        enabled = table.get("enabled", True)
        if not isinstance(enabled, bool):
            raise ValidationError("enabled must be true or false", field="enabled")
        return cls(
            name,
            str(kind),
            severity,
            duration_seconds=_number(condition, "duration_seconds", 60.0, least=0),
            cooldown_seconds=_number(table, "cooldown_seconds", 300.0, least=0),
            enabled=enabled,
            **_READERS[str(kind)](condition),
        )

    def found(self, figures: Figures) -> tuple[bool, float | str | None, str]:
        """Whether the condition holds now, the value it looked at, and both in words."""
        if self.condition == "health_status":
            health = figures.health()
            return health in _WORSE[self.status or ""], health, f"the agent is {health}"
        if self.condition == "error_rate":
            rate = figures.error_rate(max(60.0, self.duration_seconds))
            percent = None if rate is None else 100 * rate
            holds = percent is not None and percent > self.threshold
            shown = "nothing" if percent is None else f"{percent:g} % of the executions"
            return holds, percent, f"{shown} failed; the limit is {self.threshold:g} %"
        value = figures.metric(self.metric or "")
        holds = value is not None and _OPERATORS[self.operator](value, self.threshold)
        limit = f"the limit is {self.operator} {self.threshold:g}"
        shown = "unknown" if value is None else f"{value:g}"
        return holds, value, f"{self.metric} is {shown}; {limit}"


@dataclass(slots=True)
class Alert:
    """An alert that was raised, at `timestamp` (Unix seconds). `resolved_at` is when its
    condition no longer held, None while it does.
    """

    rule: Rule
    message: str
    value: float | str | None
    timestamp: float
    resolved_at: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As scripts read it."""
        return {
            "name": self.rule.name,
            "severity": self.rule.severity,
            "message": self.message,
            "timestamp": self.timestamp,
            "value": self.value,
            "condition": self.rule.condition,
            "state": "active" if self.resolved_at is None else "resolved",
            "resolved_at": self.resolved_at,
        }


@dataclass(slots=True)
class _Watched:
    rule: Rule
    since: float | None = None
    raised: float | None = None
    alert: Alert | None = None


class Alerts:
    """The rules of one agent and what they raised, the last thousand of a day.

    Args:
        figures: Where conditions look.
        deliver: Called with each alert as it is raised, and again when it is resolved.
        clock: A monotonic clock.
        wall: Unix seconds.
    """

    def __init__(
        self,
        figures: Figures,
        deliver: Callable[[Alert], None],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._figures = figures
        self._deliver = deliver
        self._clock = clock
        self._wall = wall
        self._watched: dict[str, _Watched] = {}
        self._raised: deque[Alert] = deque(maxlen=_KEPT)
        self._timer: asyncio.TimerHandle | None = None

    def configure(self, rule: Rule) -> None:
        """Add a rule, in the place of one with the same name."""
        self._watched[rule.name] = _Watched(rule)

    def evaluate(self) -> None:
        """Look at every condition now."""
        now = self._clock()
        for watched in self._watched.values():
            if watched.rule.enabled:
                self._look(watched, now)

    def _look(self, watched: _Watched, now: float) -> None:
        rule = watched.rule
        holds, value, words = rule.found(self._figures)
        if not holds:
            watched.since = None
            if watched.alert is not None:
                watched.alert.resolved_at = self._wall()
                self._deliver(watched.alert)
                watched.alert = None
            return
        if watched.since is None:
            watched.since = now
        if now - watched.since < rule.duration_seconds:
            return
        if watched.raised is not None and now - watched.raised < rule.cooldown_seconds:
            return
        watched.raised = now
        watched.alert = Alert(rule, words, value, self._wall())
        self._raised.append(watched.alert)
        self._deliver(watched.alert)

    def list(self) -> list[Alert]:
        """What was raised within a day, oldest first."""
        oldest = self._wall() - _RETENTION_SECONDS
        return [alert for alert in self._raised if alert.timestamp >= oldest]

    def watch(self) -> None:
        """Evaluate every second on the running event loop, until `close`."""
        import asyncio

        if self._timer is None and any(w.rule.enabled for w in self._watched.values()):
            self._timer = asyncio.get_running_loop().call_later(_PERIOD_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.evaluate()
        self.watch()

    def close(self) -> None:
        """Stop watching; from any thread."""
        timer, self._timer = self._timer, None
        self._watched = {}
        if timer is not None:
            timer.cancel()


def _table(values: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise ValidationError(f"{what} must be a table, not {kind_of(values)}", field="alerts")
    return cast("Mapping[str, Any]", values)


def _needed(table: Mapping[str, Any], key: str) -> Any:
    if table.get(key) is None:
        raise ValidationError(f"an alert needs '{key}'", field=key)
    return table[key]


def _number(
    table: Mapping[str, Any], key: str, default: float | None, *, least: float | None = None
) -> float:
    value = table.get(key, default)
    if value is None:
        raise ValidationError(f"the condition needs '{key}'", field=f"condition.{key}")
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValidationError(f"{key} must be a number", field=key)
    if least is not None and value < least:
        raise ValidationError(f"{key} must be at least {least:g}, not {value:g}", field=key)
    return float(value)


def _word(value: Any, words: tuple[str, ...], field: str) -> str:
    if value not in words:
        close = nearest(str(value), words)
        raise ValidationError(
            f"{field} must be one of {', '.join(words)}, not {value!r}",
            field=field,
            hint=f"Did you mean '{close}'?" if close else None,
        )
    return str(value)


def _threshold(condition: Mapping[str, Any]) -> dict[str, Any]:
    asked = condition.get("metric_name")
    # ``agent.<id>.requests_failed``, as exporters name it, is the same figure.
    name = _word(str(asked).rpartition(".")[2], METRICS, "metric_name")
    operator = condition.get("operator", ">")
    if operator not in _OPERATORS:
        raise ValidationError(
            f"operator must be one of {', '.join(_OPERATORS)}, not {operator!r}", field="operator"
        )
    return {
        "metric": name,
        "operator": operator,
        "threshold": _number(condition, "threshold", None),
    }


def _status(condition: Mapping[str, Any]) -> dict[str, Any]:
    return {"status": _word(str(condition.get("status")).lower(), tuple(_WORSE), "status")}


def _rate(condition: Mapping[str, Any]) -> dict[str, Any]:
    return {"threshold": _number(condition, "rate_percent", None, least=0)}


_READERS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "metric_threshold": _threshold,
    "health_status": _status,
    "error_rate": _rate,
}
