"""The hook points around an execution of an agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import AgentInput, AgentOutput, ComponentError, LLMSpellError

if TYPE_CHECKING:
    from llmspell_core import Agent, ExecutionContext, HookExecutor

_PLAIN = (str, int, float, bool, list, dict, type(None))
BEFORE, AFTER, FAILED = "BeforeAgentExecution", "AfterAgentExecution", "AgentError"


async def hooked(
    agent: Agent,
    input: AgentInput,
    context: ExecutionContext,
    work: Callable[[AgentInput], Awaitable[AgentOutput]],
) -> AgentOutput:
    """*work*, with the hooks of an agent's execution around it.

    ``BeforeAgentExecution`` may change the input, skip or replace the work, or cancel it;
    ``AfterAgentExecution`` may change or replace the output; ``AgentError`` may replace it.

    Raises:
        ComponentError: with code ``HOOK_CANCELLED``, when a hook said so.
        LLMSpellError: what *work* raised, unless a hook replaced it.
    """
    hooks: HookExecutor | None = context.services.peek("hooks")
    if hooks is None or not any(map(hooks.wants, (BEFORE, AFTER, FAILED))):
        return await work(input)
    started = context.monotonic()
    try:
        output = None
        if hooks.wants(BEFORE):
            input, output = await _before(hooks, agent, input, context)
        if output is None:
            output = await work(input)
        if hooks.wants(AFTER):
            took = (context.monotonic() - started) * 1000
            output = await _after(hooks, agent, input, output, took, context)
    except LLMSpellError as error:
        if hooks.wants(FAILED):
            data = {**_who(agent, input), "error": str(error), "error_type": error.error_type}
            outcome = await hooks.run(FAILED, data, context)
            if outcome.action == "replace":
                return _made(outcome.data)
        raise
    return output


async def _before(
    hooks: HookExecutor, agent: Agent, input: AgentInput, context: ExecutionContext
) -> tuple[AgentInput, AgentOutput | None]:
    outcome = await hooks.run(BEFORE, _who(agent, input), context)
    if outcome.action == "cancel":
        raise _cancelled(BEFORE, outcome.reason)
    if outcome.action == "replace":
        return input, _made(outcome.data)
    if outcome.action == "skip":
        return input, AgentOutput(finish_reason="skipped", metadata={"skipped": True})
    if outcome.action == "modified":
        given = _table(_table(outcome.data).get("input"))
        text = given.get("text")
        parameters = given.get("parameters")
        input = replace(
            input,
            text=text if isinstance(text, str) else input.text,
            parameters={**input.parameters, **_table(parameters)},
        )
    return input, None


async def _after(
    hooks: HookExecutor,
    agent: Agent,
    input: AgentInput,
    output: AgentOutput,
    took: float,
    context: ExecutionContext,
) -> AgentOutput:
    usage, about = output.usage, output.metadata
    data = {
        **_who(agent, input),
        "output": {
            "text": output.text,
            "tool_calls": [call.to_dict() for call in output.tool_calls],
            "finish_reason": output.finish_reason,
        },
        "token_usage": None
        if usage is None
        else {
            "input_tokens": usage.prompt_tokens,
            "output_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
            "model": about.get("model"),
            "provider": about.get("provider"),
        },
        "duration_ms": took,
    }
    outcome = await hooks.run(AFTER, data, context)
    if outcome.action == "cancel":
        raise _cancelled(AFTER, outcome.reason)
    if outcome.action == "replace":
        return _made(outcome.data)
    if outcome.action == "modified":
        text = _table(_table(outcome.data).get("output")).get("text")
        if isinstance(text, str):
            return replace(output, text=text)
    return output


def _who(agent: Agent, input: AgentInput) -> dict[str, Any]:
    me = agent.metadata
    parameters: dict[str, Any] = {
        k: v for k, v in input.parameters.items() if isinstance(v, _PLAIN)
    }
    return {
        "agent_name": me.name,
        "agent_id": me.id,
        "input": {"text": input.text, "parameters": parameters},
    }


def _made(value: Any) -> AgentOutput:
    """The output that a hook gave in the place of the real one: a text, or ``{text, data}``."""
    table = _table(value)
    text = table.get("text", table.get("output", value))
    return AgentOutput(
        text if isinstance(text, str) else str(text),
        data=table.get("data"),
        finish_reason="replaced",
        metadata={"replaced": True},
    )


def _table(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _cancelled(point: str, reason: str | None) -> ComponentError:
    return ComponentError(
        f"Hook cancelled agent execution: {reason or 'no reason given'} ({point})",
        code="HOOK_CANCELLED",
        details={"phase": point, "reason": reason},
    )
