"""`AgentTool`: an agent that other agents, workflows and scripts call as a tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmspell_agents._members import ask_inside
from llmspell_core import (
    AgentInput,
    BaseAgent,
    EffectClass,
    ExecutionContext,
    Parameter,
    SecurityLevel,
    Tool,
    ToolResult,
    ToolSchema,
    ValidationError,
)

_TEXT = ("text", "input", "prompt", "query", "message")
_PATIENCE = 5.0
"""Seconds that the tool waits longer than the agent works, so that the agent ends it."""
_DEFAULT_SECONDS = 300.0


class AgentTool(Tool):
    """An agent as a tool: takes a text (``text``, ``input``, ``prompt``), gives its answer.

    It runs as a part of the execution that calls it: with its deadline, its budget and its
    approval, and recorded effect by effect.

    Args:
        agent: Who works.
        name: The tool's name; ``<agent>_tool``.
        category: What it is listed under.
        security_level: What the policy must allow for it to be called.
        description: What it is good for; that of the agent.
    """

    # Not an effect itself: what the agent does is recorded, and in a replay it runs again.
    effect_class = EffectClass.SPAN

    def __init__(
        self,
        agent: BaseAgent,
        *,
        name: str | None = None,
        category: str = "utility",
        security_level: SecurityLevel = SecurityLevel.RESTRICTED,
        description: str | None = None,
    ) -> None:
        self.agent = agent
        self.category = category
        self.security_level = security_level
        me = agent.metadata
        config = getattr(agent, "config", None)
        own = _DEFAULT_SECONDS if config is None else config.limits.max_execution_time
        self.timeout_seconds = own + _PATIENCE
        self._schema = ToolSchema(
            name or f"{me.name}_tool",
            description or f"Ask the agent '{me.name}': {me.description}",
            (
                Parameter(
                    "text",
                    "string",
                    "The task or question, with all that the agent needs to know",
                    aliases=_TEXT[1:],
                ),
                Parameter("parameters", "object", "Values for the agent, by name"),
            ),
            "The answer of the agent",
        )

    @property
    def schema(self) -> ToolSchema:
        return self._schema

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """Let the agent work.

        Raises:
            LLMSpellError: as the agent raises.
        """
        given: Mapping[str, Any] = parameters.get("parameters") or {}
        text = parameters.get("text") or next(
            (given[key] for key in _TEXT if isinstance(given.get(key), str)), ""
        )
        if not text:
            raise ValidationError(
                "Missing required parameter: text", field="text", hint="Say what the task is."
            )
        # The values stay under one key: a model must not override how the agent works.
        asked = AgentInput(
            text,
            {"parameters": dict(given)},
            {
                "tool_context": {
                    "tool_name": self._schema.name,
                    "tool_category": self.category,
                    "security_level": self.security_level.value,
                }
            },
        )
        output = await ask_inside(self.agent, asked, context)
        metadata: dict[str, Any] = {
            "agent": self.agent.metadata.name,
            "finish_reason": output.finish_reason,
        }
        if output.usage is not None:
            metadata["usage"] = output.usage.to_dict()
        return ToolResult(
            operation="execute",
            result=output.data if _is_json(output.data) else None,
            text=output.text,
            value=output.text,
            metadata=metadata,
        )


def _is_json(value: Any) -> bool:
    return isinstance(value, dict | list | str | int | float | bool)
