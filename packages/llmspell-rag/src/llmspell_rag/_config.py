"""The configuration section ``[rag]``."""

# ruff: noqa: RUF009 - setting() returns a dataclass field, not a shared default

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmspell_core import ConfigurationError, setting


@dataclass(frozen=True, slots=True)
class HnswConfig:
    """``[rag.vector_storage.hnsw]``: the approximate index, used from 2,000 vectors on."""

    m: int = setting(16, help="links per vector, 2 to 100", env=("LLMSPELL_HNSW_M",))
    ef_construction: int = setting(
        200,
        help="candidates while building, at least m",
        env=("LLMSPELL_HNSW_EF_CONSTRUCTION",),
        above_zero=True,
    )
    ef_search: int = setting(
        50,
        help="candidates while searching",
        env=("LLMSPELL_HNSW_EF_SEARCH",),
        above_zero=True,
    )
    max_elements: int = setting(
        1_000_000,
        help="most vectors in a namespace",
        env=("LLMSPELL_HNSW_MAX_ELEMENTS",),
        above_zero=True,
    )
    seed: int | None = setting(None, help="makes building repeatable, on one thread")
    num_threads: int | None = setting(None, help="threads to build with", above_zero=True)


@dataclass(frozen=True, slots=True)
class VectorStorageConfig:
    """``[rag.vector_storage]``."""

    dimensions: int = setting(
        384, help="length of the vectors, 1 to 10000", env=("LLMSPELL_RAG_DIMENSIONS",)
    )
    backend: str = setting(
        "hnsw",
        help="hnsw (SQLite with an index), mock (in memory), or an installed back end",
        env=("LLMSPELL_RAG_BACKEND",),
    )
    persistence_path: str | None = setting(
        None,
        help="directory of the database; unset is the data directory",
        env=("LLMSPELL_RAG_PERSISTENCE_PATH",),
    )
    hnsw: HnswConfig = setting(factory=HnswConfig, help="the approximate index")

    def __post_init__(self) -> None:
        if not 1 <= self.dimensions <= 10_000:
            raise ConfigurationError(
                f"rag.vector_storage.dimensions must be 1 to 10000, not {self.dimensions}"
            )


@dataclass(frozen=True, slots=True)
class EmbeddingConfig:
    """``[rag.embedding]``."""

    default_provider: str = setting(
        "lexical",
        help="the embedder; lexical works offline",
        aliases=("provider",),
        env=("LLMSPELL_EMBEDDING_PROVIDER",),
    )
    model: str | None = setting(
        None, help="model of an embedder that has several", env=("LLMSPELL_EMBEDDING_MODEL",)
    )
    batch_size: int = setting(
        32, help="texts per call", env=("LLMSPELL_EMBEDDING_BATCH_SIZE",), above_zero=True
    )


@dataclass(frozen=True, slots=True)
class ChunkingConfig:
    """``[rag.chunking]``; sizes count tokens, four characters each."""

    strategy: str | None = setting(
        None,
        help="markdown, sliding_window, fixed, sentence, paragraph, recursive; unset is "
        "markdown for Markdown files, else sliding_window",
    )
    chunk_size: int = setting(512, help="most tokens of a chunk", above_zero=True)
    overlap: int = setting(
        64, help="tokens that neighbours share, less than chunk_size", aliases=("chunk_overlap",)
    )

    def __post_init__(self) -> None:
        if self.overlap < 0:
            raise ConfigurationError(f"rag.chunking.overlap must not be {self.overlap}")


@dataclass(frozen=True, slots=True)
class RetrievalConfig:
    """``[rag.retrieval]``."""

    default_top_k: int = setting(10, help="results of a search", above_zero=True)
    default_threshold: float | None = setting(None, help="least score of a result, 0 to 1")


@dataclass(frozen=True, slots=True)
class IngestSecurityConfig:
    """``[rag.security]``."""

    max_input_size_kb: int | None = setting(
        None, help="largest text that a script may ingest, in KB", above_zero=True
    )


@dataclass(frozen=True, slots=True)
class RagConfig:
    """``[rag]``: ingestion and retrieval."""

    enabled: bool = setting(
        True, help="false takes the global RAG away from scripts", env=("LLMSPELL_RAG_ENABLED",)
    )
    multi_tenant: Any = setting(
        False,
        help="true or a table with `enabled`: scripts are told that tenants are kept apart",
        env=("LLMSPELL_RAG_MULTI_TENANT",),
    )
    default_collection: str = setting("default", help="where documents go if nobody says")
    vector_storage: VectorStorageConfig = setting(
        factory=VectorStorageConfig, help="where vectors are kept"
    )
    embedding: EmbeddingConfig = setting(
        factory=EmbeddingConfig, help="what makes vectors", aliases=("embeddings",)
    )
    chunking: ChunkingConfig = setting(factory=ChunkingConfig, help="how texts are cut")
    retrieval: RetrievalConfig = setting(factory=RetrievalConfig, help="defaults of a search")
    security: IngestSecurityConfig = setting(factory=IngestSecurityConfig, help="limits")
