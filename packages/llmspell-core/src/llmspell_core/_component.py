"""The bases of everything that can be executed: agents, tools, workflows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from llmspell_core._errors import ComponentError, LLMSpellError, ValidationError
from llmspell_core._ledger import EffectClass
from llmspell_core._values import AgentChunk, AgentInput, AgentOutput, ComponentMetadata

if TYPE_CHECKING:
    from llmspell_core._context import ExecutionContext


class BaseAgent(ABC):
    """Something with a name that turns an input into an output.

    Subclasses write `metadata` and `execute_impl`; the rest has defaults. `execute` is the
    template around the work: a span in the run ledger, the events
    ``<component_type>.started|completed|failed`` for whoever listens, `validate_input` before
    and `handle_error` after.
    """

    @property
    @abstractmethod
    def metadata(self) -> ComponentMetadata:
        """Who it is."""

    @abstractmethod
    async def execute_impl(self, input: AgentInput, context: ExecutionContext) -> AgentOutput:
        """The work."""

    async def validate_input(self, input: AgentInput) -> None:
        """Raise `ValidationError` for an input that cannot be worked on; accepts all."""
        return None

    async def handle_error(self, error: LLMSpellError) -> AgentOutput:
        """Return a substitute output, or raise; re-raises."""
        raise error

    async def execute(
        self,
        input: AgentInput | str,
        context: ExecutionContext,
    ) -> AgentOutput:
        """Run it. Do not override.

        Raises:
            LLMSpellError: as documented by the component.
            ExecutionCancelled: when the execution was cancelled.
        """
        asked = AgentInput.of(input)
        context.check()
        me = self.metadata
        with context.span(me.component_type, me.name) as inner:
            # For whoever listens, not for the run: so it is not recorded.
            started = perf_counter()
            _tell(context, me, "started", {"input_text_length": len(asked.text)})
            try:
                await self.validate_input(asked)
                output = await self.execute_impl(asked, inner)
            except Exception as error:
                took = (perf_counter() - started) * 1000
                kind = getattr(error, "error_type", type(error).__name__)
                _tell(
                    context,
                    me,
                    "failed",
                    {"duration_ms": took, "error": str(error), "error_type": kind},
                )
                if not isinstance(error, LLMSpellError):
                    raise
                return await self.handle_error(error)
            took = (perf_counter() - started) * 1000
            _tell(
                context,
                me,
                "completed",
                {"duration_ms": took, "output_text_length": len(output.text)},
            )
            return output

    def supports_streaming(self) -> bool:
        """Whether `stream` works; no."""
        return False

    def stream(
        self, input: AgentInput | str, context: ExecutionContext
    ) -> AsyncIterator[AgentChunk]:
        """Run it and yield the answer while it grows; the last chunk has the whole output.

        Raises:
            ComponentError: when the component cannot stream.
        """
        raise ComponentError("Streaming execution not supported by this component")


def _tell(
    context: ExecutionContext, me: ComponentMetadata, what: str, payload: dict[str, Any]
) -> None:
    bus = context.services.peek("events")
    if bus is not None and bus.listening:
        bus.publish(
            f"{me.component_type}.{what}",
            {"component_name": me.name, "component_version": str(me.version), **payload},
            context,
        )


class Agent(BaseAgent):
    """A component that holds a conversation with a model."""

    @property
    @abstractmethod
    def conversation(self) -> Sequence[Mapping[str, Any]]:
        """The messages so far: ``{role, content, …}``, oldest first."""

    @abstractmethod
    def clear_conversation(self) -> None:
        """Forget the messages, keep the configuration."""

    def restore_conversation(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Go on from *messages*, as `conversation` gave them, in place of what there is.

        Raises:
            ComponentError: when the agent cannot.
        """
        raise ComponentError(
            f"Agent '{self.metadata.name}' cannot take over a conversation", code="UNSUPPORTED"
        )


class SecurityLevel(Enum):
    """How much a tool may do, in rising order."""

    SAFE = "safe"
    RESTRICTED = "restricted"
    PRIVILEGED = "privileged"

    def allows(self, required: SecurityLevel) -> bool:
        """Whether this level is at least *required*."""
        order = list(SecurityLevel)
        return order.index(self) >= order.index(required)


