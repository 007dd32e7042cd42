"""Operations that tell what scripts can use: ``api.list``, ``api.show``, ``api.definitions``.

They read declarations: no state is opened, nothing is constructed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llmspell_bridge._documents import document, object_text
from llmspell_bridge._library import LibraryName, library
from llmspell_bridge._meaning import Catalogue, Declared, Library, Member
from llmspell_bridge._notation import plain
from llmspell_core import (
    Documentation,
    ExecutionContext,
    GlobalDescription,
    NotFoundError,
    ObjectDescription,
    PluginIndex,
    Services,
    describe_globals,
    grouped_globals,
    nearest,
    operation,
)

_PARTS = re.compile(r"[.:]")


@operation("api.list")
async def api_list(services: Services, context: ExecutionContext) -> list[dict[str, Any]]:
    """The script globals and the handles they give out, from their declarations."""
    return [
        {
            "name": each.name,
            "aliases": list(each.aliases),
            "summary": plain(each.object.summary),
            "members": len(each.object.members),
            "handles": [handle.name for handle in each.handles],
            "distribution": each.distribution,
            "version": each.version,
            **({"error": each.error} if each.error else {}),
        }
        for each in describe_globals(services.plugins)
    ]


@operation("api.show")
async def api_show(
    services: Services, context: ExecutionContext, *, name: str | None = None
) -> list[dict[str, Any]]:
    """Everything about a global, a handle, a member or a name of the library.

    ``Agent``, ``Agent.builder``, ``Agent:execute`` (a handle's method), ``string.rep``. Without a
    name, all globals. A name may have several meanings; all are given.

    Raises:
        NotFoundError: for an unknown name, with the nearest.
    """
    if name is None:
        found = [Found.of_global(each) for each in describe_globals(services.plugins)]
    else:
        found = list(_found(services.plugins, name.strip()))
    return [each.to_dict() for each in found]


@operation("api.definitions")
async def api_definitions(services: Services, context: ExecutionContext) -> str:
    """The globals as definitions for the Lua language server (LuaCATS)."""
    from llmspell_bridge._luacats import definitions

    return definitions(describe_globals(services.plugins))


@dataclass(frozen=True, slots=True)
class Found:
    """One meaning of a name."""

    documentation: Documentation
    description: dict[str, Any]

    @classmethod
    def of_global(cls, described: GlobalDescription) -> Found:
        """A global with its handles."""
        title = ", ".join((described.name, *described.aliases))
        parts = [object_text(described.object, ".").replace(described.object.name, title, 1)]
        parts += [object_text(handle, ":") for handle in described.handles]
        if described.error:
            parts = [f"{title}\n\n  broken: {described.error}"]
        text = "\n\n".join(parts)
        meaning = Declared(described.object, _NOTHING, ".", kind="global")
        made = document(meaning, described.name, 0, 0)
        shown = Documentation(
            made.name, made.kind, made.signatures, made.summary, text, made.markdown, 0, 0
        )
        return cls(shown, described.to_dict())

    @classmethod
    def of_handle(cls, described: ObjectDescription, owner: GlobalDescription) -> Found:
        """A handle."""
        meaning = Declared(described, _NOTHING, ":", kind="class")
        return cls(
            document(meaning, described.name, 0, 0), {**described.to_dict(), "of": owner.name}
        )

    @classmethod
    def of_library(cls, entry: LibraryName) -> Found:
        """A name of the library."""
        made = document(Library(entry), entry.name, 0, 0)
        return cls(made, {"name": entry.name, "summary": entry.doc})

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        about = self.documentation
        return {
            "name": about.name,
            "kind": about.kind,
            "signatures": list(about.signatures),
            "summary": about.summary,
            "text": about.text,
            "markdown": about.markdown,
            "description": self.description,
        }


_NOTHING = Catalogue(lambda _key: None, lambda _group: [])


def _found(plugins: PluginIndex, name: str) -> Iterator[Found]:
    """What *name* means; looked for in the global it begins with before in all of them."""
    head = _PARTS.split(name)[0]
    near = [each for each in grouped_globals(plugins) if head in each]
    found = list(_among(describe_globals(plugins, only=(head,)), name)) if near else []
    if not found:
        described = describe_globals(plugins)
        found = list(_among(described, name))
        if not found and name in library():
            found = [Found.of_library(library()[name])]
        if not found:
            raise _unknown(name, described)
    yield from found


def _among(described: Sequence[GlobalDescription], name: str) -> Iterator[Found]:
    head, *rest = _PARTS.split(name, maxsplit=1)
    member = rest[0] if rest else None
    for each in described:
        if head in (each.name, *each.aliases):
            if member is None or each.error:
                yield Found.of_global(each)
            elif ":" not in name or not each.handles:
                yield from _member(each.object, member, ".")
    for owner, handle in _handles(described):
        if handle.name != head:
            continue
        if member is not None:
            yield from _member(handle, member, ":")
        elif not any(head in (each.name, *each.aliases) for each in described):
            yield Found.of_handle(handle, owner)


def _handles(
    described: Sequence[GlobalDescription],
) -> Iterator[tuple[GlobalDescription, ObjectDescription]]:
    seen: set[str] = set()
    for owner in described:
        for handle in owner.handles:
            if handle.key not in seen:
                seen.add(handle.key)
                yield owner, handle


def _member(described: ObjectDescription, name: str, separator: str) -> Iterator[Found]:
    found = described.member(name)
    if found is not None:
        meaning = Member(found, Declared(described, _NOTHING, separator), twin=name in found.twins)
        yield Found(document(meaning, found.name, 0, 0), found.to_dict())


def _unknown(name: str, described: Sequence[GlobalDescription]) -> NotFoundError:
    known = [each.name for each in described]
    for each in described:
        known += [f"{each.name}.{m.name}" for m in each.object.members]
    for _, handle in _handles(described):
        known += [handle.name, *(f"{handle.name}:{m.name}" for m in handle.members)]
    close = nearest(name, known)
    return NotFoundError(
        f"scripts know no '{name}'",
        hint=f"Did you mean '{close}'?" if close else "See what there is with: llmspell api",
        details={"name": name},
    )
