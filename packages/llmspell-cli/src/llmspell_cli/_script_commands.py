"""``llmspell run`` and ``llmspell exec``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmspell_cli._budget import budget_option
from llmspell_cli._help import Command
from llmspell_cli._invocation import Invocation
from llmspell_cli._rag_options import rag_settings
from llmspell_cli._scripts import run_code, run_file
from llmspell_core import ConfigurationError

_PLANNED = {"javascript": "Phase 15", "python": "Phase 22"}

_Engine = Annotated[
    str | None,
    typer.Option("--engine", help="Script language", envvar="LLMSPELL_ENGINE", metavar="ENGINE"),
]
_Record = Annotated[bool, typer.Option("--record", help="Record the run, to replay or resume it")]
_Budget = Annotated[
    list[str] | None,
    typer.Option(
        "--budget", help="Spend at most so much on models: 0.50usd,20ktokens", metavar="LIMITS"
    ),
]
_RagProfile = Annotated[
    str | None, typer.Option("--rag-profile", help="Set up retrieval by name", metavar="NAME")
]

run = typer.Typer(add_completion=False, rich_markup_mode=None)
exec_ = typer.Typer(add_completion=False, rich_markup_mode=None)


@run.command(
    "run",
    cls=Command,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog="""
    llmspell run report.lua
    llmspell run report.lua -- notes.md --title "Weekly report"
    llmspell run --record report.lua
    llmspell run --budget 0.50usd,30calls report.lua
    cat report.lua | llmspell run -
    """,
)
def run_script(
    ctx: typer.Context,
    script: Annotated[str, typer.Argument(metavar="SCRIPT", help="Script file, or - for stdin")],
    engine: _Engine = None,
    record: _Record = False,
    budget: _Budget = None,
    rag_profile: _RagProfile = None,
    rag: Annotated[bool | None, typer.Option("--rag/--no-rag", help="Retrieval on or off")] = None,
    rag_config: Annotated[
        str | None, typer.Option("--rag-config", help="Take [rag] of that file", metavar="PATH")
    ] = None,
    rag_dims: Annotated[int | None, typer.Option("--rag-dims", help="Size of the vectors")] = None,
    rag_backend: Annotated[
        str | None, typer.Option("--rag-backend", help="Vector store", metavar="NAME")
    ] = None,
) -> int:
    """Execute a script file.

    What follows SCRIPT is for the script, where it finds it in ARGS; put -- before options that
    this command has too.
    """
    invocation: Invocation = ctx.obj
    if script.startswith("-") and script != "-":
        ctx.fail(f"No such option: {script}")
    name = engine_option(ctx, invocation, engine)
    invocation.settings = rag_settings(
        invocation,
        profile=rag_profile,
        enabled=rag,
        file=rag_config,
        dimensions=rag_dims,
        backend=rag_backend,
    )
    return run_file(
        invocation, script, ctx.args, engine=name, record=record, budget=budget_option(ctx, budget)
    )


@exec_.command(
    "exec",
    cls=Command,
    epilog="""
    llmspell exec 'return 6 * 7'
    llmspell exec 'print(State.get("visits"))'
    echo 'return 1' | llmspell exec -
    """,
)
def exec_code(
    ctx: typer.Context,
    code: Annotated[str, typer.Argument(metavar="CODE", help="The code, or - for stdin")],
    engine: _Engine = None,
    record: _Record = False,
    budget: _Budget = None,
    rag_profile: _RagProfile = None,
) -> int:
    """Execute a line of code.

    What it returns is printed; a bare expression is evaluated.
    """
    invocation: Invocation = ctx.obj
    name = engine_option(ctx, invocation, engine)
    invocation.settings = rag_settings(invocation, profile=rag_profile)
    return run_code(invocation, code, engine=name, record=record, budget=budget_option(ctx, budget))


def engine_option(ctx: typer.Context, invocation: Invocation, wanted: str | None) -> str | None:
    """The engine's name, checked before anything else is looked at."""
    if wanted is None:
        return None
    installed = invocation.plugins.names("llmspell.engines")
    name = {"js": "javascript"}.get(wanted.lower(), wanted.lower())
    if name in installed:
        return name
    if name in _PLANNED:
        raise ConfigurationError(
            f"Script engine '{name}' is not available yet. Coming in {_PLANNED[name]}",
            hint=f"Available: {', '.join(installed)}",
            code="ENGINE_UNAVAILABLE",
        )
    possible = ", ".join([*installed, *(name for name in _PLANNED if name not in installed)])
    ctx.fail(f"invalid value '{wanted}' for '--engine' [possible values: {possible}]")
