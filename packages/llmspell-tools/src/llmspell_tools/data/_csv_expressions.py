"""What a row is asked and what is computed of it: conditions of filters, sums of columns.

Runs in the worker process of the CSV tool. Both are parsed into functions; nothing is evaluated
as code.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from llmspell_tools._worker_main import Refused
from llmspell_tools.data._csv_text import kind_of

Condition = Callable[[list[str]], bool]
Sum = Callable[[list[str]], float | None]
Position = Callable[[str], int]
Token = tuple[str, str]

LONGEST = 10_000
DEEPEST = 50

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
      | (?P<operator>==|!=|<>|>=|<=|=~|[=<>~!])
      | (?P<bracket>[()])
      | (?P<word>[^\s"'`()=<>~!]+)
      | (?P<end>$)
    )""",
    re.VERBOSE,
)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_WORDS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda cell, value: value in cell,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
}
_FORMAT = "Filter expression must be in format 'column operator value'"


def _unquoted(text: str) -> str:
    return text[1:-1] if text[0] == "`" else re.sub(r"\\(.)", r"\1", text[1:-1])


def _tokens(text: str, pattern: re.Pattern[str], complaint: str) -> list[Token]:
    if len(text) > LONGEST:
        raise Refused(f"The expression is longer than {LONGEST} characters")
    made: list[Token] = []
    place = 0
    while place < len(text.rstrip()):
        found = pattern.match(text, place)
        if found is None or found.lastgroup in (None, "end"):
            raise Refused(f"{complaint}: cannot read '{text[place : place + 50]}'")
        made.append((str(found.lastgroup), found.group(str(found.lastgroup))))
        place = found.end()
    return made


# Conditions ----------------------------------------------------------------------------------


def condition(text: str, position: Position) -> Condition:
    """What ``price > 5 and name contains 'x'`` says of a row; ``and`` binds closer than ``or``.

    Both sides are compared as numbers where both are, else as texts. Texts with blanks and
    operators in them are quoted, names of columns too.

    Raises:
        Refused: ``Filter expression must be in format …``, ``Unknown operator``, ``Column '…'
            not found``.
    """
    tokens = _tokens(text, _TOKEN, _FORMAT)
    parser = _Conditions(tokens, position, text)
    made = parser.any_of(0)
    if parser.place < len(tokens):
        raise Refused(f"{_FORMAT}: cannot read from '{tokens[parser.place][1]}' on")
    return made


class _Conditions:
    def __init__(self, tokens: list[Token], position: Position, text: str) -> None:
        self._tokens = tokens
        self._position = position
        self._text = text
        self.place = 0

    def _peek(self) -> Token:
        return self._tokens[self.place] if self.place < len(self._tokens) else ("end", "")

    def _is(self, word: str) -> bool:
        kind, text = self._peek()
        return kind == "word" and text.lower() == word

    def any_of(self, depth: int) -> Condition:
        parts = [self._all_of(depth)]
        while self._is("or"):
            self.place += 1
            parts.append(self._all_of(depth))
        return parts[0] if len(parts) == 1 else lambda row: any(part(row) for part in parts)

    def _all_of(self, depth: int) -> Condition:
        parts = [self._one(depth)]
        while self._is("and"):
            self.place += 1
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)

    def _one(self, depth: int) -> Condition:
        if depth > DEEPEST:
            raise Refused("The filter expression is nested too deeply")
        if self._is("not"):
            self.place += 1
            inner = self._one(depth + 1)
            return lambda row: not inner(row)
        if self._peek() == ("bracket", "("):
            self.place += 1
            inside = self.any_of(depth + 1)
            if self._peek() != ("bracket", ")"):
                raise Refused(f"{_FORMAT}: a closing bracket is missing")
            self.place += 1
            return inside
        return self._comparison()

    def _comparison(self) -> Condition:
        part = self._tokens[self.place : self._end()]
        self.place += len(part)
        at = next((i for i, token in enumerate(part) if i and _is_operator(token)), None)
        if at is None and len(part) > 2:
            raise self._unknown(part[1][1])
        if at is None or at == len(part) - 1:
            raise Refused(f"{_FORMAT}: '{self._text[:200]}'")
        word, value = part[at][1], _words(part[at + 1 :])
        named, compare = _WORDS.get(word.lower()), _ORDER.get(word)
        column = self._position(_words(part[:at]))
        if named is not None:
            return lambda row: named(row[column], value)
        if compare is None:
            raise self._unknown(word)
        return _compared(column, compare, value)

    def _end(self) -> int:
        """Where the comparison ends that begins here."""
        for index in range(self.place, len(self._tokens)):
            kind, text = self._tokens[index]
            if kind == "bracket" or (kind == "word" and text.lower() in ("and", "or")):
                return index
        return len(self._tokens)

    @staticmethod
    def _unknown(word: str) -> Refused:
        return Refused(f"Unknown operator: '{word}'. Known: {', '.join((*_ORDER, *_WORDS))}")


