"""`MonitorAgent`: an agent that looks after the others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from llmspell_agents._alerts import Alert, Alerts, Rule
from llmspell_agents._managed import Emit, ManagedAgent
from llmspell_core import AgentChunk, AgentInput, AgentOutput, ExecutionContext

if TYPE_CHECKING:
    from llmspell_agents._config import AgentConfig
    from llmspell_agents._monitor import Monitor
    from llmspell_agents._registry import AgentService
    from llmspell_core import Services


class MonitorAgent(ManagedAgent):
    """Reports how the other agents are, and raises alerts.

    Each execution looks at the agents that ``custom_config.agents`` names (none: all others):
    health, figures, and whether a threshold is passed. The answer is a report in words, its
    `data` ``{agents = {NAME = {health, metrics, performance}}, alerts, status}``. An alert is
    raised as those of `Agent.configure_alerts` are: log, event bus, hooks; again after
    ``cooldown_seconds``.
    """

    def __init__(self, config: AgentConfig, services: Services) -> None:
        super().__init__(config, services)
        self._rules = _rules_of(config.custom)
        self._watched: dict[str, tuple[ManagedAgent, Alerts]] = {}

    async def answer(
        self, input: AgentInput, context: ExecutionContext, emit: Emit | None
    ) -> AgentOutput:
        agents = cast("AgentService", self._services.agents)
        # What agents did is of this moment: a replay reads the recorded report.
        data = context.observe(
            "agent.report", self.config.name, lambda: self._report(agents.monitor, agents)
        )
        text = _in_words(data)
        if emit is not None:
            await emit(AgentChunk("text", 0, text))
        return AgentOutput(text, data=data, metadata={"status": data["status"]})

    def _report(self, monitor: Monitor, agents: AgentService) -> dict[str, Any]:
        wanted = cast("list[str]", self.config.custom.get("agents") or [])
        found: dict[str, Any] = {}
        alerts: list[dict[str, Any]] = []
        worst = "healthy"
        for agent in agents.list():
            name = agent.metadata.name
            if not isinstance(agent, ManagedAgent) or agent is self:
                continue
            if wanted and name not in wanted:
                continue
            health = monitor.health(agent)
            found[name] = {
                "health": health.to_dict(),
                "metrics": monitor.figures(agent).metrics(),
                "performance": agent.statistics.performance(),
                "state": agent.state,
            }
            alerts += [{"agent": name, **alert.to_dict()} for alert in self._raised(monitor, agent)]
            worst = max(worst, health.status, key=("healthy", "degraded", "unhealthy").index)
        missing = [name for name in wanted if name not in found]
        return {"status": worst, "agents": found, "alerts": alerts, "missing": missing}

    def _raised(self, monitor: Monitor, agent: ManagedAgent) -> list[Alert]:
        """The alerts that looking at *agent* raises now."""
        name = agent.metadata.name
        known = self._watched.get(name)
        # An agent that was destroyed and built anew is another one under the same name.
        if known is None or known[0] is not agent:
            known = agent, Alerts(monitor.figures(agent), monitor.deliverer(agent))
            for rule in self._rules:
                known[1].configure(rule)
            self._watched[name] = known
        before = len(known[1].list())
        known[1].evaluate()
        return known[1].list()[before:]


def _rules_of(limits: Mapping[str, Any]) -> tuple[Rule, ...]:
    cooldown = float(limits.get("cooldown_seconds", 300))

    def above(name: str, metric: str, limit: float) -> Rule:
        return Rule(
            name,
            "metric_threshold",
            metric=metric,
            threshold=limit,
            duration_seconds=0,
            cooldown_seconds=cooldown,
        )

    busy = float(limits.get("cpu_percent", 80)) * (os.cpu_count() or 1)
    slow = float(limits.get("response_time_ms", 5_000))
    sick = Rule(
        "health",
        "health_status",
        "error",
        status="unhealthy",
        duration_seconds=0,
        cooldown_seconds=cooldown,
    )
    return (
        above("cpu", "cpu_percent", busy),
        above("memory", "memory_bytes", float(limits.get("memory_mb", 1_000)) * 1e6),
        above("response_time", "avg_execution_time_ms", slow),
        above("errors", "error_rate", float(limits.get("error_rate_percent", 5)) / 100),
        sick,
    )


def _in_words(data: Mapping[str, Any]) -> str:
    agents: Mapping[str, Any] = data["agents"]
    lines = [f"{len(agents)} agents: {data['status']}"]
    for name, found in agents.items():
        health, metrics = found["health"], found["metrics"]
        lines.append(
            f"- {name}: {health['status']} ({health['message']}); "
            f"{metrics['requests_total']} executions, {metrics['requests_failed']} failed"
        )
    lines += [f"- {name}: there is no such agent" for name in data["missing"]]
    lines += [
        f"! {alert['severity']}: {alert['name']} of {alert['agent']}: {alert['message']}"
        for alert in data["alerts"]
    ]
    return "\n".join(lines)
