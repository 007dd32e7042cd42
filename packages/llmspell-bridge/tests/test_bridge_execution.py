"""Executions: results, errors, exit, limits of the source, persistence, output, input."""

import threading
import time
from queue import SimpleQueue

import pytest

from bridge_testkit import DOUBLES, World, make_services
from llmspell_core import (
    CancelSignal,
    ConfigurationError,
    ExecutionCancelled,
    LLMTimeoutError,
    ResourceLimitError,
    ScriptArguments,
    ScriptError,
)


@pytest.mark.requirement("result.value")
@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("return 1", 1),
        pytest.param("return 2.0", 2.0, marks=DOUBLES),
        ("return 'ü'", "ü"),
        ("", None),
        ("-- only a comment", None),
        ("return 1, 2", 1),
        ("return {1, 2, {a = true}}", [1, 2, {"a": True}]),
        ("return {}", {}),
        ("return {1, 2, x = 3}", {"x": 3}),
        ("return {1, nil, 3}", [1, None, 3]),
        ("return {[1.5] = 1, a = 2}", {"a": 2}),
        ("return print", "<function>"),
        ("return {f = print, c = coroutine.create(print)}", {"f": "<function>", "c": "<thread>"}),
        ("return 0/0", None),
        ("return {1/0}", [None]),
        pytest.param("return math.maxinteger", 2**63 - 1, marks=DOUBLES),
        ("return Probe.counter('k')", "Counter(k)"),
        ("return '\\xff'", b"\xff"),
        ("#!/usr/bin/env llmspell\nreturn 5", 5),
    ],
)
def test_return_value_becomes_the_result(world, code, value):
    found = world.run(code)
    assert found == value
    assert type(found) is type(value)


def test_expression_is_evaluated_and_statements_still_run(world):
    assert world.run("1 + 1", expression=True) == 2
    assert world.run("local x = 3 return x", expression=True) == 3
    assert world.run("x = 4", expression=True) is None
    assert world.run("x", expression=True) == 4
    error = world.fails("x +* 2", expression=True)
    assert isinstance(error, ScriptError)


@pytest.mark.requirement("engine.state.persists", "engine.state.private")
def test_globals_persist_between_executions_and_are_private_to_a_state(world):
    world.run("counter = 41")
    assert world.run("counter = counter + 1 return counter") == 42
    other = World()
    assert other.run("return counter") is None
    other.close()


def test_a_syntax_error_names_file_and_line(world):
    error = world.fails("local a = 1\nlocal b = = 2", name="bad.lua")
    assert isinstance(error, ScriptError)
    assert str(error).startswith("Script execution error: bad.lua:2: unexpected symbol near '='")
    assert error.line == 2


@pytest.mark.requirement("result.traceback")
def test_a_runtime_error_has_position_and_lua_traceback(world):
    error = world.fails(
        "local function inner() error('boom') end\nlocal function outer() inner() end\nouter()",
        name="deep.lua",
    )
    assert isinstance(error, ScriptError)
    assert error.message == "deep.lua:1: boom"
    assert error.line == 1
    assert error.language == world.language
    assert "deep.lua:2: in upvalue" in error.traceback or "outer" in error.traceback
    assert "deep.lua:3: in main chunk" in error.traceback
    assert "llmspell]" not in error.traceback


@pytest.mark.requirement("errors.cause")
def test_the_python_cause_of_a_lua_error_is_kept(world):
    error = world.fails("local r = Probe.fail_raise() print(r)")
    assert error.message == "t.lua:1: Component error: Tool 'x' not found"
    assert error.source.message == "Tool 'x' not found"
    assert error.hint == "try y"
    assert error.__cause__ is error.source


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("error({})", "(error object is a table value)"),
        ("error(nil)", "nil"),
        ("error(5)", "5"),
        ("error(setmetatable({}, {__tostring = function() return 'mine' end}))", "mine"),
        ("error(setmetatable({}, {__tostring = error}))", "(error object is a table value)"),
        ("error('plain', 0)", "plain"),
    ],
)
def test_any_error_value_becomes_a_message(world, code, message):
    assert world.fails(code).message == message


@pytest.mark.requirement("engine.chunk_name.inline")
def test_inline_code_is_named_by_its_text(world):
    error = world.fails("error('x')", name="<inline>")
    assert error.message == "[string \"error('x')\"]:1: x"
    assert error.line == 1


@pytest.mark.requirement("result.exit_code")
@pytest.mark.parametrize(
    ("argument", "code"), [("3", 3), ("true", 0), ("false", 1), ("", 0), ("7.0", 7)]
)
def test_exit_ends_the_script_with_its_code(world, argument, code):
    result = world.submit(f"os.exit({argument}) print('not reached')").result(10)
    assert result.exit_code == code
    assert world.out == ""


@pytest.mark.requirement("result.exit_code")
@pytest.mark.parametrize("argument", ["1/0", "-1/0", "0/0", "1.5", "'3'", "{}"])
def test_exit_refuses_what_is_no_code(world, argument):
    assert world.message(f"os.exit({argument})") == (
        "t.lua:1: Validation error: os.exit takes a number or a boolean"
    )


