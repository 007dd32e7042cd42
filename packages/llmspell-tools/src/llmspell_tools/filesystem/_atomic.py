"""Writing a file so that whoever reads it sees the old content or the new, never half of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import IO

from llmspell_tools._files import is_link, open_in, parent_of, redirected

DEFAULT_MODE = 0o644


@contextmanager
def replacing(path: str) -> Generator[IO[bytes]]:
    """A file to write that takes the place of the real *path* when the block ends well.

    It lies in the same directory under a hidden name, is on disk before it is renamed, has the
    permissions of the file it replaces (else 0644), and is gone when the block fails. Missing
    directories are made.
    """
    with parent_of(path, create=True) as (folder, name):
        mode = _mode_of(folder, name, path)
        temporary = f".{name[:100]}.{os.urandom(6).hex()}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        file = open_in(folder, temporary, flags, path, 0o600)
        try:
            with file:
                yield file
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise
        os.fsync(folder)


@contextmanager
def overwriting(path: str) -> Generator[IO[bytes]]:
    """The file at the real *path* itself, emptied first; missing directories are made."""
    with parent_of(path, create=True) as (folder, name):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with open_in(folder, name, flags, path, DEFAULT_MODE) as file:
            yield file


def _mode_of(folder: int, name: str, path: str) -> int:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return DEFAULT_MODE
    if is_link(name, folder):
        raise redirected(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(21, os.strerror(21))
    return stat.S_IMODE(status.st_mode) & 0o777
