"""Archives that are read: what kind one is, and its members one after the other."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Literal, cast

from llmspell_core import ValidationError
from llmspell_tools.filesystem._archive_guard import MOST_HEADER_BYTES, Forward, Guard

Format = Literal["ZIP", "TAR", "TAR.GZ", "GZ"]
Kind = Literal["file", "folder", "link", "hard link", "special"]

_SUFFIXES: tuple[tuple[str, Format], ...] = (
    (".tar.gz", "TAR.GZ"),
    (".tgz", "TAR.GZ"),
    (".zip", "ZIP"),
    (".tar", "TAR"),
    (".gz", "GZ"),
)
_NAMES: dict[str, Format] = {
    "zip": "ZIP",
    "tar": "TAR",
    "tar.gz": "TAR.GZ",
    "tgz": "TAR.GZ",
    "gz": "GZ",
    "gzip": "GZ",
}
_OTHERS = ("7z", "rar", "xz", "bz2", "zst", "lz4", "cab", "iso", "jar", "war", "tbz2", "txz")
_PIECE = 1 << 18
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The others of the format have decoders that hand out any amount at once."""


@dataclass(frozen=True, slots=True)
class Member:
    """One entry. `open` gives its content, to be read before the next member is asked for;
    `target` is the earlier member that a hard link repeats.
    """

    name: str
    kind: Kind
    size: int
    compressed_size: int | None
    mode: int
    modified: float
    open: Callable[[], IO[bytes]]
    target: str | None = None


def format_of(path: str, asked: str | None = None) -> Format:
    """What kind of archive *path* names; *asked* wins.

    Raises:
        ValidationError: ``Unsupported archive format``, ``Cannot determine archive format``.
    """
    supported = "Supported: zip, tar, tar.gz (tgz), gz."
    if asked is not None:
        found = _NAMES.get(asked.lower().removeprefix("."))
        if found is None:
            raise ValidationError(
                f"Unsupported archive format: '{asked}'", field="format", hint=supported
            )
        return found
    lowered = path.lower()
    for suffix, kind in _SUFFIXES:
        if lowered.endswith(suffix):
            return kind
    extension = os.path.splitext(lowered)[1].removeprefix(".")
    if extension in _OTHERS:
        raise ValidationError(
            f"Unsupported archive format: '.{extension}' of {path}", field="path", hint=supported
        )
    raise ValidationError(
        f"Cannot determine archive format of {path}",
        field="format",
        hint=f"Give format. {supported}",
    )


_DAMAGED = (
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    UnicodeError,
    # A tar whose headers announce headers, which announce headers …
    RecursionError,
)


def pieces_of(content: IO[bytes]) -> Iterator[bytes]:
    """The content of a member, piece by piece.

    Raises:
        EOFError: where `gzip` raises an `OSError`, which no system call brought.
    """
    try:
        while piece := content.read(_PIECE):
            yield piece
    except gzip.BadGzipFile as error:
        raise EOFError(str(error)) from None


@contextmanager
def members_of(
    file: IO[bytes], kind: Format, path: str, guard: Guard
) -> Generator[Iterator[Member]]:
    """The members of the archive *file*, from its beginning; *path* names it in messages.

    Raises:
        ValidationError: for one that is damaged, encrypted, or not of that kind.
        ResourceLimitError: as *guard*.
    """
    file.seek(0)
    reader = {"ZIP": _zip, "TAR": _tar, "TAR.GZ": _tar_gz, "GZ": _gz}[kind]
    try:
        yield reader(file, path, guard)
    except zipfile.BadZipFile as error:
        raise ValidationError(f"Invalid ZIP archive: {path}: {error}", field="path") from None
    except _DAMAGED as error:
        raise ValidationError(
            f"Failed to open archive {path}: it is no {kind.lower()}, or damaged: {error}",
            field="path",
        ) from None


_LARGEST = 8 << 20


