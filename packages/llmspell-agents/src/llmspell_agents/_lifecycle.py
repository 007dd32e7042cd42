"""The life of an agent: its states, what leads from one to another, and who is told."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmspell_core import ComponentError

if TYPE_CHECKING:
    import asyncio

    from llmspell_core import ComponentMetadata, ExecutionContext, HookExecutor

LEGAL: Mapping[str, tuple[str, ...]] = {
    "Uninitialized": ("Initializing", "Error"),
    "Initializing": ("Ready", "Error", "Terminating"),
    "Ready": ("Running", "Paused", "Terminating", "Error"),
    "Running": ("Ready", "Paused", "Terminating", "Error"),
    "Paused": ("Ready", "Running", "Terminating", "Error"),
    "Error": ("Recovering", "Terminating", "Terminated"),
    "Recovering": ("Ready", "Error", "Terminating"),
    "Terminating": ("Terminated", "Error"),
    "Terminated": (),
}
"""The states, and where each may lead."""

HEALTHY = ("Ready", "Running", "Paused")
MAX_RECOVERIES = 3
_HISTORY = 1_000
_LONGEST = {"Initializing": 30.0, "Terminating": 10.0, "Terminated": 10.0}
"""Seconds that the hooks of a transition may take together; 30 for all others."""

_ENTERED: Mapping[str, tuple[str, ...]] = {
    "Uninitialized": ("SystemStartup",),
    "Initializing": ("BeforeAgentInit",),
    "Ready": ("AfterAgentInit",),
    "Running": ("BeforeAgentExecution",),
    "Paused": ("custom:agent_paused",),
    "Terminating": ("custom:before_agent_terminate", "BeforeAgentShutdown"),
    "Terminated": ("SystemShutdown", "AfterAgentShutdown"),
    "Error": ("AgentError",),
    "Recovering": ("custom:agent_recovering",),
}
_LEFT: Mapping[str, tuple[str, ...]] = {
    "Uninitialized": ("custom:agent_state_Uninitialized_exit",),
    "Initializing": ("custom:agent_state_Initializing_exit",),
    "Ready": ("custom:agent_state_Ready_exit",),
    "Running": ("AfterAgentExecution",),
    "Paused": ("custom:agent_paused",),
    "Terminating": ("custom:agent_state_Terminating_exit",),
    "Error": ("custom:agent_state_Error_exit",),
    "Recovering": ("custom:agent_recovering",),
}
_EXECUTION = ("BeforeAgentExecution", "AfterAgentExecution", "AgentError")
"""What an execution fires itself, with its input and output."""

_EVENTS: Mapping[str, str] = {
    "Initializing": "initialization_started",
    "Initializing→Ready": "initialization_completed",
    "Paused→Running": "agent_resumed",
    "Paused": "agent_paused",
    "Terminating": "termination_started",
    "Terminated": "termination_completed",
    "Error": "error_occurred",
    "Recovering": "recovery_started",
    "Recovering→Ready": "recovery_completed",
}


class StateError(ComponentError):
    """What was asked of an agent does not fit the state it is in."""

    code = "AGENT_STATE"


class DestroyedError(StateError):
    """An agent was used after its end."""

    code = "AGENT_DESTROYED"


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state: when it was over (Unix seconds), the seconds it took with its hooks."""

    source: str
    target: str
    timestamp: float
    elapsed: float
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As scripts read it."""
        made: dict[str, Any] = {
            "from": self.source,
            "to": self.target,
            "timestamp": self.timestamp,
            "elapsed": self.elapsed,
        }
        if self.reason is not None:
            made["reason"] = self.reason
        return made


class Lifecycle:
    """The state of one agent.

    Changing it fires the hooks of the state that is left, changes it, then fires those of the
    state that is entered; a hook that cancels puts the old state back. Changes are told on the
    event bus as ``agent.state_changed`` and, for those that have a name of their own,
    ``agent.initialization_started``, ``agent.agent_paused`` and so on.

    Args:
        agent: Whose life it is.
        born: When the agent was made, on the monotonic clock.
    """

    __slots__ = ("_agent", "_attempts", "_born", "_cancelled", "_errors", "_history", "_limit",
                 "_moving", "_since", "_spent", "_total", "last_error", "state")  # fmt: skip

    def __init__(self, agent: ComponentMetadata, born: float) -> None:
        self._agent = agent
        self._born = born
        self._since: float = born
        self.state = "Uninitialized"
        self.last_error: str | None = None
        self._attempts = 0
        self._errors = 0
        self._total = 0
        self._history: deque[Transition] = deque(maxlen=_HISTORY)
        self._spent: dict[str, float] = {}
        self._moving: asyncio.Future[None] | None = None
        self._limit: asyncio.Timeout | None = None
        self._cancelled = False

    # What is asked of it ------------------------------------------------------------------------

    async def initialize(self, context: ExecutionContext) -> None:
        """Uninitialized → Initializing → Ready.

        Raises:
            StateError: in another state.
            ComponentError: when a hook cancelled it; half-way it ends in Error.
        """
        self._only("initialized", "Uninitialized")
        hooks = _wanted(context, _ENTERED["Uninitialized"], ())
        if hooks is not None:
            await self._fire(hooks, "Uninitialized", "Uninitialized", "enter", context, ())
        await self._move("Initializing", context)
        await self._move("Ready", context, otherwise="Error")

    async def start(self, context: ExecutionContext) -> None:
        """Ready or Paused → Running. Raises as `initialize`."""
        self._only("started", "Ready", "Paused")
        await self._move("Running", context)

    async def pause(self, context: ExecutionContext) -> None:
        """Running → Paused: what is being executed goes on, new executions are refused. Raises
        as `initialize`.
        """
        self._only("paused", "Running")
        await self._move("Paused", context)

    async def resume(self, context: ExecutionContext) -> None:
        """Paused → Running. Raises as `initialize`."""
        self._only("resumed", "Paused")
        await self._move("Running", context)

    async def stop(self, context: ExecutionContext) -> None:
        """Running → Ready. Raises as `initialize`."""
        self._only("stopped", "Running")
        await self._move("Ready", context)

    async def terminate(self, context: ExecutionContext) -> None:
        """Any state but Terminated → Terminating → Terminated, which is final. Raises as
        `initialize`.
        """
        if self.state == "Terminated":
            raise self._unfit("Agent can only be terminated once: it is Terminated")
        if self.state == "Uninitialized":
            await self._move("Initializing", context)
        if self.state != "Terminating":
            await self._move("Terminating", context)
        await self._move("Terminated", context, otherwise="Error")

    async def fail(
        self, message: str, context: ExecutionContext, *, executing: bool = False
    ) -> None:
        """Any state but Terminated → Error.

        Args:
            message: What went wrong; kept as `last_error`.
            context: The execution.
            executing: Whether an execution failed, which tells its hooks itself.

        Raises:
            StateError: in Terminating or Terminated, except for an execution.
        """
        if executing and self.state in ("Terminating", "Terminated"):
            return
        if self.state == "Error":
            self.last_error, self._errors = message, self._errors + 1
            return
        await self._move("Error", context, reason=message, quiet=_EXECUTION if executing else ())
        self.last_error, self._errors = message, self._errors + 1

    async def recover(self, context: ExecutionContext) -> None:
        """Error → Recovering → Ready. After three times without having run in between, no more.

        Raises:
            StateError: in another state, or ``Maximum recovery attempts (3) exceeded``.
            ComponentError: when a hook cancelled it; it is in Error then.
        """
        self._only("recovered", "Error")
        if self._attempts >= MAX_RECOVERIES:
            raise StateError(
                f"Maximum recovery attempts ({MAX_RECOVERIES}) exceeded: agent "
                f"'{self._agent.name}' stays in Error",
                hint="Execute it, or destroy it and build it anew.",
                code="RECOVERY_EXCEEDED",
            )
        self._attempts += 1
        await self._move("Recovering", context)
        await self._move("Ready", context, otherwise="Error")

    def cancel_transition(self) -> bool:
        """Break off the change of state in progress, from the event loop it runs on: whoever
        asked for it gets a `StateError`, the old state stays. Whether there was one.
        """
        limit = self._limit
        if self._moving is None or limit is None:
            return False
        self._cancelled = True
        limit.reschedule(0)
        return True

    async def prepare(self, context: ExecutionContext) -> None:
        """See that it runs, for an execution: a new agent is initialised and started, one in
        Error recovers.

        Raises:
            StateError: ``cannot execute in state Paused`` and so on.
            ComponentError: when a hook cancelled it.
        """
        if self.state == "Running":
            return
        tried = False
        while self.state != "Running":
            if self._moving is not None:
                await self._moved()
            elif self.state == "Uninitialized":
                await self.initialize(context)
            elif self.state == "Error" and not tried:
                tried = True
                # What failed was not the agent's life: executing is how it shows that it is well.
                self._attempts = 0
                await self.recover(context)
            elif self.state == "Ready":
                await self._move("Running", context, quiet=_EXECUTION)
            else:
                self.check()
                raise self._refused()

    def check(self) -> None:
        """Raise unless it can execute, or can be made to.

        Raises:
            DestroyedError: after its end.
            StateError: ``cannot execute in state <state>``.
        """
        if self.state == "Terminated":
            raise DestroyedError(
                f"Agent '{self._agent.name}' was destroyed: cannot execute in state Terminated",
                hint="Build it again.",
            )
        if self.state in ("Paused", "Terminating"):
            raise self._refused()

    def _refused(self) -> StateError:
        hint = "Resume it first: agent:resume()." if self.state == "Paused" else None
        return StateError(
            f"Agent '{self._agent.name}' cannot execute in state {self.state}", hint=hint
        )

    # What is read of it ---------------------------------------------------------------------------

    @property
    def healthy(self) -> bool:
        """Whether it is Ready, Running or Paused."""
        return self.state in HEALTHY

    @property
    def recovery_attempts(self) -> int:
        """How often it was recovered since it last ran."""
        return self._attempts

    def history(self) -> list[Transition]:
        """The last thousand changes, oldest first."""
        return list(self._history)

    def metrics(self) -> dict[str, Any]:
        """``{agent_id, current_state, total_transitions, error_count, recovery_attempts,
        last_error, is_healthy, uptime, last_transition, state_time_distribution}``: seconds,
        the time stamp of the last transition in Unix seconds or None.
        """
        now = time.monotonic()
        spent = dict(self._spent)
        spent[self.state] = spent.get(self.state, 0.0) + now - self._since
        last = self._history[-1].timestamp if self._history else None
        return {
            "agent_id": self._agent.id,
            "current_state": self.state,
            "total_transitions": self._total,
            "error_count": self._errors,
            "recovery_attempts": self._attempts,
            "last_error": self.last_error,
            "is_healthy": self.healthy,
            "uptime": now - self._born,
            "last_transition": last,
            "state_time_distribution": spent,
        }

    def to_dict(self) -> dict[str, Any]:
        """What is kept of it when the agent is saved."""
        return {
            "state": self.state,
            "last_error": self.last_error,
            "error_count": self._errors,
            "recovery_attempts": self._attempts,
            "total_transitions": self._total,
        }

    def restore(self, values: Mapping[str, Any]) -> None:
        """Take over what `to_dict` gave; no hooks are fired, for nothing changes hands. States
        that only last for a moment are left out.
        """
        state = values.get("state")
        if state in ("Uninitialized", "Ready", "Running", "Paused", "Error"):
            self._set(state, 0.0, "restored")
        self.last_error = values.get("last_error")
        self._errors = int(values.get("error_count") or 0)
        self._attempts = int(values.get("recovery_attempts") or 0)
        self._total = int(values.get("total_transitions") or 0)

    # How it changes -------------------------------------------------------------------------------

    def _only(self, verb: str, *states: str) -> None:
        if self.state in states:
            return
        wanted = " or ".join(states)
        raise self._unfit(
            f"Agent can only be {verb} from {wanted} state: '{self._agent.name}' is {self.state}"
        )

    def _unfit(self, words: str) -> StateError:
        return StateError(words, details={"agent": self._agent.name, "state": self.state})

    async def _moved(self) -> None:
        """Wait until the change in progress is over."""
        import asyncio

        if self._moving is not None:
            await asyncio.wait([self._moving])

    async def _move(
        self,
        target: str,
        context: ExecutionContext,
        *,
        reason: str | None = None,
        quiet: Collection[str] = (),
        otherwise: str | None = None,
    ) -> None:
        """Go to *target*; the points in *quiet* are not fired. When that fails in the middle of
        something, the state is *otherwise*.
        """
        while self._moving is not None:
            await self._moved()
        source = self.state
        if source == target:
            return
        if target not in LEGAL[source]:
            raise self._unfit(
                f"Agent '{self._agent.name}' cannot go from state {source} to {target}"
            )
        hooks = _wanted(context, (*_LEFT.get(source, ()), *_ENTERED[target]), quiet)
        if hooks is None:
            self._set(target, 0.0, reason)
            self._tell(source, target, reason, context)
            return
        try:
            await self._with_hooks(hooks, source, target, reason, quiet, context)
        except BaseException as error:
            # A cancellation too: nobody would ever finish what was begun.
            if otherwise is not None:
                words = str(error) or f"the change from {source} to {target} was cancelled"
                self._set(otherwise, 0.0, words)
                self.last_error, self._errors = words, self._errors + 1
            raise
        self._tell(source, target, reason, context)

    async def _with_hooks(
        self,
        hooks: HookExecutor,
        source: str,
        target: str,
        reason: str | None,
        quiet: Collection[str],
        context: ExecutionContext,
    ) -> None:
        import asyncio

        started = time.monotonic()
        self._moving = asyncio.get_running_loop().create_future()
        self._limit = limit = asyncio.timeout(_LONGEST.get(target, 30.0))
        before = self._since
        try:
            async with limit:
                await self._fire(hooks, source, target, "exit", context, quiet, reason)
                self.state, self._since = target, time.monotonic()
                await self._fire(hooks, source, target, "enter", context, quiet, reason)
        except BaseException as error:
            self.state, self._since = source, before
            if not isinstance(error, TimeoutError) or not limit.expired():
                raise
            raise self._broken_off(source, target) from None
        else:
            self.state, self._since = source, before
            self._set(target, time.monotonic() - started, reason)
        finally:
            self._moving.set_result(None)
            self._moving = self._limit = None

    def _broken_off(self, source: str, target: str) -> ComponentError:
        change = f"the change of agent '{self._agent.name}' from {source} to {target}"
        if self._cancelled:
            self._cancelled = False
            return StateError(f"{change} was cancelled", code="TRANSITION_CANCELLED")
        seconds = _LONGEST.get(target, 30.0)
        return StateError(
            f"{change} took longer than {seconds:g}s: its hooks did not come to an end",
            code="TRANSITION_TIMEOUT",
        )

    async def _fire(
        self,
        hooks: HookExecutor,
        source: str,
        target: str,
        phase: str,
        context: ExecutionContext,
        quiet: Collection[str],
        reason: str | None = None,
    ) -> None:
        points = _LEFT.get(source, ()) if phase == "exit" else _ENTERED[target]
        for point in points:
            if point in quiet or not hooks.wants(point):
                continue
            change = {
                "agent_id": self._agent.id,
                "from_state": source,
                "to_state": target,
                "transition_phase": phase,
            }
            data: dict[str, Any] = {"agent_name": self._agent.name, **change, "metadata": change}
            if reason is not None:
                data["reason"] = data["error"] = reason
            outcome = await hooks.run(point, data, context)
            if outcome.action == "cancel":
                raise ComponentError(
                    f"State transition cancelled by hook: {outcome.reason or 'no reason given'}",
                    code="HOOK_CANCELLED",
                    details={"phase": point, "reason": outcome.reason},
                )

    def _set(self, target: str, elapsed: float, reason: str | None) -> None:
        now = time.monotonic()
        source = self.state
        self._spent[source] = self._spent.get(source, 0.0) + now - self._since
        self._history.append(Transition(source, target, time.time(), elapsed, reason))
        self._total += 1
        self.state, self._since = target, now
        if target == "Running":
            self._attempts = 0

    def _tell(
        self, source: str, target: str, reason: str | None, context: ExecutionContext
    ) -> None:
        bus = context.services.peek("events")
        if bus is None or not bus.listening:
            return
        payload: dict[str, Any] = {
            "agent_id": self._agent.id,
            "agent_name": self._agent.name,
            "from": source,
            "to": target,
        }
        if reason is not None:
            payload["reason"] = reason
        bus.publish("agent.state_changed", payload, context)
        named = _EVENTS.get(f"{source}→{target}", _EVENTS.get(target))
        if named is not None:
            bus.publish(f"agent.{named}", payload, context)


def _wanted(
    context: ExecutionContext, points: Collection[str], quiet: Collection[str]
) -> HookExecutor | None:
    """The executor, if anything is registered for one of *points*."""
    hooks: HookExecutor | None = context.services.peek("hooks")
    if hooks is None:
        return None
    return hooks if any(p not in quiet and hooks.wants(p) for p in points) else None
