# ruff: noqa: E501 a script is easier to read on one line than cut in two
"""The standard library: what there is, and that it does what it does in Lua."""

from . import LUA, Like, Prints, Raises, gives, refuses, runs

for _name in (
    "assert", "collectgarbage", "dofile", "error", "getmetatable", "ipairs", "load", "loadfile", "next",
    "pairs", "pcall", "print", "rawequal", "rawget", "rawlen", "rawset", "require", "select",
    "setmetatable", "tonumber", "tostring", "type", "xpcall",
):  # fmt: skip
    gives("library.base", {f"type({_name})": "function"})
gives("library.base", {
    "rawlen({1, 2})": 2,
    "rawequal('a', 'a')": True,
    "rawget(setmetatable({}, {__index = function() return 1 end}), 'x')": None,
    "select(-1, 1, 2, 3)": 3,
    "select('#')": 0,
    "next({})": None,
    "(next({10}))": 1,
    "tostring(nil)": "nil",
    "tostring(setmetatable({}, {__tostring = function() return 'me' end}))": "me",
    "tostring(setmetatable({}, {__name = 'Mine'})):match('^Mine: ') ": "Mine: ",
    "type(nil)": "nil",
    "getmetatable(setmetatable({}, {__metatable = 'closed'}))": "closed",
    "collectgarbage('count') > 0": True,
    "collectgarbage()": 0,
    "(function() local t = {} for k, v in pairs({a = 1}) do t[k] = v end return t end)()": {"a": 1},
    "(function() local s = 0 for _, v in ipairs({1, 2, nil, 4}) do s = s + v end return s end)()": 3,
    "load('return ...', 'c')(5)": 5,
    "load('return x', 'c', 't', {x = 7})()": 7,
    "(load('return ='))": None,
})  # fmt: skip
runs("library.base", {
    "__pairs": (
        "local t = setmetatable({}, {__pairs = function() return function(_, k)"
        " if not k then return 1, 'one' end end end}) for k, v in pairs(t) do return {k, v} end",
        [1, "one"]),
    "__index chain": (
        "local A = {hi = function() return 'hi' end} A.__index = A local B = setmetatable({}, A)"
        " B.__index = B return setmetatable({}, B).hi()", "hi"),
    "__newindex": (
        "local log = {} local t = setmetatable({}, {__newindex = function(_, k, v) log[k] = v end})"
        " t.a = 1 return {rawget(t, 'a') == nil, log.a}", [True, 1]),
    "__call": ("return setmetatable({}, {__call = function(_, a, b) return a + b end})(2, 3)", 5),
    "__eq": ("local m = {__eq = function() return true end}"
             " return setmetatable({}, m) == setmetatable({}, m)", True),
    "__lt and __le": (
        "local m = {} m.__lt = function(a, b) return a.n < b.n end m.__le = function(a, b)"
        " return a.n <= b.n end local a, b = setmetatable({n = 1}, m), setmetatable({n = 2}, m)"
        " return {a < b, a <= b, a > b}", [True, True, False]),
    "__concat": ("return 'a' .. setmetatable({}, {__concat = function(x, y) return x .. 'c' end})",
                 "ac"),
    "__unm": ("return (-setmetatable({}, {__unm = function() return 'neg' end}))", "neg"),
    "load with a function that raises": (
        "return {load(function() error('no piece', 0) end) == nil, (select(2, load(function() error('no piece', 0) end)))}",
        [True, "no piece"]),
    "load with a function": (
        "local parts = {'return ', '1 ', '+ 1'} local i = 0"
        " return load(function() i = i + 1 return parts[i] end)()", 2),
    "varargs": ("local function f(...) local a, b = ... return {n = select('#', ...), a = a, b = b} end"
                " return f(1, nil, 3)", {"n": 3, "a": 1}),
    "closures share": (
        "local function c() local n = 0 return function() n = n + 1 return n end,"
        " function() return n end end local i, g = c() i() i() return g()", 2),
})  # fmt: skip
runs("library.base", {
    "__len": ("return #setmetatable({}, {__len = function() return 42 end})", 42),
    "__idiv": ("return setmetatable({}, {__idiv = function() return 'idiv' end}) // 1", "idiv"),
    "__band": ("return setmetatable({}, {__band = function() return 'band' end}) & 1", "band"),
    "__shl": ("return setmetatable({}, {__shl = function() return 'shl' end}) << 1", "shl"),
}, only=LUA)  # fmt: skip

