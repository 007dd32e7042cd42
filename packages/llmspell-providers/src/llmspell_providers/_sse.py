"""Server-sent events, as far as model providers use them."""

from __future__ import annotations

import re
from typing import Self

_LINE_END = re.compile(rb"\r\n|\n|\r")


class SseEvent(str):
    """The ``data`` of an event; `name` is what it is called, ``message`` if nothing else."""

    name: str

    def __new__(cls, data: str, name: str = "message") -> Self:
        """Of *data*."""
        made = super().__new__(cls, data)
        made.name = name
        return made


class SseParser:
    """Turns bytes, cut anywhere, into events.

    Follows https://html.spec.whatwg.org/multipage/server-sent-events.html, except that an
    event at the end of the stream counts without its blank line: some servers forget it.
    """

    def __init__(self) -> None:
        self._open: list[bytes] = []
        self._data: list[str] = []
        self._name = ""

    def feed(self, piece: bytes) -> list[SseEvent]:
        """The events that *piece* completes."""
        if self._open and self._open[-1] == b"\r":
            # It waited to see whether it is half of "\r\n".
            piece = self._open.pop() + piece
        held = piece.endswith(b"\r")
        # Only the new piece is looked through, however long the open line has become.
        *lines, rest = _LINE_END.split(piece[:-1] if held else piece)
        if lines:
            lines[0] = b"".join([*self._open, lines[0]])
            self._open.clear()
        self._open += [part for part in (rest, b"\r" if held else b"") if part]
        return [event for line in lines if (event := self._line(line)) is not None]

    def close(self) -> list[SseEvent]:
        """The events that the end of the stream completes."""
        lines = _LINE_END.split(b"".join(self._open))
        self._open.clear()
        made = [event for line in lines if line and (event := self._line(line)) is not None]
        last = self._line(b"")
        return made if last is None else [*made, last]

    def _line(self, line: bytes) -> SseEvent | None:
        if not line:
            name, self._name = self._name or "message", ""
            if not self._data:
                return None
            event = SseEvent("\n".join(self._data), name)
            self._data.clear()
            return event
        if line.startswith(b"event:"):
            self._name = line[6:].decode("utf-8", "replace").strip()
        if line.startswith(b"data:"):
            value = line[5:]
            text = value[1:] if value.startswith(b" ") else value
            self._data.append(text.decode("utf-8", "replace"))
        return None
