"""The life of an agent: which states lead where, who is told, who may say no."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from llmspell_agents import AgentBuilder, AgentService, BasicAgent, DestroyedError, StateError
from llmspell_agents._lifecycle import LEGAL
from llmspell_core import (
    ComponentError,
    ExecutionContext,
    HookOutcome,
    Plugin,
    ProviderError,
    Services,
    ValidationError,
)
from llmspell_testing import (
    EventsDouble,
    HooksDouble,
    ProvidersDouble,
    ScriptedProvider,
    make_context,
    make_services,
)

KINDS = [
    Plugin("llmspell.agents", "llm", "llmspell_agents:LLMAgent", "a", "1"),
    Plugin("llmspell.agents", "basic", "llmspell_agents:BasicAgent", "a", "1"),
]

POINTS = [
    "SystemStartup",
    "SystemShutdown",
    "BeforeAgentInit",
    "AfterAgentInit",
    "BeforeAgentExecution",
    "AfterAgentExecution",
    "AgentError",
    "BeforeAgentShutdown",
    "AfterAgentShutdown",
    "custom:agent_paused",
    "custom:before_agent_terminate",
    "custom:agent_recovering",
    "custom:agent_state_Uninitialized_exit",
    "custom:agent_state_Initializing_exit",
    "custom:agent_state_Ready_exit",
    "custom:agent_state_Error_exit",
    "custom:agent_state_Terminating_exit",
]


class Seen:
    """Hooks at every point that note what they are told, and cancel where they should."""

    def __init__(self, hooks: HooksDouble, *points: str) -> None:
        self.told: list[tuple[str, str, str, str]] = []
        self.inputs: list[Any] = []
        self.cancel: set[tuple[str, str]] = set()
        for point in points or POINTS:
            hooks.register(point, self._hear)

    async def _hear(
        self, point: str, data: Mapping[str, Any], context: ExecutionContext
    ) -> HookOutcome | None:
        if "input" in data:
            self.inputs.append((point, data["input"]["text"]))
            return None
        change = data["metadata"]
        assert data["agent_name"] == "ada"
        assert data["agent_id"] == change["agent_id"]
        phase = change["transition_phase"]
        self.told.append((point, change["from_state"], change["to_state"], phase))
        if (point, phase) in self.cancel:
            return HookOutcome("cancel", reason="not today")
        return None

    @property
    def points(self) -> list[str]:
        return [f"{point}/{phase}" for point, _, _, phase in self.told]


def world(*script: Any, hooks: HooksDouble | None = None) -> tuple[Any, ExecutionContext]:
    services = make_services(
        plugins=KINDS,
        providers=ProvidersDouble(ScriptedProvider(*script)),
        hooks=hooks or HooksDouble(),
        events=EventsDouble(),
    )
    services.provide("agents", AgentService(services))
    builder = AgentBuilder("ada", model="scripted/m") if script else AgentBuilder.basic("ada")
    return builder.build(services), make_context(services)


async def in_state(state: str, agent: BasicAgent, context: ExecutionContext) -> None:
    """Bring *agent* to *state* by the operations there are."""
    life = agent.lifecycle
    if state == "Error":
        await life.fail("broken", context)
    elif state != "Uninitialized":
        await life.initialize(context)
        if state in ("Running", "Paused"):
            await life.start(context)
        if state == "Paused":
            await life.pause(context)
        if state == "Terminated":
            await life.terminate(context)
    assert agent.state == state


OPERATIONS = {
    "initialize": {"Uninitialized": "Ready"},
    "start": {"Ready": "Running", "Paused": "Running"},
    "pause": {"Running": "Paused"},
    "resume": {"Paused": "Running"},
    "stop": {"Running": "Ready"},
    "recover": {"Error": "Ready"},
    "terminate": dict.fromkeys(
        ("Uninitialized", "Ready", "Running", "Paused", "Error"), "Terminated"
    ),
}
REST = ("Uninitialized", "Ready", "Running", "Paused", "Error", "Terminated")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("state", REST)
async def test_an_operation_leads_where_the_table_says_and_nowhere_else(
    operation: str, state: str
) -> None:
    agent, context = world()
    await in_state(state, agent, context)
    call = getattr(agent.lifecycle, operation)
    target = OPERATIONS[operation].get(state)
    if target is None:
        with pytest.raises(StateError, match=f"(can only be|is) .*{state}"):
            await call(context)
        assert agent.state == state
        return
    before = len(agent.lifecycle.history())
    await call(context)
    assert agent.state == target
    for step in agent.lifecycle.history()[before:]:
        assert step.target in LEGAL[step.source]


async def test_an_execution_starts_a_new_agent_and_leaves_it_running() -> None:
    hooks = HooksDouble()
    seen = Seen(hooks)
    agent, context = world(hooks=hooks)
    await agent.execute("hi", context)
    assert agent.state == "Running"
    assert seen.told == [
        ("SystemStartup", "Uninitialized", "Uninitialized", "enter"),
        ("custom:agent_state_Uninitialized_exit", "Uninitialized", "Initializing", "exit"),
        ("BeforeAgentInit", "Uninitialized", "Initializing", "enter"),
        ("custom:agent_state_Initializing_exit", "Initializing", "Ready", "exit"),
        ("AfterAgentInit", "Initializing", "Ready", "enter"),
        ("custom:agent_state_Ready_exit", "Ready", "Running", "exit"),
    ]
    assert seen.inputs == [("BeforeAgentExecution", "hi"), ("AfterAgentExecution", "hi")]
    await agent.execute("again", context)
    assert len(seen.told) == 6
    assert len(seen.inputs) == 4


async def test_every_other_change_fires_the_points_of_leaving_and_entering() -> None:
    hooks = HooksDouble()
    seen = Seen(hooks)
    agent, context = world(hooks=hooks)
    life = agent.lifecycle
    await life.initialize(context)
    seen.told.clear()
    await life.start(context)
    await life.pause(context)
    await life.resume(context)
    await life.stop(context)
    await life.fail("broken", context)
    await life.recover(context)
    await life.terminate(context)
    assert seen.points == [
        "custom:agent_state_Ready_exit/exit",
        "BeforeAgentExecution/enter",
        "AfterAgentExecution/exit",
        "custom:agent_paused/enter",
        "custom:agent_paused/exit",
        "BeforeAgentExecution/enter",
        "AfterAgentExecution/exit",
        "AfterAgentInit/enter",
        "custom:agent_state_Ready_exit/exit",
        "AgentError/enter",
        "custom:agent_state_Error_exit/exit",
        "custom:agent_recovering/enter",
        "custom:agent_recovering/exit",
        "AfterAgentInit/enter",
        "custom:agent_state_Ready_exit/exit",
        "custom:before_agent_terminate/enter",
        "BeforeAgentShutdown/enter",
        "custom:agent_state_Terminating_exit/exit",
        "SystemShutdown/enter",
        "AfterAgentShutdown/enter",
    ]


async def test_changes_are_told_on_the_bus() -> None:
    agent, context = world()
    bus = context.services.events
    life = agent.lifecycle
    await life.initialize(context)
    await life.start(context)
    await life.pause(context)
    await life.resume(context)
    await life.fail("broken", context)
    await life.recover(context)
    await life.terminate(context)
    named = [topic for topic in bus.topics if topic != "agent.state_changed"]
    assert named == [
        "agent.initialization_started",
        "agent.initialization_completed",
        "agent.agent_paused",
        "agent.agent_resumed",
        "agent.error_occurred",
        "agent.recovery_started",
        "agent.recovery_completed",
        "agent.termination_started",
        "agent.termination_completed",
    ]
    changes = [e.payload for e in bus.published if e.topic == "agent.state_changed"]
    assert changes[0] == {
        "agent_id": agent.metadata.id,
        "agent_name": "ada",
        "from": "Uninitialized",
        "to": "Initializing",
    }
    assert changes[5]["reason"] == "broken"
    assert len(changes) == 10


async def test_an_execution_is_told_on_the_bus_within_its_own_events() -> None:
    agent, context = world()
    await agent.execute("hi", context)
    topics = [t for t in context.services.events.topics if "state" not in t and "init" not in t]
    assert topics == [
        "agent.started",
        "agent.execution_started",
        "agent.execution_completed",
        "agent.completed",
    ]


@pytest.mark.parametrize(
    ("point", "phase", "operation", "stays"),
    [
        ("custom:agent_state_Ready_exit", "exit", "start", "Ready"),
        ("BeforeAgentExecution", "enter", "start", "Ready"),
        ("BeforeAgentShutdown", "enter", "terminate", "Ready"),
        ("AfterAgentShutdown", "enter", "terminate", "Error"),
    ],
)
async def test_a_hook_that_cancels_puts_the_old_state_back(
    point: str, phase: str, operation: str, stays: str
) -> None:
    hooks = HooksDouble()
    agent, context = world(hooks=hooks)
    await agent.lifecycle.initialize(context)
    seen = Seen(hooks, point)
    seen.cancel.add((point, phase))
    with pytest.raises(ComponentError, match="State transition cancelled by hook: not today") as e:
        await getattr(agent.lifecycle, operation)(context)
    assert e.value.code == "HOOK_CANCELLED"
    assert agent.state == stays
    assert agent.lifecycle.history()[-1].target == stays
    seen.cancel.clear()
    await agent.lifecycle.terminate(context)
    assert agent.state == "Terminated"


async def test_an_initialisation_that_is_cancelled_half_way_ends_in_error_and_can_recover() -> None:
    hooks = HooksDouble()
    seen = Seen(hooks, "AfterAgentInit")
    seen.cancel.add(("AfterAgentInit", "enter"))
    agent, context = world(hooks=hooks)
    with pytest.raises(ComponentError, match="cancelled by hook"):
        await agent.execute("hi", context)
    assert agent.state == "Error"
    assert agent.last_error is not None
    with pytest.raises(ComponentError, match="cancelled by hook"):
        await agent.lifecycle.recover(context)
    assert (agent.state, agent.lifecycle.recovery_attempts) == ("Error", 1)
    seen.cancel.clear()
    await agent.lifecycle.recover(context)
    assert agent.state == "Ready"


async def test_a_failed_execution_puts_the_agent_into_error_and_the_next_one_brings_it_back() -> (
    None
):
    hooks = HooksDouble()
    agent, context = world(ProviderError("down"), "fine", hooks=hooks)
    seen = Seen(hooks, "AgentError", "custom:agent_recovering", "AfterAgentExecution")
    with pytest.raises(ProviderError):
        await agent.execute("one", context)
    assert (agent.state, agent.last_error) == ("Error", "LLM provider error: down")
    # The execution fired AgentError itself, with its input; the change of state does not again.
    assert seen.told == []
    assert seen.inputs == [("AgentError", "one")]
    assert (await agent.execute("two", context)).text == "fine"
    assert agent.state == "Running"
    assert [point for point, *_ in seen.told] == ["custom:agent_recovering"] * 2
    assert agent.lifecycle.recovery_attempts == 0


async def test_what_cannot_be_an_execution_leaves_the_state_alone() -> None:
    agent, context = world("never")
    with pytest.raises(ValidationError, match="cannot be empty"):
        await agent.execute("  ", context)
    assert agent.state == "Uninitialized"
    assert agent.statistics.total == 0


async def test_executions_at_once_initialise_an_agent_once() -> None:
    hooks = HooksDouble()
    gate = asyncio.Event()
    times: list[str] = []

    async def slow(point: str, data: Any, context: ExecutionContext) -> None:
        times.append(point)
        await gate.wait()

    hooks.register("BeforeAgentInit", slow)
    agent, context = world(hooks=hooks)
    running = [asyncio.ensure_future(agent.execute(str(n), context)) for n in range(5)]
    while not times:  # noqa: ASYNC110 - until the first one is in its hook
        await asyncio.sleep(0)
    gate.set()
    outputs = await asyncio.gather(*running)
    assert [output.text[-1] for output in outputs] == ["0", "1", "2", "3", "4"]
    assert times == ["BeforeAgentInit"]
    assert [t.target for t in agent.lifecycle.history()] == ["Initializing", "Ready", "Running"]


async def test_a_change_in_progress_can_be_broken_off() -> None:
    hooks = HooksDouble()
    reached = asyncio.Event()

    async def hang(point: str, data: Any, context: ExecutionContext) -> None:
        reached.set()
        await asyncio.Event().wait()

    agent, context = world(hooks=hooks)
    await agent.execute("hi", context)
    assert agent.lifecycle.cancel_transition() is False
    hook = hooks.register("custom:agent_paused", hang)
    pausing = asyncio.ensure_future(agent.lifecycle.pause(context))
    await reached.wait()
    assert agent.state == "Paused"
    assert agent.lifecycle.cancel_transition() is True
    with pytest.raises(StateError, match="from Running to Paused was cancelled"):
        await pausing
    assert agent.state == "Running"
    hooks.unregister(hook)
    await agent.lifecycle.pause(context)
    assert agent.state == "Paused"


async def test_an_initialisation_whose_caller_is_cancelled_can_be_done_again() -> None:
    hooks = HooksDouble()
    reached = asyncio.Event()

    async def hang(point: str, data: Any, context: ExecutionContext) -> None:
        reached.set()
        await asyncio.Event().wait()

    hook = hooks.register("AfterAgentInit", hang)
    agent, context = world(hooks=hooks)
    starting = asyncio.ensure_future(agent.execute("x", context))
    await reached.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert (agent.state, agent.last_error) == (
        "Error",
        "the change from Initializing to Ready was cancelled",
    )
    hooks.unregister(hook)
    assert (await agent.execute("x", context)).text


async def test_a_paused_agent_finishes_what_it_does_and_takes_nothing_new() -> None:
    agent, context = world("one")
    gate = asyncio.Event()
    begun = asyncio.Event()

    async def hold(point: str, data: Any, context: ExecutionContext) -> None:
        begun.set()
        await gate.wait()

    context.services.hooks.register("BeforeAgentExecution", hold)
    running = asyncio.ensure_future(agent.execute("x", context))
    await begun.wait()
    context.services.hooks.unregister(
        next(iter(context.services.hooks._hooks["BeforeAgentExecution"]))[1]
    )
    await agent.lifecycle.pause(context)
    with pytest.raises(StateError, match="cannot execute in state Paused"):
        await agent.execute("y", context)
    gate.set()
    assert (await running).text == "one"
    assert agent.state == "Paused"


async def test_destroying_ends_the_life_and_frees_the_name() -> None:
    hooks = HooksDouble()
    agent, context = world(hooks=hooks)
    seen = Seen(hooks, "BeforeAgentShutdown", "AfterAgentShutdown")
    services: Services = context.services
    await agent.execute("x", context)
    await agent.destroy(context)
    assert [point for point, *_ in seen.told] == ["BeforeAgentShutdown", "AfterAgentShutdown"]
    assert services.agents.get("ada") is None
    with pytest.raises(DestroyedError, match="was destroyed"):
        await agent.execute("x", context)
    AgentBuilder.basic("ada").build(services)


async def test_a_hook_can_keep_an_agent_from_being_destroyed() -> None:
    hooks = HooksDouble()
    agent, context = world(hooks=hooks)
    await agent.execute("x", context)
    seen = Seen(hooks, "BeforeAgentShutdown")
    seen.cancel.add(("BeforeAgentShutdown", "enter"))
    with pytest.raises(ComponentError, match="cancelled by hook"):
        await agent.destroy(context)
    assert context.services.agents.get("ada") is agent
    assert (await agent.execute("y", context)).text


def test_an_idle_agent_has_no_life_and_no_figures_of_its_own() -> None:
    agent, _ = world()
    assert (agent.state, agent.last_error) == ("Uninitialized", None)
    assert agent._life is None
    assert agent._figures is None
