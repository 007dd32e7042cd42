"""``llmspell runs``."""

from __future__ import annotations

from typing import Annotated, Any, cast

import typer

from llmspell_cli._help import Command, Group
from llmspell_cli._invocation import Invocation
from llmspell_cli._tables import moment, money, span, table

app = typer.Typer(
    cls=Group,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="List, show, prune and erase recorded runs.",
    epilog="""
    llmspell runs list
    llmspell runs show 3f2a
    llmspell runs prune --keep 20
    """,
)

_Run = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, or its beginning")]


@app.callback()
def runs() -> None:
    """List, show, prune and erase recorded runs."""


@app.command("list", cls=Command)
def list_runs(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", help="At most so many", min=1)] = 50,
) -> None:
    """The recorded runs, newest first."""
    invocation: Invocation = ctx.obj
    found: list[dict[str, Any]] = invocation.call("run.list", limit=limit)
    if invocation.output == "json":
        invocation.say_json(found, indent=2)
        return
    if not found:
        invocation.say("No recorded runs. Record one by: llmspell run --record SCRIPT")
        return
    rows = [
        (
            run["run_id"],
            run["status"],
            moment(run["started_at"]),
            _lasted(run),
            str(run["effects"]),
            str(run["tokens"]),
            money(run["cost"], tokens=run["tokens"]),
            run["script"],
        )
        for run in found
    ]
    heads = ("RUN", "STATUS", "STARTED", "TOOK", "EFFECTS", "TOKENS", "COST", "SCRIPT")
    invocation.say(table(heads, rows))


def _lasted(run: dict[str, Any]) -> str:
    if run["finished_at"] is None:
        return "-"
    return span((run["finished_at"] - run["started_at"]) * 1000)


@app.command("show", cls=Command)
def show_run(
    ctx: typer.Context,
    run: _Run,
    everything: Annotated[
        bool, typer.Option("--all", help="Observations too: clock, ids, random, settings")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Everything, with requests and outcomes")
    ] = False,
) -> None:
    """One run: the tree of what it did, with durations, tokens and cost."""
    invocation: Invocation = ctx.obj
    found: dict[str, Any] = invocation.call("run.show", run=run)
    if json or invocation.output == "json":
        invocation.say_json(found, indent=2)
        return
    lines = [
        f"Run      {found['run_id']}",
        f"Script   {found['script']}",
        f"Status   {found['status']}",
        f"Started  {moment(found['started_at'])}",
        f"Took     {_lasted(found)}",
        f"Tokens   {found['tokens']}",
        f"Cost     {money(found['cost'], tokens=found['tokens'])}",
    ]
    if found["error"]:
        lines.append(f"Error    {found['error']}")
    effects: list[dict[str, Any]] = found["effect_list"]
    shown = effects if everything else [e for e in effects if not _observed(e)]
    lines += ["", *_tree(shown)]
    if len(shown) < len(effects):
        lines += ["", f"{len(effects) - len(shown)} observations are left out; --all shows them."]
    invocation.say("\n".join(lines))


def _observed(effect: dict[str, Any]) -> bool:
    # What is taken without waiting (`ExecutionContext.observe`) is written in one piece, as
    # having taken no time at all; work never does.
    return effect["duration_ms"] == 0.0


def _tree(effects: list[dict[str, Any]]) -> list[str]:
    """The effects below the spans and effects they were made in, in the order they began."""
    levels = {"": 0}
    lines: list[str] = []
    for effect in _grouped(effects):
        place = effect["path"]
        level = levels.setdefault(place, 1 + max(_levels_around(place, levels), default=0))
        facts = [span(effect["duration_ms"]), effect["status"] if effect["status"] != "ok" else ""]
        if effect["tokens"]:
            facts.append(f"{effect['tokens']} tokens")
            facts.append(f"cost {money(effect['cost'], tokens=effect['tokens'])}")
        head = f"{'  ' * level}{effect['sequence']:>4}  {effect['kind']}{_about(effect)}"
        lines.append(f"{head}  {' · '.join(fact for fact in facts if fact)}")
    return lines


def _levels_around(place: str, levels: dict[str, int]) -> list[int]:
    return [level for path, level in levels.items() if place.startswith(path + "/")]


def _grouped(effects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Effects of parallel branches are written as they come: bring together what belongs
    together, each group behind the effect that it was made in.
    """
    below: dict[str, list[dict[str, Any]]] = {}
    for effect in effects:
        below.setdefault(effect["path"], []).append(effect)
    ordered: list[dict[str, Any]] = []

    def add(place: str) -> None:
        waiting = sorted(
            (path for path in below if path.startswith(place + "/") and path != place),
            key=lambda path: below[path][0]["sequence"],
        )
        waiting = [p for p in waiting if not any(p.startswith(o + "/") for o in waiting)]
        for effect in below.get(place, []):
            ordered.append(effect)
            mark = f"{place}/{effect['kind']}:"
            inside = next((path for path in waiting if path.startswith(mark)), None)
            if inside is not None and below[inside][0]["sequence"] > effect["sequence"]:
                waiting.remove(inside)
                add(inside)
        for path in waiting:
            add(path)

    add("")
    return ordered


def _about(effect: dict[str, Any]) -> str:
    """What the effect was about, in a few words."""
    request = effect.get("request")
    if isinstance(request, dict):
        asked = cast("dict[str, Any]", request)
        request = next(
            (asked[key] for key in ("tool", "model", "key", "query", "name") if key in asked),
            None,
        )
    if request is None or not isinstance(request, str):
        return ""
    text = " ".join(request.split())
    return f" {text if len(text) <= 60 else text[:59] + '…'}"


@app.command("prune", cls=Command)
def prune_runs(
    ctx: typer.Context,
    keep: Annotated[
        int | None, typer.Option("--keep", help="Keep so many of the newest", min=0)
    ] = None,
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", help="Erase what started so many days ago", min=0),
    ] = None,
) -> None:
    """Erase whole runs; those in progress stay."""
    invocation: Invocation = ctx.obj
    if keep is None and older_than is None:
        ctx.fail("Say which runs: --keep N, --older-than DAYS, or both.")
    done = invocation.call("run.prune", keep=keep, older_than_days=older_than)
    if invocation.output == "json":
        invocation.say_json(done)
    else:
        invocation.say(f"✓ Erased {done['pruned']} {'run' if done['pruned'] == 1 else 'runs'}")


@app.command("erase", cls=Command)
def erase_run(ctx: typer.Context, run: _Run) -> None:
    """Erase what a run asked and was answered; its rows stay, it cannot be replayed."""
    invocation: Invocation = ctx.obj
    done = invocation.call("run.erase", run=run)
    if invocation.output == "json":
        invocation.say_json(done)
    else:
        invocation.say(f"✓ Erased {done['erased']} payloads of run {done['run_id']}")
