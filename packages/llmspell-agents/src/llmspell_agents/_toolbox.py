"""The tools of an agent as the model sees them, and the calls the model makes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmspell_agents._config import ToolRules
from llmspell_core import (
    ConfigurationError,
    LLMSpellError,
    NotFoundError,
    ReplayError,
    ToolCall,
    ToolRequest,
    ToolResult,
    ToolSchema,
    nearest,
)

if TYPE_CHECKING:
    from llmspell_agents._turn import Clock
    from llmspell_core import ExecutionContext, ToolRegistry

_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64
_LONGEST_RESULT = 100_000
_LEAST_RESULT = 2_000
ALL = "*"
CHOICES = ("auto", "none", "required")
_USUAL = ToolRules()


def check_tools(names: Sequence[str], registry: ToolRegistry, choice: str | None = None) -> None:
    """See that every name is a tool, and *choice* one of them or a word for a choice.

    Raises:
        ConfigurationError: naming the first that is not.
    """
    for name in names:
        if name == ALL or registry.has(name):
            continue
        try:
            registry.get(name)
        except NotFoundError as error:
            raise ConfigurationError(
                error.message, hint=error.hint, details=error.details, code="TOOL_NOT_FOUND"
            ) from error
    if choice is None or choice in CHOICES:
        return
    own = [_own_name(name, registry) for name in allowed_names(names, registry)]
    if not registry.has(choice) or _own_name(choice, registry) not in own:
        raise ConfigurationError(
            f"tool_choice '{choice}' is none of the agent's tools",
            hint=f"Choose auto, none, required, or one of: {', '.join(own) or 'no tools'}.",
            code="TOOL_NOT_FOUND",
        )


def _own_name(name: str, registry: ToolRegistry) -> str:
    return registry.get(name).schema.name


def allowed_names(names: Sequence[str], registry: ToolRegistry) -> list[str]:
    """The names with ``*`` written out, each once, in order."""
    found: list[str] = []
    for name in names:
        found.extend([info.name for info in registry.list()] if name == ALL else [name])
    return list(dict.fromkeys(found))


def _exported(name: str, taken: Mapping[str, str]) -> str:
    """A name that every provider accepts: ``^[A-Za-z0-9_-]{1,64}$``, unlike the *taken* ones."""
    plain = _NOT_ALLOWED.sub("_", name)[:_LONGEST_NAME] or "tool"
    candidate, number = plain, 1
    while candidate in taken:
        number += 1
        suffix = f"_{number}"
        candidate = plain[: _LONGEST_NAME - len(suffix)] + suffix
    return candidate


class Toolbox:
    """The tools of one execution.

    Args:
        names: The tools' own names.
        registry: Where they are looked up and run.
        rules: How the calls of single tools are made, by name.
        agent: Whose tools they are.
    """

    def __init__(
        self,
        names: Sequence[str],
        registry: ToolRegistry,
        rules: Mapping[str, ToolRules] | None = None,
        agent: str = "",
    ) -> None:
        self._registry = registry
        self._agent = agent
        self._real: dict[str, str] = {}
        self._rules: dict[str, ToolRules] = {}
        self.longest_result = _LONGEST_RESULT
        made: list[ToolSchema] = []
        for name in names:
            schema = registry.get(name).schema
            exported = _exported(schema.name, self._real)
            self._real[exported] = schema.name
            made.append(schema if exported == schema.name else replace(schema, name=exported))
        for name, rule in (rules or {}).items():
            if registry.has(name):
                self._rules[_own_name(name, registry)] = rule
        self.schemas = tuple(made)

    def bound(self, window: int | None) -> None:
        """Shorten results to a quarter of the context *window* (tokens), where that is less."""
        if window is not None:
            self.longest_result = min(_LONGEST_RESULT, max(_LEAST_RESULT, window))

    def exported(self, choice: str | None) -> str | None:
        """The choice of a tool as the model knows it."""
        if choice is None or choice in CHOICES or not self._registry.has(choice):
            return choice
        real = _own_name(choice, self._registry)
        return next((name for name, own in self._real.items() if own == real), None)

    async def call(
        self, request: ToolRequest, context: ExecutionContext, clock: Clock
    ) -> tuple[ToolCall, str]:
        """Run what the model asked for: the call with its result, and the text for the model.

        A failure is a result too, with what the model can do about it. Only what ends the
        execution is raised.
        """
        name = self._real.get(request.name)
        if name is None:
            return await self._unknown(request, context)
        parameters, problem = read_arguments(request.arguments)
        if parameters is None:
            return failed_call(request, name, {}, "Validation", problem, _SEND_OBJECT)
        rules = self._rules.get(name, _USUAL)
        started = clock.elapsed
        try:
            result = await self._registry.invoke(
                name, parameters, context, timeout_seconds=rules.timeout_seconds, retry=rules.retry
            )
        except ReplayError:
            raise
        except LLMSpellError as error:
            took = (clock.look() - started) * 1000
            hint = _ANSWERED_NO if error.code == "APPROVAL_DENIED" else error.hint
            return failed_call(
                request, name, parameters, error.error_type, error.message, hint, took
            )
        took = (clock.look() - started) * 1000
        return _settled(request, name, parameters, result, took, self.longest_result)

    async def _unknown(
        self, request: ToolRequest, context: ExecutionContext
    ) -> tuple[ToolCall, str]:
        if self._registry.has(request.name):
            await self._tell_violation(request, context)
        known = list(self._real)
        close = nearest(request.name, known)
        hint = f"Available: {', '.join(known)}." if known else "No tools are available."
        if close is not None:
            hint = f"Did you mean '{close}'? {hint}"
        parameters, _ = read_arguments(request.arguments)
        words = f"Tool '{request.name}' is not available"
        return failed_call(request, request.name, parameters or {}, "Component", words, hint)

    async def _tell_violation(self, request: ToolRequest, context: ExecutionContext) -> None:
        """The model wants a tool there is, and that is not the agent's."""
        hooks = context.services.peek("hooks")
        if hooks is not None and hooks.wants("SecurityViolation"):
            violation = {
                "violation_type": "tool_not_allowed",
                "agent_name": self._agent,
                "tool_name": request.name,
                "message": f"agent '{self._agent}' may not use tool '{request.name}'",
            }
            await hooks.run("SecurityViolation", violation, context)


