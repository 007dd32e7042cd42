"""What a text of SQL is: one statement, of which kind, with which places for values.

The database enforces what a statement may do (a read-only transaction, an authorizer); this only
finds out what is wanted, follows the same lexical rules as the server, and refuses what different
servers read differently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

from llmspell_core import SecurityError, ValidationError

Dialect = Literal["sqlite", "postgresql", "mysql"]

LONGEST = 1_000_000
DDL = frozenset({"CREATE", "DROP", "ALTER", "TRUNCATE", "RENAME"})
DML = frozenset({"INSERT", "UPDATE", "DELETE"})

_WORD = re.compile(r"[^\W\d][\w$]*")
_NUMBER = re.compile(r"\d[\w.]*")
_DOLLAR = re.compile(r"\$(?:[^\W\d]\w*)?\$")
_NUMBERED = re.compile(r"\$(\d+)")
_NAMED = re.compile(r":([^\W\d]\w*)")
_VERBS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "TABLE"})
_FUNCTIONS = frozenset(
    {
        # Files of the server's machine, its processes, other servers, programs.
        "load_file",
        "sys_exec",
        "sys_eval",
        "pg_read_file",
        "pg_read_binary_file",
        "pg_ls_dir",
        "pg_stat_file",
        "pg_file_write",
        "lo_import",
        "lo_export",
        "pg_terminate_backend",
        "pg_cancel_backend",
        "pg_reload_conf",
        "pg_rotate_logfile",
        "set_config",
        "load_extension",
        "exec",
        "execute",
    }
)
_FUNCTION_FAMILIES = ("dblink", "sp_", "xp_", "pg_ls_")


class Token(NamedTuple):
    """A piece of the text. `kind` is ``word, number, string, name, place`` (for a value), ``sign``
    or ``blank`` (comments too); a name is a quoted identifier, `text` of which is without quotes
    where it is compared.
    """

    kind: str
    text: str
    plain: str = ""


def _unsafe(why: str) -> SecurityError:
    return SecurityError(
        f"Query contains potentially unsafe patterns: {why}",
        violation_type="sql",
        hint="Send one statement, and its values as params.",
    )


# Reading -------------------------------------------------------------------------------------


class _Scanner:
    def __init__(self, text: str, dialect: Dialect) -> None:
        self._text = text
        self._dialect: Dialect = dialect
        self._at = 0

    def tokens(self) -> list[Token]:
        made: list[Token] = []
        while self._at < len(self._text):
            made.append(self._next())
        return made

    def _take(self, kind: str, end: int, plain: str = "") -> Token:
        text = self._text[self._at : end]
        self._at = end
        return Token(kind, text, plain)

    def _next(self) -> Token:
        text, at = self._text, self._at
        character = text[at]
        pair = text[at : at + 2]
        if character.isspace():
            return self._take("blank", at + 1)
        if self._begins_comment(pair):
            return self._comment(pair)
        if character == "'" or (character == '"' and self._dialect == "mysql"):
            return self._string(at, escapes=False)
        if character in "eE" and text[at + 1 : at + 2] == "'" and self._dialect == "postgresql":
            return self._string(at + 1, escapes=True)
        if character in '"`[':
            return self._quoted(character)
        return self._plain(character)

    def _plain(self, character: str) -> Token:
        text, at = self._text, self._at
        if character == "$":
            return self._dollar()
        if character == "?":
            return self._take("place", at + 1, "?")
        if character == ":":
            found = _NAMED.match(text, at)
            before = text[at - 1 : at]
            if found is not None and before != ":":
                return self._take("place", found.end(), found.group(1))
            return self._take("sign", at + 1)
        for pattern, kind in ((_WORD, "word"), (_NUMBER, "number")):
            found = pattern.match(text, at)
            if found is not None:
                return self._take(kind, found.end(), found.group().upper())
        return self._take("sign", at + 1)

    def _begins_comment(self, pair: str) -> bool:
        if pair == "/*" or (pair[0] == "#" and self._dialect == "mysql"):
            return True
        if pair != "--":
            return False
        # MySQL takes -- for a comment only before a blank: 5--3 is a sum there.
        after = self._text[self._at + 2 : self._at + 3]
        return self._dialect != "mysql" or not after or after.isspace()

    def _comment(self, pair: str) -> Token:
        if pair != "/*":
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end
            return Token("blank", " ")
        if re.match(r"/\*M?!", self._text[self._at :]):
            raise _unsafe("a comment that some servers execute")
        depth, place = 1, self._at + 2
        while depth:
            found = re.compile(r"/\*|\*/").search(self._text, place)
            if found is None:
                raise _unsafe("a comment does not end")
            place = found.end()
            if found.group() == "*/":
                depth -= 1
            elif self._dialect == "postgresql":
                depth += 1
        self._at = place
        return Token("blank", " ")

    def _string(self, start: int, *, escapes: bool) -> Token:
        text, quote = self._text, self._text[start]
        place = start + 1
        while place < len(text):
            if text[place] == "\\":
                if escapes:
                    place += 2
                    continue
                if self._dialect == "mysql" and text[place + 1 : place + 2] in ("'", '"', "\\"):
                    raise _unsafe("a backslash before a quote, which servers read differently")
            if text[place] == quote:
                if text[place + 1 : place + 2] != quote:
                    return self._take("string", place + 1)
                place += 1
            place += 1
        raise _unsafe("a text does not end")

    def _quoted(self, quote: str) -> Token:
        if quote == "[" and self._dialect != "sqlite":
            return self._take("sign", self._at + 1)
        end = "]" if quote == "[" else quote
        place = self._at + 1
        while True:
            place = self._text.find(end, place)
            if place < 0:
                raise _unsafe("a name does not end")
            if quote == "[" or self._text[place + 1 : place + 2] != end:
                break
            place += 2
        return self._take("name", place + 1, self._text[self._at + 1 : place].upper())

    def _dollar(self) -> Token:
        numbered = _NUMBERED.match(self._text, self._at)
        if numbered is not None:
            return self._take("place", numbered.end(), numbered.group(1))
        opening = _DOLLAR.match(self._text, self._at)
        if opening is None or self._dialect != "postgresql":
            return self._take("sign", self._at + 1)
        end = self._text.find(opening.group(), opening.end())
        if end < 0:
            raise _unsafe("a text does not end")
        return self._take("string", end + len(opening.group()))


# Understanding -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, read.

    `kind` is its verb in capitals: ``SELECT``, ``INSERT``, ``CREATE`` …; for ``WITH`` the verb of
    what follows.
    """

    kind: str
    tokens: tuple[Token, ...]
    dialect: Dialect

    def bound(self, params: Any, *, escape: bool = False) -> tuple[str, dict[str, Any]]:
        """The text with every place as ``:p0``, ``:p1`` …, and the values by these names.

        Args:
            params: A list for ``?`` and ``$1``, a table for ``:name``; None for none.
            escape: Write every other colon with a backslash, as SQLAlchemy's ``text()`` wants it.

        Raises:
            ValidationError: when places and values do not fit.
        """
        values: dict[str, Any] = {}
        find = None
        if isinstance(params, Mapping):
            find = _by_name(cast("Mapping[str, Any]", params))
        elif params is not None:
            find = _by_place(params, self.tokens)
        parts: list[str] = []
        for token in self.tokens:
            if token.kind != "place" or find is None:
                parts.append(token.text.replace(":", "\\:") if escape else token.text)
                continue
            name = f"p{len(values)}"
            values[name] = find(token.plain)
            parts.append(f":{name}")
        return "".join(parts), values


