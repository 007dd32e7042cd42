"""What changes below some paths, seen by looking again and comparing.

Notices of the operating system would come sooner, but the libraries for them follow symbolic
links out of the allowed directories and call a rename two events; this needs neither.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from llmspell_core import LLMSpellError, ResourceLimitError
from llmspell_tools._files import open_folder, parent_of
from llmspell_tools.filesystem._patterns import Patterns
from llmspell_tools.filesystem._walking import walk

MOST_ENTRIES = 50_000
SHARE = 10
"""Looking takes at most one part in so many of the time."""
LONGEST_PAUSE = 5.0


class Entry(NamedTuple):
    """What identifies a file, and what changes with its content."""

    device: int
    inode: int
    modified: int
    size: int
    folder: bool


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened: ``Create``, ``Modify``, ``Delete``, ``Rename``."""

    event_type: str
    path: str
    old_path: str | None = None


@dataclass(frozen=True, slots=True)
class Root:
    """A path that is watched: as given, and its real path."""

    shown: str
    real: str


class Watch:
    """Looks at some paths again and again.

    Args:
        roots: What is watched.
        recursive: Directories below them too.
        patterns: Which names matter.
        depth: Levels to descend.
    """

    def __init__(
        self, roots: Iterable[Root], patterns: Patterns, *, recursive: bool, depth: int
    ) -> None:
        self._roots = list(roots)
        self._patterns = patterns
        self._depth = depth if recursive else 1
        self._seen: dict[str, Entry] = {}
        self.pause = 0.0
        """Seconds to wait before the next look, so that looking costs little."""

    def begin(self, check: Callable[[], None]) -> None:
        """Take note of what there is."""
        self._seen = self._look(check)

    def changes(self, check: Callable[[], None]) -> list[Change]:
        """What happened since the last look; deletions first, then by path."""
        before, after = self._seen, self._look(check)
        self._seen = after
        gone = [path for path in before if path not in after]
        new = [path for path in after if path not in before]
        moved = _moved(gone, new, before, after)
        made = [Change("Delete", path) for path in sorted(gone) if path not in moved]
        old_paths = {there: here for here, there in moved.items()}
        for path in sorted(after):
            old = before.get(path)
            if old is None:
                kind = "Rename" if path in old_paths else "Create"
                made.append(Change(kind, path, old_paths.get(path)))
            elif old != after[path] and not after[path].folder:
                made.append(Change("Modify", path))
        return made

    def _look(self, check: Callable[[], None]) -> dict[str, Entry]:
        started = time.perf_counter()
        found: dict[str, Entry] = {}
        for root in self._roots:
            try:
                self._look_at(root, found, check)
            except ResourceLimitError:
                raise
            except (OSError, LLMSpellError):
                # It is gone, or somebody put a link in its place: nothing of it is there.
                continue
        self.pause = min((time.perf_counter() - started) * SHARE, LONGEST_PAUSE)
        return found

    def _look_at(self, root: Root, found: dict[str, Entry], check: Callable[[], None]) -> None:
        with parent_of(root.real) as (above, name):
            status = os.stat(name or ".", dir_fd=above, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            if not stat.S_ISLNK(status.st_mode):
                self._note(found, root.shown, status)
            return
        folder = open_folder(root.real)
        try:
            for inner, below, entries in walk(folder, check, depth=self._depth):
                shown = os.path.join(root.shown, below) if below else f"{root.shown}/"
                if below:
                    self._note(found, shown.rstrip("/"), os.fstat(inner))
                for entry in entries:
                    self._note_entry(found, shown + entry.name, entry)
        finally:
            os.close(folder)

    def _note_entry(self, found: dict[str, Entry], path: str, entry: os.DirEntry[str]) -> None:
        try:
            self._note(found, path, entry.stat(follow_symlinks=False))
        except OSError:
            return

    def _note(self, found: dict[str, Entry], path: str, status: os.stat_result) -> None:
        if not self._patterns.match(path.rpartition("/")[2]):
            return
        if len(found) >= MOST_ENTRIES:
            raise ResourceLimitError(
                "watched files",
                limit=MOST_ENTRIES,
                used=f"more than {MOST_ENTRIES}",
                hint="Watch a directory further down, or without recursive.",
            )
        folder = stat.S_ISDIR(status.st_mode)
        found[_readable(path)] = Entry(
            status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, folder
        )


def _moved(
    gone: list[str], new: list[str], before: dict[str, Entry], after: dict[str, Entry]
) -> dict[str, str]:
    """Old path → new path of what was renamed: the same file, unchanged. An inode alone would
    not do, because a new file often gets that of a deleted one.
    """
    places = {before[path]: path for path in gone}
    moved: dict[str, str] = {}
    for path in new:
        old = places.pop(after[path], None)
        if old is not None:
            moved[old] = path
    return moved


def _readable(path: str) -> str:
    return path if path.isascii() else os.fsencode(path).decode("utf-8", "replace")
