"""`HnswIndex`: the approximate index of one namespace, and the file that caches it.

The file holds nothing that SQLite does not hold. It is written beside and renamed, its name
carries the last entry it covers, and SQLite keeps its checksum: a file that is missing, damaged
or of another life of the database is left alone and built anew.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import numpy as np

from llmspell_storage._database import writing
from llmspell_storage._index_settings import IndexSettings
from llmspell_storage._locks import file_lock
from llmspell_storage._vector_space import Floats, Ints, dots, unpacked

LOG = logging.getLogger("llmspell.storage")
_SLICE = 64  # vectors added while the lock is held: a search waits for one slice at most


def hnsw_available() -> bool:
    """Whether hnswlib is installed (``pip install 'llmspell-storage[hnsw]'``)."""
    try:
        import hnswlib  # noqa: F401  # pyright: ignore[reportMissingImports, reportUnusedImport]
    except ImportError:
        return False
    return True


class HnswIndex:
    """Vectors by entry number. `covers` is the last entry that was added.

    Safe to search on one thread while another adds: hnswlib itself is not.
    """

    def __init__(self, dimension: int, settings: IndexSettings, *, loaded: Any = None) -> None:
        import hnswlib  # pyright: ignore[reportMissingImports]

        self._settings = settings
        self._lock = threading.Lock()
        self.covers = 0
        if loaded is None:
            # Vectors have length 1, where the inner product is the cosine.
            loaded = hnswlib.Index(space="ip", dim=dimension)
            loaded.init_index(
                max_elements=1024,
                M=settings.m,
                ef_construction=settings.ef_construction,
                random_seed=100 if settings.seed is None else settings.seed,
            )
        self._index: Any = loaded
        self._index.set_num_threads(settings.threads)

    @property
    def count(self) -> int:
        """Vectors in it, removed ones included."""
        return self._index.get_current_count()

    def add(self, entries: Ints, vectors: Floats) -> None:
        """Add vectors of length 1; entries come in rising order."""
        for at in range(0, len(entries), _SLICE):
            part = entries[at : at + _SLICE]
            with self._lock:
                need = self._index.get_current_count() + len(part)
                if need > self._index.get_max_elements():
                    self._index.resize_index(max(need, 2 * self._index.get_max_elements()))
                self._index.add_items(vectors[at : at + _SLICE], part)
                self.covers = int(part[-1])

    def fits(self, live: Ints) -> bool:
        """Whether so much of it is still *live* that going on with it is worth while. Removed
        entries stay in the graph until it is built anew; nobody finds them, see `Space`.
        """
        with self._lock:
            labels = np.array(self._index.get_ids_list(), np.int64)
        return int(np.isin(labels, live).sum()) * 10 >= len(labels) * 9

    def nearest(self, query: Floats, k: int) -> tuple[Ints, Floats]:
        """About the *k* nearest, or none when the graph cannot reach so many."""
        with self._lock:
            self._index.set_ef(max(self._settings.ef_search, k))
            try:
                labels, distances = self._index.knn_query(query, k=k, num_threads=1)
            except RuntimeError:
                return np.empty(0, np.int64), np.empty(0, np.float32)
        return labels[0].astype(np.int64), 1 - distances[0]

    def scores(self, entries: Ints, query: Floats) -> Floats:
        """The exact similarity of each entry."""
        found = np.empty(len(entries), np.float32)
        for at in range(0, len(entries), 8192):
            part = entries[at : at + 8192]
            with self._lock:
                vectors = self._index.get_items(part, return_type="numpy")
            found[at : at + 8192] = dots(vectors, query)
        return found

    def save(self, path: str) -> None:
        """Write hnswlib's file."""
        with self._lock:
            self._index.save_index(path)


