# ruff: noqa: E501 a script is easier to read on one line than cut in two
"""The language: Lua 5.4, and the names that older scripts use."""

from . import LUA, Raises, gives, refuses, runs

gives("engine.version", {"_VERSION": "Lua 5.4"}, only=LUA)

gives("engine.integers", {
    "math.type(1)": "integer",
    "math.type(1.0)": "float",
    "math.type('1')": None,
    "math.maxinteger": 2**63 - 1,
    "math.mininteger": -(2**63),
    "math.maxinteger + 1 == math.mininteger": True,
    "math.maxinteger * 2": -2,
    "0x7fffffffffffffff": 2**63 - 1,
    "0xffffffffffffffff": -1,
    "9223372036854775808": 2.0**63,
    "1e15": 1e15,
    "2^53 == 2^53 + 1.0": True,
    "2^53 + 1 == 9007199254740993": False,
    "math.tointeger(3.0)": 3,
    "math.tointeger(3.5)": None,
    "math.ult(1, -1)": True,
    "3 / 2": 1.5,
    "4 / 2": 2.0,
    "2^2": 4.0,
    "10 // 3 .. ''": "3",
    "10.0 // 3 .. ''": "3.0",
    "1e308 * 10 == math.huge": True,
    "tostring(1e15)": "1e+15",
    "tostring(2^63)": "9.2233720368548e+18",
    "tostring(-0.0)": "-0.0",
    "string.format('%d', 3.0)": "3",
    "1 == 1.0": True,
    "({[1] = 'a'})[1.0]": "a",
    "tostring(3) == tostring(3.0)": False,
    "tonumber('10', 2)": 2,
    "tonumber('zz', 36)": 1295,
    "tonumber('0x1p4')": 16.0,
    "tonumber('1e1')": 10.0,
    "tonumber('  5  ')": 5,
    "tonumber('5x')": None,
    "tonumber('')": None,
    "'10' + 5": 15,
    "'3' * '4'": 12,
    "10 .. 20": "1020",
}, only=LUA)  # fmt: skip
refuses("engine.integers", {
    "1 // 0": "attempt to ",
    "1 % 0": "attempt to perform 'n%",
    "string.format('%d', 3.5)": "number has no integer representation",
    "1.5 | 1": "number has no integer representation",
    "{} + 1": "attempt to perform arithmetic on a table value",
    "2^63 | 0": "number has no integer representation",
}, only=LUA)  # fmt: skip

gives("engine.operators", {
    "7 // 2": 3,
    "-7 // 2": -4,
    "-7 % 3": 2,
    "7 % -3": -2,
    "5.5 // 2": 2.0,
    "5.5 % 2": 1.5,
    "0xF0 & 0x3C": 0x30,
    "0xF0 | 0x0F": 0xFF,
    "0xFF ~ 0x0F": 0xF0,
    "~0": -1,
    "1 << 4": 16,
    "1 << 64": 0,
    "-1 >> 60": 15,
    "1 << -1": 0,
    "2^3^2": 512.0,
    "-2^2": -4.0,
    "not nil == true": True,
    "1 .. 2 == '12'": True,
    "'a' < 'b' and 'Z' < 'a'": True,
    "1 < 1.5": True,
    "nil and 1": None,
    "false or nil": None,
    "nil or 'x'": "x",
    "0 and 'zero is true'": "zero is true",
    "#'a\\0b'": 3,
}, only=LUA)  # fmt: skip
gives("engine.operators", {
    "5 % 3": 2,
    "2^10": 1024.0,
    "'a' .. 1 .. 'b'": "a1b",
    "#{1, 2, 3}": 3,
    "(function(...) return select('#', ...) end)(nil, nil)": 2,
    "('x'):rep(3)": "xxx",
    "math.floor(-3.5)": -4,
})  # fmt: skip
refuses("engine.operators", {
    "{} < {}": "attempt to compare two table values",
    "1 < '2'": "attempt to compare number with string",
    "#5": "attempt to get length of a number value",
    "nil .. 'x'": "attempt to concatenate a nil value",
    "(5)()": "attempt to call a number value",
    "(nil).x": "attempt to index a nil value",
})  # fmt: skip

