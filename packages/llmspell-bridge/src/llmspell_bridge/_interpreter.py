"""The Lua runtime of one state: set up, globals injected, declared methods bound.

All of it runs on the state's thread. Nothing that Lua calls raises: what goes wrong is returned,
because lupa would hand the exception object itself to the script.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from llmspell_bridge._calls import bound
from llmspell_bridge._conversion import NULL, Converter, Foreign, Mark
from llmspell_bridge._declaration import Declaration, Method, declaration
from llmspell_bridge._errors import failure_table, message_of
from llmspell_bridge._function import LuaFunction
from llmspell_core import (
    ExecutionCancelled,
    ExecutionContext,
    Exposure,
    Live,
    LLMSpellError,
    PluginError,
    ResourceLimitError,
    ScriptArguments,
    grouped_globals,
    handle_name,
)

if TYPE_CHECKING:
    from llmspell_bridge._lua_state import LuaState
    from llmspell_bridge._portal import Task
    from llmspell_bridge._testing import Testing

_FOLDER = os.path.join(os.path.dirname(__file__), "lua")
_CHUNKS = ("core", "promise", "patterns", "stdlib", "files", "natives", "peek", "execution")
_JIT_VERSION = (5, 1)
_PATTERN_BUDGET = 100_000_000
"""Steps of C's pattern matcher, which cannot be interrupted: half a second to a second."""
_JIT_ROOM = 4 * 1024 * 1024
_SLACK = 512 * 1024
_bytecode: dict[Any, dict[str, bytes]] = {}
"""The compiled chunks of each lupa module: compiled once per process."""

_FUNCTIONS = (
    *("tokens", "more", "record", "items", "live", "empty_array", "holes", "null"),
    *("function_of", "handle", "define", "define_reader", "define_class", "define_method"),
    *("spawn_main", "spawn_function", "step", "settle", "next_job", "release"),
    *("begin", "arguments", "load_main", "collect", "set_limit", "peek"),
)
_KIND_GLOBAL = "llmspell.globals"
_TITLE = 500
"""Characters of a handle's title that are shown."""


def _deny(_object: Any, _name: Any, _setting: bool) -> Any:
    raise AttributeError("not accessible")


def _chunks(module: Any) -> dict[str, bytes]:
    made = _bytecode.get(module)
    if made is None:
        made = {}
        compiler = module.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
        dump = compiler.eval(b"function(s, n) return string.dump(assert(load(s, n))) end")
        for name in (*_CHUNKS, *(("compat",) if module.LUA_VERSION == _JIT_VERSION else ())):
            with open(os.path.join(_FOLDER, f"{name}.lua"), "rb") as file:
                made[name] = dump(file.read(), b"=[llmspell]")
        _bytecode[module] = made
    return made


