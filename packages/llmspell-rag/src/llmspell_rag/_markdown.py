"""`MarkdownChunker`: a chunk is a section or a part of one, and knows its headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from llmspell_core import Chunk, Chunker
from llmspell_rag._spans import (
    CHARACTERS_PER_TOKEN,
    Span,
    check_size,
    fitting,
    lines_of,
    make_chunks,
    packed,
    sentences,
    words,
)

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*\r?$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*\r?$")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")


@dataclass(slots=True)
class _Block:
    """Lines that belong together: a paragraph with the blank lines behind it, a fenced code
    block, a heading (`level` 1 to 6).
    """

    start: int
    end: int
    level: int = 0
    title: str = ""
    code: bool = False


class MarkdownChunker(Chunker):
    """``markdown``: by heading. A chunk never reaches into the next section; the heading of a
    section without text of its own goes with the subsection below it. A section that is too
    long is cut between paragraphs; a fenced code block is cut only if it alone is too long,
    then between lines.
    """

    def chunk(self, text: str, *, size: int, overlap: int) -> list[Chunk]:
        check_size(size, overlap)
        width, shared = size * CHARACTERS_PER_TOKEN, overlap * CHARACTERS_PER_TOKEN
        spans = (
            (start, end, heading)
            for blocks, heading in _sections(_blocks(text))
            for start, end in packed(list(_units(text, blocks, width)), width, shared)
        )
        return make_chunks(text, spans)


def _units(text: str, blocks: list[_Block], width: int) -> Iterator[Span]:
    for block in blocks:
        finer = (lines_of,) if block.code else (lines_of, sentences, words)
        yield from fitting(text, block.start, block.end, width, finer)


def _blocks(text: str) -> Iterator[_Block]:
    fence = ""
    block: _Block | None = None
    blank = False
    position = 0
    for line in _LINE.findall(text):
        start, position = position, position + len(line)
        bare = line.rstrip("\n")
        opened = _FENCE.match(bare)
        if fence:
            assert block is not None
            block.end = position
            if opened and opened[1].startswith(fence) and not opened[2].strip():
                fence, blank = "", True
            continue
        heading = _HEADING.match(bare)
        under = _UNDERLINE.match(bare) if block and not blank and not block.code else None
        if under and block and not block.level and text.count("\n", block.start, start) == 1:
            block.level = 1 if under[1][0] == "=" else 2
            block.title, block.end, blank = text[block.start : start].strip(), position, True
        elif opened and not (opened[1][0] == "`" and "`" in opened[2]):
            if block:
                yield block
            fence, block, blank = opened[1], _Block(start, position, code=True), False
        elif heading:
            if block:
                yield block
            title = (heading[2] or "").strip()
            block, blank = _Block(start, position, len(heading[1]), title), True
        elif not bare.strip():
            block = block or _Block(start, position)
            block.end, blank = position, True
        elif block is None or blank:
            if block:
                yield block
            block, blank = _Block(start, position), False
        else:
            block.end = position
    if block:
        yield block


def _sections(blocks: Iterator[_Block]) -> Iterator[tuple[list[_Block], str]]:
    """The blocks under each heading, with the path of headings above and at it."""
    path: list[tuple[int, str]] = []
    section: list[_Block] = []
    for block in blocks:
        if block.level:
            bare = bool(section) and section[-1].level > 0
            if section and not (bare and block.level > section[-1].level):
                yield section, _joined(path)
                section = []
            while path and path[-1][0] >= block.level:
                path.pop()
            path.append((block.level, _plain(block.title)))
        section.append(block)
    if section:
        yield section, _joined(path)


def _joined(path: list[tuple[int, str]]) -> str:
    return " > ".join(title for _, title in path if title)


def _plain(title: str) -> str:
    """A title without links and emphasis marks."""
    return _LINK.sub(r"\1", title).replace("`", "").replace("**", "").strip()
