"""The bases of retrieval: embed, chunk, ingest, search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmspell_core._context import ExecutionContext


class Embedder(ABC):
    """Turns texts into vectors of one length."""

    name: str
    dimensions: int

    @abstractmethod
    async def embed(
        self, texts: Sequence[str], context: ExecutionContext
    ) -> Sequence[Sequence[float]]:
        """One L2-normalised vector for each text, in order.

        Raises:
            ValidationError: for an empty text.
        """


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document: its text, where it stands and under which heading.

    `start` and `end` are offsets in code points, `first_line` and `last_line` count from 1,
    `heading` is the path of headings above it (``"Guide > Setup"``), empty when there is none.
    """

    text: str
    start: int
    end: int
    first_line: int
    last_line: int
    heading: str
    tokens: int


class Chunker(ABC):
    """Cuts a document into chunks."""

    @abstractmethod
    def chunk(self, text: str, *, size: int, overlap: int) -> list[Chunk]:
        """Pieces of at most *size* tokens that share about *overlap* tokens; none for a blank
        text. The pieces cover the text: no sentence is lost between two of them.
        """


@dataclass(frozen=True, slots=True)
class Document:
    """Something to ingest. `source` is what citations name: a path, a URL, a title."""

    text: str
    id: str | None = None
    source: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingestion did; `skipped` documents were there already, unchanged."""

    documents: int
    chunks: int
    tokens: int
    document_ids: tuple[str, ...]
    chunk_ids: tuple[str, ...]
    skipped: int = 0
    failed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A found chunk with its citation: `source`, and in `metadata` ``first_line, last_line,
    start, end, heading``. `score` orders, 0 to 1.
    """

    id: str
    text: str
    score: float
    source: str
    collection: str
    metadata: dict[str, Any]
    vector_score: float | None = None
    keyword_score: float | None = None

    @property
    def citation(self) -> str:
        """``source:first-last``, with the heading behind it when there is one."""
        lines = f"{self.metadata.get('first_line')}-{self.metadata.get('last_line')}"
        heading = self.metadata.get("heading")
        return f"{self.source}:{lines}" + (f" ({heading})" if heading else "")


class Retriever(ABC):
    """The retrieval service: documents in, cited passages out."""

    @abstractmethod
    async def ingest(
        self,
        documents: Sequence[Document],
        context: ExecutionContext,
        *,
        scope: str = "global",
        collection: str = "default",
        options: Mapping[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> IngestReport:
        """Chunk, embed and store; each document is stored whole or not at all.

        *progress* is called with (documents done, documents in all).
        """

    @abstractmethod
    async def ingest_folder(
        self,
        path: str,
        context: ExecutionContext,
        *,
        glob: str | Sequence[str] = ("**/*.md", "**/*.txt"),
        scope: str = "global",
        collection: str = "default",
        options: Mapping[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> IngestReport:
        """`ingest` for the files below *path* that match; a file is one document."""

    @abstractmethod
    async def search(
        self,
        query: str,
        context: ExecutionContext,
        *,
        k: int = 10,
        scope: str = "global",
        collection: str | None = None,
        filters: Mapping[str, Any] | None = None,
        threshold: float | None = None,
        hybrid: bool = False,
    ) -> list[Passage]:
        """The best passages, best first; by vectors alone, or with *hybrid* fused with BM25."""
