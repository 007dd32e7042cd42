"""The sections of single file tools: ``[tools.archive_handler]`` and its neighbours."""

from __future__ import annotations

from dataclasses import dataclass

from llmspell_core import setting


@dataclass(frozen=True, slots=True)
class ArchiveConfig:
    """``[tools.archive_handler]``: how much may come out of an archive."""

    enabled: bool = setting(True, help="offer the archive tool")
    max_file_size: int = setting(
        100 * 1024**2,
        help="larger files are skipped",
        unit="bytes",
        above_zero=True,
    )
    max_total_size: int = setting(
        1024**3,
        help="most that the files of an archive take together",
        unit="bytes",
        above_zero=True,
    )
    max_files: int = setting(10_000, help="most files in an archive", above_zero=True)
    max_ratio: float = setting(
        100.0,
        help="how many times larger the content may be than the archive, beyond the first megabyte",
        above_zero=True,
    )


@dataclass(frozen=True, slots=True)
class ConverterConfig:
    """``[tools.file_converter]``."""

    enabled: bool = setting(True, help="offer the converter")
    max_file_size: int = setting(
        50 * 1024**2, help="largest file that is converted", unit="bytes", above_zero=True
    )
    output_dir: str | None = setting(
        None, help="where results go when a call names no target; else the file itself is replaced"
    )
