"""Whether code is finished, told by Lua's own compiler."""

from __future__ import annotations

from typing import Any

from llmspell_bridge._source import prepare
from llmspell_bridge._tokens import Token, tokens
from llmspell_core import Completeness, LLMSpellError

_OPENERS = frozenset({"function", "do", "then", "repeat", "(", "[", "{"})
_CLOSERS = frozenset({"end", "until", "elseif", ")", "]", "}"})
_MEMORY = 256 * 1024 * 1024


def completeness(code: str, module: Any) -> Completeness:
    """Compile *code* with the lupa module, as an expression and as a program; nothing runs.

    Code is incomplete where Lua expects more behind its end, or a quoted string is open there.
    """
    try:
        text = prepare(code, "input")
    except LLMSpellError:  # a binary file, or more than a script may have
        return Completeness("invalid")
    runtime = module.LuaRuntime(
        encoding=None, register_eval=False, register_builtins=False, max_memory=_MEMORY
    )
    compile = runtime.execute(
        b"local load = loadstring or load "
        b"return function(text) local f, message = load(text, '=input') return message end"
    )
    try:
        messages = [compile(b"return " + text + b"\n"), compile(text)]
    except module.LuaMemoryError:
        return Completeness("unknown")
    if None in messages:
        return Completeness("complete")
    found = tokens(code)
    if any(_at_end(message) or _in_quote(message, found) for message in messages):
        return Completeness("incomplete", _indent(found))
    return Completeness("invalid")


def _at_end(message: bytes) -> bool:
    # 5.1 quotes the end: near '<eof>'.
    return message.rstrip(b"'").endswith(b"<eof>")


def _in_quote(message: bytes, found: list[Token]) -> bool:
    return b": unfinished string near" in message and bool(found) and found[-1].open


def _indent(found: list[Token]) -> str:
    """Two spaces for each block and bracket that is open; nothing inside a string or comment."""
    if found and found[-1].open:
        return ""
    depth = 0
    before = ""
    for token in found:
        if token.kind in {"keyword", "symbol"}:
            if token.text in _OPENERS and (token.text, before) != ("then", ":"):
                depth += 1
            elif token.text in _CLOSERS:
                depth -= 1
        before = token.text
    return "  " * max(0, depth)