def _checksum(path: str) -> str:
    digest = blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class IndexFiles:
    """The index files beside one database: ``<database>-<space>-<covers>.hnsw``."""

    def __init__(self, database: str, settings: IndexSettings) -> None:
        self._directory = os.path.dirname(database)
        self._stem = os.path.splitext(os.path.basename(database))[0]
        self._settings = settings

    def load(self, connection: sqlite3.Connection, space: int, dimension: int) -> HnswIndex | None:
        """The index that the database vouches for, or None."""
        row = connection.execute(
            "SELECT file, covers, checksum FROM indexes WHERE space=?", (space,)
        ).fetchone()
        if row is None:
            return None
        path = os.path.join(self._directory, os.path.basename(row[0]))
        try:
            if _checksum(path) != row[2]:
                LOG.warning("index file %s is damaged; it will be built anew", path)
                return None
            import hnswlib  # pyright: ignore[reportMissingImports]

            loaded: Any = hnswlib.Index(space="ip", dim=dimension)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            loaded.load_index(path)
        except (OSError, RuntimeError) as error:
            LOG.info("index file %s cannot be used (%s); it will be built anew", path, error)
            return None
        index = HnswIndex(dimension, self._settings, loaded=loaded)
        index.covers = row[1]
        return index

    def refresh(
        self,
        connection: sqlite3.Connection,
        space: int,
        index: HnswIndex | None,
        *,
        wait: bool,
        stop: Callable[[], bool],
        adopt: Callable[[HnswIndex], None],
    ) -> None:
        """Bring the index and its file up to date; an interrupted build keeps what it has.

        Only one process does it at a time; without *wait* the others leave it to that one.
        *adopt* is called with a new index as soon as it is worth using.
        """
        with file_lock(os.path.join(self._directory, f"{self._stem}.lock"), wait=wait) as mine:
            if not mine:
                return
            row = connection.execute(
                "SELECT dimension FROM spaces WHERE space=?", (space,)
            ).fetchone()
            if row is None:
                return
            (dimension,) = row
            live = np.array(
                [
                    entry
                    for (entry,) in connection.execute(
                        "SELECT entry FROM entries WHERE space=? ORDER BY entry", (space,)
                    )
                ],
                np.int64,
            )
            stored = connection.execute(
                "SELECT covers FROM indexes WHERE space=?", (space,)
            ).fetchone()
            if stored is not None and (index is None or stored[0] > index.covers):
                index = self.load(connection, space, dimension) or index
            if index is None or not index.fits(live):
                index = HnswIndex(dimension, self._settings)
            self._fill(connection, space, dimension, index, stop)
            adopt(index)
            self._write(connection, space, index)

    def _fill(
        self,
        connection: sqlite3.Connection,
        space: int,
        dimension: int,
        index: HnswIndex,
        stop: Callable[[], bool],
    ) -> None:
        while not stop():
            rows = connection.execute(
                "SELECT entries.entry, vector FROM entries JOIN vectors USING(entry) "
                "WHERE space=? AND entries.entry>? ORDER BY entries.entry LIMIT ?",
                (space, index.covers, 16 * _SLICE),
            ).fetchall()
            if not rows:
                return
            index.add(
                np.array([entry for entry, _ in rows], np.int64),
                unpacked([blob for _, blob in rows], dimension),
            )

    def _write(self, connection: sqlite3.Connection, space: int, index: HnswIndex) -> None:
        name = f"{self._stem}-{space}-{index.covers}.hnsw"
        path = os.path.join(self._directory, name)
        beside = f"{path}.{os.getpid()}.tmp"
        try:
            index.save(beside)
            os.chmod(beside, 0o600)
            checksum = _checksum(beside)
            os.replace(beside, path)
        except (OSError, RuntimeError) as error:
            # A cache that cannot be written costs time at the next start, nothing else.
            LOG.warning("index file %s cannot be written: %s", path, error)
            if os.path.exists(beside):
                os.unlink(beside)
            return
        with writing(connection):
            connection.execute(
                "INSERT OR REPLACE INTO indexes SELECT space, ?, ?, ? FROM spaces WHERE space=?",
                (name, index.covers, checksum, space),
            )
        self.remove(space, keep=name)

    def remove(self, space: int, *, keep: str | None = None) -> None:
        """Delete the files of a namespace, but for *keep*."""
        prefix = f"{self._stem}-{space}-"
        for name in os.listdir(self._directory):
            if name.startswith(prefix) and ".hnsw" in name and name != keep:
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._directory, name))
