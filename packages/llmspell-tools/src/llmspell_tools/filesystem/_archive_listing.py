"""What is in an archive."""

from __future__ import annotations

import os
from typing import IO, Any

from llmspell_tools._threads import Stop
from llmspell_tools.filesystem._archive_guard import Guard
from llmspell_tools.filesystem._archive_reading import Format, members_of, pieces_of
from llmspell_tools.filesystem._settings import ArchiveConfig


def listed(
    file: IO[bytes], kind: Format, path: str, limits: ArchiveConfig, stop: Stop
) -> list[dict[str, Any]]:
    """``{name, size, compressed_size, is_dir}`` of every member; what a compressed tar gives to
    one is unknown. Raises as `members_of`.
    """
    guard = Guard(limits, os.fstat(file.fileno()).st_size)
    files: list[dict[str, Any]] = []
    with members_of(file, kind, path, guard) as members:
        for member in members:
            stop.check()
            size = member.size
            if kind == "GZ":
                for piece in pieces_of(member.open()):
                    stop.check()
                    size += len(piece)
            files.append(
                {
                    "name": member.name,
                    "size": size,
                    "compressed_size": member.compressed_size,
                    "is_dir": member.kind == "folder",
                }
            )
    return files
