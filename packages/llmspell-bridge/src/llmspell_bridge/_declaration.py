"""Compiling the declaration of a script class into what the engine calls.

A class is compiled once per process; nothing of it is imported or evaluated before a script
touches the global. What an argument goes through at each call is decided here, once: a slot is
one function that takes what Lua passed and gives what the method gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmspell_bridge._annotations import (
    Convert,
    Unfit,
    annotation_converter,
    to_float,
    to_int,
    to_text,
    type_name,
)
from llmspell_bridge._conversion import NULL
from llmspell_core import DeclaredMember, Exposure, ValidationError, declared_members

Slot = Callable[[Any], Any]
"""What Lua passed, nothing included → the argument; raises a `ValidationError` that names it."""


@dataclass(frozen=True, slots=True)
class Method:
    """An exposed method, compiled."""

    operation: str
    keys: tuple[str, ...]
    """The names of the synchronous form."""
    twins: tuple[str, ...]
    """The names of the form that returns a promise."""
    function: Callable[..., Any]
    slots: tuple[Slot, ...]
    rest: Slot | None
    exposure: Exposure
    is_async: bool

    @property
    def arity(self) -> int:
        """The number of parameters, -1 for any."""
        return -1 if self.rest is not None else len(self.slots)

    def bind(self, args: tuple[Any, ...]) -> list[Any]:
        """The converted arguments.

        Raises:
            ValidationError: naming the parameter.
        """
        slots, given = self.slots, len(args)
        made = [slot(args[i] if i < given else None) for i, slot in enumerate(slots)]
        if self.rest is not None:
            made.extend(map(self.rest, args[len(slots) :]))
        return made


@dataclass(frozen=True, slots=True)
class Declaration:
    """A script class, compiled."""

    name: str
    kind: str
    cls: type
    methods: tuple[Method, ...]
    attributes: Mapping[str, str]
    """Key as scripts write it → name of the property."""
    index: Callable[[Any, str], Any] | None


# Slots ------------------------------------------------------------------------------------------


def _slot(operation: str, name: str, convert: Convert, *, required: bool, default: Any) -> Slot:
    """A parameter's slot, with a short way for what its converter gets most of the time."""

    def take(raw: Any) -> Any:
        if raw is None or raw is NULL:
            if required:
                raise ValidationError(
                    f"Missing required parameter '{name}' of {operation}", field=name
                )
            return default
        try:
            return convert(raw)
        except Unfit as unfit:
            raise ValidationError(
                f"parameter '{name}' of {operation} must be {unfit}, got {type_name(raw)}",
                field=name,
            ) from None

    def take_text(raw: Any) -> Any:
        if type(raw) is bytes:
            try:
                return raw.decode()
            except UnicodeDecodeError:
                pass
        return take(raw)

    def take_int(raw: Any) -> Any:
        return raw if type(raw) is int else take(raw)

    def take_float(raw: Any) -> Any:
        return raw if type(raw) is float else take(raw)

    short: dict[Convert, Slot] = {to_text: take_text, to_int: take_int, to_float: take_float}
    return short.get(convert, take)


# Classes ----------------------------------------------------------------------------------------

_compiled: dict[type, Declaration] = {}


def declaration(cls: type) -> Declaration:
    """The compiled declaration of a class marked with `script_global` or `script_object`."""
    known = _compiled.get(cls)
    if known is None:
        known = _compiled[cls] = _compile(cls)
    return known


def _compile(cls: Any) -> Declaration:
    name: str = cls.__script_name__
    methods: list[Method] = []
    attributes: dict[str, str] = {}
    for member in declared_members(cls):
        if member.exposure is None:
            attributes.update(dict.fromkeys(member.names, member.key))
        elif not member.exposure.native:
            methods.append(_method(name, member, member.exposure))
    index = getattr(cls, "__script_index__", None)
    return Declaration(name, cls.__script_kind__, cls, tuple(methods), attributes, index)


def _method(owner: str, member: DeclaredMember, exposure: Exposure) -> Method:
    operation = f"{owner}.{member.names[0]}"
    slots: list[Slot] = []
    rest: Slot | None = None
    for parameter in member.parameters():
        slot = _slot(
            operation,
            parameter.name,
            annotation_converter(parameter.annotation),
            required=parameter.required,
            default=parameter.default,
        )
        if parameter.variadic:
            rest = slot
        else:
            slots.append(slot)
    return Method(
        operation=operation,
        keys=() if exposure.promise else member.names,
        twins=member.names if exposure.promise else member.twins,
        function=member.function,
        slots=tuple(slots),
        rest=rest,
        exposure=exposure,
        is_async=member.is_async,
    )
