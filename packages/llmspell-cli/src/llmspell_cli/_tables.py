"""Plain text tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as needed, two blanks apart."""
    lines = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def moment(seconds: float | None) -> str:
    """A time of this place, to the second."""
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def span(milliseconds: float | None) -> str:
    """``340 ms``, ``2.1 s``, ``3 min 5 s``."""
    if milliseconds is None:
        return "-"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def money(cost: float | None, *, tokens: int | None = 0) -> str:
    """US dollars, with as many digits as a small amount needs. Where nothing is known: ``-``, or
    ``unknown`` when *tokens* say that there was something to pay.
    """
    if cost is None:
        return "unknown" if tokens else "-"
    return f"${cost:.4f}" if cost >= 0.01 or cost == 0 else f"${cost:.6f}"


def size(count: int) -> str:
    """``512 bytes``, ``1.5 KiB``, ``20.0 MiB``."""
    if count < 1024:
        return f"{count} bytes"
    amount = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1024:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1024:.1f} TiB"
