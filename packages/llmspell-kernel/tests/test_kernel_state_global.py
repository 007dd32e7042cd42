"""The global `State`, as plain Python."""

import pytest

from kernel_testkit import make_kernel_services
from llmspell_core import ExecutionContext, ScriptHost, SecurityError, ValidationError
from llmspell_kernel._state_global import StateGlobal

STANDARD = ["agent", "custom", "global", "hook", "session", "tenant", "tool", "user", "workflow"]


class Host(ScriptHost):
    def __init__(self, services, tenant=None):
        self._context = ExecutionContext(services, tenant=tenant)

    @property
    def services(self):
        return self._context.services

    @property
    def context(self):
        return self._context

    def write(self, stream, text):
        raise AssertionError("State prints nothing")


@pytest.fixture
def State(services):
    return StateGlobal(Host(services))


async def test_a_key_alone_belongs_to_the_current_scope(State):
    assert await State.set("k", 1) is True
    assert await State.get("k") == 1
    assert await State.get("global:k") == 1
    assert State.set_scope("User:7") == "global"
    assert State.get_scope() == "user:7"
    assert await State.get("k") is None
    assert await State.get("k", "else") == "else"
    assert await State.set("k", {"a": 1}) is True
    assert await State.list() == await State.keys() == await State.list_keys() == ["k"]
    assert await State.list("x") == []
    assert await State.all() == {"k": {"a": 1}}
    assert State.set_scope("global") == "user:7"
    assert await State.get("user:7:k") == {"a": 1}


async def test_a_key_may_name_its_scope(State):
    await State.set("workflow:ID:step", "x")
    assert await State.get("workflow:ID:step") == "x"
    assert await State.get("WORKFLOW:ID:step") == "x"
    assert await State.workflow_get("ID", "step") == "x"
    assert await State.exists("workflow:ID:step") is True
    assert await State.delete("workflow:ID:step") is True
    assert await State.delete("workflow:ID:step") is False
    assert await State.exists("workflow:ID:step") is False
    await State.set("note:a", 1)
    assert await State.list() == ["note:a"]
    await State.set("workflow:", 2)
    assert await State.get_scoped("global", "workflow:") == 2


async def test_scope_and_key_in_every_form(State):
    assert await State.save("custom", "k", 1) is None
    assert await State.load("custom", "k") == 1
    assert await State.get("custom", "k") == 1
    assert await State.exists("custom", "k") is True
    assert await State.list_keys("custom") == await State.list_keys("custom:") == ["k"]
    assert await State.delete("custom", "k") is True
    assert await State.set("user:1", "k", 2) is True
    assert await State.get("user:1", "k") == 2
    assert await State.set("user:1", "k", None) is True
    assert await State.get("user:1", "k") is None
    assert await State.set("name", "Ada", None) is True
    assert await State.get("name") == "Ada"
    assert await State.set("name") is True
    assert await State.get("name") is None
    assert await State.set("user:1", 5, "five") is True
    assert await State.get("user:1", "5") == "five"
    for bad in (True, None, {}):
        with pytest.raises(ValidationError, match="the key must be a string"):
            await State.set("user:1", bad, 1)
    assert await State.set_scoped("mine", "k", 3) is True
    assert await State.get_scoped("mine", "k") == 3
    assert await State.list_scoped("mine") == ["k"]
    assert await State.delete_scoped("mine", "k") is True
    await State.set_scoped("mine", "a", 3)
    await State.set_scoped("mine", "b", 3)
    assert await State.clear_scope("mine") == 2


async def test_two_strings_are_a_default_unless_the_first_is_a_scope(State):
    assert await State.get("name", "Ada") == "Ada"
    assert await State.get("user", "Ada") is None
    assert await State.get("user:", "Ada") == "Ada"
    assert await State.get("global", 5) == 5
    await State.set("off", False)
    assert await State.get("off", True) is False


async def test_load_finds_full_keys(State):
    await State.set("workflow:X:agent:A:output", "said")
    for scope in ("custom", "global"):
        for key in (":workflow:X:agent:A:output", "workflow:X:agent:A:output"):
            assert await State.load(scope, key) == "said"
    assert await State.load("user", "workflow:X:agent:A:output") is None
    assert await State.load("custom", ":nothing") is None
    await State.save("workflow", "pipeline:status", "ok")
    assert await State.workflow_get("pipeline", "status") == "ok"
    assert await State.load("workflow", "pipeline:status") == "ok"


