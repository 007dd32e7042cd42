"""`SqliteVectorStore`: the index and its files, several processes, and what goes wrong."""
# ruff: noqa: ASYNC220, ASYNC240 - nothing else runs on the loop of a test

import asyncio
import logging
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from llmspell_core import (
    Config,
    ConfigurationError,
    NotFoundError,
    ResourceLimitError,
    Services,
    StorageError,
    ValidationError,
    VectorEntry,
    VectorQuery,
)
from llmspell_storage import IndexSettings, SqliteVectorStore

DIMENSIONS = 24
Open = Callable[..., SqliteVectorStore]


def vectors(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)


def entries(rows: np.ndarray, document: str, *, collection: str = "c") -> list[VectorEntry]:
    return [
        VectorEntry(
            f"{document}:{n}",
            "ns",
            collection,
            document,
            f"word{n} of {document}",
            row.tolist(),
            {"n": n, "fingerprint": document, "parity": "even" if n % 2 == 0 else "odd"},
            created_at=5.0,
        )
        for n, row in enumerate(rows)
    ]


def exact(rows: np.ndarray, query: np.ndarray, k: int) -> list[int]:
    """The k nearest by cosine, computed plainly."""
    scores = (rows @ query) / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
    return np.argsort(-scores, kind="stable")[:k].tolist()


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Opens stores on one file, and closes them."""
    stores: list[SqliteVectorStore] = []

    def open_store(name: str = "rag.db", **options: object) -> SqliteVectorStore:
        stores.append(SqliteVectorStore(str(tmp_path / name), **options))  # type: ignore[arg-type]
        return stores[-1]

    yield open_store
    for store in stores:
        await store.aclose()


def index_files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.glob("*.hnsw*"))


async def recall(store: SqliteVectorStore, rows: np.ndarray, k: int = 10) -> float:
    """How many of the true neighbours of twenty queries are found."""
    found = 0
    for query in vectors(20, seed=99):
        hits = await store.nearest(query.tolist(), VectorQuery("ns", k))
        assert len(hits) == k
        wanted = {f"d:{n}" for n in exact(rows, query, k)}
        found += len(wanted & {hit.id for hit in hits})
    return found / 20 / k


async def test_a_large_namespace_is_indexed_and_still_found_well(
    tmp_path: Path, opened: Open
) -> None:
    pytest.importorskip("hnswlib")
    rows = vectors(3000)
    store = opened()
    await store.replace("ns", "c", "d", entries(rows, "d"))
    assert await recall(store, rows) == 1.0  # nothing is built yet: every vector is compared
    await store.flush()
    assert index_files(tmp_path) == ["rag-1-3000.hnsw"]
    assert await recall(store, rows) > 0.95
    second = opened()
    assert await recall(second, rows) > 0.95
    query = rows[17]
    assert (await second.nearest(query.tolist(), VectorQuery("ns", 1)))[0].id == "d:17"


async def test_the_index_keeps_up_with_what_is_added_and_removed(
    tmp_path: Path, opened: Open
) -> None:
    pytest.importorskip("hnswlib")
    rows = vectors(2600)
    store = opened()
    await store.replace("ns", "c", "d", entries(rows[:2500], "d"))
    await store.flush()
    await store.replace("ns", "c", "new", entries(rows[2500:], "new"))
    for k in (0, 2499):
        await store.delete("ns", [f"d:{k}"])
    for place, name in ((0, "d:0"), (2499, "d:2499")):
        hits = await store.nearest(rows[place].tolist(), VectorQuery("ns", 5))
        assert name not in {hit.id for hit in hits}
    hits = await store.nearest(rows[2550].tolist(), VectorQuery("ns", 3))
    assert hits[0].id == "new:50"
    await store.replace("ns", "c", "d", [])
    hits = await store.nearest(rows[1].tolist(), VectorQuery("ns", 200))
    assert {hit.document for hit in hits} == {"new"}
    assert len(hits) == 100
    await store.clear("ns")
    assert await store.nearest(rows[1].tolist(), VectorQuery("ns", 5)) == []
    assert index_files(tmp_path) == []


async def test_filters_leave_k_hits_whenever_they_exist(opened: Open) -> None:
    pytest.importorskip("hnswlib")
    rows = vectors(6000)
    store = opened()
    await store.replace("ns", "c", "d", entries(rows, "d"))
    await store.flush()
    query = vectors(1, seed=5)[0]
    for filters, allowed in (
        ({"parity": "even"}, [n for n in range(6000) if n % 2 == 0]),
        ({"n": {"$gte": 5990}}, list(range(5990, 6000))),
        ({"n": {"$lt": 4000}}, list(range(4000))),
        ({"n": 77}, [77]),
        ({"n": -1}, []),
    ):
        wanted = [allowed[n] for n in exact(rows[allowed], query, 10)] if allowed else []
        hits = await store.nearest(query.tolist(), VectorQuery("ns", 10, filters=filters))
        assert len(hits) == min(10, len(allowed))
        assert len({h.id for h in hits} & {f"d:{n}" for n in wanted}) >= len(wanted) - 1
    everything = await store.nearest(query.tolist(), VectorQuery("ns", 6000))
    assert len({hit.id for hit in everything}) == 6000
    assert [h.score for h in everything] == sorted((h.score for h in everything), reverse=True)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
async def test_a_damaged_index_file_is_built_anew(
    tmp_path: Path, opened: Open, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("hnswlib")
    rows = vectors(2500)
    first = opened()
    await first.replace("ns", "c", "d", entries(rows, "d"))
    await first.flush()
    (name,) = index_files(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "flipped":
        path.write_bytes(whole[:5000] + bytes(b ^ 0xFF for b in whole[5000:9000]) + whole[9000:])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
    with caplog.at_level(logging.INFO, "llmspell.storage"):
        second = opened()
        assert await recall(second, rows) == 1.0  # exact meanwhile
    assert "built anew" in caplog.text
    await second.flush()
    third = opened()
    assert await recall(third, rows) > 0.95
    assert len(index_files(tmp_path)) == 1
    assert len(path.read_bytes()) == len(whole)


async def test_an_index_file_of_another_life_of_the_database_is_not_used(
    tmp_path: Path, opened: Open
) -> None:
    pytest.importorskip("hnswlib")
    old, new = vectors(2500, seed=1), vectors(2500, seed=2)
    first = opened()
    await first.replace("ns", "c", "d", entries(old, "d"))
    await first.flush()
    await first.aclose()
    for path in tmp_path.glob("rag.db*"):
        path.unlink()
    assert index_files(tmp_path) == ["rag-1-2500.hnsw"]
    second = opened()
    await second.replace("ns", "c", "d", entries(new, "d"))
    assert await recall(second, new) == 1.0


async def test_without_hnswlib_search_is_exact(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hnswlib", None)
    rows = vectors(2500)
    store = opened()
    await store.replace("ns", "c", "d", entries(rows, "d"))
    await store.flush()
    assert await recall(store, rows) == 1.0
    assert index_files(tmp_path) == []


async def test_searching_starts_an_index_in_the_background(tmp_path: Path, opened: Open) -> None:
    pytest.importorskip("hnswlib")
    rows = vectors(2500)
    store = opened()
    await store.replace("ns", "c", "d", entries(rows, "d"))
    assert await recall(store, rows) > 0.95
    await store.aclose()  # waits for what was begun, and keeps it
    assert len(index_files(tmp_path)) == 1
    assert await recall(opened(), rows) > 0.95


async def test_an_interrupted_build_is_gone_on_with(tmp_path: Path, opened: Open) -> None:
    pytest.importorskip("hnswlib")
    rows = vectors(9000)
    store = opened()
    await store.replace("ns", "c", "d", entries(rows, "d"))
    await store.nearest(rows[0].tolist(), VectorQuery("ns", 1))
    await store.aclose()
    (partial,) = index_files(tmp_path)
    covered = int(partial.removesuffix(".hnsw").rpartition("-")[2])
    assert covered < 9000
    again = opened()
    assert await recall(again, rows) > 0.9
    await again.flush()
    assert index_files(tmp_path) == ["rag-1-9000.hnsw"]


async def test_equal_seeds_give_equal_files(tmp_path: Path, opened: Open) -> None:
    pytest.importorskip("hnswlib")
    rows = vectors(2200)
    for name in ("one.db", "two.db"):
        store = opened(name, settings=IndexSettings(seed=7))
        await store.replace("ns", "c", "d", entries(rows, "d"))
        await store.flush()
    one, two = (tmp_path / f"{name}-1-2200.hnsw" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


WRITER = """
import asyncio, random, sys
from llmspell_core import VectorEntry
from llmspell_storage import SqliteVectorStore

