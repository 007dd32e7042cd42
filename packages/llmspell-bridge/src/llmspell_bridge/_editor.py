"""What editors, notebooks and prompts ask about Lua code: completion and documentation.

Everything comes from the declarations of the globals (`llmspell_core.describe_globals`), the
library of the language, the code before the cursor, and, where a state is asked, from what exists
in it. A global's module is imported when something of it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from llmspell_bridge._code import Code, Frame
from llmspell_bridge._documents import call_document, document
from llmspell_bridge._meaning import (
    UNKNOWN,
    Catalogue,
    Declared,
    Key,
    Meaning,
    library_meaning,
    library_names,
)
from llmspell_bridge._notation import literal
from llmspell_bridge._tokens import KEYWORDS, Token, is_name, tokens
from llmspell_core import (
    Completion,
    Completions,
    Documentation,
    GlobalDescription,
    ObjectDescription,
    PluginIndex,
    ValueType,
    describe_globals,
    grouped_globals,
)

FARTHEST = 100_000
"""Characters before the cursor that are read; a file's beginning farther away is not."""

_NAMING = frozenset({"::", "goto", "local", "for", "function"})
"""What a new name stands behind."""

_MODULES = frozenset({"llmspell.test"})
"""What ``require`` gives of the engine's own."""

Ask = Callable[[str], Meaning | None]
"""What a global name means in a running state; None where there is none of that name."""


@dataclass(frozen=True, slots=True)
class Live:
    """A running state, as far as it answers.

    Attributes:
        ask: The meaning of a name.
        names: The global names that begin with a text, with their meanings.
    """

    ask: Ask
    names: Callable[[str], Iterable[tuple[str, Meaning]]]


