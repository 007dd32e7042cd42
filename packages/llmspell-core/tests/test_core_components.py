"""`BaseAgent`'s template, tools, values and the script vocabulary."""

import pytest

import llmspell_core
from llmspell_core import (
    AgentChunk,
    AgentInput,
    AgentOutput,
    BaseAgent,
    ChatChunk,
    ChatRequest,
    ChatResponse,
    ComponentError,
    ComponentMetadata,
    EffectClass,
    ExecutionCancelled,
    Message,
    Parameter,
    Passage,
    Provider,
    ProviderError,
    Returns,
    SecurityLevel,
    StorageError,
    Tool,
    ToolCall,
    ToolError,
    ToolRequest,
    ToolResult,
    ToolSchema,
    Usage,
    ValidationError,
    Version,
    attribute,
    camel,
    canonical,
    component_id,
    exposed,
    script_global,
    script_object,
)
from llmspell_testing import BackendDouble, EventsDouble, make_context, make_services


class Work(BaseAgent):
    metadata = ComponentMetadata("work", component_type="agent", version=Version(1, 2, 3))

    def __init__(self, outcome=None, *, substitute=None) -> None:
        self.outcome = outcome
        self.substitute = substitute
        self.ran = 0

    async def validate_input(self, input):
        if input.text == "bad":
            raise ValidationError("bad input", field="text")

    async def execute_impl(self, input, context):
        self.ran += 1
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return AgentOutput(f"did {input.text}")

    async def handle_error(self, error):
        if self.substitute is None:
            return await super().handle_error(error)
        return AgentOutput(self.substitute)


def told(bus: EventsDouble):
    return [
        (e.topic, {k: v for k, v in e.payload.items() if k != "duration_ms"}) for e in bus.published
    ]


async def test_the_template_tells_of_a_success() -> None:
    bus = EventsDouble()
    output = await Work().execute("abc", make_context(make_services(events=bus)))
    assert output.text == "did abc"
    name = {"component_name": "work", "component_version": "1.2.3"}
    assert told(bus) == [
        ("agent.started", {**name, "input_text_length": 3}),
        ("agent.completed", {**name, "output_text_length": 7}),
    ]
    assert bus.published[1].payload["duration_ms"] >= 0


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [(ToolError("broke"), "Tool"), (ZeroDivisionError("zero"), "ZeroDivisionError")],
)
async def test_the_template_tells_of_a_failure(outcome, kind: str) -> None:
    bus = EventsDouble()
    with pytest.raises(type(outcome)):
        await Work(outcome).execute("abc", make_context(make_services(events=bus)))
    topic, payload = told(bus)[-1]
    assert (topic, payload["error"], payload["error_type"]) == ("agent.failed", str(outcome), kind)


async def test_an_invalid_input_is_refused_before_the_work() -> None:
    work = Work()
    with pytest.raises(ValidationError, match="bad input"):
        await work.execute(AgentInput("bad"), make_context())
    assert work.ran == 0


async def test_an_error_may_be_replaced_by_an_output() -> None:
    output = await Work(ToolError("x"), substitute="instead").execute("a", make_context())
    assert output.text == "instead"
    with pytest.raises(ZeroDivisionError):
        await Work(ZeroDivisionError(), substitute="instead").execute("a", make_context())


async def test_cancellation_is_no_failure() -> None:
    bus = EventsDouble()
    with pytest.raises(ExecutionCancelled):
        await Work(ExecutionCancelled(), substitute="x").execute(
            "a", make_context(make_services(events=bus))
        )
    assert bus.topics == ["agent.started"]


async def test_nobody_listening_costs_no_bus() -> None:
    services = make_services()
    await Work().execute("a", make_context(services))
    assert services.made() == []
    silent = EventsDouble(listening=False)
    await Work().execute("a", make_context(make_services(events=silent)))
    assert silent.published == []


def test_a_component_that_cannot_stream_says_so() -> None:
    with pytest.raises(ComponentError, match="Streaming execution not supported"):
        Work().stream("a", make_context())


