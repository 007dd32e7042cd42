"""Docstrings in the Google style, as far as descriptions need them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_SECTIONS = {
    "args": "arguments",
    "arguments": "arguments",
    "attributes": "attributes",
    "raises": "raises",
    "returns": "returns",
}
_HEAD = re.compile(r"^(\w+):\s*$")
_ITEM = re.compile(r"^\*{0,2}([\w.]+)(?: \([^)]*\))?:\s+(.*)$")
# Not behind abbreviations, and only where a new sentence begins.
_SENTENCE = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)\s+(?=[A-Z`*(\"'])")


@dataclass(frozen=True, slots=True)
class Docstring:
    """A docstring in its parts; texts are dedented.

    Attributes:
        summary: The first sentence, on one line.
        text: All paragraphs before and between the sections, the first sentence included.
        arguments: Parameter → what it is.
        attributes: Attribute or key → what it is.
        returns: The section ``Returns:``.
        raises: Error and when, in order.
    """

    summary: str = ""
    text: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict[str, str])
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    returns: str = ""
    raises: tuple[tuple[str, str], ...] = ()


def read_docstring(raw: str | None) -> Docstring:
    """Take a docstring apart; without one (``python -OO``) everything is empty."""
    if not raw:
        return Docstring()
    from inspect import cleandoc

    body: list[str] = []
    sections: dict[str, list[str]] = {}
    current = body
    for line in cleandoc(raw).splitlines():
        found = _HEAD.match(line)
        section = _SECTIONS.get(found[1].lower()) if found else None
        if section is not None:
            current = sections.setdefault(section, [])
            continue
        if current is not body and line and not line[0].isspace():
            current = body  # a section ends where the margin is reached again
        current.append(line)
    text = "\n".join(body).strip()
    first = " ".join(text.partition("\n\n")[0].split())
    return Docstring(
        summary=_SENTENCE.split(first, maxsplit=1)[0],
        text=text,
        arguments=dict(_items(sections.get("arguments", []))),
        attributes=dict(_items(sections.get("attributes", []))),
        returns=" ".join(" ".join(sections.get("returns", [])).split()),
        raises=tuple(_items(sections.get("raises", []))),
    )


def _items(lines: list[str]) -> list[tuple[str, str]]:
    """``name: text`` at the section's margin; further lines are indented more."""
    margins = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    margin = min(margins, default=0)
    made: list[tuple[str, str]] = []
    for line in lines:
        if not line.strip():
            continue
        found = _ITEM.match(line.strip()) if len(line) - len(line.lstrip()) == margin else None
        if found is not None:
            made.append((found[1], found[2].strip()))
        elif made:
            name, before = made[-1]
            made[-1] = (name, f"{before} {line.strip()}".strip())
    return made
