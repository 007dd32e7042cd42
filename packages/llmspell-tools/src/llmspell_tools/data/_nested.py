"""Answers that stand in an envelope inside the envelope, as some tools give them."""

from __future__ import annotations

from typing import Any

from llmspell_core import ToolResult


def nested(
    tool: str,
    operation: str,
    result: dict[str, Any],
    *,
    value: Any = None,
    metadata: dict[str, Any] | None = None,
) -> ToolResult:
    """A success of *tool*: its payload is ``{operation, success, result, metadata}``, and the
    fields of *result* beside these, so that both ways to a field work; metadata of both kinds
    are joined.
    """
    inner = {
        "operation": operation,
        "success": True,
        "result": result,
        "metadata": {**result.get("metadata", {}), "tool": tool, "operation": operation},
    }
    return ToolResult(
        operation=f"{tool.replace('-', '_')}_execute",
        message=f"{tool}: {operation} succeeded",
        result={**result, **inner},
        value=result if value is None else value,
        metadata=metadata or {},
    )
