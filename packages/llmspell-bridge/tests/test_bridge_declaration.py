"""Declared globals and handles as scripts meet them."""

import pytest

from bridge_testkit import DOUBLES, PROBES, World, make_services


@pytest.mark.requirement("calls.static.third_party")
@pytest.mark.parametrize(
    "call",
    [
        "Probe.take_text('x')",
        "Probe.takeText('x')",
        "Probe:take_text('x')",
        "Probe:takeText('x')",
    ],
)
def test_snake_and_camel_dot_and_colon(world, call):
    assert world.run(f"return {call}") == "x"


def test_further_names_exist_in_both_spellings(world):
    assert (
        world.run(
            "return {Probe.two_names(), Probe.twoNames(), Probe.other_name(), Probe.otherName()}"
        )
        == ["two"] * 4
    )


@pytest.mark.requirement("calls.arguments")
@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("Probe.options('a')", ["a", 7, "None"]),
        ("Probe.options('a', nil, 'z')", ["a", 7, "z"]),
        ("Probe.options('a', 8)", ["a", 8, "None"]),
        ("Probe:options('a', 8, 'z', 'ignored')", ["a", 8, "z"]),
        ("Probe.take_all('a', 1, nil, 'b')", ["a", 1, None, "b"]),
        ("Probe:take_all('a')", ["a"]),
        ("Probe.take_text(12)", "12"),
        ("Probe.take_text(1.5)", "1.5"),
        pytest.param("Probe.take_text(2.0)", "2.0", marks=DOUBLES),
        ("Probe.take_int('12')", 12),
        ("Probe.take_int(3.0)", 3),
        ("Probe.take_int('0x10')", 16),
        ("Probe.take_float('1.5')", 1.5),
        ("Probe.take_float(2)", 2),
        ("Probe.take_bytes('\\xff')", b"\xff"),
        ("Probe.take_bytes(5)", "5"),
        ("Probe.take_bytes(Probe.record())", "the text"),
        ("Probe.take_bool(false)", False),
        ("Probe.take_dict({})", {}),
        ("Probe.take_list({})", []),
        ("Probe.take_words({1, 'a'})", ["1", "a"]),
        ("Probe.take_either()", "nothing"),
        ("Probe.take_either('x')", "str"),
        ("Probe.take_either(5)", "str"),
        ("Probe.take_either({a = 1})", "dict"),
        ("Probe.take_either(Probe.record())", "str"),
        ("Probe.take_number_or_text('5').kind", "str"),
        ("Probe.take_number_or_text(5).kind", "int"),
        ("Probe.take_number_or_text(2.5).value", "2.5"),
        ("Probe.take_mode()", "read"),
        ("Probe.take_mode('write')", "write"),
    ],
)
def test_arguments_are_converted_by_annotation(world, call, expected):
    assert world.run(f"return {call}") == expected


@pytest.mark.requirement("calls.arguments")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("Probe.take_text()", "Missing required parameter 'text' of Probe.take_text"),
        ("Probe.take_text(nil)", "Missing required parameter 'text' of Probe.take_text"),
        ("Probe.take_text(JSON.null)", "Missing required parameter 'text' of Probe.take_text"),
        ("Probe.take_text({})", "parameter 'text' of Probe.take_text must be a string, got table"),
        ("Probe.take_text(true)", "must be a string, got boolean"),
        ("Probe.take_text(print)", "must be a string, got function"),
        ("Probe.take_text('\\xff')", "must be text in UTF-8, got string"),
        ("Probe.take_int('x')", "must be an integer, got string"),
        ("Probe.take_int(1.5)", "must be an integer, got number"),
        ("Probe.take_int(1e300)", "must be an integer, got number"),
        ("Probe.take_int(('9'):rep(30))", "must be an integer, got string"),
        ("Probe.take_int('0x' .. ('f'):rep(400))", "must be an integer, got string"),
        ("Probe.take_int(0/0)", "must be an integer, got number"),
        ("Probe.take_int('1_000')", "must be an integer"),
        ("Probe.take_float('nan')", "must be a number, got string"),
        ("Probe.take_float({})", "must be a number, got table"),
        ("Probe.take_bool(1)", "must be a boolean, got number"),
        ("Probe.take_bool('true')", "must be a boolean, got string"),
        ("Probe.take_dict('x')", "must be a table with named fields, got string"),
        ("Probe.take_dict({1, 2})", "must be a table with named fields, got table"),
        ("Probe.take_list('x')", "must be an array, got string"),
        ("Probe.take_list({a = 1})", "must be an array, got table"),
        ("Probe.take_words({{}})", "must be an array whose elements are each a string"),
        ("Probe.take_mode('delete')", "must be one of read, write, got string"),
        ("Probe.take_either(true)", "must be a table with named fields or a string"),
        ("Probe.later_call(5)", "must be a function, got number"),
        ("Probe.counter():same(5)", "must be a Counter, got number"),
        ("Probe.take_text(Probe.counter())", "must be a string, got Counter"),
        ("Probe.take_text(coroutine.create(print))", "must be a string, got thread"),
    ],
)
def test_wrong_arguments_raise_and_name_the_parameter(world, call, message):
    found = world.message(call)
    assert found.startswith("t.lua:1: Validation error: ")
    assert message in found


@pytest.mark.parametrize("form", ["fail_pair(1)", "fail_table('x')"])
def test_wrong_arguments_raise_whatever_the_convention(world, form):
    world.run(f"pcall(function() Probe.{form} end)")
    assert "must be a boolean" in world.message("Probe.fail_table('x')")


