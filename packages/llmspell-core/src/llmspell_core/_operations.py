"""Operations: what a command, a kernel message, an HTTP route and an MCP tool all call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from llmspell_core._errors import NotFoundError, ValidationError, nearest

if TYPE_CHECKING:
    from llmspell_core._context import ExecutionContext
    from llmspell_core._services import Services

GROUP = "llmspell.operations"


@dataclass(frozen=True, slots=True)
class OperationParameter:
    """A keyword parameter of an operation."""

    name: str
    type: Any
    required: bool
    default: Any


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: its dotted name, one sentence, and what it takes."""

    name: str
    summary: str
    function: Callable[..., Awaitable[Any]]

    def parameters(self) -> tuple[OperationParameter, ...]:
        """The keyword parameters of the function, in order."""
        import inspect
        from types import SimpleNamespace

        keywords = [
            p
            for p in inspect.signature(self.function).parameters.values()
            if p.kind is inspect.Parameter.KEYWORD_ONLY
        ]
        # Of the keywords only: the types of `services` and `context` are often imported for type
        # checkers alone, and cannot be looked up.
        annotated = {p.name: p.annotation for p in keywords if p.annotation is not p.empty}
        hints = get_type_hints(
            SimpleNamespace(__annotations__=annotated),
            globalns=getattr(self.function, "__globals__", None),
        )
        return tuple(
            OperationParameter(
                p.name,
                hints.get(p.name, Any),
                p.default is p.empty,
                None if p.default is p.empty else p.default,
            )
            for p in keywords
        )


def operation(name: str) -> Callable[[Callable[..., Awaitable[Any]]], Operation]:
    """Declare ``async def f(services, context, *, …) -> JSON value`` as the operation *name*.

    The first line of the docstring is its summary. Register it under its name in the
    entry-point group ``llmspell.operations``.
    """

    def declare(function: Callable[..., Awaitable[Any]]) -> Operation:
        summary = (function.__doc__ or "").strip().partition("\n")[0]
        return Operation(name, summary, function)

    return declare


class Operations:
    """The table of operations of one set of services."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def names(self) -> list[str]:
        """The registered names; nothing is imported."""
        return self._services.plugins.names(GROUP)

    def get(self, name: str) -> Operation:
        """The operation.

        Raises:
            NotFoundError: with the nearest name.
        """
        if self._services.plugins.find(GROUP, name) is None:
            close = nearest(name, self.names())
            raise NotFoundError(
                f"operation '{name}' not found",
                hint=f"Did you mean '{close}'?" if close else None,
            )
        return self._services.plugins.load(GROUP, name)

    async def call(self, name: str, params: Mapping[str, Any], context: ExecutionContext) -> Any:
        """Check *params* against the operation's parameters and run it.

        Raises:
            NotFoundError: for an unknown operation.
            ValidationError: for an unknown, missing or wrongly typed parameter.
        """
        found = self.get(name)
        known = {p.name: p for p in found.parameters()}
        for key in params:
            if key not in known:
                close = nearest(key, list(known))
                raise ValidationError(
                    f"{name} has no parameter '{key}'",
                    field=key,
                    hint=f"Did you mean '{close}'?" if close else f"It takes: {', '.join(known)}",
                )
        for parameter in known.values():
            if parameter.name in params:
                _check(name, parameter, params[parameter.name])
            elif parameter.required:
                raise ValidationError(
                    f"Missing required parameter '{parameter.name}' of {name}",
                    field=parameter.name,
                )
        return await found.function(self._services, context, **params)


def _check(operation_name: str, parameter: OperationParameter, value: Any) -> None:
    if not _fits(value, parameter.type):
        wanted = getattr(parameter.type, "__name__", str(parameter.type))
        raise ValidationError(
            f"Invalid type for parameter '{parameter.name}' of {operation_name}: "
            f"expected {wanted}, got {type(value).__name__}",
            field=parameter.name,
        )


def _fits(value: Any, wanted: Any) -> bool:
    import types

    if wanted is Any:
        return True
    if wanted is None or wanted is type(None):
        return value is None
    origin = get_origin(wanted)
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in get_args(wanted))
    kind = origin or wanted
    if not isinstance(kind, type):
        return value in get_args(wanted)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int and isinstance(value, bool):
        return False
    if not isinstance(value, kind) or (isinstance(value, str) and kind is not str):
        return False
    inside = get_args(wanted)
    if isinstance(value, list) and len(inside) == 1:
        return all(_fits(item, inside[0]) for item in value)  # pyright: ignore[reportUnknownVariableType]
    return True
