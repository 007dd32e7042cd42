"""The tokens of Lua source text, also of text that is not finished yet.

Lua 5.4 reference manual, §3.1 (https://www.lua.org/manual/5.4/manual.html#3.1). Nothing raises:
what is no token is one of kind ``other``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

TokenKind = Literal["name", "keyword", "number", "string", "comment", "symbol", "other"]

KEYWORDS = frozenset(
    {
        *("and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if"),
        *("in", "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while"),
    }
)

_LONG = re.compile(r"(?:--)?\[(=*)\[")
_TOKEN = re.compile(
    r"(?P<name>[A-Za-z_]\w*)"
    r"|(?P<number>0[xX][0-9a-fA-F.]*(?:[pP][+-]?\d+)?|\.?\d[\d.]*(?:[eE][+-]?\d*)?)"
    r"|(?P<symbol>\.\.\.|\.\.|==|~=|<=|>=|<<|>>|//|::|[-+*/%^#&~|<>=(){}\[\];:,.])"
    r"|(?P<other>[^\s])",
    re.ASCII,
)
_SPACE = re.compile(r"\s+")
_QUOTED = {
    quote: re.compile(rf"{quote}(?:[^{quote}\\\n]|\\z\s*|\\[\s\S])*({quote}|\\?$)?", re.MULTILINE)
    for quote in "'\""
}


@dataclass(frozen=True, slots=True)
class Token:
    """A token; `open` is true for a string or comment that lacks its end."""

    kind: TokenKind
    text: str
    start: int
    end: int
    open: bool = False


def is_name(text: str) -> bool:
    """Whether *text* can stand as a name in code."""
    return text.isidentifier() and text.isascii() and text not in KEYWORDS


def tokens(code: str) -> list[Token]:
    """All tokens of *code* in order, comments included."""
    made: list[Token] = []
    at, size = 0, len(code)
    if code.startswith("#"):  # a line for the shell
        at = code.find("\n")
        at = size if at < 0 else at
    while at < size:
        space = _SPACE.match(code, at)
        if space is not None:
            at = space.end()
            continue
        token = _next(code, at, size)
        made.append(token)
        at = token.end
    return made


def _next(code: str, at: int, size: int) -> Token:
    first = code[at]
    if first in "[-":
        long = _LONG.match(code, at)
        if long is not None:
            kind: TokenKind = "comment" if first == "-" else "string"
            close = f"]{long[1]}]"
            end = code.find(close, long.end())
            stop = size if end < 0 else end + len(close)
            return Token(kind, code[at:stop], at, stop, end < 0)
        if code.startswith("--", at):
            end = code.find("\n", at)
            stop = size if end < 0 else end
            # On the last line one may still write on in it.
            return Token("comment", code[at:stop], at, stop, end < 0)
    if first in _QUOTED:
        return _quoted(code, at, first)
    found = _TOKEN.match(code, at)
    assert found is not None  # `other` takes whatever there is
    text = found[0]
    if text in KEYWORDS:
        return Token("keyword", text, at, found.end())
    return Token(cast("TokenKind", found.lastgroup), text, at, found.end())


def _quoted(code: str, at: int, quote: str) -> Token:
    found = _QUOTED[quote].match(code, at)
    assert found is not None  # the quote itself matches
    text = found[0]
    closed = len(text) > 1 and text.endswith(quote) and found[1] == quote
    return Token("string", text, at, found.end(), not closed)