async def main(path, name):
    store = SqliteVectorStore(path)
    chance = random.Random(name)
    for turn in range(40):
        document = f"{name}{turn}"
        await store.replace("ns", "c", document, [
            VectorEntry(f"{document}:{n}", "ns", "c", document, f"common {document}",
                        [chance.gauss(0, 1) for _ in range(24)])
            for n in range(60)
        ])
        if turn % 10 == 9:
            await store.flush()
    await store.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.slow
async def test_processes_on_one_index_lose_and_damage_nothing(tmp_path: Path, opened: Open) -> None:
    path = str(tmp_path / "rag.db")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path, name], stderr=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    reader = opened()
    most = 0
    while any(process.poll() is None for process in running):
        hits = await reader.nearest([1.0] * DIMENSIONS, VectorQuery("ns", 10_000))
        by_document: dict[str, int] = {}
        for hit in hits:
            by_document[hit.document] = by_document.get(hit.document, 0) + 1
        assert set(by_document.values()) <= {60}  # each document whole
        assert len(hits) >= most
        most = len(hits)
    assert [process.communicate(timeout=60)[1] for process in running] == ["", ""]
    hits = await reader.nearest([1.0] * DIMENSIONS, VectorQuery("ns", 10_000))
    assert len({hit.id for hit in hits}) == 2 * 40 * 60
    assert len(await opened().matching("common", VectorQuery("ns", 10_000))) == 2 * 40 * 60
    assert_sound(path)


