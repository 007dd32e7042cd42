"""Files below a folder: which match, and what they say."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llmspell_core import NotFoundError, ValidationError

MAX_FILE_BYTES = 32 * 1024 * 1024
MARKDOWN = (".md", ".markdown", ".mdown", ".mkd")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file: below the folder, as it is cited, and where it is."""

    relative: str
    source: str
    path: str


def find_files(typed: str, real: str, globs: Sequence[str]) -> list[FoundFile]:
    """The files below the folder *real* that match one of *globs*, sorted; *typed* is what the
    user called it and what citations begin with. A file instead of a folder is itself.

    Hidden files and folders are left out unless a pattern names them; folders that are symbolic
    links are not entered.

    Raises:
        NotFoundError: when there is no such folder, or nothing in it matches.
    """
    shown = os.path.normpath(typed)
    if os.path.isfile(real):
        return [FoundFile("", shown, real)]
    if not os.path.isdir(real):
        raise NotFoundError(
            f"there is no folder '{typed}'",
            hint=f"Paths are relative to the working directory, {os.getcwd()}.",
            details={"path": typed},
        )
    patterns = [_pattern(glob) for glob in globs]
    hidden = any(part.startswith(".") for glob in globs for part in glob.split("/"))
    found: list[FoundFile] = []
    others: Counter[str] = Counter()
    for relative in sorted(_walk(real, hidden=hidden)):
        if any(pattern.fullmatch(relative) for pattern in patterns):
            source = relative if shown == "." else os.path.join(shown, relative)
            found.append(FoundFile(relative, source, os.path.join(real, relative)))
        else:
            others[os.path.splitext(relative)[1] or "no suffix"] += 1
    if not found:
        there = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
        raise NotFoundError(
            f"no file below '{typed}' matches {', '.join(globs)}",
            hint=f"There are: {there}." if there else "The folder is empty.",
            details={"path": typed, "glob": list(globs)},
        )
    return found


def _walk(root: str, *, hidden: bool) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if hidden or not name.startswith(".")]
        below = os.path.relpath(folder, root)
        for name in files:
            if hidden or not name.startswith("."):
                yield name if below == "." else os.path.join(below, name)


@lru_cache(maxsize=64)
def _pattern(glob: str) -> re.Pattern[str]:
    """``*`` and ``?`` stay within a folder, ``**/`` is any depth, ``{a,b}`` are alternatives,
    ``[…]`` a set of characters.
    """
    if not glob or glob.startswith("/") or ".." in glob.split("/"):
        raise ValidationError(
            f"'{glob}' is not a pattern for files below the folder",
            field="glob",
            hint="For example **/*.md",
        )
    made = ""
    depth = position = 0
    while position < len(glob):
        rest = glob[position:]
        if rest.startswith("**/"):
            made, step = made + "(?:.*/)?", 3
        elif rest.startswith("**"):
            made, step = made + ".*", 2
        elif rest[0] == "*":
            made, step = made + "[^/]*", 1
        elif rest[0] == "?":
            made, step = made + "[^/]", 1
        elif rest[0] == "[" and (close := rest.find("]", 2)) > 0:
            inner = rest[1:close].replace("\\", "\\\\").replace("[", "\\[")
            made += "[" + ("^" + inner[1:] if inner[0] in "!^" else inner) + "]"
            step = close + 1
        elif rest[0] == "{" and "}" in rest:
            made, step, depth = made + "(?:", 1, depth + 1
        elif rest[0] in ",}" and depth:
            made, step = made + ("|" if rest[0] == "," else ")"), 1
            depth -= rest[0] == "}"
        else:
            made, step = made + re.escape(rest[0]), 1
        position += step
    try:
        return re.compile(made, re.DOTALL)
    except re.error as error:
        raise ValidationError(f"'{glob}' is not a pattern: {error}", field="glob") from error


def read_text(path: str) -> str:
    """The text of a file.

    Raises:
        ValueError: saying why it is no text that can be ingested.
        OSError: when it cannot be read.
    """
    with open(path, "rb") as file:
        raw = file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES >> 20} MB")
    if b"\0" in raw:
        raise ValueError("binary, not text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8 (byte {error.object[error.start]:#04x} at {error.start})"
        ) from error


_FRONT = re.compile(r"---[ \t]*\r?\n(.*?\n)?---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_ENTRY = re.compile(r"([A-Za-z_][\w-]*)[ \t]*:[ \t]*(.*?)[ \t]*\r?")


def front_matter(text: str) -> tuple[int, dict[str, Any]]:
    """The length of the front matter of a Markdown text, and its plain ``key: value`` entries;
    lists in brackets are read, nested values are left out.
    """
    found = _FRONT.match(text)
    if found is None:
        return 0, {}
    entries: dict[str, Any] = {}
    for line in (found[1] or "").split("\n"):
        entry = _ENTRY.fullmatch(line)
        if entry is None or not entry[2]:
            continue
        value = entry[2]
        if value.startswith("[") and value.endswith("]"):
            entries[entry[1]] = [_unquoted(v) for v in value[1:-1].split(",") if v.strip()]
        else:
            entries[entry[1]] = _unquoted(value)
    return found.end(), entries


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
