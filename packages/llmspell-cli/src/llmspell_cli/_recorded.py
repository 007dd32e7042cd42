"""``llmspell replay`` and ``llmspell resume``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell_cli._approver import terminal_approval
from llmspell_cli._desk import Desk
from llmspell_cli._execution import perform, say_pretty, shown_result, tell_run
from llmspell_cli._help import Command
from llmspell_cli._invocation import Invocation

if TYPE_CHECKING:
    from llmspell_cli._execution import Terminal
    from llmspell_core import ScriptResult
    from llmspell_kernel import Execution, Kernel

replay = typer.Typer(add_completion=False, rich_markup_mode=None)
resume = typer.Typer(add_completion=False, rich_markup_mode=None)

_Run = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, or its beginning")]


@replay.command(
    "replay",
    cls=Command,
    epilog="""
    llmspell runs list
    llmspell replay 3f2a
    """,
)
def replay_run(ctx: typer.Context, run: _Run) -> int:
    """Run a recorded run again from its recording, offline.

    Prints what the run printed; asks no model, calls no tool, writes nothing. It stops where the
    script asks for something that was not recorded.
    """
    invocation: Invocation = ctx.obj
    result, terminal, execution = perform(invocation, lambda kernel: kernel.replay(run))
    assert result is not None
    if execution.unused:
        kinds = Counter(effect.intent.kind for effect in execution.unused)
        listed = ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items()))
        invocation.note(f"Warning: recorded and not asked for this time: {listed}")
    _say(invocation, "replayed", result, terminal, execution)
    return result.exit_code or 0


@resume.command(
    "resume",
    cls=Command,
    epilog="""
    llmspell resume 3f2a
    llmspell resume 3f2a --repeat-irreversible
    """,
)
def resume_run(
    ctx: typer.Context,
    run: _Run,
    repeat_irreversible: Annotated[
        bool,
        typer.Option(
            "--repeat-irreversible",
            help="Do again what was begun, cannot be undone, and may have happened",
        ),
    ] = False,
) -> int:
    """Go on with a recorded run that failed or was killed.

    What has an outcome in the recording is not done again.
    """
    invocation: Invocation = ctx.obj
    started: list[Execution] = []
    desk = Desk()

    def start(kernel: Kernel) -> Execution:
        execution = kernel.resume(
            run,
            repeat_irreversible=repeat_irreversible,
            data={"chat": desk},
            approval=terminal_approval(),
        )
        desk.conversation = execution.engine == "chat"
        started.append(execution)
        return execution

    try:
        result, terminal, execution = perform(invocation, start, desk=desk)
    except BaseException:
        tell_run(invocation, started[0].run_id if started else None, failed=True)
        raise
    assert result is not None
    _say(invocation, "resumed", result, terminal, execution)
    return result.exit_code or 0


def _say(
    invocation: Invocation,
    status: str,
    result: ScriptResult,
    terminal: Terminal,
    execution: Execution,
) -> None:
    if invocation.output == "pretty":
        say_pretty(invocation, terminal, result, execution.engine)
    elif invocation.output == "json":
        invocation.say_json(
            {
                "status": status,
                "run": execution.run_id,
                "engine": execution.engine,
                "result": shown_result(terminal, result.value),
                "unused": len(execution.unused),
            }
        )