gives("library.string", {
    "('abc'):upper()": "ABC", "('ABC'):lower()": "abc", "('abc'):len()": 3, "('abc'):reverse()": "cba",
    "('abc'):sub(2)": "bc", "('abc'):sub(-2, -2)": "b", "('abc'):sub(5)": "",
    "('abc'):byte(1, -1)": 97, "string.char(72, 105)": "Hi", "('ab'):rep(3, '-')": "ab-ab-ab",
    "('hello world'):find('o w')": 5, "('a.b'):find('.', 1, true)": 2, "('abc'):find('z')": None,
    "('key = value'):match('^(%w+)%s*=%s*(%w+)$')": "key",
    "('2024-01-02'):match('(%d+)-(%d+)-(%d+)')": "2024",
    "(('hello'):gsub('l', 'L'))": "heLLo", "(select(2, ('hello'):gsub('l', 'L')))": 2,
    "(('hello'):gsub('l', 'L', 1))": "heLlo",
    "(('$name is $what'):gsub('%$(%w+)', {name = 'Lua', what = 'fun'}))": "Lua is fun",
    "(('abc'):gsub('%w', '%0%0'))": "aabbcc",
    "(('abc'):gsub('', '-'))": "-a-b-c-",
    "(('THE (quick) fox'):find('%((%a+)%)'))": 5,
    "('[[x]]'):match('%[%[(.-)%]%]')": "x",
    "('f(a(b)c)d'):match('%b()')": "(a(b)c)",
    "('THE fox'):match('%f[%a]%l+')": "fox",
    "string.format('%5.2f|%-5s|%05d|%x', 3.14159, 'ab', 42, 255)": " 3.14|ab   |00042|ff",
    "string.format('%q', 'a\\nb\"')": '"a\\\nb\\""',
    "string.format('%s %s', nil, true)": "nil true",
    "string.format('%%')": "%",
    "string.format('%c', 65)": "A",
    "string.format('%g', 0.1)": "0.1",
    "string.format('%10s|', 'x')": "         x|",
})  # fmt: skip
gives("library.string", {
    "string.pack('<i4', 7)": "\x07\x00\x00\x00",
    "(string.unpack('<i2', '\\1\\2'))": 513,
    "string.packsize('i4i8')": 12,
    "string.unpack('z', 'abc\\0d')": "abc",
}, only=LUA)  # fmt: skip
gives("library.table", {
    "(function() local t = {1, 2} table.insert(t, 3) table.insert(t, 1, 0) return t end)()":
        [0, 1, 2, 3],
    "(function() local t = {1, 2, 3} return {table.remove(t, 1), table.remove(t), #t} end)()":
        [1, 3, 1],
    "table.remove({})": None,
    "(function() local t = {3, 1, 2} table.sort(t) return t end)()": [1, 2, 3],
    "(function() local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return t end)()":
        [3, 2, 1],
    "table.concat({1, 2, 3}, ', ')": "1, 2, 3",
    "table.concat({})": "",
    "table.concat({'a', 'b', 'c'}, '-', 2)": "b-c",
    "table.pack(1, nil, 3).n": 3,
    "select('#', table.unpack({1, nil, 3}, 1, 3))": 3,
    "table.move({1, 2, 3}, 1, 3, 2)": [1, 1, 2, 3],
    "#table.move({1, 2}, 1, 2, 1, {})": 2,
})  # fmt: skip
gives("library.math", {
    "math.pi > 3.14159 and math.pi < 3.1416": True, "math.floor(3.7)": 3, "math.ceil(3.2)": 4,
    "math.max(1, 5, 3)": 5, "math.min(4, 2)": 2, "math.abs(-3)": 3, "math.sqrt(16)": 4.0,
    "math.fmod(7, 3)": 1, "math.huge == 1 / 0": True, "math.modf(3.7) == 3": True,
    "math.random(1, 1)": 1, "math.random() < 1": True,
    "(function() for _ = 1, 50 do local r = math.random(3) if r < 1 or r > 3 then return r end end"
    " return 'within' end)()": "within",
    "math.sin(0)": 0.0, "math.exp(0)": 1.0, "math.log(8, 2)": 3.0, "math.log(1)": 0.0,
})  # fmt: skip

