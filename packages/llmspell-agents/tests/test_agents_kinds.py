"""The kinds of agents besides `llm`, agents as tools, and templates."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmspell_agents import (
    AgentBuilder,
    AgentGlobal,
    AgentService,
    AgentTool,
    CycleError,
    DestroyedError,
    ToolAgent,
)
from llmspell_core import (
    AgentInput,
    AgentOutput,
    BaseAgent,
    ComponentMetadata,
    Config,
    ConfigurationError,
    DuplicateError,
    EffectClass,
    ExecutionContext,
    NotFoundError,
    Parameter,
    Plugin,
    SecurityLevel,
    Services,
    Tool,
    ToolError,
    ToolResult,
    ToolSchema,
    Usage,
    ValidationError,
    Workflow,
)
from llmspell_testing import (
    AgentSuite,
    HostDouble,
    ProvidersDouble,
    Reply,
    ScriptedProvider,
    ToolsDouble,
    WorkflowsDouble,
    make_context,
    make_services,
)

KINDS = [
    Plugin("llmspell.agents", name, f"llmspell_agents:{cls}", "a", "1")
    for name, cls in (
        ("llm", "LLMAgent"),
        ("basic", "BasicAgent"),
        ("tool", "ToolAgent"),
        ("composite", "CompositeAgent"),
        ("tool-orchestrator", "ToolOrchestrator"),
        ("workflow", "WorkflowAgent"),
        ("monitor", "MonitorAgent"),
    )
]


class Add(Tool):
    """Adds up."""

    aliases = ("sum",)

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema(
            "add",
            "Adds",
            (
                Parameter("mode", "string", "How", enum=("plus", "minus")),
                Parameter("input", "string", "What", aliases=("expression",)),
                Parameter("n", "number", "A number"),
            ),
        )

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        self.asked.append(parameters)
        if parameters.get("input") == "soft":
            return ToolResult(success=False, error="cannot add that")
        if parameters.get("input") == "hard":
            raise ToolError("the wheel came off", tool_name="add")
        return ToolResult(result={"sum": 4}, value=4, operation="add")


class Other(Tool):
    """Does something else."""

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema("other", "Other", ())

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        return ToolResult(text=f"other {sorted(parameters)}")


class Flow(Workflow):
    """A workflow that asks an agent, as real ones do: by the services of its context."""

    kind = "sequential"

    def __init__(self, agent: str | None = None, data: Any = None) -> None:
        self._agent = agent
        self._data = data

    @property
    def metadata(self) -> ComponentMetadata:
        return ComponentMetadata("flow", "Flows", "workflow")

    async def execute_impl(self, input: AgentInput, context: ExecutionContext) -> AgentOutput:
        if self._agent is None:
            return AgentOutput(f"flow({input.text})", self._data, metadata={"steps": 1})
        agent = context.services.agents.get(self._agent)
        assert agent is not None
        inner = await agent.execute(input, context)
        return AgentOutput(f"flow({inner.text})")


def world(
    *script: Any, config: dict[str, Any] | None = None, flow: Workflow | None = None
) -> tuple[Services, ScriptedProvider, Add]:
    provider, add = ScriptedProvider(*script), Add()
    services = make_services(
        config,
        plugins=KINDS,
        providers=ProvidersDouble(provider),
        tools=ToolsDouble(add, Other()),
        workflows=WorkflowsDouble(*([flow] if flow else [])),
    )
    services.provide("agents", AgentService(services))
    return services, provider, add


def face_of(services: Services) -> AgentGlobal:
    return AgentGlobal(HostDouble(context=make_context(services)))


async def run(agent: BaseAgent, services: Services, input: Any = "x") -> AgentOutput:
    return await agent.execute(input, make_context(services))


# Agents that run a tool ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "parameters"),
    [
        (AgentInput("2 + 2"), {"input": "2 + 2"}),
        (AgentInput('{"input": "2 + 2", "n": 1}'), {"input": "2 + 2", "n": 1}),
        (AgentInput("", {"n": 3}), {"n": 3}),
        (AgentInput("2 + 2", {"parameters": {"n": 3}}), {"input": "2 + 2", "n": 3}),
        (AgentInput("{broken", {"n": 3}), {"input": "{broken", "n": 3}),
        (AgentInput("what", {"expression": "5"}), {"expression": "5"}),
    ],
)
async def test_a_tool_agent_runs_its_tool_with_what_it_is_given(
    given: AgentInput, parameters: dict[str, Any]
) -> None:
    services, _, add = world()
    agent = AgentBuilder("adder", "tool", tools=["sum"]).build(services)
    output = await run(agent, services, given)
    assert add.asked == [parameters]
    assert (output.text, output.data) == ("4", {"sum": 4})
    (call,) = output.tool_calls
    assert (call.name, call.success, call.result) == ("add", True, {"sum": 4})
    assert agent.state == "Running"
    assert [m["role"] for m in agent.conversation] == ["user", "assistant"]


async def test_a_tool_agent_with_several_tools_is_told_which() -> None:
    services, _, _ = world()
    agent = AgentBuilder("both", "tool", tools=["*"]).build(services)
    assert (await run(agent, services, AgentInput("", {"tool": "other", "b": 1}))).text == (
        "other ['b']"
    )
    with pytest.raises(ValidationError, match="several tools: which one") as caught:
        await run(agent, services)
    assert caught.value.hint == "Name it in the parameter 'tool': add, other."
    one = AgentBuilder("one", "tool", tools=["add"]).build(services)
    with pytest.raises(ValidationError, match="'other' is not among those of agent 'one'"):
        await run(one, services, AgentInput("x", {"tool": "other"}))


async def test_a_tool_that_fails_is_a_failure_of_its_agent() -> None:
    services, _, _ = world()
    agent = AgentBuilder("adder", "tool", tools=["add"]).build(services)
    for word, message in (("soft", "cannot add that"), ("hard", "the wheel came off")):
        with pytest.raises(ToolError, match=message):
            await run(agent, services, word)
        assert agent.state == "Error"
    assert (agent.statistics.total, agent.statistics.failed) == (2, 2)
    with pytest.raises(ValidationError, match="cannot be empty"):
        await run(agent, services, "")


def test_a_tool_agent_needs_a_tool_there_is() -> None:
    services, _, _ = world()
    with pytest.raises(ConfigurationError, match="has no tool"):
        AgentBuilder("a", "tool").build(services)
    with pytest.raises(ConfigurationError, match="Tool 'nope' not found"):
        AgentBuilder("a", "tool", tools=["nope"]).build(services)


class TestToolAgent(AgentSuite):
    @pytest.fixture
    def component(self) -> BaseAgent:
        services, _, _ = world()
        return AgentBuilder("adder", "tool", tools=["add"]).build(services)


# Agents that run a workflow, and orchestrators ---------------------------------------------------


@pytest.mark.parametrize("how", ["name", "object"])
async def test_a_workflow_agent_runs_its_workflow(how: str) -> None:
    flow = Flow()
    services, _, _ = world(flow=flow)
    builder = AgentBuilder.workflow("w", "flow" if how == "name" else flow)
    agent = builder.build(services)
    output = await run(agent, services)
    assert (output.text, output.metadata["steps"], output.metadata["workflow"]) == (
        "flow(x)",
        1,
        "flow",
    )
    assert [m["content"] for m in agent.conversation] == ["x", "flow(x)"]


@pytest.mark.parametrize(
    ("data", "text"), [("the end", "the end"), ({"b": 1, "a": [2]}, '{"a": [2], "b": 1}'), (0, "0")]
)
async def test_the_answer_of_a_workflow_is_what_came_of_its_last_step(data: Any, text: str) -> None:
    flow = Flow(data=data)
    services, _, _ = world(flow=flow)
    agent = AgentBuilder.workflow("w", "flow").build(services)
    output = await run(agent, services)
    assert (output.text, output.data) == (text, data)
    basic = AgentBuilder.basic("b").build(services)
    row = AgentBuilder.composite("row", [flow, basic], "sequential").build(services)
    assert (await run(row, services)).text == f"BasicAgent 'b' received: {text}"
    turned = AgentBuilder.composite("turned", [basic, flow], "sequential").build(services)
    chunks = [chunk async for chunk in turned.stream("x", make_context(services))]
    assert [chunk.text for chunk in chunks] == [text, ""]


def test_a_workflow_agent_needs_a_workflow_there_is() -> None:
    services, _, _ = world(flow=Flow())
    with pytest.raises(ConfigurationError, match="has no workflow"):
        AgentBuilder("w", "workflow").build(services)
    with pytest.raises(NotFoundError, match="Workflow 'flw' not found") as caught:
        AgentBuilder.workflow("w", "flw").build(services)
    assert caught.value.hint == "Did you mean 'flow'?"


async def test_what_agents_in_a_workflow_spend_is_counted_and_cycles_are_found() -> None:
    services, _, _ = world(Reply("hi", usage=Usage(7, 3, cost=0.5)), flow=Flow("ada"))
    AgentBuilder.llm("ada", "scripted/m").build(services)
    agent = AgentBuilder.workflow("w", "flow").build(services)
    output = await run(agent, services)
    assert (output.text, output.usage) == ("flow(hi)", Usage(7, 3, cost=0.5))
    loop = make_services(
        plugins=KINDS, tools=ToolsDouble(), workflows=WorkflowsDouble(Flow("again"))
    )
    loop.provide("agents", AgentService(loop))
    again = AgentBuilder.workflow("again", "flow").build(loop)
    with pytest.raises(CycleError, match="again → again"):
        await run(again, loop)


async def test_an_orchestrator_has_every_tool_and_a_cool_head() -> None:
    services, provider, _ = world("done", "done")
    agent = AgentBuilder.tool_orchestrator("o", "scripted/m").build(services)
    await run(agent, services)
    request = provider.requests[0]
    assert ([tool.name for tool in request.tools], request.temperature) == (["add", "other"], 0.3)
    own = AgentBuilder("p", "tool_orchestrator", model="scripted/m", tools=["add"], temperature=0.9)
    await run(own.build(services), services)
    request = provider.requests[1]
    assert ([tool.name for tool in request.tools], request.temperature) == (["add"], 0.9)


# Agents as tools ----------------------------------------------------------------------------------


async def test_an_agent_is_a_tool_for_the_model_of_another() -> None:
    services, provider, _ = world(
        Reply(tools=[("expert", {"text": "why?", "parameters": {"tools": ["add"]}})]),
        Reply("because", usage=Usage(100, 50, cost=1.0)),
        "It is because.",
    )
    expert = AgentBuilder.llm("expert", "scripted/m").build(services)
    name = services.agents.wrap(expert, name="expert", description="Knows why.")
    boss = AgentBuilder.llm("boss", "scripted/m", tools=[name]).build(services)
    output = await run(boss, services)
    (schema,) = provider.requests[0].tools
    assert (schema.description, [p.name for p in schema.parameters]) == (
        "Knows why.",
        ["text", "parameters"],
    )
    # What a model passes on cannot change how the other agent works.
    assert (provider.requests[1].messages[-1].content, provider.requests[1].tools) == ("why?", ())
    assert provider.requests[2].messages[-1].content == "because"
    assert output.text == "It is because."
    assert output.usage == Usage(120, 60, cost=1.002)
    assert output.metadata["usage_inside"]["total_tokens"] == 150
    assert (output.metadata["token_count"], output.metadata["cost"]) == (180, 1.002)


async def test_an_agent_that_fails_as_a_tool_is_told_to_the_model() -> None:
    services, provider, _ = world(Reply(tools=[("t", {"text": "soft"}), ("t", {})]), "Then not.")
    adder = AgentBuilder("adder", "tool", tools=["add"]).build(services)
    services.agents.wrap(adder, name="t")
    boss = AgentBuilder.llm("boss", "scripted/m", tools=["t"]).build(services)
    output = await run(boss, services)
    assert output.text == "Then not."
    told = [m.content for m in provider.requests[1].messages if m.role == "tool"]
    assert "cannot add that" in told[0]
    assert "Missing required parameter: text" in told[1]


async def test_a_wrapped_agent_is_found_with_what_it_was_given() -> None:
    services, _, _ = world()
    agent = AgentBuilder.basic("b", description="Echoes.").build(services)
    agents = services.agents
    assert agents.wrap("b") == "b_tool"
    agents.wrap("b", name="c", category="research", security_level=SecurityLevel.PRIVILEGED)
    tool = services.tools.get("c")
    assert isinstance(tool, AgentTool)
    assert (tool.category, tool.security_level, tool.effect_of({})) == (
        "research",
        SecurityLevel.PRIVILEGED,
        EffectClass.SPAN,
    )
    assert services.tools.get("b_tool").schema.description == "Ask the agent 'b': Echoes."
    assert tool.timeout_seconds == 305
    with pytest.raises(DuplicateError):
        agents.wrap("b", name="add")
    other = AgentBuilder.basic("o").build(services)
    with pytest.raises(DuplicateError):
        agents.wrap(other, name="c")
    await agent.destroy(make_context(services))
    assert not services.tools.has("c")
    with pytest.raises(DestroyedError):
        await tool.run({"text": "x"}, make_context(services))


async def test_an_agent_with_every_tool_is_not_offered_itself() -> None:
    services, provider, _ = world("done")
    boss = AgentBuilder.tool_orchestrator("boss", "scripted/m").build(services)
    AgentBuilder.basic("other_one").build(services)
    services.agents.wrap(boss)
    services.agents.wrap("other_one")
    await run(boss, services)
    assert [tool.name for tool in provider.requests[0].tools] == ["add", "other", "other_one_tool"]
    assert "boss_tool" not in boss.tool_names()


async def test_a_text_is_found_in_the_parameters_too() -> None:
    services, _, _ = world()
    AgentBuilder.basic("b").build(services)
    services.agents.wrap("b")
    tool, context = services.tools.get("b_tool"), make_context(services)
    result = await tool.run({"parameters": {"prompt": "deep"}}, context)
    assert (result.text, result.metadata["agent"]) == ("BasicAgent 'b' received: deep", "b")


# Templates ----------------------------------------------------------------------------------------


def test_every_built_in_template_makes_a_working_agent() -> None:
    services, _, _ = world()
    face = face_of(services)
    given: dict[str, dict[str, Any]] = {
        "llm": {"model": "scripted/m"},
        "tool-orchestrator": {"model": "scripted/m"},
        **{
            name: {"agents": ["basic1"]}
            for name in face.list_templates()
            if name.startswith("orchestrator")
        },
    }
    made = [
        face.create_from_template(f"{name}1", name, given.get(name)).name
        for name in face.list_templates()
    ]
    assert made == [f"{name}1" for name in sorted(face.list_templates())]
    assert {"basic1", "llm1", "monitor_agent1", "tool_agent1", "orchestrator_agent1"} <= {*made}


async def test_a_template_of_tools_and_one_of_teams_do_what_they_say() -> None:
    services, _, add = world()
    face = face_of(services)
    runner = face.create_from_template(
        "runner", "tool-agent", {"specialized_tools": ["add"], "tool_timeout": 7}
    )
    assert isinstance(runner.agent, ToolAgent)
    assert runner.get_config()["tool_options"] == {"add": {"timeout_seconds": 7, "retry": 0}}
    boss = face.create_from_template(
        "orchestrator_agent",
        {"agent_name": "boss", "agents": [runner], "orchestration_strategy": "parallel"},
    )
    assert (await boss.execute("2 + 2")).text == "4"
    assert add.asked == [{"input": "2 + 2"}]
    assert boss.get_config()["routing"]["strategy"] == "parallel"


@pytest.mark.parametrize(
    ("template", "given", "error", "words"),
    [
        ("nope", {}, NotFoundError, "Template 'nope' not found"),
        ("tool_agent", {}, ValidationError, "Missing required parameter: agent_name"),
        ("tool_agent", {"agent_name": 5}, ValidationError, "'agent_name' must be text, not int"),
        (
            "orchestrator_agent",
            {"name": "o", "agents": ["b"], "max_retries": 11},
            ValidationError,
            "'max_retries' must be at most 10, not 11",
        ),
        (
            "orchestrator_agent",
            {"name": "o", "agents": ["b"], "orchestration_strategy": "chaos"},
            ValidationError,
            "'orchestration_strategy' must be one of sequential, parallel",
        ),
        (
            "orchestrator_agent_simple",
            {"name": "o", "agents": ["b"] * 6},
            ValidationError,
            "names 6 agents, max_managed_agents is 5",
        ),
        (
            "tool_agent",
            {"name": "t", "specialized_tools": ["add", "other"], "max_tools": 1},
            ValidationError,
            "names 2 tools, max_tools is 1",
        ),
        ("basic", {"name": "b", "colour": 1}, ConfigurationError, "no option 'colour'"),
    ],
)
def test_what_does_not_fit_a_template_is_refused(
    template: str, given: dict[str, Any], error: type[Exception], words: str
) -> None:
    services, _, _ = world()
    with pytest.raises(error, match=words):
        services.agents.create_from_template(template, given)
    assert list(services.agents.list()) == []


def test_templates_of_ones_own_add_to_others() -> None:
    config = {
        "agents": {
            "templates": {
                "reviewer": {
                    "base": "llm",
                    "model": "scripted/m",
                    "system_prompt": "Review {language}: {rules}.",
                    "temperature": "{heat}",
                    "parameters": {
                        "language": {"type": "string", "required": True, "description": "Which."},
                        "rules": "be kind",
                        "heat": {"type": "number", "default": 0.1, "maximum": 1},
                    },
                },
                "strict-reviewer": {"base": "reviewer", "rules": "be strict", "max_tokens": 5},
            }
        }
    }
    services, _, _ = world(config=config)
    face = face_of(services)
    assert {"reviewer", "strict-reviewer"} <= {*face.list_templates()}
    mine = face.create_from_template("one", "reviewer", {"language": "Lua", "top_p": 0.5})
    found = mine.get_config()
    assert (found["system_prompt"], found["temperature"], found["top_p"], found["max_tokens"]) == (
        "Review Lua: be kind.",
        0.1,
        0.5,
        2000,
    )
    strict = face.create_from_template("two", "strict_reviewer", {"language": "Lua"}).get_config()
    assert (strict["system_prompt"], strict["max_tokens"]) == ("Review Lua: be strict.", 5)
    with pytest.raises(ValidationError, match="Missing required parameter: language") as caught:
        face.create_from_template("three", "reviewer")
    assert caught.value.hint == "Which."
    with pytest.raises(ValidationError, match="'heat' must be at most 1"):
        face.create_from_template("three", "reviewer", {"language": "x", "heat": 2})
    info = face.get_info("strict-reviewer")
    assert (info["type"], info["required_parameters"]) == ("template", ["language"])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("text", "must be a table of agent options"),
        ({"parameters": {"p": {"typ": "string"}}}, "has unknown fields: typ"),
        ({"parameters": {"p": {"type": "colour"}}}, "unknown type 'colour'"),
        ({"base": "nope"}, "Template 'nope' not found"),
        ({"base": "mine"}, "Template 'mine' not found"),
    ],
)
def test_a_template_of_ones_own_that_is_none_is_refused(table: Any, words: str) -> None:
    services, _, _ = world(config={"agents": {"templates": {"mine": table}}})
    with pytest.raises((ConfigurationError, NotFoundError), match=words):
        services.agents.create_from_template("mine", {"name": "x"})


def test_the_section_is_known_to_the_configuration() -> None:
    from llmspell_agents import AgentsConfig

    made = Config({"agents": {"templates": {"x": {}}}}).section("agents", AgentsConfig)
    assert made.templates == {"x": {}}


# Python -------------------------------------------------------------------------------------------


async def test_presets_build_what_they_say() -> None:
    services, _, _ = world("hi", flow=Flow())
    made = [
        AgentBuilder.llm("l", "scripted/m").build(services),
        AgentBuilder.basic("b", description="D").build(services),
        AgentBuilder.tool_orchestrator("o", "scripted/m").build(services),
        AgentBuilder.workflow("w", "flow").build(services),
        AgentBuilder.composite("c", ["b", "w"], "parallel").build(services),
    ]
    kinds = [agent.config.agent_type for agent in made]
    assert kinds == ["llm", "basic", "tool-orchestrator", "workflow", "composite"]
    outputs = await asyncio.gather(run(made[1], services), run(made[3], services))
    assert [output.text for output in outputs] == ["BasicAgent 'b' received: x", "flow(x)"]
    assert (await run(made[4], services)).text == "BasicAgent 'b' received: x\n\nflow(x)"
