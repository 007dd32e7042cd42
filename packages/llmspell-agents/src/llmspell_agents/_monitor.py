"""`Monitor`: the figures, the health and the alerts of the agents of one set of services."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmspell_agents._alerts import Alert, Alerts, Rule
from llmspell_agents._health import Health, health_of
from llmspell_agents._process import ProcessMeter
from llmspell_core import ExecutionContext

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from llmspell_agents._managed import ManagedAgent
    from llmspell_core import Agent, HookExecutor, Services

_LEVELS: Mapping[str, int] = {
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
_POINTS: Mapping[str, str] = {"memory_bytes": "MemoryUsageHigh", "cpu_percent": "CpuUsageHigh"}


class AgentFigures:
    """The figures of one agent, as alerts look at them.

    Memory and processor are those of the process, which its agents share.
    """

    def __init__(self, agent: ManagedAgent, meter: ProcessMeter) -> None:
        self._agent = agent
        self._meter = meter

    def metric(self, name: str) -> float | None:
        """The value of a metric; None while there is none."""
        done = self._agent.statistics
        if name == "request_duration":
            average = done.average_ms
            return None if average is None else average / 1000
        if name == "cpu_percent":
            return self._meter.judged_cpu_percent()
        if name == "avg_execution_time_ms":
            return done.average_ms
        if name == "success_rate":
            return done.success_rate
        if name == "error_rate":
            rate = done.success_rate
            return None if rate is None else 1.0 - rate
        return self.metrics()[name]

    def metrics(self) -> dict[str, Any]:
        """``{agent_id, requests_total, requests_failed, requests_active, tool_invocations,
        memory_bytes, cpu_percent, tokens, cost}``.
        """
        done = self._agent.statistics
        return {
            "agent_id": self._agent.metadata.id,
            "requests_total": done.total,
            "requests_failed": done.failed,
            "requests_active": done.active,
            "tool_invocations": done.tool_invocations,
            "memory_bytes": self._meter.memory_bytes(),
            "cpu_percent": self._meter.cpu_percent(),
            "tokens": done.tokens,
            "cost": done.cost,
        }

    def health(self) -> str:
        """Its status in a word."""
        return health_of(self._agent, self._meter).status

    def error_rate(self, seconds: float) -> float | None:
        """Of the executions of the last *seconds*."""
        return self._agent.statistics.error_rate(seconds)


class Monitor:
    """Looks at agents and raises their alerts.

    An alert is written to the log ``llmspell.agents``, told on the event bus as
    ``agent.alert_raised`` (and ``agent.alert_resolved``), and a threshold that is passed fires
    the hook point ``PerformanceThresholdExceeded``, ``MemoryUsageHigh`` or ``CpuUsageHigh``.

    Args:
        services: Whose bus and hooks are told.
        born: The monotonic clock and the processor time when the services began.
    """

    def __init__(self, services: Services, born: tuple[float, float] | None = None) -> None:
        self._services = services
        self.meter = ProcessMeter(born)
        self._watched: dict[str, Alerts] = {}
        self._told: dict[str, str] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def figures(self, agent: ManagedAgent) -> AgentFigures:
        """What there is to know of *agent*."""
        return AgentFigures(agent, self.meter)

    def health(self, agent: ManagedAgent, context: ExecutionContext | None = None) -> Health:
        """How it is; a status that changed since it was last asked is told on the event bus as
        ``agent.health_check``.
        """
        found = health_of(agent, self.meter)
        me = agent.metadata
        before, self._told[me.id] = self._told.get(me.id), found.status
        bus = self._services.peek("events")
        if bus is not None and bus.listening and before not in (None, found.status):
            payload = {
                "agent_id": me.id,
                "agent_name": me.name,
                "from": before,
                "to": found.status,
                "message": found.message,
            }
            bus.publish("agent.health_check", payload, context)
        return found

    def summary(self, agents: Sequence[Any], tools: int) -> dict[str, Any]:
        """``{active_agents, total_tools, performance = {memory_usage_mb, cpu_usage_percent,
        uptime_seconds}}`` of the process.
        """
        active = [a for a in agents if getattr(a, "state", None) not in ("Terminated", "Error")]
        return {
            "active_agents": len(active),
            "total_agents": len(agents),
            "total_tools": tools,
            "performance": {
                "memory_usage_mb": self.meter.memory_bytes() / 1_000_000,
                "cpu_usage_percent": self.meter.cpu_percent(),
                "uptime_seconds": self.meter.uptime,
            },
        }

    # Alerts ---------------------------------------------------------------------------------------

    def watch(self, agent: ManagedAgent, rules: Sequence[Rule]) -> None:
        """Add rules for *agent* and watch it on the running event loop, every second and after
        each of its executions.
        """
        alerts = agent.alerts
        if alerts is None:
            alerts = Alerts(self.figures(agent), self.deliverer(agent))
            agent.alerts = self._watched[agent.metadata.id] = alerts
        for rule in rules:
            alerts.configure(rule)
        alerts.evaluate()
        alerts.watch()

    def forget(self, agent: Agent) -> None:
        """Stop watching it."""
        self._told.pop(agent.metadata.id, None)
        alerts = self._watched.pop(agent.metadata.id, None)
        if alerts is not None:
            alerts.close()

    def close(self) -> None:
        """Stop watching all of them."""
        for alerts in self._watched.values():
            alerts.close()
        self._watched.clear()

    def deliverer(self, agent: ManagedAgent) -> Callable[[Alert], None]:
        """What tells of the alerts of *agent*."""
        return lambda alert: self._deliver(agent, alert)

    def _deliver(self, agent: ManagedAgent, alert: Alert) -> None:
        me = agent.metadata
        raised = alert.resolved_at is None
        logging.getLogger("llmspell.agents").log(
            _LEVELS[alert.rule.severity] if raised else logging.INFO,
            "alert '%s' of agent '%s' %s: %s",
            alert.rule.name,
            me.name,
            "raised" if raised else "resolved",
            alert.message,
        )
        payload = {"agent_id": me.id, "agent_name": me.name, **alert.to_dict()}
        bus = self._services.peek("events")
        if bus is not None and bus.listening:
            bus.publish(f"agent.alert_{'raised' if raised else 'resolved'}", payload)
        hooks: HookExecutor | None = self._services.peek("hooks")
        metric = alert.rule.metric
        if not raised or metric is None or hooks is None:
            return
        point = _POINTS.get(metric, "PerformanceThresholdExceeded")
        if hooks.wants(point):
            import asyncio

            # An alert belongs to no run: nothing of what its hooks do is recorded.
            told = {**payload, "metric": metric, "threshold": alert.rule.threshold}
            running = hooks.run(point, told, ExecutionContext(self._services))
            task = asyncio.get_running_loop().create_task(_finished(running))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _finished(running: Any) -> None:
    await running