class Greeter(Tool):
    aliases = ("hello",)
    category = "test"
    schema = ToolSchema(
        "greeter",
        "Greets",
        (
            Parameter("name", "string", "Whom", required=True),
            Parameter("times", "integer", "How often", default=1, minimum=1, maximum=9),
            Parameter("mood", "string", enum=("glad", "sad")),
            Parameter("tags", "array", items="string"),
            Parameter("Key", "any", sensitive=True),
        ),
    )

    async def run(self, parameters, context):
        return ToolResult(operation="greet", result={"text": f"Hello {parameters['name']}"})


def test_a_schema_as_json() -> None:
    assert Greeter.schema.to_json_schema() == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "Whom"},
            "times": {
                "type": "integer",
                "description": "How often",
                "default": 1,
                "minimum": 1,
                "maximum": 9,
            },
            "mood": {"type": "string", "description": "", "enum": ["glad", "sad"]},
            "tags": {"type": "array", "description": "", "items": {"type": "string"}},
            "Key": {"description": ""},
        },
        "required": ["name"],
    }
    assert Greeter.schema.sensitive == {"key"}


async def test_a_tool_is_executed_with_its_parameters() -> None:
    tool = Greeter()
    for parameters in ({"name": "Ada"}, {"parameters": {"name": "Ada"}}):
        output = await tool.execute(AgentInput(parameters=parameters), make_context())
        assert output.data == {
            "operation": "greet",
            "success": True,
            "result": {"text": "Hello Ada"},
            "metadata": {},
        }
    with pytest.raises(ValidationError, match="must be an object"):
        await tool.execute(AgentInput(parameters={"parameters": [1]}), make_context())
    assert tool.metadata == ComponentMetadata("greeter", "Greets", "tool", tags=("test",))
    assert tool.effect_of({}) is EffectClass.PURE


def test_a_result_says_what_it_is() -> None:
    failed = ToolResult(
        success=False, operation="o", error="no", error_details={"code": "E", "details": {"a": 1}}
    )
    assert failed.envelope() == {
        "operation": "o",
        "success": False,
        "error": {"message": "no", "code": "E", "details": {"a": 1}},
        "metadata": {},
    }
    assert '"success": false' in failed.rendered()
    assert ToolResult(text="short", message="m").rendered() == "short"
    assert ToolResult(message="m").envelope()["message"] == "m"


def test_levels_rise() -> None:
    safe, restricted, privileged = SecurityLevel
    assert privileged.allows(safe)
    assert restricted.allows(restricted)
    assert not safe.allows(restricted)


def test_versions() -> None:
    assert Version.parse(" 1.2.3 ") == Version(1, 2, 3)
    assert str(Version(1, 2, 3)) == "1.2.3"
    assert Version(1, 2, 3) < Version(1, 10, 0)
    assert Version(1, 2, 3).is_compatible_with(Version(1, 9, 0))
    assert not Version(1).is_compatible_with(Version(2))
    for text in ("1.2", "1.2.3.4", "a.b.c", "", "1.2.-3"):
        with pytest.raises(ValueError, match="not a version"):
            Version.parse(text)


def test_a_components_id_follows_from_its_name() -> None:
    assert component_id("echo") == component_id("echo") == ComponentMetadata("echo").id
    assert component_id("echo") != component_id("Echo")


def test_usage_adds_up() -> None:
    total = Usage(1, 2, 3, 4, 0.5) + Usage(10, 20, 30, 40, 0.25, estimated=True)
    assert total == Usage(11, 22, 33, 44, 0.75, estimated=True)
    assert (Usage(cost=1.0) + Usage()).cost is None
    assert total.total_tokens == 33
    assert Usage.from_dict(total.to_dict()) == total


def test_a_tool_call_as_scripts_see_it() -> None:
    pending = ToolCall("1", "t", {"a": 1}).to_dict()
    assert pending["result"] is None
    assert pending["tool_name"] == pending["name"] == "t"
    assert pending["arguments"] == pending["parameters"] == {"a": 1}
    done = ToolCall("1", "t", {}, True, 42, None, 1.5).to_dict()
    assert done["result"] == {"success": True, "data": 42, "error": None, "execution_time_ms": 1.5}


def test_inputs_and_chunks() -> None:
    given = AgentInput("x")
    assert AgentInput.of(given) is given
    assert AgentInput.of("x") == given
    assert AgentChunk("end", 1).is_final
    assert not AgentChunk("text", 0).is_final


