"""What an archive may not do: name places outside, or hold more than it should.

Names are judged here, before anything is written. Sizes are counted as the content comes out,
because what an archive says of itself may be a lie.
"""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING

from llmspell_core import ResourceLimitError, SecurityError, ValidationError

if TYPE_CHECKING:
    from llmspell_tools.filesystem._settings import ArchiveConfig

FREE_BYTES = 1 << 20
"""Up to here any ratio is fine: a small file of blanks compresses well."""
LARGEST_READ = 16 << 20
"""A header asks for less; one that asks for more wants our memory."""
MOST_HEADER_BYTES = 4 << 20
HEADER_BYTES = 2048
"""What a tar may spend on a member besides its content."""
DEEPEST = 100

_DRIVE = re.compile(r"[A-Za-z]:")


def safe_parts(name: str) -> list[str]:
    """The components of a member's *name*, which is relative and stays below its root.

    Raises:
        SecurityError: for one that leads out.
        ValidationError: for one that is nothing at all, or nested absurdly deep.
    """
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if plain.startswith("/") or ".." in parts or _DRIVE.match(plain) or "\0" in plain:
        raise SecurityError(
            f"Path traversal detected: the archive's member '{name}' leads out of the target "
            "directory. Nothing was written",
            violation_type="path_traversal",
            hint="The archive is damaged or hostile; do not unpack it.",
            details={"member": name},
        )
    if not parts or len(parts) > DEEPEST:
        raise ValidationError(
            f"The archive's member '{name[:200]}' has no usable name", field="path"
        )
    return parts


class Guard:
    """Counts what comes out of one archive, and stops it when that is too much.

    Args:
        limits: The limits.
        compressed: Bytes of the archive itself.
    """

    def __init__(self, limits: ArchiveConfig, compressed: int) -> None:
        self._limits = limits
        self._most = max(FREE_BYTES, int(limits.max_ratio * max(compressed, 1)))
        self._files = 0
        self._bytes = 0

    def member(self) -> None:
        """Another member was met."""
        self._files += 1
        if self._files > self._limits.max_files:
            raise ResourceLimitError(
                "archive files",
                limit=self._limits.max_files,
                used=f"more than {self._limits.max_files}",
                hint="Raise max_files in [tools.archive_handler].",
            )

    def content(self, size: int) -> None:
        """Another *size* bytes came out, or are announced."""
        self._bytes += size
        if self._bytes > self._limits.max_total_size + self._files * HEADER_BYTES:
            raise ResourceLimitError(
                "archive content",
                limit=self._limits.max_total_size,
                used=f"at least {self._bytes} bytes",
                hint="Raise max_total_size in [tools.archive_handler].",
            )
        if self._bytes > self._most:
            raise ResourceLimitError(
                "archive compression ratio",
                limit=f"{self._limits.max_ratio:g}:1",
                used=f"at least {self._bytes} bytes from so small an archive",
                hint="It may be a bomb; raise max_ratio in [tools.archive_handler] if it is not.",
            )


class Forward:
    """A stream that is read forwards, with its bytes counted; `tarfile` takes it for a file.

    It steps back only within what it read last, which is all `tarfile` needs, so that a
    compressed stream is never begun anew. Between two calls of `expect`, at most that many bytes
    may be read; skipping is free of that.

    Args:
        source: What is read.
        guard: Where the bytes are counted.
    """

    def __init__(self, source: IO[bytes], guard: Guard) -> None:
        self._source = source
        self._guard = guard
        self._kept = b""
        self._end = 0
        self._place = 0
        self._budget = MOST_HEADER_BYTES

    def expect(self, size: int) -> None:
        """So much may be read from here on."""
        self._budget = size

    def read(self, size: int = -1) -> bytes:
        """Up to *size* bytes."""
        if not 0 <= size <= min(LARGEST_READ, self._budget):
            raise ValidationError(
                "Failed to open archive: it has a header of absurd size", field="path"
            )
        self._budget -= size
        made = b""
        if self._place < self._end:
            start = len(self._kept) - (self._end - self._place)
            made = self._kept[start : start + size]
            self._place += len(made)
        if len(made) < size:
            made += self._pull(size - len(made))
        return made

    def _pull(self, size: int) -> bytes:
        made = self._source.read(size)
        self._guard.content(len(made))
        self._kept = (self._kept + made)[-1024:] if len(made) < 1024 else made[-1024:]
        self._end += len(made)
        self._place = self._end
        return made

    def close(self) -> None:
        """Nothing: the source belongs to another."""

    def tell(self) -> int:
        """Where it stands."""
        return self._place

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to *place*, counted from the beginning."""
        assert whence == 0
        if place < self._end - len(self._kept):
            raise ValidationError(
                "Failed to open archive: its headers lead backwards", field="path"
            )
        self._place = min(place, self._end)
        while self._end < place:
            if not self._pull(min(place - self._end, 1 << 18)):
                break
        return self._place