gives("library.os", {
    "type(os.time())": "number",
    "os.time{year = 2024, month = 1, day = 2, hour = 12} - os.time{year = 2024, month = 1, day = 1,"
    " hour = 12}": 86400,
    "os.date('!%Y-%m-%d %H:%M:%S', 86400)": "1970-01-02 00:00:00",
    "os.date('!*t', 0).year": 1970,
    "os.clock() >= 0": True,
    "os.difftime(10, 4)": 6.0,
    "type(os.tmpname())": "string",
    "os.getenv('PATH') ~= nil": True,
    "os.setlocale()": "C",
})  # fmt: skip
runs("library.io.files", {
    "write and read": (
        "local p = os.tmpname() local f = assert(io.open(p, 'w')) f:write('one\\n', 2, '\\n') f:close()"
        " local g = io.open(p) local t = {g:read('l'), g:read('n')} g:close() os.remove(p) return t",
        ["one", 2]),
    "lines": (
        "local p = os.tmpname() local f = io.open(p, 'w') f:write('a\\nb\\n') f:close()"
        " local t = {} for l in io.lines(p) do t[#t + 1] = l end os.remove(p) return t", ["a", "b"]),
    "append": (
        "local p = os.tmpname() io.open(p, 'w'):write('a'):close() io.open(p, 'a'):write('b'):close()"
        " local s = io.open(p):read('a') os.remove(p) return s", "ab"),
    "seek": (
        "local p = os.tmpname() local f = io.open(p, 'w+') f:write('hello') f:seek('set', 1)"
        " local s = f:read(3) f:close() os.remove(p) return s", "ell"),
    "bytes as they are": (
        "local p = os.tmpname() io.open(p, 'wb'):write('\\0\\xff\\n'):close()"
        " local s = io.open(p, 'rb'):read('a') os.remove(p) return s == '\\0\\xff\\n'", True),
    "rename and remove": (
        "local p, q = os.tmpname(), os.tmpname() io.open(p, 'w'):close()"
        " return {os.rename(p, q), os.remove(q), (os.remove(q)) == nil}", [True, True, True]),
    "a file that is not there": ("return {io.open('/tmp/no-such-$N')}",
                                 [None, "/tmp/no-such-$N: No such file or directory", 2]),
    "a mode that is none": ("io.open('/tmp/x', 'rx')", Raises("invalid mode")),
    "io.type": (
        "local p = os.tmpname() local f = io.open(p, 'w') local a = io.type(f) f:close() os.remove(p)"
        " return {a, io.type(f), io.type(5) == nil, io.type(io.stdout)}",
        ["file", "closed file", True, "file"]),
})  # fmt: skip
runs("output.print", {
    "joined by tabs": ("print(1, 'a', nil, true)", Prints("1\ta\tnil\ttrue\n")),
    "nothing": ("print()", Prints("\n")),
    "by __tostring": (
        "print(setmetatable({}, {__tostring = function() return 'shown' end}))", Prints("shown\n")),
    "a handle": ("print(Tool.get('calculator'))", Prints("Tool(calculator)\n")),
    "a result": ("print(Tool.get('uuid_generator') ~= nil, Provider.get('test'))",
                 Prints("true\ttest\n")),
    "a __tostring that is no text": (
        "print(setmetatable({}, {__tostring = function() return {} end}))",
        Raises("'__tostring' must return a string")),
    "unicode": ("print('é€😀')", Prints("é€😀\n")),
    "several lines": ("print('a\\nb')", Prints("a\nb\n")),
})  # fmt: skip
runs("output.print", {
    "numbers as Lua prints them": ("print(2.0, 1e100, -0.0, 3, 2^53)",
                                   Prints("2.0\t1e+100\t-0.0\t3\t9.007199254741e+15\n")),
    "by __name": ("print((tostring(setmetatable({}, {__name = 'Thing'})):gsub('0x%x+', 'P')))",
                  Prints("Thing: P\n")),
}, only=LUA)  # fmt: skip
runs("output.write", {
    "strings and numbers": ("io.write('a', 1, 'b', 2.5)", Prints("a1b2.5")),
    "no end of line": ("io.write('x') io.write('y')", Prints("xy")),
    "chains": ("io.write('a'):write('b')", Prints("ab")),
    "a table": ("io.write({})", Raises("string expected, got table")),
    "nil": ("io.write('a', nil)", Raises("string expected, got nil")),
    "stdout": ("io.stdout:write('to stdout\\n')", Prints("to stdout\n")),
    "stderr is another": ("io.stderr:write('to stderr') io.write('out')", Prints("out")),
    "flush": ("io.write('a') io.flush() io.stdout:flush() io.write('b')", Prints("ab")),
    "the order of print and write": ("io.write('1 ') print('2') io.write('3')", Prints("1 2\n3")),
})  # fmt: skip
gives("output.read_without_input", {"io.read()": None, "io.read('n')": None, "io.lines()()": None})

