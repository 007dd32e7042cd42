"""The tools of an agent as the model sees them, and the calls the model makes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

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
    from llmspell_core import ExecutionContext, ToolRegistry

_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64
_LONGEST_RESULT = 100_000
ALL = "*"


def check_tools(names: Sequence[str], registry: ToolRegistry) -> None:
    """See that every name is a tool.

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
    """

    def __init__(self, names: Sequence[str], registry: ToolRegistry) -> None:
        self._registry = registry
        self._real: dict[str, str] = {}
        made: list[ToolSchema] = []
        for name in names:
            schema = registry.get(name).schema
            exported = _exported(schema.name, self._real)
            self._real[exported] = schema.name
            made.append(schema if exported == schema.name else replace(schema, name=exported))
        self.schemas = tuple(made)

    async def call(
        self, request: ToolRequest, context: ExecutionContext, *, remaining: float
    ) -> tuple[ToolCall, str]:
        """Run what the model asked for: the call with its result, and the text for the model.

        A failure is a result too, with what the model can do about it. Only what ends the
        execution is raised. It runs for its own time-out, and never longer than *remaining*.
        """
        name = self._real.get(request.name)
        if name is None:
            return self._unknown(request)
        parameters, problem = read_arguments(request.arguments)
        if parameters is None:
            return failed_call(request, name, {}, "Validation", problem, _SEND_OBJECT)
        started = context.monotonic()
        try:
            seconds = min(self._registry.get(name).timeout_seconds, remaining)
            result = await self._registry.invoke(name, parameters, context, timeout_seconds=seconds)
        except ReplayError:
            raise
        except LLMSpellError as error:
            took = (context.monotonic() - started) * 1000
            return failed_call(
                request, name, parameters, error.error_type, error.message, error.hint, took
            )
        took = (context.monotonic() - started) * 1000
        return _settled(request, name, parameters, result, took)

    def _unknown(self, request: ToolRequest) -> tuple[ToolCall, str]:
        known = list(self._real)
        close = nearest(request.name, known)
        hint = f"Available: {', '.join(known)}." if known else "No tools are available."
        if close is not None:
            hint = f"Did you mean '{close}'? {hint}"
        parameters, _ = read_arguments(request.arguments)
        words = f"Tool '{request.name}' is not available"
        return failed_call(request, request.name, parameters or {}, "Component", words, hint)


_SEND_OBJECT = "Send the arguments as one JSON object that fits the tool's schema."


def read_arguments(text: str) -> tuple[dict[str, Any] | None, str]:
    """The arguments a model wrote, or None and what is wrong with them."""
    try:
        value: Any = json.loads(text) if text.strip() else {}
    except ValueError as error:
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
) -> tuple[ToolCall, str]:
    if not result.success:
        words = result.error or result.message or "the tool reported a failure"
        return failed_call(request, name, parameters, "Tool", words, None, duration_ms)
    brought = result.text if result.result is None else result.result
    call = ToolCall(
        request.id,
        name,
        parameters,
        success=True,
        result=brought,
        duration_ms=duration_ms,
    )
    return call, shortened(readable(result))


def readable(result: ToolResult) -> str:
    """What a model reads of a result: its text, else its envelope as JSON.

    Without the metadata (timings differ from call to call, which defeats prompt caches), and
    with sorted keys: a replayed result has lost the order of its keys, and must read the same.
    """
    if result.text is not None:
        return result.text
    envelope = result.envelope()
    del envelope["metadata"]
    return json.dumps(envelope, ensure_ascii=False, sort_keys=True, default=str)


def shortened(text: str) -> str:
    """*text*, or its beginning with a note, when it is too much for a model to read."""
    if len(text) <= _LONGEST_RESULT:
        return text
    return (
        f"{text[:_LONGEST_RESULT]}\n[shortened: the first {_LONGEST_RESULT} of {len(text)} "
        "characters; ask for a smaller part]"
    )
