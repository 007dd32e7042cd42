"""Lua's own library and what the engine adds to it, read from ``lua/library.txt`` when asked."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

_LINE = re.compile(
    r"^(?P<name>[\w.:]+?)(?:\((?P<parameters>[^)]*)\))?(?:: (?P<result>.*?))? -- (?P<doc>.*)$"
)


@dataclass(frozen=True, slots=True)
class LibraryName:
    """A name of the library.

    Attributes:
        name: As it is written: ``string.rep``.
        parameters: ``name: type``, in order; None for what is no function.
        result: The type of the result or of the field.
        doc: One sentence.
    """

    name: str
    parameters: tuple[str, ...] | None
    result: str
    doc: str

    @property
    def signature(self) -> str:
        """How it is called, or its type."""
        if self.parameters is None:
            return f"{self.name}: {self.result}"
        result = "" if self.result == "nil" else f": {self.result}"
        return f"{self.name}({', '.join(self.parameters)}){result}"


@cache
def library() -> Mapping[str, LibraryName]:
    """All names by how they are written, in the order of the file."""
    path = os.path.join(os.path.dirname(__file__), "lua", "library.txt")
    made: dict[str, LibraryName] = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            found = None if line.startswith("#") else _LINE.match(line.rstrip("\n"))
            if found is None:
                continue
            listed = found["parameters"]
            parameters = None if listed is None else tuple(filter(None, listed.split(", ")))
            made[found["name"]] = LibraryName(
                found["name"], parameters, found["result"] or "nil", found["doc"]
            )
    return made
