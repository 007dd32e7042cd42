"""A page of Markdown about a global, from its declaration."""

from __future__ import annotations

from collections.abc import Iterator

from llmspell_bridge._documents import member_markdown, member_rows
from llmspell_bridge._notation import markdown
from llmspell_core import GlobalDescription, ObjectDescription


def reference_page(described: GlobalDescription, *, note: str = "") -> str:
    """Every member of a global and of the handles it gives out.

    Args:
        described: The global, as `llmspell_core.describe_globals` tells of it.
        note: Markdown that stands below the heading.
    """
    parts = [f"# {described.name}", note, markdown(described.object.doc)]
    if described.aliases:
        parts.append(f"Also: {', '.join(f'`{alias}`' for alias in described.aliases)}.")
    if described.object.other_fields is not None:
        parts.append(f"Further fields: {markdown(described.object.other_doc)}")
    parts += _members(described.object, ".")
    for handle in described.handles:
        parts += [f"## {_title(handle, described)}", markdown(handle.doc)]
        parts += _members(handle, ":")
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(handle: ObjectDescription, described: GlobalDescription) -> str:
    same = handle.name in (described.name, *described.aliases)
    return f"{handle.name} objects" if same else handle.name


def _members(described: ObjectDescription, separator: str) -> Iterator[str]:
    """The fields as a list, the methods each with a heading."""
    rows = dict(zip(described.members, member_rows(described, separator), strict=True))
    fields = [rows[member] for member in described.members if member.kind == "field"]
    if fields:
        yield "\n".join(f"- `{left}`: {markdown(right)}" for left, right in fields)
    for member in described.members:
        if member.kind == "method":
            yield f"### `{described.name}{separator}{member.name}`"
            yield member_markdown(member, described.name, separator)
