"""Chunkers that slide a window over the text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from llmspell_core import Chunk, Chunker
from llmspell_rag._spans import (
    CHARACTERS_PER_TOKEN,
    Splitter,
    check_size,
    make_chunks,
    sentences,
    words,
)


class WindowChunker(Chunker):
    """``sliding_window``: windows of *size* that share *overlap*. A window ends behind a
    sentence if there is one in its second half, else between words, and begins with a word.
    """

    boundaries: ClassVar[tuple[Splitter, ...]] = (sentences, words)

    def chunk(self, text: str, *, size: int, overlap: int) -> list[Chunk]:
        check_size(size, overlap)
        width, shared = size * CHARACTERS_PER_TOKEN, overlap * CHARACTERS_PER_TOKEN
        return make_chunks(text, ((a, b, "") for a, b in self._windows(text, width, shared)))

    def _windows(self, text: str, width: int, shared: int) -> Iterator[tuple[int, int]]:
        start = end = 0
        while end < len(text):
            while start < len(text) and text[start].isspace():
                start += 1  # else two windows could begin with the same word
            end = self._cut(text, start, min(start + width, len(text)), max(end, start))
            yield start, end
            start = self._begin(text, max(end - shared, start + 1), end)

    def _cut(self, text: str, start: int, end: int, behind: int) -> int:
        if end == len(text):
            return end
        least = max(start + (end - start) // 2, behind + 1)
        for split in self.boundaries:
            cuts = [stop for _, stop in split(text, start, end)[:-1]]
            if cuts and cuts[-1] >= least:
                return cuts[-1]
        return end

    def _begin(self, text: str, wanted: int, end: int) -> int:
        """Where the next window begins: at the first word from *wanted* on."""
        if not self.boundaries:
            return wanted
        at = wanted
        while at < end and not text[at - 1].isspace():
            at += 1
        # A text without spaces has no words to begin with.
        return at if at < end or wanted == end else wanted


class FixedChunker(WindowChunker):
    """``fixed``: windows of exactly *size* that share exactly *overlap*, whatever they cut."""

    boundaries = ()
