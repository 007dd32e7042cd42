"""Reading the code before a cursor: which names are in sight there, and in what it stands.

One pass over the tokens, with a stack of the blocks and brackets that are open. It follows local
and global assignments, functions, parameters and table constructors as far as they tell what a
name means; it never refuses code, finished or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from llmspell_bridge._meaning import (
    TEXT,
    UNKNOWN,
    Function,
    Meaning,
    Table,
)
from llmspell_bridge._tokens import Token
from llmspell_core import ValueType

_CLOSERS = {")": "(", "]": "[", "}": "{"}
_OPERATORS = frozenset(
    {"or", "and", "..", "==", "~=", "<", "<=", ">", ">=", "+", "-", "*", "/", "//", "%", "^"}
)
_DEPTH = 100
"""How deeply expressions are followed."""


@dataclass
class Frame:
    """A block or bracket that is open.

    Attributes:
        opener: The token that opened it.
        names: Of a block: the local names.
        callee: Of ``(`` behind a function: what is called.
        argument: Of a bracket: how many commas there were.
        type: Of ``{``: what is known of the table that is being written.
        keys: Of ``{``: the keys that were written already.
        indexed: Of ``[``: what is indexed.
    """

    opener: str
    names: dict[str, Meaning] = field(default_factory=dict[str, Meaning])
    callee: Meaning = UNKNOWN
    argument: int = 0
    type: ValueType | None = None
    keys: set[str] = field(default_factory=set[str])
    indexed: Meaning = UNKNOWN

    @property
    def is_block(self) -> bool:
        """Whether statements stand in it."""
        return self.opener not in {"(", "[", "{"}


class Code:
    """The tokens up to the cursor and what they mean.

    Args:
        tokens: Without comments.
        known: What a name means that the code does not define.
        modules: What ``require`` of a name gives.
    """

    def __init__(
        self,
        tokens: list[Token],
        known: Callable[[str], Meaning],
        modules: Callable[[str], Meaning],
    ) -> None:
        self._tokens = tokens
        self._known = known
        self._modules = modules
        self.globals: dict[str, Meaning] = {}
        self.frames: list[Frame] = [Frame("")]
        self._pending: dict[str, Meaning] = {}
        """Names for the block that the next ``do`` or parameter list opens."""
        self._closing = self._matched()
        self._chains: dict[int, Meaning] = {}
        self._depth = 0
        at = 0
        while at < len(tokens):
            at = self._take(at)

    # Structure ------------------------------------------------------------------------------------

    def _matched(self) -> dict[int, int]:
        """Opening bracket → closing bracket, and the other way round."""
        found: dict[int, int] = {}
        stack: list[int] = []
        for at, token in enumerate(self._tokens):
            if token.kind != "symbol":
                continue
            if token.text in "([{":
                stack.append(at)
            elif token.text in _CLOSERS:
                wanted = _CLOSERS[token.text]
                while stack and self._tokens[stack[-1]].text != wanted:
                    stack.pop()
                if stack:
                    found[stack[-1]] = at
                    found[at] = stack.pop()
        return found

    def _text(self, at: int) -> str:
        if not 0 <= at < len(self._tokens):
            return ""
        token = self._tokens[at]
        return "" if token.kind == "string" else token.text

    def _is_name(self, at: int) -> bool:
        return 0 <= at < len(self._tokens) and self._tokens[at].kind == "name"

    def _take(self, at: int) -> int:
        """Take the token at *at* into account; returns where to go on."""
        token = self._tokens[at]
        if token.kind == "keyword":
            return self._keyword(token.text, at)
        if token.kind == "symbol":
            self._symbol(token.text, at)
        elif token.kind == "name" and self.frames[-1].is_block:
            return self._assigned(at)
        elif token.kind == "name" and self._text(at + 1) == "=" and self.frames[-1].opener == "{":
            self.frames[-1].keys.add(token.text)
        return at + 1

    def _open(self, opener: str) -> None:
        names, self._pending = self._pending, {}
        self.frames.append(Frame(opener, names))

    def _close_block(self) -> None:
        """Drop the innermost block, and brackets that were left open in it."""
        for depth in range(len(self.frames) - 1, 0, -1):
            if self.frames[depth].is_block:
                del self.frames[depth:]
                return

    def _keyword(self, word: str, at: int) -> int:
        if word == "function":
            return self._function(at)
        if word in {"do", "then", "repeat"}:
            self._open(word)
        elif word in {"end", "until", "elseif"}:
            self._close_block()
        elif word == "else":
            self._close_block()
            self._open(word)
        elif word == "local":
            return self._local(at)
        elif word == "for":
            return self._for(at)
        return at + 1

    def _symbol(self, text: str, at: int) -> None:
        top = self.frames[-1]
        if text in "([{":
            self._open_bracket(text, at)
        elif text in _CLOSERS:
            for depth in range(len(self.frames) - 1, 0, -1):
                frame = self.frames[depth]
                if frame.opener == _CLOSERS[text]:
                    del self.frames[depth:]
                    return
                if frame.is_block:
                    return
        elif text in {",", ";"} and not top.is_block:
            top.argument += 1

    def _open_bracket(self, text: str, at: int) -> None:
        frame = Frame(text)
        if text == "{":
            frame.type = self._wanted(at)
        elif self._ends_value(at - 1):
            before = self.chain_before(at)
            if text == "(":
                frame.callee = before
            else:
                frame.indexed = before
        self.frames.append(frame)

    def _wanted(self, at: int) -> ValueType | None:
        """What is known of the table that ``{`` at *at* begins."""
        before, top = self._text(at - 1), self.frames[-1]
        if before in {"(", ","} and top.opener == "(":
            return _table_of(top.callee.argument(top.argument))
        if before == "=" and top.opener == "{" and top.type is not None and self._is_name(at - 2):
            name = self._tokens[at - 2].text
            return _table_of(next((k.type for k in top.type.keys if k.name == name), None))
        if before in {"{", ",", ";"} and top.opener == "{" and top.type is not None:
            return _table_of(top.type.of[0] if top.type.of else None)
        if self._ends_value(at - 1):
            return _table_of(self.chain_before(at).argument(0))
        return None

    def wanted(self, *, text: bool = False) -> ValueType | None:
        """The type of the value that is expected behind the last token, where that is known;
        *text* says that it will be a string, which may be an argument without brackets.
        """
        top, last = self.frames[-1], len(self._tokens) - 1
        before = self._text(last)
        if text and self._ends_value(last):
            return self.chain_before(last + 1).argument(0)
        if top.opener == "(" and before in {"(", ","}:
            return top.callee.argument(top.argument)
        if top.opener != "{" or top.type is None:
            return None
        if before == "=" and self._is_name(last - 1):
            name = self._tokens[last - 1].text
            return next((key.type for key in top.type.keys if key.name == name), None)
        return top.type.of[0] if before in {"{", ",", ";"} and top.type.of else None

    # Statements -----------------------------------------------------------------------------------

    def _function(self, at: int) -> int:
        """``function``, its name if it has one, and its parameters."""
        names: list[str] = []
        here = at + 1
        method = False
        while self._is_name(here):
            names.append(self._tokens[here].text)
            here += 1
            if self._text(here) not in {".", ":"}:
                break
            method = self._text(here) == ":"
            here += 1
        close = self._closing.get(here) if self._text(here) == "(" else None
        inside = range(here + 1, len(self._tokens) if close is None else close)
        parameters = [self._tokens[i].text for i in inside if self._tokens[i].kind == "name"]
        if self._text(here) != "(":
            return here
        made = Function(".".join(names), tuple(parameters))
        if self._text(at - 1) == "local" and names:
            self.frames[-1].names[names[0]] = made
        elif names:
            self._set_path(names, made)
        self._pending = dict.fromkeys(parameters, UNKNOWN)
        if method:
            self._pending["self"] = self._path(names[:-1])
        self._open("function")
        return len(self._tokens) if close is None else close + 1

    def _local(self, at: int) -> int:
        names: list[str] = []
        here = at + 1
        while self._is_name(here):
            names.append(self._tokens[here].text)
            here += 1
            if self._text(here) == "<":  # an attribute
                here += 3
            if self._text(here) != ",":
                break
            here += 1
        if not names:
            return at + 1
        values = self._values(here + 1, len(names)) if self._text(here) == "=" else []
        block = self._block()
        for number, name in enumerate(names):
            block.names[name] = values[number] if number < len(values) else UNKNOWN
        return here + 1 if self._text(here) == "=" else here

    def _for(self, at: int) -> int:
        names: list[str] = []
        here = at + 1
        while self._is_name(here):
            names.append(self._tokens[here].text)
            here += 1
            if self._text(here) != ",":
                break
            here += 1
        self._pending = dict.fromkeys(names, UNKNOWN)
        if self._text(here) == "in" and len(names) == 2:
            walked = self._text(here + 1) in {"ipairs", "pairs"} and self._text(here + 2) == "("
            if walked:
                self._pending[names[1]] = self.value(here + 3)[0].item()
        return here + 1

    def _assigned(self, at: int) -> int:
        """``a = …``, ``a.b.c = …``, ``a, b = …`` at the beginning of a statement."""
        if not self._begins_statement(at):
            return at + 1
        targets: list[list[str]] = []
        here = at
        while self._is_name(here):
            path = [self._tokens[here].text]
            here += 1
            while self._text(here) == "." and self._is_name(here + 1):
                path.append(self._tokens[here + 1].text)
                here += 2
            targets.append(path)
            if self._text(here) != ",":
                break
            here += 1
        if self._text(here) != "=":
            return at + 1
        values = self._values(here + 1, len(targets))
        for number, path in enumerate(targets):
            self._set_path(path, values[number] if number < len(values) else UNKNOWN)
        return here + 1

    def _begins_statement(self, at: int) -> bool:
        """Whether a name can begin a statement here: not behind an operator or a dot."""
        before = self._text(at - 1)
        if at == 0 or before in {";", ")", "]", "}", "end", "do", "then", "else", "repeat"}:
            return True
        previous = self._tokens[at - 1]
        return previous.kind in {"name", "number", "string"} or before in {
            "nil", "true", "false", "break", "...", "::",
        }  # fmt: skip

    def _block(self) -> Frame:
        return next(frame for frame in reversed(self.frames) if frame.is_block)

    def _set_path(self, path: list[str], value: Meaning) -> None:
        head, *rest = path
        if not rest:
            for frame in reversed(self.frames):
                if head in frame.names:
                    frame.names[head] = value
                    return
            self.globals[head] = value
            return
        owner = self.name(head)
        for part in rest[:-1]:
            owner = owner.member(part)
        if isinstance(owner, Table):
            owner.fields[rest[-1]] = value

    def _path(self, path: list[str]) -> Meaning:
        found = self.name(path[0])
        for part in path[1:]:
            found = found.member(part)
        return found

    # Values ---------------------------------------------------------------------------------------

    def name(self, name: str) -> Meaning:
        """What a name means here."""
        for frame in reversed(self.frames):
            if name in frame.names:
                return frame.names[name]
        found = self.globals.get(name)
        return self._known(name) if found is None else found

    def in_sight(self) -> dict[str, Meaning]:
        """The local names, innermost first, then the globals that the code sets."""
        found: dict[str, Meaning] = {}
        for frame in reversed(self.frames):
            for name, meaning in reversed(frame.names.items()):
                found.setdefault(name, meaning)
        for name, meaning in self.globals.items():
            found.setdefault(name, meaning)
        return found

    def _values(self, at: int, wanted: int) -> list[Meaning]:
        """The values of a list of expressions, the last call's further results included."""
        found: list[Meaning] = []
        while len(found) < wanted:
            value, end = self._expression(at)
            found.append(value)
            if self._text(end) != ",":
                callee = self._callee(end)
                if callee is not None:
                    found += [callee.called(i) for i in range(1, wanted - len(found) + 1)]
                break
            at = end + 1
        return found

    def _expression(self, at: int) -> tuple[Meaning, int]:
        """A value and where it ends; of several joined by operators, what is known of them."""
        value, end = self.value(at)
        operator = self._text(end)
        if operator not in _OPERATORS or self._depth > _DEPTH:
            return value, end
        self._depth += 1
        other, end = self._expression(end + 1)
        self._depth -= 1
        if operator == "or":
            return (other if value is UNKNOWN else value), end
        if operator == "and":
            return other, end
        return (TEXT if operator == ".." else UNKNOWN), end

    def value(self, at: int) -> tuple[Meaning, int]:
        """The meaning of the chain that begins at *at*, and where it ends."""
        end = self._extent(at)
        return self.chain_before(end), end

    def _extent(self, at: int) -> int:
        """Where the chain ends that begins at *at*."""
        if self._text(at) in {"(", "{"}:
            at = self._closing.get(at, len(self._tokens))
        at += 1
        while at < len(self._tokens):
            text = self._text(at)
            if text in {".", ":"} and self._is_name(at + 1):
                at += 2
            elif text in {"(", "{", "["} and at in self._closing:
                at = self._closing[at] + 1
            elif self._tokens[at].kind == "string" and not self._tokens[at].open:
                at += 1
            else:
                break
        return min(at, len(self._tokens))

    def chain_before(self, at: int) -> Meaning:
        """What the chain means that ends right before *at*: names, fields, calls, indices."""
        found = self._chains.get(at)
        if found is None:
            if self._depth > _DEPTH:
                return UNKNOWN
            self._depth += 1
            found = self._chains[at] = self._chain(at - 1)
            self._depth -= 1
        return found

    def _chain(self, last: int) -> Meaning:
        if not 0 <= last < len(self._tokens):
            return UNKNOWN
        token = self._tokens[last]
        if token.kind == "name":
            if self._text(last - 1) in {".", ":"}:
                return self.chain_before(last - 1).member(token.text)
            return self.name(token.text)
        if token.kind == "string":
            return self._called(last) if self._ends_value(last - 1) else TEXT
        opener = self._closing.get(last) if token.text in _CLOSERS else None
        if opener is None:
            return UNKNOWN
        if token.text == "]":
            return self._indexed(opener, last)
        if self._ends_value(opener - 1):
            return self._called(opener)
        return self._expression(opener + 1)[0] if token.text == ")" else self._table(opener, last)

    def _called(self, at: int) -> Meaning:
        """The result of the call whose arguments begin at *at*."""
        argument = at + 1 if self._text(at) == "(" else at
        if self._text(at - 1) == "require" and argument < len(self._tokens):
            return self._modules(self._tokens[argument].text[1:-1])
        return self.chain_before(at).called()

    def _callee(self, end: int) -> Meaning | None:
        """What is called by the call that ends right before *end*, if one does."""
        last = end - 1
        if not 0 <= last < len(self._tokens):
            return None
        start = last
        if self._tokens[last].kind != "string":
            if self._text(last) not in {")", "}"}:
                return None
            start = self._closing.get(last, -1)
        return self.chain_before(start) if self._ends_value(start - 1) else None

    def _indexed(self, opener: int, last: int) -> Meaning:
        owner, inside = self.chain_before(opener), self._tokens[opener + 1]
        if inside.kind == "string" and last == opener + 2:
            return owner.member(inside.text[1:-1])
        return owner.item()

    def _table(self, at: int, close: int) -> Meaning:
        """A table constructor: its named fields and the first item."""
        made = Table()
        here = at + 1
        if here < close and self._text(here + 1) != "=" and self._text(here) != "[":
            made.first = self.value(here)[0]
        while here < close:
            if self._is_name(here) and self._text(here + 1) == "=":
                made.fields[self._tokens[here].text] = self.value(here + 2)[0]
                here += 2
            if self._text(here) in {"(", "[", "{"}:
                here = self._closing.get(here, close)
            elif self._text(here) == "function":
                here = self._end_of_function(here, close)
            here += 1
        return made

    def _end_of_function(self, at: int, close: int) -> int:
        depth = 0
        for here in range(at, close):
            word = self._text(here) if self._tokens[here].kind == "keyword" else ""
            if word in {"function", "do", "if", "repeat"}:
                depth += 1
            elif word in {"end", "until"}:
                depth -= 1
                if depth == 0:
                    return here
        return close

    def _ends_value(self, at: int) -> bool:
        """Whether the token at *at* ends a value, so that a bracket behind it calls or indexes."""
        if not 0 <= at < len(self._tokens):
            return False
        token = self._tokens[at]
        return token.kind in {"name", "string"} or token.text in _CLOSERS


def _table_of(type: ValueType | None) -> ValueType | None:
    """The option of *type* that is a table or a list."""
    if type is None:
        return None
    options = (type, *type.of) if type.kind == "either" else (type,)
    known = next((option for option in options if option.keys), None)
    return known or next((option for option in options if option.kind == "list"), None)
