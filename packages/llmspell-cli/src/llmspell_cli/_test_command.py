"""``llmspell test``."""

from __future__ import annotations

import gc
import os
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from llmspell_cli._execution import Signals
from llmspell_cli._help import Command
from llmspell_cli._invocation import Invocation, write
from llmspell_cli._script_commands import engine_option
from llmspell_cli._test_reports import report_for, totals
from llmspell_cli._test_runner import TestRunner
from llmspell_core import find_script_tests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmspell_cli._test_reports import Report
    from llmspell_cli._test_runner import TestFile

test = typer.Typer(add_completion=False, rich_markup_mode=None)

_FOLDER = "tests"


@test.command(
    "test",
    cls=Command,
    epilog="""
    llmspell test
    llmspell test tests/report_test.lua --verbose
    llmspell test --filter "empty input" --bail
    llmspell test --format junit --output report.xml
    """,
)
def run_tests(
    ctx: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Files, or directories to look in"),
    ] = None,
    filter: Annotated[
        str | None,
        typer.Option("--filter", help="Only tests whose name contains TEXT", metavar="TEXT"),
    ] = None,
    bail: Annotated[bool, typer.Option("--bail", help="Stop at the first failure")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Name every test, and show all output")
    ] = False,
    format: Annotated[
        Literal["pretty", "tap", "junit", "json"] | None,
        typer.Option("--format", help="Format of the report"),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", help="Write the report there", metavar="FILE")
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="Script language", metavar="ENGINE")
    ] = None,
    jobs: Annotated[
        int, typer.Option("-j", "--jobs", min=1, help="Files at a time", metavar="N")
    ] = 1,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", min=0.001, help="Seconds that a file may take", metavar="SECONDS"
        ),
    ] = None,
) -> int:
    """Run the tests of scripts.

    Files *_test.lua, test_*.lua and test-*.lua in ./tests (else here), each in a fresh state and
    with data of its own. Exits with 1 when a test failed, with 2 when there was none.
    """
    invocation: Invocation = ctx.obj
    name = engine_option(ctx, invocation, engine)
    files = _files(ctx, paths)
    if format is None:
        format = "json" if invocation.output == "json" else "pretty"
    config = invocation.config()
    runner = TestRunner(
        config,
        # The index knows what is installed already; preferences need another one.
        None if config.get("plugins.prefer") else invocation.plugins,
        engine=name,
        filter=filter,
        bail=bail,
        timeout_seconds=timeout,
    )
    with ExitStack() as stack:
        report = report_for(format, verbose=verbose)
        if output is None:
            reports = [(report, sys.stdout)]
        else:
            file = stack.enter_context(open(output, "w", encoding="utf-8", errors="replace"))
            reports = [(report, file), (report_for("pretty", verbose=verbose), sys.stdout)]
        gc.freeze()
        gc.enable()
        signals = stack.enter_context(Signals(runner))
        done = _run(runner, files, reports, jobs)
    if signals.received is not None:
        return 128 + signals.received
    return _code(invocation, done, filter)


def _run(
    runner: TestRunner, files: Sequence[str], reports: Sequence[tuple[Report, TextIO]], jobs: int
) -> list[TestFile]:
    started = time.perf_counter()
    for report, target in reports:
        write(target, report.begin())
    done: list[TestFile] = []
    for found in runner.run(files, jobs=jobs):
        done.append(found)
        for report, target in reports:
            write(target, report.file(found))
    seconds = time.perf_counter() - started
    for report, target in reports:
        write(target, report.end(done, left_out=len(files) - len(done), seconds=seconds))
    return done


def _code(invocation: Invocation, done: Sequence[TestFile], filter: str | None) -> int:
    counted = totals(done)
    if not sum(counted.values()):
        what = "the files contain no tests" if filter is None else f"no test matches '{filter}'"
        invocation.note(f"error: {what}")
        return 2
    return 1 if counted["failed"] else 0


def _files(ctx: typer.Context, paths: Sequence[str] | None) -> list[str]:
    """The files to run, each once."""
    places = list(paths or ())
    if not places:
        places = [_FOLDER] if os.path.isdir(_FOLDER) else ["."]
    found: list[str] = []
    for place in places:
        try:
            found += find_script_tests(place)
        except FileNotFoundError:
            ctx.fail(f"No such file or directory: {place}")
    if not found:
        ctx.fail(f"No tests found in {', '.join(places)}")
    return list(dict.fromkeys(os.path.normpath(path) for path in found))