_SEND_OBJECT = "Send the arguments as one JSON object that fits the tool's schema."
_ANSWERED_NO = "Do not make this call again; go on without it, or say why it is needed."


def read_arguments(text: str) -> tuple[dict[str, Any] | None, str]:
    """The arguments a model wrote, or None and what is wrong with them."""
    try:
        value: Any = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        return None, f"the arguments are not valid JSON: {error}"
    if not isinstance(value, dict):
        return None, f"the arguments must be a JSON object, not {type(value).__name__}"
    return value, ""  # pyright: ignore[reportUnknownVariableType] - keys of JSON are text


def failed_call(
    request: ToolRequest,
    name: str,
    parameters: dict[str, Any],
    error_type: str,
    words: str,
    hint: str | None,
    duration_ms: float | None = None,
) -> tuple[ToolCall, str]:
    """A call that failed, and what the model reads of it."""
    told: dict[str, Any] = {"success": False, "error": words, "error_type": error_type}
    if hint:
        told["hint"] = hint
    call = ToolCall(
        request.id, name, parameters, success=False, error=words, duration_ms=duration_ms
    )
    return call, json.dumps(told, ensure_ascii=False)


def _settled(
    request: ToolRequest,
    name: str,
    parameters: dict[str, Any],
    result: ToolResult,
    duration_ms: float,
    longest: int,
) -> tuple[ToolCall, str]:
    if not result.success:
        words = result.error or result.message or "the tool reported a failure"
        return failed_call(
            request, name, parameters, "Tool", shortened(words, longest), None, duration_ms
        )
    brought = result.text if result.result is None else result.result
    call = ToolCall(
        request.id,
        name,
        parameters,
        success=True,
        result=brought,
        duration_ms=duration_ms,
    )
    return call, shortened(readable(result), longest)


def readable(result: ToolResult) -> str:
    """What a model reads of a result: its text, else its envelope as JSON.

    Without the metadata (timings differ from call to call, which defeats prompt caches), and
    with sorted keys: a replayed result has lost the order of its keys, and must read the same.
    """
    if result.text is not None:
        return result.text
    envelope = result.envelope()
    del envelope["metadata"]
    try:
        return json.dumps(envelope, ensure_ascii=False, sort_keys=True, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        # Keys of mixed types, or a value that holds itself.
        return f"(the result has no JSON form: {error})"


def shortened(text: str, longest: int = _LONGEST_RESULT) -> str:
    """*text*, or its beginning with a note, when it is too much for a model to read."""
    if len(text) <= longest:
        return text
    return (
        f"{text[:longest]}\n[shortened: the first {longest} of {len(text)} "
        "characters; ask for a smaller part]"
    )
