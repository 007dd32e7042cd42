"""Errors on their way from Python to Lua and back."""

from __future__ import annotations

import re
from typing import Any

from llmspell_core import LLMSpellError, ResourceLimitError, ScriptError, ValidationError

_MARK = "\x03"
_UNSUPPORTED = "Unsupported Lua type for JSON conversion"
_UNSERIALISABLE = (_UNSUPPORTED, "has no canonical JSON form", "is not JSON serializable")
_MEMORY_HINT = "Raise engines.lua.max_memory_bytes, or keep less in tables and strings."
_POSITION = re.compile(r"^(?:\[string \".*?\"\]|[^\n:]*):(\d+): ", re.DOTALL)


def message_of(error: Exception, operation: str) -> str:
    """What a script reads of *error*, which came out of *operation*.

    Anything but an `LLMSpellError` is a defect of the component called; it is logged with its
    traceback.
    """
    if isinstance(error, LLMSpellError):
        return str(error)
    if isinstance(error, TypeError) and any(text in str(error) for text in _UNSERIALISABLE):
        text = str(error) if _UNSUPPORTED in str(error) else _UNSUPPORTED
        return str(ValidationError(text))
    import logging

    logging.getLogger("llmspell.script").error("%s failed unexpectedly", operation, exc_info=error)
    return (
        f"Internal error: Runtime panic in {operation}: operation failed unexpectedly "
        f"({type(error).__name__}: {error})"
    )


def failure_table(error: Exception, message: str) -> dict[str, Any]:
    """The result table of a call that reports failures in its result."""
    made: dict[str, Any] = {"success": False, "error": message}
    if isinstance(error, LLMSpellError):
        made["error_type"] = error.error_type
        details: dict[str, Any] = {
            "message": error.message,
            "code": error.code,
            "retryable": error.is_retryable(),
            "details": error.details,
        }
        for name in ("kind", "field", "retry_after", "hint"):
            value = getattr(error, name, None)
            if value is not None:
                details[name] = value
        made["error_details"] = details
    else:
        made["error_type"] = "Internal"
    return made


def script_error(
    message: str, traceback: str, cause: Exception | None, memory_limit: int, language: str
) -> LLMSpellError:
    """The error of an execution or callback that ended with the Lua error *message*."""
    message = message.rstrip(_MARK) or "interrupted"
    if message.endswith("not enough memory"):
        return ResourceLimitError(
            "memory",
            limit=memory_limit,
            used=f"more than {memory_limit}",
            details={"traceback": traceback},
            hint=_MEMORY_HINT,
        )
    if isinstance(cause, ResourceLimitError) and cause.resource == "memory":
        return ResourceLimitError(
            "memory",
            limit=cause.limit,
            used=cause.used,
            details={"traceback": traceback},
            hint=cause.hint or _MEMORY_HINT,
        )
    found = _POSITION.match(message)
    return ScriptError(
        message,
        language=language,
        line=int(found[1]) if found else None,
        traceback=traceback or None,
        hint=getattr(cause, "hint", None),
        source=cause,
    )
