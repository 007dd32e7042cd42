"""What an expression of a script means, as far as declarations and the code tell.

A `Meaning` answers for its members, its items and what calling it gives, so a chain such as
``Agent.builder():model("x"):build()`` is followed step by step. What cannot be told is `UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from llmspell_bridge._library import LibraryName, library
from llmspell_bridge._notation import plain, signature, twin_signature, type_text
from llmspell_core import (
    CompletionKind,
    MemberDescription,
    ObjectDescription,
    OptionKey,
    ValueType,
)


class Meaning:
    """Something of which nothing is known."""

    kind: CompletionKind = "variable"

    @property
    def signature(self) -> str:
        """How it is called, or its type; empty if unknown."""
        return ""

    @property
    def summary(self) -> str:
        """One sentence; empty if there is none."""
        return ""

    def members(self) -> Iterator[tuple[tuple[str, ...], Meaning]]:
        """Names and meaning of each member, in the order to be shown."""
        return iter(())

    def beginning(self, typed: str) -> Iterator[tuple[tuple[str, ...], Meaning]]:
        """At least those members of which a name begins so."""
        return self.members()

    def member(self, name: str) -> Meaning:
        """What the member is."""
        for names, meaning in self.members():
            if name in names:
                return meaning
        return UNKNOWN

    def called(self, index: int = 0) -> Meaning:
        """The result of calling it, by number."""
        return UNKNOWN

    def item(self) -> Meaning:
        """What is in it, where it is a list."""
        return UNKNOWN

    def argument(self, number: int) -> ValueType | None:
        """The type of an argument, from 0; for a colon call the object is not counted."""
        return None


UNKNOWN = Meaning()


class Catalogue:
    """Where names lead that the code itself does not define.

    Args:
        objects: Description of a handle by its key.
        registered: The names in an entry-point group.
    """

    def __init__(
        self,
        objects: Callable[[str], ObjectDescription | None],
        registered: Callable[[str], list[str]],
    ) -> None:
        self._objects = objects
        self._indices: dict[str, dict[str, tuple[MemberDescription, bool]]] = {}
        self.registered = registered

    def index(self, described: ObjectDescription) -> dict[str, tuple[MemberDescription, bool]]:
        """Every name of a member, with whether it is that of its twin."""
        known = self._indices.get(described.key)
        if known is None:
            known = dict[str, tuple[MemberDescription, bool]]()
            for member in described.members:
                known.update(dict.fromkeys(member.twins, (member, True)))
            for member in described.members:
                known.update(dict.fromkeys(member.names, (member, False)))
            self._indices[described.key] = known
        return known

    def of_type(self, type: ValueType) -> Meaning:
        """What a value of that type is."""
        if type.kind == "handle":
            found = self._objects(type.handle)
            return UNKNOWN if found is None else Declared(found, self, ":")
        if type.kind == "either":
            known = tuple(each for each in map(self.of_type, type.of) if each is not UNKNOWN)
            return known[0] if len(known) == 1 else Either(known)
        if type.kind in {"text", "words"}:
            return TEXT
        if type.kind == "list":
            return ListOf(type, self)
        if type.kind == "table" and type.keys:
            return Options(type.keys, self)
        return UNKNOWN


@dataclass(frozen=True)
class Declared(Meaning):
    """A global (`separator` is a dot) or a handle (a colon)."""

    described: ObjectDescription
    catalogue: Catalogue
    separator: str
    kind: CompletionKind = "variable"

    @property
    def signature(self) -> str:
        """Its name."""
        return self.described.name

    @property
    def summary(self) -> str:
        """The first sentence."""
        return plain(self.described.summary)

    def members(self) -> Iterator[tuple[tuple[str, ...], Meaning]]:
        """Methods and fields, then the asynchronous twins."""
        for member in self.described.members:
            yield member.names, Member(member, self)
        for member in self.described.members:
            if member.twins:
                yield member.twins, Member(member, self, twin=True)
        others = self.described.other_fields
        if others is not None and others.registered:
            value = self.catalogue.of_type(others)
            for name in self.catalogue.registered(others.registered):
                yield (name,), value

    def member(self, name: str) -> Meaning:
        """What the member is, or what such fields are."""
        found, others = self.catalogue.index(self.described).get(name), self.described.other_fields
        if found is not None:
            return Member(found[0], self, twin=found[1])
        return UNKNOWN if others is None else self.catalogue.of_type(others)


@dataclass(frozen=True)
class Member(Meaning):
    """A declared method or field."""

    described: MemberDescription
    owner: Declared
    twin: bool = False

    @property
    def kind(self) -> CompletionKind:  # type: ignore[override]
        """``method`` or ``field``; a method of a global is a function."""
        if self.described.kind == "field":
            return "field"
        return "function" if self.owner.separator == "." else "method"

    @property
    def signature(self) -> str:
        """How it is called, or its type."""
        write = twin_signature if self.twin else signature
        return write(self.described, self.owner.described.name, self.owner.separator)

    @property
    def summary(self) -> str:
        """The first sentence."""
        return plain(self.described.summary)

    def members(self) -> Iterator[tuple[tuple[str, ...], Meaning]]:
        """Those of the value, for a field."""
        if self.described.kind == "field":
            return self._value().members()
        return iter(())

    def item(self) -> Meaning:
        """An item of the value, for a field."""
        return self._value().item() if self.described.kind == "field" else UNKNOWN

    def _value(self) -> Meaning:
        return self.owner.catalogue.of_type(self.described.returns)

    def called(self, index: int = 0) -> Meaning:
        """The result; of a failure's message, a text."""
        if self.described.kind == "field":
            return UNKNOWN
        if index:
            return TEXT if self.described.fails != "raise" else UNKNOWN
        value = self._value()
        return PromiseOf(value, self.owner.catalogue) if self._promises() else value

    def _promises(self) -> bool:
        return self.twin or self.described.promise

    def argument(self, number: int) -> ValueType | None:
        """The declared type."""
        parameters = self.described.parameters
        if number < len(parameters):
            return parameters[number].type
        if parameters and parameters[-1].variadic:
            return parameters[-1].type
        return None


