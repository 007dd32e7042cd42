"""Scopes as scripts write them, namespaces as the vector store knows them."""

from __future__ import annotations

from llmspell_core import ValidationError

GLOBAL = "__global__"
KINDS = ("tenant", "session", "user", "agent", "workflow", "tool", "hook", "custom")


def namespace_of(scope: str) -> str:
    """The namespace of a scope: ``global`` or nothing, ``session:ID`` and the like, or a word of
    one's own. ``custom:session:ID`` is ``session:ID``.

    Raises:
        ValidationError: for a kind without an id.
    """
    text = scope.strip()
    if text in ("", "global", GLOBAL):
        return GLOBAL
    kind, colon, rest = text.partition(":")
    if kind not in KINDS:
        return f"custom:{text}"
    if not colon or not rest.strip():
        raise ValidationError(
            f"scope '{kind}' needs an id",
            field="scope",
            hint=f"Write it as '{kind}:ID', or give scope_id.",
        )
    if kind == "custom" and rest.partition(":")[0] in KINDS:
        return rest
    return text
