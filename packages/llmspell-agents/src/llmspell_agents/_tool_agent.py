"""`ToolAgent`: an agent without a model that runs one tool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from llmspell_agents._history import Remembered
from llmspell_agents._managed import Emit, ManagedAgent
from llmspell_agents._scope import inside
from llmspell_agents._toolbox import ALL, allowed_names, check_tools
from llmspell_core import (
    AgentChunk,
    AgentInput,
    AgentOutput,
    ConfigurationError,
    ExecutionContext,
    Message,
    ToolCall,
    ToolError,
    ValidationError,
)

if TYPE_CHECKING:
    from llmspell_agents._config import AgentConfig
    from llmspell_core import Services, ToolRegistry

_TOOL_KEYS = ("tool", "tool_name")


class ToolAgent(ManagedAgent):
    """Runs a tool for each input, without a model.

    The parameters of the input are those of the tool (``parameters`` in the input of a script);
    a text that is a JSON object is taken for them as well; any other text is the tool's first
    text parameter that nobody set. With several tools, the parameter ``tool`` names one.

    Raises:
        ConfigurationError: without a tool.
    """

    def __init__(self, config: AgentConfig, services: Services) -> None:
        super().__init__(config, services)
        if not config.tools:
            raise ConfigurationError(
                f"Agent '{config.name}' of type 'tool' has no tool",
                hint="Give it one: :tool(NAME).",
            )
        check_tools(config.tools, services.tools)

    def capabilities(self) -> list[str]:
        """Those of every agent, and ``supports_tools``."""
        return list(dict.fromkeys([*super().capabilities(), "supports_tools"]))

    def tool_names(self) -> list[str]:
        """The tools it may use, ``*`` written out."""
        return allowed_names(self.config.tools, self._services.tools)

    async def validate_input(self, input: AgentInput) -> None:
        """In a state to execute; parameters alone are enough to ask for something."""
        if not input.text.strip() and _given(input):
            self.lifecycle.check()
            return
        await super().validate_input(input)

    async def answer(
        self, input: AgentInput, context: ExecutionContext, emit: Emit | None
    ) -> AgentOutput:
        registry = self._services.tools
        given = _given(input)
        name = self._chosen(given, registry)
        parameters = _with_text(input.text, given, name, registry)
        rules = self.config.tool_options.get(name)
        started = context.monotonic()
        result = await registry.invoke(
            name,
            parameters,
            inside(self.config, context),
            timeout_seconds=None if rules is None else rules.timeout_seconds,
            retry=0 if rules is None else rules.retry,
        )
        took = (context.monotonic() - started) * 1000
        if not result.success:
            raise ToolError(result.error or f"tool '{name}' failed", tool_name=name)
        brought = result.text if result.result is None else result.result
        text = str(result.value) if _scalar(result.value) else result.rendered()
        call = ToolCall(name, name, parameters, success=True, result=brought, duration_ms=took)
        if self.config.memory_enabled:
            now = context.now()
            asked = Message("user", input.text or json.dumps(given, sort_keys=True, default=str))
            self._history.add([Remembered(asked, now), Remembered(Message("assistant", text), now)])
        if emit is not None:
            await emit(AgentChunk("text", 0, text))
        metadata = {"tool": name, "execution_time_ms": took}
        return AgentOutput(text, data=brought, tool_calls=(call,), metadata=metadata)

    def _chosen(self, given: dict[str, Any], registry: ToolRegistry) -> str:
        """The canonical name of the tool to run."""
        names = self.tool_names()
        asked = next((given.pop(key) for key in _TOOL_KEYS if key in given), None)
        if asked is None:
            if len(names) == 1 and ALL not in self.config.tools:
                return registry.get(names[0]).schema.name
            raise ValidationError(
                f"Agent '{self.config.name}' has several tools: which one?",
                field="tool",
                hint=f"Name it in the parameter 'tool': {', '.join(names)}.",
            )
        own = [registry.get(name).schema.name for name in names]
        wanted = registry.get(str(asked)).schema.name
        if wanted not in own:
            raise ValidationError(
                f"tool '{asked}' is not among those of agent '{self.config.name}'",
                field="tool",
                hint=f"Its tools: {', '.join(own)}.",
            )
        return wanted


def _given(input: AgentInput) -> dict[str, Any]:
    """The parameters of the tool in *input*."""
    inner = input.parameters.get("parameters")
    if isinstance(inner, Mapping):
        return dict(cast("Mapping[str, Any]", inner))
    return dict(input.parameters)


def _with_text(
    text: str, given: dict[str, Any], name: str, registry: ToolRegistry
) -> dict[str, Any]:
    """*given*, with what the text says."""
    if not text.strip():
        return given
    if text.lstrip().startswith("{"):
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if isinstance(value, dict):
            return {**cast("dict[str, Any]", value), **given}
    schema = registry.get(name).schema
    free = [
        parameter.name
        for parameter in sorted(schema.parameters, key=lambda p: not p.required)
        if parameter.type in ("string", "any")
        and not parameter.enum
        and not {parameter.name, *parameter.aliases} & given.keys()
    ]
    preferred = [name for name in ("input", "text", "query", "content") if name in free]
    place = next(iter([*preferred, *free]), None)
    return given if place is None else {**given, place: text}


def _scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)
