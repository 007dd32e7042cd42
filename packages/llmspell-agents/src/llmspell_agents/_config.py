"""`AgentConfig`: everything an agent is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from llmspell_agents._memory import Memory
from llmspell_core import ValidationError

if TYPE_CHECKING:
    from llmspell_agents._routing import Routing
    from llmspell_agents._schema import OutputSchema
    from llmspell_core import ApprovalPolicy, BudgetLimits


_PROMPTED = ("llm", "tool-orchestrator")
"""The kinds whose model is told who it is where nobody says."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When an agent stops and returns what it has.

    `max_execution_time` is in seconds, `max_tool_calls` counts the calls of one execution,
    `max_recursion_depth` its rounds of tool calls.
    """

    max_execution_time: float = 300.0
    max_tool_calls: int = 100
    max_recursion_depth: int = 10

    def to_dict(self) -> dict[str, Any]:
        """As scripts write them."""
        return {
            "max_execution_time_secs": self.max_execution_time,
            "max_tool_calls": self.max_tool_calls,
            "max_recursion_depth": self.max_recursion_depth,
        }


@dataclass(frozen=True, slots=True)
class ToolRules:
    """How an agent's calls of one tool are made: seconds for one attempt (None: as configured),
    and further attempts after failures that may pass.
    """

    timeout_seconds: float | None = None
    retry: int = 0

    def __post_init__(self) -> None:
        if self.timeout_seconds is not None and not self.timeout_seconds > 0:
            raise ValidationError(
                f"the timeout of a tool must be above zero, not {self.timeout_seconds:g}",
                field="tool_options",
            )
        if not 0 <= self.retry <= 10:
            raise ValidationError(
                f"the retries of a tool must be from 0 to 10, not {self.retry}",
                field="tool_options",
            )

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return {"timeout_seconds": self.timeout_seconds, "retry": self.retry}


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """The configuration of an agent; what is None is left to the provider.

    `model` is ``provider/model`` or a model of `provider`; `fallback` are models to ask instead.
    `tools` are names, ``*`` is every registered tool; `tool_options` are `ToolRules` by name;
    `tool_choice` (``auto, none, required`` or a name) holds until the first call was made;
    `tool_calling` ``prompt`` is for models without function calling. `output_schema` is the form
    of the answer. `timeout_seconds` bounds one model call, which is made
    again up to `retries` times. `settings` go to the provider as they
    are. `context_window` is a budget of (estimated) tokens for all that is sent. `approval` says
    who is asked before calls that cannot be taken back; `budget` what one execution may spend.
    With `on_error` ``text`` a failure is an answer that says so. `members` and `routing` are those
    of a team, `workflow` that of an agent that runs one: the components or their names.
    """

    name: str
    description: str = "LLM-powered agent"
    agent_type: str = "llm"
    model: str | None = None
    provider: str | None = None
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    fallback: tuple[str, ...] = ()
    system_prompt: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    timeout_seconds: float | None = None
    retries: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tools: tuple[str, ...] = ()
    tool_options: Mapping[str, ToolRules] = field(default_factory=dict[str, ToolRules])
    tool_choice: str | None = None
    tool_calling: Literal["native", "prompt"] = "native"
    parallel_tools: bool = True
    output_schema: OutputSchema | None = None
    capabilities: tuple[str, ...] = ()
    memory_enabled: bool = True
    memory: Memory = field(default_factory=Memory)
    max_conversation_length: int = 100
    context_window: int | None = None
    approval: ApprovalPolicy | None = None
    budget: BudgetLimits | None = None
    on_error: Literal["raise", "text"] = "raise"
    limits: Limits = field(default_factory=Limits)
    members: tuple[Any, ...] = ()
    routing: Routing | None = None
    workflow: Any = None
    custom: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValidationError("An agent needs a name", field="name")
        _within("temperature", self.temperature, 0, 2)
        _within("top_p", self.top_p, 0, 1)
        for name, value in (
            ("max_tokens", self.max_tokens),
            ("timeout", self.timeout_seconds),
            ("max_conversation_length", self.max_conversation_length),
            ("context_window", self.context_window),
            ("max_execution_time", self.limits.max_execution_time),
            ("max_recursion_depth", self.limits.max_recursion_depth),
        ):
            if value is not None and value <= 0:
                raise ValidationError(f"{name} must be above zero, not {value:g}", field=name)
        if self.retries is not None and self.retries < 0:
            raise ValidationError("retry cannot be negative", field="retry")
        if self.limits.max_tool_calls < 0:
            raise ValidationError("max_tool_calls cannot be negative", field="max_tool_calls")
        for name, word, words in (
            ("tool_calling", self.tool_calling, ("native", "prompt")),
            ("on_error", self.on_error, ("raise", "text")),
        ):
            if word not in words:
                raise ValidationError(
                    f"{name} must be '{words[0]}' or '{words[1]}', not '{word}'", field=name
                )

    def prompt(self) -> str:
        """The system message."""
        if self.system_prompt is not None:
            return self.system_prompt
        return f"You are {self.name}, an AI assistant. {self.description}"

    def to_dict(self) -> dict[str, Any]:
        """What scripts may see; never the key."""
        budget = self.budget
        return {
            "name": self.name,
            "description": self.description,
            "type": self.agent_type,
            "model": self.model,
            "provider": self.provider,
            "base_url": self.base_url,
            "fallback": list(self.fallback),
            "system_prompt": self.prompt() if self.agent_type in _PROMPTED else self.system_prompt,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "top_p": self.top_p,
            "stop": list(self.stop),
            "seed": self.seed,
            "allowed_tools": list(self.tools),
            "tool_options": {name: rule.to_dict() for name, rule in self.tool_options.items()},
            "tool_choice": self.tool_choice,
            "tool_calling": self.tool_calling,
            "parallel_tools": self.parallel_tools,
            "output_schema": None if self.output_schema is None else self.output_schema.schema,
            "capabilities": list(self.capabilities),
            "memory_enabled": self.memory_enabled,
            "memory": self.memory.to_dict(),
            "max_conversation_length": self.max_conversation_length,
            "context_window": self.context_window,
            "approval": None if self.approval is None else self.approval.ask,
            "budget": None
            if budget is None
            else {
                name: getattr(budget, name)
                for name in ("tokens", "cost", "calls", "seconds", "soft")
            },
            "on_error": self.on_error,
            "resource_limits": self.limits.to_dict(),
            "custom_config": dict(self.custom),
            **self._inside(),
        }

    def _inside(self) -> dict[str, Any]:
        """What agents have that consist of others."""
        made: dict[str, Any] = {}
        if self.members:
            made["members"] = [_named(member) for member in self.members]
        if self.routing is not None:
            made["routing"] = self.routing.to_dict()
        if self.workflow is not None:
            made["workflow"] = _named(self.workflow)
        return made


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise ValidationError(f"{name} must be from {low:g} to {high:g}, not {value:g}", field=name)


def _named(component: Any) -> str:
    """The name of a component, of a script's handle of one, or the name itself."""
    metadata = getattr(component, "metadata", None)
    return str(getattr(metadata, "name", None) or getattr(component, "name", component))