@dataclass(frozen=True)
class PromiseOf(Meaning):
    """What a twin returns: a promise that reads like its value."""

    value: Meaning
    catalogue: Catalogue
    kind: CompletionKind = "variable"

    @property
    def signature(self) -> str:
        """A promise, of what is known."""
        inner = self.value.signature
        return f"Promise<{inner}>" if inner else "Promise"

    def _promise(self) -> Meaning:
        from llmspell_core import Promise

        key = f"{Promise.__module__}:{Promise.__qualname__}"
        return self.catalogue.of_type(ValueType("handle", handle=key))

    def members(self) -> Iterator[tuple[tuple[str, ...], Meaning]]:
        """Its own, then those of its value, which is waited for."""
        yield from self._promise().members()
        yield from self.value.members()

    def member(self, name: str) -> Meaning:
        """What it is; waiting gives the value."""
        if name == "await":
            return Result(self._promise().member(name), self.value)
        return super().member(name)


@dataclass(frozen=True)
class Either(Meaning):
    """One of several things; all that one of them has is offered."""

    options: tuple[Meaning, ...]
    kind: CompletionKind = "variable"

    @property
    def signature(self) -> str:
        """What it may be."""
        return "|".join(each.signature for each in self.options)

    def members(self) -> Iterator[tuple[tuple[str, ...], Meaning]]:
        """Those of each."""
        for each in self.options:
            yield from each.members()

    def member(self, name: str) -> Meaning:
        """What it is in the first that has it."""
        found = (each.member(name) for each in self.options)
        return next((each for each in found if each is not UNKNOWN), UNKNOWN)

    def item(self) -> Meaning:
        """An item of the first that is a list."""
        found = (each.item() for each in self.options)
        return next((each for each in found if each is not UNKNOWN), UNKNOWN)


@dataclass(frozen=True)
class Result(Meaning):
    """A function, as documented, with a result that is known better."""

    documented: Meaning
    result: Meaning
    kind: CompletionKind = "method"

    @property
    def signature(self) -> str:
        """As documented."""
        return self.documented.signature

    @property
    def summary(self) -> str:
        """As documented."""
        return self.documented.summary

    def called(self, index: int = 0) -> Meaning:
        """The better one."""
        return UNKNOWN if index else self.result

    def argument(self, number: int) -> ValueType | None:
        """As documented."""
        return self.documented.argument(number)


@dataclass(frozen=True)
class ListOf(Meaning):
    """A list of a known type."""

    type: ValueType
    catalogue: Catalogue
    kind: CompletionKind = "variable"

    @property
    def signature(self) -> str:
        """Its type."""
        return type_text(self.type)

    def item(self) -> Meaning:
        """An item."""
        return self.catalogue.of_type(self.type.of[0]) if self.type.of else UNKNOWN


@dataclass(frozen=True)
class Options(Meaning):
    """A table whose keys are declared."""

    keys: tuple[OptionKey, ...]
    catalogue: Catalogue
    kind: CompletionKind = "variable"

    @property
    def signature(self) -> str:
        """A table."""
        return "table"

    def members(self) -> Iterator[tuple[tuple[str, ...], Meaning]]:
        """The keys."""
        for key in self.keys:
            yield (key.name,), Key(key, self.catalogue)


