"""What every `BaseAgent` keeps: agents, tools, workflows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest

from llmspell_core import (
    PARAMETER_TYPES,
    Agent,
    AgentInput,
    AgentOutput,
    BaseAgent,
    CancelSignal,
    ComponentError,
    Deadline,
    EffectClass,
    ExecutionCancelled,
    ExecutionContext,
    LLMSpellError,
    LLMTimeoutError,
    SecurityLevel,
    Services,
    Tool,
    ToolResult,
    Workflow,
    canonical,
)
from llmspell_testing._signals import EventsDouble
from llmspell_testing._stores import LedgerDouble
from llmspell_testing._worlds import make_context, make_services, recording_context


def _services(given: Mapping[str, Any], events: EventsDouble | None = None) -> Services:
    doubles: dict[str, Any] = dict(given)
    if events is not None:
        doubles["events"] = events
    made = make_services()
    for name, service in doubles.items():
        made.provide(name, service)
    return made


class ComponentSuite:
    """Override `component`; where it needs services, override `services` too.

    `asked` is an input it can work on.
    """

    @pytest.fixture
    def component(self) -> BaseAgent:
        """The component."""
        raise NotImplementedError("override the fixture 'component'")

    @pytest.fixture
    def services(self) -> Mapping[str, Any]:
        """The services it needs, by name; an event bus is added."""
        return {}

    @pytest.fixture
    def asked(self) -> AgentInput:
        """An input it can work on."""
        return AgentInput("Hello")

    def test_metadata_says_who_it_is(self, component: BaseAgent) -> None:
        first, second = component.metadata, component.metadata
        assert first == second
        assert first.name
        assert first.component_type
        assert first.id == second.id

    async def test_it_answers_with_an_output(
        self, component: BaseAgent, services: Mapping[str, Any], asked: AgentInput
    ) -> None:
        output = await component.execute(asked, make_context(_services(services)))
        assert isinstance(output, AgentOutput)
        assert output.finish_reason

    async def test_it_tells_when_it_starts_and_ends(
        self, component: BaseAgent, services: Mapping[str, Any], asked: AgentInput
    ) -> None:
        bus = EventsDouble()
        context = make_context(_services(services, bus))
        await component.execute(asked, context)
        me = component.metadata
        own = [
            event
            for event in bus.published
            if event.topic.startswith(f"{me.component_type}.")
            and event.payload.get("component_name") == me.name
        ]
        kinds = [event.topic.partition(".")[2] for event in own]
        assert kinds[0] == "started"
        assert kinds[-1] == "completed"
        assert {event.correlation_id for event in own} == {context.correlation_id}

    async def test_it_is_a_span_of_the_run(
        self, component: BaseAgent, services: Mapping[str, Any], asked: AgentInput
    ) -> None:
        ledger = LedgerDouble()
        await component.execute(asked, recording_context(ledger, _services(services)))
        me = component.metadata
        spans = [
            effect
            for effect in ledger.effects("run")
            if effect.intent.effect_class is EffectClass.SPAN and effect.intent.path == ""
        ]
        assert [(s.intent.kind, json.loads(s.intent.request)) for s in spans] == [
            (me.component_type, me.name)
        ]
        assert spans[0].outcome is not None
        assert spans[0].outcome.ok

    async def test_a_cancelled_execution_does_not_begin(
        self, component: BaseAgent, services: Mapping[str, Any], asked: AgentInput
    ) -> None:
        cancel = CancelSignal()
        cancel.cancel("stop")
        bus = EventsDouble()
        made = _services(services, bus)
        with pytest.raises(ExecutionCancelled):
            await component.execute(asked, make_context(made, cancel=cancel))
        assert bus.topics == []

    async def test_an_execution_out_of_time_does_not_begin(
        self, component: BaseAgent, services: Mapping[str, Any], asked: AgentInput
    ) -> None:
        made = _services(services)
        with pytest.raises(LLMTimeoutError):
            await component.execute(asked, make_context(made, deadline=Deadline(0.0)))

    async def test_it_streams_to_the_end_or_says_that_it_cannot(
        self, component: BaseAgent, services: Mapping[str, Any], asked: AgentInput
    ) -> None:
        context = make_context(_services(services))
        if not component.supports_streaming():
            with pytest.raises(ComponentError):
                async for _ in component.stream(asked, context):
                    pass
            return
        chunks = [chunk async for chunk in component.stream(asked, context)]
        assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
        assert [chunk.is_final for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert chunks[-1].output is not None
        text = "".join(chunk.text for chunk in chunks if chunk.kind == "text")
        assert chunks[-1].output.text in text


class AgentSuite(ComponentSuite):
    """Override `component` with an `Agent` (and `services` with the model it asks)."""

    async def test_the_conversation_grows_and_can_be_cleared(
        self, component: BaseAgent, services: Mapping[str, Any], asked: AgentInput
    ) -> None:
        assert isinstance(component, Agent)
        before = len(component.conversation)
        output = await component.execute(asked, make_context(_services(services)))
        new = [dict(message) for message in component.conversation][before:]
        assert {"role", "content"} <= set(new[0])
        assert next(m["role"] for m in new if m["role"] != "system") == "user"
        assert (new[-1]["role"], new[-1]["content"]) == ("assistant", output.text)
        component.clear_conversation()
        assert [m for m in component.conversation if m["role"] != "system"] == []

    async def test_a_bare_text_is_an_input(
        self, component: BaseAgent, services: Mapping[str, Any]
    ) -> None:
        output = await component.execute("Hello", make_context(_services(services)))
        assert isinstance(output, AgentOutput)


class WorkflowSuite(ComponentSuite):
    """Override `component` with a `Workflow` (and `services` with what its steps need)."""

    def test_it_has_a_kind(self, component: BaseAgent) -> None:
        assert isinstance(component, Workflow)
        assert component.kind
        assert component.metadata.component_type == "workflow"

    async def test_it_can_run_again(
        self, component: BaseAgent, services: Mapping[str, Any], asked: AgentInput
    ) -> None:
        context = make_context(_services(services))
        first = await component.execute(asked, context)
        second = await component.execute(asked, context)
        assert (first.text, first.finish_reason) == (second.text, second.finish_reason)


class ToolSuite(ComponentSuite):
    """Override `component` with a `Tool`, `parameters` with what it can work on, and `refused`
    with parameters of the right types that it must refuse.
    """

    @pytest.fixture
    def parameters(self) -> dict[str, Any]:
        """Parameters it can work on."""
        raise NotImplementedError("override the fixture 'parameters'")

    @pytest.fixture
    def refused(self) -> list[dict[str, Any]]:
        """Parameters that fail: by an error or by a result without success."""
        return []

    @pytest.fixture
    def asked(self, parameters: dict[str, Any]) -> AgentInput:
        """The parameters as an input."""
        return AgentInput(parameters=parameters)

    def test_the_schema_describes_every_parameter_once(self, component: BaseAgent) -> None:
        assert isinstance(component, Tool)
        schema = component.schema
        assert schema.name
        assert schema.description
        names = [name for p in schema.parameters for name in (p.name, *p.aliases)]
        assert len(names) == len(set(names)), names
        assert {p.type for p in schema.parameters} <= set(PARAMETER_TYPES)
        for parameter in schema.parameters:
            assert parameter.description, parameter.name
            assert not (parameter.required and parameter.default is not None), parameter.name
        as_json = json.loads(json.dumps(schema.to_json_schema()))
        assert as_json["type"] == "object"
        assert list(as_json["properties"]) == [p.name for p in schema.parameters]

    def test_it_says_what_it_may_do(self, component: BaseAgent, parameters: dict[str, Any]) -> None:
        assert isinstance(component, Tool)
        assert isinstance(component.security_level, SecurityLevel)
        assert component.category
        assert component.timeout_seconds > 0
        assert component.schema.name not in component.aliases
        effect_class = component.effect_of(parameters)
        assert isinstance(effect_class, EffectClass)
        assert effect_class is not EffectClass.SPAN

    async def test_a_result_is_json(
        self, component: BaseAgent, services: Mapping[str, Any], parameters: dict[str, Any]
    ) -> None:
        assert isinstance(component, Tool)
        given = deepcopy(parameters)
        result = await component.run(given, make_context(_services(services)))
        assert isinstance(result, ToolResult)
        assert result.success, result.error
        assert given == parameters, "run() changed the parameters it was given"
        envelope = result.envelope()
        assert json.loads(canonical(envelope)) == json.loads(json.dumps(envelope))
        assert isinstance(result.rendered(), str)

    async def test_parameters_may_come_in_a_table_of_their_own(
        self, component: BaseAgent, services: Mapping[str, Any], parameters: dict[str, Any]
    ) -> None:
        asked = AgentInput(parameters={"parameters": parameters})
        output = await component.execute(asked, make_context(_services(services)))
        assert output.data["success"] is True

    async def test_what_it_must_refuse_fails(
        self, component: BaseAgent, services: Mapping[str, Any], refused: list[dict[str, Any]]
    ) -> None:
        assert isinstance(component, Tool)
        for parameters in refused:
            context = make_context(_services(services))
            try:
                result = await component.run(deepcopy(parameters), context)
            except LLMSpellError:
                pass
            else:
                assert not result.success, parameters
                assert result.error, parameters

    async def test_calls_at_the_same_time_do_not_disturb_each_other(
        self, component: BaseAgent, services: Mapping[str, Any], parameters: dict[str, Any]
    ) -> None:
        assert isinstance(component, Tool)
        context: ExecutionContext = make_context(_services(services))
        results = await asyncio.gather(
            *(component.run(deepcopy(parameters), context) for _ in range(8))
        )
        assert [result.success for result in results] == [True] * 8