@pytest.mark.requirement("result.exit.cannot_be_caught")
def test_exit_cannot_be_caught(world):
    result = world.submit(
        "while true do pcall(coroutine.wrap(function() pcall(os.exit, 4) end)) end"
    ).result(10)
    assert result.exit_code == 4


def test_exit_in_a_callback_ends_the_script(world):
    result = world.submit("Probe.later_call(function() os.exit(9) end) print('no')").result(10)
    assert result.exit_code == 9
    assert world.out == ""


def test_a_state_survives_exit_and_errors(world):
    world.submit("os.exit(1)").result(10)
    world.fails("error('x')")
    assert world.run("return 'alive'") == "alive"


@pytest.mark.requirement("limits.source", "errors.prefix.resource")
def test_too_long_a_source_is_refused(world):
    error = world.fails("--" + "x" * 10_000_001)
    assert isinstance(error, ResourceLimitError)
    assert error.message == "source limit of 10000000 exceeded (used: 10000003)"


@pytest.mark.requirement("engine.state.collected")
def test_what_a_script_let_go_is_collected_after_it(world):
    world.run("weak = setmetatable({}, {__mode = 'k'}) weak[{}] = 'value'")
    assert world.run("return next(weak) == nil") is True


@pytest.mark.requirement("engine.binary")
@pytest.mark.parametrize("text", ["\x1bLua something", "return 1\0"])
def test_a_binary_file_is_no_script(world, text):
    error = world.fails(text, name="image.png")
    assert isinstance(error, ScriptError)
    assert error.code == "SCRIPT_BINARY"
    assert "image.png" in error.message


@pytest.mark.requirement("output.lines", "output.stderr")
def test_prints_arrive_line_by_line_and_streams_stay_apart(world):
    world.run("print('a', 1, 2.5, nil, true) io.write('b') io.stderr:write('e') io.write('c\\nd')")
    assert world.written == [
        ("stdout", "a\t1\t2.5\tnil\ttrue\n"),
        ("stdout", "bc\n"),
        ("stdout", "d"),
        ("stderr", "e"),
    ]


@pytest.mark.requirement("engine.streaming")
def test_output_shows_while_the_script_still_runs(world):
    world.written = Told()
    future = world.submit("print('first') Probe.hang()", seconds=60)
    assert world.written.event.wait(20)
    assert not future.done()
    world.close()
    assert world.written.lines == [("stdout", "first\n")]


class Told:
    """Takes output and says so."""

    def __init__(self):
        self.event, self.lines = threading.Event(), []

    def append(self, piece):
        self.lines.append(piece)
        self.event.set()


def test_write_chains_and_a_cut_character_is_joined(world):
    world.run("io.write('\\xc3'):write('\\xbc', 1, 2.5, '\\n') io.write('\\xff\\n')")
    assert world.out == "ü12.5\n\ufffd\n"


def test_io_write_refuses_tables(world):
    assert "string expected, got table" in world.message("io.write({})")


def test_the_host_writes_into_the_same_stream(world):
    world.run("io.write('a') Probe.write_out('b\\n')")
    assert world.out == "ab\n"


def test_a_broken_output_ends_the_run():
    def output(_stream, _text):
        raise BrokenPipeError("gone")

    world = World()
    state = world.engine.open_state(output=output)
    from llmspell_core import Source

    future = state.submit(Source("while true do pcall(print, 'x') end", "t.lua"), world.context())
    assert isinstance(future.exception(10), BrokenPipeError)
    state.close()
    world.close()


@pytest.mark.requirement("output.read")
def test_read_takes_lines_numbers_and_everything():
    lines = iter(["first\n", "12.5\n", "abc\n", "rest\n", "end\n"])
    world = World(input=lambda _prompt: next(lines, None))
    assert world.run(
        "return {io.read(), io.read('n'), io.read(3), io.read('L'), io.read('a'), io.read('l')}"
    ) == ["first", 12.5, "\nab", "c\n", "rest\nend\n"]
    world.close()


@pytest.mark.requirement("output.read")
def test_numbers_and_bytes_are_cut_from_lines():
    lines = iter(["12 abc\n", "0x1F -5e2\t.5 1e x7\n", "\n", "  99999999999999999999\n", "last"])
    world = World(input=lambda _prompt: next(lines, None))
    assert world.run(
        "local t = {io.read('n', 'l')} for i = 3, 5 do t[i] = io.read('n') end"
        " t[6] = tostring(io.read('n')) t[7] = tostring(io.read('*n')) t[8] = io.read(2)"
        " t[9] = io.read('n') t[10] = io.read(0) t[11] = io.read('L') t[12] = io.read(100)"
        " t[13] = tostring(io.read(0)) t[14] = tostring(io.read('n')) return t"
    ) == [
        *(12, " abc", 31, -500.0, 0.5, "nil", "nil", "x7", 1e20, "", "\n", "last\n", "nil", "nil")
    ]
    world.close()