class _Capped:
    """A file of which nobody reads 8 MiB or more at once.

    `zipfile` reads the whole directory of an archive in one go, as long as the archive says.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell
        self.seekable = file.seekable

    def read(self, size: int = -1) -> bytes:
        made = self._file.read(min(size, _LARGEST) if size >= 0 else _LARGEST)
        if len(made) == _LARGEST:
            raise zipfile.BadZipFile("its directory is of absurd size")
        return made


def _zip(file: IO[bytes], path: str, guard: Guard) -> Iterator[Member]:
    with zipfile.ZipFile(cast("IO[bytes]", _Capped(file))) as archive:
        for info in archive.infolist():
            guard.member()
            guard.content(info.file_size)
            if info.flag_bits & 1:
                raise ValidationError(
                    f"Failed to open archive {path}: '{info.filename}' is encrypted", field="path"
                )
            yield _zip_member(archive, info)


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    mode = info.external_attr >> 16
    kind: Kind = "folder" if info.is_dir() else "file"
    if stat.S_ISLNK(mode):
        kind = "link"
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "special"

    def content() -> IO[bytes]:
        if info.compress_type not in _READABLE:
            raise ValidationError(
                f"Unsupported archive format: '{info.filename}' is packed with method "
                f"{info.compress_type}; stored and deflated files can be read",
                field="path",
            )
        return archive.open(info)

    try:
        modified = datetime(*info.date_time, tzinfo=UTC).timestamp()
    except ValueError:
        modified = 0.0
    return Member(
        info.filename, kind, info.file_size, info.compress_size, mode & 0o777, modified, content
    )


def _tar(file: IO[bytes], path: str, guard: Guard) -> Iterator[Member]:
    return _tar_members(file, guard, packed=False)


def _tar_gz(file: IO[bytes], path: str, guard: Guard) -> Iterator[Member]:
    with gzip.GzipFile(fileobj=file) as plain:
        yield from _tar_members(cast("IO[bytes]", plain), guard, packed=True)


_TAR_KINDS: dict[bytes, Kind] = {
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "link",
    tarfile.LNKTYPE: "hard link",
}


def _tar_members(file: IO[bytes], guard: Guard, *, packed: bool) -> Iterator[Member]:
    stream = Forward(file, guard)
    with tarfile.open(
        fileobj=cast("IO[bytes]", stream), mode="r:", encoding="utf-8", errors="replace"
    ) as archive:
        while True:
            stream.expect(MOST_HEADER_BYTES)
            info = archive.next()
            if info is None:
                return
            guard.member()
            yield _tar_member(archive, stream, info, packed)


def _tar_member(
    archive: tarfile.TarFile, stream: Forward, info: tarfile.TarInfo, packed: bool
) -> Member:
    # A sparse file is mostly holes, which are counted nowhere: it unpacks to any size.
    plain = info.isreg() and not info.issparse()
    kind: Kind = "file" if plain else _TAR_KINDS.get(info.type, "special")

    def content() -> IO[bytes]:
        stream.expect(info.size + MOST_HEADER_BYTES)
        found = archive.extractfile(info)
        assert found is not None
        return found

    return Member(
        info.name,
        kind,
        info.size if plain else 0,
        None if packed else info.size,
        info.mode & 0o777,
        info.mtime,
        content,
        info.linkname if kind == "hard link" else None,
    )


def _gz(file: IO[bytes], path: str, guard: Guard) -> Iterator[Member]:
    size = os.fstat(file.fileno()).st_size
    guard.member()
    with gzip.GzipFile(fileobj=file) as plain:
        stream = Forward(cast("IO[bytes]", plain), guard)

        def content() -> IO[bytes]:
            stream.expect(1 << 62)
            return cast("IO[bytes]", stream)

        name = os.path.basename(path)
        name = name[:-3] if name.lower().endswith(".gz") else name
        # How large it is shows only when it has been read.
        yield Member(name or "content", "file", 0, size, 0o644, 0.0, content)
