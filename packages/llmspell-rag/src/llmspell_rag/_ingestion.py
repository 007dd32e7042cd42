"""Documents on their way into the vector store: cut, embedded, and put in whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from llmspell_core import Chunk, Chunker, Embedder, IngestReport, VectorEntry, digest
from llmspell_core import canonical as canonical_json
from llmspell_rag._documents import times_of

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, VectorStore

FORMAT = 1
"""Raised when the same text would be stored differently: unchanged documents are then redone."""

_TOGETHER = 256  # so many chunks are written in one transaction
_LONG = 20_000  # a text so long is cut on another thread


@dataclass(frozen=True, slots=True)
class Plan:
    """Where documents go and how they are cut and embedded."""

    namespace: str
    collection: str
    strategy: str | None
    size: int
    overlap: int
    embedder: Embedder
    batch_size: int
    chunker: Callable[[str], Chunker]

    def describe(self) -> dict[str, Any]:
        """What the ledger keeps of it."""
        return {
            "namespace": self.namespace,
            "collection": self.collection,
            "strategy": self.strategy,
            "chunk_size": self.size,
            "overlap": self.overlap,
            "embedder": self.embedder.name,
            "dimensions": self.embedder.dimensions,
        }


@dataclass(frozen=True, slots=True)
class Item:
    """A document that is ready to be cut. The first `skip` characters are not ingested. `mark`
    and `relative` tell of which folder it is the file.
    """

    id: str
    text: str
    source: str | None
    metadata: Mapping[str, Any]
    markdown: bool = False
    skip: int = 0
    mark: str = ""
    relative: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that could not be read, and why."""

    source: str
    reason: str


@dataclass(slots=True)
class _Tally:
    documents: int = 0
    skipped: int = 0
    tokens: int = 0
    document_ids: list[str] = field(default_factory=list[str])
    chunk_ids: list[str] = field(default_factory=list[str])
    failed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


class Ingestion:
    """One run of documents into one collection."""

    def __init__(self, plan: Plan, store: VectorStore, context: ExecutionContext) -> None:
        self._plan = plan
        self._store = store
        self._context = context
        self._now = context.now()
        self._tally = _Tally()
        self._waiting: dict[str, list[VectorEntry]] = {}
        self.known: Mapping[str, str] = {}

    async def run(
        self,
        items: AsyncIterator[Item | Failure],
        total: int,
        progress: Callable[[int, int], None] | None,
    ) -> IngestReport:
        """Take them all in; a document that is there unchanged is skipped."""
        self.known = await self._store.fingerprints(self._plan.namespace, self._plan.collection)
        done = 0
        async for item in items:
            self._context.check()
            if isinstance(item, Failure):
                self._tally.failed.append((item.source, item.reason))
            else:
                await self._take(item)
            done += 1
            if progress is not None:
                progress(done, total)
        await self._write()
        tally = self._tally
        return IngestReport(
            documents=tally.documents,
            chunks=len(tally.chunk_ids),
            tokens=tally.tokens,
            document_ids=tuple(tally.document_ids),
            chunk_ids=tuple(tally.chunk_ids),
            skipped=tally.skipped,
            failed=tuple(tally.failed),
        )

    async def remove(self, documents: Sequence[str]) -> None:
        """Take documents out again."""
        if documents:
            gone: dict[str, list[VectorEntry]] = {document: [] for document in documents}
            await self._store.replace_many(self._plan.namespace, self._plan.collection, gone)

    async def _take(self, item: Item) -> None:
        strategy = self._plan.strategy or ("markdown" if item.markdown else "sliding_window")
        times = times_of(item.metadata, now=self._now)
        fingerprint = self._fingerprint(item, strategy)
        self._tally.document_ids.append(item.id)
        # A document with a time to live is stored again: its time begins anew.
        renewed = times.expires_at is not None and "expires_at" not in item.metadata
        if self.known.get(item.id) == fingerprint and not renewed:
            self._tally.skipped += 1
            return
        chunks = await self._cut(item, strategy)
        vectors = await self._embed(chunks)
        entries = [
            VectorEntry(
                id=f"{item.id}:{index}",
                namespace=self._plan.namespace,
                collection=self._plan.collection,
                document=item.id,
                text=chunk.text,
                vector=vector,
                metadata=self._metadata(item, chunk, index, fingerprint),
                created_at=self._now,
                event_time=times.event_time,
                expires_at=times.expires_at,
            )
            for index, (chunk, vector) in enumerate(zip(chunks, vectors, strict=True))
        ]
        self._waiting[item.id] = entries
        self._tally.documents += 1
        self._tally.tokens += sum(chunk.tokens for chunk in chunks)
        self._tally.chunk_ids += [entry.id for entry in entries]
        if sum(map(len, self._waiting.values())) >= _TOGETHER:
            await self._write()

    async def _write(self) -> None:
        waiting, self._waiting = self._waiting, {}
        if waiting:
            await self._store.replace_many(self._plan.namespace, self._plan.collection, waiting)

    def _fingerprint(self, item: Item, strategy: str) -> str:
        plan = self._plan
        made = digest(
            canonical_json(
                [
                    FORMAT,
                    item.text,
                    item.source,
                    dict(item.metadata),
                    strategy,
                    plan.size,
                    plan.overlap,
                    plan.embedder.name,
                    plan.embedder.dimensions,
                ]
            )
        )
        return f"{item.mark}|{made}|{item.relative}"

    async def _cut(self, item: Item, strategy: str) -> list[Chunk]:
        chunker = self._plan.chunker(strategy)

        def cut() -> list[Chunk]:
            chunks = chunker.chunk(
                item.text[item.skip :], size=self._plan.size, overlap=self._plan.overlap
            )
            lines = item.text.count("\n", 0, item.skip)
            once: dict[str, Chunk] = {}
            for chunk in chunks:
                # What a document says twice is found once, where it is said first.
                once.setdefault(chunk.text, _shifted(chunk, item.skip, lines))
            return list(once.values())

        return await asyncio.to_thread(cut) if len(item.text) > _LONG else cut()

    async def _embed(self, chunks: Sequence[Chunk]) -> list[Sequence[float]]:
        vectors: list[Sequence[float]] = []
        size = self._plan.batch_size
        for at in range(0, len(chunks), size):
            self._context.check()
            texts = [_with_heading(chunk) for chunk in chunks[at : at + size]]
            vectors += await self._plan.embedder.embed(texts, self._context)
        return vectors

    def _metadata(self, item: Item, chunk: Chunk, index: int, fingerprint: str) -> dict[str, Any]:
        source = {} if item.source is None else {"source": item.source}
        return {
            "document_id": item.id,
            "chunk_index": index,
            "token_count": chunk.tokens,
            "content_length": len(chunk.text),
            "ingested_at": datetime.fromtimestamp(self._now, UTC).isoformat(timespec="seconds"),
            **item.metadata,
            **source,
            "first_line": chunk.first_line,
            "last_line": chunk.last_line,
            "start": chunk.start,
            "end": chunk.end,
            "heading": chunk.heading,
            "fingerprint": fingerprint,
        }


def _shifted(chunk: Chunk, characters: int, lines: int) -> Chunk:
    if not characters:
        return chunk
    return Chunk(
        chunk.text,
        chunk.start + characters,
        chunk.end + characters,
        chunk.first_line + lines,
        chunk.last_line + lines,
        chunk.heading,
        chunk.tokens,
    )


def _with_heading(chunk: Chunk) -> str:
    """What is embedded: a part of a section says little without its headings."""
    return f"{chunk.heading}\n{chunk.text}" if chunk.heading else chunk.text
