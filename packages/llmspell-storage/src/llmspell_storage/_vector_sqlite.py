"""`SqliteVectorStore`: texts with vectors in one SQLite file, found by nearness and by words."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from llmspell_core import (
    ConfigurationError,
    OpenOnce,
    ValidationError,
    VectorEntry,
    VectorHit,
    VectorQuery,
    VectorStats,
    VectorStore,
    canonical,
)
from llmspell_storage._database import connect, reading, translated, writing
from llmspell_storage._filters import compile_filters, equalities
from llmspell_storage._index_settings import IndexSettings
from llmspell_storage._vector_schema import KIND, SpaceRow, Writer, find_space, packed
from llmspell_storage._worker import Worker

if TYPE_CHECKING:
    from llmspell_core import Services
    from llmspell_storage._vector_index import HnswIndex
    from llmspell_storage._vector_space import Space

T = TypeVar("T")

BUILD_FROM = 2000
"""A namespace with so many vectors that no index covers gets one, or has its index extended."""

_HIT = (
    "SELECT entries.entry, entries.id, text, entries.collection, name, metadata, created_at, "
    "event_time FROM entries JOIN documents USING(document) JOIN words_{space} AS words "
    "ON words.rowid=entries.entry "
)


class SqliteVectorStore(VectorStore):
    """A `VectorStore` in the SQLite file *path*, or in memory without one.

    SQLite holds everything: entries, documents, vectors and the words (FTS5, BM25 per
    namespace), changed in one transaction. Nearness is cosine similarity. It is computed
    exactly up to 2,000 vectors, where hnswlib is not installed, where filters leave few, and
    while an index is being built; else by an HNSW index that is cached in files beside the
    database, and which any process may use, rebuild or delete.

    All vectors of a namespace have one dimension, that of the first. An id is unique within a
    collection of a namespace; a document is known by namespace, collection and name. Searches
    go on during writes and see a write whole or not at all; several processes may share the
    file.

    Args:
        path: The file; it and its directory are created by the first write.
        settings: Parameters of the index.
        clock: Unix seconds, to tell what has expired.

    Raises:
        StorageError: by every method, when the file is damaged, read-only, of a newer version
            or locked for too long, or the disk is full.
    """

    def __init__(
        self,
        path: str | None,
        *,
        settings: IndexSettings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = None if path is None else os.path.abspath(path)
        name = f"vector store {self.path or 'in memory'}"
        engine = _Engine(self.path, settings or IndexSettings(), clock)
        self._opened = OpenOnce(name, partial(_give, engine), _Engine.close)

    async def replace(
        self, namespace: str, collection: str, document: str, entries: Sequence[VectorEntry]
    ) -> int:
        engine = await self._opened.get()
        ready = _prepared({document: entries})
        had = await engine.writer.call(lambda: engine.replace(namespace, collection, ready))
        return had[document]

    async def replace_many(
        self,
        namespace: str,
        collection: str,
        documents: Mapping[str, Sequence[VectorEntry]],
    ) -> None:
        engine = await self._opened.get()
        ready = _prepared(documents)
        await engine.writer.call(lambda: engine.replace(namespace, collection, ready))

    async def fingerprints(self, namespace: str, collection: str) -> dict[str, str]:
        engine = await self._opened.get()
        return await engine.read(lambda c: _fingerprints(c, namespace, collection), {})

    async def nearest(self, vector: Sequence[float], query: VectorQuery) -> list[VectorHit]:
        engine = await self._opened.get()
        _check(query)
        blob = packed(vector, "query")
        return await engine.read(lambda c: engine.nearest(c, blob, query), [])

    async def matching(self, words: str, query: VectorQuery) -> list[VectorHit]:
        engine = await self._opened.get()
        _check(query)
        # Quoted, a word is a word: no operator of the query language gets through.
        terms = dict.fromkeys(f'"{word}"' for word in re.findall(r"\w+", words))
        if not terms:
            return []
        return await engine.read(lambda c: engine.matching(c, " OR ".join(terms), query), [])

    async def delete(self, namespace: str, ids: Iterable[str]) -> int:
        engine = await self._opened.get()
        wanted = list(dict.fromkeys(ids))
        return await engine.writer.call(lambda: engine.delete(namespace, wanted))

    async def clear(self, namespace: str, *, collection: str | None = None) -> int:
        engine = await self._opened.get()
        return await engine.writer.call(lambda: engine.clear(namespace, collection))

    async def stats(
        self, namespace: str | None = None, *, collection: str | None = None
    ) -> VectorStats:
        engine = await self._opened.get()
        nothing = VectorStats(0, 0, 0, 0, ())
        return await engine.read(lambda c: _stats(c, namespace, collection), nothing)

    async def flush(self) -> None:
        """Remove what has expired and bring the index files up to date."""
        engine = await self._opened.get()
        await engine.writer.call(engine.sweep)
        await engine.indexer.call(engine.build_all)

    async def aclose(self) -> None:
        await self._opened.aclose()


async def _give(engine: _Engine) -> _Engine:
    return engine


def _check(query: VectorQuery) -> None:
    if query.k < 1:
        raise ValidationError("k must be a positive integer", field="k")


_Ready = dict[str, list[tuple[VectorEntry, bytes]]]


def _prepared(documents: Mapping[str, Sequence[VectorEntry]]) -> _Ready:
    """The entries with their packed vectors, when all of them can be stored. Where they go is
    said by the arguments of the call, not by the entries.
    """
    ready: _Ready = {}
    ids: set[str] = set()
    length: int | None = None
    for document, entries in documents.items():
        ready[document] = []
        for entry in entries:
            vector = packed(entry.vector, entry.id)
            length = length or len(vector)
            if not vector or len(vector) != length:
                raise ValidationError(
                    f"Vector dimension mismatch: expected {(length or 4) // 4}, "
                    f"got {len(vector) // 4}",
                    field="vector",
                )
            if entry.id and entry.id in ids:
                raise ValidationError(f"the id '{entry.id}' is given twice", field="id")
            ids.add(entry.id)
            ready[document].append((entry, vector))
    return ready


class _Engine:
    """The connections and threads of one store: one to write, one to read, one to build."""

    def __init__(
        self, path: str | None, settings: IndexSettings, clock: Callable[[], float]
    ) -> None:
        self.path = path
        self.clock = clock
        self.settings = settings
        self.writer = Worker("llmspell-vectors-write")
        # A database in memory belongs to one connection.
        self.reader = Worker("llmspell-vectors-read") if path else self.writer
        self.indexer = Worker("llmspell-vectors-index")
        self._connections: dict[str, sqlite3.Connection] = {}
        self._spaces: dict[int, Space] = {}  # the reading thread's
        self._indexes: dict[int, HnswIndex] = {}
        self._building: set[int] = set()
        self._closing = threading.Event()

    def _connection(self, role: str, *, create: bool) -> sqlite3.Connection | None:
        role = role if self.path else "all"
        found = self._connections.get(role)
        if found is None:
            found = connect(self.path, KIND, create=create)
            if found is not None:
                self._connections[role] = found
        return found

    async def read(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """*work* in a read transaction; *nothing* when there is no file yet."""

        def run() -> T:
            with translated(self.path, "read"):
                connection = self._connection("read", create=False)
                if connection is None:
                    return nothing
                with reading(connection):
                    return work(connection)

        return await self.reader.call(run)

    # --- on the writing thread

    def _change(self, namespace: str, work: Callable[[Writer], T], *, create: bool) -> T | None:
        """*work* in a write transaction; None when there is no file and *create* is not set."""
        with translated(self.path, "write"):
            connection = self._connection("write", create=create)
            if connection is None:
                return None
            with writing(connection):
                writer = Writer(connection, namespace, self.clock())
                made = work(writer)
                space = writer.space
                emptied = writer.finish(self.settings.max_elements)
            if emptied and space is not None:
                self._forget(space.key)
            return made

    def _forget(self, space: int) -> None:
        self._indexes.pop(space, None)
        if self.path is not None:
            from llmspell_storage._vector_index import IndexFiles

            IndexFiles(self.path, self.settings).remove(space)

    def replace(self, namespace: str, collection: str, documents: _Ready) -> dict[str, int]:
        def work(writer: Writer) -> dict[str, int]:
            return {
                document: writer.replace(collection, document, entries)
                for document, entries in documents.items()
            }

        had = self._change(namespace, work, create=any(documents.values()))
        return had if had is not None else dict.fromkeys(documents, 0)

    def delete(self, namespace: str, ids: list[str]) -> int:
        def work(writer: Writer) -> int:
            return sum(
                writer.remove_where(
                    "id=? OR document IN (SELECT document FROM documents WHERE space=? AND name=?)",
                    (given, writer.space.key, given),
                )
                for given in ids
                if writer.space is not None
            )

        return self._change(namespace, work, create=False) or 0

    def clear(self, namespace: str, collection: str | None) -> int:
        def work(writer: Writer) -> int:
            if collection is None:
                return writer.remove_where("1", ())
            return writer.remove_where("collection=?", (collection,))

        return self._change(namespace, work, create=False) or 0

    def sweep(self) -> None:
        """Remove what has expired."""
        with translated(self.path, "write"):
            connection = self._connection("write", create=False)
            if connection is None:
                return
            namespaces = connection.execute(
                "SELECT namespace FROM spaces WHERE space IN "
                "(SELECT space FROM entries WHERE expires_at < ?)",
                (self.clock(),),
            ).fetchall()
        for (namespace,) in namespaces:
            self._change(
                namespace, lambda w: w.remove_where("expires_at < ?", (self.clock(),)), create=False
            )

    # --- on the reading thread

    def _space(self, connection: sqlite3.Connection, row: SpaceRow) -> Space:
        from llmspell_storage._vector_space import Space

        space = self._spaces.get(row.key)
        if space is None:
            space = self._spaces[row.key] = Space(row, self._loaded(connection, row))
        space.catch_up(connection, row)
        space.adopt(self._indexes.get(row.key))
        enough = max(BUILD_FROM, len(space.entries) // 10)
        if space.uncovered >= enough and self.path is not None and row.key not in self._building:
            self._building.add(row.key)
            self.indexer.post(partial(self._build_quietly, row.key))
        return space

    def _loaded(self, connection: sqlite3.Connection, row: SpaceRow) -> HnswIndex | None:
        if self.path is None:
            return None
        from llmspell_storage._vector_index import IndexFiles, hnsw_available

        if not hnsw_available():
            return None
        index = IndexFiles(self.path, self.settings).load(connection, row.key, row.dimension)
        if index is not None:
            self._indexes[row.key] = index
        return index

    def nearest(
        self, connection: sqlite3.Connection, blob: bytes, query: VectorQuery
    ) -> list[VectorHit]:
        row = find_space(connection, query.namespace)
        if row is None:
            return []
        if len(blob) // 4 != row.dimension:
            raise ValidationError(
                f"Query vector dimension mismatch: expected {row.dimension}, got {len(blob) // 4}",
                field="vector",
            )
        import numpy as np

        space = self._space(connection, row)
        mask = space.allowed(query.collection, None if query.include_expired else self.clock())
        if query.filters:
            chosen = space.among(
                canonical(query.filters), lambda: _filtered(connection, row.key, query.filters)
            )
            mask = chosen if mask is None else mask & chosen
        vector = np.frombuffer(blob, "<f4").astype(np.float32)
        best = space.nearest(vector, query.k, mask)
        marks = ",".join("?" * len(best))
        rows = connection.execute(
            _HIT.format(space=row.key) + f"WHERE entries.entry IN ({marks})",
            [entry for entry, _ in best],
        )
        found = {hit[0]: hit for hit in rows}
        return [_hit(found[entry], score) for entry, score in best]

    def matching(
        self, connection: sqlite3.Connection, match: str, query: VectorQuery
    ) -> list[VectorHit]:
        row = find_space(connection, query.namespace)
        if row is None:
            return []
        conditions, values = _conditions(row.key, query, self.clock())
        cursor = connection.execute(
            f"SELECT entries.entry, metadata, bm25(words_{row.key}) AS rank "  # noqa: S608 - a number, constants
            f"FROM words_{row.key} JOIN entries ON entries.entry=words_{row.key}.rowid "
            f"WHERE words_{row.key} MATCH ? AND {conditions} ORDER BY rank, entries.entry",
            [match, *values],
        )
        accepts = compile_filters(query.filters) if query.filters else None
        best: list[tuple[int, float]] = []
        for entry, metadata, rank in cursor:
            if accepts is None or accepts(json.loads(metadata)):
                best.append((entry, -rank))
                if len(best) == query.k:
                    break
        cursor.close()
        marks = ",".join("?" * len(best))
        rows = connection.execute(
            _HIT.format(space=row.key) + f"WHERE entries.entry IN ({marks})",
            [entry for entry, _ in best],
        )
        found = {hit[0]: hit for hit in rows}
        return [_hit(found[entry], score) for entry, score in best]

    # --- on the indexing thread

    def _build_quietly(self, space: int) -> None:
        """A build that fails leaves exact search in its place."""
        try:
            self.build(space, wait=False)
        except Exception:
            import logging

            logging.getLogger("llmspell.storage").warning(
                "the index of %s could not be built; searching without it",
                self.path,
                exc_info=True,
            )
        finally:
            self._building.discard(space)

    def build(self, space: int, *, wait: bool) -> None:
        """Bring the index of a namespace and its file up to date."""
        from llmspell_storage._vector_index import IndexFiles, hnsw_available

        if self.path is None or not hnsw_available():
            return
        with translated(self.path, "write"):
            connection = self._connection("index", create=False)
            if connection is None:
                return

            def adopt(index: HnswIndex) -> None:
                self._indexes[space] = index

            IndexFiles(self.path, self.settings).refresh(
                connection,
                space,
                self._indexes.get(space),
                wait=wait,
                stop=self._closing.is_set,
                adopt=adopt,
            )

    def build_all(self) -> None:
        """`build` for the namespaces that are large enough for an index."""
        with translated(self.path, "read"):
            connection = self._connection("index", create=False)
            if connection is None or self.path is None:
                return
            spaces = connection.execute(
                "SELECT space FROM entries GROUP BY space HAVING COUNT(*) >= ?", (BUILD_FROM,)
            ).fetchall()
        for (space,) in spaces:
            self.build(space, wait=True)

    async def close(self) -> None:
        """End the threads; an index in the making is saved as far as it got."""
        self._closing.set()
        for worker, role in (
            (self.indexer, "index"),
            (self.reader, "read"),
            (self.writer, "write"),
        ):
            await worker.finish(partial(self._disconnect, role))
        self._disconnect("all")

    def _disconnect(self, role: str) -> None:
        connection = self._connections.pop(role, None)
        if connection is not None:
            connection.close()


def _conditions(space: int, query: VectorQuery, now: float) -> tuple[str, list[Any]]:
    """What the database can check of *query*, on the table ``entries``."""
    conditions: list[str] = ["entries.space=?"]
    values: list[Any] = [space]
    if query.collection is not None:
        conditions.append("entries.collection=?")
        values.append(query.collection)
    if not query.include_expired:
        conditions.append("(entries.expires_at IS NULL OR entries.expires_at >= ?)")
        values.append(now)
    for name, wanted in equalities(query.filters or {}):
        field = f"$.{name}"
        conditions.append("(json_extract(metadata, ?) = ? OR json_type(metadata, ?) = 'array')")
        values += [field, wanted, field]
    return " AND ".join(conditions), values


def _filtered(
    connection: sqlite3.Connection, space: int, filters: Mapping[str, Any] | None
) -> list[int]:
    """The entries whose metadata pass the filters."""
    accepts = compile_filters(filters or {})
    anything = VectorQuery("", 1, filters=filters, include_expired=True)
    conditions, values = _conditions(space, anything, 0.0)
    rows = connection.execute(
        f"SELECT entry, metadata FROM entries WHERE {conditions}",  # noqa: S608 - constants
        values,
    )
    return [entry for entry, metadata in rows if accepts(json.loads(metadata))]


def _hit(row: tuple[Any, ...], score: float) -> VectorHit:
    _, entry_id, text, collection, document, metadata, created_at, event_time = row
    return VectorHit(
        entry_id, score, text, collection, document, json.loads(metadata), created_at, event_time
    )


def _fingerprints(
    connection: sqlite3.Connection, namespace: str, collection: str
) -> dict[str, str]:
    rows = connection.execute(
        "SELECT name, fingerprint FROM documents JOIN spaces USING(space) "
        "WHERE namespace=? AND collection=? AND fingerprint IS NOT NULL",
        (namespace, collection),
    )
    return dict(rows.fetchall())


def _stats(
    connection: sqlite3.Connection, namespace: str | None, collection: str | None
) -> VectorStats:
    where: list[str] = []
    values: list[str] = []
    if namespace is not None:
        where.append("namespace=?")
        values.append(namespace)
    if collection is not None:
        where.append("collection=?")
        values.append(collection)
    condition = f" WHERE {' AND '.join(where)}" if where else ""
    vectors, documents, size, spaces = connection.execute(
        "SELECT COUNT(*), COUNT(DISTINCT document), COALESCE(SUM(size), 0), "  # noqa: S608 - constants
        f"COUNT(DISTINCT space) FROM entries JOIN spaces USING(space){condition}",
        values,
    ).fetchone()
    collections = connection.execute(
        f"SELECT DISTINCT collection FROM documents JOIN spaces USING(space){condition} ORDER BY 1",  # noqa: S608
        values,
    ).fetchall()
    return VectorStats(vectors, documents, size, spaces, tuple(name for (name,) in collections))


def open_sqlite_vectors(
    services: Services, *, name: str, path: str | None = None
) -> SqliteVectorStore:
    """The factory ``sqlite`` of the group ``llmspell.vector_stores``: the file *path*, or
    without one ``<name>.db`` in the directory for data.
    """
    place = path or os.path.join(services.config.home, f"{name}.db")
    return SqliteVectorStore(place, settings=IndexSettings.of(services.config))


def open_memory_vectors(
    services: Services, *, name: str, path: str | None = None
) -> SqliteVectorStore:
    """The factory ``memory`` of the group ``llmspell.vector_stores``: exact search, gone with
    the process.
    """
    return SqliteVectorStore(None, settings=IndexSettings.of(services.config))


_BACKENDS = {"hnsw": "sqlite", "mock": "memory"}


def open_vectors(services: Services) -> VectorStore:
    """The service ``vectors``: the back end that ``rag.vector_storage.backend`` names, in
    ``rag.vector_storage.persistence_path`` or the directory for data.
    """
    wanted = services.config.get("rag.vector_storage.backend") or "hnsw"
    if not isinstance(wanted, str):
        raise ConfigurationError("rag.vector_storage.backend must be a name")
    folder = services.config.get("rag.vector_storage.persistence_path")
    path = os.path.join(os.path.expanduser(str(folder)), "rag.db") if folder else None
    factory = services.plugins.load("llmspell.vector_stores", _BACKENDS.get(wanted, wanted))
    return factory(services, name="rag", path=path)
