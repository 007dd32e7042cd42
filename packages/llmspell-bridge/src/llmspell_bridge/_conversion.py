"""Values across the border, both ways.

Lua strings are bytes; they become text where they are UTF-8 and stay `bytes` where they are not.
Tables arrive flattened into tokens (see ``lua/core.lua``) and are rebuilt here with as few Python
steps per value as possible; they leave through lupa's ``table_from`` after one walk that encodes
text. No Lua object is ever kept on the Python side.
"""

from __future__ import annotations

import codecs
import gc
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

from llmspell_core import (
    Items,
    Live,
    Record,
    ResourceLimitError,
    Returns,
    ScriptFunction,
    ValidationError,
)

kind_of: Callable[[Any], Any] = type
"""`type`, for values of which nothing is known."""

CHUNK = 4000
MAX_DEPTH = 128
_LENIENT = "llmspell.lua"
"""How text becomes the bytes of a Lua string: see `_lenient`."""
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_MANY = 20_000
_ROOM = 96 * 1024
"""Heap that must be free before something is pushed: an allocation that fails inside lupa
would end the process."""


def _lenient(error: UnicodeError) -> tuple[bytes, int]:
    """Bytes that were kept as surrogates come out as they went in; half a character (in what a
    model or a JSON text said) as U+FFFD.
    """
    assert isinstance(error, UnicodeEncodeError)
    made = bytearray()
    for letter in error.object[error.start : error.end]:
        number = ord(letter)
        made += bytes((number - 0xDC00,)) if 0xDC80 <= number <= 0xDCFF else b"\xef\xbf\xbd"
    return bytes(made), error.end


codecs.register_error(_LENIENT, _lenient)


class Empty:
    """An empty table: a list or a dict, whichever is wanted."""

    __slots__ = ()


EMPTY = Empty()


class Null:
    """``JSON.null``."""

    __slots__ = ()


NULL = Null()


class Foreign:
    """A value that has no meaning outside Lua: a coroutine or a userdata."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


def text_or_bytes(value: bytes) -> str | bytes:
    """Text where it is UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def lua_number(value: float) -> str:
    """A number as Lua prints it."""
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "nan" if math.copysign(1, value) > 0 else "-nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    text = f"{value:.14g}"
    return text if any(c in text for c in ".en") else text + ".0"


class Mark:
    """Stands for a table argument until `pull` fetches it."""

    __slots__ = ("_converter", "_slot")

    def __init__(self, converter: Converter, slot: int) -> None:
        self._converter = converter
        self._slot = slot

    def pull(self) -> tuple[Any, str | None]:
        """The table as list, dict or `EMPTY`, and the text of a record; once only."""
        return self._converter.pull(self._slot)