def test_a_chat_request_is_known_by_what_is_set() -> None:
    bare = ChatRequest("m", (Message("user", "hi"),))
    assert bare.to_dict() == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    full = ChatRequest(
        "m",
        (
            Message("assistant", "", (ToolRequest("1", "t", "{}"),)),
            Message("tool", "42", tool_request_id="1", name="t"),
        ),
        tools=(ToolSchema("t", "T"),),
        tool_choice="auto",
        temperature=0.0,
        max_tokens=1,
        top_p=0.5,
        stop=("x",),
        seed=0,
        response_format={"type": "json_object"},
        timeout_seconds=3,
        extra={"k": 1},
    )
    made = full.to_dict()
    assert set(made) == {
        "model",
        "messages",
        "tools",
        "tool_choice",
        "temperature",
        "max_tokens",
        "top_p",
        "stop",
        "seed",
        "response_format",
        "extra",
    }
    assert made["messages"][0]["tool_requests"] == [{"id": "1", "name": "t", "arguments": "{}"}]
    assert made["messages"][1] == {
        "role": "tool",
        "content": "42",
        "tool_request_id": "1",
        "name": "t",
    }
    canonical(made)


def test_chat_answers_survive_their_json_form() -> None:
    response = ChatResponse("x", "m", (ToolRequest("1", "t", "{"),), "tool_calls", Usage(1), "r")
    for chunk in (
        ChatChunk("a"),
        ChatChunk(response=response),
        ChatChunk(response=ChatResponse("", "m")),
    ):
        assert ChatChunk.from_dict(chunk.to_dict()) == chunk


async def test_a_stream_without_an_end_is_a_protocol_error() -> None:
    class Cut(Provider):
        name = "cut"

        async def stream(self, request, context):
            yield ChatChunk("half")

    with pytest.raises(ProviderError, match="without completing it") as caught:
        await Cut().chat(ChatRequest("m", ()), make_context())
    assert caught.value.kind == "protocol"
    with pytest.raises(ProviderError, match="cannot list"):
        await Cut().models()
    await Cut().aclose()


def test_a_passage_cites() -> None:
    where = {"first_line": 3, "last_line": 7}
    passage = Passage("1", "t", 0.5, "docs/a.md", "c", where)
    assert passage.citation == "docs/a.md:3-7"
    headed = Passage("1", "t", 0.5, "docs/a.md", "c", {**where, "heading": "Guide > Setup"})
    assert headed.citation == "docs/a.md:3-7 (Guide > Setup)"


async def test_an_update_gives_up_when_it_is_always_overtaken() -> None:
    class Busy(BackendDouble):
        async def write(self, puts, deletes=(), *, expect=None):
            return False

    with pytest.raises(StorageError, match="too often") as caught:
        await Busy().update("k", lambda old: b"x")
    assert caught.value.is_retryable()


def test_declarations_mark_and_change_nothing() -> None:
    @script_object("Timer")
    class Timer:
        @attribute
        def elapsed(self) -> float:
            return 1.5

    @script_global("Clock")
    class Clock:
        @exposed(names=("tick",), fails="pair", raises=(ValidationError,), async_twin=True)
        def get_time(self, zone: str = "UTC") -> str:
            return zone

    assert (Timer.__script_name__, Timer.__script_kind__) == ("Timer", "object")
    assert (Clock.__script_name__, Clock.__script_kind__) == ("Clock", "global")
    assert Timer().elapsed == 1.5
    assert Timer.elapsed.fget.__script__ is True
    assert Clock().get_time() == "UTC"
    exposure = Clock.get_time.__script__
    assert (exposure.names, exposure.fails, exposure.raises, exposure.async_twin) == (
        ("tick",),
        "pair",
        (ValidationError,),
        True,
    )
    assert Returns((1, None)) == (1, None)
    assert [camel(n) for n in ("get_info", "x", "a_b_c", "_x")] == ["getInfo", "x", "aBC", "X"]


def test_bases_cannot_be_made_half() -> None:
    for name in ("StorageBackend", "VectorStore", "Provider", "Tool", "RunLedger", "ScriptEngine"):
        with pytest.raises(TypeError, match="abstract"):
            getattr(llmspell_core, name)()
