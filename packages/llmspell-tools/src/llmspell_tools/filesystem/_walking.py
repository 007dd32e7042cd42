"""Walking down a tree of directories by descriptors, following no link."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Set

from llmspell_tools._files import open_below

Listed = tuple[int, str, list[os.DirEntry[str]]]
"""A directory: its descriptor, its path below the root (empty, else with a slash at the end),
and what it holds besides directories, by name."""


def walk(
    folder: int, check: Callable[[], None], *, depth: int, excluded: Set[str] = frozenset()
) -> Generator[Listed]:
    """The directory *folder* and those below it, each before what is in it; a descriptor is good
    until the next one is asked for.

    Args:
        folder: A descriptor, which stays open.
        check: Called for each directory; ends the walk by raising.
        depth: 1 is the directory itself.
        excluded: Names of directories that are left out.

    A directory that cannot be read, or was replaced by a link meanwhile, is left out.
    """
    yield from _walk(folder, "", check, depth, excluded)


def _walk(
    folder: int, below: str, check: Callable[[], None], depth: int, excluded: Set[str]
) -> Generator[Listed]:
    check()
    folders: list[str] = []
    others: list[os.DirEntry[str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in excluded:
                    folders.append(entry.name)
            else:
                others.append(entry)
    others.sort(key=_name_of)
    yield folder, below, others
    if depth <= 1:
        return
    folders.sort()
    for name in folders:
        try:
            inner = open_below(name, folder)
        except OSError:
            continue
        try:
            yield from _walk(inner, f"{below}{name}/", check, depth - 1, excluded)
        except PermissionError:
            continue
        finally:
            os.close(inner)


def _name_of(entry: os.DirEntry[str]) -> str:
    return entry.name
