"""Small scripts that hold every engine to the contract of the language scripts are written in.

Each says what must come of it: a value, a message, or what it prints. The expectations are the
contract's (its section is in the manifest of requirements), not what the code happens to do. They
are tables, so that what is missing can be seen:

- `gives(requirement, {expression: value})`: the expression has that value;
- `refuses(requirement, {expression: phrase})`: it raises a message that has the phrase in it;
- `runs(requirement, {what: (script, outcome)})`: for more than an expression; the outcome is a
  value, `Raises(phrase)`, `Prints(text)` or `Like(pattern)`.

`$N` in a script is a word of its own, so that names of agents and keys of state do not collide.
`only=LUA` marks what LuaJIT's language or numbers do not have.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ENGINES = ("lua", "luajit")
LUA = ("lua",)
MODULES = (
    "language", "values", "faults", "forms", "waiting", "library", "own", "services",
)  # fmt: skip


@dataclass(frozen=True)
class Raises:
    """A message that contains all the phrases."""

    phrases: tuple[str, ...]

    def __init__(self, *phrases: str) -> None:
        object.__setattr__(self, "phrases", phrases)


@dataclass(frozen=True)
class Prints:
    """What goes to the standard output, whole."""

    text: str


@dataclass(frozen=True)
class Like:
    """A text that the pattern fits, whole."""

    pattern: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(self.pattern, other, re.DOTALL) is not None

    def __hash__(self) -> int:
        return hash(self.pattern)


@dataclass(frozen=True)
class Script:
    """One script of the corpus."""

    requirement: str
    what: str
    code: str
    outcome: Any
    engines: tuple[str, ...]


SCRIPTS: list[Script] = []


def gives(requirement: str, table: Mapping[str, Any], *, only: tuple[str, ...] = ENGINES) -> None:
    """The expressions have these values."""
    for expression, value in table.items():
        code = f"return {expression}"
        SCRIPTS.append(Script(requirement, expression, code, value, only))


def refuses(requirement: str, table: Mapping[str, Any], *, only: tuple[str, ...] = ENGINES) -> None:
    """The expressions raise messages with these phrases."""
    for expression, phrases in table.items():
        found = phrases if isinstance(phrases, tuple) else (phrases,)
        code = f"local a, b = {expression} return a, b"
        SCRIPTS.append(Script(requirement, expression, code, Raises(*found), only))


def runs(
    requirement: str, table: Mapping[str, tuple[str, Any]], *, only: tuple[str, ...] = ENGINES
) -> None:
    """The scripts have these outcomes."""
    for what, (code, outcome) in table.items():
        SCRIPTS.append(Script(requirement, what, code, outcome, only))


def everything() -> list[Script]:
    """The whole corpus."""
    for name in MODULES:
        importlib.import_module(f"{__name__}.{name}")
    return SCRIPTS
