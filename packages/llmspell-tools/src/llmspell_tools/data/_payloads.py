"""Answers whose text is the bare payload."""

from __future__ import annotations

import json
from typing import Any

from llmspell_core import ToolResult, ValidationError


def json_text(value: Any, indent: int | None) -> str:
    """*value* as JSON.

    Raises:
        ValidationError: for what JSON cannot hold.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValidationError(f"Invalid JSON: {error}", field="input") from None


def payload(operation: str, value: Any, *, metadata: dict[str, Any] | None = None) -> ToolResult:
    """A success that is *value*, shown as JSON."""
    text = json_text(value, 2)
    return ToolResult(
        operation=operation, result=value, text=text, value=value, metadata=metadata or {}
    )


def plain(operation: str, text: str, *, metadata: dict[str, Any] | None = None) -> ToolResult:
    """A success that is a text in a format of its own, shown as it is."""
    return ToolResult(
        operation=operation, result=text, text=text, value=text, metadata=metadata or {}
    )
