"""What the doubles promise beyond the contracts they stand in for."""

import asyncio
import os

import pytest

from llmspell_core import (
    ConfigurationError,
    DuplicateError,
    Event,
    NotFoundError,
    Parameter,
    ProviderInfo,
    SecurityError,
    Tool,
    ToolInfo,
    ToolResult,
    ToolSchema,
    ValidationError,
)
from llmspell_testing import (
    AgentsDouble,
    BackendDouble,
    EventsDouble,
    HooksDouble,
    HostDouble,
    LedgerDouble,
    ProvidersDouble,
    ScriptedProvider,
    SecurityDouble,
    StateDouble,
    TenancyDouble,
    ToolsDouble,
    WorkflowsDouble,
    make_context,
    make_services,
    recorded_and_replayed,
)


class Clock(Tool):
    aliases = ("watch",)

    def __init__(self) -> None:
        self.ran = 0

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema("the-clock", "Ticks", (Parameter("pin", "string", sensitive=True),))

    async def run(self, parameters, context) -> ToolResult:
        self.ran += 1
        return ToolResult(operation="tick", result={"ticks": self.ran}, text=str(self.ran))


def test_services_know_nothing_but_what_they_are_given(tmp_path) -> None:
    bus = EventsDouble()
    services = make_services({"rag": {"k": 3}}, home=tmp_path, events=bus)
    assert services.events is bus
    assert services.config.get("rag.k") == 3
    assert services.config.home == str(tmp_path)
    with pytest.raises(ConfigurationError):
        _ = services.tools
    services.close()


def test_services_create_no_data_directory() -> None:
    assert not os.path.exists(make_services().config.home)
    assert make_services().config.home != make_services().config.home


def test_host_gives_services_and_context_and_remembers_output() -> None:
    host = HostDouble(make_services(events=EventsDouble()))
    assert host.services is host.context.services
    host.write("stdout", "one")
    host.write("stderr", "two")
    assert host.written == [("stdout", "one"), ("stderr", "two")]
    other = make_context(tenant="acme")
    host.context = other
    assert host.context is other
    assert host.services is other.services


def test_tools_are_found_by_any_spelling_and_alias() -> None:
    clock = Clock()
    tools = ToolsDouble(clock)
    assert [tools.get(n) for n in ("the-clock", "The_Clock", "WATCH")] == [clock] * 3
    assert tools.list() == [ToolInfo("the-clock", "Ticks", "utility", "safe", "0.1.0", ("watch",))]
    with pytest.raises(DuplicateError):
        tools.register(Clock())
    assert tools.unregister("watch") is True
    assert tools.unregister("watch") is False
    assert not tools.has("the-clock")
    with pytest.raises(NotFoundError):
        tools.get("the-clock")


async def test_a_tool_call_is_recorded_and_replayed() -> None:
    clock = Clock()
    tools = ToolsDouble(clock)

    async def work(context):
        return [await tools.invoke("watch", {"pin": "secret!"}, context) for _ in range(2)]

    ledger = LedgerDouble()
    first, second = await recorded_and_replayed(work, ledger)
    assert [r.result for r in first] == [{"ticks": 1}, {"ticks": 2}]
    assert second == first
    assert clock.ran == 2
    assert tools.calls == [("the-clock", {"pin": "secret!"})] * 4
    assert "secret!" not in repr(list(ledger.effects("run")))


async def test_providers_are_resolved_by_name_or_default() -> None:
    one, two = ScriptedProvider(name="one"), ScriptedProvider(name="two")
    providers = ProvidersDouble(one, two)
    assert providers.resolve("two/model-x") == (two, "model-x")
    assert providers.resolve("model-x") == (one, "model-x")
    assert providers.resolve("org/model", provider="two") == (two, "org/model")
    assert providers.default() == ProviderInfo("one", "double")
    assert [info.name for info in providers.list()] == ["one", "two"]
    for model in (None, ""):
        with pytest.raises(ConfigurationError, match="Model is required"):
            providers.resolve(model)
    with pytest.raises(ConfigurationError, match="Unsupported provider 'three'"):
        providers.resolve("three/x")
    await providers.aclose()
    assert (one.closed, two.closed) == (True, True)
    assert ProvidersDouble().default() is None


