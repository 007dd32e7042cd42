"""What a jq program may not name: the environment, other inputs, modules, files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmspell_core import ValidationError

_BANNED = frozenset(
    {
        "builtins",
        "debug",
        "env",
        "get_search_list",
        "halt",
        "halt_error",
        "import",
        "include",
        "input",
        "input_filename",
        "input_line_number",
        "inputs",
        "modulemeta",
        "stderr",
    }
)
_BANNED_VARIABLES = frozenset({"$ENV", "$__loc__", "$__prog_args"})
_BANNED_TEXT = ("/etc/", "/proc/", "passwd", "shadow")

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<field>\.\s*[A-Za-z_][A-Za-z0-9_]*)
      | (?P<variable>\$\s*[A-Za-z_][A-Za-z0-9_:]*)
      | (?P<format>@[A-Za-z0-9_]+)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z_][A-Za-z0-9_]*)*)
      | (?P<quote>")
      | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_KEY = re.compile(r"\s*:(?!:)")


def check_program(program: str) -> None:
    """Refuse a program that reaches beyond its input.

    Words are matched as jq reads them, so fields called ``.input`` or ``.environment`` and keys
    of objects are fine.

    Raises:
        ValidationError: ``Security: JQ query contains …``.
    """
    for found in _findings(program):
        raise ValidationError(
            f"Security: JQ query contains '{found}', which is not allowed here",
            field="query",
            hint="A query sees its input and nothing else.",
        )


def _findings(program: str) -> Iterator[str]:
    for kind, text, follows_key in _tokens(program):
        if (kind == "word" and text in _BANNED and not follows_key) or (
            kind == "variable" and text.replace(" ", "") in _BANNED_VARIABLES
        ):
            yield text
        elif kind == "string":
            for word in _BANNED_TEXT:
                if word in text:
                    yield word


def _tokens(program: str) -> Iterator[tuple[str, str, bool]]:
    """Kind, text, and whether it is the key of an object (``{input: 1}``).

    String literals come as ``string``; what is interpolated in them, as tokens.
    """
    place = 0
    braces: list[str] = []
    while place < len(program):
        found = _TOKEN.match(program, place)
        assert found is not None
        kind, text = str(found.lastgroup), found.group()
        place = found.end()
        if kind == "quote":
            literal, place, inner = _string(program, place)
            yield "string", literal, False
            for part in inner:
                yield from _tokens(part)
            continue
        if text in ("{", "(", "["):
            braces.append(text)
        elif text in ("}", ")", "]") and braces:
            braces.pop()
        in_object = bool(braces) and braces[-1] == "{"
        key = kind == "word" and in_object and _KEY.match(program, place) is not None
        yield kind, text, key


def _string(program: str, place: int) -> tuple[str, int, list[str]]:
    literal: list[str] = []
    inner: list[str] = []
    while place < len(program):
        character = program[place]
        if character == '"':
            return "".join(literal), place + 1, inner
        if character == "\\" and place + 1 < len(program):
            if program[place + 1] == "(":
                end = _closing(program, place + 2)
                inner.append(program[place + 2 : end])
                place = end + 1
                continue
            escaped, place = _escape(program, place)
            literal.append(escaped)
            continue
        literal.append(character)
        place += 1
    return "".join(literal), place, inner


def _escape(program: str, place: int) -> tuple[str, int]:
    # \u0070asswd is passwd: the check sees what jq will see.
    digits = program[place + 2 : place + 6]
    if program[place + 1] == "u" and re.fullmatch(r"[0-9a-fA-F]{4}", digits):
        return chr(int(digits, 16)), place + 6
    return program[place + 1], place + 2


def _closing(program: str, place: int) -> int:
    depth = 1
    while place < len(program):
        character = program[place]
        if character == '"':
            _, place, _ = _string(program, place + 1)
            continue
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return place
        place += 1
    return place