def assert_sound(path: str) -> None:
    """Tables, words and vectors tell the same."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    ids = {row for (row,) in connection.execute("SELECT entry FROM entries")}
    assert {row for (row,) in connection.execute("SELECT entry FROM vectors")} == ids
    words: set[int] = set()
    for (space,) in connection.execute("SELECT space FROM spaces").fetchall():
        words |= {row for (row,) in connection.execute(f"SELECT rowid FROM words_{space}")}
        connection.execute(f"INSERT INTO words_{space}(words_{space}) VALUES('integrity-check')")
    assert words == ids
    documents = (
        "SELECT COUNT(*) FROM documents WHERE document NOT IN (SELECT document FROM entries)"
    )
    assert connection.execute(documents).fetchone() == (0,)
    connection.close()


REPLACER = """
import asyncio, sys
from llmspell_core import VectorEntry
from llmspell_storage import SqliteVectorStore

async def main(path):
    store = SqliteVectorStore(path)
    turn = 0
    while True:
        turn += 1
        await store.replace_many("ns", "c", {
            document: [
                VectorEntry(f"{document}:{n}", "ns", "c", document, f"turn{turn}", [1.0, float(n)],
                            {"fingerprint": str(turn)})
                for n in range(5 + turn % 7)
            ]
            for document in ("x", "y", "z")
        })
        print(turn, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_killed_writer_leaves_every_document_whole(tmp_path: Path, opened: Open) -> None:
    path = str(tmp_path / "rag.db")
    chance = random.Random(3)
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", REPLACER, path], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(chance.randint(2, 40)):
            process.stdout.readline()
        process.kill()
        last = [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.wait(timeout=10)
        process.stdout.close()
        assert_sound(path)
        store = opened()
        fingerprints = await store.fingerprints("ns", "c")
        (turn,) = {int(each) for each in fingerprints.values()}
        assert set(fingerprints) == {"x", "y", "z"}
        assert not last or turn in (last[-1], last[-1] + 1)
        hits = await store.matching(f"turn{turn}", VectorQuery("ns", 1000))
        assert len(hits) == 3 * (5 + turn % 7) == (await store.stats("ns")).vectors


async def test_what_has_expired_is_counted_until_it_is_swept(opened: Open) -> None:
    now = [100.0]
    store = opened(clock=lambda: now[0])
    short = VectorEntry("short", "ns", "c", "d1", "short", [1.0, 0.0], expires_at=200.0)
    long = VectorEntry("long", "ns", "c", "d2", "long", [1.0, 0.0])
    await store.replace_many("ns", "c", {"d1": [short], "d2": [long]})
    query = VectorQuery("ns", 5)
    now[0] = 200.0  # expired is strictly later
    assert [h.id for h in await store.nearest([1.0, 0.0], query)] == ["short", "long"]
    now[0] = 200.5
    assert [h.id for h in await store.nearest([1.0, 0.0], query)] == ["long"]
    assert await store.matching("short", query) == []
    assert (await store.stats("ns")).vectors == 2
    await store.flush()
    stats = await store.stats("ns")
    assert (stats.vectors, stats.documents) == (1, 1)


async def test_replacing_keeps_the_birth_of_an_entry(opened: Open) -> None:
    now = [100.0]
    store = opened(clock=lambda: now[0])
    await store.replace("ns", "c", "d", [VectorEntry("a", "ns", "c", "d", "old", [1.0])])
    now[0] = 300.0
    new = [VectorEntry(name, "ns", "c", "d", "new", [1.0]) for name in ("a", "b")]
    await store.replace("ns", "c", "d", new)
    hits = await store.nearest([1.0], VectorQuery("ns", 5))
    assert [(h.id, h.text, h.created_at) for h in hits] == [
        ("a", "new", 100.0),
        ("b", "new", 300.0),
    ]


async def test_an_id_belongs_to_the_document_that_brought_it_last(opened: Open) -> None:
    store = opened()
    for document in ("first", "second"):
        one = VectorEntry("same", "ns", "c", document, document, [1.0], {"fingerprint": "f"})
        await store.replace("ns", "c", document, [one])
    hits = await store.nearest([1.0], VectorQuery("ns", 5))
    assert [(h.id, h.document) for h in hits] == [("same", "second")]
    assert await store.fingerprints("ns", "c") == {"second": "f"}
    elsewhere = VectorEntry("same", "ns", "other", "third", "third", [1.0])
    await store.replace("ns", "other", "third", [elsewhere])
    assert len(await store.nearest([1.0], VectorQuery("ns", 5))) == 2


async def test_entries_without_an_id_get_one(opened: Open) -> None:
    store = opened()
    nameless = [VectorEntry("", "ns", "c", "d", f"{n}", [1.0]) for n in range(3)]
    await store.replace("ns", "c", "d", nameless)
    ids = {hit.id for hit in await store.nearest([1.0], VectorQuery("ns", 5))}
    assert len(ids) == 3
    assert "" not in ids


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([float("nan"), 1.0], "NaN or infinite"),
        ([float("inf"), 1.0], "NaN or infinite"),
        ([1e300, 1.0], "NaN or infinite|not a number"),
        (["x", 1.0], "not a number"),
        ([], "dimension mismatch"),
    ],
)
async def test_a_vector_that_is_none_stores_nothing(
    tmp_path: Path, opened: Open, vector: list[float], message: str
) -> None:
    store = opened()
    good = VectorEntry("good", "ns", "c", "d", "good", [1.0, 1.0])
    bad = VectorEntry("bad", "ns", "c", "d", "bad", vector)
    with pytest.raises(ValidationError, match=message):
        await store.replace("ns", "c", "d", [good, bad])
    with pytest.raises(ValidationError):
        await store.replace("ns", "c", "d", [good, good])
    assert (await store.stats()).vectors == 0
    assert list(tmp_path.iterdir()) == []


