"""What the search tool lets its worker process do: read files and look through them.

It runs in a child because a regular expression may take for ever, and only killing ends that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from llmspell_tools._files import open_folder
from llmspell_tools._worker_main import Refused
from llmspell_tools.filesystem._listing import moment_of
from llmspell_tools.filesystem._patterns import Patterns
from llmspell_tools.filesystem._walking import walk

MOST_SKIPPED = 100
"""Skipped files that are listed; all are counted."""
LONGEST_LINE = 1000
LONGEST_CONTEXT = 300
MOST_CHARACTERS = 10_000_000
"""Where an answer ends, whatever the number of matches."""

_PIECE = 1 << 16
_BINARY_WITHIN = 8192
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_LOOKS_AROUND = re.compile(r"\(\?(?!:|P<)|\\[AZ]|[*+?}]\+")
"""What may see the end of a line that is not there when the line stands alone, and what gives
nothing back: lookarounds, flags, atomic groups, possessive repeats.
"""
_WILD = re.compile(r"[*?\[]")

Hits = Callable[[str], Iterator[tuple[int, int]]]
"""Where a line matches: start and end of each match."""


@dataclass(slots=True)
class Search:
    """One search; its fields are the parameters of the tool."""

    pattern: str
    case_sensitive: bool
    use_regex: bool
    context_lines: int
    include: frozenset[str]
    exclude: frozenset[str]
    exclude_dirs: frozenset[str]
    file_pattern: str | None
    max_file_size: int
    max_per_file: int
    max_results: int
    max_depth: int
    matches: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    searched: int = 0
    with_matches: int = 0
    skipped: int = 0
    reasons: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    characters: int = 0
    truncated: bool = False

    def wants(self) -> Callable[[str], bool]:
        """Whether a file is looked into, by its name."""
        include, exclude = self.include, self.exclude
        glob = Patterns([self.file_pattern]) if self.file_pattern else None

        def wanted(name: str) -> bool:
            extension = os.path.splitext(name)[1][1:].lower()
            if include:
                if extension not in include:
                    return False
            elif extension in exclude:
                return False
            return glob is None or glob.match(name)

        return wanted

    def skip(self, path: str, reason: str) -> None:
        """A file that could not be looked into."""
        self.skipped += 1
        if len(self.reasons) < MOST_SKIPPED:
            self.reasons.append({"file_path": path, "reason": reason})

    @property
    def full(self) -> bool:
        """Whether no more is wanted."""
        full = len(self.matches) >= self.max_results or self.characters > MOST_CHARACTERS
        self.truncated = self.truncated or full
        return full

    def answer(self) -> dict[str, Any]:
        """What the tool makes its result of."""
        return {
            "matches": self.matches,
            "searched": self.searched,
            "with_matches": self.with_matches,
            "skipped": self.skipped,
            "reasons": self.reasons,
            "truncated": self.truncated,
        }


def search(real: str, shown: str, options: dict[str, Any]) -> dict[str, Any]:
    """Look through the file or directory at *real*, which is called *shown* in the answer."""
    wanted = _search_of(options)
    needle = _needle(wanted)
    hits = _hits(wanted)
    if not _is_folder(real, shown):
        folder = open_folder(os.path.dirname(real))
        _look_into(wanted, folder, os.path.basename(real), shown, needle, hits)
        os.close(folder)
        return wanted.answer()
    accepts = wanted.wants()
    root = open_folder(real)
    excluded = wanted.exclude_dirs
    for folder, below, entries in walk(root, _go_on, depth=wanted.max_depth, excluded=excluded):
        for entry in entries:
            name = entry.name
            if not accepts(name) or not entry.is_file(follow_symlinks=False):
                continue
            _look_into(wanted, folder, name, f"{shown}/{below}{name}", needle, hits)
            if wanted.full:
                os.close(root)
                return wanted.answer()
    os.close(root)
    return wanted.answer()


def find(real: str, shown: str, options: dict[str, Any]) -> dict[str, Any]:
    """Find files by their names; as `search`."""
    wanted = _search_of(options)
    named = _named(wanted)
    accepts = wanted.wants()
    single = not _is_folder(real, shown)
    root = open_folder(os.path.dirname(real) if single else real)
    depth = 1 if single else wanted.max_depth
    for folder, below, entries in walk(root, _go_on, depth=depth, excluded=wanted.exclude_dirs):
        for entry in entries:
            if single and entry.name != os.path.basename(real):
                continue
            wanted.searched += 1
            if not accepts(entry.name) or not named(entry.name):
                continue
            status = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
            path = shown if single else f"{shown}/{below}{entry.name}"
            wanted.matches.append(
                {
                    "file_path": _readable(path),
                    "name": _readable(entry.name),
                    "size": status.st_size,
                    "modified": moment_of(status.st_mtime),
                }
            )
            if wanted.full:
                break
        if wanted.truncated:
            break
    os.close(root)
    wanted.with_matches = len(wanted.matches)
    return wanted.answer()


def _is_folder(real: str, shown: str) -> bool:
    if not os.path.exists(real):
        raise Refused(f"Path does not exist: {shown}")
    return os.path.isdir(real)


def _search_of(options: dict[str, Any]) -> Search:
    given = dict(options)
    for name in ("include", "exclude", "exclude_dirs"):
        given[name] = frozenset(given[name])
    return Search(**given)


def _go_on() -> None:
    """Nobody asks a worker to stop: it is killed."""


# Patterns ------------------------------------------------------------------------------------


def _compiled(wanted: Search, text: str, flags: int = 0) -> re.Pattern[str]:
    try:
        return re.compile(text, flags | (0 if wanted.case_sensitive else re.IGNORECASE))
    except (re.error, OverflowError, RecursionError) as error:
        raise Refused(f"Invalid regex pattern: '{wanted.pattern[:200]}': {error}") from None


def _hits(wanted: Search) -> Hits:
    if wanted.use_regex:
        pattern = _compiled(wanted, wanted.pattern)
        return lambda line: (found.span() for found in pattern.finditer(line))
    # A lookahead consumes nothing, so hits that overlap are all found.
    literal = _compiled(wanted, f"(?={re.escape(wanted.pattern)})")
    length = len(wanted.pattern)
    return lambda line: ((at, at + length) for at in (m.start() for m in literal.finditer(line)))


def _needle(wanted: Search) -> Callable[[bytes], bool]:
    """Whether a file may hold a match, quickly."""
    if wanted.use_regex:
        if _LOOKS_AROUND.search(wanted.pattern):
            return lambda content: True
        # What matches in a line by itself then matches in the whole text too, and one search is
        # faster than one for every line.
        whole = _compiled(wanted, wanted.pattern, re.MULTILINE)
        return lambda content: whole.search(_without_returns(content)) is not None
    needle = wanted.pattern.encode()
    if wanted.case_sensitive:
        return lambda content: needle in content
    if not wanted.pattern.isascii():
        return lambda content: True
    lowered = needle.lower()
    return lambda content: lowered in content.lower()


def _without_returns(content: bytes) -> str:
    text = content.decode("utf-8", "replace")
    return text.replace("\r\n", "\n").removesuffix("\r") if "\r" in text else text


def _named(wanted: Search) -> Callable[[str], bool]:
    text = wanted.pattern
    if wanted.use_regex:
        pattern = _compiled(wanted, text)
        return lambda name: pattern.search(name) is not None
    fold: Callable[[str], str] = str if wanted.case_sensitive else str.lower
    if _WILD.search(text):
        glob = Patterns([fold(text)])
        return lambda name: glob.match(fold(name))
    return lambda name: fold(text) in fold(name)


# Files ---------------------------------------------------------------------------------------


def _look_into(
    wanted: Search,
    folder: int,
    name: str,
    path: str,
    needle: Callable[[bytes], bool],
    hits: Hits,
) -> None:
    try:
        content = _content(folder, name, wanted.max_file_size)
    except OSError as error:
        wanted.skip(_readable(path), os.strerror(error.errno or 0))
        return
    if content is None:
        wanted.skip(_readable(path), f"larger than {wanted.max_file_size} bytes")
        return
    if b"\0" in content[:_BINARY_WITHIN]:
        wanted.skip(_readable(path), "binary file")
        return
    wanted.searched += 1
    if needle(content):
        _matches(wanted, content, _readable(path), hits)


def _content(folder: int, name: str, most: int) -> bytes | None:
    """What is in the file; None when that is more than *most* bytes."""
    descriptor = os.open(name, _OPEN, dir_fd=folder)
    try:
        first = os.read(descriptor, _PIECE)
        if len(first) < _PIECE:
            return first if len(first) <= most else None
        pieces = [first]
        size = len(first)
        while size <= most and (piece := os.read(descriptor, 1 << 20)):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces) if size <= most else None
    finally:
        os.close(descriptor)


def _matches(wanted: Search, content: bytes, path: str, hits: Hits) -> None:
    lines = content.decode("utf-8", "replace").split("\n")
    if lines[-1] == "":
        lines.pop()
    before = len(wanted.matches)
    most = wanted.max_per_file or wanted.max_results
    for index, line in enumerate(lines):
        line = line[:-1] if line.endswith("\r") else line
        for start, end in hits(line):
            match = _match(path, lines, index, line, (start, end), wanted.context_lines)
            wanted.matches.append(match)
            wanted.characters += sum(map(len, match["context_before"] + match["context_after"]))
            wanted.characters += len(match["line_content"])
            if wanted.full or len(wanted.matches) - before >= most:
                break
        else:
            continue
        break
    wanted.with_matches += len(wanted.matches) > before


def _match(
    path: str, lines: list[str], index: int, line: str, span: tuple[int, int], around: int
) -> dict[str, Any]:
    start, end = span
    shown = line
    if len(line) > LONGEST_LINE:
        first = max(0, start - LONGEST_LINE // 4)
        shown = line[first : first + LONGEST_LINE]
    return {
        "file_path": path,
        "line_number": index + 1,
        "column_number": start + 1,
        "line_content": shown,
        "matched_text": line[start:end][:LONGEST_LINE],
        "context_before": _around(lines[max(0, index - around) : index]),
        "context_after": _around(lines[index + 1 : index + 1 + around]),
    }


def _around(lines: list[str]) -> list[str]:
    return [line.removesuffix("\r")[:LONGEST_CONTEXT] for line in lines]


def _readable(path: str) -> str:
    """A path as text: names on disk may be any bytes."""
    return path if path.isascii() else os.fsencode(path).decode("utf-8", "replace")