def _by_name(params: Mapping[str, Any]) -> Any:
    def find(name: str) -> Any:
        if name not in params:
            raise ValidationError(f"The query names ':{name}', and params do not", field="params")
        return params[name]

    return find


def _by_place(params: Sequence[Any], tokens: Sequence[Token]) -> Any:
    places = [token.plain for token in tokens if token.kind == "place"]
    numbers = [int(place) for place in places if place.isdigit()]
    wanted = max(numbers) if numbers else len(places)
    mixed = bool(numbers) and len(numbers) < len(places)
    if mixed or wanted != len(params) or any(p != "?" and not p.isdigit() for p in places):
        raise ValidationError(
            f"The query has {wanted} places for values, and params are {len(params)}",
            field="params",
            hint="Use ? or $1 with a list of params, :name with a table.",
        )
    order = iter(params)

    def find(place: str) -> Any:
        return next(order) if place == "?" else params[int(place) - 1]

    return find


def statement_of(text: str, dialect: Dialect, *, parameterised: bool) -> Statement:
    """The single statement that *text* is.

    Args:
        text: SQL.
        dialect: Whose rules it is read by.
        parameterised: Whether its values are bound, not written into it.

    Raises:
        ValidationError: for nothing at all.
        SecurityError: ``Query contains potentially unsafe patterns``, for several statements and
            what reaches beyond the database.
    """
    if len(text) > LONGEST:
        raise ValidationError(f"The query is longer than {LONGEST} characters", field="query")
    if "\0" in text:
        raise _unsafe("a NUL character")
    tokens = _Scanner(text, dialect).tokens()
    while tokens and (tokens[-1].kind == "blank" or tokens[-1].text == ";"):
        tokens.pop()
    solid = [token for token in tokens if token.kind != "blank"]
    if not solid:
        raise ValidationError("The query is empty", field="query")
    if any(token.text == ";" for token in solid):
        raise _unsafe("several statements")
    kind = _kind(solid)
    _check_functions(solid)
    if kind == "SELECT" and any(token.plain == "INTO" and token.kind == "word" for token in solid):
        raise SecurityError("Database operation 'SELECT INTO' is not allowed", violation_type="sql")
    if not parameterised and _is_tautology(solid):
        raise _unsafe("UNION with a condition that always holds")
    return Statement(kind, tuple(tokens), dialect)


def _kind(tokens: Sequence[Token]) -> str:
    first = next((token for token in tokens if token.text != "("), tokens[0])
    if first.kind != "word":
        raise ValidationError(f"The query begins with '{first.text[:20]}'", field="query")
    if first.plain != "WITH":
        return first.plain
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.kind == "word" and token.plain in _VERBS:
            return token.plain
    return "WITH"


def _check_functions(tokens: Sequence[Token]) -> None:
    for index, token in enumerate(tokens):
        if token.text == "&" and index and tokens[index - 1].plain == "U":
            raise _unsafe("a name or text with Unicode escapes")
        if token.kind not in ("word", "name"):
            continue
        called = index + 1 < len(tokens) and tokens[index + 1].text == "("
        name = token.plain.lower()
        if called and (name in _FUNCTIONS or name.startswith(_FUNCTION_FAMILIES)):
            raise _unsafe(f"the function {name}")


def _is_tautology(tokens: Sequence[Token]) -> bool:
    if not any(token.plain == "UNION" for token in tokens):
        return False
    return any(
        sign.text == "=" and left.kind in ("string", "number") and left[:2] == right[:2]
        for left, sign, right in zip(tokens, tokens[1:], tokens[2:], strict=False)
    )
