"""The run ledger in memory: for one-shot runs and tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from llmspell_core import Effect, EffectClass, Intent, Outcome, RunLedger, RunRecord, RunStatus
from llmspell_kernel._run_rules import (
    ERASED_ERROR,
    ERASED_REQUEST,
    one_of,
    prunable,
    unopened,
    written_before,
)


@dataclass(slots=True)
class _Run:
    record: RunRecord
    intents: dict[int, Intent] = field(default_factory=dict[int, Intent])
    outcomes: dict[int, list[Outcome]] = field(default_factory=dict[int, list[Outcome]])

    def summary(self) -> RunRecord:
        settled = [outcome for tries in self.outcomes.values() for outcome in tries]
        costs = [outcome.cost for outcome in settled if outcome.cost is not None]
        unpriced = any(outcome.tokens and outcome.cost is None for outcome in settled)
        spans = sum(i.effect_class is EffectClass.SPAN for i in self.intents.values())
        return replace(
            self.record,
            effects=len(self.intents) - spans,
            tokens=sum(outcome.tokens or 0 for outcome in settled),
            cost=sum(costs) if costs and not unpriced else None,
        )


class MemoryLedger(RunLedger):
    """Keeps runs as long as it lives."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()

    def open_run(self, run: RunRecord) -> None:
        with self._lock:
            known = self._runs.get(run.run_id)
            if known is None:
                self._runs[run.run_id] = _Run(run)
            else:
                known.record = replace(
                    known.record, status=run.status, finished_at=None, error=None, pid=run.pid
                )

    def close_run(
        self, run_id: str, status: RunStatus, *, finished_at: float, error: str | None = None
    ) -> None:
        with self._lock:
            run = self._of(run_id)
            run.record = replace(run.record, status=status, finished_at=finished_at, error=error)

    def _of(self, run_id: str) -> _Run:
        run = self._runs.get(run_id)
        if run is None:
            raise unopened(run_id)
        return run

    def append(self, intent: Intent) -> None:
        with self._lock:
            self._add(self._of(intent.run_id), intent)

    def _add(self, run: _Run, intent: Intent) -> None:
        if run.intents.setdefault(intent.sequence, intent) is not intent:
            raise written_before(intent)

    def settle(self, outcome: Outcome) -> None:
        with self._lock:
            self._of(outcome.run_id).outcomes.setdefault(outcome.sequence, []).append(outcome)

    def note(self, intent: Intent, outcome: Outcome) -> None:
        with self._lock:
            run = self._of(intent.run_id)
            known = run.intents.get(intent.sequence)
            # A resume observes anew what was erased: the row is there and gets an outcome.
            if known is None or known.key != intent.key:
                self._add(run, intent)
            run.outcomes.setdefault(outcome.sequence, []).append(outcome)

    def run(self, run_id: str) -> RunRecord | None:
        with self._lock:
            if not run_id:
                return None
            found = one_of(run_id, [known for known in self._runs if known.startswith(run_id)])
            return None if found is None else self._runs[found].summary()

    def runs(self, *, limit: int | None = None) -> list[RunRecord]:
        with self._lock:
            return [run.summary() for run in self._newest_first()[:limit]]

    def _newest_first(self) -> list[_Run]:
        # Of two that started at the same instant the one opened later comes first.
        return sorted(self._runs.values(), key=lambda run: run.record.started_at)[::-1]

    def effects(self, run_id: str) -> Iterator[Effect]:
        with self._lock:
            run = self._runs.get(run_id)
            if run is None:
                return iter(())
            return iter(
                [
                    Effect(intent, run.outcomes[sequence][-1] if sequence in run.outcomes else None)
                    for sequence, intent in sorted(run.intents.items())
                ]
            )

    def prune(self, *, older_than: float | None = None, keep: int | None = None) -> int:
        with self._lock:
            gone = prunable((run.record for run in self._newest_first()), older_than, keep)
            for run_id in gone:
                del self._runs[run_id]
            return len(gone)

    def erase_payloads(self, run_id: str) -> int:
        with self._lock:
            run = self._runs.get(run_id)
            if run is None:
                return 0
            texts = {intent.request for intent in run.intents.values()} - {ERASED_REQUEST}
            for sequence, intent in run.intents.items():
                run.intents[sequence] = replace(intent, request=ERASED_REQUEST)
            for sequence, tries in run.outcomes.items():
                texts |= {outcome.payload for outcome in tries if outcome.payload is not None}
                run.outcomes[sequence] = [replace(outcome, payload=None) for outcome in tries]
            if run.record.error is not None:
                run.record = replace(run.record, error=ERASED_ERROR)
            return len(texts)
