"""A script's output, passed on line by line."""

from __future__ import annotations

from typing import Literal

from llmspell_core import Output

Stream = Literal["stdout", "stderr"]
_MOST = 64 * 1024
"""Bytes that wait for the end of their line: what a script writes must not pile up here."""


class LineOutput:
    """Collects what is written and hands on complete lines, and long pieces without an end.

    Bytes that are no UTF-8 come out as U+FFFD; a character cut in two by two writes does not.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._partial: dict[Stream, list[bytes]] = {"stdout": [], "stderr": []}
        self._held: dict[Stream, int] = {"stdout": 0, "stderr": 0}

    def write(self, stream: Stream, data: bytes) -> None:
        """Take *data*; whole lines go on at once."""
        partial = self._partial[stream]
        end = data.rfind(b"\n") + 1
        if not end:
            if data:
                partial.append(data)
                self._held[stream] += len(data)
                if self._held[stream] > _MOST:
                    self._hand_on(stream, _whole(b"".join(partial)))
            return
        if partial:
            partial.append(data[:end])
            lines = b"".join(partial)
            partial.clear()
        else:
            lines = data[:end]
        self._held[stream] = 0
        if end < len(data):
            partial.append(data[end:])
            self._held[stream] = len(data) - end
        self._output(stream, lines.decode("utf-8", "replace"))
        if self._held[stream] > _MOST:
            self._hand_on(stream, _whole(b"".join(partial)))

    def _hand_on(self, stream: Stream, split: tuple[bytes, bytes]) -> None:
        text, rest = split
        self._partial[stream] = [rest] if rest else []
        self._held[stream] = len(rest)
        self._output(stream, text.decode("utf-8", "replace"))

    def flush(self, stream: Stream | None = None) -> None:
        """Hand on what has no end of line yet."""
        streams: tuple[Stream, ...] = ("stdout", "stderr") if stream is None else (stream,)
        for name in streams:
            partial = self._partial[name]
            if partial:
                self._hand_on(name, (b"".join(partial), b""))


def _whole(data: bytes) -> tuple[bytes, bytes]:
    """*data* up to its last whole character, and what of the next one is there."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0xC0:  # the first byte of a character
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2
            return (data[:-back], data[-back:]) if back < length else (data, b"")
        if byte < 0x80:
            break
    return data, b""
