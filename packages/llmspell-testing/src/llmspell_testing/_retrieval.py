"""In-memory doubles of retrieval: a vector store, an embedder, a chunker."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from zlib import crc32

from llmspell_core import (
    Chunk,
    Chunker,
    Embedder,
    ValidationError,
    VectorEntry,
    VectorHit,
    VectorQuery,
    VectorStats,
    VectorStore,
)

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
    "$ne": lambda a, b: a != b,
    "$in": lambda a, b: a in b,
}


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


class VectorsDouble(VectorStore):
    """A list as a `VectorStore`: exact search, plain BM25."""

    def __init__(self) -> None:
        self._entries: list[VectorEntry] = []
        self._lock = threading.Lock()

    def _dimensions(self, namespace: str) -> int | None:
        return next((len(e.vector) for e in self._entries if e.namespace == namespace), None)

    async def replace(
        self, namespace: str, collection: str, document: str, entries: Sequence[VectorEntry]
    ) -> int:
        """Put them in the place of what the document had."""
        wanted = {len(entry.vector) for entry in entries}
        known = self._dimensions(namespace)
        if known is not None:
            wanted.add(known)
        if len(wanted) > 1:
            raise ValidationError(f"Vectors of different lengths: {sorted(wanted)}", field="vector")
        place = (namespace, collection, document)
        with self._lock:
            kept = [e for e in self._entries if (e.namespace, e.collection, e.document) != place]
            before = len(self._entries) - len(kept)
            self._entries = [*kept, *entries]
        return before

    async def fingerprints(self, namespace: str, collection: str) -> dict[str, str]:
        """By document."""
        return {
            e.document: e.metadata["fingerprint"]
            for e in self._entries
            if (e.namespace, e.collection) == (namespace, collection)
            and "fingerprint" in e.metadata
        }

    def _candidates(self, query: VectorQuery) -> list[VectorEntry]:
        now = time.time()
        return [
            e
            for e in self._entries
            if e.namespace == query.namespace
            and query.collection in (None, e.collection)
            and (query.include_expired or e.expires_at is None or e.expires_at > now)
            and all(_holds(e.metadata, k, v) for k, v in (query.filters or {}).items())
        ]

    async def nearest(self, vector: Sequence[float], query: VectorQuery) -> list[VectorHit]:
        """By cosine similarity."""
        known = self._dimensions(query.namespace)
        if known is not None and known != len(vector):
            raise ValidationError(f"Vector of length {len(vector)}, not {known}", field="vector")
        scored = [(_cosine(vector, e.vector), e) for e in self._candidates(query)]
        return _best(scored, query.k)

    async def matching(self, words: str, query: VectorQuery) -> list[VectorHit]:
        """By BM25."""
        wanted = set(_words(words))
        candidates = self._candidates(query)
        counted = [(Counter(_words(e.text)), e) for e in candidates]
        average = sum(c.total() for c, _ in counted) / max(1, len(counted)) or 1.0
        scored: list[tuple[float, VectorEntry]] = []
        for counts, entry in counted:
            score = 0.0
            for word in wanted & set(counts):
                holders = sum(word in other for other, _ in counted)
                rarity = math.log(1 + (len(counted) - holders + 0.5) / (holders + 0.5))
                often = counts[word]
                length = 0.25 + 0.75 * counts.total() / average
                score += rarity * often * 2.2 / (often + 1.2 * length)
            if score:
                scored.append((score, entry))
        return _best(scored, query.k)

    async def delete(self, namespace: str, ids: Iterable[str]) -> int:
        """By id or document."""
        gone = set(ids)
        return self._remove(
            lambda e: e.namespace == namespace and (e.id in gone or e.document in gone)
        )

    async def clear(self, namespace: str, *, collection: str | None = None) -> int:
        """A namespace, or one collection of it."""
        return self._remove(
            lambda e: e.namespace == namespace and collection in (None, e.collection)
        )

    def _remove(self, goes: Callable[[VectorEntry], bool]) -> int:
        with self._lock:
            kept = [e for e in self._entries if not goes(e)]
            many = len(self._entries) - len(kept)
            self._entries = kept
        return many

    async def stats(
        self, namespace: str | None = None, *, collection: str | None = None
    ) -> VectorStats:
        """Counted."""
        found = [
            e
            for e in self._entries
            if namespace in (None, e.namespace) and collection in (None, e.collection)
        ]
        return VectorStats(
            len(found),
            len({(e.namespace, e.collection, e.document) for e in found}),
            sum(len(e.text.encode("utf-8", "surrogatepass")) + 4 * len(e.vector) for e in found),
            len({e.namespace for e in found}),
            tuple(sorted({e.collection for e in found})),
        )

    async def flush(self) -> None:
        """Nothing to do."""


def _holds(metadata: Mapping[str, Any], key: str, wanted: Any) -> bool:
    if key not in metadata:
        return False
    value = metadata[key]
    if isinstance(wanted, dict):
        try:
            return all(_COMPARE[op](value, operand) for op, operand in wanted.items())  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        except TypeError:
            return False
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = math.sqrt(sum(a * a for a in one)) * math.sqrt(sum(b * b for b in other))
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0


def _best(scored: list[tuple[float, VectorEntry]], k: int) -> list[VectorHit]:
    scored.sort(key=lambda pair: -pair[0])
    return [
        VectorHit(
            e.id, score, e.text, e.collection, e.document, e.metadata, e.created_at, e.event_time
        )
        for score, e in scored[:k]
    ]


class EmbedderDouble(Embedder):
    """Counts words into buckets by their hash. `texts` holds what it was asked for."""

    def __init__(self, dimensions: int = 64, name: str = "double") -> None:
        self.name = name
        self.dimensions = dimensions
        self.texts: list[str] = []

    async def embed(
        self, texts: Sequence[str], context: ExecutionContext
    ) -> Sequence[Sequence[float]]:
        """One vector for each text."""
        if "" in texts:
            raise ValidationError("An empty text has no embedding", field="texts")
        self.texts += texts
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        made = [0.0] * self.dimensions
        for word in _words(text) or [text]:
            made[crc32(word.encode("utf-8", "surrogatepass")) % self.dimensions] += 1.0
        length = math.sqrt(sum(x * x for x in made))
        return [x / length for x in made]


class ChunkerDouble(Chunker):
    """Cuts after every *size* characters; a token is a character; headings are not looked for."""

    def chunk(self, text: str, *, size: int, overlap: int) -> list[Chunk]:
        """Pieces of *size* characters."""
        made: list[Chunk] = []
        for start in range(0, max(1, len(text) - overlap), size - overlap):
            piece = text[start : start + size]
            if piece.strip():
                first = text.count("\n", 0, start) + 1
                last = first + piece.rstrip("\n").count("\n")
                made.append(Chunk(piece, start, start + len(piece), first, last, "", len(piece)))
        return made