async def test_what_components_keep(State):
    assert await State.workflow_set("w", "s1", 1) is True
    assert await State.agent_set("a", "k", 2) is None
    assert await State.tool_set("t", "k", 3) is None
    assert await State.workflow_list("w") == ["s1"]
    assert [
        await State.get("workflow:w:s1"),
        await State.agent_get("a", "k"),
        await State.tool_get("t", "k"),
    ] == [1, 2, 3]


async def test_clear_leaves_what_the_runtime_keeps(State):
    await State.set("a", 1)
    await State.set("b", 1)
    await State.agent_set("x", "k", 1)
    assert await State.clear() == 2
    assert await State.agent_get("x", "k") == 1
    assert await State.clear("agent:x") == 1


async def test_atomic_changes(State):
    assert await State.increment("n") == 1
    assert await State.increment("n", 2.5) == 3.5
    assert await State.increment("n", None) == 4.5
    assert await State.append("l", "x") == 1
    assert await State.compare_and_swap("c", None, {"v": 1}) is True
    assert await State.compare_and_swap("c", {"v": 2}, 3) is False
    assert await State.compare_and_swap("c", {"v": 1}) is True
    assert await State.exists("c") is False
    await State.set("t", "text")
    with pytest.raises(ValidationError, match="cannot be incremented"):
        await State.increment("t")


async def test_scopes_and_usage(State):
    assert await State.list_scopes() == STANDARD
    await State.set("a", "12")
    await State.set("workflow:w:s", 1)
    assert await State.list_scopes() == sorted([*STANDARD, "workflow:w"])
    used = await State.get_storage_usage()
    assert {**used, "bytes_used": None} == {
        "bytes_used": None,
        "entries_count": 2,
        "scopes": {"global": 1, "workflow:w": 1},
    }
    assert used["bytes_used"] > 5


async def test_inside_a_tenant_s_or_a_session_s_scope_others_are_out_of_reach(State):
    await State.set("tenant:a:k", 1)
    await State.set("tenant:b:k", 2)
    State.set_scope("tenant:a")
    assert await State.get("k") == 1
    assert await State.get("tenant:a:k") == 1
    for use in (
        State.get("tenant:b:k"),
        State.get("tenant:b", "k"),
        State.load("tenant:b", "k"),
        State.load("custom", ":tenant:b:k"),
        State.save("TENANT:b", "k", 1),
        State.save("tenant", "b:k", 1),
        State.set("tenant:b:k", 1),
        State.delete("tenant:b:k"),
        State.delete("tenant:b", "k"),
        State.exists("tenant:b:k"),
        State.increment("tenant:b:k"),
        State.append("tenant:b:k", 1),
        State.compare_and_swap("tenant:b:k", None, 1),
        State.list_keys("tenant:b"),
        State.list_keys("tenant"),
        State.list_scoped("tenant:b"),
        State.get_scoped("tenant:b", "k"),
        State.set_scoped("tenant:b", "k", 1),
        State.delete_scoped("tenant:b", "k"),
        State.clear_scope("tenant"),
        State.clear("tenant:b"),
    ):
        with pytest.raises(SecurityError, match="Permission denied: state of tenant"):
            await use
    State.set_scope("session:s1")
    with pytest.raises(SecurityError, match="state of session:s2"):
        await State.get("session:s2:k")
    State.set_scope("global")
    assert await State.get("tenant:b:k") == 2


async def test_an_execution_for_a_tenant_cannot_take_another_s_scope(home):
    services = make_kernel_services(home)
    State = StateGlobal(Host(services, tenant="a"))
    assert State.set_scope("tenant:a") == "global"
    with pytest.raises(SecurityError):
        State.set_scope("tenant:b")
    assert State.get_scope() == "tenant:a"
    State.set_scope("global")
    with pytest.raises(SecurityError):
        await State.get("tenant:b:k")


async def test_a_scope_must_be_one(State):
    with pytest.raises(ValidationError, match="Invalid format: scope is empty"):
        State.set_scope("")
    with pytest.raises(ValidationError, match="Invalid format"):
        await State.save("__x", "k", 1)
    assert State.get_scope() == "global"