PARAMETER_TYPES = ("string", "number", "integer", "boolean", "array", "object", "any")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a tool. `type` is one of `PARAMETER_TYPES`.

    `aliases` are other accepted names; a `sensitive` value is never written to the ledger.
    """

    name: str
    type: str
    description: str = ""
    required: bool = False
    default: Any = None
    enum: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    items: str | None = None
    aliases: tuple[str, ...] = ()
    sensitive: bool = False

    def to_json_schema(self) -> dict[str, Any]:
        """Its property in a JSON Schema."""
        schema: dict[str, Any] = {"description": self.description}
        if self.type != "any":
            schema["type"] = self.type
        if self.default is not None:
            schema["default"] = self.default
        if self.enum:
            schema["enum"] = list(self.enum)
        if self.minimum is not None:
            schema["minimum"] = self.minimum
        if self.maximum is not None:
            schema["maximum"] = self.maximum
        if self.type == "array" and self.items:
            schema["items"] = {"type": self.items}
        return schema


@dataclass(frozen=True, slots=True)
class ToolSchema:
    """What a tool takes, in the order it is documented."""

    name: str
    description: str
    parameters: tuple[Parameter, ...] = ()
    returns: str | None = None

    def to_json_schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of the parameters object."""
        return {
            "type": "object",
            "properties": {p.name: p.to_json_schema() for p in self.parameters},
            "required": [p.name for p in self.parameters if p.required],
        }

    @property
    def sensitive(self) -> frozenset[str]:
        """The names of the sensitive parameters, lower case."""
        return frozenset(p.name.lower() for p in self.parameters if p.sensitive)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool brought.

    `result` is a JSON value. `text` is what a person or a model reads; None means the JSON of
    the envelope. `value` is the primary value, when there is one. A soft failure has
    ``success=False`` and `error`; a hard one is raised instead.
    """

    success: bool = True
    operation: str | None = None
    message: str | None = None
    result: Any = None
    text: str | None = None
    value: Any = None
    error: str | None = None
    error_details: dict[str, Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])

    def envelope(self) -> dict[str, Any]:
        """``{operation, success, message?, result?, error?, metadata}``."""
        made: dict[str, Any] = {"operation": self.operation, "success": self.success}
        if self.message is not None:
            made["message"] = self.message
        if self.result is not None:
            made["result"] = self.result
        if self.error is not None:
            details = self.error_details or {}
            made["error"] = {
                "message": self.error,
                "code": details.get("code"),
                "details": details.get("details"),
            }
        made["metadata"] = self.metadata
        return made

    def rendered(self) -> str:
        """`text`, else the envelope as JSON.

        Keys below the envelope's own are sorted: a result that comes back from the run ledger
        has lost their order, and must read the same.
        """
        if self.text is not None:
            return self.text
        import json

        envelope = {key: _sorted(value) for key, value in self.envelope().items()}
        return json.dumps(envelope, ensure_ascii=False, indent=2, default=str)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        table = cast("dict[Any, Any]", value)
        return {key: _sorted(table[key]) for key in sorted(table, key=str)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in cast("list[Any]", value)]
    return value


class Tool(BaseAgent):
    """Something an agent, a workflow or a script can call with named parameters.

    Subclasses write `schema` and `run`; name and description come from the schema. Behaviour
    around the call (normalisation, validation, policy, hooks, time-out, recording) belongs to
    the tool registry, not to the tool: call it through ``services.tools.invoke``.
    """

    category: str = "utility"
    security_level: SecurityLevel = SecurityLevel.SAFE
    effect_class: EffectClass = EffectClass.PURE
    destructive: bool = False
    aliases: tuple[str, ...] = ()
    timeout_seconds: float = 30.0

    @property
    @abstractmethod
    def schema(self) -> ToolSchema:
        """What it takes."""

    @abstractmethod
    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """Do it; *parameters* are normalised and valid.

        Raises:
            LLMSpellError: for a hard failure.
        """

    def effect_of(self, parameters: Mapping[str, Any]) -> EffectClass:
        """The effect class of this call, where it depends on the operation."""
        return self.effect_class

    def destructive_of(self, parameters: Mapping[str, Any]) -> bool:
        """Whether this call overwrites or removes what was there before."""
        return self.destructive

    def read_only_of(self, parameters: Mapping[str, Any]) -> bool:
        """Whether this call leaves the world as it was; so for the class ``pure``."""
        return self.effect_of(parameters) is EffectClass.PURE

    @property
    def metadata(self) -> ComponentMetadata:
        """From the schema."""
        schema = self.schema
        return ComponentMetadata(schema.name, schema.description, "tool", tags=(self.category,))

    async def execute_impl(self, input: AgentInput, context: ExecutionContext) -> AgentOutput:
        """`run`, with the parameters in ``input.parameters`` (or its key ``parameters``)."""
        inner = input.parameters.get("parameters", input.parameters)
        if not isinstance(inner, dict):
            raise ValidationError("Parameters must be an object", field="parameters")
        result = await self.run(inner, context)  # pyright: ignore[reportUnknownArgumentType]
        return AgentOutput(text=result.rendered(), data=result.envelope())


class Workflow(BaseAgent):
    """Steps that are executed by a rule: sequential, parallel, conditional, loop."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """The rule."""
