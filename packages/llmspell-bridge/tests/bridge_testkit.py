"""A world for engine tests: services with globals of the tests' own, a state, its output."""

import asyncio
import threading
from typing import Any, Literal

import pytest

from llmspell_bridge import LuaEngine, LuaJITEngine
from llmspell_core import (
    ComponentError,
    Deadline,
    ExecutionContext,
    Items,
    Live,
    Plugin,
    PluginIndex,
    Record,
    Returns,
    ScriptArguments,
    ScriptFunction,
    Services,
    Source,
    ToolError,
    ValidationError,
    attribute,
    exposed,
    script_global,
    script_object,
)

BUILT_IN = {
    "JSON": "llmspell_bridge._globals_json:JsonGlobal",
    "Debug": "llmspell_bridge._globals_debug:DebugGlobal",
    "Logger": "llmspell_bridge._globals_logger:LoggerGlobal",
    "Streaming": "llmspell_bridge._globals_streaming:StreamingGlobal",
    "Utils": "llmspell_bridge._globals_utils:UtilsGlobal",
}


@script_object("Counter")
class Counter:
    """A handle with state."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.count = 0

    @attribute
    def name(self) -> str:
        """Its name."""
        return self._name

    @attribute
    def current_count(self) -> int:
        """The count."""
        return self.count

    @exposed()
    def add(self, amount: int = 1) -> "Counter":
        """Chains."""
        self.count += amount
        return self

    @exposed()
    def same(self, other: "Counter") -> bool:
        """Whether it is this one."""
        return other is self

    @exposed(fails="pair", async_twin=True)
    async def slow(self, seconds: float, fail: bool = False) -> int:
        """Waits."""
        await asyncio.sleep(seconds)
        if fail:
            raise ToolError("slow failed")
        return self.count


@script_global("Probe")
class Probe:
    """A third party's global."""

    seen: list[Any]

    def __init__(self, host) -> None:
        self._host = host
        self.seen = []
        self.live = Live({"a": 1, "deep": {"b": 2}})
        PROBES.append(self)

    @attribute
    def answer(self) -> int:
        """A field."""
        return 42

    def __script_index__(self, key: str) -> Any:
        return f"index:{key}" if key.startswith("x_") else None

    @exposed()
    def take_text(self, text: str) -> str:
        """Text."""
        self.seen.append(text)
        return text

    @exposed()
    def take_int(self, number: int) -> int:
        """Integer."""
        return number

    @exposed()
    def take_float(self, number: float) -> float:
        """Float."""
        return number

    @exposed()
    def take_bool(self, flag: bool) -> bool:
        """Boolean."""
        return flag

    @exposed()
    def take_bytes(self, content: bytes) -> bytes:
        """Bytes."""
        return content

    @exposed()
    def take_dict(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Dict."""
        self.seen.append(fields)
        return fields

    @exposed()
    def take_list(self, items: list[Any]) -> list[Any]:
        """List."""
        self.seen.append(items)
        return items

    @exposed()
    def take_words(self, items: list[str]) -> list[str]:
        """List of text."""
        self.seen.append(items)
        return items

    @exposed()
    def take_any(self, value: Any) -> Any:
        """Anything."""
        self.seen.append(value)
        return value

    @exposed()
    def take_either(self, value: str | dict[str, Any] | None = None) -> str:
        """A union."""
        return "nothing" if value is None else type(value).__name__

    @exposed()
    def take_number_or_text(self, value: int | str) -> Any:
        """A union that keeps text."""
        return Record({"kind": type(value).__name__, "value": value})

    @exposed()
    def take_mode(self, mode: Literal["read", "write"] = "read") -> str:
        """A word."""
        return mode

    @exposed()
    def take_all(self, first: str, *rest: Any) -> list[Any]:
        """Any number."""
        return [first, *rest]

    @exposed()
    def options(self, first: str, second: int = 7, third: str | None = None) -> list[Any]:
        """Defaults."""
        return [first, second, str(third)]

    @exposed(names=("other_name",))
    def two_names(self) -> str:
        """Names."""
        return "two"

    @exposed()
    def record(self) -> Record:
        """A record with a text."""
        return Record({"name": "rec", "n": 3}, text="the text")

    @exposed()
    def items(self) -> Items:
        """A sequence with fields."""
        return Items([{"text": "a"}, {"text": "b"}], {"total": 2, "query": "q"})

    @exposed()
    def pair(self) -> Returns:
        """Two values."""
        return Returns((1, "two"))

    @exposed()
    def live_table(self) -> Live:
        """Changed in place."""
        return self.live

    @exposed()
    def counter(self, name: str = "c") -> Counter:
        """A handle."""
        return Counter(name)

    @exposed()
    def fail_raise(self) -> None:
        """Raises."""
        raise ComponentError("Tool 'x' not found", hint="try y")

    @exposed(fails="pair")
    def fail_pair(self) -> None:
        """Pair."""
        raise ToolError("it broke")

    @exposed(fails="table", raises=(ValidationError,))
    def fail_table(self, misuse: bool = False) -> None:
        """Table."""
        if misuse:
            raise ValidationError("misuse")
        raise ToolError("it broke", details={"why": "because"})

    @exposed()
    def panic(self) -> None:
        """A defect."""
        raise RuntimeError("secret detail")

    @exposed()
    def now_call(self, function: ScriptFunction, value: Any = None) -> Any:
        """Calls in place."""
        return function.call(value)

    @exposed()
    async def later_call(self, function: ScriptFunction, value: Any = None) -> Any:
        """Calls from the loop."""
        return await function(value, context=self._host.context)

    @exposed(async_twin=True)
    async def wait(self, seconds: float, value: Any = None) -> Any:
        """Waits, then returns."""
        await asyncio.sleep(seconds)
        return value

    @exposed()
    async def all_of(self, functions: list[ScriptFunction]) -> list[Any]:
        """Calls in parallel."""
        return list(await asyncio.gather(*(f() for f in functions)))

    @exposed()
    async def hang(self) -> None:
        """Never ends by itself; tells when it began and how it ended."""
        HANGS.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            HUNG.set()
            raise

    @exposed()
    async def call_cancelled(self, function: ScriptFunction, seconds: float) -> str:
        """Gives the callback so long."""
        try:
            await asyncio.wait_for(function(), seconds)
        except TimeoutError:
            return "cancelled"
        return "ended"

    @exposed()
    def keep(self, function: ScriptFunction) -> str:
        """Keeps it for later."""
        KEPT.append(function)
        return function.where

    @exposed()
    def big(self, size: int) -> bytes:
        """So many bytes."""
        return b"x" * size

    @exposed()
    def big_table(self, size: int) -> list[int]:
        """So many numbers."""
        return list(range(size))

    @exposed()
    def block(self) -> None:
        """Blocks the script's thread."""
        UNBLOCK.wait(60)

    @exposed()
    def noop(self) -> None:
        """Nothing."""

    @exposed()
    def write_out(self, text: str) -> None:
        """Through the host."""
        self._host.write("stdout", text)


PROBES: list[Probe] = []
KEPT: list[ScriptFunction] = []
HANGS = threading.Event()
HUNG = threading.Event()
UNBLOCK = threading.Event()


def make_services(config=None, **more: str) -> Services:
    names = {**BUILT_IN, "Probe": "bridge_testkit:Probe", **more}
    return Services(
        config,
        plugins=PluginIndex(
            Plugin("llmspell.globals", name, value, "llmspell-test", "1")
            for name, value in names.items()
        ),
    )


ENGINES = {"lua": LuaEngine, "luajit": LuaJITEngine}
DOUBLES = pytest.mark.only_lua("LuaJIT has doubles only")
SYNTAX = pytest.mark.only_lua("LuaJIT does not know the syntax")
NO_LEN = pytest.mark.only_lua("LuaJIT does not ask tables for __len")


class World:
    """Services, one state of the engine under test, and what it wrote."""

    language = "lua"
    """Set by the fixture of the same name."""

    def __init__(self, config=None, *, services=None, input=None) -> None:
        self.services = services or make_services(config)
        self.written: list[tuple[str, str]] = []
        self.engine = ENGINES[self.language](self.services)
        self.state = self.engine.open_state(
            output=lambda stream, text: self.written.append((stream, text)), input=input
        )

    @property
    def out(self) -> str:
        return "".join(text for stream, text in self.written if stream == "stdout")

    @property
    def err(self) -> str:
        return "".join(text for stream, text in self.written if stream == "stderr")

    def context(self, seconds=20.0, **more) -> ExecutionContext:
        return ExecutionContext(self.services, deadline=Deadline(seconds), **more)

    def submit(self, text, *, context=None, seconds=20.0, name="t.lua", path=None, **source):
        arguments: ScriptArguments | None = source.pop("arguments", None)
        return self.state.submit(
            Source(text, name, path, **source), context or self.context(seconds), arguments
        )

    def run(self, text, **more) -> Any:
        return self.submit(text, **more).result(30).value

    def fails(self, text, **more) -> BaseException:
        error = self.submit(text, **more).exception(30)
        assert error is not None
        return error

    def message(self, expression: str) -> str:
        """The message that a protected call of it raises."""
        ok, text = self.run(f"return {{pcall(function() local r = {expression} end)}}")
        assert ok is False
        return text

    def close(self) -> None:
        self.state.close()