@pytest.mark.requirement("output.read")
def test_lines_come_one_by_one_to_a_loop():
    lines = iter(["a\n", "b\n", "1 2\n", "c"])
    world = World(input=lambda _prompt: next(lines, None))
    assert world.run(
        "local t = {} for line in io.lines() do t[#t + 1] = line if line == 'b' then break end end"
        " for n, m in io.stdin:lines('n', 'n') do t[#t + 1] = n + m end"
        " for line in io.lines() do t[#t + 1] = line end return t"
    ) == ["a", "b", 3, "c"]
    assert world.run("return io.read()") is None
    for wrong in ("'x'", "-1", "2.5", "{}"):
        assert world.message(f"io.read({wrong})") == (
            "t.lua:1: bad argument #1 to 'read' (invalid format)"
        )
    world.close()


@pytest.mark.requirement("output.read")
def test_waiting_for_a_line_ends_at_the_deadline_and_loses_nothing():
    lines: SimpleQueue[str | None] = SimpleQueue()
    world = World(input=lambda _prompt: lines.get())
    assert isinstance(world.fails("io.read()", seconds=0.2), LLMTimeoutError)
    lines.put("late")
    assert world.run("return io.read()") == "late"
    signal = CancelSignal()
    future = world.submit("print('asks') io.read()", context=world.context(cancel=signal))
    while "asks" not in world.out:
        assert not future.done()
        time.sleep(0)
    signal.cancel("enough")
    assert isinstance(future.exception(10), ExecutionCancelled)
    lines.put(None)
    assert world.run("return tostring(io.read())") == "nil"
    world.close()


def test_input_without_end_is_bounded():
    world = World(
        {"engines": {"lua": {"max_memory_bytes": 4_000_000}}}, input=lambda _prompt: "x" * 100_000
    )
    assert "input limit of 4000000 exceeded" in world.message("io.read('a')")
    assert world.run("return #io.read()") == 100_000
    world.close()


def test_what_asking_for_a_line_raises_is_told():
    def ask(_prompt):
        raise ConfigurationError("no terminal")

    world = World(input=ask)
    assert world.message("io.read()") == "t.lua:1: Configuration error: no terminal"
    world.close()


@pytest.mark.requirement("output.read_without_input")
def test_read_without_input_is_nil(world):
    assert world.run("return {io.read() == nil, io.read('a')}") == [True, ""]


def test_arguments_are_text_by_position_and_name(world):
    arguments = ScriptArguments("s.lua", ("one", "2"), {"name": "Ada", "max-cost": "3"})
    assert world.run(
        "return {ARGS[0], ARGS[1], ARGS['2'], #ARGS, ARGS.name, ARGS['max-cost'], ARGS.max_cost,"
        " tostring(ARGS.missing), arg[0], arg[2], #arg}",
        arguments=arguments,
    ) == ["s.lua", "one", "2", 2, "Ada", "3", "3", "nil", "s.lua", "2", 2]
    assert world.run("return {type(ARGS), #ARGS, ARGS[0]}") == ["table", 0, "<inline>"]


def test_arguments_are_private_to_a_run(world):
    world.run("ARGS.x = 'mine'", arguments=ScriptArguments("a"))
    assert world.run("return ARGS.x") is None


def test_queued_executions_run_in_order(world):
    futures = [world.submit(f"order = (order or '') .. {n} return order") for n in range(5)]
    assert [f.result(10).value for f in futures] == ["0", "01", "012", "0123", "01234"]


def test_a_queued_execution_can_be_withdrawn(world):
    first = world.submit("Probe.wait(0.05)")
    second = world.submit("touched = true")
    assert second.cancel()
    first.result(10)
    assert world.run("return touched") is None


def test_a_closed_state_refuses_and_closing_twice_is_harmless(world):
    world.run("return 1")
    world.close()
    world.close()
    assert "was closed" in str(world.fails("return 1"))


def test_an_unused_state_closes_without_a_thread():
    World().close()


@pytest.mark.requirement("globals.nil_when_disabled")
def test_a_global_is_nil_only_when_disabled():
    world = World({"probe": {"enabled": False}})
    assert world.run("return {tostring(Probe), type(JSON)}") == ["nil", "table"]
    world.close()


def test_the_duration_is_measured(world):
    result = world.submit("Probe.wait(0.02)").result(10)
    assert 15 < result.duration_ms < 5000


@pytest.mark.requirement("globals.lazy")
def test_a_broken_global_raises_at_its_touch_and_not_before():
    world = World(services=make_services(Broken="no_such_module:Thing"))
    assert world.run("return type(Broken)") == "table"
    assert "no_such_module" in world.message("Broken.anything")
    assert world.run("return 1") == 1
    world.close()


def test_then_as_a_method_parses_outside_strings_and_comments(world):
    world.run(
        "local t = {next = function(_, f) return f() end}\n"
        "assert(t:then(function() return 5 end) == 5)\n"
        "local s = 't:then(x)' -- t:then(y)\n"
        'assert(s == "t:then(x)")\n'
        "assert([[t:then(z)]] == 't' .. ':then(z)')\n"
        "if true then (function() end)() end\n"
        "assert(load('return ({next = function() return 6 end}):then(1)')() == 6)"
    )
