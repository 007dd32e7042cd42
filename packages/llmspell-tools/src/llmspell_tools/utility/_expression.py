"""Arithmetic expressions: judged, parsed and evaluated without ever running them as code.

Precedence, loosest first: ``? :``, ``||``, ``&&``, comparisons, ``+ -``, ``* /``, ``%``,
unary ``- + !``, ``^`` (right-associative). Numbers are doubles; comparisons give 1 or 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Value = float | list[float]


class ExpressionError(ValueError):
    """An expression that cannot be read or computed; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large an expression may be."""

    length: int = 1000
    depth: int = 20
    operations: int = 100
    functions: int = 50
    recursion: int = 3
    variables: int = 50
    exponent: int = 100
    power_calls: int = 4


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was found in an expression before evaluating it."""

    length: int
    max_depth: int
    operation_count: int
    function_count: int
    unsafe_reason: str | None = None

    @property
    def is_safe(self) -> bool:
        """Whether it may be evaluated."""
        return self.unsafe_reason is None

    @property
    def memory_bytes(self) -> int:
        """An upper estimate of what evaluating it takes."""
        return 8 * self.length + 1024 * self.function_count + 100 * self.operation_count


_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<operator>==|!=|<=|>=|&&|\|\||[-+*/%^<>!?:(),\[\]])
      | (?P<end>$)
    )""",
    re.VERBOSE,
)
_BANNED_WORDS = frozenset({"factorial", "while", "for", "loop", "eval", "exec", "system"})
_BANNED = re.compile(r"\bexp\s*\(\s*exp\b|\bpow\s*\(\s*pow\b|\^\s*\(\s*\^")
_REPEATED = re.compile(r"\+\+\+|---|\*\*\*|///")
_WHOLE_NUMBER = re.compile(r"(?<![\d.])\d{10,}")
_EXPONENT = re.compile(r"\^\s*\(*\s*[-+]?\s*(\d+(?:\.\d+)?)")
_CALL = re.compile(r"\b[A-Za-z_][A-Za-z0-9_]*\s*\(")
_OPERATORS = re.compile(r"[-+*/%^<>=!&|?]+")

_CIRCULAR = tuple(
    prefix + name + suffix
    for suffix in ("", "h")
    for prefix in ("", "a")
    for name in ("sin", "cos", "tan")
)
_TRANSCENDENTAL = frozenset({*_CIRCULAR, "exp", "ln", "log", "sqrt", "pow"})


def analyse(text: str, limits: Limits = Limits()) -> Analysis:
    """Judge *text* without evaluating it."""
    depth = deepest = 0
    for character in text[: limits.length + 1]:
        if character in "([":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]":
            depth -= 1
    # Beyond the limit nothing is counted: the length alone settles it.
    seen = text[: limits.length + 1]
    operations = len(_OPERATORS.findall(seen))
    functions = len(_CALL.findall(seen))
    found = Analysis(len(text), deepest, operations, functions)
    reason = _too_complex(found, limits) or _dangerous(seen, limits)
    return Analysis(len(text), deepest, operations, functions, reason)


def _too_complex(found: Analysis, limits: Limits) -> str | None:
    for count, limit, words in (
        (found.length, limits.length, "too long"),
        (found.max_depth, limits.depth, "nested too deep"),
        (found.operation_count, limits.operations, "Too many operations"),
        (found.function_count, limits.functions, "Too many function calls"),
    ):
        if count > limit:
            return f"Expression too complex: {words} ({count}, at most {limit})"
    return None


def _dangerous(text: str, limits: Limits) -> str | None:
    failed = "Expression failed security check: "
    if _REPEATED.search(text):
        return failed + "consecutive operators"
    if "((((" in text.replace(" ", ""):
        return failed + "more than three opening parentheses together risk a stack overflow"
    if _WHOLE_NUMBER.search(text):
        return failed + "large number (ten digits or more)"
    words = re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text)
    banned = next((word for word in words if word.lower() in _BANNED_WORDS), None)
    if banned is not None:
        return failed + f"Banned pattern '{banned}'"
    nested = _BANNED.search(text)
    if nested is not None:
        return failed + f"Banned pattern '{nested.group()}'"
    if sum(1 for call in _CALL.findall(text) if call[:-1].strip() in ("exp", "pow")) > (
        limits.power_calls
    ):
        return failed + f"Banned pattern: more than {limits.power_calls} calls of exp and pow"
    if any(float(power) > limits.exponent for power in _EXPONENT.findall(text)):
        return failed + f"Exponent too large (at most {limits.exponent})"
    if _recursion(text) > limits.recursion:
        return failed + f"Recursive depth of function calls is over {limits.recursion}"
    names = {word for word in words if word not in FUNCTIONS and word not in _CONSTANTS}
    if len(names) > limits.variables:
        return failed + f"Too many unique variables ({len(names)}, at most {limits.variables})"
    return None


def _recursion(text: str) -> int:
    open_calls: list[bool] = []
    deepest = 0
    for found in re.finditer(r"([A-Za-z_][A-Za-z0-9_]*)?\s*\(|\)", text):
        if found.group() == ")":
            if open_calls:
                open_calls.pop()
            continue
        open_calls.append(found.group(1) in _TRANSCENDENTAL)
        deepest = max(deepest, sum(open_calls))
    return deepest


# Functions -----------------------------------------------------------------------------------


def _guarded(function: Callable[..., float]) -> Callable[..., float]:
    """Overflow is infinity, an undefined value is not a number: as doubles have it."""

    def call(*values: float) -> float:
        try:
            return function(*values)
        except OverflowError:
            return math.inf
        except (ValueError, ZeroDivisionError):
            return math.nan

    return call


def _log(*values: float) -> float:
    if len(values) == 1:
        return _ln(values[0]) if values[0] <= 0 else math.log10(values[0])
    base, value = values
    if value <= 0:
        return _ln(value)
    return math.log(value) / math.log(base)


def _ln(value: float) -> float:
    if value == 0:
        return -math.inf
    return math.log(value)


def _round(*values: float) -> float:
    modulus, value = (1.0, values[0]) if len(values) == 1 else values
    if not math.isfinite(value):
        return value
    # Half away from zero, as people expect, not to the even neighbour.
    return math.copysign(math.floor(abs(value / modulus) + 0.5) * abs(modulus), value)


def power(base: float, exponent: float) -> float:
    """``base ^ exponent`` of doubles, without exceptions."""
    try:
        found = math.pow(base, exponent)
    except OverflowError:
        odd = exponent == int(exponent) and int(exponent) % 2 == 1
        return -math.inf if base < 0 and odd else math.inf
    except ValueError:
        return math.inf if base == 0 else math.nan
    return found


def divide(left: float, right: float) -> float:
    """``left / right``; by zero it is infinite, or not a number for zero."""
    if right == 0:
        if left == 0 or math.isnan(left):
            return math.nan
        return math.copysign(math.inf, left) * math.copysign(1.0, right)
    return left / right


def modulo(left: float, right: float) -> float:
    """The remainder with the sign of *left*."""
    try:
        return math.fmod(left, right)
    except ValueError:
        return math.nan


def _flat(values: tuple[Value, ...]) -> list[float]:
    flat: list[float] = []
    for value in values:
        flat.extend(value) if isinstance(value, list) else flat.append(value)
    if not flat:
        raise ExpressionError("needs at least one number")
    return flat


def _sign(value: float) -> float:
    return value if value == 0 or math.isnan(value) else math.copysign(1.0, value)


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda x: float(function(x)) if math.isfinite(x) else x


_ONE = (1, 1)
_ANY = (1, 1000)
FUNCTIONS: Mapping[str, tuple[tuple[int, int], Callable[..., float]]] = {
    **{name: (_ONE, _guarded(getattr(math, name))) for name in (*_CIRCULAR, "sqrt", "exp")},
    "ln": (_ONE, _guarded(_ln)),
    "log": ((1, 2), _guarded(_log)),
    "abs": (_ONE, math.fabs),
    "sign": (_ONE, _sign),
    "int": (_ONE, _whole(math.trunc)),
    "ceil": (_ONE, _whole(math.ceil)),
    "floor": (_ONE, _whole(math.floor)),
    "round": ((1, 2), _guarded(_round)),
    "pow": ((2, 2), power),
    "min": (_ANY, lambda *v: min(_flat(v))),
    "max": (_ANY, lambda *v: max(_flat(v))),
    "sum": (_ANY, lambda *v: math.fsum(_flat(v))),
    "avg": (_ANY, lambda *v: math.fsum(_flat(v)) / len(_flat(v))),
    "pi": ((0, 0), lambda: math.pi),
    "e": ((0, 0), lambda: math.e),
}
"""Name → (fewest and most arguments, function)."""

_TAKE_LISTS = frozenset({"min", "max", "sum", "avg"})
_CONSTANTS = {"pi": math.pi, "e": math.e}


# Evaluation ----------------------------------------------------------------------------------

_BINARY: Mapping[str, tuple[int, Callable[[float, float], float]]] = {
    "||": (1, lambda a, b: float(a != 0 or b != 0)),
    "&&": (2, lambda a, b: float(a != 0 and b != 0)),
    "==": (3, lambda a, b: float(a == b)),
    "!=": (3, lambda a, b: float(a != b)),
    "<": (3, lambda a, b: float(a < b)),
    ">": (3, lambda a, b: float(a > b)),
    "<=": (3, lambda a, b: float(a <= b)),
    ">=": (3, lambda a, b: float(a >= b)),
    "+": (4, lambda a, b: a + b),
    "-": (4, lambda a, b: a - b),
    "*": (5, lambda a, b: a * b),
    "/": (5, divide),
    "%": (6, modulo),
}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    place: int


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    place = 0
    while True:
        match = _TOKEN.match(text, place)
        if match is None:
            at = place + len(text[place:]) - len(text[place:].lstrip())
            raise ExpressionError(f"unexpected character '{text[at]}' at position {at + 1}")
        kind = match.lastgroup or "end"
        found.append(_Token(kind, match.group(kind), match.start(kind)))
        if kind == "end":
            return found
        place = match.end()


class Evaluator:
    """Evaluates one expression while it is parsed; both branches of ``? :`` are computed, which
    is safe because nothing here has side effects or raises on values.

    Args:
        text: The expression; judge it with `analyse` first.
        variables: Name → number.

    Raises:
        ExpressionError: for a text that is no expression, or an unknown name.
    """

    def __init__(self, text: str, variables: Mapping[str, float]) -> None:
        self._tokens = _tokens(text)
        self._variables = variables
        self._next = 0
        self.operations = 0

    def value(self) -> float:
        """The number."""
        found = self._number(self._ternary())
        token = self._tokens[self._next]
        if token.kind != "end":
            raise self._unexpected(token)
        return found

    def _peek(self) -> str:
        return self._tokens[self._next].text

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _expect(self, text: str) -> None:
        token = self._tokens[self._next]
        if token.text != text or token.kind != "operator":
            raise ExpressionError(
                f"expected '{text}' at position {token.place + 1}"
                + (f", found '{token.text}'" if token.text else ", where the expression ends")
            )
        self._next += 1

    @staticmethod
    def _unexpected(token: _Token) -> ExpressionError:
        if token.kind == "end":
            return ExpressionError("the expression ends where a value is expected")
        return ExpressionError(f"unexpected '{token.text}' at position {token.place + 1}")

    @staticmethod
    def _number(value: Value) -> float:
        if isinstance(value, list):
            raise ExpressionError("a list stands where a number is expected")
        return value

    def _ternary(self) -> Value:
        condition = self._binary(1)
        if self._peek() != "?":
            return condition
        self._take()
        self.operations += 1
        yes = self._ternary()
        self._expect(":")
        no = self._ternary()
        return yes if self._number(condition) != 0 else no

    def _binary(self, loosest: int) -> Value:
        left = self._unary()
        while (rule := _BINARY.get(self._peek())) is not None and rule[0] >= loosest:
            self._take()
            self.operations += 1
            right = self._number(self._binary(rule[0] + 1))
            left = rule[1](self._number(left), right)
        return left

    def _unary(self) -> Value:
        sign = self._peek()
        if sign not in ("-", "+", "!"):
            return self._power()
        self._take()
        self.operations += 1
        value = self._number(self._unary())
        return -value if sign == "-" else value if sign == "+" else float(value == 0)

    def _power(self) -> Value:
        base = self._atom()
        if self._peek() != "^":
            return base
        self._take()
        self.operations += 1
        return power(self._number(base), self._number(self._unary()))

    def _atom(self) -> Value:
        token = self._take()
        if token.kind == "number":
            return float(token.text)
        if token.kind == "name":
            if self._peek() == "(":
                return self._call(token)
            return self._named(token)
        if token.text == "(" and token.kind == "operator":
            value = self._ternary()
            self._expect(")")
            return value
        if token.text == "[" and token.kind == "operator":
            return [self._number(item) for item in self._list("]")]
        raise self._unexpected(token)

    def _list(self, end: str) -> list[Value]:
        items: list[Value] = []
        if self._peek() == end:
            self._take()
            return items
        while True:
            items.append(self._ternary())
            if self._peek() == ",":
                self._take()
                continue
            self._expect(end)
            return items

    def _named(self, token: _Token) -> float:
        value = self._variables.get(token.text, _CONSTANTS.get(token.text))
        if value is None:
            raise ExpressionError(f"unknown variable '{token.text}'")
        return value

    def _call(self, token: _Token) -> float:
        self._take()
        arguments = self._list(")")
        known = FUNCTIONS.get(token.text)
        if known is None:
            raise ExpressionError(f"unknown function '{token.text}'")
        (fewest, most), function = known
        if not fewest <= len(arguments) <= most:
            wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise ExpressionError(f"{token.text} takes {wanted} arguments, not {len(arguments)}")
        self.operations += 1
        if token.text not in _TAKE_LISTS:
            return function(*map(self._number, arguments))
        return function(*arguments)