def test_security_allows_what_lies_below_its_roots(tmp_path) -> None:
    policy = SecurityDouble(tmp_path, denied_levels=frozenset({"privileged"}))
    context = make_context()
    inside = str(tmp_path / "new" / "file.txt")
    assert policy.path(inside, "write", context) == os.path.realpath(inside)
    assert policy.path(str(tmp_path), "read", context) == os.path.realpath(tmp_path)
    (tmp_path / "link").symlink_to("/")
    for outside in ("/etc/passwd", f"{tmp_path}/../x", f"{tmp_path}2/x", f"{tmp_path}/link/etc"):
        with pytest.raises(SecurityError):
            policy.path(outside, "read", context)
    for wrong in ("", "a\0b"):
        with pytest.raises(ValidationError):
            policy.path(wrong, "read", context)
    policy.tool("calculator", "safe")
    with pytest.raises(SecurityError):
        policy.tool("process", "privileged")


def test_tenancy_has_one_tenant() -> None:
    backend = BackendDouble()
    tenancy = TenancyDouble("acme")
    assert tenancy.current() == "acme"
    assert tenancy.storage(backend, "acme") is backend
    assert [tenancy.namespace("n", t) for t in ("acme", None)] == ["acme:n", "n"]
    assert TenancyDouble().current() is None


def test_component_registries(echo_agent, echo_workflow) -> None:
    agents = AgentsDouble(echo_agent)
    assert agents.get("echo-agent") is agents.get(echo_agent.metadata.id) is echo_agent
    assert agents.get("nobody") is None
    assert list(agents.list()) == [echo_agent]
    with pytest.raises(DuplicateError, match="Agent instance 'echo-agent' already exists"):
        agents.add(echo_agent)
    assert agents.remove("echo-agent") is True
    assert agents.remove("echo-agent") is False
    workflows = WorkflowsDouble(echo_workflow)
    assert workflows.get("flow") is workflows.get(echo_workflow.metadata.id) is echo_workflow
    assert workflows.get("nobody") is None
    assert list(workflows.list()) == [echo_workflow]


@pytest.fixture
def echo_agent():
    from llmspell_core import Agent, AgentOutput, ComponentMetadata

    class EchoAgent(Agent):
        metadata = ComponentMetadata("echo-agent", component_type="agent")
        conversation = ()

        def clear_conversation(self) -> None: ...

        async def execute_impl(self, input, context):
            return AgentOutput(input.text)

    return EchoAgent()


@pytest.fixture
def echo_workflow():
    from llmspell_core import AgentOutput, ComponentMetadata, Workflow

    class Flow(Workflow):
        kind = "sequential"
        metadata = ComponentMetadata("flow", component_type="workflow")

        async def execute_impl(self, input, context):
            return AgentOutput(input.text)

    return Flow()


async def test_events_are_kept_in_order() -> None:
    bus = EventsDouble()
    context = make_context(correlation_id="c")
    bus.publish("a", 1)
    event = bus.publish("b", {"n": 2}, context)
    assert bus.topics == ["a", "b"]
    assert event == Event("b", {"n": 2}, event.timestamp, 1, "c", event.id)
    with pytest.raises(ValidationError, match="not found"):
        await bus.receive("nobody")


async def test_failing_async_handlers_are_logged(caplog) -> None:
    bus = EventsDouble()

    async def fail(event: Event) -> None:
        raise ZeroDivisionError

    bus.subscribe("a", fail)
    bus.publish("a", 1)
    for _ in range(5):
        await asyncio.sleep(0)
    assert [record.message for record in caplog.records] == ["event handler failed"]


async def test_hooks_remember_what_ran() -> None:
    hooks = HooksDouble()
    await hooks.run("AnyPoint", {"n": 1}, make_context())
    assert hooks.ran == [("AnyPoint", {"n": 1})]
    assert hooks.unregister("nobody") is False


async def test_state_is_recorded_as_reads_and_writes() -> None:
    from llmspell_testing import recording_context

    ledger = LedgerDouble()
    context = recording_context(ledger)
    state = StateDouble()
    await state.set("global", "k", 1, context)
    await state.get("global", "k", context)
    assert [e.intent.kind for e in ledger.effects("run")] == ["state.write", "state.read"]