@dataclass(frozen=True)
class Key(Meaning):
    """A key of a table."""

    described: OptionKey
    catalogue: Catalogue
    kind: CompletionKind = "key"

    @property
    def signature(self) -> str:
        """Its type."""
        mark = "" if self.described.required else "?"
        return f"{self.described.name}{mark}: {type_text(self.described.type)}"

    @property
    def summary(self) -> str:
        """What it is."""
        return plain(self.described.doc)

    def members(self) -> Iterator[tuple[tuple[str, ...], Meaning]]:
        """Those of its value."""
        return self.catalogue.of_type(self.described.type).members()


@dataclass(frozen=True)
class Library(Meaning):
    """A name of Lua's library; `object` says that it is reached with a colon."""

    entry: LibraryName
    method: bool = False

    @property
    def kind(self) -> CompletionKind:  # type: ignore[override]
        """What it is."""
        if self.entry.parameters is not None:
            return "method" if self.method else "function"
        return "module" if any(True for _ in self._below()) else "field"

    @property
    def signature(self) -> str:
        """As in the library."""
        return self.entry.signature

    @property
    def summary(self) -> str:
        """What it does."""
        return self.entry.doc

    def _below(self) -> Iterator[tuple[str, LibraryName]]:
        prefix = f"{self.entry.name}."
        for name, entry in library().items():
            if name.startswith(prefix):
                yield name.removeprefix(prefix), entry

    def members(self) -> Iterator[tuple[tuple[str, ...], Meaning]]:
        """The names in a table of the library, or the methods of a file."""
        if self.entry.parameters is None:
            for name, entry in self._below():
                yield (name,), Library(entry)
            yield from of_word(self.entry.result).members()

    def called(self, index: int = 0) -> Meaning:
        """A text or a file where it gives one."""
        results = self.entry.result.split(", ")
        if self.entry.parameters is None or index >= len(results):
            return UNKNOWN
        return of_word(results[index].removesuffix("?"))


class Text(Meaning):
    """A string."""

    @property
    def signature(self) -> str:
        """Its type."""
        return "string"

    def members(self) -> Iterator[tuple[tuple[str, ...], Meaning]]:
        """The functions of the string library, as methods."""
        for names, meaning in Library(library()["string"]).members():
            # Those that take no string first are no methods.
            if isinstance(meaning, Library) and meaning.entry.parameters:
                first = meaning.entry.parameters[0]
                if first.endswith(": string"):
                    yield names, Library(meaning.entry, method=True)


TEXT = Text()


@dataclass(frozen=True)
class LibraryObject(Meaning):
    """An object of the library, whose methods are written ``word:method``."""

    word: str
    kind: CompletionKind = "variable"

    @property
    def signature(self) -> str:
        """Its type."""
        return self.word

    def members(self) -> Iterator[tuple[tuple[str, ...], Meaning]]:
        """Its methods."""
        prefix = f"{self.word}:"
        for name, entry in library().items():
            if name.startswith(prefix):
                yield (name.removeprefix(prefix),), Library(entry, method=True)


def of_word(word: str) -> Meaning:
    """What a type is that the library names."""
    return {"string": TEXT, "file": FILE, "expectation": EXPECTATION}.get(word, UNKNOWN)


FILE = LibraryObject("file")
EXPECTATION = LibraryObject("expectation")


@dataclass
class Table(Meaning):
    """A table that the code makes."""

    fields: dict[str, Meaning] = field(default_factory=dict[str, Meaning])
    first: Meaning = UNKNOWN
    kind: CompletionKind = "variable"

    @property
    def signature(self) -> str:
        """Its type."""
        return "table"

    def members(self) -> Iterator[tuple[tuple[str, ...], Meaning]]:
        """The fields that the code sets."""
        for name, meaning in self.fields.items():
            yield (name,), meaning if meaning is not UNKNOWN else FIELD

    def item(self) -> Meaning:
        """What the first item is."""
        return self.first


class Field(Meaning):
    """A field of which only the name is known."""

    kind: CompletionKind = "field"


FIELD = Field()


@dataclass(frozen=True)
class Function(Meaning):
    """A function that the code defines."""

    name: str
    parameters: tuple[str, ...]
    kind: CompletionKind = "function"

    @property
    def signature(self) -> str:
        """Its name and parameters."""
        return f"{self.name}({', '.join(self.parameters)})"


def library_meaning(name: str) -> Meaning:
    """What a name of the library is."""
    entry: LibraryName | None = library().get(name)
    return UNKNOWN if entry is None else Library(entry)


def library_names() -> Mapping[str, LibraryName]:
    """The names that are global."""
    return {name: entry for name, entry in library().items() if name.isidentifier()}
