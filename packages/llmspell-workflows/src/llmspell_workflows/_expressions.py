"""Conditions written as text: ``count < 5 and status == 'ok'``. Parsed here, never ``eval``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from llmspell_core import ValidationError, WorkflowError
from llmspell_workflows._interpolation import MISSING, Reference, Resolve, parse_reference, rendered

MAX_LENGTH = 10_000
MAX_DEPTH = 50

_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.])"
    r"|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|\{\{(?P<braces>[^{}|]+)\}\}|\$\{(?P<wrapped>[^{}|]+)\}"
    r"|(?P<step>step:[^:\s()]+:\w+(?:\.[\w\-]+|\[\d+\])*)"
    r"|(?P<scoped>(?:state|shared|loop):[^\s()=<>!~]+)"
    r"|\$?(?P<name>[^\W\d][\w\-]*(?:\.\w[\w\-]*|\[\d+\])*)"
    r"|(?P<sign>==|!=|~=|<=|>=|<|>|&&|\|\||!|\(|\))"
    r")"
)
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "nil": None, "null": None}
_SIGNS = {"&&": "and", "||": "or", "!": "not", "~=": "!="}


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Any


@dataclass(frozen=True, slots=True)
class _Name:
    reference: Reference
    text: str


@dataclass(frozen=True, slots=True)
class _Operation:
    sign: str
    operands: tuple[_Node, ...]


_Node = _Constant | _Name | _Operation


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression."""

    text: str
    node: _Node

    async def evaluate(self, resolve: Resolve) -> Any:
        """Its value; names that lead nowhere are None.

        Raises:
            WorkflowError: when two values cannot be compared.
        """
        return await _evaluate(self.node, resolve, self.text)

    async def holds(self, resolve: Resolve) -> bool:
        """Whether the value is neither None nor false."""
        return truthy(await self.evaluate(resolve))


def truthy(value: Any) -> bool:
    """As in Lua: everything but nil and false."""
    return value is not None and value is not False and value is not MISSING


@lru_cache(maxsize=512)
def parse_expression(text: str) -> Expression:
    """Read ``==  !=  <  <=  >  >=  contains  and  or  not  ( )`` over numbers, quoted text,
    ``true``, ``false``, ``nil`` and references (``shared_data.k``, ``step_result.NAME.output``,
    ``$iteration``, ``count``).

    Raises:
        ValidationError: ``Unknown condition: <text>``.
    """
    if len(text) > MAX_LENGTH:
        raise ValidationError(
            f"condition of {len(text)} characters is too long (limit {MAX_LENGTH})",
            field="condition",
        )
    return Expression(text, _Parser(text).parse())


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._read()
        self._at = 0
        self._depth = 0

    def _wrong(self) -> ValidationError:
        return ValidationError(
            f"Unknown condition: {self._text}",
            field="condition",
            hint="Write 'always', 'never', 'step:NAME:VALUE' or an expression such as "
            "\"count < 5 and status == 'ok'\".",
        )

    def _read(self) -> list[tuple[str, Any]]:
        tokens: list[tuple[str, Any]] = []
        position, end = 0, len(self._text.rstrip())
        while position < end:
            found = _TOKEN.match(self._text, position)
            if found is None:
                raise self._wrong()
            position = found.end()
            kind = cast("str", found.lastgroup)
            tokens.append(self._token(kind, found[kind]))
        return tokens

    def _token(self, kind: str, text: str) -> tuple[str, Any]:
        if kind == "number":
            return "value", int(text) if text.lstrip("-").isdecimal() else float(text)
        if kind == "text":
            return "value", re.sub(r"\\(.)", r"\1", text[1:-1])
        if kind == "sign":
            return "sign", _SIGNS.get(text, text)
        lower = text.lower()
        if kind == "name" and lower in ("and", "or", "not", "contains"):
            return "sign", lower
        if kind == "name" and lower in _WORDS:
            return "value", _WORDS[lower]
        reference = parse_reference(text)
        if reference is None:
            raise self._wrong()
        return "name", _Name(reference, text)

    def parse(self) -> _Node:
        node = self._either()
        if self._at != len(self._tokens):
            raise self._wrong()
        return node

    def _take(self, *signs: str) -> str | None:
        if self._at < len(self._tokens):
            kind, value = self._tokens[self._at]
            if kind == "sign" and value in signs:
                self._at += 1
                return value
        return None

    def _chain(self, sign: str, operand: Callable[[], _Node]) -> _Node:
        operands = [operand()]
        while self._take(sign):
            operands.append(operand())
        return operands[0] if len(operands) == 1 else _Operation(sign, tuple(operands))

    def _either(self) -> _Node:
        return self._chain("or", self._both)

    def _both(self) -> _Node:
        return self._chain("and", self._negation)

    def _negation(self) -> _Node:
        if not self._take("not"):
            return self._comparison()
        self._deeper()
        node = _Operation("not", (self._negation(),))
        self._depth -= 1
        return node

    def _comparison(self) -> _Node:
        left = self._primary()
        sign = self._take("==", "!=", "<", "<=", ">", ">=", "contains")
        return left if sign is None else _Operation(sign, (left, self._primary()))

    def _primary(self) -> _Node:
        if self._take("("):
            self._deeper()
            node = self._either()
            self._depth -= 1
            if not self._take(")"):
                raise self._wrong()
            return node
        if self._at == len(self._tokens):
            raise self._wrong()
        kind, value = self._tokens[self._at]
        self._at += 1
        if kind == "sign":
            raise self._wrong()
        return value if kind == "name" else _Constant(value)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong()


