"""Running a file or a line of code, whichever way the arguments came."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmspell_cli._approver import terminal_approval
from llmspell_cli._arguments import script_arguments
from llmspell_cli._execution import (
    perform,
    result_text,
    say_pretty,
    shown_result,
    tell_run,
)
from llmspell_core import LLMSpellError, Source

if TYPE_CHECKING:
    from llmspell_cli._invocation import Invocation
    from llmspell_core import BudgetLimits, ScriptArguments, ScriptResult
    from llmspell_kernel import Execution, Kernel


def run_file(
    invocation: Invocation,
    script: str,
    words: Sequence[str],
    *,
    engine: str | None = None,
    record: bool = False,
    budget: BudgetLimits | None = None,
) -> int:
    """Execute the file *script* (``-``: stdin) with the arguments *words*; the exit code."""
    source = _read(script)
    name = os.path.basename(script) if script != "-" else "<stdin>"
    arguments = script_arguments(name, words)
    result, facts = _execute(invocation, source, arguments, engine, record=record, budget=budget)
    if invocation.output == "json":
        invocation.say_json(
            {
                "status": "success",
                "mode": "embedded",
                "engine": facts["engine"],
                "script_length": len(source.text.encode("utf-8", "surrogateescape")),
                "args_count": len(words),
                "streaming": False,
                "result": facts["result"],
            }
        )
    return result.exit_code or 0


def run_code(
    invocation: Invocation,
    code: str,
    *,
    engine: str | None = None,
    record: bool = False,
    budget: BudgetLimits | None = None,
) -> int:
    """Execute *code* (``-``: stdin) and print what it returns; the exit code."""
    text = sys.stdin.read() if code == "-" else code
    source = Source(text, "<inline>", expression=True)
    arguments = script_arguments("<inline>", ())
    result, facts = _execute(invocation, source, arguments, engine, record=record, budget=budget)
    if invocation.output == "json":
        invocation.say_json(
            {
                "status": "executed",
                "mode": "embedded",
                "engine": facts["engine"],
                "streaming": False,
                "code_length": len(text.encode("utf-8", "surrogateescape")),
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
    budget: BudgetLimits | None,
) -> tuple[ScriptResult, dict[str, Any]]:
    started: list[Execution] = []

    def start(kernel: Kernel) -> Execution:
        execution = kernel.execute(
            source,
            arguments=arguments,
            engine=engine,
            record=record,
            budget=budget,
            approval=terminal_approval(),
        )
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
