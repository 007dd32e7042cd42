"""LuaJIT gives scripts the library of Lua 5.4 and the same guarantees, and says what it cannot."""

import logging

import pytest

import bridge_testkit
from bridge_testkit import ENGINES
from llmspell_core import LLMTimeoutError


@pytest.fixture
def both(monkeypatch):
    made = []
    for name in ENGINES:
        monkeypatch.setattr(bridge_testkit.World, "language", name)
        made.append(bridge_testkit.World())
    yield made
    for world in made:
        world.close()


SAME = [
    # utf8
    "utf8.char(72, 228, 8364, 128512), utf8.char(), utf8.charpattern:len()",
    "utf8.codepoint('hä€😀', 1, -1)",
    "utf8.codepoint('ä', 1), utf8.codepoint('abc', 2), utf8.codepoint('abc', -1)",
    "utf8.len('hä€😀'), utf8.len(''), utf8.len('äöü', 3), utf8.len('äöü', 3, 4), utf8.len('a', 2)",
    "utf8.len('a\\255b')",
    "utf8.len('\\xED\\xA0\\x80')",
    "utf8.len('\\xED\\xA0\\x80', 1, -1, true), utf8.codepoint('\\xF7\\xBF\\xBF\\xBF', 1, 1, true)",
    "utf8.len('\\xC0\\x80'), utf8.len('\\xE0\\x80\\x80')",
    "utf8.offset('hä€😀', 3), utf8.offset('hä€😀', -1), utf8.offset('hä€😀', 0, 3)",
    "utf8.offset('abc', 5), utf8.offset('abc', 4), utf8.offset('abc', -4), utf8.offset('', 1)",
    "#utf8.char(0x7FFFFFFF), #utf8.char(0x3FFFFFF), #utf8.char(0x1FFFFF), #utf8.char(0x7FF)",
    "pcall(utf8.codepoint, '\\255')",
    "pcall(utf8.codepoint, 'abc', 4)",
    "pcall(utf8.char, -1)",
    "pcall(utf8.offset, 'ä', 1, 2)",
    "pcall(utf8.len, 'abc', 6)",
    "(function() local t = {} for p, c in utf8.codes('hä€') do t[#t + 1] = p .. ':' .. c end"
    " return table.concat(t, ' ') end)()",
    "pcall(function() for _ in utf8.codes('a\\255') do end end)",
    # table
    "table.pack(1, nil, 3).n, select('#', table.unpack({1, nil, 3}, 1, 3))",
    "table.concat(table.move({1, 2, 3}, 2, 3, 1), ',')",
    "table.concat(table.move({1, 2, 3}, 1, 3, 3, {9}), ',', 3, 5)",
    "table.unpack({1, 2, 3}, 2), table.unpack({1, 2, 3}, 2, 3)",
    "table.remove({}), #table.pack(), table.concat({}, 'x')",
    # math
    "math.type(3), math.type(3.5), math.type('3'), math.type(nil), math.type(0/0)",
    "math.tointeger(3), math.tointeger(3.5), math.tointeger('8'), math.tointeger('x')",
    "math.tointeger({}), math.tointeger(2^40)",
    "math.ult(1, 2), math.ult(-1, 2), math.ult(2, -1), math.ult(-2, -1), math.ult(0, 0)",
    "pcall(math.ult, 1.5, 2)",
    "pcall(math.ult, 'x', 2)",
    "math.floor(3.7), math.ceil(3.2), math.max(1, 5, 3), math.abs(-4), math.fmod(7, 3)",
    "math.random(0) ~= math.random(0), math.random(5, 5), pcall(math.random, 2, 1)",
    "math.log(8, 2), math.pi > 3, math.huge > 1, math.sqrt(16) == 4",
    # string
    "('x'):rep(3, ','), ('x'):rep(0), ('x'):rep(-1), ('ab'):rep(2)",
    "pcall(string.rep, 'x', 1e10)",
    "('%d|%5.2f|%s|%q|%x|%i'):format(42, 3.14159, true, 'a\\nb', 255, 7)",
    "('hello world'):gsub('o*', '-')",
    "('a,,b'):gsub('[^,]*', '<%0>')",
    "('abc'):gsub('', '-')",
    "('a.b'):find('.', 1, true), ('abc'):find('b', -1), ('abc'):match('^(a)(b)')",
    "(function() local t = {} for k in ('a,,b'):gmatch('([^,]*)') do t[#t + 1] = k end"
    " return table.concat(t, '|') end)()",
    "(function() local t = {} for k in ('abcd'):gmatch('%w', 3) do t[#t + 1] = k end"
    " return table.concat(t, '|') end)()",
    "'\\u{20ac}\\x41\\z  \n  B', ('\\0a'):byte(1, -1)",
    # base
    "rawlen({1, 2}), rawlen('abc'), pcall(rawlen, 5)",
    "load('return ...', 'n', 't')(7), load('x = 5; return x', 'n', 't', {})()",
    "select(-1, 1, 2, 3), select('#', nil, nil), next({})",
    "pcall(error, {1}), pcall(error, 5), pcall(error), pcall(error, nil)",
    "xpcall(function(...) return select('#', ...) end, print, 1, nil, 3)",
    "(select(2, xpcall(error, function(e) return e .. '!' end, 'x')))",
    "tostring(nil), tostring(1.5), tostring(-0.5), tostring(1e100), tostring(1/0)",
    "(function() local t = {} for k, v in pairs(setmetatable({}, {__pairs = function()"
    " return function(_, k) if not k then return 'key', 'value' end end end})) do"
    " t[#t + 1] = k .. v end return t[1] end)()",
    "(function() local n = 0 for i in ipairs(setmetatable({}, {__index = function(_, i)"
    " if i < 4 then return i end end})) do n = n + i end return n end)()",
    "tostring(setmetatable({}, {__tostring = function() return 'text' end}))",
    "collectgarbage('count') > 0, collectgarbage('step') ~= nil, collectgarbage('isrunning')",
    "tonumber('0x10'), tonumber('10', 2), tonumber('1e1'), tonumber('z', 36), tonumber('x')",
    "type(os.time()), os.date('!%Y-%m-%d', 0), os.time({year = 2020, month = 1, day = 1}) > 0",
    # coroutines
    "(function() local co = coroutine.create(function() coroutine.yield() end) coroutine.resume(co)"
    " local closed = coroutine.close(co) return closed, coroutine.status(co),"
    " coroutine.resume(co) end)()",
    "(function() local co = coroutine.create(function() end) return coroutine.close(co),"
    " coroutine.close(co), coroutine.status(co) end)()",
    "(function() local co = coroutine.wrap(function() return pcall(coroutine.yield, 1) end)"
    " return co(), co(2) end)()",
    "(function() local co = coroutine.wrap(function() for k in coroutine.wrap(function()"
    " coroutine.yield('a') coroutine.yield('b') end) do coroutine.yield(k) end end)"
    " return co() .. co() end)()",
    "(function() local t = setmetatable({}, {"
    "__index = function(_, k) return coroutine.yield(k) end,"
    " __lt = function() return coroutine.yield('lt') end})"
    " local co = coroutine.wrap(function() return t.x, t < t end) return co(), co(1), co(true)"
    " end)()",
    "coroutine.isyieldable(), select(2, coroutine.running())",
    "pcall(coroutine.yield, 1)",
    "pcall(coroutine.close, coroutine.running())",
]