class Editor:
    """Answers for one set of plugins.

    Args:
        plugins: Where the globals come from.
    """

    def __init__(self, plugins: PluginIndex) -> None:
        self._plugins = plugins
        self._groups: dict[str, tuple[str, ...]] | None = None
        self._described: dict[str, GlobalDescription] = {}
        self._objects: dict[str, ObjectDescription] = {}
        self.catalogue = Catalogue(self._objects.get, plugins.names)

    # Names ----------------------------------------------------------------------------------------

    def _names(self) -> dict[str, tuple[str, ...]]:
        if self._groups is None:
            groups = grouped_globals(self._plugins)
            self._groups = {name: names for names in groups for name in names}
        return self._groups

    def declared(self, name: str) -> Meaning:
        """The global of that name; `UNKNOWN` for none, or a broken one."""
        names = self._names().get(name)
        if names is None:
            return UNKNOWN
        found = self._described.get(names[0])
        if found is None:
            (found,) = describe_globals(self._plugins, only=(names[0],))
            self._described[names[0]] = found
            self.learn(*found.handles)
        if found.error:
            return UNKNOWN
        return Declared(found.object, self.catalogue, ".", kind="global")

    def learn(self, *objects: ObjectDescription) -> None:
        """Take in descriptions of handles."""
        for each in objects:
            self._objects.setdefault(each.key, each)

    def _known(self, name: str, live: Live | None) -> Meaning:
        found = None if live is None else live.ask(name)
        if found is not None:
            return found
        declared = self.declared(name)
        return library_meaning(name) if declared is UNKNOWN else declared

    def _module(self, name: str) -> Meaning:
        if name in {"json", "cjson", "dkjson"}:
            return self.declared("JSON")
        return library_meaning(name) if name in _MODULES else UNKNOWN

    def _code(
        self, code: str, end: int, live: Live | None
    ) -> tuple[Code, list[Token], Token | None]:
        """The code up to *end*, its tokens, and the string or comment that is open there."""
        start = max(0, end - FARTHEST)
        if start:
            start = code.find("\n", start, end) + 1
        found = [token if not start else _moved(token, start) for token in tokens(code[start:end])]
        last = found[-1] if found else None
        opened = last if last is not None and last.open and last.end >= end else None
        kept = [t for t in found if t.kind != "comment" and t is not opened]
        return Code(kept, lambda name: self._known(name, live), self._module), kept, opened

    # Completion -----------------------------------------------------------------------------------

    def complete(self, code: str, cursor: int, live: Live | None = None) -> Completions:
        """See `ScriptEngine.complete`."""
        cursor = max(0, min(cursor, len(code)))
        typed = _word_before(code, cursor)
        start = cursor - len(typed)
        read, before, opened = self._code(code, start, live)
        if opened is not None:
            return self._in_string(read, opened, code, cursor)
        if code[start - 1 : start].isdigit() or typed[:1].isdigit():
            return Completions((), cursor, cursor)
        last = before[-1] if before else None
        separator = last.text if last is not None and last.kind == "symbol" else ""
        found: list[tuple[tuple[str, ...], Meaning]]
        if separator in {".", ":"}:
            owner = read.chain_before(len(before) - 1)
            found = list(owner.beginning(typed))
            if separator == ":":
                found = [each for each in found if each[1].kind in {"method", "function"}]
            matches = _matching(found, typed)
        elif last is not None and last.kind != "string" and last.text in _NAMING:
            matches = []
        else:
            matches = self._anything(read, before, typed, live)
        return Completions(tuple(matches), start, cursor)

    def _anything(
        self, read: Code, before: list[Token], typed: str, live: Live | None
    ) -> list[Completion]:
        """Where a value or a statement may begin."""
        top = read.frames[-1]
        matches: dict[str, Completion] = {}

        def add(found: Iterable[Completion]) -> None:
            for each in found:
                matches.setdefault(each.text, each)

        beginning = not before or before[-1].text in {"{", ",", ";"}
        if top.opener == "{" and top.type is not None and beginning:
            keys = [key for key in top.type.keys if key.name not in top.keys]
            add(_matching([((k.name,), Key(k, self.catalogue)) for k in keys], typed))
        if not typed:
            add(_words(read.wanted(), quoted=True))
        add(_matching([((n,), m) for n, m in read.in_sight().items()], typed))
        if live is not None:
            add(
                _matching(
                    [((n,), m) for n, m in sorted(live.names(typed), key=lambda each: each[0])],
                    typed,
                )
            )
        add(self._globals(typed))
        add(_matching([((n,), library_meaning(n)) for n in sorted(library_names())], typed))
        add(Completion(word, "keyword") for word in sorted(KEYWORDS) if word.startswith(typed))
        return list(matches.values())

    def _globals(self, typed: str) -> Iterable[Completion]:
        for name in sorted(self._names()):
            if name.startswith(typed):
                # Only what was described already: the names alone need no import.
                known = self._described.get(self._names()[name][0])
                summary = "" if known is None else known.object.summary
                yield Completion(name, "global", name, summary)

    def _in_string(self, read: Code, opened: Token, code: str, cursor: int) -> Completions:
        """Inside a quoted string: the words that the argument or index takes."""
        if opened.kind == "comment" or opened.text[:1] not in {'"', "'"}:
            return Completions((), cursor, cursor)
        start = opened.start + 1
        typed = code[start:cursor]
        top: Frame = read.frames[-1]
        found: Iterable[Completion] = ()
        if top.opener == "[":
            found = _matching(list(top.indexed.beginning(typed)), typed)
        else:
            found = self._values(read.wanted(text=True))
        matches = tuple(each for each in found if each.text.startswith(typed))
        return Completions(matches, start, cursor)

    def _values(self, type: ValueType | None) -> Iterable[Completion]:
        if type is None:
            return
        for option in type.options():
            yield from _words(option, quoted=False)
            if option.registered:
                for name in self._plugins.names(option.registered):
                    yield Completion(name, "value")

    # Documentation --------------------------------------------------------------------------------

    def inspect(self, code: str, cursor: int, live: Live | None = None) -> Documentation | None:
        """See `ScriptEngine.inspect`."""
        cursor = max(0, min(cursor, len(code)))
        typed = _word_before(code, cursor)
        start = cursor - len(typed)
        end = cursor
        while end < len(code) and _is_word(code[end]):
            end += 1
        word = code[start:end]
        read, before, opened = self._code(code, start, live)
        if opened is not None and opened.kind == "comment":
            return None
        if opened is None and word and not word[0].isdigit() and word not in KEYWORDS:
            found = self._meaning_of(read, before, word)
            if found is not UNKNOWN:
                return document(found, word, start, end)
        return self._around(read, cursor)

    def _meaning_of(self, read: Code, before: list[Token], word: str) -> Meaning:
        last = before[-1] if before else None
        if last is not None and last.kind == "symbol" and last.text in {".", ":"}:
            return read.chain_before(len(before) - 1).member(word)
        top = read.frames[-1]
        beginning = last is not None and last.text in {"{", ",", ";"}
        if top.opener == "{" and top.type is not None and beginning:
            for key in top.type.keys:
                if key.name == word:
                    return Key(key, self.catalogue)
        return read.name(word)

    def _around(self, read: Code, cursor: int) -> Documentation | None:
        """About the function in whose arguments the cursor stands."""
        for frame in reversed(read.frames):
            if frame.is_block:
                return None
            if frame.opener == "(" and frame.callee is not UNKNOWN:
                return call_document(frame.callee, frame.argument, cursor)
        return None


def _is_word(character: str) -> bool:
    return character == "_" or (character.isascii() and character.isalnum())


def _word_before(code: str, cursor: int) -> str:
    start = cursor
    while start > 0 and _is_word(code[start - 1]):
        start -= 1
    return code[start:cursor]


def _moved(token: Token, by: int) -> Token:
    return Token(token.kind, token.text, token.start + by, token.end + by, token.open)


def _matching(found: Iterable[tuple[tuple[str, ...], Meaning]], typed: str) -> list[Completion]:
    """One completion for each meaning: by the first of its names that begins as typed."""
    made: dict[str, Completion] = {}
    for names, meaning in found:
        name = next((n for n in names if n.startswith(typed) and is_name(n)), None)
        if name is None or (name.startswith("_") and not typed.startswith("_")):
            continue
        made.setdefault(name, Completion(name, meaning.kind, meaning.signature, meaning.summary))
    return list(made.values())


def _words(type: ValueType | None, *, quoted: bool) -> Iterable[Completion]:
    if type is None:
        return
    for option in type.options():
        for word in option.words:
            if isinstance(word, str):
                yield Completion(literal(word) if quoted else word, "value")
