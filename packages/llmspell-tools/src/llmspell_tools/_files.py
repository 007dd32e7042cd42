"""Files under paths that a policy has approved, opened so that nobody can redirect them.

A policy returns a real path: absolute and without symbolic links. Between its answer and our
use of it somebody may put a link in the way. So every component is opened by itself, relative
to the one above and refusing to follow a link; what then goes wrong is an error, never another
file.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from typing import IO

from llmspell_core import SecurityError, StorageError

CHUNK = 1 << 20

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REDIRECTED = (errno.ELOOP, errno.ENOTDIR)


@contextmanager
def wrap_os_error(operation: str, path: str) -> Generator[None]:
    """Turn an `OSError` of the block into a `StorageError` that names *path* and the reason."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StorageError(
            f"Failed to access path '{path}': {reason}",
            operation=operation if error.errno in _PASSING else "access",
            code="NOT_FOUND" if error.errno == errno.ENOENT else "STORAGE_ERROR",
            details={"path": path, "errno": errno.errorcode.get(error.errno or 0)},
            source=error,
        ) from error


_PASSING = (errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO, errno.ENOSPC, errno.ETXTBSY)


def open_folder(path: str, *, create: bool = False) -> int:
    """A descriptor of the directory at the real *path*; with *create*, missing ones are made.

    Raises:
        SecurityError: when a component became a symbolic link.
        OSError: as the system calls do.
    """
    folder = os.open("/", _FOLDER)
    try:
        return descend(folder, path.split("/"), path, create=create)
    finally:
        os.close(folder)


def descend(folder: int, parts: Iterable[str], path: str, *, create: bool = False) -> int:
    """A descriptor of the directory that *parts* lead to from *folder*, which stays open; *path*
    is for messages. Raises as `open_folder`.
    """
    here = os.dup(folder)
    try:
        for part in parts:
            if not part:
                continue
            try:
                below = _checked_below(part, here, path)
            except FileNotFoundError:
                if not create:
                    raise
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=here)
                below = _checked_below(part, here, path)
            os.close(here)
            here = below
    except BaseException:
        os.close(here)
        raise
    return here


def open_below(name: str, folder: int) -> int:
    """A descriptor of the directory *name* in *folder*; an `OSError` for a link."""
    return os.open(name, _FOLDER, dir_fd=folder)


def _checked_below(part: str, folder: int, path: str) -> int:
    try:
        return open_below(part, folder)
    except OSError as error:
        if error.errno in _REDIRECTED and is_link(part, folder):
            raise redirected(path) from None
        raise


def is_link(name: str, folder: int) -> bool:
    """Whether *name* in the directory is a symbolic link."""
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def redirected(path: str) -> SecurityError:
    """The error for a path that changed under our feet."""
    return SecurityError(
        f"Path not allowed: {path} not in allowlist (File access violation: "
        "a symbolic link appeared in it after it was checked)",
        violation_type="file_access",
        details={"path": path},
    )


@contextmanager
def parent_of(path: str, *, create: bool = False) -> Generator[tuple[int, str]]:
    """A descriptor of the directory that holds the real *path*, and the name in it."""
    above, name = os.path.split(path)
    folder = open_folder(above, create=create)
    try:
        yield folder, name
    finally:
        os.close(folder)


def open_in(folder: int, name: str, flags: int, path: str, mode: int = 0o644) -> IO[bytes]:
    """Open the regular file *name* in the directory; *path* is for messages.

    Raises:
        SecurityError: when it is a symbolic link.
        OSError: ``EISDIR`` for a directory, ``EINVAL`` for a pipe, socket or device.
    """
    try:
        # Non-blocking, because opening a pipe for reading would wait for its writer.
        extra = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(name, flags | extra, mode, dir_fd=folder)
    except OSError as error:
        if error.errno in _REDIRECTED and is_link(name, folder):
            raise redirected(path) from None
        if error.errno == errno.ENXIO:
            raise OSError(errno.EINVAL, "not a regular file") from error
        raise
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        code = errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL
        raise OSError(code, os.strerror(code))
    writing = flags & os.O_ACCMODE != os.O_RDONLY
    how = "ab" if flags & os.O_APPEND else "r+b" if flags & os.O_RDWR else "wb" if writing else "rb"
    return os.fdopen(descriptor, how)


@contextmanager
def open_file(path: str, flags: int) -> Generator[IO[bytes]]:
    """Open the regular file at the real *path*. Raises as `open_in` and `open_folder`."""
    with parent_of(path) as (folder, name), open_in(folder, name, flags, path) as file:
        yield file


def delete_tree(folder: int, name: str, check: Callable[[], None]) -> None:
    """Delete the directory *name* in *folder* with all that is in it, following no link; *check*
    is called between the pieces of the work and ends it by raising.
    """
    inner = os.open(name, _FOLDER, dir_fd=folder)
    try:
        for entry in os.listdir(inner):
            check()
            status = os.stat(entry, dir_fd=inner, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                delete_tree(inner, entry, check)
            else:
                os.unlink(entry, dir_fd=inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)
