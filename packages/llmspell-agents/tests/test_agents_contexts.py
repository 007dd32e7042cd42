"""Contexts and shared memory."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell_agents import AgentBuilder, AgentGlobal, AgentService, MemoryScope, SharedMemory
from llmspell_agents._contexts import inside_context
from llmspell_core import (
    ExecutionContext,
    NotFoundError,
    Parameter,
    Plugin,
    ResourceLimitError,
    Services,
    Tool,
    ToolResult,
    ToolSchema,
    ValidationError,
)
from llmspell_testing import (
    EventsDouble,
    HostDouble,
    LedgerDouble,
    ProvidersDouble,
    Reply,
    ScriptedProvider,
    ToolsDouble,
    make_context,
    make_services,
    recorded_and_replayed,
)

KINDS = [Plugin("llmspell.agents", "llm", "llmspell_agents:LLMAgent", "a", "1")]


class Look(Tool):
    """Notes the context it is called in."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema("look", "Looks", (Parameter("t", "string"),))

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        self.seen.append((context.user_id, context.session_id, context.data.get("agent_context")))
        return ToolResult(text="seen")


def world(*script: Any, tool: Tool | None = None) -> tuple[AgentGlobal, Services, ScriptedProvider]:
    provider = ScriptedProvider(*script)
    services = make_services(
        plugins=KINDS,
        providers=ProvidersDouble(provider),
        tools=ToolsDouble(*([tool] if tool else [])),
        events=EventsDouble(),
    )
    services.provide("agents", AgentService(services))
    return AgentGlobal(HostDouble(context=make_context(services))), services, provider


def test_what_is_handed_down_goes_through_several_contexts() -> None:
    face, _, _ = world()
    face.create_context("top", {"a": 1, "temporary_data": "t", "agent_private_state": "p"})
    middle = face.create_child_context("top", "middle", {"b": 2})
    low = face.create_child_context(middle, "global", "inherit")
    assert face.get_context_data(low) == {"a": 1, "b": 2}
    assert face.get_context_data("top", "temporary_data") == "t"
    assert face.get_context_data(low, "temporary_data") is None
    face.update_context(low, "a", 9)
    assert (face.get_context_data(low, "a"), face.get_context_data("top", "a")) == (9, 1)
    face.remove_context(middle)
    assert face.get_context_data(low, "b") == 2
    shared = face.create_child_context(low, "global", "share")
    assert face.get_context_data(shared) == {"a": 9, "b": 2}
    face.update_context(shared, {"c": 3})
    assert face.get_context_data(low, "c") == 3
    copy = face.create_child_context(low, "global", "copy")
    face.update_context(low, "c", 4)
    assert face.get_context_data(copy) == {"a": 9, "b": 2, "c": 3}


def test_contexts_are_nested_ten_deep_at_most() -> None:
    face, _, _ = world()
    id = face.create_context("c0", {})
    for n in range(1, 11):
        id = face.create_child_context(id, f"c{n}")
    with pytest.raises(ValidationError, match="more than 10 deep"):
        face.create_child_context(id, "c11")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (5, "config must be a table"),
        ({"data": 5}, "data of a context must be a table"),
        ({"data": {"f": object()}}, "'data' cannot be kept"),
        ({"user_id": 5}, "user_id must be text"),
        ({"scope": {"type": "odd"}}, "Unknown scope type: odd"),
        ({"scope": {"type": "user", "id": ""}}, "User scope requires an ID"),
        ({"security": {"permissions": "all"}}, "permissions must be a list"),
        ({"colour": 1}, "no field 'colour'"),
    ],
)
def test_a_context_that_cannot_be_is_refused(config: Any, words: str) -> None:
    face, _, _ = world()
    with pytest.raises(ValidationError, match=words):
        face.create_context(config)


def test_creating_a_context_again_begins_it_anew() -> None:
    face, _, _ = world()
    face.create_context("c", {"a": 1})
    face.create_context("c", {"b": 2})
    assert face.get_context_data("c") == {"b": 2}
    with pytest.raises(NotFoundError, match="Context 'cc' not found") as caught:
        face.get_context_data("cc")
    assert caught.value.hint == "Did you mean 'c'?"


async def test_the_data_are_told_to_the_model_and_the_rest_to_tools() -> None:
    look = Look()
    face, services, provider = world(Reply(tools=[("look", {})]), "done", tool=look)
    AgentBuilder("ada", model="scripted/m", tools=["look"]).build(services)
    agent = face.get("ada")
    assert agent is not None
    id = face.create_context(
        {
            "user_id": "u1",
            "session_id": "s1",
            "scope": {"type": "user", "id": "u1"},
            "data": {"city": "Ulm", "limits": {"max": 3}},
            "security": {"permissions": ["read"]},
        }
    )
    result = await agent.execute_with_context({"text": "go", "context": {"own": True}}, id)
    assert result.text == "done"
    assert provider.requests[0].messages[-1].content == (
        'city: Ulm\nlimits: {"max": 3}\nown: true\n\ngo'
    )
    about = {
        "id": id,
        "security": {"permissions": ["read"], "level": "default"},
        "scope": {"type": "user", "id": "u1"},
    }
    assert look.seen == [("u1", "s1", about)]


