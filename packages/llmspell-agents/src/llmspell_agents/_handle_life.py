"""The part of an agent's handle that is about its life: states, figures, alerts, what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

from llmspell_agents._managed import ManagedAgent
from llmspell_agents._script_options import AlertOptions
from llmspell_core import ValidationError, exposed

if TYPE_CHECKING:
    from llmspell_agents._registry import AgentService
    from llmspell_core import ScriptHost


class LifeHandle:
    """States, figures, alerts, persistence."""

    _host: ScriptHost

    def _managed(self) -> ManagedAgent:
        """The agent, where a call needs more than every agent has."""
        raise NotImplementedError

    def _service(self) -> AgentService:
        return cast("AgentService", self._host.services.agents)

    def _observed(self, what: str, look: Any) -> Any:
        """What *look* finds, as the run that reads it recorded it: figures are of this moment."""
        return self._host.context.observe(f"agent.{what}", self._managed().metadata.name, look)

    # Life -----------------------------------------------------------------------------------------

    @exposed()
    def get_state(self) -> str:
        """Its state: ``Uninitialized``, ``Initializing``, ``Ready``, ``Running``, ``Paused``,
        ``Terminating``, ``Terminated``, ``Error`` or ``Recovering``.
        """
        return self._managed().state

    @exposed()
    def get_agent_state(self) -> str:
        """Its state, as `get_state` tells it."""
        return self._managed().state

    @exposed()
    async def initialize(self) -> bool:
        """Uninitialized → Ready; an execution does that by itself."""
        await self._managed().lifecycle.initialize(self._host.context)
        return True

    @exposed()
    async def start(self) -> bool:
        """Ready or Paused → Running; an execution starts a ready agent by itself."""
        await self._managed().lifecycle.start(self._host.context)
        return True

    @exposed()
    async def pause(self) -> bool:
        """Running → Paused: executions are refused until `resume`; those in progress go on."""
        await self._managed().lifecycle.pause(self._host.context)
        return True

    @exposed()
    async def resume(self) -> bool:
        """Paused → Running."""
        await self._managed().lifecycle.resume(self._host.context)
        return True

    @exposed()
    async def stop(self) -> bool:
        """Running → Ready."""
        await self._managed().lifecycle.stop(self._host.context)
        return True

    @exposed()
    async def terminate(self) -> bool:
        """End it for good; its name stays taken until `destroy`."""
        await self._managed().lifecycle.terminate(self._host.context)
        return True

    @exposed()
    async def recover(self) -> bool:
        """Error → Ready; three times, unless it runs in between."""
        await self._managed().lifecycle.recover(self._host.context)
        return True

    @exposed()
    async def set_error(self, message: str) -> bool:
        """Put it into the state Error. The next execution, or `recover`, brings it back.

        Args:
            message: What went wrong; `get_last_error` tells it.
        """
        await self._managed().lifecycle.fail(message, self._host.context)
        return True

    @exposed()
    def get_last_error(self) -> str | None:
        """The message of its last failure, or nil."""
        return self._managed().last_error

    @exposed()
    def get_recovery_attempts(self) -> int:
        """How often it was recovered since it last ran."""
        return self._managed().lifecycle.recovery_attempts

    @exposed()
    def is_healthy(self) -> bool:
        """Whether it is Ready, Running or Paused."""
        return self._managed().lifecycle.healthy

    @exposed()
    def get_state_history(self) -> list[dict[str, Any]]:
        """Its changes of state, oldest first: ``{from, to, timestamp, elapsed, reason}``, in Unix
        seconds and seconds.
        """
        life = self._managed().lifecycle
        return self._observed("state_history", lambda: [t.to_dict() for t in life.history()])

    @exposed()
    def get_state_metrics(self) -> dict[str, Any]:
        """``{current_state, total_transitions, error_count, recovery_attempts, uptime,
        last_transition, state_time_distribution}``, times in seconds.
        """
        return self._observed("state_metrics", self._managed().lifecycle.metrics)

    # Figures --------------------------------------------------------------------------------------

    @exposed()
    def get_metrics(self) -> dict[str, Any]:
        """``{agent_id, requests_total, requests_failed, requests_active, tool_invocations,
        memory_bytes, cpu_percent, tokens, cost}``; memory and processor are those of the process.
        """
        agent = self._managed()
        return self._observed("metrics", self._service().monitor.figures(agent).metrics)

    @exposed()
    def get_health(self) -> dict[str, Any]:
        """``{status, message, timestamp, score, checks}``: ``healthy``, ``degraded`` or
        ``unhealthy``, by its state, its executions and the machine.
        """
        agent, context = self._managed(), self._host.context
        monitor = self._service().monitor
        found = self._observed("health", lambda: monitor.health(agent, context).to_dict())
        return {**found, "timestamp": context.now()}

    @exposed()
    def get_performance(self) -> dict[str, Any]:
        """``{total_executions, avg_execution_time_ms, success_rate, error_rate, min_ms, max_ms,
        p50_ms, p95_ms, p99_ms, executions_per_second, buckets}`` of the last thousand executions.
        """
        return self._observed("performance", self._managed().statistics.performance)

    @exposed()
    def get_bridge_metrics(self) -> dict[str, Any]:
        """``{active_agents, total_agents, total_tools, performance = {memory_usage_mb,
        cpu_usage_percent, uptime_seconds}}`` of this process.
        """
        service, tools = self._service(), self._host.services.tools
        return self._observed(
            "bridge_metrics", lambda: service.monitor.summary(service.list(), len(tools.list()))
        )

    @exposed()
    def log_event(self, type: str, message: str) -> bool:
        """Tell of something: to the log, and on the event bus as ``agent.<type>``.

        Args:
            type: A word, or several with dots.
            message: What happened.
        """
        agent = self._managed()
        if not type or not all(part.isidentifier() for part in type.split(".")):
            raise ValidationError(
                f"the type of an event must be words with dots between them, not '{type}'",
                field="type",
            )
        import logging

        me = agent.metadata
        logging.getLogger("llmspell.agents").info("%s of agent '%s': %s", type, me.name, message)
        bus = self._host.services.peek("events")
        if bus is not None and bus.listening:
            payload = {"agent_id": me.id, "agent_name": me.name, "message": message}
            bus.publish(f"agent.{type}", payload, self._host.context)
        return True

    @exposed()
    async def configure_alerts(self, rules: Annotated[Any, AlertOptions]) -> bool:
        """Raise an alert when a condition holds for some time: in the log, on the event bus
        (``agent.alert_raised``), by hooks and in `get_alerts`.

        Args:
            rules: A rule, or a list of them. It is looked at every second and after each
                execution.
        """
        from llmspell_agents._alerts import Rule

        several = cast("list[Any]", rules) if isinstance(rules, list | tuple) else [rules]
        made = [Rule.of(each) for each in several]
        self._service().monitor.watch(self._managed(), made)
        return True

    @exposed()
    async def get_alerts(self) -> list[dict[str, Any]]:
        """The alerts of the last day, oldest first: ``{name, severity, message, timestamp, value,
        condition, state, resolved_at}``.
        """
        alerts = self._managed().alerts

        def look() -> list[dict[str, Any]]:
            if alerts is None:
                return []
            alerts.evaluate()
            return [alert.to_dict() for alert in alerts.list()]

        return self._observed("alerts", look)

    # What is kept ---------------------------------------------------------------------------------

    @exposed()
    async def set_state(self, values: dict[str, Any]) -> bool:
        """Keep values of your own beside the agent's, where ``State.agent_get(NAME, KEY)`` finds
        them.

        Args:
            values: By key; others that are there stay.
        """
        from llmspell_agents._persistence import merge

        await merge(self._managed(), values, self._host.services, self._host.context)
        return True

    @exposed()
    async def save_state(self) -> bool:
        """Keep its conversation, its configuration, its state and its figures under its name, for
        `load_state` in whatever process.
        """
        from llmspell_agents._persistence import save

        agent = self._managed()
        agent.check_alive()
        await save(agent, self._host.services, self._host.context)
        return True

    @exposed()
    async def load_state(self) -> bool:
        """Take up what `save_state` kept of an agent of this name. Model, tools, members and
        approval stay as it was built.

        Returns:
            Whether there was something.
        """
        from llmspell_agents._persistence import load

        agent = self._managed()
        agent.check_alive()
        return await load(agent, self._host.services, self._host.context)

    @exposed()
    async def delete_state(self) -> bool:
        """Remove what is kept of it, that of `set_state` included."""
        from llmspell_agents._persistence import delete

        await delete(self._managed(), self._host.services, self._host.context)
        return True
