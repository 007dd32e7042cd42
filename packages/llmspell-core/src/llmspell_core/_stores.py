"""The bases of stores: bytes by key, state by scope, vectors by namespace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmspell_core._errors import StorageError

if TYPE_CHECKING:
    from llmspell_core._context import ExecutionContext


@dataclass(frozen=True, slots=True)
class StorageStats:
    """How much a back end holds; `size_bytes` counts values."""

    keys: int
    size_bytes: int


class StorageBackend(ABC):
    """Bytes under text keys.

    Subclasses write `get`, `write` and `scan`, and `expiries`, which here knows none. All else
    is made of them and may be overridden for speed. Instances never share data unless they were
    opened on the same place. Safe under concurrent callers; a `write` that returned is there
    after the process dies, if the back end is persistent.
    """

    persistent: bool = False

    @abstractmethod
    async def get(self, key: str) -> bytes | None:
        """The value, or None for an unknown key."""

    @abstractmethod
    async def write(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        *,
        expect: Mapping[str, bytes | None] | None = None,
        expires_at: float | None = None,
    ) -> bool:
        """Put and delete atomically: all of it or, after a crash too, nothing.

        Args:
            puts: Keys to insert or overwrite.
            deletes: Keys to remove; unknown ones are ignored.
            expect: Nothing is written unless each of these keys has this value now
                (None: does not exist).
            expires_at: Unix seconds from which on the keys in *puts* are as if they had been
                deleted; None keeps them, also those that were to expire before. The space is
                freed some time later.

        Returns:
            Whether it was written; False only when an expectation failed.
        """

    @abstractmethod
    def scan(self, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        """Keys beginning with *prefix* and their values, in lexical order of code points."""

    async def set(self, key: str, value: bytes, *, expires_at: float | None = None) -> None:
        """Insert or overwrite."""
        await self.write({key: value}, expires_at=expires_at)

    async def delete(self, key: str) -> None:
        """Remove; an unknown key is ignored."""
        await self.write({}, (key,))

    async def exists(self, key: str) -> bool:
        """Whether the key is there."""
        return await self.get(key) is not None

    async def list_keys(self, prefix: str = "") -> list[str]:
        """Keys beginning with *prefix*, in lexical order."""
        return [key async for key, _ in self.scan(prefix)]

    async def get_batch(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The keys that exist, with their values."""
        found: dict[str, bytes] = {}
        for key in keys:
            value = await self.get(key)
            if value is not None:
                found[key] = value
        return found

    async def set_batch(self, values: Mapping[str, bytes]) -> None:
        """Insert or overwrite all, atomically."""
        await self.write(values)

    async def delete_batch(self, keys: Iterable[str]) -> None:
        """Remove all, atomically."""
        await self.write({}, keys)

    async def compare_and_swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        """Replace *old* by *new* (None: absent) if it is still *old*."""
        if new is None:
            return await self.write({}, (key,), expect={key: old})
        return await self.write({key: new}, expect={key: old})

    async def update(
        self, key: str, change: Callable[[bytes | None], bytes | None]
    ) -> bytes | None:
        """Replace the value by ``change(value)`` without losing anybody's write; None deletes.

        *change* may be called again when another writer was faster.

        Returns:
            What was written.
        """
        for _ in range(1000):
            old = await self.get(key)
            new = change(old)
            if await self.compare_and_swap(key, old, new):
                return new
        raise StorageError(f"key {key!r} is written to too often to update", operation="lock")

    async def expiries(self) -> dict[str, float]:
        """The keys that will expire, and when, in Unix seconds."""
        return {}

    async def clear(self) -> int:
        """Remove everything; returns how many keys there were."""
        keys = await self.list_keys()
        await self.write({}, keys)
        return len(keys)

    async def stats(self) -> StorageStats:
        """How much there is."""
        keys = size = 0
        async for _, value in self.scan():
            keys += 1
            size += len(value)
        return StorageStats(keys, size)

    async def aclose(self) -> None:
        """Release files and connections."""


@dataclass(frozen=True, slots=True)
class StateUsage:
    """How much state there is: entries, bytes of their values as JSON, entries by scope."""

    entries: int
    size_bytes: int
    scopes: Mapping[str, int]


