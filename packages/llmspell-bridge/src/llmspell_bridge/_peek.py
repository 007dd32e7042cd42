"""What exists in a running state, asked on its own thread and read without running anything."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

from llmspell_bridge._editor import Editor, Live
from llmspell_bridge._meaning import (
    FILE,
    TEXT,
    UNKNOWN,
    Declared,
    Meaning,
    library_meaning,
)
from llmspell_bridge._tokens import is_name
from llmspell_core import CompletionKind, Promise, describe_class

if TYPE_CHECKING:
    from llmspell_bridge._lua_state import LuaState

Seen = tuple[Any, ...]
"""What ``lua/peek.lua`` returns: how much of the path there is, the kind of the value, what else
is to say of it, then the same of its fields, each with its name.
"""


class Peek:
    """One question's look into a state: all its answers together take *patience* seconds.

    Args:
        state: The state.
        editor: Knows the declarations.
        patience: Seconds to wait in all.
    """

    def __init__(self, state: LuaState, editor: Editor, patience: float) -> None:
        self._state = state
        self.editor = editor
        self._until = time.monotonic() + patience
        self.answered = False
        self._given_up = False
        self._known: dict[str, Meaning | None] = {}

    @property
    def live(self) -> Live:
        """What the editor asks."""
        return Live(self._named, self._names)

    def look(self, typed: str | None, path: tuple[str, ...]) -> Seen | None:
        """Ask on the state's thread; None when it does not answer in time."""
        if self._given_up:
            return None
        answer: Future[Seen | None] = Future()
        arguments = [each.encode() for each in path]
        wanted = None if typed is None else typed.encode()

        def take() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                interpreter = self._state.interpreter
                seen = None if interpreter is None else interpreter.peek(wanted, *arguments)
            except Exception:  # no room in the heap, or the state was closed meanwhile
                seen = None
            answer.set_result(seen)

        if not self._state.run_between(take):
            self._given_up = True
            return None
        try:
            found = answer.result(max(0.0, self._until - time.monotonic()))
        except (TimeoutError, CancelledError):
            answer.cancel()
            self._given_up = True
            return None
        self.answered = True
        return found

    def _named(self, name: str) -> Meaning | None:
        """What a global name means in this state, if there is one."""
        if name not in self._known:
            found = self.look(None, (name,))
            there = None if found is None or found[0] == 0 else found
            self._known[name] = None if there is None else self.meaning(there, (name,))
        return self._known[name]

    def _names(self, typed: str) -> Iterable[tuple[str, Meaning]]:
        return self.fields(typed, ())

    def fields(self, typed: str, path: tuple[str, ...]) -> Iterator[tuple[str, Meaning]]:
        """The fields of the value at *path*."""
        found = self.look(typed, path)
        if found is None or found[0] < len(path):
            return
        names = found[3:]
        for at in range(0, len(names), 3):
            name = names[at].decode("utf-8", "replace")
            if is_name(name):
                seen = (len(path) + 1, names[at + 1], names[at + 2])
                yield name, self.meaning(seen, (*path, name))

    def meaning(self, seen: Seen, path: tuple[str, ...]) -> Meaning:
        """What a value is that was seen at *path*."""
        kind, more = seen[1:3]
        word: str = kind.decode()
        if word == "handle":
            first, *others = describe_class(type(more))  # pyright: ignore[reportUnknownArgumentType]
            self.editor.learn(first, *others)
            return Declared(first, self.editor.catalogue, ":")
        if word == "global":
            found = self.editor.declared(more.decode())
            return Existing(word, "", path, self) if found is UNKNOWN else found
        if word == "ours":
            return self._ours(more.decode(), path)
        if word == "userdata":
            return FILE
        if word == "function":
            known = library_meaning(".".join(path))
            if known is not UNKNOWN:
                return known
        shown = more.decode("utf-8", "replace")
        if word == "string":
            shown = self._state.services.secrets.redact(shown)
        return Existing(word, shown, path, self)

    def _ours(self, name: str, path: tuple[str, ...]) -> Meaning:
        from llmspell_bridge._globals_streaming import Stream

        classes: dict[str, type] = {"Promise": Promise, "Stream": Stream}
        if name in classes:
            described = describe_class(classes[name])
            self.editor.learn(*described)
            return Declared(described[0], self.editor.catalogue, ":")
        return FILE if name == "FILE*" else Existing("table", "", path, self)


def _first(named: tuple[str, Meaning]) -> str:
    return named[0]


class Existing(Meaning):
    """A value of the script that exists in the state.

    Args:
        type: Its Lua type; for numbers ``integer`` or ``float``.
        shown: A short form of the value; the parameters of a function.
        path: Where it is.
        peek: To look at its fields.
    """

    def __init__(self, type: str, shown: str, path: tuple[str, ...], peek: Peek) -> None:
        self._type = type
        self._shown = shown
        self._path = path
        self._peek = peek
        known = library_meaning(path[-1]) if type == "table" and len(path) == 1 else UNKNOWN
        self._documented = known

    @property
    def summary(self) -> str:
        """Of a table of the library."""
        return self._documented.summary

    @property
    def kind(self) -> CompletionKind:  # type: ignore[override]
        """A function, a table of the library, a global variable or a field."""
        if self._type == "function":
            return "function"
        if self._documented is not UNKNOWN:
            return "module"
        return "variable" if len(self._path) == 1 else "field"

    @property
    def signature(self) -> str:
        """Type and value, or how it is called."""
        if self._type == "function":
            return f"{'.'.join(self._path)}{self._shown or '(...)'}"
        if self._type == "string" and self._shown:
            return f'string = "{self._shown}"'
        return f"{self._type} = {self._shown}" if self._shown else self._type

    def members(self) -> Iterator[tuple[tuple[str, ...], Meaning]]:
        """The fields that exist."""
        return self.beginning("")

    def beginning(self, typed: str) -> Iterator[tuple[tuple[str, ...], Meaning]]:
        """The fields that exist and begin so."""
        if self._type == "string":
            yield from TEXT.members()
        elif self._type in {"table", "userdata"}:
            for name, meaning in sorted(self._peek.fields(typed, self._path), key=_first):
                yield (name,), meaning

    def member(self, name: str) -> Meaning:
        """What the field is."""
        if self._type == "string":
            return TEXT.member(name)
        path = (*self._path, name)
        found = self._peek.look(None, path)
        if found is None or found[0] < len(path):
            return UNKNOWN
        return self._peek.meaning(found, path)