gives("library.require.json", {
    "require('json').encode({1})": "[1]",
    "require('json').decode('{\"a\":2}').a": 2,
    "require('cjson').encode({a = 1})": '{"a":1}',
    "require('dkjson').parse('[3]')[1]": 3,
    "require('dkjson').stringify({})": "{}",
    "require('json') == require('json')": True,
})  # fmt: skip
runs("library.require", {
    "package.preload": (
        "package.preload['mod$N'] = function(name) return {name = name} end"
        " return require('mod$N').name", "mod$N"),
    "package.loaded": ("package.loaded['own$N'] = {x = 5} return require('own$N').x", 5),
    "loaded once": (
        "local n = 0 package.preload['once$N'] = function() n = n + 1 return {} end"
        " require('once$N') require('once$N') return n", 1),
    "a file on package.path": (
        "io.open('/tmp/pm$N.lua', 'w'):write('return {v = ...}'):close()"
        " package.path = '/tmp/?.lua;' .. package.path local v = require('pm$N').v"
        " os.remove('/tmp/pm$N.lua') return v", "pm$N"),
    "the standard library": ("return require('string') == string and require('table') == table", True),
    "a module that is not there": ("require('no.such.module')",
                                   Raises("module 'no.such.module' not found", "package.preload")),
    "a module with a mistake": (
        "io.open('/tmp/bad$N.lua', 'w'):write('return ='):close() package.path = '/tmp/?.lua'"
        " local ok, e = pcall(require, 'bad$N') os.remove('/tmp/bad$N.lua') return e",
        Like(".*error loading module 'bad\\$N'.*")),
})  # fmt: skip
refuses("library.require", {
    "require(5)": "string expected",
    "require()": "string expected",
    "require({})": "string expected",
})  # fmt: skip
runs("library.dofile", {
    "a chunk and its results": (
        "io.open('/tmp/do$N.lua', 'w'):write('return 1, 2'):close() local a, b = dofile('/tmp/do$N.lua')"
        " os.remove('/tmp/do$N.lua') return {a, b}", [1, 2]),
    "loadfile": (
        "io.open('/tmp/lf$N.lua', 'w'):write('return ... + 1'):close()"
        " local f = loadfile('/tmp/lf$N.lua') os.remove('/tmp/lf$N.lua') return f(41)", 42),
    "a mistake in it": (
        "io.open('/tmp/sf$N.lua', 'w'):write('x = = 1'):close()"
        " local f, e = loadfile('/tmp/sf$N.lua') os.remove('/tmp/sf$N.lua') return {f == nil, e}",
        [True, Like("/tmp/sf.*:1: unexpected symbol.*")]),
    "not there": ("dofile('/tmp/none-$N.lua')", Raises("cannot open /tmp/none-$N.lua")),
})  # fmt: skip
gives("library.debug", {
    "debug.traceback('m'):match('^m\\nstack traceback:\\n') ~= nil": True,
    "debug.traceback({}) ~= nil": True,
    "debug.getinfo(math.floor, 'S').what": "C",
    "debug.getinfo(function(a, b) end, 'S').linedefined": 1,
    "debug.getinfo(1, 'l').currentline": 1,
    "(function() local here = 5 return (debug.getlocal(1, 1)) end)()": "here",
    "debug.getinfo(100)": None,
})  # fmt: skip
