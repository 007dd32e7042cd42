"""`SqliteStorage`: files, processes, and what goes wrong with them."""
# ruff: noqa: ASYNC220, ASYNC240 - nothing else runs on the loop of a test

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmspell_core import InternalError, Services, StorageError, ValidationError
from llmspell_storage import MemoryStorage, SqliteStorage, open_memory, open_sqlite

Program = Callable[..., subprocess.CompletedProcess[str]]


async def test_reading_a_missing_file_finds_nothing_and_creates_nothing(tmp_path: Path) -> None:
    store = SqliteStorage(str(tmp_path / "home" / "state.db"))
    assert await store.get("key") is None
    assert await store.list_keys() == []
    assert [item async for item in store.scan("x")] == []
    assert await store.get_batch(["a", "b"]) == {}
    assert (await store.stats()).keys == 0
    assert await store.clear() == 0
    await store.delete("key")
    assert await store.write({}, ["key"], expect={"key": None}) is True
    assert await store.write({}, ["key"], expect={"key": b"x"}) is False
    await store.aclose()
    assert list(tmp_path.iterdir()) == []


async def test_the_first_write_creates_a_private_file_in_a_private_directory(
    tmp_path: Path,
) -> None:
    old = os.umask(0)
    try:
        store = SqliteStorage(str(tmp_path / "home" / "deep" / "state.db"))
        await store.set("key", b"value")
        modes = {
            str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
            for path in tmp_path.rglob("*")
        }
        await store.aclose()
    finally:
        os.umask(old)
    assert modes == {
        "home": 0o700,
        "home/deep": 0o700,
        "home/deep/state.db": 0o600,
        "home/deep/state.db-shm": 0o600,
        "home/deep/state.db-wal": 0o600,
    }


async def test_an_open_reader_sees_a_file_that_comes_later(tmp_path: Path) -> None:
    reader = SqliteStorage(str(tmp_path / "state.db"))
    writer = SqliteStorage(str(tmp_path / "state.db"))
    assert await reader.get("key") is None
    await writer.set("key", b"value")
    assert await reader.get("key") == b"value"
    await reader.aclose()
    await writer.aclose()


async def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStorage(str(path))
    await store.set("key", b"value")
    await store.aclose()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    before = path.read_bytes()
    store = SqliteStorage(str(path))
    with pytest.raises(StorageError, match="newer version") as read:
        await store.get("key")
    with pytest.raises(StorageError, match="newer version"):
        await store.set("key", b"other")
    await store.aclose()
    assert read.value.code == "STORAGE_NEWER"
    assert str(path) in read.value.message
    assert read.value.hint is not None
    assert path.read_bytes() == before


async def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE entries(key, value)")
    connection.close()
    before = path.read_bytes()
    store = SqliteStorage(str(path))
    with pytest.raises(StorageError, match="another program"):
        await store.set("key", b"value")
    await store.aclose()
    assert path.read_bytes() == before


