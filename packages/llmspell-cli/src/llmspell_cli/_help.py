"""Command classes whose ``--help`` ends with examples."""

from __future__ import annotations

import inspect
from typing import Any

from typer.core import TyperCommand, TyperGroup


def _examples(epilog: str | None, context: Any, formatter: Any) -> None:
    # `-h` is the short help: everything but the examples.
    arguments: list[str] = getattr(context.obj, "arguments", ["--help"])
    if epilog and "--help" in arguments:
        formatter.write("\nEXAMPLES:\n")
        for line in inspect.cleandoc(epilog).splitlines():
            formatter.write(f"  {line}\n")


class Command(TyperCommand):
    """A command; its `epilog` are examples, one a line."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        _examples(self.epilog, ctx, formatter)


class Group(TyperGroup):
    """A command of several; its `epilog` are examples, one a line."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        _examples(self.epilog, ctx, formatter)
