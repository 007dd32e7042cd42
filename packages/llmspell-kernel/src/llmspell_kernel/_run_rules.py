"""What both ledgers decide alike: which run is meant, which is over, which may go."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from llmspell_core import Intent, RunRecord, RunStatus, StorageError, ValidationError

ERASED_REQUEST = ""
"""What the request of an effect reads as once it was erased."""
ERASED_ERROR = "<erased>"
"""What the error of a run reads as then, for it may quote anything."""


def in_progress(run: RunRecord) -> bool:
    """Whether a process is still at it. A run whose process was killed is not."""
    if run.status is not RunStatus.RUNNING:
        return False
    if run.pid is None:
        return True
    try:
        os.kill(run.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def one_of(prefix: str, ids: Sequence[str]) -> str | None:
    """The id that *prefix* stands for: itself, or the only one that begins with it.

    Raises:
        ValidationError: when several do.
    """
    if prefix in ids:
        return prefix
    if len(ids) > 1:
        shown = ", ".join(sorted(ids)[:5])
        raise ValidationError(
            f"run id '{prefix}' is ambiguous: {shown}{', …' if len(ids) > 5 else ''}",
            field="run",
            hint="Give more of it.",
        )
    return ids[0] if ids else None


def prunable(
    newest_first: Iterable[RunRecord], older_than: float | None, keep: int | None
) -> list[str]:
    """The ids that `RunLedger.prune` erases."""
    if keep is not None and keep < 0:
        raise ValidationError("keep must not be negative", field="keep")
    return [
        run.run_id
        for position, run in enumerate(newest_first)
        if (
            (older_than is not None and run.started_at < older_than)
            or (keep is not None and position >= keep)
        )
        and not in_progress(run)
    ]


def unopened(run_id: str) -> StorageError:
    """The error for writing to a run that nobody opened, or that was pruned meanwhile."""
    return StorageError(
        f"run '{run_id}' is not in the ledger",
        operation="append",
        hint="Open a run before recording into it.",
    )


def written_before(intent: Intent) -> StorageError:
    """The error for a second intent under one number: rows are never overwritten."""
    return StorageError(
        f"effect {intent.sequence} of run '{intent.run_id}' was written already",
        operation="append",
        hint="Another process is probably resuming the same run: let it finish.",
    )