class Interpreter:
    """See the module."""

    def __init__(self, state: LuaState) -> None:
        self._state = state
        limits = state.limits
        self._runtime = state.module.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_filter=_deny,
            max_memory=0,
        )
        self._host: dict[bytes, Any] = {}
        self._watch: Callable[[], None] | None = None
        chunks = _chunks(state.module)
        if state.module.LUA_VERSION == _JIT_VERSION:
            compat = self._load(chunks["compat"], limits.jit, _random_seed())
            self._host[b"luajit"], self._watch = compat, compat[b"watch"]
        bridge = self._load(chunks["core"], self._runtime.table_from(self._host_functions()))
        describe = self._runtime.eval(
            b"function(running) running[2] = coroutine.create(function() end)"
            b" return string.format('%p %p', running, running[2]) end"
        )
        table, probe = describe(bridge[b"running"]).split()
        state.interrupter.attach(int(table, 16), int(probe, 16))
        self._load(chunks["promise"], bridge)
        is_jit = self._watch is not None
        patterns = self._load(
            chunks["patterns"], _PATTERN_BUDGET, is_jit, bridge[b"position"], bridge[b"blamed"]
        )
        self._load(chunks["stdlib"], bridge, limits.level, patterns)
        self._load(chunks["files"], bridge, limits.level)
        for name in ("natives", "peek", "execution"):
            self._load(chunks[name], bridge)
        self._functions = {name: bridge[name.encode()] for name in _FUNCTIONS}
        self.converter = Converter(self._runtime, self._functions, self._handle)
        self.converter.memory_bytes = limits.memory_bytes
        functions = self._functions
        self.spawn_main = functions["spawn_main"]
        self.spawn_function = functions["spawn_function"]
        self.release = functions["release"]
        self._classes: dict[type, int] = {}
        self._instances: dict[type, Any] = {}
        self._tests: Testing | None = None
        self._inject(bridge)
        self._limit(limits.memory_bytes)
        state.portal.attach(_Functions(functions))

    def _load(self, bytecode: bytes, *args: Any) -> Any:
        return self._runtime.execute(bytecode, *args)

    def _limit(self, memory_bytes: int) -> None:
        """The limit counts what scripts use, not what the engine brought."""
        runtime = self._runtime
        runtime.gccollect()
        self._base = used = runtime.get_memory_used()
        self.collections = 0
        counted = runtime.eval(b"collectgarbage('count')")
        slack = min(_SLACK, memory_bytes // 4)
        self._functions["set_limit"](counted + (memory_bytes - slack) / 1024)
        soft = hard = used + memory_bytes
        compat = self._host.get(b"luajit")
        if compat is not None:
            compat[b"ceiling"] = counted + memory_bytes / 1024
            hard += memory_bytes // 2 + _JIT_ROOM
        self.converter.limit(soft, hard)

    def heap_bytes(self) -> int:
        """What the script uses of its heap."""
        return max(0, self._runtime.get_memory_used() - self._base)

    def collect(self) -> None:
        """A full garbage collection."""
        self._functions["collect"]()
        self.collections += 1

    def peek(self, typed: bytes | None, *path: bytes) -> tuple[Any, ...] | None:
        """What there is at *path*, see ``lua/peek.lua``; None where the heap is full."""
        if self.converter.room() is not None:
            return None
        found: Any = self._functions["peek"](typed, *path)
        return (found,) if isinstance(found, int) else found

    def close(self) -> None:
        """Free the Lua state: the cycle through Python is cut here."""
        self._functions.clear()
        self._instances.clear()
        self._host.clear()
        del self.spawn_main, self.spawn_function, self.release
        del self.converter, self._runtime, self._watch

    # Executions ---------------------------------------------------------------------------------

    def begin(self, context: ExecutionContext, arguments: ScriptArguments) -> None:
        """Prepare the globals of an execution.

        Raises:
            ResourceLimitError: when earlier executions left no room in the heap.
        """
        self.converter.reserve(0)
        if self._watch is not None:
            self._watch()
        recording = bool(context.effects.recording)
        seed = 0
        if recording:
            seed = context.observe("random.seed", None, _random_seed)
        self._functions["begin"](recording, seed)
        given: dict[str, Any] = context.observe(
            "script.arguments",
            None,
            lambda: {
                "script": arguments.script,
                "positional": list(arguments.positional),
                "options": dict(arguments.options),
            },
        )
        numbered: dict[Any, bytes] = {0: _encoded(given["script"])}
        for index, text in enumerate(given["positional"], 1):
            numbered[index] = _encoded(text)
        named: dict[Any, bytes] = {
            _encoded(key): _encoded(text) for key, text in given["options"].items()
        }
        table_from = self._runtime.table_from
        self._functions["arguments"](table_from({**numbered, **named}), table_from(numbered))

    def load(self, text: bytes, name: bytes, expression: bool) -> None:
        """Compile the main chunk.

        Raises:
            ScriptError: with the line of a syntax error.
        """
        self.converter.reserve(3 * len(text))
        found = self._functions["load_main"](text, name, expression)
        if found is True:
            return
        from llmspell_bridge._errors import script_error

        raise script_error(
            found[1].decode("utf-8", "replace"),
            "",
            None,
            self._state.limits.memory_bytes,
            self._state.language,
        )

    # Host functions -----------------------------------------------------------------------------

    def _host_functions(self) -> dict[bytes, Any]:
        state, portal = self._state, self._state.portal
        functions: dict[str, Callable[..., Any]] = {
            "write": self._write,
            "flush": self._flush,
            "touch": self._touch,
            "wake": portal.wake,
            "promised": portal.promise,
            "stir": lambda: portal.inbox.put(self._stir),
            "live_get": self._live_get,
            "live_set": self._live_set,
            "live_len": len,
            "live_keys": self._live_keys,
            "testing": self._testing,
            **state.sandbox.functions(),
        }
        self._host.update((name.encode(), self._guarded(f, name)) for name, f in functions.items())
        for raw in ("wake", "promised", "stir"):
            self._host[raw.encode()] = _silent(functions[raw])
        self._host.update(
            {
                b"touch": self._touch,
                b"block": portal.block,
                b"dying": state.dying,
                b"doomed": state.doomed,
                b"hooks": state.interrupter.hooks.encode(),
                b"settled": state.interrupter.settled,
                b"mark": self._mark,
                b"func": self._function,
                b"local_token": self._local_token,
                b"null": NULL,
            }
        )
        return self._host

    def _guarded(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Returns ``True, results…``, ``False, message`` or nothing, as ``finish`` expects."""

        def call(*args: Any) -> tuple[Any, ...]:
            try:
                found = function(*args)
            except BaseException as error:
                return self._failure(error, name, Exposure())
            values = cast("tuple[Any, ...]", found) if type(found) is tuple else (found,)
            for value in values:
                if type(value) is bytes and len(value) > 4096:
                    try:
                        self.converter.reserve(len(value))
                    except ResourceLimitError as error:
                        return self._failure(error, name, Exposure())
            return (True, *values)

        return call

    def _mark(self, what: Any) -> Any:
        return Mark(self.converter, what) if isinstance(what, int) else Foreign(what.decode())

    def _function(self, identity: int, where: bytes) -> LuaFunction:
        return LuaFunction(self._state, identity, where.decode("utf-8", "replace"))

    def _local_token(self, milliseconds: float | None = None) -> int:
        return self._state.portal.local(None if milliseconds is None else milliseconds / 1000)

    def _flush(self, fd: int) -> None:
        self._state.output.flush("stderr" if fd == 2 else "stdout")

    def _write(self, fd: int, data: bytes) -> None:
        try:
            self._state.output.write("stderr" if fd == 2 else "stdout", data)
        except Exception as error:  # nobody reads any more (a closed pipe): the script ends
            raise _Fatal(error) from error

    def _testing(self, action: bytes, *args: Any) -> Any:
        """What the test library asks for; most scripts never do."""
        if self._tests is None:
            from llmspell_bridge._testing import Testing

            self._tests = Testing(self._state, _FOLDER)
        return self._tests(action, *args)

    def _stir(self) -> None:
        run = self._state.portal.run
        if run is not None:
            self._state.portal.run_jobs(run)

    # Live tables --------------------------------------------------------------------------------

    def _live_get(self, live: Any, key: Any) -> Any:
        value = self._converter_value(key)
        if isinstance(live, dict):
            name = value if isinstance(value, str) else str(value)
            found = cast("dict[str, Any]", live).get(name)
            if type(found) is dict:
                found = cast("dict[str, Any]", live)[name] = Live(cast("dict[str, Any]", found))
            return self.converter.push(found)
        return None

    def _live_set(self, live: Any, key: Any, value: Any) -> None:
        name = self._converter_value(key)
        name = name if isinstance(name, str) else str(name)
        found = self._converter_value(value)
        if found is None:
            live.pop(name, None)
        else:
            live[name] = found

    def _live_keys(self, live: Any) -> Any:
        return self.converter.push([str(key) for key in live])

    def _converter_value(self, raw: Any) -> Any:
        return self.converter.value(raw)

    # Globals ------------------------------------------------------------------------------------

    def _inject(self, bridge: Any) -> None:
        lazy, scope = bridge[b"lazy_global"], bridge[b"G"]
        config = self._state.services.config
        for names in grouped_globals(self._state.services.plugins):
            if all(config.get(f"{name.lower()}.enabled") is not False for name in names):
                lazy(scope, *(name.encode() for name in names))
        del lazy, scope

    def _touch(self, raw: bytes) -> tuple[Any, ...]:
        name = raw.decode()
        try:
            cls = self._state.services.plugins.load(_KIND_GLOBAL, name)
            compiled = declaration(cls)
            instance = self._instances.get(cls)
            if instance is None:
                instance = self._instances[cls] = cls(self._state.host)
            self._define_global(name, compiled, instance)
        except BaseException as error:
            return self._failure(error, name, Exposure())
        return True, compiled.index is not None, bool(compiled.attributes)

    def _define_global(self, name: str, compiled: Declaration, instance: Any) -> None:
        define = self._functions["define"]
        key_of_global = name.encode()
        for method in compiled.methods:
            function = self._bound(method, instance)
            for key in method.keys:
                define(key_of_global, key.encode(), function, method.arity, False)
            for key in method.twins:
                define(key_of_global, key.encode(), function, method.arity, True)
        if compiled.index is not None or compiled.attributes:
            self._functions["define_reader"](self._reader(compiled, instance))

    def _reader(self, compiled: Declaration, instance: Any) -> Callable[..., Any]:
        """Fields: attributes first, then ``__script_index__``."""
        attributes, index = compiled.attributes, compiled.index

        def read(target: Any, key: bytes) -> tuple[Any, ...]:
            owner = target if instance is None else instance
            name = key.decode("utf-8", "replace")
            try:
                found = attributes.get(name)
                if found is not None:
                    return True, self.converter.push(getattr(owner, found))
                if index is not None:
                    return True, self.converter.push(index(owner, name))
            except BaseException as error:
                return self._failure(error, f"{compiled.name}.{name}", Exposure())
            return (True,)

        return read

    def _handle(self, value: Any) -> Any:
        cls = cast("type[Any]", type(value))
        number = self._classes.get(cls)
        if number is None:
            number = self._classes[cls] = len(self._classes) + 1
            self._define_class(number, declaration(cls))
        return self._functions["handle"](id(value), value, number)

    def _define_class(self, number: int, compiled: Declaration) -> None:
        reader: Any = None
        if compiled.attributes or compiled.index is not None:
            reader = self._reader(compiled, None)
        self._functions["define_class"](number, compiled.name.encode(), reader, self._title)
        define = self._functions["define_method"]
        for method in compiled.methods:
            function = self._bound(method, None)
            for key in method.keys:
                define(number, key.encode(), function, method.arity, False)
            for key in method.twins:
                define(number, key.encode(), function, method.arity, True)

    def _title(self, target: Any) -> tuple[Any, ...]:
        """What stands in the brackets of ``tostring``; see `script_object`."""
        try:
            given = getattr(target, "__script_title__", None)
            text: Any = handle_name(target) if given is None else given()
            shown = str(text)[:_TITLE].encode("utf-8", "surrogateescape")
            return True, shown if text else None
        except BaseException as error:
            return self._failure(error, f"{type(target).__name__}.name", Exposure())

    def _bound(self, method: Method, instance: Any) -> Callable[..., Any]:
        """What Lua calls: converts, calls, converts back or starts the coroutine."""
        return bound(
            method,
            instance,
            results=self.converter.results,
            refused=self._refused,
            start=self._state.portal.start,
        )

    def _refused(self, error: BaseException, method: Method, misuse: bool) -> tuple[Any, ...]:
        """What Lua gets for an error of a declared method."""
        return self._failure(error, method.operation, method.exposure, misuse=misuse)

    def _failure(
        self, error: BaseException, operation: str, exposure: Exposure, *, misuse: bool = False
    ) -> tuple[Any, ...]:
        """What Lua gets for *error*; ``(None,)`` ends the task."""
        if isinstance(error, _Fatal):
            error = error.reason
            self._end_run(error)
            return (None,)
        if not isinstance(error, Exception):
            self._end_task(error)
            return (None,)
        message = message_of(error, operation)
        encoded = message.encode("utf-8", "surrogateescape")
        misused = misuse or isinstance(error, exposure.raises)
        fails = exposure.misuse if misused else exposure.fails
        if isinstance(error, PluginError):  # the installation is broken
            fails = "raise"
        if fails == "raise" or not isinstance(error, LLMSpellError):
            self._state.failures.append((message, error))
            return False, encoded
        if fails == "pair":
            # The string is all the script gets, so what to try must be in it.
            hint = f"\nHint: {error.hint}" if error.hint else ""
            return True, None, encoded + hint.encode("utf-8", "surrogateescape")
        try:
            return True, self.converter.push(failure_table(error, message)), encoded
        except ResourceLimitError:
            return False, encoded

    def _end_run(self, reason: BaseException) -> None:
        task = self._state.portal.current
        if task is not None and task.run.fatal is None:
            task.run.fatal = reason
            # The other tasks of the run may wait for something that takes long.
            self._state.portal.inbox.put(self._state.portal.doom)

    def _end_task(self, reason: BaseException) -> None:
        """A cancellation or an exit: past every pcall."""
        task: Task | None = self._state.portal.current
        if task is None:
            return
        if not isinstance(reason, ExecutionCancelled) or self._is_main(task):
            self._end_run(reason)
        elif task.fatal is None:
            task.fatal = reason

    def _is_main(self, task: Task) -> bool:
        return getattr(task.deliver, "__self__", None) is task.run


class _Fatal(Exception):
    """Ends the run with *reason*, whatever the script catches."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Functions:
    """The functions of ``lua/core.lua`` as attributes, for the portal."""

    __slots__ = ("next_job", "release", "settle", "spawn_function", "step")

    def __init__(self, functions: Mapping[str, Any]) -> None:
        self.next_job = functions["next_job"]
        self.release = functions["release"]
        self.settle = functions["settle"]
        self.spawn_function = functions["spawn_function"]
        self.step = functions["step"]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _silent(function: Callable[..., Any]) -> Callable[..., None]:
    def call(*args: Any) -> None:
        function(*args)

    return call


def _random_seed() -> int:
    return int.from_bytes(os.urandom(6), "big")
