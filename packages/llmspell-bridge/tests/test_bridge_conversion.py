"""Values across the border, both ways."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge_testkit import DOUBLES, NO_LEN, PROBES, World
from llmspell_core import ScriptFunction

NAMES = st.text(max_size=20).filter(lambda s: "\0" not in s)
SCALARS = (
    st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
)
# nil leaves no trace in a table and an empty table has no kind: both have tests of their own.
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=6)
        | st.dictionaries(NAMES, inner, min_size=1, max_size=6)
    ),
    max_leaves=40,
)


@pytest.fixture(scope="module")
def shared():
    made = World()
    made.run("function echo(v) return v end Probe.keep(echo)")
    yield made
    made.close()


def same(a, b) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b and (not isinstance(a, float) or math.copysign(1, a) == math.copysign(1, b))


@pytest.mark.requirement("convert.round_trip")
@given(value=TREES)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
async def test_every_tree_comes_back_as_it_went(shared, value):
    echo: ScriptFunction = shared.echo
    assert same(await echo(value), value)


@pytest.mark.requirement("convert.round_trip", "convert.to_lua.bytes")
@given(content=st.binary(max_size=200))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
async def test_every_byte_string_comes_back_as_it_went(shared, content):
    found = await shared.echo(content)
    assert (found.encode() if isinstance(found, str) else found) == content


@pytest.fixture(scope="module", autouse=True)
def _echo(shared):
    from bridge_testkit import KEPT

    shared.echo = KEPT[-1]


def seen(world, expression):
    world.run(f"Probe.take_any({expression})")
    return PROBES[-1].seen[-1]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("nil", None),
        ("true", True),
        ("1", 1),
        pytest.param("1.0", 1.0, marks=DOUBLES),
        pytest.param("2^53", 2.0**53, marks=DOUBLES),
        pytest.param("math.mininteger", -(2**63), marks=DOUBLES),
        ("0/0", None),
        ("{1/0, -1/0, 0/0, 1}", [None, None, None, 1]),
        ("'a\\0b'", "a\0b"),
        ("{}", {}),
        ("{1, 2, 3}", [1, 2, 3]),
        ("{1, nil, 3}", [1, None, 3]),
        ("{1, 2, extra = 3}", [1, 2]),
        ("{a = {b = {}}}", {"a": {"b": {}}}),
        ("{[2] = 'x', [1.5] = 'y'}", {"2": "x", "1.5": "y"}),
        ("{[true] = 1, [print] = 2, a = 3}", {"a": 3}),
        ("{a = '\\xff'}", {"a": b"\xff"}),
        ("{JSON.null, 1}", [None, 1]),
        ("{a = JSON.null}", {"a": None}),
        ("JSON.null", None),
        ("JSON.array({})", []),
        ("{a = JSON.array()}", {"a": []}),
        ("Probe.record()", {"name": "rec", "n": 3}),
        ("Probe.items()", [{"text": "a"}, {"text": "b"}]),
        ("setmetatable({}, {__tojson = function() return {1} end})", [1]),
        ("{setmetatable({}, {__tojson = function() return 'x' end})}", ["x"]),
    ],
)
def test_what_a_lua_value_is_in_python(world, expression, value):
    found = seen(world, expression)
    assert found == value
    assert type(found) is type(value)


def test_a_function_in_a_table_is_a_script_function(world):
    found = seen(world, "{run = function(x) return x end}")
    assert isinstance(found["run"], ScriptFunction)
    assert found["run"].where == "t.lua:1"


def test_a_handle_in_a_table_is_its_object(world):
    assert world.run("local c = Probe.counter('k') return Probe.take_any({c})[1] == c") is True


def test_a_list_longer_than_a_chunk_of_tokens_is_whole(world):
    world.run("local t = {} for i = 1, 20000 do t[i] = {i, 'x' .. i} end Probe.take_any(t)")
    assert PROBES[-1].seen[-1] == [[i, f"x{i}"] for i in range(1, 20001)]


@pytest.mark.parametrize(
    ("expression", "phrase"),
    [
        ("(function() local t = {} t.t = t return t end)()", "Circular reference detected"),
        ("(function() local t = {} t[1] = {t} return t end)()", "Circular reference detected"),
        (
            "(function() local t = {} for _ = 1, 200 do t = {t} end return t end)()",
            "Maximum nesting depth exceeded",
        ),
        ("coroutine.create(print)", "Unsupported Lua type for JSON conversion: thread"),
        ("{io.open('t.lua', 'r') or coroutine.create(print)}", "Unsupported Lua type"),
    ],
)
def test_what_has_no_form_raises(world, expression, phrase):
    message = world.message(f"Probe.take_any({expression})")
    assert phrase in message
    assert message.startswith("t.lua:1: Validation error: ")


def test_a_value_shared_by_two_keys_is_no_cycle(world):
    assert seen(world, "(function() local s = {1} return {s, s} end)()") == [[1], [1]]


def test_depth_128_is_still_fine(world):
    world.run("local t = {0} for _ = 1, 120 do t = {t} end Probe.take_any(t)")


async def test_python_nesting_too_deep_or_cyclic_is_refused(world):
    world.run("function take(v) return 1 end Probe.keep(take)")
    from bridge_testkit import KEPT

    loop: list = []
    loop.append(loop)
    with pytest.raises(Exception, match="Maximum nesting depth exceeded"):
        await KEPT[-1](loop)
    with pytest.raises(TypeError, match="object cannot be handed to a script"):
        await KEPT[-1](object())
    assert await KEPT[-1](1) == 1


@pytest.mark.parametrize(
    ("value", "expression", "expected"),
    [
        (None, "v == nil", True),
        pytest.param(2**63 - 1, "math.type(v)", "integer", marks=DOUBLES),
        (2**63, "math.type(v)", "float"),
        pytest.param(1.0, "math.type(v)", "float", marks=DOUBLES),
        ([1, None, 3], "#v", 3),
        ({"a": None}, "next(v) == nil", True),
        ({1: "x"}, "v['1']", "x"),
        ([], "JSON.stringify(v)", "[]"),
        ({"a": []}, "JSON.stringify(v)", '{"a":[]}'),
        ({}, "JSON.stringify(v)", "{}"),
        (b"\xff\0", "#v", 2),
        ("ü", "#v", 2),
        (
            {
                "x",
            },
            "v[1]",
            "x",
        ),
        ((1, 2), "#v", 2),
    ],
)
async def test_what_a_python_value_is_in_lua(world, value, expression, expected):
    world.run(f"Probe.keep(function(v) return {expression} end)")
    from bridge_testkit import KEPT

    assert await KEPT[-1](value) == expected


async def test_a_function_goes_back_as_itself(world):
    from bridge_testkit import KEPT

    world.run(
        "function mine() return 7 end Probe.keep(mine) Probe.keep(function(f) "
        "return f == mine and f() end)"
    )
    mine, check = KEPT[-2:]
    assert await check(mine) == 7
    assert mine == seen(world, "mine")
    assert hash(mine) == hash(seen(world, "mine"))


# Result classes ----------------------------------------------------------------------------------


def test_a_record_is_a_table_with_a_text(world):
    assert world.run(
        "local r = Probe.record() return {r.name, tostring(r), r .. '!', '!' .. r,"
        " table.concat({r, 'x'}, ','), type(r), Probe.take_text(r)}"
    ) == ["rec", "the text", "the text!", "!the text", "the text,x", "table", "the text"]


def test_items_are_a_sequence_with_fields_behind_it(world):
    assert world.run(
        "local r = Probe.items() local n = 0 for _ in pairs(r) do n = n + 1 end"
        " return {#r, r[1].text, r.total, r.query, n, tostring(r.error)}"
    ) == [2, "a", 2, "q", 2, "nil"]


def test_several_results_are_several_values(world):
    assert world.run("local a, b = Probe.pair() return {a, b, select('#', Probe.pair())}") == [
        1,
        "two",
        2,
    ]


def test_a_live_table_changes_in_place(world):
    assert world.run(
        "local l = Probe.live_table() l.a = l.a + 1 l.new = {1, 2} l.deep.b = 'changed'"
        " l.gone = 1 l.gone = nil local keys = {} for k in pairs(l) do keys[#keys + 1] = k end"
        " table.sort(keys) return {l == Probe.live_table(), keys}"
    ) == [True, ["a", "deep", "new"]]
    assert PROBES[-1].live == {"a": 2, "deep": {"b": "changed"}, "new": [1, 2]}


@NO_LEN
def test_a_live_table_has_a_length(world):
    assert world.run("return #Probe.live_table()") == 2


def test_a_big_tree_comes_back_whole(world):
    tree = {f"key{i}": [{"n": i, "t": "ü" * (i % 7)}, i * 0.5] for i in range(3000)}
    from bridge_testkit import KEPT

    world.run("Probe.keep(function(v) return v end)")
    import asyncio

    async def go():
        return await KEPT[-1](tree)

    assert asyncio.run(go()) == tree
