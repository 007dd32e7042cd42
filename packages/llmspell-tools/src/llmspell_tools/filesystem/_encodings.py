"""Encodings of text: what they are called, and which one a file has."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from llmspell_core import ValidationError
from llmspell_tools._files import CHUNK

SAMPLE = 1 << 16

_BOMS = (
    # The first two letters of UTF-32's little-endian mark are those of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NAMES = {
    "utf16le": "utf-16-le",
    "utf16be": "utf-16-be",
    "utf32le": "utf-32-le",
    "utf32be": "utf-32-be",
    "windows1252": "cp1252",
    "iso88591": "iso8859-1",
    "latin1": "iso8859-1",
}
_SHOWN = {
    "utf-8": "UTF-8",
    "ascii": "ASCII",
    "utf-16-le": "UTF-16LE",
    "utf-16-be": "UTF-16BE",
    "utf-32-le": "UTF-32LE",
    "utf-32-be": "UTF-32BE",
    "cp1252": "windows-1252",
    "iso8859-1": "ISO-8859-1",
}


@dataclass(frozen=True, slots=True)
class Detected:
    """What a text is written in. `name` is Python's name of the encoding, `confidence` 0 to 1."""

    name: str
    confidence: float
    bom: bytes = b""

    @property
    def shown(self) -> str:
        """The name people know."""
        return shown(self.name)


def shown(name: str) -> str:
    """The name of an encoding that people know."""
    return _SHOWN.get(name, name.upper().replace("_", "-"))


def encoding_named(name: str) -> str:
    """Python's name of the encoding *name*, in any spelling.

    Raises:
        ValidationError: ``Invalid encoding``.
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    try:
        found = codecs.lookup(_NAMES.get(plain, name.strip()))
    except (LookupError, ValueError):
        found = None
    # Codecs such as zlib or rot13 are no encodings of text.
    if found is None or not getattr(found, "_is_text_encoding", True):
        raise ValidationError(
            f"Invalid encoding: '{name}'",
            field="encoding",
            hint="Use utf-8, utf-16le, utf-16be, windows-1252, iso-8859-1, ascii …",
        )
    return found.name


def detect(file: IO[bytes], check: Callable[[], None]) -> Detected:
    """The encoding of what *file* holds: by its mark, as UTF-8 if all of it is that, else by
    what the characters would be. The file is read to its end, and stands at its beginning then;
    *check* ends that by raising.

    Raises:
        ValidationError: for what is no text at all.
    """
    start = file.read(SAMPLE)
    file.seek(0)
    for mark, name in _BOMS:
        if start.startswith(mark):
            return Detected(name, 1.0, mark)
    if b"\0" in start:
        return _wide(start)
    place, ascii_only = _first_that_is_not_utf8(file, check)
    if place is None:
        file.seek(0)
        return Detected("ascii" if ascii_only else "utf-8", 1.0)
    file.seek(max(0, place - SAMPLE // 4))
    sample = file.read(SAMPLE)
    file.seek(0)
    return _guessed(sample)


def _wide(sample: bytes) -> Detected:
    """UTF-16 without a mark: of Western text, every other byte is zero."""
    half = len(sample) // 2
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if sample[first::2].count(0) > half * 0.6 and sample[1 - first :: 2].count(0) < half * 0.1:
            return Detected(name, 0.9)
    raise ValidationError("It is binary: there are zeros in it, as in no text", field="path")


def _first_that_is_not_utf8(file: IO[bytes], check: Callable[[], None]) -> tuple[int | None, bool]:
    """Roughly where the first bytes stand that are no UTF-8, and whether all was ASCII."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    place, ascii_only = 0, True
    while piece := file.read(CHUNK):
        check()
        ascii_only = ascii_only and piece.isascii()
        try:
            decoder.decode(piece)
        except UnicodeDecodeError as error:
            return place + error.start, False
        place += len(piece)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return place, False
    return None, ascii_only


def _guessed(sample: bytes) -> Detected:
    from charset_normalizer import from_bytes

    found = from_bytes(sample).best()
    if found is None:
        return Detected("cp1252", 0.1)
    return Detected(codecs.lookup(found.encoding).name, round(1 - found.chaos, 2))


def line_ending_of(file: IO[bytes], detected: Detected, check: Callable[[], None]) -> str:
    """``LF``, ``CRLF``, ``CR``, ``Mixed``, or ``None`` for a text of one line."""
    seen: set[str] = set()
    decoder = codecs.getincrementaldecoder(detected.name)("replace")
    rest = ""
    while len(seen) < 2 and (piece := file.read(CHUNK)):
        check()
        text = rest + decoder.decode(piece)
        rest = "\r" if text.endswith("\r") else ""
        seen |= _endings(text.removesuffix("\r"))
    file.seek(0)
    if rest:
        seen.add("CR")
    if len(seen) > 1:
        return "Mixed"
    return seen.pop() if seen else "None"


def _endings(text: str) -> set[str]:
    pairs = text.count("\r\n")
    counts = {"CRLF": pairs, "LF": text.count("\n") - pairs, "CR": text.count("\r") - pairs}
    return {name for name, count in counts.items() if count}