runs("engine.goto", {
    "continue": (
        "local t = {} for i = 1, 4 do if i % 2 == 0 then goto next end t[#t + 1] = i ::next:: end"
        " return t", [1, 3]),
    "out of nested loops": (
        "for i = 1, 3 do for j = 1, 3 do if i * j == 4 then goto out end end end ::out::"
        " return 'out'", "out"),
    "backwards": ("local i = 0 ::again:: i = i + 1 if i < 5 then goto again end return i", 5),
    "to a label that is not there": ("goto nowhere", Raises("nowhere")),
})  # fmt: skip

runs("engine.attributes", {
    "const": ("local x <const> = 5 return x", 5),
    "const cannot be assigned": (
        "local x <const> = 5 x = 6", Raises("attempt to assign to const variable 'x'")),
    "close at the end of a block": (
        "local t = {} do local a <close> = setmetatable({}, {__close = function() t[1] = 'a' end})"
        " t[2] = 'body' end return t", ["a", "body"]),
    "close in reverse order": (
        "local t = {} local function c(n) return setmetatable({}, {__close = function()"
        " t[#t + 1] = n end}) end do local a <close> = c(1) local b <close> = c(2) end return t",
        [2, 1]),
    "close sees the error": (
        "local seen local ok = pcall(function() local a <close> = setmetatable({}, {__close ="
        " function(_, e) seen = e end}) error('boom', 0) end) return {ok, seen}", [False, "boom"]),
    "close on return": (
        "local t = {} local function f() local a <close> = setmetatable({}, {__close = function()"
        " t[1] = 'closed' end}) return 'value' end return {f(), t[1]}", ["value", "closed"]),
    "close of nil is nothing": ("local a <close> = nil return 'fine'", "fine"),
    "close needs a metamethod": ("local a <close> = {}", Raises("non-closable value")),
    "an unknown attribute": ("local a <other> = 1", Raises("unknown attribute 'other'")),
}, only=LUA)  # fmt: skip

gives("engine.utf8", {
    "utf8.char(72, 228, 8364, 128512)": "Hä€😀",
    "utf8.len('Hä€😀')": 4,
    "utf8.codepoint('€')": 8364,
    "utf8.offset('aä€', 3)": 4,
    "#utf8.charpattern > 0": True,
    "select('#', utf8.codepoint('aä€', 1, -1))": 3,
    "{utf8.len('\\xff')}": [None, 1],
    "(function() local t = {} for _, c in utf8.codes('aé') do t[#t + 1] = c end return t end)()":
        [97, 233],
    "('aé€'):gsub(utf8.charpattern, function(c) return #c end)": "123",
})  # fmt: skip

gives("compat.unpack", {
    "(unpack({7, 8, 9}))": 7,
    "select('#', unpack({1, nil, 3}, 1, 3))": 3,
    "(unpack({1, 2, 3}, 2))": 2,
    "select('#', unpack({1, 2, 3, 4}, 2, 3))": 2,
    "select('#', unpack({}))": 0,
})  # fmt: skip
gives("compat.loadstring", {
    "loadstring('return 6 * 7')()": 42,
    "(loadstring('return ='))": None,
    "(select(2, loadstring('return =', '=named')):match('^named:1:')) ~= nil": True,
    "loadstring('x = 5 return x')()": 5,
})  # fmt: skip
gives("compat.math", {
    "math.pow(2, 10)": 1024.0,
    "math.pow(2, -1)": 0.5,
    "math.pow('2', 3)": 8.0,
    "math.ldexp(0.75, 4)": 12.0,
    "math.ldexp(1, -2)": 0.25,
    "{math.frexp(8)}": [0.5, 4],
    "{math.frexp(-6)}": [-0.75, 3],
    "{math.frexp(0)}": [0, 0],
    "math.cosh(0)": 1.0,
    "math.sinh(0)": 0.0,
    "math.tanh(100)": 1.0,
    "math.abs(math.sinh(1) - 1.1752011936438) < 1e-12": True,
    "math.abs(math.cosh(1) - 1.5430806348152) < 1e-12": True,
    "math.abs(math.tanh(-1) + 0.76159415595576) < 1e-12": True,
    "math.abs(math.log10(1000) - 3) < 1e-12": True,
})  # fmt: skip
gives("compat.table.getn", {"table.getn({1, 2, 3})": 3, "table.getn({})": 0})
gives("compat.string.gfind", {
    "(function() local t = {} for w in string.gfind('a bc', '%a+') do t[#t + 1] = w end return t"
    " end)()": ["a", "bc"],
    "string.gfind('k=v', '(%w)=(%w)')()": "k",
})  # fmt: skip

