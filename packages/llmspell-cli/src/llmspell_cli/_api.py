"""``llmspell api``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmspell_cli._help import Command
from llmspell_cli._invocation import Invocation
from llmspell_cli._tables import table

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    "api",
    cls=Command,
    epilog="""
    llmspell api
    llmspell api Agent
    llmspell api Agent.builder
    llmspell api Agent:execute
    llmspell api --luacats > llmspell.lua
    """,
)
def api(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A global, a handle, or a member of one"),
    ] = None,
    luacats: Annotated[
        bool,
        typer.Option("--luacats", help="Definitions for the Lua language server, for editors"),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="As --output json")] = False,
) -> None:
    """Show what scripts can use: globals, members, signatures.

    Read from the declarations of what is installed, third-party globals included.
    """
    invocation: Invocation = ctx.obj
    if luacats:
        if name is not None:
            ctx.fail("--luacats writes all globals: leave the name out.")
        invocation.say(str(invocation.call("api.definitions")).rstrip("\n"))
        return
    if json or invocation.output == "json":
        invocation.say_json(invocation.call("api.show", name=name), indent=2)
    elif name is None:
        _list(invocation)
    else:
        found: list[dict[str, Any]] = invocation.call("api.show", name=name)
        invocation.say("\n\n".join(each["text"] for each in found))


def _list(invocation: Invocation) -> None:
    found: list[dict[str, Any]] = invocation.call("api.list")
    rows = [
        (
            ", ".join([each["name"], *each["aliases"]]),
            each["distribution"] or "?",
            f"(broken: {each['error']})" if "error" in each else each["summary"],
        )
        for each in found
    ]
    invocation.say(table(("GLOBAL", "FROM", ""), rows))
    invocation.say("\nMore: llmspell api Agent, llmspell api Agent.builder")