@pytest.mark.requirement("engine.luajit")
@pytest.mark.parametrize("expression", SAME)
def test_the_library_answers_as_that_of_lua_54(both, expression):
    first, second = (world.run(f"local t = table.pack({expression}) return t") for world in both)
    assert second == first


@pytest.mark.requirement("engine.luajit")
def test_what_the_host_gives_is_the_same(both):
    code = (
        "local r = Probe.record() local keys = {} for k in pairs(Probe.counter()) do"
        " keys[#keys + 1] = k end table.sort(keys)"
        " return {#Probe.items(), Probe.items().total, tostring(r), r .. '!', keys,"
        " JSON.parse('[1,null,3]'), #JSON.parse('[1,null,3]'), Probe.pair()}"
    )
    first, second = (world.run(code) for world in both)
    assert second == first


def test_what_luajit_is_can_be_asked_and_not_changed(both):
    lua, luajit = both
    assert lua.run("return {tostring(jit), tostring(bit)}") == ["nil", "nil"]
    assert luajit.run("return {jit.version:sub(1, 10), tostring(jit.on), bit.band(12, 10)}") == [
        "LuaJIT 2.1",
        "nil",
        8,
    ]
    assert luajit.run("return {_VERSION, tostring(newproxy), tostring(getfenv)}") == [
        "Lua 5.1",
        "nil",
        "nil",
    ]


def made(monkeypatch, config):
    monkeypatch.setattr(bridge_testkit.World, "language", "luajit")
    return bridge_testkit.World(config)


def test_settings_are_those_of_lua_where_it_has_none(monkeypatch):
    world = made(
        monkeypatch,
        {"engines": {"lua": {"stdlib": "Basic", "max_memory_bytes": 9_000_000}}},
    )
    assert world.state.limits.memory_bytes == 9_000_000
    assert world.run("return tostring(io)") == "nil"
    world.close()
    world = made(
        monkeypatch,
        {"engines": {"lua": {"stdlib": "Basic"}, "luajit": {"stdlib": "Standard"}}},
    )
    assert world.run("return tostring(io) ~= 'nil'") is True
    world.close()


@pytest.mark.requirement("engine.luajit")
def test_the_compiler_is_off_unless_it_is_wanted(monkeypatch, caplog):
    with caplog.at_level(logging.WARNING, "llmspell.script"):
        made(monkeypatch, {}).close()
        assert caplog.messages == []
        world = made(monkeypatch, {"engines": {"luajit": {"jit": True}}})
        (message,) = caplog.messages
    assert "engines.luajit.jit is on" in message
    # Long enough to be compiled and to outlive the deadline; it ends by itself, and the state says
    # that it was given up.
    error = world.submit(
        "local n = 0 for i = 1, 4e9 do n = n + i end return n", seconds=0.1
    ).exception(60)
    assert isinstance(error, LLMTimeoutError)
    assert "abandoned" in error.hint
    world.close()


def test_compiled_code_that_calls_the_host_ends_at_the_deadline(monkeypatch):
    world = made(monkeypatch, {"engines": {"luajit": {"jit": True}}})
    for code in ("while true do Probe.noop() end", "while true do pcall(Probe.fail_raise) end"):
        assert isinstance(world.fails(code, seconds=0.2), LLMTimeoutError)
    assert world.run("return 'alive'") == "alive"
    world.close()
