"""``llmspell plugins``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmspell_cli._help import Command
from llmspell_cli._invocation import Invocation
from llmspell_cli._tables import table

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    "plugins",
    cls=Command,
    epilog="""
    llmspell plugins
    llmspell plugins --group tools
    llmspell plugins --check
    """,
)
def plugins(
    ctx: typer.Context,
    group: Annotated[
        str | None, typer.Option("--group", help="Only this group, like tools", metavar="GROUP")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Import each, to see whether it works")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="As --output json")] = False,
) -> int:
    """List what is installed at every extension point.

    Built-ins and others alike. Exits with 1 if one is broken (--check) or a name has two owners.
    """
    invocation: Invocation = ctx.obj
    found: list[dict[str, Any]] = invocation.call("plugin.list", group=group, check=check)
    faulty = [plugin for plugin in found if plugin["duplicate"] or plugin.get("error")]
    if json or invocation.output == "json":
        invocation.say_json(found, indent=2)
        return 1 if faulty else 0
    rows = [
        (
            plugin["group"].removeprefix("llmspell."),
            plugin["name"],
            plugin["distribution"],
            plugin["version"],
            _state(plugin),
        )
        for plugin in found
    ]
    invocation.say(table(("GROUP", "NAME", "DISTRIBUTION", "VERSION", ""), rows))
    for plugin in faulty:
        if plugin.get("error"):
            invocation.note(f"✗ {plugin['error']}")
    return 1 if faulty else 0


def _state(plugin: dict[str, Any]) -> str:
    if plugin.get("error"):
        return "✗ broken"
    return "⚠️ registered twice" if plugin["duplicate"] else ""
