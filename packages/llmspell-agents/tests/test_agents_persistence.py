"""What is kept of agents, and taken up again."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell_agents import AgentBuilder, AgentHandle, AgentService
from llmspell_core import ComponentError, ExecutionContext, Plugin, Services, Usage, ValidationError
from llmspell_testing import (
    HostDouble,
    LedgerDouble,
    ProvidersDouble,
    Reply,
    ScriptedProvider,
    StateDouble,
    ToolsDouble,
    make_context,
    make_services,
    recorded_and_replayed,
)

KINDS = [
    Plugin("llmspell.agents", "llm", "llmspell_agents:LLMAgent", "a", "1"),
    Plugin("llmspell.agents", "basic", "llmspell_agents:BasicAgent", "a", "1"),
]


def world(*script: Any, state: StateDouble | None = None) -> tuple[Services, ScriptedProvider]:
    provider = ScriptedProvider(*script)
    doubles: dict[str, Any] = {} if state is None else {"state": state}
    services = make_services(
        plugins=KINDS, providers=ProvidersDouble(provider), tools=ToolsDouble(), **doubles
    )
    services.provide("agents", AgentService(services))
    return services, provider


def handle(services: Services, context: ExecutionContext | None = None, **options: Any) -> Any:
    agent = AgentBuilder("ada", model="scripted/m", **options).build(services)
    host = HostDouble(context=context or make_context(services))
    return AgentHandle(agent, host, lambda name: None)


async def test_an_agent_goes_on_in_another_process() -> None:
    state = StateDouble()
    services, _ = world(Reply("one", usage=Usage(7, 3, cost=0.5)), state=state)
    first = handle(
        services,
        system_prompt="Be ada.",
        temperature=0.2,
        max_conversation_length=50,
        stop=["X"],
        memory="summary",
        capabilities=["sums"],
        budget={"tokens": 1000},
        resource_limits={"max_tool_calls": 7},
        custom_config={"own": {"deep": 1}},
    )
    await first.execute("hello")
    first.agent.statistics.call("calculator", ok=True, milliseconds=3.0)
    await first.set_error("broken")
    assert await first.save_state() is True

    services, provider = world("two", state=state)
    second = handle(services)
    assert await second.load_state() is True
    assert second.get_state() == "Error"
    assert second.get_last_error() == "broken"
    kept, built = second.get_config(), first.get_config()
    changed = {key for key in kept if kept[key] != built[key]}
    assert changed == {"budget"}, "who may spend is for whoever builds the agent to say"
    assert second.agent.metadata.tags == ("sums",)
    metrics = second.get_metrics()
    assert (metrics["requests_total"], metrics["tokens"], metrics["tool_invocations"]) == (1, 10, 1)
    await second.execute("again")
    messages = [(m.role, m.content) for m in provider.requests[0].messages]
    assert messages == [
        ("system", "Be ada."),
        ("user", "hello"),
        ("assistant", "one"),
        ("user", "again"),
    ]
    assert second.get_state() == "Running"


async def test_what_was_saved_gives_no_rights() -> None:
    state = StateDouble()
    services, _ = world(state=state)
    await handle(services).save_state()
    context = make_context(services)
    config = await state.get("agent:ada", "config", context)
    config |= {"allowed_tools": ["*"], "model": "evil/m", "base_url": "http://evil"}
    await state.set("agent:ada", "config", config, context)
    services, _ = world(state=state)
    agent = handle(services)
    await agent.load_state()
    found = agent.get_config()
    assert (found["allowed_tools"], found["model"], found["base_url"]) == ([], "m", None)


async def test_nothing_saved_is_nothing_loaded() -> None:
    services, _ = world(state=StateDouble())
    agent = handle(services)
    await agent.set_state({"mine": 1})
    assert await agent.load_state() is False
    assert agent.get_state() == "Uninitialized"


async def test_deleting_takes_all_of_it() -> None:
    state = StateDouble()
    services, _ = world(state=state)
    agent = handle(services)
    await agent.save_state()
    await agent.set_state({"mine": 1})
    assert await agent.delete_state() is True
    assert await state.all("agent:ada", make_context(services)) == {}
    assert await agent.load_state() is False


@pytest.mark.parametrize("operation", ["save_state", "load_state", "delete_state"])
async def test_without_a_store_it_is_said(operation: str) -> None:
    services, _ = world()
    with pytest.raises(ComponentError, match="State manager not configured") as caught:
        await getattr(handle(services), operation)()
    assert caught.value.code == "STATE_MISSING"
    assert "pip install llmspell-kernel" in str(caught.value.hint)


async def test_state_that_is_no_conversation_is_refused_and_changes_nothing() -> None:
    state = StateDouble()
    services, _ = world("one", state=state)
    agent = handle(services, temperature=0.5)
    await agent.execute("x")
    await agent.save_state()
    agent.agent.config = AgentBuilder("ada", model="scripted/m", temperature=0.9).config
    broken = [{"role": "tool", "content": "?", "tool_request_id": "1"}]
    await state.set("agent:ada", "conversation", broken, make_context(services))
    with pytest.raises(ValidationError, match="Not a conversation"):
        await agent.load_state()
    assert len(agent.get_history()) == 2
    assert agent.get_config()["temperature"] == 0.9


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("config", [1]),
        ("config", {"temperature": 99}),
        ("conversation", 5),
        ("conversation", ["hi"]),
        ("lifecycle", "Ready"),
        ("lifecycle", {"state": "Ready", "error_count": "many"}),
        ("statistics", {"tools": {"t": {}}}),
        ("statistics", {"requests_total": "x"}),
    ],
)
async def test_state_that_something_else_wrote_is_refused_and_changes_nothing(
    key: str, value: Any
) -> None:
    state = StateDouble()
    services, _ = world("one", state=state)
    agent = handle(services)
    await agent.execute("x")
    await agent.save_state()
    await agent.pause()
    before = (
        agent.get_state(),
        agent.get_config(),
        agent.get_history(),
        agent.agent.statistics.total,
    )
    await state.set("agent:ada", key, value, make_context(services))
    with pytest.raises(ValidationError):
        await agent.load_state()
    after = (
        agent.get_state(),
        agent.get_config(),
        agent.get_history(),
        agent.agent.statistics.total,
    )
    assert after == before


async def test_saving_and_loading_replay() -> None:
    async def work(context: ExecutionContext) -> list[Any]:
        agent = handle(context.services, context)
        await agent.execute("x")
        await agent.save_state()
        agent.reset()
        loaded = await agent.load_state()
        return [loaded, agent.get_history(), agent.get_state_history(), agent.get_metrics()]

    recording, _ = world("one", state=StateDouble())
    replaying, provider = world("one", state=StateDouble())
    first, second = await recorded_and_replayed(
        work, LedgerDouble(), record_with=recording, replay_with=replaying
    )
    assert first == second
    assert provider.requests
