"""Taking an archive apart: all of it or nothing, and nothing outside the target directory.

The files are written into a hidden directory beside their places and moved when all of them are
there. What fails half-way, or is told to stop, leaves the target as it was.
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import IO

from llmspell_core import SecurityError, ValidationError
from llmspell_tools._config import FileOperationsConfig
from llmspell_tools._files import (
    delete_tree,
    descend,
    is_link,
    open_below,
    open_folder,
    open_in,
    parent_of,
    wrap_os_error,
)
from llmspell_tools._threads import Stop
from llmspell_tools.filesystem._archive_guard import Guard, safe_parts
from llmspell_tools.filesystem._archive_reading import Format, Member, members_of, pieces_of
from llmspell_tools.filesystem._file_rules import check_extension, check_type
from llmspell_tools.filesystem._patterns import Patterns
from llmspell_tools.filesystem._settings import ArchiveConfig

_REASONS = {"link": "symbolic link", "special": "neither file nor directory"}


@dataclass(slots=True)
class Extracted:
    """What came out: names of files below the target, and what was left in."""

    files: list[str] = field(default_factory=list[str])
    total_size: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list[dict[str, str]])


@dataclass(frozen=True, slots=True)
class Extraction:
    """One archive and the real path of the directory it goes to.

    Args:
        file: The archive, opened.
        kind: What it is.
        path: Its path as given.
        target: The real path of the directory, which is made.
        limits: How much may come out.
        rules: Which files are welcome here.
        wanted: Which members are asked for.
        stop: Ends the work.
    """

    file: IO[bytes]
    kind: Format
    path: str
    target: str
    limits: ArchiveConfig
    rules: FileOperationsConfig
    wanted: Patterns
    stop: Stop

    def run(self) -> Extracted:
        """Do it.

        Raises:
            SecurityError: for a member that would lie outside; nothing was written then.
            ResourceLimitError: for an archive with too much in it; nothing was written then.
            ValidationError, StorageError: for a damaged archive, or a place that cannot be written.
        """
        self._check_all()
        new = not os.path.lexists(self.target)
        with wrap_os_error("write", self.target):
            target = open_folder(self.target, create=True)
        try:
            return self._into(target)
        except BaseException:
            if new:
                with suppress(OSError), parent_of(self.target) as (folder, name):
                    os.rmdir(name, dir_fd=folder)
            raise
        finally:
            os.close(target)

    def _into(self, target: int) -> Extracted:
        staging = f".unpacking-{os.urandom(6).hex()}"
        with wrap_os_error("write", self.target):
            os.mkdir(staging, 0o700, dir_fd=target)
        try:
            inner = open_below(staging, target)
            try:
                made, folders = self._unpack(inner)
                self._place(inner, target, made.files, folders)
            finally:
                os.close(inner)
        finally:
            with suppress(FileNotFoundError):
                delete_tree(target, staging, _go_on)
        return made

    def _guard(self) -> Guard:
        return Guard(self.limits, os.fstat(self.file.fileno()).st_size)

    def _check_all(self) -> None:
        """Judge every name and every size before the first byte is written."""
        with members_of(self.file, self.kind, self.path, self._guard()) as members:
            for member in members:
                self.stop.check()
                safe_parts(member.name)

    def _unpack(self, staging: int) -> tuple[Extracted, list[list[str]]]:
        made = Extracted()
        folders: list[list[str]] = []
        sizes: dict[str, int] = {}
        with members_of(self.file, self.kind, self.path, self._guard()) as members:
            for member in members:
                self.stop.check()
                parts = safe_parts(member.name)
                name = "/".join(parts)
                if member.kind == "folder":
                    if self.wanted.all:
                        folders.append(parts)
                    continue
                reason = self._reason(member, name)
                if reason is None and self.wanted.match(name):
                    reason = self._take(member, parts, staging, sizes)
                if reason is not None:
                    made.skipped.append({"name": name, "reason": reason})
        made.files = list(sizes)
        made.total_size = sum(sizes.values())
        return made, folders

    def _reason(self, member: Member, name: str) -> str | None:
        """Why the member is not even tried."""
        if member.kind in _REASONS:
            return _REASONS[member.kind]
        if member.size > self.limits.max_file_size:
            return f"larger than {self.limits.max_file_size} bytes"
        try:
            check_extension(name, self.rules)
        except SecurityError:
            return "extension not allowed"
        return None

    def _take(
        self, member: Member, parts: list[str], staging: int, sizes: dict[str, int]
    ) -> str | None:
        """Write one file; a reason when that was not done."""
        name = "/".join(parts)
        if member.kind == "hard link":
            original = "/".join(safe_parts(member.target or ""))
            if original not in sizes:
                return "link to something that was not unpacked"
            if sizes[original] + sum(sizes.values()) > self.limits.max_total_size:
                return f"more than {self.limits.max_total_size} bytes in all"
            return self._repeat(original, parts, staging, sizes)
        with closing(member.open()) as content, wrap_os_error("write", name):
            return self._write(content, member, parts, staging, sizes)

    def _write(
        self,
        content: IO[bytes],
        member: Member,
        parts: list[str],
        staging: int,
        sizes: dict[str, int],
    ) -> str | None:
        name = "/".join(parts)
        folder = descend(staging, parts[:-1], name, create=True)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            size = 0
            reason = None
            with open_in(folder, parts[-1], flags, name, 0o600) as file:
                for piece in pieces_of(content):
                    self.stop.check()
                    reason = self._refused(piece, name, size)
                    if reason is not None:
                        break
                    size += len(piece)
                    file.write(piece)
                file.flush()
                os.fchmod(file.fileno(), 0o755 if member.mode & 0o111 else 0o644)
                if member.modified > 0:
                    os.utime(file.fileno(), (member.modified, member.modified))
            if reason is not None:
                os.unlink(parts[-1], dir_fd=folder)
                return reason
            sizes[name] = size
            return None
        finally:
            os.close(folder)

    def _refused(self, piece: bytes, name: str, size: int) -> str | None:
        if size + len(piece) > self.limits.max_file_size:
            return f"larger than {self.limits.max_file_size} bytes"
        if size == 0:
            try:
                check_type(piece, name, self.rules)
            except SecurityError:
                return "a program"
        return None

    def _repeat(
        self, original: str, parts: list[str], staging: int, sizes: dict[str, int]
    ) -> str | None:
        """Copy a file that was unpacked already: a hard link becomes a file of its own."""
        first = original.split("/")
        folder = descend(staging, first[:-1], original)
        try:
            with open_in(folder, first[-1], os.O_RDONLY, original) as content:
                mode = os.fstat(content.fileno()).st_mode
                member = Member(original, "file", 0, None, mode, 0.0, lambda: content)
                return self._write(content, member, parts, staging, sizes)
        finally:
            os.close(folder)

    def _place(self, staging: int, target: int, files: list[str], folders: list[list[str]]) -> None:
        with wrap_os_error("write", self.target):
            for parts in folders:
                os.close(descend(target, parts, self.target, create=True))
            for name in files:
                self.stop.check()
                *above, last = name.split("/")
                source = descend(staging, above, name)
                try:
                    place = descend(target, above, self.target, create=True)
                    try:
                        _move(source, last, place, name)
                    finally:
                        os.close(place)
                finally:
                    os.close(source)


def _move(source: int, name: str, place: int, shown: str) -> None:
    if is_link(name, place):
        # Whoever put it there meant another file; it is neither followed nor removed.
        raise SecurityError(
            f"Path not allowed: a symbolic link stands where '{shown}' would go",
            violation_type="file_write",
        )
    try:
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=place)
    except IsADirectoryError:
        raise ValidationError(
            f"A directory stands where the file '{shown}' would go", field="target_path"
        ) from None


def _go_on() -> None:
    return None
