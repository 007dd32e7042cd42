"""The run ledger: what is kept of a run, and the base of the stores that keep it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class EffectClass(Enum):
    """What resume may do with an effect whose intent was written and whose outcome was not."""

    PURE = "pure"
    """Takes nothing from the world that matters; run it again."""
    IDEMPOTENT = "idempotent"
    """Doing it twice is doing it once; run it again."""
    RECONCILABLE = "reconcilable"
    """Its owner can find out whether it happened; run it again, its body finds out."""
    IRREVERSIBLE = "irreversible"
    """Nobody knows and it must not happen twice; resume stops and asks."""
    SPAN = "span"
    """Not an effect: an agent, workflow or step that groups them."""


class RunStatus(Enum):
    """How a run stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. Times are Unix seconds; `error` is the message of a failed run. `cost` is None
    when it is not known of every effect that took tokens.

    `status` is ``running`` while the process lives *and* after it was killed: compare `pid`.
    """

    run_id: str
    script: str
    started_at: float
    status: RunStatus = RunStatus.RUNNING
    finished_at: float | None = None
    error: str | None = None
    pid: int | None = None
    effects: int = 0
    tokens: int = 0
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """What is about to be done.

    Within a run an effect is known by ``(path, kind, request_hash, occurrence)``, never by its
    place in time, because parallel work reorders. `sequence` only tells the order of writing.
    `path` is that of the span or effect the request was made in, ``""`` for the run itself.
    """

    run_id: str
    sequence: int
    path: str
    kind: str
    occurrence: int
    request_hash: str
    request: str
    effect_class: EffectClass
    started_at: float

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What replay looks an effect up by."""
        return self.path, self.kind, self.request_hash, self.occurrence


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. `payload` is canonical JSON, or None when erased, pruned or too large.

    `tokens` is the total the provider reported, `cost` is in US dollars; None means unknown.
    """

    run_id: str
    sequence: int
    ok: bool
    payload: str | None
    duration_ms: float
    tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """An intent with its outcome; without one the run ended before it was known."""

    intent: Intent
    outcome: Outcome | None


class RunLedger(ABC):
    """An append-only store of runs: one row an effect, payloads as erasable blobs.

    The methods are synchronous and callable from any thread, because the choke point is used
    from script threads and from the event loop alike; an append is expected to take tens of
    microseconds. Whatever `append`, `settle` or `note` returned from survives the death of the
    process, if the store is persistent.
    """

    @abstractmethod
    def open_run(self, run: RunRecord) -> None:
        """Begin a run, or reopen the one with this id for a resume."""

    @abstractmethod
    def close_run(
        self, run_id: str, status: RunStatus, *, finished_at: float, error: str | None = None
    ) -> None:
        """Write how the run ended."""

    @abstractmethod
    def append(self, intent: Intent) -> None:
        """Write an intent before the work is done."""

    @abstractmethod
    def settle(self, outcome: Outcome) -> None:
        """Write the outcome of an appended intent."""

    def note(self, intent: Intent, outcome: Outcome) -> None:
        """Write both at once, for observations, which cannot be interrupted half-way."""
        self.append(intent)
        self.settle(outcome)

    @abstractmethod
    def run(self, run_id: str) -> RunRecord | None:
        """One run, or None. An unambiguous beginning of an id is enough."""

    @abstractmethod
    def runs(self, *, limit: int | None = None) -> list[RunRecord]:
        """Runs, newest first."""

    @abstractmethod
    def effects(self, run_id: str) -> Iterator[Effect]:
        """The effects of a run in the order of their intents; nothing for an unknown run."""

    @abstractmethod
    def prune(self, *, older_than: float | None = None, keep: int | None = None) -> int:
        """Erase whole runs that started before *older_than* (Unix seconds) or that are not among
        the *keep* newest; runs in progress stay. Returns how many went.
        """

    @abstractmethod
    def erase_payloads(self, run_id: str) -> int:
        """Erase requests and outcomes of a run while its rows stay. Returns how many."""

    def close(self) -> None:
        """Release files; the ledger cannot be used afterwards."""
