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


@dataclass(frozen=True, slots=True)
class DocumentConfig:
    """``[tools.document]``."""

    max_pdf_size: int = setting(
        50 * 1024**2,
        help="largest PDF that is read",
        env=("LLMSPELL_TOOLS_DOC_MAX_PDF_SIZE",),
        unit="bytes",
        above_zero=True,
    )
    max_pages: int | None = setting(
        None, help="most pages of which the text is taken; unset means all", above_zero=True
    )
