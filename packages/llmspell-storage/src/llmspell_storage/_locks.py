"""Locks between processes (POSIX)."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def file_lock(path: str, *, wait: bool) -> Generator[bool]:
    """Hold an exclusive lock on the file *path*, which is created; yields whether it was got.

    The operating system releases it when the process dies. Without *wait*, somebody else's lock
    is not waited for.
    """
    import fcntl

    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