def test_whom_an_execution_is_for_is_not_changed_by_a_context() -> None:
    face, services, _ = world()
    id = face.create_context({"user_id": "other", "conversation_id": "c"})
    found = services.agents.contexts.get(id)
    inner = inside_context(found, make_context(services, user_id="me"))
    assert (inner.user_id, inner.conversation_id) == ("me", "c")


async def test_what_is_read_of_contexts_and_memory_replays() -> None:
    async def work(context: ExecutionContext) -> list[Any]:
        face = AgentGlobal(HostDouble(context=context))
        id = face.create_context({"data": {"a": 1}})
        return [
            id,
            face.get_context_data(id),
            face.get_shared_memory("left"),
            face.get_shared_memory("global", "over"),
        ]

    first_face, recording, _ = world()
    # Left over from an earlier run of the same kernel: no part of the recorded run.
    first_face.set_shared_memory("left", {"n": [1, 2.5]})
    _, replaying, _ = world()
    first, second = await recorded_and_replayed(
        work, LedgerDouble(), record_with=recording, replay_with=replaying
    )
    assert first == second
    assert first[2] == {"n": [1, 2.5]}


def test_memory_is_by_scope_and_nobody_changes_what_another_holds() -> None:
    face, _, _ = world()
    value = {"list": [1]}
    face.set_shared_memory({"type": "session", "id": 5}, "k", value)
    value["list"].append(2)
    got = face.get_shared_memory({"type": "Session", "id": "5"}, "k")
    assert got == {"list": [1]}
    got["list"].append(3)
    assert face.get_shared_memory({"type": "session", "id": "5"}, "k") == {"list": [1]}
    assert face.get_shared_memory("k") is None


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (("k", 1), ("global", "k", 1)),
        (("global", "k", 1), ("global", "k", 1)),
        (({"type": "global"}, "k", 1), ("global", "k", 1)),
        (({"type": "agent", "id": "a"}, "k", 1), ({"type": "agent", "id": "a"}, "k", 1)),
        (("global", 5), ("global", "global", 5)),
        (("k", {"deep": True}), ("global", "k", {"deep": True})),
    ],
)
def test_memory_is_set_in_every_form(arguments: tuple[Any, ...], place: tuple[Any, ...]) -> None:
    face, _, _ = world()
    face.set_shared_memory(*arguments)
    scope, key, value = place
    assert face.get_shared_memory(scope, key) == value


@pytest.mark.parametrize("arguments", [(None, 1), (None, "k", 1), ({"type": "global"}, None, 1)])
def test_a_value_needs_a_name(arguments: tuple[Any, ...]) -> None:
    face, _, _ = world()
    with pytest.raises(ValidationError, match=r"must be (given|text, not nothing)"):
        face.set_shared_memory(*arguments)


def test_changes_of_memory_are_told() -> None:
    face, services, _ = world()
    face.set_shared_memory("k", 1)
    face.set_shared_memory("k", 2)
    face.set_shared_memory("global", "k", None)
    face.set_shared_memory("global", "k", None)
    assert [e.topic for e in services.events.published] == [
        "agent.memory_created",
        "agent.memory_updated",
        "agent.memory_deleted",
    ]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmspell_agents._shared_memory.MAX_REGION_BYTES", 100)
    monkeypatch.setattr("llmspell_agents._shared_memory.MAX_BYTES", 150)
    monkeypatch.setattr("llmspell_agents._shared_memory.MAX_REGIONS", 3)
    services = make_services(events=EventsDouble())
    memory, context = SharedMemory(services), make_context(services)

    def scope(n: int) -> MemoryScope:
        return MemoryScope("user", str(n))

    memory.set(scope(1), "k", "x" * 90, context)
    with pytest.raises(ResourceLimitError, match="shared memory of scope 'user:1' limit of 100"):
        memory.set(scope(1), "more", "x" * 20, context)
    memory.set(scope(1), "k", "x" * 80, context)
    memory.set(scope(2), "k", "x" * 50, context)
    with pytest.raises(ResourceLimitError, match="shared memory limit of 150"):
        memory.set(scope(3), "k", "x" * 30, context)
    memory.set(scope(3), "k", 1, context)
    with pytest.raises(ResourceLimitError, match="scopes limit of 3"):
        memory.set(scope(4), "k", 1, context)
    memory.set(scope(3), "k", None, context)
    memory.set(scope(4), "k", 1, context)
    assert memory.get(scope(1), "more") is None


@pytest.mark.parametrize("value", [object(), {"f": print}])
def test_what_is_no_json_value_is_not_kept(value: Any) -> None:
    face, _, _ = world()
    with pytest.raises(ValidationError, match="'k' cannot be kept"):
        face.set_shared_memory("k", value)
    assert face.get_shared_memory("k") is None