def _is_operator(token: Token) -> bool:
    kind, text = token
    return kind == "operator" or (kind == "word" and text.lower() in _WORDS)


def _words(tokens: list[Token]) -> str:
    return " ".join(_unquoted(text) if kind == "quoted" else text for kind, text in tokens)


def _compared(at: int, compare: Callable[[Any, Any], bool], value: str) -> Condition:
    number = _number(value)
    if number is None:
        return lambda row: compare(row[at], value)

    def test(row: list[str]) -> bool:
        own = _number(row[at])
        if own is not None:
            return compare(own, number)
        # An empty cell is neither less nor more than a number.
        plain = bool(row[at].strip()) or compare in (operator.eq, operator.ne)
        return plain and compare(row[at], value)

    return test


def _number(text: str) -> float | None:
    return float(text) if kind_of(text) in ("integer", "float") else None


# Sums ----------------------------------------------------------------------------------------

_SUM_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?)
      | (?P<name>[^\W\d]\w*|`[^`]*`)
      | (?P<operator>[-+*/()])
      | (?P<end>$)
    )""",
    re.VERBOSE,
)


def computed(text: str, position: Position) -> Sum:
    """The number that ``price * quantity`` is in a row; None where a cell is no number, and for
    a division by zero. Names with other characters stand in back-ticks.

    Raises:
        Refused: ``Invalid expression``, ``Column '…' not found``.
    """
    tokens = _tokens(text, _SUM_TOKEN, "Invalid expression")
    parser = _Sums(tokens, position)
    made = parser.sum(0)
    if parser.place < len(tokens):
        raise Refused(f"Invalid expression: cannot read from '{tokens[parser.place][1]}' on")

    def value(row: list[str]) -> float | None:
        try:
            return made(row)
        except (ZeroDivisionError, OverflowError, _NoNumber):
            return None

    return value


class _NoNumber(Exception):
    """A cell that is no number."""


class _Sums:
    def __init__(self, tokens: list[Token], position: Position) -> None:
        self._tokens = tokens
        self._position = position
        self.place = 0

    def _take(self, *operators: str) -> str | None:
        if self.place < len(self._tokens):
            kind, text = self._tokens[self.place]
            if kind == "operator" and text in operators:
                self.place += 1
                return text
        return None

    def sum(self, depth: int) -> Callable[[list[str]], float]:
        made = self._product(depth)
        while sign := self._take("+", "-"):
            made = _joined(_SIGNS[sign], made, self._product(depth))
        return made

    def _product(self, depth: int) -> Callable[[list[str]], float]:
        made = self._factor(depth)
        while sign := self._take("*", "/"):
            made = _joined(_SIGNS[sign], made, self._factor(depth))
        return made

    def _factor(self, depth: int) -> Callable[[list[str]], float]:
        if depth > DEEPEST:
            raise Refused("Invalid expression: nested too deeply")
        if self._take("-"):
            inner = self._factor(depth + 1)
            return lambda row: -inner(row)
        if self._take("("):
            inside = self.sum(depth + 1)
            if not self._take(")"):
                raise Refused("Invalid expression: a closing bracket is missing")
            return inside
        if self.place == len(self._tokens):
            raise Refused("Invalid expression: it ends too early")
        kind, text = self._tokens[self.place]
        self.place += 1
        if kind == "number":
            number = float(text)
            return lambda row: number
        if kind == "name":
            at = self._position(text.strip("`"))
            return lambda row: _cell(row[at])
        raise Refused(f"Invalid expression: '{text}' is not expected there")


_SIGNS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b,
}


def _joined(
    sign: Callable[[float, float], float],
    left: Callable[[list[str]], float],
    right: Callable[[list[str]], float],
) -> Callable[[list[str]], float]:
    return lambda row: sign(left(row), right(row))


def _cell(text: str) -> float:
    number = _number(text)
    if number is None:
        raise _NoNumber
    return number
