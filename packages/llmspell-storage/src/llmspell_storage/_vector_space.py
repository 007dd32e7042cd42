"""What of a namespace is kept in memory to answer "nearest": ids always, vectors where needed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from llmspell_storage._vector_index import HnswIndex
    from llmspell_storage._vector_schema import SpaceRow

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SCAN = 2000
"""So many vectors are compared one by one rather than through the index: exact, and as fast."""


def unit(vectors: Floats) -> Floats:
    """Each row scaled to length 1; a zero vector stays zero and is similar to nothing."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    norms[norms == 0] = 1
    return (vectors / norms).astype(np.float32, copy=False)


def dots(vectors: Floats, query: Floats) -> Floats:
    """The inner product of each row with *query*. On one thread, unlike ``vectors @ query``: the
    threads of a BLAS wait for each other, which takes a hundred times as long when other work
    keeps the processors busy.
    """
    return np.einsum("ij,j->i", vectors, query)


def unpacked(blobs: list[bytes], dimension: int) -> Floats:
    """Unit rows from what the database holds."""
    raw = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(blobs), dimension)
    return unit(raw.astype(np.float32, copy=False))


_WIDER = 8
_FILTERS_KEPT = 32


class Space:
    """The live entries of one namespace in order of insertion, with a mask's worth of facts
    about each, and the vectors of those that the index does not cover.

    `catch_up` brings it to the state of the database inside the caller's read transaction. The
    index only proposes: what is not in `entries` is not found, so an index that is behind or
    ahead does no harm.
    """

    def __init__(self, row: SpaceRow, index: HnswIndex | None) -> None:
        self.key = row.key
        self.dimension = row.dimension
        self.index = index
        self.collections: dict[str, int] = {}
        self.entries: Ints = np.empty(0, np.int64)
        self._codes: NDArray[np.int32] = np.empty(0, np.int32)
        self._expiry: NDArray[np.float64] = np.empty(0, np.float64)
        # The index answers for entries up to `_bound`, of which there are `_covered`; of those
        # behind it `_tail` has the vectors.
        self._bound = index.covers if index else 0
        self._covered = 0
        self._tail: Floats = np.empty((0, row.dimension), np.float32)
        self._generation = self._removals = -1
        self._chosen: dict[str, Ints] = {}

    @property
    def uncovered(self) -> int:
        """How many entries the index does not know."""
        return len(self.entries) - self._covered

    def catch_up(self, connection: sqlite3.Connection, row: SpaceRow) -> None:
        """Read what changed since the last time."""
        if row.generation == self._generation:
            return
        only_added = row.removals == self._removals and len(self.entries) > 0
        after = int(self.entries[-1]) if only_added else 0
        known, tail = self.entries[self._covered :], self._tail
        self._read(connection, after)
        if not only_added:
            stays = np.isin(known, self.entries, assume_unique=True)
            known, tail = known[stays], tail[stays]
        last = int(known[-1]) if len(known) else self._bound
        self._tail = np.concatenate([tail, self._vectors_after(connection, last)])
        self._covered = int(np.searchsorted(self.entries, self._bound, side="right"))
        self._generation, self._removals = row.generation, row.removals
        self._chosen.clear()

    def _read(self, connection: sqlite3.Connection, after: int) -> None:
        rows = connection.execute(
            "SELECT entry, collection, expires_at FROM entries WHERE space=? AND entry>? "
            "ORDER BY entry",
            (self.key, after),
        ).fetchall()
        code = self.collections.setdefault
        entries = np.array([row[0] for row in rows], np.int64)
        codes = np.array([code(row[1], len(self.collections)) for row in rows], np.int32)
        expiry = np.array([np.inf if row[2] is None else row[2] for row in rows], np.float64)
        if after:
            entries = np.concatenate([self.entries, entries])
            codes = np.concatenate([self._codes, codes])
            expiry = np.concatenate([self._expiry, expiry])
        self.entries, self._codes, self._expiry = entries, codes, expiry

    def _vectors_after(self, connection: sqlite3.Connection, entry: int) -> Floats:
        blobs = [
            blob
            for (blob,) in connection.execute(
                "SELECT vector FROM entries JOIN vectors USING(entry) "
                "WHERE space=? AND entries.entry>? ORDER BY entries.entry",
                (self.key, entry),
            )
        ]
        if not blobs:
            return np.empty((0, self.dimension), np.float32)
        return unpacked(blobs, self.dimension)

    def adopt(self, index: HnswIndex | None) -> None:
        """Leave to *index* what it has come to cover, and drop those vectors here."""
        if index is None:
            return
        bound = index.covers  # read once: another thread is raising it
        if bound < self._bound:
            return
        covered = int(np.searchsorted(self.entries, bound, side="right"))
        if covered > self._covered:
            self._tail = self._tail[covered - self._covered :].copy()
        self.index, self._bound, self._covered = index, bound, covered

    def allowed(self, collection: str | None, now: float | None) -> Mask | None:
        """Which entries are in *collection* and not expired at *now*; None when all are."""
        mask: Mask | None = None
        if collection is not None and (
            len(self.collections) > 1 or collection not in self.collections
        ):
            mask = self._codes == self.collections.get(collection, -1)
        if now is not None:
            live = self._expiry >= now
            if not live.all():
                mask = live if mask is None else mask & live
        return mask

    def among(self, filters: str, find: Callable[[], list[int]]) -> Mask:
        """The mask of the entries that *find* gives for *filters*; asked once as long as nothing
        changes, because a filter reads the metadata of all entries.
        """
        chosen = self._chosen.pop(filters, None)
        if chosen is None:
            chosen = np.array(find(), np.int64)
            while len(self._chosen) >= _FILTERS_KEPT:
                self._chosen.pop(next(iter(self._chosen)))
        self._chosen[filters] = chosen
        return np.isin(self.entries, chosen)

    def nearest(self, vector: Floats, k: int, allowed: Mask | None) -> list[tuple[int, float]]:
        """The *k* nearest allowed entries with their cosine similarity, best first; ties by
        insertion. As many as there are, up to *k*.
        """
        query = unit(vector)
        found: list[tuple[Ints, Floats]] = []
        if self._covered:
            found.append(self._indexed(query, k, allowed))
        tail = self.entries[self._covered :]
        if len(tail):
            scores = dots(self._tail, query)
            if allowed is not None:
                mask = allowed[self._covered :]
                tail, scores = tail[mask], scores[mask]
            found.append((tail, scores))
        if not found:
            return []
        entries = np.concatenate([entries for entries, _ in found])
        scores = np.concatenate([scores for _, scores in found])
        return _best(entries, scores, k)

    def _indexed(self, query: Floats, k: int, allowed: Mask | None) -> tuple[Ints, Floats]:
        index = self.index
        assert index is not None
        wanted = self.entries[: self._covered]
        if allowed is not None:
            wanted = wanted[allowed[: self._covered]]
        if len(wanted) <= max(SCAN, k):
            return wanted, index.scores(wanted, query)
        # The index knows no filters: ask for so many that enough of them will be allowed. More
        # than are wanted, too, because a wider search misses fewer of the nearest.
        ask = int(k * index.count / len(wanted) * _WIDER) + 8
        while ask < index.count // 4:
            entries, scores = index.nearest(query, ask)
            places = np.minimum(np.searchsorted(wanted, entries), len(wanted) - 1)
            kept = wanted[places] == entries
            if int(kept.sum()) >= k:
                return entries[kept], scores[kept]
            ask *= 4
        return wanted, index.scores(wanted, query)


def _best(entries: Ints, scores: Floats, k: int) -> list[tuple[int, float]]:
    # Equal vectors may differ in the last bits by their place in the matrix: rounding makes
    # ties ties, and keeps 1.0000001 out of results.
    rounded = np.round(np.clip(scores, -1, 1).astype(np.float64), 6)
    if len(rounded) > 4 * k:
        least = np.partition(rounded, len(rounded) - k)[len(rounded) - k]
        keep = rounded >= least
        entries, rounded = entries[keep], rounded[keep]
    order = np.lexsort((entries, -rounded))[:k]
    return [(int(entries[i]), float(rounded[i])) for i in order]
