"""What the file tools share: asking for a path, asking for a parameter, answering."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from llmspell_core import SecurityError, ToolResult, ValidationError

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext


def real_path(path: str, mode: Literal["read", "write"], context: ExecutionContext) -> str:
    """The real path, if the policy lets tools use it so."""
    return context.services.security.path(path, mode, context, caller="tool")


def validated_path(path: str, mode: Literal["read", "write"], context: ExecutionContext) -> str:
    """As `real_path`, for the tools whose refusals begin with ``Path validation failed``."""
    try:
        return real_path(path, mode, context)
    except (SecurityError, ValidationError) as error:
        error.message = f"Path validation failed: {error.message}"
        raise


def given(parameters: dict[str, Any], name: str, operation: str) -> Any:
    """The parameter *name*, which this *operation* needs.

    Raises:
        ValidationError: when it is missing, with the phrases that scripts look for.
    """
    if name not in parameters:
        raise ValidationError(
            f"{operation.capitalize()} operation requires '{name}' parameter "
            f"(Missing required parameter '{name}', Missing '{name}' parameter)",
            field=name,
            code="MISSING_REQUIRED",
        )
    return parameters[name]


def texts(value: Any, name: str) -> list[str]:
    """*value* as a list of texts: a list of them, or one with commas between them.

    Raises:
        ValidationError: for anything else.
    """
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):  # pyright: ignore[reportUnknownVariableType]
        return value  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict) and not value:
        return []
    raise ValidationError(
        f"Invalid type for parameter '{name}': expected an array of strings, or one string with "
        "commas",
        field=name,
    )


def done(
    operation: str, message: str, result: dict[str, Any], value: Any, metadata: dict[str, Any]
) -> ToolResult:
    """A success whose text is its message."""
    return ToolResult(
        operation=operation,
        message=message,
        result=result,
        text=message,
        value=value,
        metadata=metadata,
    )
