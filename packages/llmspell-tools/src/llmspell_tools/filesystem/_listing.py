"""What lies in a directory, and what one file is like."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from llmspell_tools._files import open_folder
from llmspell_tools._threads import Stop

MOST_ENTRIES = 1000


def kind_of(mode: int) -> str:
    """``file``, ``directory``, ``symlink`` or ``unknown``."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(mode) else "unknown"


def moment_of(seconds: float) -> str:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def entries_of(
    real: str, shown: str, stop: Stop, *, depth: int
) -> tuple[list[dict[str, Any]], bool]:
    """The entries of the directory at the real path *real*, sorted by name, and whether there
    were more than `MOST_ENTRIES`. *depth* 1 is the directory itself; links are not followed.
    """
    found: list[dict[str, Any]] = []
    for entry in _walk(real, shown, "", stop, depth):
        if len(found) == MOST_ENTRIES:
            return found, True
        found.append(entry)
    return found, False


def _walk(real: str, shown: str, below: str, stop: Stop, depth: int) -> Iterator[dict[str, Any]]:
    folder = open_folder(real)
    try:
        for name in sorted(os.listdir(folder)):
            stop.check()
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                continue
            kind = kind_of(status.st_mode)
            yield {
                "name": below + name,
                "path": os.path.join(shown, name),
                "type": kind,
                "size": status.st_size,
                "modified": moment_of(status.st_mtime),
            }
            if kind == "directory" and depth > 1:
                yield from _walk(
                    os.path.join(real, name),
                    os.path.join(shown, name),
                    f"{below}{name}/",
                    stop,
                    depth - 1,
                )
    finally:
        os.close(folder)


def metadata_of(status: os.stat_result, path: str) -> dict[str, Any]:
    """``{path, type, size, readonly, created, modified, accessed}``."""
    born = getattr(status, "st_birthtime", status.st_ctime)
    return {
        "path": path,
        "type": kind_of(status.st_mode),
        "size": status.st_size,
        "readonly": not status.st_mode & 0o222,
        "created": moment_of(born),
        "modified": moment_of(status.st_mtime),
        "accessed": moment_of(status.st_atime),
    }