async def test_dimensions_are_told_apart(opened: Open) -> None:
    store = opened()
    await store.replace("ns", "c", "d", [VectorEntry("a", "ns", "c", "d", "a", [1.0, 0.0])])
    three = [VectorEntry("b", "ns", "c", "e", "b", [1.0, 0.0, 0.0])]
    with pytest.raises(ValidationError, match="Vector dimension mismatch: expected 2, got 3"):
        await store.replace("ns", "c", "e", three)
    with pytest.raises(ValidationError, match="Query vector dimension mismatch: expected 2, got 3"):
        await store.nearest([1.0, 0.0, 0.0], VectorQuery("ns", 1))
    with pytest.raises(ValidationError, match="k must be a positive integer"):
        await store.nearest([1.0, 0.0], VectorQuery("ns", 0))
    # An emptied namespace has forgotten its dimension.
    assert await store.clear("ns") == 1
    await store.replace("ns", "c", "e", three)
    assert (await store.nearest([1.0, 0.0, 0.0], VectorQuery("ns", 1)))[0].id == "b"


async def test_a_zero_vector_is_similar_to_nothing(opened: Open) -> None:
    store = opened()
    zero = VectorEntry("zero", "ns", "c", "d", "zero", [0.0, 0.0])
    one = VectorEntry("one", "ns", "c", "d", "one", [1.0, 0.0])
    await store.replace("ns", "c", "d", [zero, one])
    hits = await store.nearest([2.0, 0.0], VectorQuery("ns", 5))
    assert [(h.id, h.score) for h in hits] == [("one", 1.0), ("zero", 0.0)]
    hits = await store.nearest([0.0, 0.0], VectorQuery("ns", 5))
    assert [(h.id, h.score) for h in hits] == [("zero", 0.0), ("one", 0.0)]


