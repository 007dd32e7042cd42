"""Placeholders in the inputs of steps: ``{{step.output}}``, ``$step.field``, ``${…}``, ``$$``.

One pass: what a placeholder brings is never searched for placeholders again, so the answer of
a model cannot reach into the workflow. What does not resolve stays in the text as it is.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast


class Missing:
    """The type of `MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing()
"""What a reference that leads nowhere resolves to; None is a value."""

Root = Literal["name", "input", "step", "loop", "state", "shared", "previous"]
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a value is to be found.

    `root` says where to begin: ``name`` tries everything that has names. Numbers in `path`
    count from 1, as in Lua.
    """

    root: Root
    path: Path = ()

    @property
    def head(self) -> str:
        """The first part of the path."""
        return str(self.path[0]) if self.path else ""


Resolve = Callable[[Reference], Awaitable[Any]]

_NAME = r"\w[\w\- ]*"
_PATH = re.compile(rf"({_NAME})((?:\.{_NAME}|\[\d+\])*)")
_PART = re.compile(rf"\.({_NAME})|\[(\d+)\]")
_STEP = re.compile(r"step:([^{}]+?):(\w+)((?:\.[\w\- ]+|\[\d+\])*)")
_ROOTS: Mapping[str, Root] = {
    "step": "step",
    "steps": "step",
    "step_result": "step",
    "loop": "loop",
    "state": "state",
    "shared": "shared",
    "shared_data": "shared",
}
_DOLLAR = r"[^\W\d]\w*(?:-\w+)*(?:\.[^\W\d]\w*(?:-\w+)*|\[\d+\])*"
_TOKEN = re.compile(
    r"\\(?P<escaped>\$|\{\{)"
    r"|\{\{(?P<braces>[^{}]*)\}\}"
    r"|\$\{(?P<wrapped>[^{}]*)\}"
    rf"|(?P<whole>\$\$)(?![\w$])(?P<field>(?:\.[^\W\d]\w*(?:-\w+)*|\[\d+\])*)"
    rf"|(?<!\$)\$(?P<dollar>{_DOLLAR})"
)


def _parts(text: str) -> Path:
    return tuple(int(number) if number else name.strip() for name, number in _PART.findall(text))


def parse_reference(text: str) -> Reference | None:
    """Read what stands between the braces; None when it is no reference."""
    text = text.strip()
    step = _STEP.fullmatch(text)
    if step is not None:
        return Reference("step", (step[1].strip(), step[2], *_parts(step[3])))
    root, colon, rest = text.partition(":")
    if colon:
        rest = rest.strip()
        if root in ("state", "shared") and rest:
            return Reference(cast("Root", root), (rest,))
        inside = _PATH.fullmatch(rest) if root == "loop" else None
        return None if inside is None else Reference("loop", (inside[1], *_parts(inside[2])))
    found = _PATH.fullmatch(text)
    if found is None:
        return None
    head, path = found[1].strip(), _parts(found[2])
    if head == "input":
        return Reference("input", path)
    if head == "previous":
        return Reference("previous", path)
    if head in _ROOTS and path:
        return Reference(_ROOTS[head], path)
    return Reference("name", (head, *path))


def dig(value: Any, path: Path) -> Any:
    """The part of *value* that *path* names, or `MISSING`. JSON text is parsed on the way."""
    for part in path:
        if isinstance(value, str):
            value = _parsed(value)
        if isinstance(value, Mapping):
            value = cast("Mapping[str, Any]", value).get(str(part), MISSING)
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            value = _item(cast("Sequence[Any]", value), part)
        else:
            return MISSING
    return value


def _item(items: Sequence[Any], part: str | int) -> Any:
    if isinstance(part, str):
        if not part.isdecimal():
            return MISSING
        part = int(part)
    return items[part - 1] if 1 <= part <= len(items) else MISSING


def _parsed(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return MISSING
    import json

    try:
        return json.loads(text)
    except ValueError:
        return MISSING


def rendered(value: Any) -> str:
    """*value* as it reads within a text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    import json

    return json.dumps(value, ensure_ascii=False, default=str)


async def interpolate(
    value: Any, resolve: Resolve, *, protected: frozenset[str] = frozenset()
) -> Any:
    """A copy of *value* in which every placeholder in every string is replaced; keys are not.

    A string that is exactly one placeholder becomes the value with its type. In a table with a
    table ``variables`` or ``context`` of its own, ``{{X}}`` is left alone for those X: they are
    for the component that gets the input.

    Args:
        value: Anything; what is neither text, list nor mapping is kept.
        resolve: Finds what a reference names, or returns `MISSING`.
        protected: Names that ``{{…}}`` must leave alone.
    """
    if isinstance(value, str):
        if "$" not in value and "{{" not in value:
            return value
        return await _in_text(value, resolve, protected)
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        own = {
            str(name)
            for key in ("variables", "context")
            if isinstance(table.get(key), Mapping)
            for name in table[key]
        }
        inner = protected | own if own else protected
        return {
            key: await interpolate(
                item, resolve, protected=protected if key in ("variables", "context") else inner
            )
            for key, item in table.items()
        }
    if isinstance(value, list | tuple):
        items = cast("Sequence[Any]", value)
        return [await interpolate(item, resolve, protected=protected) for item in items]
    return value


async def _in_text(text: str, resolve: Resolve, protected: frozenset[str]) -> Any:
    pieces: list[str] = []
    done = 0
    for token in _TOKEN.finditer(text):
        value = await _value(token, resolve, protected)
        if value is MISSING:
            continue
        if token.start() == 0 and token.end() == len(text):
            return value
        pieces += text[done : token.start()], rendered(value)
        done = token.end()
    return "".join(pieces) + text[done:]


async def _value(token: re.Match[str], resolve: Resolve, protected: frozenset[str]) -> Any:
    kind = token.lastgroup
    if kind == "escaped":
        return token["escaped"]
    if token["whole"] is not None:
        return await resolve(Reference("input", _parts(token["field"])))
    if kind == "dollar":
        reference = parse_reference(token["dollar"])
        return MISSING if reference is None else await resolve(reference)
    content = token["braces"] if kind == "braces" else token["wrapped"]
    name, bar, default = content.partition("|")
    reference = parse_reference(name)
    if reference is None:
        return MISSING
    if kind == "braces" and reference.root == "name" and reference.head in protected:
        return MISSING
    value = await resolve(reference)
    if value is MISSING and bar:
        return _literal(default.strip())
    return value


def _literal(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text
