"""Parameters that spare Typer its heaviest import.

Typer converts every value with pydantic, whose import takes longer than all the rest of a short
run. Text, defaults and named choices need no conversion; whatever else there is (numbers, wrong
values, their messages) still goes Typer's way.
"""

from __future__ import annotations

from functools import partial
from typing import Any


def lighten(command: Any) -> Any:
    """Make the parameters of *command*, and of the commands in it, convert only what needs it."""
    for parameter in command.params:
        parameter.process_value = partial(_process, parameter, parameter.process_value)
    for inner in getattr(command, "commands", {}).values():
        lighten(inner)
    return command


def _process(parameter: Any, otherwise: Any, ctx: Any, value: Any) -> Any:
    if not _fits(parameter, value):
        return otherwise(ctx, value)
    return value if parameter.callback is None else parameter.callback(ctx, parameter, value)


def _fits(parameter: Any, value: Any) -> bool:
    if parameter.nargs != 1 or parameter.multiple:
        return False
    if value is None:
        return not parameter.required
    about = getattr(parameter, "type_descriptor", None)
    if about is None:
        return False
    return type(value) is about.annotation or value in (about.choices or ())
