"""Pieces of text as ``(start, end)`` spans: splitting, packing, and chunks made of them.

Spans are in code points. Those of one split follow each other without gaps, so that whatever is
packed from them covers the text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence

from llmspell_core import Chunk

CHARACTERS_PER_TOKEN = 4

Span = tuple[int, int]
Splitter = Callable[[str, int, int], list[Span]]

_SENTENCE = re.compile(
    "[.!?\u2026]+[\"'\u201d\u2019\u00bb)\\]]*\\s+"  # a stop before white space
    "|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d]*\\s*"  # a full-width one needs none
    r"|\n[ \t\r]*\n\s*"  # a blank line
)
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n\s*")
_LINE = re.compile(r"\n")
_WORD = re.compile(r"\s+")


def token_count(text: str) -> int:
    """Tokens, estimated: four characters each, rounded up."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def check_size(size: int, overlap: int) -> None:
    """Raise ValueError for sizes that cannot be met."""
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    if not 0 <= overlap < size:
        raise ValueError(f"overlap must be at least 0 and less than size ({size}), not {overlap}")


class Lines:
    """Line numbers of positions in a text."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in _LINE.finditer(text))]

    def at(self, position: int) -> int:
        """The line, from 1, that the position is in."""
        return bisect_right(self._starts, position)


def make_chunks(text: str, spans: Iterable[tuple[int, int, str]]) -> list[Chunk]:
    """A chunk for each span with its heading, without the white space around it; spans of
    nothing else are left out.
    """
    lines = Lines(text)
    chunks: list[Chunk] = []
    for start, end, heading in spans:
        piece = text[start:end]
        begin = start + len(piece) - len(piece.lstrip())
        piece = piece.strip()
        stop = begin + len(piece)
        if not piece or (chunks and (stop <= chunks[-1].end or begin <= chunks[-1].start)):
            continue
        chunks.append(
            Chunk(piece, begin, stop, lines.at(begin), lines.at(stop), heading, token_count(piece))
        )
    return chunks


def _split_behind(pattern: re.Pattern[str]) -> Splitter:
    def split(text: str, start: int, end: int) -> list[Span]:
        cuts = [m.end() for m in pattern.finditer(text, start, end) if start < m.end() < end]
        return list(zip([start, *cuts], [*cuts, end], strict=True))

    return split


sentences = _split_behind(_SENTENCE)
paragraphs = _split_behind(_BLANK_LINE)
lines_of = _split_behind(_LINE)
words = _split_behind(_WORD)


def pieces(text: str, start: int, end: int, width: int) -> list[Span]:
    """Spans of *width* characters, cut wherever that is."""
    return [(at, min(at + width, end)) for at in range(start, end, width)]


def fitting(
    text: str, start: int, end: int, width: int, splitters: Sequence[Splitter]
) -> Iterator[Span]:
    """Spans of at most *width* characters: what does not fit is split by the next splitter."""
    if end - start <= width:
        yield start, end
    elif not splitters:
        yield from pieces(text, start, end, width)
    else:
        for begin, stop in splitters[0](text, start, end):
            yield from fitting(text, begin, stop, width, splitters[1:])


def packed(spans: Sequence[Span], width: int, shared: int) -> Iterator[Span]:
    """Neighbouring spans joined up to *width* characters. Each begins with the last spans of
    the one before that together have at most *shared* characters, and goes on behind it.
    """
    first = fresh = 0
    while fresh < len(spans):
        # What is shared must leave room for something new.
        while first < fresh and spans[fresh][1] - spans[first][0] > width:
            first += 1
        start = spans[first][0]
        while fresh < len(spans) and (fresh == first or spans[fresh][1] - start <= width):
            fresh += 1
        end = spans[fresh - 1][1]
        yield start, end
        begin = first
        first = fresh
        while first - 1 > begin and end - spans[first - 1][0] <= shared:
            first -= 1
