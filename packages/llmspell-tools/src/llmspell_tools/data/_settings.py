"""The sections ``[tools.data]``, ``[tools.document]`` and ``[tools.database]``."""

from __future__ import annotations

from dataclasses import dataclass

from llmspell_core import setting


@dataclass(frozen=True, slots=True)
class DataConfig:
    """``[tools.data]``: how much the data tools take in."""

    max_csv_size: int = setting(
        100 * 1024**2,
        help="largest CSV text or file",
        env=("LLMSPELL_TOOLS_DATA_MAX_CSV_SIZE",),
        unit="bytes",
        above_zero=True,
    )
    max_json_depth: int = setting(
        100,
        help="levels that JSON may be nested",
        env=("LLMSPELL_TOOLS_DATA_MAX_JSON_DEPTH",),
        above_zero=True,
    )
