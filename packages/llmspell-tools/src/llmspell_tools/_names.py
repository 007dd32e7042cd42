"""Names of tools: one spelling to compare by."""

from __future__ import annotations


def key_of(name: str) -> str:
    """*name* in the form it is looked up by: case-insensitive, ``-`` and ``_`` alike."""
    return name.strip().lower().replace("-", "_")


def keys_of(name: str) -> tuple[str, ...]:
    """The keys to try for a requested *name*, in order: as it is, then without ``-tool``."""
    key = key_of(name)
    return (key, key.removesuffix("_tool")) if key.endswith("_tool") else (key,)
