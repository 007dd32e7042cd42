"""A script's output, passed on line by line."""

from __future__ import annotations

from typing import Literal

from llmspell_core import Output

Stream = Literal["stdout", "stderr"]


class LineOutput:
    """Collects what is written and hands on complete lines.

    Bytes that are no UTF-8 come out as U+FFFD; a character cut in two by two writes does not.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._partial: dict[Stream, list[bytes]] = {"stdout": [], "stderr": []}

    def write(self, stream: Stream, data: bytes) -> None:
        """Take *data*; whole lines go on at once."""
        partial = self._partial[stream]
        end = data.rfind(b"\n") + 1
        if not end:
            if data:
                partial.append(data)
            return
        if partial:
            partial.append(data[:end])
            lines = b"".join(partial)
            partial.clear()
        else:
            lines = data[:end]
        if end < len(data):
            partial.append(data[end:])
        self._output(stream, lines.decode("utf-8", "replace"))

    def flush(self, stream: Stream | None = None) -> None:
        """Hand on what has no end of line yet."""
        streams: tuple[Stream, ...] = ("stdout", "stderr") if stream is None else (stream,)
        for name in streams:
            partial = self._partial[name]
            if partial:
                text = b"".join(partial).decode("utf-8", "replace")
                partial.clear()
                self._output(name, text)
