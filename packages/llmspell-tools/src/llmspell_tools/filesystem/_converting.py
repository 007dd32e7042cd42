"""Turning text into other text, a piece at a time, whatever its size."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterator
from typing import IO

from llmspell_core import ValidationError
from llmspell_tools._files import CHUNK
from llmspell_tools._threads import Stop
from llmspell_tools.filesystem._encodings import Detected, shown

LONGEST_INDENT = 1 << 20
MOST_INDENTS = 1000
LONGEST_KEPT = 1000

Pieces = Iterator[str]
Change = Callable[[Pieces], Pieces]

LINE_ENDINGS = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}


def decoded(file: IO[bytes], name: str, stop: Stop) -> Pieces:
    """The text of *file* in the encoding *name*, without a byte order mark.

    Raises:
        ValidationError: where it is none.
    """
    decoder = codecs.getincrementaldecoder(name)()
    first, place = True, 0
    while True:
        piece = file.read(CHUNK)
        stop.check()
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            raise ValidationError(
                f"The file is not {shown(name)}: byte 0x{error.object[error.start]:02x} near "
                f"position {place + error.start}",
                field="from_encoding",
                hint="Leave from_encoding out to have it detected.",
            ) from None
        place += len(piece)
        if first and text:
            text, first = text.removeprefix("\ufeff"), False
        yield text
        if not piece:
            return


def encoded(text: Pieces, name: str) -> Iterator[bytes]:
    """The bytes of *text*.

    Raises:
        ValidationError: for a character that the encoding has not.
    """
    encoder = codecs.getincrementalencoder(name)()
    for piece in text:
        try:
            yield encoder.encode(piece)
        except UnicodeEncodeError as error:
            character = error.object[error.start]
            raise ValidationError(
                f"The character '{character}' (U+{ord(character):04X}) does not exist in "
                f"{shown(name)}",
                field="to_encoding",
                hint="Choose utf-8, which has them all.",
            ) from None


def kept(detected: Detected) -> str:
    """An encoding in which every byte survives that is neither line end nor indentation."""
    return detected.name if detected.name.startswith(("utf-16", "utf-32")) else "iso8859-1"


def line_endings(ending: str) -> Change:
    """Every line end becomes *ending*, a carriage return of its own too."""

    def change(pieces: Pieces) -> Pieces:
        decoder = io.IncrementalNewlineDecoder(None, translate=True)
        for piece in pieces:
            yield decoder.decode(piece).replace("\n", ending)
        yield decoder.decode("", final=True).replace("\n", ending)

    return change


_INDENT = re.compile(r"(?:(?<=[\n\r])|\A)[ \t]+")
_INNER_INDENT = re.compile(r"(?<=[\n\r])[ \t]+")


class _Indents(dict[str, str]):
    """What a run of blanks becomes; there are few different ones in a text."""

    def __init__(self, size: int, *, to_spaces: bool) -> None:
        super().__init__()
        self._size = size
        self._to_spaces = to_spaces

    def __missing__(self, blanks: str) -> str:
        size = self._size
        width = len(blanks.expandtabs(size))
        made = " " * width if self._to_spaces else "\t" * (width // size) + " " * (width % size)
        if len(self) < MOST_INDENTS and len(blanks) < LONGEST_KEPT:
            self[blanks] = made
        return made


def indentation(size: int, *, to_spaces: bool) -> Change:
    """Tabs at the beginning of lines become spaces up to the next multiple of *size*, or spaces
    tabs.
    """
    known = _Indents(size, to_spaces=to_spaces)

    def indent(found: re.Match[str]) -> str:
        return known[found.group()]

    def change(pieces: Pieces) -> Pieces:
        held = ""
        at_start = True
        for piece in pieces:
            text = held + piece
            # Blanks at the end may go on in the next piece.
            solid = text.rstrip(" \t")
            held = text[len(solid) :]
            if len(held) > LONGEST_INDENT:
                raise ValidationError(
                    f"There are more than {LONGEST_INDENT} blanks in a row", field="path"
                )
            if solid:
                yield (_INDENT if at_start else _INNER_INDENT).sub(indent, solid)
                at_start = solid[-1] in "\n\r"
        if held:
            yield _INDENT.sub(indent, held) if at_start else held

    return change
