"""The conformance suites of the bases this package implements."""

import pytest

from llmspell_core import Chunker, Embedder
from llmspell_rag import (
    FixedChunker,
    LexicalEmbedder,
    MarkdownChunker,
    ParagraphChunker,
    RecursiveChunker,
    SentenceChunker,
    WindowChunker,
)
from llmspell_testing import ChunkerSuite, EmbedderSuite


class TestLexicalEmbedder(EmbedderSuite):
    @pytest.fixture
    def embedder(self) -> Embedder:
        return LexicalEmbedder()


class TestLexicalEmbedderWithFewDimensions(EmbedderSuite):
    @pytest.fixture
    def embedder(self) -> Embedder:
        return LexicalEmbedder(64)


class TestMarkdownChunker(ChunkerSuite):
    @pytest.fixture
    def chunker(self) -> Chunker:
        return MarkdownChunker()


class TestWindowChunker(ChunkerSuite):
    @pytest.fixture
    def chunker(self) -> Chunker:
        return WindowChunker()


class TestFixedChunker(ChunkerSuite):
    @pytest.fixture
    def chunker(self) -> Chunker:
        return FixedChunker()


class TestSentenceChunker(ChunkerSuite):
    @pytest.fixture
    def chunker(self) -> Chunker:
        return SentenceChunker()


class TestParagraphChunker(ChunkerSuite):
    @pytest.fixture
    def chunker(self) -> Chunker:
        return ParagraphChunker()


class TestRecursiveChunker(ChunkerSuite):
    @pytest.fixture
    def chunker(self) -> Chunker:
        return RecursiveChunker()
