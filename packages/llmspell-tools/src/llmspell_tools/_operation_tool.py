"""`OperationTool`: the base of tools that offer several operations under one name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from llmspell_core import SecurityLevel, Tool, ToolResult, ValidationError
from llmspell_tools._catalogue import CATALOGUE, Entry
from llmspell_tools._names import key_of

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Parameter

T = TypeVar("T", bound="type[Tool]")
Operation = Callable[[dict[str, Any], "ExecutionContext"], Awaitable[ToolResult]]


class OperationTool(Tool):
    """A tool whose parameter ``operation`` says what to do.

    A subclass lists its `operations` with their other names, and writes one method for each:
    ``do_<operation>(parameters, context)``. Names are compared case-insensitively, ``-`` as
    ``_``; ``action`` stands for ``operation``.
    """

    operations: ClassVar[Mapping[str, tuple[str, ...]]]
    """Canonical operation → its other names."""
    default_operation: ClassVar[str | None] = None
    """What a call without ``operation`` does; None: the parameter is required."""
    unknown_operation: ClassVar[str] = "Invalid operation"
    """How the message about an unknown operation begins."""
    binary: ClassVar[frozenset[str]] = frozenset()
    """String parameters that may hold bytes."""

    def canonical_operation(self, name: str) -> str | None:
        """The operation that *name* means, or None."""
        key = key_of(name)
        for operation, others in self.operations.items():
            if key == operation or key in others:
                return operation
        return None

    def prepare_operation(self, parameters: dict[str, Any]) -> None:
        """Change *parameters* in place before the operation is looked up; override where a name
        of an operation says more than which one (``v7`` of the identifiers).
        """

    def normalise(self, parameters: dict[str, Any]) -> None:
        """Change *parameters* in place, before names and types are checked; override for
        aliases that depend on the operation, which is canonical here (or unknown).
        """

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """Do the operation.

        Raises:
            ValidationError: for an unknown operation, or whatever the operation raises.
        """
        name = parameters.get("operation", self.default_operation)
        operation = self.canonical_operation(name) if isinstance(name, str) else None
        if operation is None:
            raise self.refuse_operation(name)
        method: Operation = getattr(self, f"do_{operation}")
        return await method(parameters, context)

    def refuse_operation(self, name: Any) -> ValidationError:
        """The error for an operation that does not exist."""
        return ValidationError(
            f"{self.unknown_operation}: '{name}'. Allowed values: {', '.join(self.operations)}",
            field="operation",
        )


def built_in(name: str) -> Callable[[T], T]:
    """Class decorator: category, level and aliases are those of the catalogue's entry *name*."""
    entry = CATALOGUE[name]

    def mark(cls: T) -> T:
        cls.category = entry.category
        cls.security_level = SecurityLevel(entry.security_level)
        cls.aliases = (*entry.aliases, *entry.presets)
        return cls

    return mark


def described(name: str) -> Entry:
    """The catalogue's entry *name*, for the schema of the tool."""
    return CATALOGUE[name]


def operation_parameter(
    tool: type[OperationTool], description: str = "What to do", *, default: str | None = None
) -> Parameter:
    """The ``operation`` parameter of a tool, with its operations as the allowed values."""
    from llmspell_core import Parameter

    return Parameter(
        "operation",
        "string",
        description,
        required=default is None,
        default=default,
        enum=tuple(tool.operations),
        aliases=("action",),
    )
