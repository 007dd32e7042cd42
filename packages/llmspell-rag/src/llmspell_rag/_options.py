"""Options of calls, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import ValidationError

if TYPE_CHECKING:
    from llmspell_rag._config import ChunkingConfig

MOST_RESULTS = 10_000
_SPELLINGS = {
    "sliding": "sliding_window",
    "fixed_size": "fixed",
    "heading": "markdown",
    "headings": "markdown",
}


def whole_number(value: Any) -> int | None:
    """*value* as an integer, if it is one (5 or 5.0)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def checked_k(k: Any) -> int:
    """How many results: 1 to 10,000.

    Raises:
        ValidationError: for anything else.
    """
    number = whole_number(k)
    if number is None or number < 1:
        raise ValidationError("k must be a positive integer", field="k")
    if number > MOST_RESULTS:
        raise ValidationError(
            f"k value too large: {number}", field="k", hint=f"Ask for at most {MOST_RESULTS}."
        )
    return number


def checked_threshold(threshold: Any) -> float | None:
    """The least score, 0 to 1, or None.

    Raises:
        ValidationError: for anything else.
    """
    if threshold is None:
        return None
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not number or not 0 <= threshold <= 1:
        raise ValidationError(
            f"threshold must be a number from 0 to 1, not {threshold!r}", field="threshold"
        )
    return float(threshold)


@dataclass(frozen=True, slots=True)
class ChunkOptions:
    """How a text is cut, in tokens; a strategy of None depends on the document."""

    strategy: str | None
    size: int
    overlap: int


def chunk_options(options: Mapping[str, Any], defaults: ChunkingConfig) -> ChunkOptions:
    """``chunk_size``, ``chunk_overlap`` or ``overlap``, ``strategy``, at the top or in a table
    ``chunking``. A smaller size shrinks a default overlap with it.

    Raises:
        ValidationError: naming the option.
    """
    table: Any = options.get("chunking")
    if table is None:
        table = {}
    if not isinstance(table, Mapping):
        raise ValidationError("chunking must be a table", field="chunking")
    given = {**options, **cast("Mapping[str, Any]", table)}
    size = _number(given, ("chunk_size",), least=1)
    overlap = _number(given, ("chunk_overlap", "overlap"), least=0)
    strategy = given.get("strategy")
    if strategy is None:
        strategy = defaults.strategy
    elif not isinstance(strategy, str):
        raise ValidationError("strategy must be a name", field="strategy")
    if size is None:
        size = defaults.chunk_size
    if overlap is None:
        overlap = defaults.overlap if defaults.overlap < size else size // 8
    if overlap >= size:
        raise ValidationError(
            f"chunk overlap ({overlap}) must be less than the chunk size ({size})",
            field="chunk_overlap",
        )
    return ChunkOptions(_SPELLINGS.get(strategy or "", strategy), size, overlap)


def _number(given: Mapping[str, Any], names: tuple[str, ...], *, least: int) -> int | None:
    for name in names:
        if given.get(name) is not None:
            number = whole_number(given[name])
            if number is None or number < least:
                raise ValidationError(
                    f"{name} must be a whole number of tokens, at least {least}, "
                    f"not {given[name]!r}",
                    field=name,
                )
            return number
    return None
