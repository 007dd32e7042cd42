"""Chunkers that pack whole sentences, paragraphs, or whatever fits."""

from __future__ import annotations

from typing import ClassVar

from llmspell_core import Chunk, Chunker
from llmspell_rag._spans import (
    CHARACTERS_PER_TOKEN,
    Splitter,
    check_size,
    fitting,
    lines_of,
    make_chunks,
    packed,
    paragraphs,
    sentences,
    words,
)


class _Packing(Chunker):
    """Splits by `always`, what is too long by `then`, and packs what results."""

    always: ClassVar[tuple[Splitter, ...]] = ()
    then: ClassVar[tuple[Splitter, ...]] = ()

    def chunk(self, text: str, *, size: int, overlap: int) -> list[Chunk]:
        check_size(size, overlap)
        width = size * CHARACTERS_PER_TOKEN
        whole = [(0, len(text))]
        for split in self.always:
            whole = split(text, 0, len(text))
        units = [
            span for start, end in whole for span in fitting(text, start, end, width, self.then)
        ]
        joined = packed(units, width, overlap * CHARACTERS_PER_TOKEN)
        return make_chunks(text, ((start, end, "") for start, end in joined))


class SentenceChunker(_Packing):
    """``sentence``: whole sentences; one that is longer than a chunk is split between words."""

    always = (sentences,)
    then = (words,)


class ParagraphChunker(_Packing):
    """``paragraph``: whole paragraphs (blank lines between them); a long one is split into
    sentences.
    """

    always = (paragraphs,)
    then = (sentences, words)


class RecursiveChunker(_Packing):
    """``recursive``: splits at blank lines, and only what is still too long at line breaks,
    then behind sentences, then between words.
    """

    then = (paragraphs, lines_of, sentences, words)
