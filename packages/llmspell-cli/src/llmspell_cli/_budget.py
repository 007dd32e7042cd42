"""``--budget``: what an execution may spend, in one word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmspell_core import ValidationError

if TYPE_CHECKING:
    import typer

    from llmspell_core import BudgetLimits

_PART = re.compile(
    r"(?P<dollar>\$)?(?P<number>\d+(?:\.\d+)?|\.\d+)(?P<scale>k|M)?\s*(?P<unit>[a-z]*)"
)
_UNITS = {
    "usd": ("cost", 1.0),
    "dollars": ("cost", 1.0),
    "tokens": ("tokens", 1.0),
    "token": ("tokens", 1.0),
    "calls": ("calls", 1.0),
    "call": ("calls", 1.0),
    "s": ("seconds", 1.0),
    "sec": ("seconds", 1.0),
    "seconds": ("seconds", 1.0),
    "m": ("seconds", 60.0),
    "min": ("seconds", 60.0),
    "h": ("seconds", 3600.0),
}
_EXAMPLE = "Write it like 0.50usd, 20ktokens, 30calls or 5min; several with commas between."


def budget_option(ctx: typer.Context, words: Sequence[str] | None) -> BudgetLimits | None:
    """The limits of the options *words*; what is no limit is wrong usage."""
    try:
        return read_budget(words or ())
    except ValidationError as error:
        ctx.fail(f"invalid value for '--budget': {error.message}. {error.hint or ''}".rstrip())


def read_budget(words: Sequence[str]) -> BudgetLimits | None:
    """The limits in *words*: ``0.50usd,20000tokens``, ``$2``, ``30calls``, ``5min``.

    Raises:
        ValidationError: naming the part that is none.
    """
    parts = [part.strip() for word in words for part in word.split(",")]
    if not parts:
        return None
    made: dict[str, Any] = {}
    for part in parts:
        name, value = _limit(part)
        if name in made:
            raise ValidationError(
                f"the budget limits {name} twice: {part}", field="budget", hint=_EXAMPLE
            )
        made[name] = value
    from llmspell_core import BudgetLimits

    return BudgetLimits(**made)


def _limit(part: str) -> tuple[str, float | int]:
    found = _PART.fullmatch(part)
    unit = None
    if found is not None:
        unit = _UNITS.get("usd" if found["dollar"] and not found["unit"] else found["unit"])
    if found is None or unit is None or (found["dollar"] and unit[0] != "cost"):
        raise ValidationError(f"'{part}' is no limit of a budget", field="budget", hint=_EXAMPLE)
    name, factor = unit
    value = float(found["number"]) * {"k": 1e3, "M": 1e6, None: 1.0}[found["scale"]] * factor
    if name in {"tokens", "calls"}:
        if value != int(value):
            raise ValidationError(f"'{part}' is not a whole number", field="budget", hint=_EXAMPLE)
        return name, int(value)
    return name, value
