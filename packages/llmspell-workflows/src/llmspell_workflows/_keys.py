"""Names as parts of state keys."""

from __future__ import annotations

from llmspell_core import digest

LONGEST_NAME = 72
LONGEST_KEY = 256


def key_part(name: str) -> str:
    """*name* as a part of a state key: what a key may not hold becomes ``_``, what is too long
    is cut and told apart by a digest. Ordinary names stay as they are.
    """
    kept = "".join(c if c.isprintable() and c not in "\\/" else "_" for c in name)
    while ".." in kept:
        kept = kept.replace("..", "_")
    if kept.startswith(("__", "$$")):
        kept = "_" + kept[2:]
    if len(kept) > LONGEST_NAME:
        kept = f"{kept[: LONGEST_NAME - 9]}-{digest(name)[:8]}"
    return kept


def bounded_key(key: str) -> str:
    """*key*, cut and told apart by a digest where deep nesting made it too long to keep."""
    return key if len(key) <= LONGEST_KEY else f"{key[: LONGEST_KEY - 9]}-{digest(key)[:8]}"
