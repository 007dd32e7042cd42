"""The kernel's operations on runs and plugins."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from llmspell_core import (
    Effect,
    ExecutionContext,
    NotFoundError,
    PluginError,
    RunRecord,
    Services,
    ValidationError,
    from_canonical,
    operation,
)
from llmspell_kernel._run_rules import in_progress

if TYPE_CHECKING:
    from llmspell_core import Plugin


def _run(record: RunRecord) -> dict[str, Any]:
    # A run whose process was killed is still marked as running; say what is the matter.
    killed = record.status.value == "running" and not in_progress(record)
    return {
        "run_id": record.run_id,
        "script": record.script,
        "status": "killed" if killed else record.status.value,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
        "error": record.error,
        "pid": record.pid,
        "effects": record.effects,
        "tokens": record.tokens,
        "cost": record.cost,
    }


def _effect(effect: Effect, *, payloads: bool) -> dict[str, Any]:
    intent, outcome = effect.intent, effect.outcome
    made: dict[str, Any] = {
        "sequence": intent.sequence,
        "path": intent.path,
        "kind": intent.kind,
        "effect_class": intent.effect_class.value,
        "started_at": intent.started_at,
        "status": "unfinished" if outcome is None else "ok" if outcome.ok else "failed",
        "duration_ms": None if outcome is None else outcome.duration_ms,
        "tokens": None if outcome is None else outcome.tokens,
        "cost": None if outcome is None else outcome.cost,
    }
    if payloads:
        made["request"] = from_canonical(intent.request) if intent.request else None
        text = None if outcome is None else outcome.payload
        made["outcome"] = None if text is None else from_canonical(text)
    return made


def _found(services: Services, run: str) -> RunRecord:
    record = services.ledger.run(run)
    if record is None:
        raise NotFoundError(
            f"run '{run}' not found",
            hint="See what there is with: llmspell runs list",
            code="RUN_NOT_FOUND",
        )
    return record


@operation("run.list")
async def run_list(
    services: Services, context: ExecutionContext, *, limit: int | None = 50
) -> list[dict[str, Any]]:
    """The recorded runs, newest first."""
    import asyncio

    if limit is not None and limit < 1:
        raise ValidationError("limit must be at least 1", field="limit")
    records = await asyncio.to_thread(services.ledger.runs, limit=limit)
    return [_run(record) for record in records]


@operation("run.show")
async def run_show(
    services: Services, context: ExecutionContext, *, run: str, payloads: bool = True
) -> dict[str, Any]:
    """One run with its effects; without payloads only what they were and took."""
    import asyncio

    def read() -> dict[str, Any]:
        record = _found(services, run)
        effects = services.ledger.effects(record.run_id)
        return {
            **_run(record),
            "effect_list": [_effect(effect, payloads=payloads) for effect in effects],
        }

    return await asyncio.to_thread(read)


@operation("run.prune")
async def run_prune(
    services: Services,
    context: ExecutionContext,
    *,
    older_than_days: float | None = None,
    keep: int | None = None,
) -> dict[str, Any]:
    """Erase runs that are older or not among the newest; runs in progress stay."""
    import asyncio

    if older_than_days is None and keep is None:
        raise ValidationError(
            "say which runs to prune: give older_than_days, keep or both",
            field="keep",
            hint="Keep the ten newest with: llmspell runs prune --keep 10",
        )
    before = None if older_than_days is None else time.time() - older_than_days * 86_400
    gone = await asyncio.to_thread(services.ledger.prune, older_than=before, keep=keep)
    return {"pruned": gone}


@operation("run.erase")
async def run_erase(services: Services, context: ExecutionContext, *, run: str) -> dict[str, Any]:
    """Erase what a run asked and was answered, while its rows stay."""
    import asyncio

    def erase() -> dict[str, Any]:
        record = _found(services, run)
        return {
            "run_id": record.run_id,
            "erased": services.ledger.erase_payloads(record.run_id),
        }

    return await asyncio.to_thread(erase)


@operation("plugin.list")
async def plugin_list(
    services: Services,
    context: ExecutionContext,
    *,
    group: str | None = None,
    check: bool = False,
) -> list[dict[str, Any]]:
    """What is installed at every extension point; with check, each is imported to see if it can."""
    from llmspell_core import GROUPS

    wanted = None if group is None else "llmspell." + group.removeprefix("llmspell.")
    if wanted is not None and wanted not in GROUPS:
        known = ", ".join(name.removeprefix("llmspell.") for name in GROUPS)
        raise ValidationError(
            f"unknown plugin group '{group}'", field="group", hint=f"Groups: {known}"
        )
    contested = {
        (owner.group, owner.name) for owners in services.plugins.duplicates() for owner in owners
    }
    return [
        {
            "group": plugin.group,
            "name": plugin.name,
            "value": plugin.value,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "duplicate": (plugin.group, plugin.name) in contested,
            **({"error": _broken(plugin)} if check else {}),
        }
        for plugin in services.plugins.all()
        if wanted in (None, plugin.group)
    ]


def _broken(plugin: Plugin) -> str | None:
    try:
        plugin.load()
    except PluginError as error:
        return error.message
    return None
