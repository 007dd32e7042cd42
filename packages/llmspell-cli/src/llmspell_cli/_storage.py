"""``llmspell storage``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmspell_cli._help import Command, Group
from llmspell_cli._invocation import Invocation
from llmspell_cli._tables import size, span, table

app = typer.Typer(
    cls=Group,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Look into stores, and move them between back ends.",
    epilog="""
    llmspell storage backends
    llmspell storage info sqlite
    llmspell storage copy sqlite postgres
    llmspell storage copy sqlite:old.db postgresql://me@host/llmspell --overwrite
    """,
)

_PLACE = "a back end's name (the configured place), sqlite:FILE, or the URL of a server"
_Store = Annotated[str, typer.Option("--store", help="Which store of the back end")]
_Json = Annotated[bool, typer.Option("--json", help="As JSON")]


@app.callback()
def storage() -> None:
    """Look into stores, and move them between back ends."""


@app.command("backends", cls=Command)
def backends(ctx: typer.Context, json: _Json = False) -> None:
    """The back ends that are installed."""
    invocation: Invocation = ctx.obj
    found: list[dict[str, Any]] = invocation.call("storage.backends")
    if json or invocation.output == "json":
        invocation.say_json(found, indent=2)
        return
    rows = [(row["name"], row["distribution"]) for row in found]
    invocation.say(table(("BACK END", "FROM"), rows))


@app.command("info", cls=Command)
def info(
    ctx: typer.Context,
    place: Annotated[str, typer.Argument(metavar="PLACE", help=f"Where: {_PLACE}")] = "sqlite",
    store: _Store = "state",
    json: _Json = False,
) -> None:
    """How much a store holds."""
    invocation: Invocation = ctx.obj
    found = invocation.call("storage.info", place=place, store=store)
    if json or invocation.output == "json":
        invocation.say_json(found, indent=2)
        return
    invocation.say(
        f"Place  {found['place']}\nStore  {found['store']}\nKeys   {found['keys']}\n"
        f"Size   {size(found['size_bytes'])}"
    )


@app.command("copy", cls=Command)
def copy(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FROM", help=f"Where from: {_PLACE}")],
    target: Annotated[str, typer.Argument(metavar="TO", help=f"Where to: {_PLACE}")],
    store: _Store = "state",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace all that the target holds")
    ] = False,
    json: _Json = False,
) -> None:
    """Copy a store from one back end to another, and compare the two."""
    invocation: Invocation = ctx.obj
    done = invocation.call_showing_progress(
        "storage.copy",
        source=source,
        target=target,
        store=store,
        overwrite=overwrite,
    )
    if json or invocation.output == "json":
        invocation.say_json(done, indent=2)
        return
    invocation.say(
        f"✓ Copied {done['keys']} keys ({size(done['size_bytes'])}) from {done['source']} to "
        f"{done['target']} in {span(done['duration_ms'])}; both ends have SHA-256 "
        f"{done['sha256'][:16]}"
    )