runs("engine.shebang", {
    "a first line for the shell": ("#!/usr/bin/env llmspell\nreturn 1", 1),
    "lines are still counted": ("#!/bin/x\nerror('here')", Raises("t.lua:2: here")),
    "only such a line": ("#! llmspell", None),
    "not in the second line": ("\n#!/usr/bin/env llmspell", Raises("t.lua:2:")),
})  # fmt: skip
runs("engine.empty_script", {
    "no byte": ("", None),
    "only blanks": (" \n\t\n", None),
    "only a comment": ("-- nothing\n--[[ to\nsee ]]", None),
})  # fmt: skip
runs("engine.empty_script", {
    "only a semicolon": (";", None),
}, only=LUA)  # fmt: skip
runs("engine.then.rewrite", {
    "a new line between": ("local p = {next = function(_, v) return v end} return p:then\n(8)", 8),
}, only=LUA)  # fmt: skip
runs("engine.syntax_error", {
    "an operator too many": ("local a = 1\nlocal b = = 2", Raises("Script execution error: ",
                             "t.lua:2:", "unexpected symbol near '='")),
    "an end missing": ("if true then\nprint(1)\n", Raises("t.lua:", "'end' expected")),
    "a string not ended": ("local s = 'abc\nreturn s", Raises("t.lua:1:", "unfinished string")),
    "a long string not ended": ("return [[abc", Raises("unfinished long string")),
    "a keyword for a name": ("local end = 1", Raises("t.lua:1:", "'end'")),
    "a value where a statement belongs": ("5", Raises("t.lua:1:", "unexpected symbol")),
    "break outside a loop": ("break", Raises("break")),
    "an escape that is none": ("return '\\q'", Raises("t.lua:1:", "escape sequence")),
})  # fmt: skip

runs("engine.then.rewrite", {
    "a call with a function": (
        "local p = {next = function(self, f) return f(5) end}"
        " return p:then(function(v) return v + 1 end)", 6),
    "blanks between": ("local p = {next = function(_, v) return v end} return p : then (7)", 7),
    "in a chain": (
        "local p = {} function p:next(v) self.n = (self.n or 0) + v return self end"
        " return p:then(1):then(2).n", 3),
    "in code that is loaded": (
        "return load('local p = {next = function(_, v) return v end} return p:then(9)')()", 9),
    "the line is kept": (
        "local p = {next = function() error('in next') end}\nlocal x\np:then()", Raises("t.lua:1:")),
})  # fmt: skip
runs("engine.then.only_code", {
    "in a string": ("return 'a:then(b)'", "a:then(b)"),
    "in a string with quotes in it": ("return 'it\\'s:then(' .. \"\\\":then(\"", "it's:then(\":then("),
    "in a long string": ("return [[x:then(y)]]", "x:then(y)"),
    "in a long string with a level": ("return [==[x]]:then(y)]==]", "x]]:then(y)"),
    "in a comment": ("-- p:then(x)\nreturn 1", 1),
    "in a long comment": ("--[[ p:then(x) ]] return 2", 2),
    "the keyword after a condition": ("if true then (function() end)() end return 3", 3),
    "a label before it": ("do ::l:: end if true then return 4 end", 4),
})  # fmt: skip
gives("engine.then.bracket", {
    "(function() local p = {['then'] = function(_, v) return v end} return p['then'](p, 4) end)()": 4,
})  # fmt: skip
runs("engine.then.bracket", {
    "of a promise": ("local p = Tool.executeAsync('calculator', {input = '1'}) return p['then'](p, function(r) return r.value + 1 end):await()", 2),
})  # fmt: skip

runs("engine.chunk_name.file", {
    "in a message": ("error('x')", Raises("t.lua:1: x")),
    "in debug.getinfo": ("return debug.getinfo(1, 'S').source", "@t.lua"),
    "short": ("return debug.getinfo(1, 'S').short_src", "t.lua"),
    "the line that runs": ("\n\nreturn debug.getinfo(1, 'l').currentline", 3),
})  # fmt: skip