class StateStore(ABC):
    """JSON values under scoped keys, written ``scope:key`` (``global:x``, ``workflow:ID:step``).

    Every call is an effect of the context it is given; the context's tenant sees only its own.
    """

    @abstractmethod
    async def get(self, scope: str, key: str, context: ExecutionContext) -> Any:
        """The value, or None for an unknown key."""

    @abstractmethod
    async def set(self, scope: str, key: str, value: Any, context: ExecutionContext) -> None:
        """Insert or overwrite; None deletes.

        Raises:
            ValidationError: for a key that is empty, too long or has control characters.
            StorageError: when it could not be written.
        """

    @abstractmethod
    async def set_many(
        self, scope: str, values: Mapping[str, Any], context: ExecutionContext
    ) -> None:
        """Insert or overwrite all, atomically."""

    @abstractmethod
    async def delete(self, scope: str, key: str, context: ExecutionContext) -> bool:
        """Remove; whether it was there."""

    @abstractmethod
    async def list(self, scope: str, context: ExecutionContext, *, prefix: str = "") -> list[str]:
        """The keys of a scope without the scope, in lexical order."""

    @abstractmethod
    async def all(self, scope: str, context: ExecutionContext) -> dict[str, Any]:
        """The keys of a scope with their values."""

    @abstractmethod
    async def clear(self, scope: str, context: ExecutionContext) -> int:
        """Remove a scope's keys; returns how many."""

    @abstractmethod
    async def scopes(self, context: ExecutionContext) -> list[str]:
        """The scopes that hold something, sorted."""

    @abstractmethod
    async def increment(
        self, scope: str, key: str, amount: float, context: ExecutionContext
    ) -> float:
        """Add to a number (missing: 0), atomically; returns the sum."""

    @abstractmethod
    async def append(self, scope: str, key: str, value: Any, context: ExecutionContext) -> int:
        """Add to the end of a list (missing: empty), atomically; returns the length."""

    @abstractmethod
    async def compare_and_swap(
        self, scope: str, key: str, old: Any, new: Any, context: ExecutionContext
    ) -> bool:
        """Replace *old* (None: absent) by *new* if it is still equal as JSON."""

    async def usage(self, context: ExecutionContext) -> StateUsage:
        """How much there is."""
        from llmspell_core._canonical import canonical

        size, counts = 0, dict[str, int]()
        for scope in await self.scopes(context):
            values = await self.all(scope, context)
            counts[scope] = len(values)
            size += sum(len(canonical(value).encode()) for value in values.values())
        return StateUsage(sum(counts.values()), size, counts)


@dataclass(frozen=True, slots=True)
class VectorEntry:
    """A text with its vector. `document` groups the entries that are replaced together.

    `namespace` isolates strictly; `collection` is a subset of it. Times are Unix seconds.
    """

    id: str
    namespace: str
    collection: str
    document: str
    text: str
    vector: Sequence[float]
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    created_at: float = 0.0
    event_time: float | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class VectorHit:
    """A found entry. `score` is higher for better: cosine similarity, or BM25."""

    id: str
    score: float
    text: str
    collection: str
    document: str
    metadata: dict[str, Any]
    created_at: float
    event_time: float | None


@dataclass(frozen=True, slots=True)
class VectorQuery:
    """What to look for and where; `filters` are equalities on metadata, or
    ``{"$gt": …}``-style operators, applied before ranking: *k* hits come back whenever they
    exist.
    """

    namespace: str
    k: int
    collection: str | None = None
    filters: Mapping[str, Any] | None = None
    include_expired: bool = False


@dataclass(frozen=True, slots=True)
class VectorStats:
    """What a namespace (or all of them) holds."""

    vectors: int
    documents: int
    size_bytes: int
    namespaces: int
    collections: tuple[str, ...]


class VectorStore(ABC):
    """Texts with vectors, found by nearness and by words."""

    @abstractmethod
    async def replace(
        self, namespace: str, collection: str, document: str, entries: Sequence[VectorEntry]
    ) -> int:
        """Put *entries* in the place of all that *document* had, atomically, also when the
        process is killed. No entries: the document is removed.

        Returns:
            How many entries the document had before.

        Raises:
            ValidationError: for vectors whose dimension is not that of the namespace.
        """

    async def replace_many(
        self,
        namespace: str,
        collection: str,
        documents: Mapping[str, Sequence[VectorEntry]],
    ) -> None:
        """`replace` for several documents; back ends that can, do it in one transaction."""
        for document, entries in documents.items():
            await self.replace(namespace, collection, document, entries)

    @abstractmethod
    async def fingerprints(self, namespace: str, collection: str) -> dict[str, str]:
        """``document → metadata["fingerprint"]`` of its entries, to skip unchanged documents."""

    @abstractmethod
    async def nearest(self, vector: Sequence[float], query: VectorQuery) -> list[VectorHit]:
        """The entries nearest to *vector*, best first; ties by insertion."""

    @abstractmethod
    async def matching(self, words: str, query: VectorQuery) -> list[VectorHit]:
        """The entries that hold the *words*, by BM25, best first."""

    @abstractmethod
    async def delete(self, namespace: str, ids: Iterable[str]) -> int:
        """Remove entries by id or by document; returns how many entries went."""

    @abstractmethod
    async def clear(self, namespace: str, *, collection: str | None = None) -> int:
        """Remove a namespace or one of its collections; returns how many entries went."""

    @abstractmethod
    async def stats(
        self, namespace: str | None = None, *, collection: str | None = None
    ) -> VectorStats:
        """What is there: in all namespaces, in one, or in one of its collections."""

    @abstractmethod
    async def flush(self) -> None:
        """Write caches (an index file) to disk; entries are on disk already."""

    async def aclose(self) -> None:
        """Release files."""