async def _evaluate(node: _Node, resolve: Resolve, text: str) -> Any:
    if isinstance(node, _Constant):
        return node.value
    if isinstance(node, _Name):
        value = await resolve(node.reference)
        return None if value is MISSING else value
    first = await _evaluate(node.operands[0], resolve, text)
    if node.sign == "not":
        return not truthy(first)
    if node.sign in ("and", "or"):
        return await _joined(node, first, resolve, text)
    return compare(node.sign, first, await _evaluate(node.operands[1], resolve, text), text)


async def _joined(node: _Operation, first: Any, resolve: Resolve, text: str) -> bool:
    stop = node.sign == "or"
    if truthy(first) is stop:
        return stop
    for operand in node.operands[1:]:
        if truthy(await _evaluate(operand, resolve, text)) is stop:
            return stop
    return not stop


def compare(sign: str, left: Any, right: Any, text: str) -> bool:
    """Compare two values; text that reads as a number is one beside a number.

    Raises:
        WorkflowError: when they have no order, or nothing can be contained.
    """
    if sign == "contains":
        return _contains(left, right, text)
    left, right = _numbers(left, right)
    if sign == "==":
        return _same(left, right)
    if sign == "!=":
        return not _same(left, right)
    if not _ordered(left, right):
        raise WorkflowError(
            f"condition '{text}' cannot be evaluated: "
            f"{rendered_type(left)} {sign} {rendered_type(right)}",
            code="CONDITION_FAILED",
        )
    if sign == "<":
        return left < right
    if sign == "<=":
        return left <= right
    return left > right if sign == ">" else left >= right


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


def _ordered(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return False
    return (isinstance(left, int | float) and isinstance(right, int | float)) or (
        isinstance(left, str) and isinstance(right, str)
    )


def _numbers(left: Any, right: Any) -> tuple[Any, Any]:
    if isinstance(left, str) and _is_number(right):
        return _number(left), right
    if isinstance(right, str) and _is_number(left):
        return left, _number(right)
    return left, right


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(text: str) -> Any:
    try:
        return float(text) if len(text) < 400 else text
    except ValueError:
        return text


def _contains(left: Any, right: Any, text: str) -> bool:
    if isinstance(left, str):
        return rendered(right) in left
    if isinstance(left, Mapping):
        return rendered(right) in left
    if isinstance(left, Sequence):
        return any(_same(*_numbers(item, right)) for item in cast("Sequence[Any]", left))
    if left is None:
        return False
    raise WorkflowError(
        f"condition '{text}' cannot be evaluated: {rendered_type(left)} contains nothing",
        code="CONDITION_FAILED",
    )


def rendered_type(value: Any) -> str:
    """The word for the type of *value*, for messages."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, Sequence) else "table"
