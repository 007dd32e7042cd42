"""In-memory doubles of the stores: bytes, state, run ledger."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmspell_core import (
    Effect,
    EffectClass,
    Intent,
    Outcome,
    RunLedger,
    RunRecord,
    RunStatus,
    StateStore,
    StorageBackend,
    ValidationError,
    canonical,
    from_canonical,
)

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext


_NEVER = float("inf")


class BackendDouble(StorageBackend):
    """A dict as a `StorageBackend`."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        value, end = self._values.get(key, (None, _NEVER))
        return value if end > time.time() else None

    async def write(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        *,
        expect: Mapping[str, bytes | None] | None = None,
        expires_at: float | None = None,
    ) -> bool:
        """All of it or, when an expectation fails, nothing."""
        with self._lock:
            now = time.time()
            for key, value in (expect or {}).items():
                held, end = self._values.get(key, (None, _NEVER))
                if (held if end > now else None) != value:
                    return False
            end = _NEVER if expires_at is None else expires_at
            for key in deletes:
                self._values.pop(key, None)
            self._values.update({key: (bytes(value), end) for key, value in puts.items()})
            return True

    async def scan(self, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        """In lexical order."""
        with self._lock:
            now = time.time()
            found = sorted(
                (key, value)
                for key, (value, end) in self._values.items()
                if key.startswith(prefix) and end > now
            )
        for item in found:
            yield item

    async def expiries(self) -> dict[str, float]:
        """Those that have an end."""
        now = time.time()
        return {key: end for key, (_, end) in self._values.items() if now < end < _NEVER}


class StateDouble(StateStore):
    """Dicts as a `StateStore`. Its calls are effects, as the contract says."""

    def __init__(self) -> None:
        self._values: dict[tuple[str | None, str], dict[str, str]] = {}

    def _scope(self, scope: str, context: ExecutionContext) -> dict[str, str]:
        return self._values.setdefault((context.tenant, scope), {})

    async def _read(self, request: dict[str, Any], context: ExecutionContext, value: Any) -> Any:
        async def run(_: ExecutionContext) -> Any:
            return value()

        return await context.effect("state.read", request, run, effect_class=EffectClass.PURE)

    async def _change(self, request: dict[str, Any], context: ExecutionContext, change: Any) -> Any:
        async def run(_: ExecutionContext) -> Any:
            return change()

        return await context.effect(
            "state.write", request, run, effect_class=EffectClass.IDEMPOTENT
        )

    async def get(self, scope: str, key: str, context: ExecutionContext) -> Any:
        """The value, or None."""

        def value() -> Any:
            text = self._scope(scope, context).get(key)
            return None if text is None else from_canonical(text)

        return await self._read({"get": [scope, key]}, context, value)

    async def set(self, scope: str, key: str, value: Any, context: ExecutionContext) -> None:
        """Insert or overwrite; None deletes."""
        await self.set_many(scope, {key: value}, context)

    async def set_many(
        self, scope: str, values: Mapping[str, Any], context: ExecutionContext
    ) -> None:
        """All of them or, when one cannot be kept, none."""
        texts: dict[str, str | None] = {}
        for key, value in values.items():
            _check_key(key)
            texts[key] = None if value is None else _text(key, value)

        def change() -> None:
            table = self._scope(scope, context)
            for key, text in texts.items():
                if text is None:
                    table.pop(key, None)
                else:
                    table[key] = text

        await self._change({"set": [scope, dict(values)]}, context, change)

    async def delete(self, scope: str, key: str, context: ExecutionContext) -> bool:
        """Remove; whether it was there."""
        return await self._change(
            {"delete": [scope, key]},
            context,
            lambda: self._scope(scope, context).pop(key, None) is not None,
        )

    async def list(self, scope: str, context: ExecutionContext, *, prefix: str = "") -> list[str]:
        """The keys, in lexical order."""
        return await self._read(
            {"list": [scope, prefix]},
            context,
            lambda: sorted(k for k in self._scope(scope, context) if k.startswith(prefix)),
        )

    async def all(self, scope: str, context: ExecutionContext) -> dict[str, Any]:
        """The keys with their values."""
        return await self._read(
            {"all": scope},
            context,
            lambda: {k: json.loads(v) for k, v in sorted(self._scope(scope, context).items())},
        )

    async def clear(self, scope: str, context: ExecutionContext) -> int:
        """Remove all; returns how many."""

        def change() -> int:
            table = self._scope(scope, context)
            many = len(table)
            table.clear()
            return many

        return await self._change({"clear": scope}, context, change)

    async def scopes(self, context: ExecutionContext) -> list[str]:
        """The scopes that hold something."""
        return await self._read(
            {"scopes": None},
            context,
            lambda: sorted(
                scope
                for (tenant, scope), table in self._values.items()
                if tenant == context.tenant and table
            ),
        )

    async def increment(
        self, scope: str, key: str, amount: float, context: ExecutionContext
    ) -> float:
        """Add to a number."""

        def change() -> float:
            table = self._scope(scope, context)
            old = json.loads(table.get(key, "0"))
            if isinstance(old, bool) or not isinstance(old, int | float):
                raise ValidationError(f"State key '{key}' does not hold a number", field=key)
            table[key] = canonical(old + amount)
            return old + amount

        _check_key(key)
        return await self._change({"increment": [scope, key, amount]}, context, change)

    async def append(self, scope: str, key: str, value: Any, context: ExecutionContext) -> int:
        """Add to the end of a list."""
        text = _text(key, value)

        def change() -> int:
            table = self._scope(scope, context)
            old = from_canonical(table.get(key, "[]"))
            if not isinstance(old, list):
                raise ValidationError(f"State key '{key}' does not hold a list", field=key)
            table[key] = canonical([*old, from_canonical(text)])
            return len(old) + 1  # pyright: ignore[reportUnknownArgumentType]

        _check_key(key)
        return await self._change({"append": [scope, key, value]}, context, change)

    async def compare_and_swap(
        self, scope: str, key: str, old: Any, new: Any, context: ExecutionContext
    ) -> bool:
        """Replace *old* by *new* if it is still equal as JSON."""

        def change() -> bool:
            table = self._scope(scope, context)
            if table.get(key) != (None if old is None else canonical(old)):
                return False
            if new is None:
                table.pop(key, None)
            else:
                table[key] = _text(key, new)
            return True

        _check_key(key)
        return await self._change({"swap": [scope, key, old, new]}, context, change)


def _check_key(key: str) -> None:
    if not key or len(key) > 256 or any(ord(c) < 32 or ord(c) == 127 for c in key):
        raise ValidationError(
            f"Invalid state key {key[:40]!r}: 1 to 256 characters, none of them control characters",
            field="key",
        )


def _text(key: str, value: Any) -> str:
    try:
        return canonical(value)
    except (TypeError, RecursionError) as error:
        raise ValidationError(f"State key '{key}' cannot hold this: {error}", field=key) from error


class LedgerDouble(RunLedger):
    """Lists as a `RunLedger`, for tests of what records; callable from any thread."""

    def __init__(self) -> None:
        self._runs: dict[str, RunRecord] = {}
        self._intents: dict[str, list[Intent]] = {}
        self._outcomes: dict[tuple[str, int], Outcome] = {}
        self._lock = threading.Lock()

    def open_run(self, run: RunRecord) -> None:
        """Begin it, or set it running again."""
        with self._lock:
            known = self._runs.get(run.run_id)
            if known is None:
                self._runs[run.run_id] = run
                self._intents[run.run_id] = []
            else:
                self._runs[run.run_id] = replace(
                    known, status=RunStatus.RUNNING, finished_at=None, error=None, pid=run.pid
                )

    def close_run(
        self, run_id: str, status: RunStatus, *, finished_at: float, error: str | None = None
    ) -> None:
        """Write how it ended."""
        with self._lock:
            self._runs[run_id] = replace(
                self._runs[run_id], status=status, finished_at=finished_at, error=error
            )

    def append(self, intent: Intent) -> None:
        """Keep an intent."""
        with self._lock:
            self._intents[intent.run_id].append(intent)

    def settle(self, outcome: Outcome) -> None:
        """Keep an outcome; a later one takes its place."""
        with self._lock:
            self._outcomes[outcome.run_id, outcome.sequence] = outcome

    def run(self, run_id: str) -> RunRecord | None:
        """By id, or by an unambiguous beginning of one."""
        with self._lock:
            found = [run_id] if run_id in self._runs else []
            found = found or [known for known in self._runs if known.startswith(run_id)]
            return self._counted(found[0]) if len(found) == 1 else None

    def _counted(self, run_id: str) -> RunRecord:
        leaves = [i for i in self._intents[run_id] if i.effect_class is not EffectClass.SPAN]
        outcomes = [o for (owner, _), o in self._outcomes.items() if owner == run_id]
        costs = [o.cost for o in outcomes if o.cost is not None]
        unpriced = any(o.tokens and o.cost is None for o in outcomes)
        return replace(
            self._runs[run_id],
            effects=len(leaves),
            tokens=sum(o.tokens or 0 for o in outcomes),
            cost=sum(costs) if costs and not unpriced else None,
        )

    def runs(self, *, limit: int | None = None) -> list[RunRecord]:
        """Newest first."""
        with self._lock:
            made = [self._counted(run_id) for run_id in self._runs]
        made.reverse()
        made.sort(key=lambda run: -run.started_at)
        return made[:limit]

    def effects(self, run_id: str) -> Iterator[Effect]:
        """In the order of their intents."""
        with self._lock:
            intents = sorted(self._intents.get(run_id, ()), key=lambda i: i.sequence)
            found = [Effect(i, self._outcomes.get((run_id, i.sequence))) for i in intents]
        return iter(found)

    def prune(self, *, older_than: float | None = None, keep: int | None = None) -> int:
        """Erase whole runs."""
        gone = 0
        newest = self.runs()
        for place, run in enumerate(newest):
            old = older_than is not None and run.started_at < older_than
            surplus = keep is not None and place >= keep
            if run.status is not RunStatus.RUNNING and (old or surplus):
                with self._lock:
                    del self._runs[run.run_id], self._intents[run.run_id]
                    for key in [k for k in self._outcomes if k[0] == run.run_id]:
                        del self._outcomes[key]
                gone += 1
        return gone

    def erase_payloads(self, run_id: str) -> int:
        """Erase requests and outcomes."""
        with self._lock:
            intents = self._intents.get(run_id, [])
            many = 0
            for index, intent in enumerate(intents):
                if intent.request:
                    intents[index] = replace(intent, request="")
                    many += 1
            for key, outcome in self._outcomes.items():
                if key[0] == run_id and outcome.payload is not None:
                    self._outcomes[key] = replace(outcome, payload=None)
            return many