async def test_more_than_the_limit_is_refused_whole(opened: Open) -> None:
    store = opened(settings=IndexSettings(max_elements=5))
    await store.replace("ns", "c", "d", entries(vectors(4), "d"))
    with pytest.raises(ResourceLimitError, match="limit of 5 exceeded"):
        await store.replace("ns", "c", "e", entries(vectors(2), "e"))
    await store.replace("ns", "c", "d", entries(vectors(5), "d"))
    stats = await store.stats("ns")
    assert (stats.vectors, stats.documents) == (5, 1)


async def test_rare_words_are_rare_in_their_own_namespace(opened: Open) -> None:
    store = opened()
    mine = [VectorEntry(f"{n}", "a", "c", "d", "common", [1.0]) for n in range(20)]
    mine.append(VectorEntry("rare", "a", "c", "d", "common rare", [1.0]))
    await store.replace("a", "c", "d", mine)
    before = await store.matching("rare", VectorQuery("a", 5))
    theirs = [VectorEntry(f"{n}", "b", "c", "d", "rare", [1.0]) for n in range(50)]
    await store.replace("b", "c", "d", theirs)
    assert await store.matching("rare", VectorQuery("a", 5)) == before


async def test_stats_of_a_collection(opened: Open) -> None:
    store = opened()
    await store.replace("ns", "a", "d", entries(vectors(3), "d", collection="a"))
    await store.replace("ns", "b", "d", entries(vectors(2), "d", collection="b"))
    one = await store.stats("ns", collection="a")
    none = await store.stats("ns", collection="zzz")
    assert (one.vectors, one.documents, one.collections) == (3, 1, ("a",))
    assert one.size_bytes > 3 * DIMENSIONS * 4
    assert (none.vectors, none.documents, none.size_bytes, none.collections) == (0, 0, 0, ())


async def test_a_damaged_database_is_a_typed_error(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "rag.db").write_bytes(b"garbage" * 1000)
    store = opened()
    for attempt in (
        store.nearest([1.0], VectorQuery("ns", 1)),
        store.replace("ns", "c", "d", entries(vectors(1), "d")),
        store.flush(),
    ):
        with pytest.raises(StorageError, match="damaged"):
            await attempt


