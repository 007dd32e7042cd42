"""Definitions for editors: what scripts see, in the annotations of the Lua language server.

The format is LuaCATS (https://luals.github.io/wiki/annotations/): a Lua file of empty functions
that the server reads and nobody runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmspell_bridge._library import LibraryName, library
from llmspell_bridge._notation import literal, markdown
from llmspell_bridge._tokens import KEYWORDS, is_name
from llmspell_core import (
    GlobalDescription,
    MemberDescription,
    ObjectDescription,
    OptionKey,
    ValueType,
)

_HEAD = """\
---@meta llmspell

-- The globals of LLMSpell scripts, for the Lua language server. Made from what is installed by:
-- llmspell api --luacats > llmspell.lua
-- Point `workspace.library` (in VS Code `Lua.workspace.library`) to the folder of this file.
"""
_ADDED = (
    *("ARGS", "arg", "unpack", "loadstring", "math.pow", "math.ldexp", "math.frexp", "math.cosh"),
    *("math.sinh", "math.tanh", "math.log10", "table.getn", "string.gfind"),
)
"""What scripts have besides the library of Lua 5.4, which the server knows."""
_SIMPLE = {
    "any": "any",
    "nothing": "nil",
    "text": "string",
    "bytes": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "table": "table",
    "function": "function",
    "several": "any",
}


def definitions(described: Sequence[GlobalDescription]) -> str:
    """The definition file for these globals; broken ones are left out."""
    return _Definitions(described).text()


class _Definitions:
    def __init__(self, described: Sequence[GlobalDescription]) -> None:
        self._globals = [each for each in described if not each.error and is_name(each.name)]
        self._handles = {h.key: h for each in self._globals for h in each.handles}
        self._names = _unique({key: h.name for key, h in self._handles.items()})
        self._options: dict[str, tuple[OptionKey, ...]] = {}

    def text(self) -> str:
        """The whole file."""
        parts = [self._library()]
        parts += [self._global(each) for each in self._globals]
        parts += [self._handle(each, self._names[key]) for key, each in self._handles.items()]
        # Last, because writing the rest finds them.
        parts += [self._keys(name) for name in self._options]
        return "\n".join([_HEAD, *parts])

    # Classes --------------------------------------------------------------------------------------

    def _global(self, described: GlobalDescription) -> str:
        lines = [*_comment(described.object.doc), f"---@class llmspell.globals.{described.name}"]
        lines += self._fields(described.object)
        lines += [f"{described.name} = {{}}", ""]
        lines += self._methods(described.object, described.name, ".")
        lines += [f"{a} = {described.name}" for a in described.aliases if is_name(a)]
        return "\n".join(lines).rstrip() + "\n"

    def _handle(self, described: ObjectDescription, name: str) -> str:
        lines = [*_comment(described.doc), f"---@class llmspell.{name}"]
        lines += self._fields(described)
        lines += ["local handle = {}", ""]
        lines += self._methods(described, "handle", ":")
        body = "\n".join(lines).rstrip()
        return f"do\n{body}\nend\n"

    def _fields(self, described: ObjectDescription) -> Iterator[str]:
        for member in described.members:
            if member.kind == "field":
                note = f" {markdown(member.summary)}" if member.summary else ""
                for name in member.names:
                    yield f"---@field {name} {self.type(member.returns)}{note}"
        if described.other_fields is not None:
            yield f"---@field [string] {self.type(described.other_fields)}"

    def _methods(self, described: ObjectDescription, owner: str, separator: str) -> Iterator[str]:
        for member in described.members:
            if member.kind != "method":
                continue
            yield from self._method(member, owner, separator, member.names, twin=False)
            if member.twins:
                yield from self._method(member, owner, separator, member.twins, twin=True)

    def _method(
        self,
        member: MemberDescription,
        owner: str,
        separator: str,
        names: tuple[str, ...],
        *,
        twin: bool,
    ) -> Iterator[str]:
        yield from _comment(member.doc)
        parameters: list[str] = []
        for parameter in member.parameters:
            name = "..." if parameter.variadic else _variable(parameter.name)
            parameters.append(name)
            mark = "" if parameter.required or parameter.variadic else "?"
            note = f" {markdown(parameter.doc)}" if parameter.doc else ""
            yield f"---@param {name}{mark} {self.type(parameter.type, given=False)}{note}"
        if twin or member.promise:
            parameters.append("callback")
            yield "---@param callback? fun(result: any, message: string?)"
        yield from self._returned(member, twin=twin)
        first, *others = sorted(names, key=lambda name: (not is_name(name), names.index(name)))
        if is_name(first):
            yield f"function {owner}{separator}{first}({', '.join(parameters)}) end"
            for name in others:
                place = f".{name}" if is_name(name) else f"[{literal(name)}]"
                yield f"{owner}{place} = {owner}.{first}"
        yield ""

    def _returned(self, member: MemberDescription, *, twin: bool) -> Iterator[str]:
        note = f" # {markdown(member.returns_doc)}" if member.returns_doc else ""
        if twin or member.promise:
            yield "---@return llmspell.Promise"
            return
        if member.returns.kind == "several":
            yield f"---@return any{note}"
            yield "---@return any"
            return
        text = self.type(member.returns)
        if member.fails == "pair" and not text.endswith("?") and text not in {"any", "nil"}:
            text = f"({text})?" if "|" in text else f"{text}?"
        if text != "nil" or member.fails != "raise":
            yield f"---@return {text}{note}"
        if member.fails != "raise":
            yield "---@return string? # the message of a failure"

    # Types ----------------------------------------------------------------------------------------

    def type(self, type: ValueType, *, given: bool = True) -> str:
        """The type as annotations name it; without *given* nil is not said."""
        if type.kind == "handle":
            text = f"llmspell.{self._names.get(type.handle, type.title)}"
        elif type.kind == "list":
            inner = self.type(type.of[0]) if type.of else "any"
            text = f"({inner})[]" if "|" in inner or inner.endswith("?") else f"{inner}[]"
        elif type.kind == "words":
            text = "|".join(literal(word) for word in type.words)
        elif type.kind == "either":
            text = "|".join(dict.fromkeys(self.type(option) for option in type.of))
        else:
            text = _SIMPLE[type.kind]
        if type.keys:
            known = f"llmspell.{type.title}"
            self._options.setdefault(type.title, type.keys)
            text = known if text == "table" else f"{known}|{text}"
        if given and type.optional and text not in {"any", "nil"}:
            return f"({text})?" if "|" in text else f"{text}?"
        return text

    def _keys(self, name: str) -> str:
        lines = [f"---@class llmspell.{name}"]
        for key in self._options[name]:
            mark = "" if key.required else "?"
            note = f" {markdown(key.doc)}" if key.doc else ""
            lines.append(f"---@field {key.name}{mark} {self.type(key.type)}{note}")
        return "\n".join(lines) + "\n"

    # What the language has more -------------------------------------------------------------------

    def _library(self) -> str:
        entries: list[LibraryName] = [library()[name] for name in _ADDED]
        lines: list[str] = []
        for entry in entries:
            lines += _comment(entry.doc)
            if entry.parameters is None:
                lines += ["---@type table<string|integer, string>", f"{entry.name} = {{}}", ""]
                continue
            names: list[str] = []
            for parameter in entry.parameters:
                name, _, kind = parameter.partition(": ")
                names.append(name.removesuffix("?"))
                lines.append(f"---@param {name} {kind or 'any'}")
            lines += [f"---@return {result}" for result in entry.result.split(", ")]
            lines += [f"function {entry.name}({', '.join(names)}) end", ""]
        return "\n".join(lines).rstrip() + "\n"


def _variable(name: str) -> str:
    return f"{name}_" if name in KEYWORDS else name


def _comment(text: str) -> list[str]:
    return [f"---{line}".rstrip() for line in markdown(text).splitlines()]


def _unique(names: dict[str, str]) -> dict[str, str]:
    """Key → name, with a number behind names that are taken."""
    made: dict[str, str] = {}
    for key, name in names.items():
        wanted, number = name, 1
        while wanted in made.values():
            number += 1
            wanted = f"{name}{number}"
        made[key] = wanted
    return made
