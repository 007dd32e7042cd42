"""Ingestion and search, beside raw numpy and raw hnswlib; key/value reads beside raw sqlite3."""

import os

# On a busy machine the threads of a BLAS wait for each other and tell nothing about the work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import asyncio
import random
import re
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import hnswlib
import numpy as np

from llmspell_core import Config, Document, ExecutionContext, Services, VectorQuery
from llmspell_rag import LexicalEmbedder
from llmspell_storage import SqliteStorage, SqliteVectorStore

CHUNKS = 5_000
QUERIES = 200


def words_of_the_project() -> list[str]:
    """Words as they are really used: those of the documentation, with repetition."""
    root = Path(__file__).parent.parent
    texts = [path.read_text(encoding="utf-8") for path in sorted(root.glob("docs/**/*.md"))]
    return re.findall(r"[A-Za-z]{2,}", " ".join(texts))


def corpus() -> list[Document]:
    """Fifty documents of a hundred sections of about sixty words each."""
    chance = random.Random(1)
    words = words_of_the_project()
    documents: list[Document] = []
    for d in range(CHUNKS // 100):
        sections = [
            f"## Section {d}.{n}\n\n" + " ".join(chance.choice(words) for _ in range(60)) + "."
            for n in range(100)
        ]
        documents.append(Document("\n\n".join(sections), id=f"d{d}", source=f"d{d}.md"))
    return documents


async def p50(run: Callable[[int], Awaitable[object]], count: int = QUERIES) -> float:
    """The median duration in microseconds, after a warm-up."""
    taken: list[float] = []
    for n in range(count + 20):
        started = time.perf_counter()
        await run(n)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[20:]) * 1e6


def raw_p50(run: Callable[[int], object]) -> float:
    taken: list[float] = []
    for n in range(QUERIES + 20):
        started = time.perf_counter()
        run(n)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[20:]) * 1e6


def line(label: str, micros: float, base: float) -> None:
    print(f"{label:48} {micros:9.0f} us {micros / base:6.1f} x")


async def retrieval(home: str) -> None:
    services = Services(Config({}, home=home))
    context = ExecutionContext(services)
    documents = corpus()
    started = time.perf_counter()
    report = await services.rag.ingest(documents, context)
    took = time.perf_counter() - started
    print(f"ingest {report.chunks} chunks: {took:.2f} s, {report.chunks / took:,.0f} chunks/s")
    started = time.perf_counter()
    again = await services.rag.ingest(documents, context)
    took = time.perf_counter() - started
    print(f"ingest them again, unchanged ({again.skipped} skipped): {took * 1000:.0f} ms")
    chance = random.Random(2)
    words = words_of_the_project()
    questions = [" ".join(chance.choice(words) for _ in range(6)) for _ in range(QUERIES + 20)]
    vectors = [list(v) for v in await LexicalEmbedder().embed(questions, context)]
    await services.aclose()
    await compared(home, vectors)
    services = Services(Config({}, home=home))
    context = ExecutionContext(services)
    for hybrid in (False, True):
        micros = await p50(
            lambda n, hybrid=hybrid: services.rag.search(questions[n], context, hybrid=hybrid)
        )
        print(f"{'RAG search, ' + ('hybrid' if hybrid else 'vectors'):48} {micros:9.0f} us")
    await services.aclose()


async def compared(home: str, vectors: list[list[float]]) -> None:
    """The store beside what it is made of, on the same vectors."""
    connection = sqlite3.connect(Path(home) / "rag.db")
    blobs = [blob for (blob,) in connection.execute("SELECT vector FROM vectors ORDER BY entry")]
    connection.close()
    matrix = np.frombuffer(b"".join(blobs), "<f4").reshape(len(blobs), -1)
    queries = np.array(vectors, np.float32)
    raw = raw_p50(lambda n: np.argpartition(-(matrix @ queries[n]), 10)[:10])
    index = hnswlib.Index(space="ip", dim=matrix.shape[1])
    index.init_index(max_elements=len(matrix), M=16, ef_construction=200)
    index.add_items(matrix)
    index.set_ef(50)
    graph = raw_p50(lambda n: index.knn_query(queries[n], k=10, num_threads=1))
    query = VectorQuery("__global__", 10)
    # Without a path there is no index: the same entries, searched one by one.
    memory = SqliteVectorStore(None)
    store = SqliteVectorStore(str(Path(home) / "rag.db"))
    everything = await store.nearest(vectors[0], VectorQuery("__global__", CHUNKS))
    stored = {hit.id: hit for hit in everything}
    await _copy(home, memory)
    exact = await p50(lambda n: memory.nearest(vectors[n], query))
    await store.flush()
    hnsw = await p50(lambda n: store.nearest(vectors[n], query))
    filtered = VectorQuery("__global__", 10, filters={"document_id": "d7"})
    narrow = await p50(lambda n: store.nearest(vectors[n], filtered))
    found = wanted = 0
    for vector in vectors[:50]:
        true = {hit.id for hit in await memory.nearest(vector, query)}
        found += len(true & {hit.id for hit in await store.nearest(vector, query)})
        wanted += len(true)
    print(f"{len(stored)} vectors of {matrix.shape[1]} dimensions, 10 nearest:")
    line("  raw numpy dot and argpartition", raw, raw)
    line("  store, exact (to texts and back on the loop)", exact, raw)
    line("  raw hnswlib query", graph, graph)
    line("  store, through the index", hnsw, graph)
    line("  store, filter that leaves 100", narrow, graph)
    print(f"  recall of the index against exact search: {found / wanted:.3f}")
    await memory.aclose()
    await store.aclose()


async def _copy(home: str, target: SqliteVectorStore) -> None:
    from llmspell_core import VectorEntry

    connection = sqlite3.connect(Path(home) / "rag.db")
    rows = connection.execute(
        "SELECT id, metadata, text, vector FROM entries JOIN vectors USING(entry) "
        "JOIN words_1 ON words_1.rowid=entry ORDER BY entry"
    )
    entries = [
        VectorEntry(i, "__global__", "c", "d", text, np.frombuffer(v, "<f4").tolist(), {"m": m})
        for i, m, text, v in rows
    ]
    connection.close()
    await target.replace("__global__", "c", "d", entries)


async def key_value(folder: str) -> None:
    path = str(Path(folder) / "state.db")
    store = SqliteStorage(path)
    await store.set_batch({f"key{n}": bytes(200) for n in range(1000)})
    read = await p50(lambda n: store.get(f"key{n}"))
    write = await p50(lambda n: store.set(f"key{n}", bytes(200)))
    connection = sqlite3.connect(path, isolation_level=None)
    raw = raw_p50(
        lambda n: connection.execute(
            "SELECT value FROM entries WHERE key=?", (f"key{n}",)
        ).fetchone()
    )
    connection.close()
    print("key/value, 1000 keys of 200 bytes:")
    line("  raw sqlite3 read", raw, raw)
    line("  store, read from the loop (bound: 150 us)", read, raw)
    line("  store, write from the loop", write, raw)
    await store.aclose()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(key_value(folder))
        asyncio.run(retrieval(str(Path(folder) / "home")))


if __name__ == "__main__":
    main()
