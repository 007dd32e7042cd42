"""What recording an effect costs: in memory, in SQLite, and a raw SQLite insert beside them."""

import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable

from llmspell_core import (
    EffectClass,
    ExecutionContext,
    Passing,
    Recording,
    RunLedger,
    RunRecord,
    Services,
)
from llmspell_kernel import MemoryLedger, SqliteLedger

EFFECTS = 5_000
ANSWER = {"content": "lorem ipsum " * 40, "model": "m", "items": ["dolor sit amet"] * 25}


def show(name: str, seconds: list[float], bound: str = "") -> None:
    p50, mean = statistics.median(seconds) * 1e6, statistics.fmean(seconds) * 1e6
    print(f"{name:<42} p50 {p50:7.1f} µs   mean {mean:7.1f} µs   {bound}")


async def effects(context: ExecutionContext) -> list[float]:
    """Effects whose outcome is about 1 KB and never the same."""

    async def run(_: ExecutionContext) -> dict[str, object]:
        return {**ANSWER, "number": number}

    took: list[float] = []
    for number in range(EFFECTS):
        started = time.perf_counter()
        await context.effect(
            "model.chat", {"prompt": number}, run, effect_class=EffectClass.IDEMPOTENT
        )
        took.append(time.perf_counter() - started)
    return took


def observations(context: ExecutionContext) -> list[float]:
    took: list[float] = []
    for _ in range(EFFECTS):
        started = time.perf_counter()
        context.now()
        took.append(time.perf_counter() - started)
    return took


def timed(work: Callable[[int], object]) -> list[float]:
    took: list[float] = []
    for number in range(EFFECTS):
        started = time.perf_counter()
        work(number)
        took.append(time.perf_counter() - started)
    return took


def recorded(ledger: RunLedger) -> ExecutionContext:
    ledger.open_run(RunRecord("run", "bench", time.time(), pid=os.getpid()))
    return ExecutionContext(Services(), effects=Recording(ledger, "run"))


def raw_inserts(folder: str) -> list[float]:
    connection = sqlite3.connect(os.path.join(folder, "raw.db"), isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, content TEXT)")
    took = timed(
        lambda number: connection.execute(
            "INSERT INTO t (content) VALUES (?)", (f"{number}" + "x" * 1000,)
        )
    )
    connection.close()
    return took


def main() -> None:
    show(
        "effect, not recorded",
        asyncio.run(effects(ExecutionContext(Services(), effects=Passing()))),
    )
    show("effect, in memory", asyncio.run(effects(recorded(MemoryLedger()))), "bound 20 µs")
    show("observation, in memory", observations(recorded(MemoryLedger())))
    with tempfile.TemporaryDirectory() as folder:
        show("raw SQLite insert of 1 KB (one commit)", raw_inserts(folder))
        ledger = SqliteLedger(os.path.join(folder, "runs.db"))
        context = recorded(ledger)
        show("effect, in SQLite (two commits)", asyncio.run(effects(context)), "bound 100 µs")
        show("observation, in SQLite (one commit)", observations(context))
        size = sum(entry.stat().st_size for entry in os.scandir(folder) if "runs" in entry.name)
        print(f"{size / (2 * EFFECTS):.0f} bytes on disk for each effect or observation")
        ledger.close()


if __name__ == "__main__":
    main()
