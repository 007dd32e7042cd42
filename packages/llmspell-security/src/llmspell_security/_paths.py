"""Paths: what a text means on this machine, and whether that lies in an allowed place."""

from __future__ import annotations

import os
from collections.abc import Iterable

from llmspell_core import SecurityError, ValidationError

LONGEST = 4096
EVERYTHING = "*"

_ENCODED = (
    "%2e%2e",
    "%252e%252e",
    "..%2f",
    "..%5c",
    "..%252f",
    "..%255c",
    "%2e%2e%2f",
    "%00",
)


def absolute(path: str, base: str) -> str:
    """*path* as an absolute one, with ``.`` and ``..`` taken out of the text.

    Raises:
        ValidationError: for a text that is no path: empty, with NUL, over 4096 bytes, with a
            leading ``~`` or a percent-encoded ``..``.
        SecurityError: ``Path traversal detected`` when ``..`` leads above the root.
    """
    if not path:
        raise ValidationError("The path is empty", field="path", hint="Give the path of a file.")
    if "\0" in path:
        raise ValidationError("The path contains a NUL byte", field="path")
    if len(path.encode("utf-8", "surrogateescape")) > LONGEST:
        raise ValidationError(f"The path is longer than {LONGEST} bytes", field="path")
    if path.startswith("~"):
        raise ValidationError(
            f"The path '{path}' begins with '~', which is not expanded here",
            field="path",
            hint="Write the directory in full.",
        )
    lowered = path.lower()
    if any(form in lowered for form in _ENCODED):
        raise ValidationError(
            f"Path traversal detected: '{path}' contains percent-encoded dots",
            field="path",
            hint="Write the path plainly; nothing here is percent-encoded.",
        )
    whole = os.path.join(base, path)
    depth = 0
    for part in whole.split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            raise SecurityError(
                f"Path traversal detected: '{path}' leads above the root",
                violation_type="path_traversal",
            )
    # normpath keeps a double slash in front, which POSIX lets mean something else.
    return "/" + os.path.normpath(whole).lstrip("/")


def real_path(plain: str, shown: str) -> str:
    """The real path of the absolute path *plain*; *shown* is what it was given as.

    Raises:
        SecurityError: when a link in it vanished while it was followed.
    """
    try:
        return os.path.realpath(plain)
    except OSError as error:
        raise SecurityError(
            f"Path not allowed: {shown} changed while it was checked ({error.strerror})",
            violation_type="file_access",
            details={"path": shown},
        ) from None


def contains(folder: str, path: str) -> bool:
    """Whether *path* is *folder* or below it, by components: ``/tmp`` does not hold ``/tmp2``."""
    return path == folder or folder == "/" or path.startswith(folder + "/")


def within(path: str, folders: Iterable[str]) -> bool:
    """Whether a real *path* lies in one of the real *folders*."""
    return any(folder == EVERYTHING or contains(folder, path) for folder in folders)


def real_folders(paths: Iterable[str]) -> tuple[str, ...]:
    """Configured directories as real paths; ``~`` is expanded, ``*`` is kept."""
    return tuple(
        path if path == EVERYTHING else os.path.realpath(os.path.expanduser(path))
        for path in paths
        if path
    )
