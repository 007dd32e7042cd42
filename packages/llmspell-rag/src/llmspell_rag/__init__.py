"""Ingestion, chunking, embedding and retrieval with citations for LLMSpell."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_rag._config import RagConfig as RagConfig
    from llmspell_rag._lexical import LexicalEmbedder as LexicalEmbedder
    from llmspell_rag._lexical import open_lexical as open_lexical
    from llmspell_rag._markdown import MarkdownChunker as MarkdownChunker
    from llmspell_rag._script import RagGlobal as RagGlobal
    from llmspell_rag._sentences import ParagraphChunker as ParagraphChunker
    from llmspell_rag._sentences import RecursiveChunker as RecursiveChunker
    from llmspell_rag._sentences import SentenceChunker as SentenceChunker
    from llmspell_rag._service import RetrievalService as RetrievalService
    from llmspell_rag._service import open_rag as open_rag
    from llmspell_rag._windows import FixedChunker as FixedChunker
    from llmspell_rag._windows import WindowChunker as WindowChunker

__all__ = [
    "FixedChunker",
    "LexicalEmbedder",
    "MarkdownChunker",
    "ParagraphChunker",
    "RagConfig",
    "RagGlobal",
    "RecursiveChunker",
    "RetrievalService",
    "SentenceChunker",
    "WindowChunker",
    "open_lexical",
    "open_rag",
]

_HOMES = {
    "FixedChunker": "_windows",
    "LexicalEmbedder": "_lexical",
    "MarkdownChunker": "_markdown",
    "ParagraphChunker": "_sentences",
    "RagConfig": "_config",
    "RagGlobal": "_script",
    "RecursiveChunker": "_sentences",
    "RetrievalService": "_service",
    "SentenceChunker": "_sentences",
    "WindowChunker": "_windows",
    "open_lexical": "_lexical",
    "open_rag": "_service",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
