"""The classes of errors keep their words on the way to scripts."""

import sys
import types

import pytest

from bridge_testkit import World, make_services
from llmspell_core import (
    ComponentError,
    ConfigurationError,
    InternalError,
    LLMTimeoutError,
    NetworkError,
    ProviderError,
    RateLimitError,
    ResourceError,
    ResourceLimitError,
    ScriptError,
    SecurityError,
    StorageError,
    ToolError,
    ValidationError,
    WorkflowError,
    exposed,
    script_global,
)

CLASSES = {
    "component": (ComponentError("'x' not found"), "Component error: 'x' not found"),
    "configuration": (ConfigurationError("bad path"), "Configuration error: bad path"),
    "validation": (ValidationError("wrong"), "Validation error: wrong"),
    "provider": (ProviderError("no key"), "LLM provider error: no key"),
    "tool": (ToolError("broke"), "Tool execution error: broke"),
    "workflow": (WorkflowError("step failed"), "Workflow execution error: step failed"),
    "script": (ScriptError("in a callback"), "Script execution error: in a callback"),
    "storage": (StorageError("disk full"), "Storage error: disk full"),
    "security": (SecurityError("not allowed"), "Security violation: not allowed"),
    "resource": (ResourceError("too few"), "Resource error: too few"),
    "timeout": (
        LLMTimeoutError("call timed out after 3s"),
        "Timeout error: call timed out after 3s",
    ),
    "network": (NetworkError("refused"), "Network error: refused"),
    "rate_limit": (RateLimitError("slow down"), "Rate limit error: slow down"),
    "internal": (InternalError("a defect"), "Internal error: a defect"),
}
CASES = [
    pytest.param(name, marks=pytest.mark.requirement(f"errors.prefix.{name}")) for name in CLASSES
]


@script_global("Thrower")
class Thrower:
    """Fails as it is told."""

    def __init__(self, host) -> None:
        self._host = host

    @exposed()
    def fail(self, kind: str) -> None:
        """Raise."""
        raise CLASSES[kind][0]

    @exposed()
    async def fail_later(self, kind: str) -> None:
        """Raise on the loop."""
        raise CLASSES[kind][0]

    @exposed(fails="pair", async_twin=True)
    async def pair(self, kind: str) -> None:
        """Return nil and the message."""
        raise CLASSES[kind][0]

    @exposed(fails="table")
    def table(self, kind: str) -> None:
        """Return the failure table."""
        raise CLASSES[kind][0]


@pytest.fixture
def world(monkeypatch):
    module = types.ModuleType("bridge_thrower")
    module.Thrower = Thrower
    monkeypatch.setitem(sys.modules, "bridge_thrower", module)
    monkeypatch.setitem(sys.modules, Thrower.__module__, sys.modules[__name__])
    made = World(services=make_services(Thrower="bridge_thrower:Thrower"))
    yield made
    made.close()


@pytest.mark.parametrize("kind", CASES)
def test_every_class_keeps_its_prefix_however_it_reaches_the_script(world, kind):
    text = CLASSES[kind][1]
    found = world.run(
        f"local kind = '{kind}'\n"
        "local _, raised = pcall(Thrower.fail, kind)\n"
        "local _, later = pcall(Thrower.fail_later, kind)\n"
        "local _, pair = Thrower.pair(kind)\n"
        "local _, awaited = Thrower.pair_async(kind):await()\n"
        "local failed, second = Thrower.table(kind)\n"
        "return {raised, later, pair, awaited, failed.error, second}"
    )
    assert found == ["t.lua:2: " + text, "t.lua:3: " + text, *[text] * 4]


@pytest.mark.parametrize("kind", CASES)
def test_every_class_is_found_again_as_the_cause_of_the_run(world, kind):
    error = world.fails(f"local r = Thrower.fail('{kind}')")
    assert error.source is CLASSES[kind][0]
    assert CLASSES[kind][1] in error.message


def test_a_limit_is_told_in_full(world):
    CLASSES["limit"] = (ResourceLimitError("memory", limit=10, used=12), "")
    try:
        assert world.message("Thrower.fail('limit')") == (
            "t.lua:1: Resource limit exceeded: memory limit of 10 exceeded (used: 12)"
        )
    finally:
        del CLASSES["limit"]


@pytest.mark.requirement("errors.position")
@pytest.mark.parametrize(
    ("code", "position"),
    [
        ("\nreturn Probe.fail_raise()", "t.lua:2"),
        ("local function f() return Probe.fail_raise() end\n\nreturn f()", "t.lua:3"),
        ("coroutine.wrap(function() return Probe.fail_raise() end)()", "t.lua:1"),
        (
            "local f = Probe.fail_raise\nfor i = 1, 3 do if i == 2 then return f() end end",
            "t.lua:2",
        ),
    ],
)
def test_a_call_in_tail_position_fails_at_a_line(world, code, position):
    assert world.fails(code).message == f"{position}: Component error: Tool 'x' not found"
    assert world.run("local n = 1 return (debug.getlocal(1, 1))") == "n"


def test_a_callback_that_ends_in_a_failing_call_tells_where_it_stands(world):
    error = world.fails("\n\nProbe.now_call(function() return Probe.fail_raise() end)")
    assert "t.lua:3: Component error: Tool 'x' not found" in error.message


def test_one_of_several_calls_in_tail_position_fails_at_a_line(world):
    message = world.fails("if x then return Probe.noop() end\nreturn Probe.fail_raise()").message
    place = "t.lua:2" if world.language == "lua" else "t.lua:?"
    assert message == f"{place}: Component error: Tool 'x' not found"


@pytest.mark.parametrize(
    "code",
    [
        "return string.format('%d', {})",
        "return io.lines('/etc/passwd')",
        "return table.unpack({}, 1, 1e8)",
        "return math.floor({})",
    ],
)
def test_a_library_function_in_tail_position_fails_at_a_line_of_the_script(world, code):
    message = world.fails(code).message
    assert message.startswith("t.lua:1: ")
    assert "main_chunk" not in message