@pytest.mark.parametrize("garbage", [b"not a database at all" * 100, b"SQLite format 3\0" * 64])
async def test_a_damaged_file_is_a_typed_error(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(garbage)
    store = SqliteStorage(str(path))
    for attempt in (store.get("key"), store.set("key", b"value")):
        with pytest.raises(StorageError, match="damaged") as caught:
            await attempt
        assert caught.value.operation == "corrupt"
        assert caught.value.is_retryable() is False
        assert caught.value.details["path"] == str(path)
    await store.aclose()
    assert path.read_bytes() == garbage


async def test_a_page_overwritten_with_zeros_is_a_typed_error(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStorage(str(path))
    await store.set_batch({f"key{n:04}": bytes(100) for n in range(2000)})
    await store.aclose()
    whole = bytearray(path.read_bytes())
    whole[4096 : 4096 * 8] = b"\xff" * 4096 * 7
    path.write_bytes(whole)
    store = SqliteStorage(str(path))
    with pytest.raises(StorageError, match="damaged"):
        await store.list_keys()
    await store.aclose()


async def test_a_directory_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = SqliteStorage(str(tmp_path / "file" / "state.db"))
    assert await store.get("key") is None
    with pytest.raises(StorageError, match=r"cannot write .*state\.db"):
        await store.set("key", b"value")
    await store.aclose()


FILL = """
import asyncio, os, sys
from llmspell_core import StorageError
from llmspell_storage import SqliteStorage

async def main():
    ballast = sys.argv[1] + "/ballast"
    with open(ballast, "wb") as file:
        file.write(bytes(1_000_000))
    store = SqliteStorage(sys.argv[1] + "/state.db")
    written = 0
    try:
        while True:
            await store.set(f"key{written:04}", bytes(50_000))
            written += 1
    except StorageError as error:
        print(error.operation, "|", error.message, "|", error.hint)
    found = await store.list_keys()
    print(written > 3, found == [f"key{n:04}" for n in range(written)])
    os.unlink(ballast)
    await store.set("after", b"room again")
    print(await store.get("after"), len(await store.list_keys()) == written + 1)
    await store.aclose()

asyncio.run(main())
"""


def test_a_full_disk_loses_nothing_that_was_acknowledged(
    small_disk: Callable[[str, str], subprocess.CompletedProcess[str]],
) -> None:
    done = small_disk(FILL, "size=2m")
    assert done.stderr == ""
    error, kept, after = done.stdout.splitlines()
    assert error.startswith("full | cannot write ")
    assert "the disk is full" in error
    assert "Free some space" in error
    assert kept == "True True"
    assert after == "b'room again' True"


READ_ONLY = """
import asyncio, subprocess, sys
from llmspell_core import StorageError
from llmspell_storage import SqliteStorage

async def main():
    place = sys.argv[1]
    store = SqliteStorage(place + "/state.db")
    await store.set("key", b"value")
    await store.aclose()
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    store = SqliteStorage(place + "/new/state.db")
    for store in (SqliteStorage(place + "/new/state.db"), SqliteStorage(place + "/state.db")):
        try:
            await store.set("key", b"other")
        except StorageError as error:
            print(error.operation, "|", error.hint)
        await store.aclose()

asyncio.run(main())
"""


def test_a_read_only_place_is_a_typed_error(
    small_disk: Callable[[str, str], subprocess.CompletedProcess[str]],
) -> None:
    done = small_disk(READ_ONLY, "size=2m")
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line.partition(" | ")[0] for line in lines] == ["permission", "permission"]
    assert all("LLMSPELL_HOME" in line for line in lines)


LIMITED = """
import asyncio, resource, sys
from llmspell_core import StorageError
from llmspell_storage import SqliteStorage

async def main():
    store = SqliteStorage(sys.argv[1])
    await store.set("first", b"kept")
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        await store.set("second", bytes(1_000_000))
    except StorageError as error:
        print(type(error).__name__, error.details["path"] == sys.argv[1])
    print(await store.list_keys())

asyncio.run(main())
"""


def test_a_write_the_system_refuses_is_a_typed_error(python: Program, tmp_path: Path) -> None:
    done = python(LIMITED, str(tmp_path / "state.db"))
    assert done.stderr == ""
    assert done.stdout == "StorageError True\n['first']\n"


COUNT = """
import asyncio, sys
from llmspell_storage import SqliteStorage

async def main():
    store = SqliteStorage(sys.argv[1])
    for _ in range(200):
        await store.update("n", lambda old: str(int(old or b"0") + 1).encode())
    await store.aclose()

asyncio.run(main())
"""


async def test_processes_that_count_together_lose_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    running = [
        subprocess.Popen([sys.executable, "-c", COUNT, path], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    errors = [process.communicate(timeout=60)[1] for process in running]
    assert errors == ["", "", ""]
    store = SqliteStorage(path)
    assert await store.get("n") == b"600"
    await store.aclose()


ENDLESS = """
import asyncio, sys
from llmspell_storage import SqliteStorage

async def main():
    store = SqliteStorage(sys.argv[1])
    n = 0
    while True:
        n += 1
        await store.set_batch({f"{side}{i}": str(n).encode() for side in "ab" for i in range(20)})
        print(n, flush=True)

asyncio.run(main())
"""


async def test_killed_writer_leaves_whole_batches_and_all_it_acknowledged(tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    for turn in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, path], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        acknowledged = 0
        for _ in range(3 + turn * 7):
            acknowledged = int(process.stdout.readline())
        process.kill()
        rest = process.stdout.read().split("\n")
        process.wait(timeout=10)
        process.stdout.close()
        acknowledged = max([acknowledged, *(int(line) for line in rest[:-1])])
        store = SqliteStorage(path)
        values = {value async for _, value in store.scan()}
        assert len(values) == 1
        assert acknowledged <= int(values.pop()) <= acknowledged + 1
        assert len(await store.list_keys("a")) == len(await store.list_keys("b")) == 20
        await store.clear()
        await store.aclose()


async def test_a_scan_goes_on_while_others_write(tmp_path: Path) -> None:
    store = SqliteStorage(str(tmp_path / "state.db"))
    await store.set_batch({f"k{n:04}": b"old" for n in range(1000)})
    seen: list[str] = []
    async for key, _ in store.scan("k"):
        seen.append(key)
        if key == "k0100":
            await store.set_batch({"k0050": b"new", "k9999": b"new"})
            await store.delete("k0900")
    wanted = [f"k{n:04}" for n in range(1000) if n != 900]
    assert seen == [*wanted, "k9999"]
    await store.aclose()


async def test_large_values_are_scanned_in_small_pages(tmp_path: Path) -> None:
    store = SqliteStorage(str(tmp_path / "state.db"))
    values = {f"{n}": bytes([n]) * 700_000 for n in range(5)}
    await store.set_batch(values)
    assert {key: value async for key, value in store.scan()} == values
    await store.aclose()


@pytest.mark.parametrize("prefix", ["\U0010ffff", "a\U0010ffff", "\ud7ff", "é", ""])
async def test_a_prefix_ends_where_it_ends(tmp_path: Path, prefix: str) -> None:
    keys = ["a", "a\U0010ffff", "a\U0010ffffb", "b", "é", "éa", "\ud7ff", "\ud7ffz", "\ue000", ""]
    keys += ["\U0010ffff", "\U0010ffff\U0010ffff"]
    for store in (SqliteStorage(str(tmp_path / "state.db")), MemoryStorage()):
        await store.set_batch(dict.fromkeys(keys, b""))
        assert await store.list_keys(prefix) == sorted(k for k in keys if k.startswith(prefix))
        await store.aclose()


async def test_keys_and_values_of_a_wrong_kind_are_refused(tmp_path: Path) -> None:
    for store in (SqliteStorage(str(tmp_path / "state.db")), MemoryStorage()):
        with pytest.raises(TypeError, match="key must be str"):
            await store.get(3)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="value must be bytes"):
            await store.set("key", "text")  # type: ignore[arg-type]
        with pytest.raises(ValidationError, match="not valid Unicode"):
            await store.set("half \ud800", b"")
        await store.write({"a": bytearray(b"1"), "b": memoryview(b"2")})
        assert await store.get_batch(["a", "b"]) == {"a": b"1", "b": b"2"}
        await store.aclose()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = SqliteStorage(str(tmp_path / "state.db"))
    await store.set("key", b"value")
    await store.aclose()
    await store.aclose()
    with pytest.raises(InternalError, match="is closed"):
        await store.get("key")


def test_a_store_belongs_to_the_loop_it_was_opened_on(tmp_path: Path) -> None:
    store = SqliteStorage(str(tmp_path / "state.db"))

    async def use() -> bytes | None:
        await store.set("key", b"value")
        return await store.get("key")

    with asyncio.Runner() as first, asyncio.Runner() as second:
        assert first.run(use()) == b"value"
        with pytest.raises(InternalError, match="another event loop"):
            second.run(use())
        first.run(store.aclose())


async def test_the_installed_back_ends_open_by_name(tmp_path: Path) -> None:
    from llmspell_core import Config

    services = Services(Config({}, home=str(tmp_path / "home")))
    names = services.plugins.names("llmspell.storage")
    assert {"memory", "sqlite"} <= set(names)
    default = services.plugins.load("llmspell.storage", "sqlite")(services, name="x", path=None)
    explicit = open_sqlite(services, name="x", path=str(tmp_path / "y.db"))
    assert default.path == str(tmp_path / "home" / "x.db")
    assert explicit.path == str(tmp_path / "y.db")
    one, two = open_memory(services, name="x"), open_memory(services, name="x")
    await one.set("key", b"value")
    assert await two.get("key") is None
    assert (default.persistent, one.persistent) == (True, False)
    assert not (tmp_path / "home").exists()


async def test_a_file_of_the_first_version_opens_with_all_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TABLE entries(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
    )
    connection.execute("INSERT INTO entries VALUES('k', x'00ff')")
    connection.execute("PRAGMA application_id=1280527190")
    connection.execute("PRAGMA user_version=1")
    connection.commit()
    connection.close()
    stores = [SqliteStorage(str(path)) for _ in range(4)]
    assert await asyncio.gather(*(s.get("k") for s in stores)) == [b"\x00\xff"] * 4
    await stores[0].set("soon", b"x", expires_at=1.0)
    assert await stores[1].list_keys() == ["k"]
    for store in stores:
        await store.aclose()
