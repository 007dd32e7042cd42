"""``llmspell run`` and ``llmspell exec``."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmspell_cli._arguments import script_arguments
from llmspell_cli._execution import (
    perform,
    result_text,
    say_pretty,
    shown_result,
    tell_run,
)
from llmspell_cli._help import Command
from llmspell_cli._invocation import Invocation
from llmspell_core import ConfigurationError, LLMSpellError, Source

if TYPE_CHECKING:
    from llmspell_core import ScriptArguments, ScriptResult
    from llmspell_kernel import Execution, Kernel

_PLANNED = {"javascript": "Phase 15", "python": "Phase 22"}

_Engine = Annotated[
    str | None,
    typer.Option("--engine", help="Script language", envvar="LLMSPELL_ENGINE", metavar="ENGINE"),
]
_Record = Annotated[bool, typer.Option("--record", help="Record the run, to replay or resume it")]

run = typer.Typer(add_completion=False, rich_markup_mode=None)
exec_ = typer.Typer(add_completion=False, rich_markup_mode=None)


@run.command(
    "run",
    cls=Command,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    options_metavar="[OPTIONS]",
    epilog="""
    llmspell run report.lua
    llmspell run report.lua -- notes.md --title "Weekly report"
    llmspell run --record report.lua
    cat report.lua | llmspell run -
    """,
)
def run_script(
    ctx: typer.Context,
    script: Annotated[str, typer.Argument(metavar="SCRIPT", help="Script file, or - for stdin")],
    engine: _Engine = None,
    record: _Record = False,
) -> int:
    """Execute a script file.

    What follows SCRIPT is for the script, where it finds it in ARGS; put -- before options that
    this command has too.
    """
    invocation: Invocation = ctx.obj
    if script.startswith("-") and script != "-":
        ctx.fail(f"No such option: {script}")
    name = _engine(ctx, invocation, engine)
    source = _read(script)
    arguments = script_arguments(os.path.basename(script) if script != "-" else "<stdin>", ctx.args)
    result, facts = _execute(invocation, source, arguments, name, record=record)
    if invocation.output == "json":
        invocation.say_json(
            {
                "status": "success",
                "mode": "embedded",
                "engine": facts["engine"],
                "script_length": len(source.text.encode("utf-8", "surrogatepass")),
                "args_count": len(ctx.args),
                "streaming": False,
                "result": facts["result"],
            }
        )
    return result.exit_code or 0


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
) -> int:
    """Execute a line of code.

    What it returns is printed; a bare expression is evaluated.
    """
    invocation: Invocation = ctx.obj
    name = _engine(ctx, invocation, engine)
    text = sys.stdin.read() if code == "-" else code
    source = Source(text, "<inline>", expression=True)
    result, facts = _execute(
        invocation, source, script_arguments("<inline>", ()), name, record=record
    )
    if invocation.output == "json":
        invocation.say_json(
            {
                "status": "executed",
                "mode": "embedded",
                "engine": facts["engine"],
                "streaming": False,
                "code_length": len(text.encode("utf-8", "surrogatepass")),
                "result": facts["result"],
            }
        )
    elif invocation.output == "text" and result.value is not None:
        invocation.say(result_text(result.value))
    return result.exit_code or 0


def _execute(
    invocation: Invocation,
    source: Source,
    arguments: ScriptArguments,
    engine: str | None,
    *,
    record: bool,
) -> tuple[ScriptResult, dict[str, Any]]:
    started: list[Execution] = []

    def start(kernel: Kernel) -> Execution:
        execution = kernel.execute(source, arguments=arguments, engine=engine, record=record)
        logging.getLogger("llmspell.run").info(
            "%s starts with engine %s", source.name, execution.engine
        )
        started.append(execution)
        return execution

    try:
        result, terminal, execution = perform(invocation, start)
    except BaseException:
        tell_run(invocation, started[0].run_id if started else None, failed=True)
        raise
    assert result is not None
    tell_run(invocation, execution.run_id, failed=False)
    if invocation.output == "pretty":
        say_pretty(invocation, terminal, result, execution.engine)
    return result, {
        "engine": execution.engine,
        "result": shown_result(terminal, result.value) if invocation.output == "json" else None,
    }


def _engine(ctx: typer.Context, invocation: Invocation, wanted: str | None) -> str | None:
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


def _read(script: str) -> Source:
    if script == "-":
        return Source(sys.stdin.read(), "<stdin>")
    try:
        with open(script, "rb") as file:
            raw = file.read()
    except FileNotFoundError:
        raise _Missing(script) from None
    except OSError as error:
        raise _Missing(f"{script} ({error.strerror})", "cannot be read") from error
    # Bytes that are not UTF-8 may stand in strings of a script; the engine refuses binaries.
    return Source(raw.decode("utf-8", "surrogateescape"), script, path=script)


class _Missing(LLMSpellError):
    """A script that cannot be read."""

    code = "SCRIPT_NOT_FOUND"

    def __init__(self, path: str, problem: str = "not found") -> None:
        super().__init__(f"Script file {problem}: {path}")
