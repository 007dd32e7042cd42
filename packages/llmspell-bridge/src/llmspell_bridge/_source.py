"""A script's text on its way to the compiler."""

from __future__ import annotations

from llmspell_bridge._config import MAX_SOURCE_BYTES
from llmspell_core import ResourceLimitError, ScriptError, Source


def prepare(text: str | bytes, name: str) -> bytes:
    """The bytes to compile: checked, without a ``#!`` line, ``:then(`` made parseable.

    Raises:
        ResourceLimitError: for more than 10 MB.
        ScriptError: for a compiled chunk or another binary file.
    """
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    if len(raw) > MAX_SOURCE_BYTES:
        raise ResourceLimitError("source", limit=MAX_SOURCE_BYTES, used=len(raw))
    if raw[:1] == b"\x1b" or b"\0" in raw:
        kind = "a compiled chunk" if raw[:1] == b"\x1b" else "a binary file"
        raise ScriptError(
            f"{name}: {kind} is not a script",
            language="lua",
            hint="Run the Lua source text.",
            code="SCRIPT_BINARY",
        )
    if raw[:3] == b"\xef\xbb\xbf":
        raw = raw[3:]
    if raw[:1] == b"#":
        end = raw.find(b"\n")
        raw = b"" if end < 0 else raw[end:]
    return rewrite_then(raw)


def rewrite_then(raw: bytes) -> bytes:
    """``promise:then(f)`` → ``promise:next(f)`` outside strings and comments.

    `then` is reserved, so the tokens ``: then (`` never occur in a valid program. The
    replacement has the same length: columns stay.
    """
    if b"then" not in raw:
        return raw
    import re

    if re.search(rb":\s*then\s*\(", raw) is None:
        return raw
    token = re.compile(
        rb"(?P<long>(?:--)?\[(?P<level>=*)\[)"
        rb"|--[^\n]*"
        rb'|"(?:\\.|[^"\\\n])*+"'
        rb"|'(?:\\.|[^'\\\n])*+'"
        rb"|::"
        rb"|:\s*+(?P<then>then)\s*+\(",
        re.DOTALL,
    )
    pieces: list[bytes] = []
    done = at = 0
    while (found := token.search(raw, at)) is not None:
        at = found.end()
        if found["long"] is not None:
            close = raw.find(b"]" + found["level"] + b"]", at)
            if close < 0:  # all that follows is in it
                break
            at = close + 2 + len(found["level"])
        elif found["then"] is not None:
            pieces += (raw[done : found.start("then")], b"next")
            done = found.end("then")
    return b"".join(pieces) + raw[done:]


def chunk_name(source: Source) -> bytes:
    """Lua's name for the chunk: the file's, or its own text for inline code."""
    if source.path is None and (not source.name or source.name.startswith("<")):
        return source.text.encode("utf-8", "surrogateescape")
    return b"@" + source.name.encode("utf-8", "surrogateescape")