READ_ONLY = """
import asyncio, subprocess, sys
from llmspell_core import StorageError, VectorEntry, VectorQuery
from llmspell_storage import SqliteVectorStore

async def main(place):
    store = SqliteVectorStore(place + "/rag.db")
    one = [VectorEntry("a", "ns", "c", "d", "text", [1.0])]
    await store.replace("ns", "c", "d", one)
    subprocess.run(["mount", "-o", "remount,ro", place], check=False)
    await store.aclose()
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    store = SqliteVectorStore(place + "/rag.db")
    try:
        await store.replace("ns", "c", "e", one)
    except StorageError as error:
        print(error.operation, error.details["path"] == place + "/rag.db")
    await store.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_read_only_place_is_a_typed_error(
    small_disk: Callable[[str, str], subprocess.CompletedProcess[str]],
) -> None:
    done = small_disk(READ_ONLY, "size=4m")
    assert "Traceback" not in done.stderr
    assert done.stdout == "permission True\n"


async def test_the_service_is_opened_as_configured(tmp_path: Path) -> None:
    one = [VectorEntry("a", "ns", "c", "d", "text", [1.0])]
    for number, (table, created) in enumerate(
        (
            ({}, "home{n}/rag.db"),
            ({"backend": "hnsw", "persistence_path": "{tmp}/else{n}"}, "else{n}/rag.db"),
            ({"backend": "mock"}, None),
            ({"backend": "memory"}, None),
        )
    ):
        values = {key: value.format(tmp=tmp_path, n=number) for key, value in table.items()}
        config = {"rag": {"vector_storage": values}}
        async with Services(Config(config, home=str(tmp_path / f"home{number}"))) as services:
            await services.vectors.replace("ns", "c", "d", one)
            assert (await services.vectors.stats()).vectors == 1
            made = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.db"))
            assert (created is None) or (created.format(n=number) in made)
            assert created is not None or not (tmp_path / f"home{number}").exists()


def test_an_unknown_back_end_is_refused() -> None:
    services = Services({"rag": {"vector_storage": {"backend": "sqlit"}}})
    with pytest.raises(NotFoundError, match="'sqlit' not found in vector_stores") as caught:
        _ = services.vectors
    assert caught.value.hint == "Did you mean 'sqlite'?"
    with pytest.raises(ConfigurationError, match="must be a name"):
        _ = Services({"rag": {"vector_storage": {"backend": 3}}}).vectors


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"m": 1}, "hnsw.m must be 2 to 100, not 1"),
        ({"m": 101, "ef_construction": 200}, "hnsw.m must be 2 to 100"),
        ({"ef_construction": 4}, "hnsw.ef_construction must be at least 16"),
        ({"ef_search": 0}, "hnsw.ef_search must be at least 1"),
        ({"max_elements": "many"}, "hnsw.max_elements must be a whole number, not 'many'"),
        ({"seed": True}, "hnsw.seed must be a whole number"),
    ],
)
def test_index_parameters_out_of_range_are_refused(table: dict[str, object], message: str) -> None:
    config = Config({"rag": {"vector_storage": {"hnsw": table}}})
    with pytest.raises(ConfigurationError, match=message):
        IndexSettings.of(config)


async def test_a_build_that_fails_leaves_exact_search(
    opened: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hnswlib = pytest.importorskip("hnswlib")

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no memory for an index")

    monkeypatch.setattr(hnswlib, "Index", broken)
    rows = vectors(2100)
    store = opened()
    await store.replace("ns", "c", "d", entries(rows, "d"))
    assert await recall(store, rows) == 1.0
    await store.aclose()
    assert "could not be built" in caplog.text


async def test_files_and_lock_are_private(tmp_path: Path, opened: Open) -> None:
    pytest.importorskip("hnswlib")
    store = opened("home/rag.db")
    await store.replace("ns", "c", "d", entries(vectors(2100), "d"))
    await store.flush()
    modes = {p.name: oct(os.stat(p).st_mode & 0o777) for p in (tmp_path / "home").iterdir()}
    assert set(modes.values()) == {"0o600"}
    assert {"rag.db", "rag.lock", "rag-1-2100.hnsw"} <= set(modes)


async def test_searches_and_writes_at_once(opened: Open) -> None:
    store = opened()
    rows = vectors(2400)
    await store.replace("ns", "c", "d", entries(rows[:2000], "d"))

    async def write(turn: int) -> None:
        await store.replace(
            "ns", "c", f"e{turn}", entries(rows[2000 + turn : 2001 + turn], f"e{turn}")
        )

    async def search(n: int) -> str:
        return (await store.nearest(rows[n].tolist(), VectorQuery("ns", 1)))[0].id

    found, *_ = await asyncio.gather(
        asyncio.gather(*(search(n) for n in range(0, 2000, 20))),
        store.flush(),
        *(write(turn) for turn in range(100)),
    )
    assert found == [f"d:{n}" for n in range(0, 2000, 20)]
    assert (await store.stats("ns")).vectors == 2100
