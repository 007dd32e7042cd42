"""Answers in the form that was asked for."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, Field

from llmspell_agents import AgentGlobal, OutputError, OutputSchema
from llmspell_core import (
    AgentInput,
    ConfigurationError,
    EffectClass,
    ExecutionContext,
    Message,
    Parameter,
    ProviderError,
    Tool,
    ToolResult,
    ToolSchema,
    Usage,
    ValidationError,
)
from llmspell_testing import HostDouble, Reply, make_context

CITY = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer", "minimum": 0}},
    "required": ["name", "people"],
    "additionalProperties": False,
}
GOOD = {"name": "Oslo", "people": 717_710}
Make = Callable[..., Any]


class City(BaseModel):
    name: str
    people: int = Field(ge=0)
    founded: date | None = None


@dataclasses.dataclass
class Pair:
    left: int
    right: str


async def test_the_provider_gets_the_schema_and_the_answer_is_data(make_agent: Make) -> None:
    agent, provider, services = make_agent(Reply(data=GOOD), output_schema=CITY)
    output = await agent.execute("Which city?", make_context(services))
    assert output.data == GOOD
    assert json.loads(output.text) == GOOD
    request = provider.requests[0]
    assert request.response_format == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": CITY},
    }
    assert request.messages == (Message("system", "Be ada."), Message("user", "Which city?"))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        f"\n```json\n{json.dumps(GOOD, indent=2)}\n```\n",
        f"Here it is: {json.dumps(GOOD)} I hope that helps!",
    ],
)
async def test_json_is_found_where_models_put_it(make_agent: Make, text: str) -> None:
    agent, provider, services = make_agent(text, output_schema=CITY)
    assert (await agent.execute("?", make_context(services))).data == GOOD
    assert len(provider.requests) == 1


async def test_an_answer_that_does_not_fit_is_repaired_once(make_agent: Make) -> None:
    agent, provider, services = make_agent(
        Reply('{"name": "Oslo", "people": -1, "x": 0}', usage=Usage(10, 5)),
        Reply(data=GOOD, usage=Usage(20, 6)),
        "next",
        output_schema=CITY,
    )
    output = await agent.execute("Which city?", make_context(services))
    assert (output.data, output.usage) == (GOOD, Usage(30, 11))
    bad, complaint = provider.requests[1].messages[-2:]
    assert (bad.role, bad.content) == ("assistant", '{"name": "Oslo", "people": -1, "x": 0}')
    assert complaint.role == "user"
    for words in (
        "- $.people: -1 is less than the minimum of 0",
        "Additional properties are not allowed ('x' was unexpected)",
        json.dumps(CITY),
    ):
        assert words in complaint.content
    # What went wrong in between is no part of the conversation.
    assert [m["content"] for m in agent.conversation] == ["Which city?", json.dumps(GOOD)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I cannot say.", "is not JSON"),
        ("", "is empty"),
        ("[1, 2", "is not JSON"),
        ('{"name": NaN, "people": 1}', "is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"name": "Oslo"}', '"people" is a required property'),
    ],
)
async def test_after_one_repair_it_is_an_error_with_the_text(
    make_agent: Make, text: str, words: str
) -> None:
    agent, _, services = make_agent(text, text, output_schema=CITY)
    with pytest.raises(OutputError, match=words) as caught:
        await agent.execute("?", make_context(services))
    error = caught.value
    assert (error.code, error.text, error.details["text"]) == ("OUTPUT_INVALID", text, text)
    assert error.problems == error.details["problems"]
    assert error.partial.usage == Usage(20, 10, cost=0.002)
    assert agent.state == "Error"


async def test_an_answer_that_was_cut_off_says_what_to_raise(make_agent: Make) -> None:
    cut = Reply('{"name": "Os', finish_reason="length")
    agent, _, services = make_agent(cut, cut, output_schema=CITY, max_tokens=3)
    with pytest.raises(OutputError, match="cut off at max_tokens") as caught:
        await agent.execute("?", make_context(services))
    assert caught.value.hint == "Raise max_tokens."


async def test_a_provider_without_the_form_gets_it_in_the_prompt(make_agent: Make) -> None:
    refusal = ProviderError("response_format is not supported", kind="invalid_request")
    agent, provider, services = make_agent(refusal, Reply(data=GOOD), output_schema=CITY)
    assert (await agent.execute("?", make_context(services))).data == GOOD
    native, told = provider.requests
    assert native.response_format is not None
    assert told.response_format is None
    assert told.messages[0].content.startswith("Be ada.\n\nAnswer with one JSON value")
    assert json.dumps(CITY) in told.messages[0].content


async def test_another_refusal_is_passed_on(make_agent: Make) -> None:
    agent, provider, services = make_agent(
        ProviderError("temperature too high", kind="invalid_request"), output_schema=CITY
    )
    with pytest.raises(ProviderError, match="temperature"):
        await agent.execute("?", make_context(services))
    assert len(provider.requests) == 1


async def test_a_class_of_pydantic_gives_instances(make_agent: Make) -> None:
    agent, provider, services = make_agent(
        Reply(data={"name": "Oslo", "people": -1}),
        Reply(data={**GOOD, "founded": "1048-01-01"}),
        output_schema=City,
    )
    output = await agent.execute("?", make_context(services))
    assert output.data == City(name="Oslo", people=717_710, founded=date(1048, 1, 1))
    form = provider.requests[0].response_format["json_schema"]
    assert form["name"] == "City"
    assert form["schema"]["required"] == ["name", "people"]
    complaint = provider.requests[1].messages[-1].content
    assert "- $.people: Input should be greater than or equal to 0" in complaint


@pytest.mark.parametrize(
    ("schema", "answer", "value"),
    [
        (Pair, {"left": 1, "right": "r"}, Pair(1, "r")),
        (list[City], {"result": [{"name": "A", "people": 1}]}, [City(name="A", people=1)]),
        ({"type": "array", "items": {"type": "integer"}}, {"result": [1, 2]}, [1, 2]),
        ({"type": "array", "items": {"type": "integer"}}, [1, 2], [1, 2]),
        (int, {"result": 5}, 5),
        ("json", {"any": "thing"}, {"any": "thing"}),
        ({"type": "json_object"}, {"any": "thing"}, {"any": "thing"}),
        ({"name": "a city!", "schema": CITY, "strict": True}, GOOD, GOOD),
        ({"type": "json_schema", "json_schema": {"name": "c", "schema": CITY}}, GOOD, GOOD),
        ({"required": {}, "properties": {"a": {}}}, {"a": 1}, {"a": 1}),
    ],
)
async def test_every_way_to_write_a_schema(
    make_agent: Make, schema: Any, answer: Any, value: Any
) -> None:
    agent, provider, services = make_agent(Reply(data=answer), output_schema=schema)
    assert (await agent.execute("?", make_context(services))).data == value
    form = provider.requests[0].response_format
    assert form["type"] in ("json_schema", "json_object")
    if form["type"] == "json_schema":
        inner = form["json_schema"]["schema"]
        assert inner.get("type", "object") == "object"
        assert all(letter.isalnum() or letter in "_-" for letter in form["json_schema"]["name"])


def test_what_a_form_says_beside_the_schema_is_kept() -> None:
    form = OutputSchema({"name": "a city!", "schema": CITY, "strict": True}).response_format
    assert form["json_schema"] == {"name": "a_city_", "schema": CITY, "strict": True}


def test_definitions_stay_reachable_when_a_list_is_wrapped() -> None:
    sent = OutputSchema(list[City]).sent
    assert sent["properties"]["result"]["items"] == {"$ref": "#/$defs/City"}
    assert "City" in sent["$defs"]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "objekt"}, "Not a JSON Schema"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "Not a JSON Schema"),
        ("text", "'text' is a text"),
        (5, "must be a table or a class, not int"),
        ([CITY], "must be a table or a class, not list"),
        ({"type": "json_schema"}, "'json_schema' must be a table with 'schema' in it"),
        (print, "pydantic cannot make one"),
    ],
)
def test_what_is_no_schema_is_refused_at_build(make_agent: Make, schema: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        make_agent(output_schema=schema)
    assert caught.value.code == "INVALID_SCHEMA"


def test_a_class_without_pydantic_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ConfigurationError) as caught:
        OutputSchema(City)
    assert "pip install 'llmspell-agents[pydantic]'" in (caught.value.hint or "")


async def test_one_call_may_ask_for_a_form_of_its_own(make_agent: Make) -> None:
    agent, provider, services = make_agent(Reply(data=GOOD), "plain words")
    context = make_context(services)
    asked = AgentInput("?", {"output_schema": City})
    assert (await agent.execute(asked, context)).data == City(**GOOD)
    assert (await agent.execute("?", context)).data is None
    assert provider.requests[1].response_format is None


class Population(Tool):
    effect_class = EffectClass.PURE

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema("population", "Counts", (Parameter("city", "string"),))

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        return ToolResult(text="717710")


async def test_tools_come_before_the_form_and_are_not_offered_for_the_repair(
    make_agent: Make,
) -> None:
    agent, provider, services = make_agent(
        Reply(tools=[("population", {"city": "Oslo"})]),
        "717710 people",
        Reply(data=GOOD),
        tools=(Population(),),
        output_schema=CITY,
    )
    output = await agent.execute("?", make_context(services))
    assert (output.data, len(output.tool_calls)) == (GOOD, 1)
    assert [request.tool_choice for request in provider.requests] == [None, None, "none"]
    assert [m["role"] for m in agent.conversation] == ["user", "assistant", "tool", "assistant"]


async def test_scripts_get_the_value_and_its_fields(make_agent: Make) -> None:
    wrapped = {"type": "object", "properties": {"result": {"type": "integer"}}}
    _, _, services = make_agent(
        Reply('{"result": "x"}', pieces=('{"res', 'ult": "x"}')), Reply(data={"result": 7})
    )
    face = AgentGlobal(HostDouble(context=make_context(services)))
    agent = face.get("ada")
    assert agent is not None
    seen: list[Any] = []

    class Keep:
        async def __call__(self, chunk: Any, context: Any = None) -> None:
            seen.append(chunk.text)

    result = await agent._stream({"text": "?", "schema": wrapped}, None, Keep())  # type: ignore[arg-type]
    assert result.fields["data"] == {"result": 7}
    assert result.fields["result"] == 7
    assert result.fields["text"] == '{"result": 7}'
    assert "".join(seen) == '{"result": "x"}{"result": 7}'
