"""Results of tools: how they are kept in the ledger, made from loose values, shown to scripts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from llmspell_core import Codec, Items, LLMSpellError, Record, ToolResult

_SAME = "$text"
_SHARED_FROM = 256
_FIELDS = (
    "success",
    "operation",
    "message",
    "result",
    "text",
    "value",
    "error",
    "error_details",
    "metadata",
)


def _encode(result: ToolResult) -> dict[str, Any]:
    made = {name: getattr(result, name) for name in _FIELDS}
    text = result.text
    if text is not None and len(text) > _SHARED_FROM:
        # A file's content stands in several fields; the ledger keeps it once.
        for name in ("result", "value"):
            made[name] = _fold(made[name], text)
    return made


def _fold(value: Any, text: str) -> Any:
    if value is text:
        return {_SAME: True}
    if isinstance(value, dict):
        return {k: _fold(v, text) for k, v in cast("dict[str, Any]", value).items()}
    return value


def _unfold(value: Any, text: str) -> Any:
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        if table == {_SAME: True}:
            return text
        return {k: _unfold(v, text) for k, v in table.items()}
    return value


def _decode(kept: Any) -> ToolResult:
    text = kept["text"]
    if text is not None and len(text) > _SHARED_FROM:
        kept = {**kept, **{name: _unfold(kept[name], text) for name in ("result", "value")}}
    return ToolResult(**kept)


def result_codec(sensitive: frozenset[str] = frozenset()) -> Codec[ToolResult]:
    """How a result is kept in the run ledger, with the *sensitive* fields marked."""
    return Codec(_encode, _decode, sensitive)


def as_result(value: Any) -> ToolResult:
    """A result from what a user's function returned.

    Text is the text; a mapping that holds ``success``, ``error`` or ``text`` is the result
    itself; everything else is the payload.
    """
    if isinstance(value, ToolResult):
        return value
    if isinstance(value, str):
        return ToolResult(result=value, text=value, value=value)
    if isinstance(value, Mapping):
        table = dict(cast("Mapping[str, Any]", value))
        if any(key in table for key in ("success", "error", "text")):
            return _from_table(table)
        return ToolResult(result=table)
    scalar = value is None or isinstance(value, bool | int | float)
    return ToolResult(result=value, value=value if scalar else None)


def _from_table(table: dict[str, Any]) -> ToolResult:
    error = table.pop("error", None)
    success = table.pop("success", error is None)
    details = table.pop("error_details", None)
    if isinstance(error, Mapping):
        details = dict(cast("Mapping[str, Any]", error))
        error = details.get("message")
    failed = not success
    text = table.pop("text", None)
    metadata = table.pop("metadata", None)
    made = ToolResult(
        success=not failed,
        operation=table.pop("operation", None),
        message=table.pop("message", None),
        text=None if failed or text is None else str(text),
        value=table.pop("value", table.pop("output", None)),
        error=(str(error) if error is not None else "The tool failed") if failed else None,
        error_details=details if failed else None,
        metadata=dict(cast("Mapping[str, Any]", metadata)) if isinstance(metadata, Mapping) else {},
        result=table.pop("result", None),
    )
    if not table:
        return made
    inner: Any = made.result
    if inner is None:
        return replace(made, result=table)
    if isinstance(inner, dict):
        return replace(made, result={**table, **cast("dict[str, Any]", inner)})
    return made


def with_metadata(result: ToolResult, more: Mapping[str, Any]) -> ToolResult:
    """*result* with further metadata; its own keys win."""
    return ToolResult(
        result.success,
        result.operation,
        result.message,
        result.result,
        result.text,
        result.value,
        result.error,
        result.error_details,
        {**more, **result.metadata},
    )


def error_word(error: LLMSpellError) -> str:
    """The class of an error as scripts name it: ``validation``, ``rate_limit``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", error.error_type).lower()


def error_details(error: LLMSpellError) -> dict[str, Any]:
    """``{message, code, kind, field, retryable, retry_after, details}``, and the hint."""
    return {
        "message": error.message,
        "code": error.code,
        "kind": error_word(error),
        "field": getattr(error, "field", None),
        "retryable": error.is_retryable(),
        "retry_after": error.retry_after,
        "hint": error.hint,
        "details": error.details,
    }


def soft_failure(
    operation: str | None, error: LLMSpellError | str, *, result: Any = None, **metadata: Any
) -> ToolResult:
    """A result that says the tool failed, where failing is an ordinary answer."""
    if isinstance(error, str):
        from llmspell_core import ToolError

        error = ToolError(error)
    return ToolResult(
        success=False,
        operation=operation,
        result=result,
        error=error.message,
        error_details=error_details(error),
        metadata=metadata,
    )


def script_result(result: ToolResult) -> Record | Items:
    """The table a script gets: a record, or a sequence where the payload is an array."""
    text = result.rendered()
    fields = script_fields(result, text)
    shown = text if result.success else result.error
    payload: Any = result.result
    if isinstance(payload, list) and result.success:
        return Items(cast("list[Any]", payload), fields, text=shown)
    return Record(fields, text=shown)


def script_fields(result: ToolResult, text: str) -> dict[str, Any]:
    """The fields of that table; *text* is the rendered result."""
    payload = result.result
    fields: dict[str, Any] = {"success": result.success, "metadata": _metadata(result)}
    if result.operation is not None:
        fields["operation"] = result.operation
    if result.message is not None:
        fields["message"] = result.message
    if payload is not None:
        fields["result"] = payload
    if result.success:
        _add_success(fields, result, text)
    else:
        _add_failure(fields, result)
    if "resource_usage" in result.metadata:
        fields["resource_usage"] = result.metadata["resource_usage"]
    if isinstance(payload, dict):
        for key, value in cast("dict[str, Any]", payload).items():
            fields.setdefault(key, value)
    if not result.success:
        # Scripts take `if result.text` for a test of success.
        fields.pop("text", None)
    return fields


def _metadata(result: ToolResult) -> dict[str, Any]:
    if result.text is None:
        return result.metadata
    envelope = result.envelope()
    del envelope["metadata"]
    return {"operation": result.operation, "response": envelope, **result.metadata}


def _add_success(fields: dict[str, Any], result: ToolResult, text: str) -> None:
    payload = result.result
    fields["text"] = text
    if result.text is None:
        fields["_raw_text"] = text
    else:
        fields["data"] = payload
    if payload is None:
        fields["result"] = Record({}, text=text)
    primary = result.value
    if primary is not None:
        fields["value"] = fields["output"] = primary
    else:
        inner = cast("dict[str, Any]", payload) if isinstance(payload, dict) else {}
        found = inner.get("output", inner.get("result"))
        scalar = isinstance(found, str | int | float | bool)
        fields["output"] = found if scalar else text


def _add_failure(fields: dict[str, Any], result: ToolResult) -> None:
    details = result.error_details or {"message": result.error, "code": None, "kind": "tool"}
    fields["error"] = result.error or "The tool failed"
    fields["error_details"] = details
    kind = details.get("kind")
    fields["error_type"] = kind if isinstance(kind, str) else "tool"


def failure_fields(error: LLMSpellError, message: str) -> dict[str, Any]:
    """The table for a hard failure where it is returned, not raised."""
    return {
        "success": False,
        "error": message,
        "error_type": error_word(error),
        "error_details": error_details(error),
        "metadata": {},
    }
