"""Copying a store between back ends."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from llmspell_core import (
    Config,
    Event,
    ExecutionContext,
    LLMSpellError,
    Operations,
    Services,
    StorageBackend,
    StorageError,
)
from llmspell_storage import MemoryStorage, ServerStorage, SqliteStorage, copy_store

OnServer = Callable[..., ServerStorage]
VALUES = {"": b"", "a\x00b": bytes(range(256)), "ключ": "ü".encode(), "k" * 3000: b"x" * 70_000} | {
    f"n{n:05}": str(n).encode() for n in range(2500)
}


async def contents(store: StorageBackend) -> dict[str, bytes]:
    return {key: value async for key, value in store.scan()}


@pytest.mark.parametrize("server", ["postgres", "mariadb"])
async def test_a_store_goes_to_a_server_and_comes_back_byte_for_byte(
    server: str, tmp_path: Path, on_server: OnServer
) -> None:
    first, there = SqliteStorage(str(tmp_path / "a.db")), on_server(server)
    back = SqliteStorage(str(tmp_path / "b.db"))
    await first.set_batch(VALUES)
    end = time.time() + 3600.5
    await first.set("n00001", b"1", expires_at=end)
    told: list[tuple[int, int]] = []
    out = await copy_store(first, there, progress=lambda *facts: told.append(facts))
    home = await copy_store(there, back)
    assert out == home
    assert out.keys == len(VALUES)
    assert told[-1] == (len(VALUES), len(VALUES))
    assert await contents(back) == VALUES
    assert await back.expiries() == await there.expiries() == {"n00001": end}
    await there.clear()
    for store in (first, there, back):
        await store.aclose()


async def test_a_target_that_holds_something_is_only_replaced_on_demand() -> None:
    source, target = MemoryStorage(), MemoryStorage()
    await source.set("new", b"1")
    await target.set("old", b"2")
    with pytest.raises(StorageError, match="holds 1 keys already"):
        await copy_store(source, target)
    assert await contents(target) == {"old": b"2"}
    await copy_store(source, target, overwrite=True)
    assert await contents(target) == {"new": b"1"}


class Failing(MemoryStorage):
    """Refuses its third batch."""

    batches = 0

    async def write(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        *,
        expect: Mapping[str, bytes | None] | None = None,
        expires_at: float | None = None,
    ) -> bool:
        self.batches += bool(puts)
        if self.batches == 3:
            raise StorageError("the disk is full", operation="full")
        return await super().write(puts, deletes, expect=expect, expires_at=expires_at)


class Forgetful(MemoryStorage):
    """Acknowledges a key that it does not keep."""

    async def write(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        *,
        expect: Mapping[str, bytes | None] | None = None,
        expires_at: float | None = None,
    ) -> bool:
        kept = {key: value for key, value in puts.items() if key != "n00007"}
        return await super().write(kept, deletes, expect=expect, expires_at=expires_at)


@pytest.mark.parametrize(
    ("target", "words"), [(Failing(), "disk is full"), (Forgetful(), "the copy differs")]
)
async def test_a_copy_that_fails_or_differs_leaves_nothing_behind(
    target: MemoryStorage, words: str
) -> None:
    source = MemoryStorage()
    await source.set_batch(VALUES)
    with pytest.raises(StorageError, match=words):
        await copy_store(source, target)
    assert await contents(target) == {}
    assert await contents(source) == VALUES


async def test_a_cancelled_copy_leaves_nothing_behind(tmp_path: Path) -> None:
    source, target = MemoryStorage(), SqliteStorage(str(tmp_path / "b.db"))
    await source.set_batch(VALUES)
    begun = asyncio.Event()

    async def copy() -> None:
        def progress(_: int, __: int) -> None:
            begun.set()
            task.cancel()

        await copy_store(source, target, progress=progress)

    task = asyncio.ensure_future(copy())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert begun.is_set()
    assert await contents(target) == {}
    await target.aclose()


def test_a_copy_that_was_killed_is_started_over(tmp_path: Path) -> None:
    asyncio.run(_fill(tmp_path / "a.db"))
    code = (
        "import asyncio, sys\n"
        "from llmspell_storage import SqliteStorage, copy_store\n"
        "def told(done, total):\n"
        "    print(done, flush=True)\n"
        "    sys.stdin.read()\n"
        "asyncio.run(copy_store(SqliteStorage(sys.argv[1]), SqliteStorage(sys.argv[2]),"
        " progress=told))\n"
    )
    paths = [str(tmp_path / "a.db"), str(tmp_path / "b.db")]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"1000"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    process.stdout.close()
    assert process.stdin is not None
    process.stdin.close()

    async def again() -> dict[str, bytes]:
        source, target = (SqliteStorage(path) for path in paths)
        assert 0 < (await target.stats()).keys < len(VALUES)
        await copy_store(source, target)
        found = await contents(target)
        await source.aclose()
        await target.aclose()
        return found

    assert asyncio.run(again()) == VALUES


async def _fill(path: Path) -> None:
    store = SqliteStorage(str(path))
    await store.set_batch(VALUES)
    await store.aclose()


async def test_the_operation_tells_how_far_it_is_and_what_it_did(tmp_path: Path) -> None:
    await _fill(tmp_path / "a.db")
    services = Services(Config(home=str(tmp_path)))
    heard: list[Any] = []
    ended = asyncio.Event()

    def listen(event: Event) -> None:
        heard.append(event.payload)
        if event.payload["done"] == len(VALUES):
            ended.set()

    services.events.subscribe("operation.progress", listen)
    call = Operations(services).call
    places = {"source": f"sqlite:{tmp_path}/a.db", "target": f"sled:{tmp_path}/b.db"}
    done = await call("storage.copy", places, ExecutionContext(services))
    await asyncio.wait_for(ended.wait(), 30)
    assert (done["keys"], done["target"]) == (len(VALUES), f"{tmp_path}/b.db")
    assert heard[0] == {"operation": "storage.copy", "done": 1000, "total": 2504, "unit": "keys"}
    facts = await call(
        "storage.info", {"place": f"file:{tmp_path}/b.db"}, ExecutionContext(services)
    )
    assert facts["keys"] == len(VALUES)
    await services.aclose()


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("sqlite", "sqlite", "the same"),
        ("memory", "sqlite", "ends with its process"),
        ("sqlit", "sqlite", "'sqlit' not found"),
        ("sqlite", "postgres:file.db", "takes no file"),
        ("sqlite", "oracle://host/db", "begin with 'oracle:'"),
    ],
)
async def test_places_that_do_not_fit_are_refused(
    source: str, target: str, words: str, tmp_path: Path
) -> None:
    services = Services(Config(home=str(tmp_path)))
    with pytest.raises(LLMSpellError, match=words):
        await Operations(services).call(
            "storage.copy", {"source": source, "target": target}, ExecutionContext(services)
        )
    await services.aclose()
