"""Putting files into an archive, a piece at a time."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from llmspell_core import ResourceLimitError, SecurityError, ValidationError
from llmspell_tools._config import FileOperationsConfig
from llmspell_tools._files import open_below, open_in, parent_of, wrap_os_error
from llmspell_tools._threads import Stop
from llmspell_tools.filesystem._archive_guard import safe_parts
from llmspell_tools.filesystem._archive_reading import Format
from llmspell_tools.filesystem._atomic import replacing
from llmspell_tools.filesystem._file_rules import check_extension
from llmspell_tools.filesystem._patterns import Patterns
from llmspell_tools.filesystem._settings import ArchiveConfig
from llmspell_tools.filesystem._walking import walk

_PIECE = 1 << 18
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_LATEST = (2107, 12, 31, 23, 59, 58)


@dataclass(frozen=True, slots=True)
class Source:
    """Something to pack: the path as given, its real path, its name in the archive."""

    path: str
    real: str
    name: str


@dataclass(slots=True)
class Created:
    """What went in: names in the archive, and what was left out."""

    files: list[str] = field(default_factory=list[str])
    total_size: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list[dict[str, str]])


@dataclass(frozen=True, slots=True)
class Creation:
    """An archive to be made.

    Args:
        sources: What goes in.
        real: The real path of the archive, replaced when all went well.
        kind: What it becomes.
        level: 0 stores, 9 compresses most.
        limits: How much may go in.
        rules: Which files are welcome here.
        wanted: Which files of directories go in.
        may_read: Asks the policy about a file in a directory, by its path as given.
        stop: Ends the work.
    """

    sources: list[Source]
    real: str
    kind: Format
    level: int
    limits: ArchiveConfig
    rules: FileOperationsConfig
    wanted: Patterns
    may_read: Callable[[str], Any]
    stop: Stop

    def run(self) -> Created:
        """Do it.

        Raises:
            ValidationError: for two files of one name; for more than one file in a gz.
            ResourceLimitError: for too much.
            StorageError: for a source that cannot be read, or a place that cannot be written.
        """
        made = Created()
        with wrap_os_error("write", self.real), replacing(self.real) as file:
            mine = os.fstat(file.fileno())
            with self._writer(file) as add:
                for name, content, status in self._files(made):
                    if (status.st_dev, status.st_ino) == (mine.st_dev, mine.st_ino):
                        continue
                    self._admit(made, name, status.st_size)
                    add(name, content, status)
            if self.kind == "GZ" and not made.files:
                raise ValidationError("There is no file to compress", field="input")
        return made

    def _admit(self, made: Created, name: str, size: int) -> None:
        if self.kind == "GZ" and made.files:
            raise ValidationError(
                "GZ format can only compress a single file",
                field="input",
                hint="Make a .tar.gz or a .zip of several.",
            )
        if len(made.files) >= self.limits.max_files:
            raise ResourceLimitError(
                "archive files",
                limit=self.limits.max_files,
                used=f"more than {self.limits.max_files}",
                hint="Raise max_files in [tools.archive_handler].",
            )
        made.files.append(name)
        made.total_size += size
        if made.total_size > self.limits.max_total_size:
            raise ResourceLimitError(
                "archive content",
                limit=self.limits.max_total_size,
                used=f"at least {made.total_size} bytes",
                hint="Raise max_total_size in [tools.archive_handler].",
            )

    # What goes in --------------------------------------------------------------------------

    def _files(self, made: Created) -> Iterator[tuple[str, IO[bytes], os.stat_result]]:
        seen: set[str] = set()
        for source in self.sources:
            for name, content, status in self._of(source, made):
                if name in seen:
                    raise ValidationError(
                        f"Two files would both be '{name}' in the archive",
                        field="input",
                        hint='Name them: { path = "…", archive_path = "…" }.',
                    )
                seen.add(name)
                yield name, content, status

    def _of(self, source: Source, made: Created) -> Iterator[tuple[str, IO[bytes], os.stat_result]]:
        with wrap_os_error("read", source.path), parent_of(source.real) as (folder, name):
            status = os.stat(name or ".", dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                check_extension(source.path, self.rules)
                with open_in(folder, name, os.O_RDONLY, source.path) as content:
                    status = os.fstat(content.fileno())
                    if self._fits(source.name, status, made):
                        yield source.name, content, status
                return
            inner = open_below(name or ".", folder)
            try:
                yield from self._below(inner, source, made)
            finally:
                os.close(inner)

    def _below(
        self, root: int, source: Source, made: Created
    ) -> Iterator[tuple[str, IO[bytes], os.stat_result]]:
        for folder, below, entries in walk(root, self.stop.check, depth=self.rules.max_depth):
            for entry in entries:
                name = f"{source.name}/{below}{entry.name}"
                if not self.wanted.match(below + entry.name):
                    continue
                reason = self._reason(entry, os.path.join(source.path, below + entry.name))
                if reason is not None:
                    made.skipped.append({"name": name, "reason": reason})
                    continue
                with open_in(folder, entry.name, os.O_RDONLY, name) as content:
                    status = os.fstat(content.fileno())
                    if self._fits(name, status, made):
                        yield name, content, status

    def _reason(self, entry: os.DirEntry[str], path: str) -> str | None:
        if entry.is_symlink():
            return "symbolic link"
        if not entry.is_file(follow_symlinks=False):
            return "neither file nor directory"
        try:
            check_extension(entry.name, self.rules)
        except SecurityError:
            return "extension not allowed"
        try:
            self.may_read(path)
        except (SecurityError, ValidationError):
            return "not allowed"
        return None

    def _fits(self, name: str, status: os.stat_result, made: Created) -> bool:
        if status.st_size <= self.limits.max_file_size:
            return True
        reason = f"larger than {self.limits.max_file_size} bytes"
        made.skipped.append({"name": name, "reason": reason})
        return False

    # The formats ---------------------------------------------------------------------------

    @contextmanager
    def _writer(
        self, file: IO[bytes]
    ) -> Generator[Callable[[str, IO[bytes], os.stat_result], None]]:
        if self.kind == "ZIP":
            packing = zipfile.ZIP_DEFLATED if self.level else zipfile.ZIP_STORED
            with zipfile.ZipFile(
                file, "w", packing, compresslevel=self.level or None, strict_timestamps=False
            ) as archive:
                yield lambda name, content, status: self._zip(archive, name, content, status)
        elif self.kind == "TAR":
            with tarfile.open(fileobj=file, mode="w:", encoding="utf-8") as tar:
                yield lambda name, content, status: self._tar(tar, name, content, status)
        elif self.kind == "TAR.GZ":
            with (
                gzip.GzipFile("", "wb", self.level, file, mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w:", encoding="utf-8") as tar,
            ):
                yield lambda name, content, status: self._tar(tar, name, content, status)
        else:
            with gzip.GzipFile("", "wb", self.level, file, mtime=0) as packed:
                yield lambda name, content, status: self._copy(content, packed)

    def _zip(
        self, archive: zipfile.ZipFile, name: str, content: IO[bytes], status: os.stat_result
    ) -> None:
        import time

        info = zipfile.ZipInfo(name, _dos_time(time.gmtime(status.st_mtime)[:6]))
        info.compress_type = archive.compression
        info.external_attr = (stat.S_IFREG | status.st_mode & 0o777) << 16
        info.file_size = status.st_size
        # compress_level of a ZipInfo of our own is not taken from the archive.
        info._compresslevel = archive.compresslevel  # type: ignore[attr-defined]
        with archive.open(info, "w", force_zip64=status.st_size > 1 << 31) as target:
            self._copy(content, target)

    def _tar(
        self, archive: tarfile.TarFile, name: str, content: IO[bytes], status: os.stat_result
    ) -> None:
        # Neither who owns a file nor its inode is anybody's business.
        info = tarfile.TarInfo(name)
        info.size = status.st_size
        info.mode = status.st_mode & 0o777
        info.mtime = int(status.st_mtime)
        archive.addfile(info, _Checked(content, self.stop))  # pyright: ignore[reportArgumentType]

    def _copy(self, content: IO[bytes], target: Any) -> None:
        while piece := content.read(_PIECE):
            self.stop.check()
            target.write(piece)


class _Checked:
    """A file whose reader is told to stop; `tarfile` copies by itself."""

    def __init__(self, file: IO[bytes], stop: Stop) -> None:
        self._file = file
        self._stop = stop

    def read(self, size: int = -1) -> bytes:
        self._stop.check()
        return self._file.read(size)


def _dos_time(moment: tuple[int, ...]) -> tuple[int, int, int, int, int, int]:
    bounded = min(max(moment, _EARLIEST), _LATEST)
    return bounded  # pyright: ignore[reportReturnType]


def archive_name(given: str) -> str:
    """A name in the archive that unpacks below its root.

    Raises:
        SecurityError, ValidationError: as `safe_parts`.
    """
    return "/".join(safe_parts(given))