class Converter:
    """The conversion of one Lua state.

    Args:
        runtime: The lupa runtime.
        bridge: The functions of ``lua/core.lua``.
        handle: Makes the handle of a declared object.
    """

    def __init__(
        self, runtime: Any, bridge: Mapping[str, Any], handle: Callable[[Any], Any]
    ) -> None:
        self._runtime = runtime
        self._table_from: Callable[..., Any] = runtime.table_from
        self._tokens = bridge["tokens"]
        self._more = bridge["more"]
        self._record = bridge["record"]
        self._items = bridge["items"]
        self._live = bridge["live"]
        self._empty_array = bridge["empty_array"]
        self._holes = bridge["holes"]
        self._null = bridge["null"]
        self._function_of = bridge["function_of"]
        self._handle = handle
        self.memory_bytes = 0
        self._soft = self._hard = 0
        self._raised = False
        """Whether a higher limit is in force, so that an error can be told."""

    # From Lua -----------------------------------------------------------------------------------

    def pull(self, slot: int) -> tuple[Any, str | None]:
        """The table behind a mark, and its text if it is a record."""
        first = self._tokens(slot)
        total: int = first[0]
        text: bytes | None = first[1]
        if total <= CHUNK:
            tokens = first[2:]
        else:
            collected = list(first[2:])
            while len(collected) < total:
                collected += self._more(slot, len(collected) + 1)
            tokens = collected
        shown = None if text is None else text.decode("utf-8", "replace")
        if total < _MANY or not gc.isenabled():
            return _rebuilt(tokens), shown
        # Thousands of new containers, none of them garbage: the collector would look at them all
        # again and again, which takes longer than making them.
        gc.disable()
        try:
            return _rebuilt(tokens), shown
        finally:
            gc.enable()

    def value(self, raw: Any) -> Any:
        """Whatever it is: the `Any` of a declaration."""
        kind = kind_of(raw)
        if kind is bytes:
            return text_or_bytes(raw)
        if kind is Mark:
            found = cast("Mark", raw).pull()[0]
            return {} if found is EMPTY else found
        if kind is float:
            return raw if math.isfinite(raw) else None
        if kind is Foreign:
            raise ValidationError(f"Unsupported Lua type for JSON conversion: {raw.kind}")
        return None if raw is NULL else raw

    # To Lua -------------------------------------------------------------------------------------

    def push(self, value: Any) -> Any:
        """What to hand to lupa so that Lua sees *value*.

        Raises:
            ResourceLimitError: when it does not fit into the heap.
            ValidationError: for a cycle or too deep a nesting.
        """
        kind = kind_of(value)
        if value is None or kind is bool or kind is float:
            return value
        if kind is str:
            value = value.encode("utf-8", _LENIENT)
            if len(value) > 16384:
                self.reserve(len(value))
            return value
        if kind is int:
            return value if _INT_MIN <= value <= _INT_MAX else float(value)
        if kind is bytes:
            if len(value) > 16384:
                self.reserve(len(value))
            return value
        return self._lifted(value)

    def results(self, value: Any) -> tuple[Any, ...]:
        """``True`` and what to hand to lupa for the result of a call, several for `Returns`."""
        if type(value) is not Returns:
            return True, self.push(value)
        made: list[Any] = [True]
        failure: Exception | None = None
        try:
            for item in value:
                made.append(self.push(item))  # noqa: PERF401 what was made must not stay in a frame
        except Exception as error:
            failure = error
            failure.__traceback__ = None
        if failure is not None:
            made.clear()
            raise failure
        return tuple(made)

    def _lifted(self, value: Any) -> Any:
        """A table, built while the heap limit is off and dropped if it then does not fit."""
        runtime = self._runtime
        limit = runtime.get_max_memory()
        runtime.set_max_memory(0)
        made: Any = None
        failure: Exception | None = None
        try:
            made = self._table(value, 0)
        except Exception as error:
            # The frames of its traceback hold Lua objects, which must not outlive the call.
            failure = error
            failure.__traceback__ = None
        finally:
            runtime.set_max_memory(limit)
        if failure is not None:
            raise failure
        if self._soft - runtime.get_memory_used() >= _ROOM:
            return made
        try:
            self.reserve(0)
        except ResourceLimitError:
            del made
            self.collect()
            self._make_room_for_the_error()
            raise
        return made

    def limit(self, soft: int, hard: int) -> None:
        """Bound the heap: what a script may use, and where the allocator refuses; in bytes."""
        self._soft, self._hard = soft, hard
        self._runtime.set_max_memory(hard)

    def collect(self) -> None:
        """A garbage collection. LuaJIT's may need memory, and would fail through our frames."""
        runtime = self._runtime
        limit = runtime.get_max_memory()
        runtime.set_max_memory(0)
        try:
            runtime.gccollect()
        finally:
            runtime.set_max_memory(limit)

    def _make_room_for_the_error(self) -> None:
        """What was dropped may have left larger tables behind (those of the handles)."""
        used = self._runtime.get_memory_used()
        if self._hard - used < _ROOM:
            self._raised = True
            self._runtime.set_max_memory(used + _ROOM)

    def reserve(self, size: int) -> None:
        """Make sure that *size* more bytes fit, collecting garbage if need be.

        Raises:
            ResourceLimitError: when they do not.
        """
        runtime, limit = self._runtime, self._soft
        if self._raised and limit - runtime.get_memory_used() >= _ROOM:
            runtime.set_max_memory(self._hard)
            self._raised = False
        if limit - runtime.get_memory_used() < size + _ROOM:
            self.collect()
            if limit - runtime.get_memory_used() < size + _ROOM:
                raise ResourceLimitError(
                    "memory",
                    limit=self.memory_bytes,
                    used=f"{size} more than is free" if size else "the whole heap",
                )

    def room(self) -> ResourceLimitError | None:
        """None when small values can be pushed safely, after a collection if need be."""
        try:
            self.reserve(0)
        except ResourceLimitError as error:
            return error
        return None

    def _encode(self, value: Any, depth: int) -> Any:
        kind = kind_of(value)
        if kind is str:
            return value.encode("utf-8", _LENIENT)
        if kind is dict:
            if depth > MAX_DEPTH:
                raise ValidationError("Maximum nesting depth exceeded")
            return self._encode_dict(value, depth + 1)
        if kind is list or kind is tuple:
            if depth > MAX_DEPTH:
                raise ValidationError("Maximum nesting depth exceeded")
            return self._encode_list(value, depth + 1)
        if value is None or kind is bool or kind is float or kind is bytes:
            return value
        if kind is int:
            return value if _INT_MIN <= value <= _INT_MAX else float(value)
        return self._encode_special(value, depth)

    def _encode_dict(self, value: Mapping[Any, Any], depth: int) -> dict[bytes, Any]:
        encode = self._encode
        made: dict[bytes, Any] = {}
        for key, item in value.items():
            kind = kind_of(item)
            if kind is str:
                item = item.encode("utf-8", _LENIENT)
            elif kind is not float and kind is not bool:
                item = encode(item, depth)
            if type(key) is str:
                made[key.encode("utf-8", _LENIENT)] = item
            elif type(key) is bytes:
                made[key] = item
            else:
                made[str(key).encode()] = item
        return made

    def _encode_list(self, value: Any, depth: int) -> Any:
        if not value:
            return self._empty_array()
        encode = self._encode
        made = [
            item.encode("utf-8", _LENIENT) if type(item) is str else encode(item, depth)
            for item in value
        ]
        if None in made:
            return self._holes(self._table_from(made, recursive=True), len(made))
        return made

    def _table(self, value: Any, depth: int) -> Any:
        made = self._encode(value, depth)
        return self._table_from(made, recursive=True) if type(made) in (dict, list) else made

    def _encode_special(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValidationError("Maximum nesting depth exceeded")
        if isinstance(value, Record):
            fields = self._table(dict(value.fields), depth + 1)
            if value.text is None:
                return fields
            return self._record(fields, value.text.encode("utf-8", _LENIENT))
        if isinstance(value, Items):
            items = self._table(list(value.items), depth + 1)
            if not value.items:
                items = self._table_from([])
            return self._items(items, self._table(dict(value.fields), depth + 1))
        if isinstance(value, Live):
            return self._live(id(value), value)
        if value is NULL:
            return self._null()
        if isinstance(value, LuaFunctionBase):
            return self._function_of(value.identity)
        if getattr(cast("type[Any]", type(value)), "__script_kind__", None) == "object":
            return self._handle(value)
        return self._encode_plain(value, depth)

    def _encode_plain(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return str(value).encode("utf-8", _LENIENT)
        if isinstance(value, bool | float | int):
            number = value + 0
            return float(number) if not _INT_MIN <= number <= _INT_MAX else number
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(cast("bytes", value))
        if isinstance(value, Mapping):
            return self._encode_dict(cast("Mapping[Any, Any]", value), depth + 1)
        if isinstance(value, list | tuple | set | frozenset):
            return self._encode_list(list(cast("list[Any]", value)), depth + 1)
        to_dict = getattr(value, "to_dict", None)
        if to_dict is not None:
            return self._encode(to_dict(), depth + 1)
        if hasattr(cast("type[Any]", type(value)), "value") and hasattr(
            value, "name"
        ):  # an enum member
            return self._encode(value.value, depth + 1)
        raise TypeError(f"{type(value).__name__} cannot be handed to a script")


class LuaFunctionBase(ScriptFunction):
    """A function of the script, known to Lua by a number."""

    identity: int


def _rebuilt(tokens: Any) -> Any:
    """The value behind a flat stream of tokens, a table before the tables in it."""
    odd_keys = False
    try:
        tokens = [token.decode() if type(token) is bytes else token for token in tokens]
    except UnicodeDecodeError:
        tokens = [text_or_bytes(token) if type(token) is bytes else token for token in tokens]
        odd_keys = True
    root: Any = None
    targets: list[tuple[Any, Any]] = []
    position, end, group = 0, len(tokens), -1
    while position < end:
        kind, length, children = tokens[position], tokens[position + 1], tokens[position + 2]
        position += 3
        made: Any
        names: Any = None
        if kind == 2:
            stop = position + 2 * length
            names = tokens[position:stop:2]
            if odd_keys:
                names = [name if type(name) is str else _odd_text(name) for name in names]
            made = dict(zip(names, tokens[position + 1 : stop : 2]))  # noqa: B905 equal by construction, and hot
            position = stop
        elif kind == 1:
            made = tokens[position : position + length]
            position += length
        else:
            made = EMPTY if group < 0 else {}
        if children:
            stop = position + children
            places = tokens[position:stop]
            if names is None:
                targets += [(made, place) for place in places]
            else:
                targets += [(made, names[place]) for place in places]
            position = stop
        if group < 0:
            root = made
        else:
            owner, place = targets[group]
            owner[place] = made
        group += 1
    return root


def _odd_text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