def test_failures_follow_the_convention(world):
    assert world.message("Probe.fail_raise()") == "t.lua:1: Component error: Tool 'x' not found"
    assert world.run("local r, e = Probe.fail_pair() return {r == nil, e}") == [
        True,
        "Tool execution error: it broke",
    ]
    assert world.run("local r, e = Probe.fail_table() return {r, e}") == [
        {
            "success": False,
            "error": "Tool execution error: it broke",
            "error_type": "Tool",
            "error_details": {
                "message": "it broke",
                "code": "TOOL_ERROR",
                "retryable": False,
                "details": {"why": "because"},
            },
        },
        "Tool execution error: it broke",
    ]
    assert world.message("Probe.fail_table(true)") == "t.lua:1: Validation error: misuse"


def test_a_failure_text_answers_message(world):
    assert world.run("local _, e = Probe.fail_pair() return e.message == e") is True


@pytest.mark.requirement("errors.panic")
def test_a_defect_is_a_panic_naming_the_call(world, caplog):
    message = world.message("Probe.panic()")
    assert "Runtime panic in Probe.panic: operation failed unexpectedly" in message
    assert "RuntimeError" in caplog.text
    assert "secret detail" in caplog.text


def test_positions_are_those_of_the_script_not_of_the_engine(world):
    error = world.fails("local function f()\n  local r = Probe.take_text()\n  return r\nend\nf()")
    assert error.message.startswith("t.lua:2: ")
    assert error.line == 2
    assert world.run("return (select(2, pcall(Probe.take_text))):match('^[%w%.]+:%d+: ')") == (
        "t.lua:1: "
    )


def test_fields_and_computed_fields_of_a_global(world):
    assert world.run("return {Probe.answer, Probe.x_1, tostring(Probe.nothing)}") == [
        42,
        "index:x_1",
        "nil",
    ]


def test_a_handle_has_methods_fields_a_text_and_identity(world):
    assert world.run(
        "local c = Probe.counter('n')"
        " c:add(2).add(3) c.add() c:add()"
        " return {c.currentCount, c.current_count, c.name, tostring(c), 'is ' .. c, c:same(c),"
        " c == c:add(0), tostring(c.nothing)}"
    ) == [7, 7, "n", "Counter(n)", "is Counter(n)", True, True, "nil"]


def test_a_dot_call_with_the_handle_first_is_a_colon_call(world):
    # One cannot tell c.same(c) from c:same(): the argument is taken as the object.
    assert "Missing required parameter 'other'" in world.message("Probe.counter().same()")


def test_the_methods_of_globals_and_handles_can_be_listed(world):
    keys = world.run("local t = {} for k in pairs(Probe) do t[k] = true end return t")
    assert {"take_text", "takeText", "wait", "wait_async", "waitAsync"} <= keys.keys()
    keys = world.run(
        "local t = {} for k, v in pairs(Probe.counter()) do t[k] = type(v) end return t"
    )
    assert keys["add"] == "function"
    assert keys["slowAsync"] == "function"


def test_metatables_of_globals_and_handles_are_closed(world):
    assert world.run(
        "return {getmetatable(Probe), getmetatable(Probe.counter()),"
        " (pcall(setmetatable, Probe, {})), (pcall(setmetatable, Probe.counter(), {}))}"
    ) == [False, False, False, False]


def test_an_untouched_global_is_not_made(world):
    assert (
        world.run(
            "local n = 0 for k, v in pairs(_G) do if k == 'Probe' and type(v) == 'table' then"
            " n = n + 1 end end return n"
        )
        == 1
    )
    assert PROBES == []
    world.run("local f = Probe.noop")
    assert len(PROBES) == 1
    world.run("Probe.noop()")
    assert len(PROBES) == 1


@pytest.mark.requirement("globals.lazy")
def test_an_untouched_global_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "never_imported_global.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    world = World(services=make_services(Lazy="never_imported_global:Lazy"))
    assert world.run("return type(Lazy)") == "table"
    import sys

    assert "never_imported_global" not in sys.modules
    world.close()


@pytest.mark.requirement("globals.overwritten_by_name")
def test_a_global_can_be_replaced_for_this_state_only(world):
    world.run("Probe = 5")
    assert world.run("return Probe") == 5
    other = World()
    assert other.run("return type(Probe)") == "table"
    other.close()


def test_two_states_have_instances_of_their_own(world):
    other = World()
    world.run("Probe.live_table().a = 10")
    assert other.run("return Probe.live_table().a") == 1
    other.close()


def test_handles_are_released_with_their_last_reference(world):
    import gc
    import weakref

    world.run("kept = Probe.counter('kept') for _ = 1, 500 do Probe.counter() end")
    from bridge_testkit import Counter

    world.run("collectgarbage()")
    world.run("return 1")
    gc.collect()
    alive = [weakref.ref(o) for o in gc.get_objects() if type(o) is Counter]
    assert len(alive) == 1


def test_functions_are_released_with_their_last_reference(world):
    import gc

    for _ in range(3):
        world.run("for _ = 1, 300 do Probe.take_any(function() end) end")
        PROBES[-1].seen.clear()
        gc.collect()
    world.run("Probe.keep(print) return 1")
    world.run("return 1")
    world.run("return 1")
    # What is left in the state's own count is the function that is still held.
    assert len(world.state._held) <= 2
