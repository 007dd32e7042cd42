# ruff: noqa: E501 a script is easier to read on one line than cut in two
"""Attempts to get out of the sandbox, each with what stops it; those at limits are in `escape_limits`.

An attempt is a script. What must happen to it:

- `denied(phrase)`: it raises, or its result holds, the phrase that the contract has for a denial;
- `gone`: what it needs does not exist, the script returns nil or false for each thing tried;
- `harmless(value)`: it may do what it does; the value it returns shows that it reached nothing;
- `ends(error)`: the limit of time or memory ends it, whatever it catches, and the state lives on.

After every attempt the state must still serve an ordinary script. Scripts run in a folder of their
own with `inside.txt` and `module.lua` in it; `OUT` is the path of a forbidden folder with
`secret.txt` in it, `WORK` the path of an allowed one. Nothing may ever print the secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SECRET = "the-secret-of-the-host"


@dataclass(frozen=True)
class Escape:
    """One attempt."""

    id: str
    requirement: str
    code: str
    expects: tuple[str, Any]
    engines: tuple[str, ...] = ("lua", "luajit")
    seconds: float = 20.0
    config: str = ""


ESCAPES: list[Escape] = []


def denied(*phrases: str) -> tuple[str, Any]:
    return "denied", phrases


def harmless(value: Any) -> tuple[str, Any]:
    return "harmless", value


def ends(error: str) -> tuple[str, Any]:
    return "ends", error


gone = ("gone", None)
TIME, MEMORY = ends("LLMTimeoutError"), ends("ResourceLimitError")
ONLY_54 = ("lua",)


def subject(name: str, requirement: str):
    """A function that adds attempts to the subject."""

    def add(what: str, code: str, expects: tuple[str, Any], **more: Any) -> None:
        ESCAPES.append(Escape(f"{name}: {what}", requirement, code, expects, **more))

    return add


# Python behind the values ---------------------------------------------------------------------------

python = subject("python", "sandbox.no_python_objects")

DUNDERS = """
local found = {}
local function look(v, path)
  for _, key in ipairs({'__class__', '__dict__', '__init__', '__globals__', '__call__', '__self__',
                        '__func__', '__module__', '__code__', '__doc__', '__script__', '_host',
                        '_name', 'mro', '__subclasses__', 'gi_frame', '__reduce__', '__builtins__'}) do
    local ok, x = pcall(function() return v[key] end)
    if ok and x ~= nil then found[#found + 1] = path .. '.' .. key end
  end
end
"""

python("attributes of a global", DUNDERS + "look(Probe, 'Probe') return found", harmless({}))
python("attributes of a method", DUNDERS + "look(Probe.take_text, 'm') return found", harmless({}))
python("attributes of a handle", DUNDERS + "look(Probe.counter(), 'c') return found", harmless({}))
python(
    "attributes of a method of a handle",
    DUNDERS + "look(Probe.counter().add, 'add') return found",
    harmless({}),
)
python("attributes of a record", DUNDERS + "look(Probe.record(), 'r') return found", harmless({}))
python("attributes of items", DUNDERS + "look(Probe.items(), 'i') return found", harmless({}))
python("attributes of a live table", DUNDERS + "look(Probe.live_table(), 'l') return found",
       harmless({}))  # fmt: skip
python("attributes of a promise",
       DUNDERS + "local p = Probe.wait_async(0, {a = 1}) p:await() look(p, 'p') return found",
       harmless({}))  # fmt: skip
python("attributes of a stream", DUNDERS + "look(Streaming.create(), 's') return found",
       harmless({}))  # fmt: skip
python("attributes of JSON.null", DUNDERS + "look(JSON.null, 'n') return found", harmless({}))
python("attributes of a string", DUNDERS + "look('text', 't') return found", harmless({}))
python("attributes of a function of the script",
       DUNDERS + "look(Probe.take_any(function() end), 'f') return found", harmless({}))  # fmt: skip
python("the module lupa offers", "return {type(python), type(_G.python), type(package.loaded.python)}",
       harmless(["nil", "nil", "nil"]))  # fmt: skip
python(
    "importing that module",
    "return {pcall(require, 'python')}",
    denied("module 'python' not found"),
)
python("evaluating Python", "return python.eval('__import__(\"os\").getcwd()')",
       denied("nil value"))  # fmt: skip
python("a userdata anywhere in reach", """
local found, seen = {}, {}
local function look(v, path)
  local t = type(v)
  if t == 'userdata' then found[#found + 1] = path return end
  if t ~= 'table' or seen[v] then return end
  seen[v] = true
  for k, x in next, v do look(k, path .. ' key') look(x, path .. '.' .. tostring(k)) end
  local ok = pcall(function() for k, x in pairs(v) do look(x, path .. ':' .. tostring(k)) end end)
  local m = getmetatable(v)
  if type(m) == 'table' then look(m, path .. ' meta') end
end
look(_G, '_G') look(Probe.record(), 'record') look(Probe.items(), 'items')
look(Probe.counter(), 'counter') look(Probe.live_table(), 'live') look(JSON.null, 'null')
look(Probe.wait_async(0), 'promise') look(Streaming.create(function() end), 'stream')
look({Debug.timer('x')}, 'timer') look({Logger.new('x')}, 'logger')
look({pcall(Probe.panic)}, 'panic') look({pcall(Probe.take_text)}, 'misuse')
look({Probe.fail_pair()}, 'pair') look({Probe.fail_table()}, 'table')
return found""", harmless({}))  # fmt: skip
python("an exception as the error value",
       "local ok, e = pcall(Probe.panic) return {ok, type(e), type(e.message), type(e.args)}",
       harmless([False, "string", "string", "nil"]))  # fmt: skip
python("an exception out of a callback", """
local ok, e = pcall(Probe.later_call, function() Probe.panic() end)
return {ok, type(e)}""", harmless([False, "string"]))  # fmt: skip
python("an exception out of a promise",
       "local r, e = Probe.counter():slow_async(0, true):await() return {type(r), type(e)}",
       harmless(["nil", "string"]))  # fmt: skip
python("a handle where another class is wanted",
       "return {pcall(function() return Probe.counter():same(Probe.live_table()) end)}",
       denied("must be a Counter"))  # fmt: skip
python(
    "a table that pretends to be a handle",
    """
local fake = setmetatable({}, {__index = Probe.counter(), __name = 'Counter'})
return {pcall(function() return Probe.counter():same(fake) end)}""",
    denied("must be a Counter"),
)
python("a method taken from one handle and given another", """
local a, b = Probe.counter('a'), Probe.counter('b')
a.add(5)
return {(select(2, pcall(b.add, a))), a.current_count, b.current_count}""",
       denied("must be an integer, got Counter"))  # fmt: skip
python("calling a handle", "return {pcall(Probe.counter())}", denied("attempt to call a"))
python("arithmetic on a handle", "return {pcall(function() return Probe.counter() + 1 end)}",
       denied("attempt to perform arithmetic"))  # fmt: skip
python("the length of a handle", "return #Probe.counter()", harmless(0))
python(
    "writing a field of a handle",
    """
local c = Probe.counter('a')
c.name = 'changed' c._name = 'changed'
return {tostring(c), Probe.take_any({c})[1] == c}""",
    harmless(["Counter(a)", True]),
)
python(
    "rawset on a handle",
    """
local c = Probe.counter('a')
rawset(c, 'add', function() return 'mine' end)
return {c.add(), tostring(Probe.counter('a').add(1))}""",
    harmless(["mine", "Counter(a)"]),
)
python("a key of a live table that is a Python attribute", """
local l = Probe.live_table()
return {tostring(l.pop), tostring(l.__class__), tostring(l.items), tostring(l[1])}""",
       harmless(["nil", "nil", "nil", "nil"]))  # fmt: skip
python(
    "a function into a live table",
    """
local l = Probe.live_table()
l.f = function() return 7 end
return type(l.f) == 'function' and l.f()""",
    harmless(7),
)
python("a coroutine to the host", "return {pcall(Probe.take_any, coroutine.create(print))}",
       denied("Unsupported Lua type"))  # fmt: skip
python("a file to the host", "return {pcall(Probe.take_any, {io.stdout})}",
       denied("Unsupported Lua type"))  # fmt: skip
python(
    "the address of a handle is only a number",
    "return string.format('%p', Probe.counter()):match('^0x%x+$') ~= nil",
    harmless(True),
)
python(
    "how Python shows an object",
    """
local c, text = Probe.counter('a'), {}
for _, v in ipairs({c, c.add, Probe.take_text, Probe.live_table(), JSON.null, Probe.wait_async(0)}) do
  text[#text + 1] = tostring(v)
end
return (table.concat(text, ' '):find('object at', 1, true)) == nil""",
    harmless(True),
)

# debug ----------------------------------------------------------------------------------------------

debug = subject("debug", "sandbox.debug.read_only")

for name in (
    "getregistry", "getupvalue", "setupvalue", "upvalueid", "upvaluejoin", "setmetatable",
    "getmetatable", "getuservalue", "setuservalue", "setlocal", "setcstacklimit", "debug",
    "setfenv", "getfenv",
):  # fmt: skip
    debug(name, f"return debug.{name}", gone)
debug("sethook", "return {pcall(debug.sethook, function() end, 'l')}",
      denied("Security violation: Permission denied"))  # fmt: skip
debug("sethook on another coroutine",
      "return {pcall(debug.sethook, coroutine.create(print), print, '', 1)}",
      denied("Security violation: Permission denied"))  # fmt: skip
debug("sethook that clears", "return {pcall(debug.sethook)}",
      denied("Security violation: Permission denied"))  # fmt: skip
debug("gethook", "return debug.gethook()", gone)

STACK = """
local found = {}
local function look(level)
  for _, l in ipairs({level, tostring(level), level + 0.0, level .. '.0', '0x' .. level,
                      ' ' .. level .. ' '}) do
    local ok, info = pcall(debug.getinfo, l, 'Sf')
    if ok and info and info.func and (info.source == '=[llmspell]' or info.source == '=[C]') then
      found[#found + 1] = 'func'
    end
    for _, i in ipairs({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, -1, -2, '1', '2'}) do
      local good, name = pcall(debug.getlocal, l, i)
      local _, where = pcall(debug.getinfo, l, 'S')
      if good and name and where and where.source == '=[llmspell]' then found[#found + 1] = name end
    end
  end
end
local function all() for level = 0, 30 do look(level) end return 1 end
"""
debug("frames of the engine below the main chunk", STACK + "all() return found", harmless({}))
debug("frames of the engine below a __tojson",
      STACK + "Probe.take_all('a', {1}, Probe.counter(), {print, setmetatable({}, {__tojson = all})})"
      " return found", harmless({}))  # fmt: skip
debug("frames of the engine below a handler of xpcall",
      STACK + "xpcall(error, all, 'x') return found", harmless({}))  # fmt: skip
debug("frames of the engine below a callback",
      STACK + "Probe.now_call(all) Probe.later_call(all) return found", harmless({}))  # fmt: skip
debug("frames of the engine below a comparator",
      STACK + "table.sort({2, 1}, function(a, b) all() return a < b end) return found",
      harmless({}))  # fmt: skip
debug("frames of the engine below __tostring",
      STACK + "print(setmetatable({}, {__tostring = function() all() return 'x' end})) return found",
      harmless({}))  # fmt: skip
debug(
    "frames of the engine below a handler of a promise",
    STACK + "local p = Probe.wait_async(0):next(all) p:await() return found",
    harmless({}),
)
debug("frames of the engine below a generator of a stream",
      STACK + "Streaming.create(all):next() return found", harmless({}))  # fmt: skip
debug("frames of the engine below a searcher of modules",
      STACK + "package.preload.x = all require('x') return found", harmless({}))  # fmt: skip
debug("frames of the engine below a reader of load",
      STACK + "load(function() all() return nil end) return found", harmless({}))  # fmt: skip
debug("frames of another coroutine", """
local found = {}
local main = coroutine.running()
coroutine.wrap(function()
  for level = 0, 20 do
    for _, l in ipairs({level, tostring(level)}) do
      local ok, info = pcall(debug.getinfo, main, l, 'Sf')
      if ok and info and info.source == '=[llmspell]' and info.func then found[#found + 1] = 'func' end
      for i = 1, 9 do
        local good, name = pcall(debug.getlocal, main, l, i)
        if good and name and info and info.source == '=[llmspell]' then found[#found + 1] = name end
      end
    end
  end
end)()
return found""", harmless({}))  # fmt: skip
debug("locals through a stack trace", """
local text = Debug.stackTrace('trace') .. Debug.stackTraceJson({capture_locals = true,
  capture_upvalues = true})
return {text:find('llmspell', 1, true) ~= nil, text:find('host', 1, true) ~= nil}""",
      harmless([False, False]))  # fmt: skip
debug(
    "a chunk that names itself after the engine",
    """
local f = load("return debug.getinfo(1, 'S').source, debug.getinfo(2, 'f')", '=[llmspell]')
local source, info = f()
return {source, type(info and info.func)}""",
    harmless(["=[llmspell]", "function"]),
)
debug("the engine's functions as text",
      "return {type(string.dump(function() end)), load(string.dump(function() end)) == nil}",
      harmless(["string", True]))  # fmt: skip

# Metatables -----------------------------------------------------------------------------------------

meta = subject("metatables", "handles.protected_metatable")

for what in (
    "Probe", "Probe.counter()", "Probe.record()", "Probe.live_table()", "JSON.null", "JSON.array()",
    "ARGS", "io.stdout", "Streaming.create()", "Probe.wait_async(0)", "Debug.timer('t')",
):  # fmt: skip
    meta(f"of {what}", f"return getmetatable({what})", gone)
for what in (
    "Probe",
    "Probe.counter()",
    "Probe.record()",
    "JSON.null",
    "Streaming.create()",
    "ARGS",
):
    meta(f"a new one for {what}", f"return {{pcall(setmetatable, {what}, {{}})}}",
         denied("cannot change a protected metatable"))  # fmt: skip
meta("of an open file", "local f = io.open('inside.txt') local m = getmetatable(f) f:close() return m",
     gone)  # fmt: skip
meta(
    "an empty array of the host's stays an ordinary table",
    """
local t = setmetatable(JSON.parse('[]'), {__index = function() return 'mine' end})
return {t.x, #JSON.parse('[]'), tostring(JSON.parse('[]').x)}""",
    harmless(["mine", 0, "nil"]),
)
meta("of strings can be changed for this script only", """
getmetatable('').__index = function() return 'changed' end
return {('x').upper, Probe.take_text('y'), (select(2, pcall(Probe.take_text)))}""",
     harmless(["changed", "y",
               "t.lua:3: Validation error: Missing required parameter 'text' of Probe.take_text"]))  # fmt: skip
meta("__tostring of strings", """
getmetatable('').__tostring = function() return 'lie' end
local ok, message = pcall(Probe.take_text, {})
getmetatable('').__tostring = nil
return {ok, (message:find('must be a string', 1, true) or message:find('lie', 1, true)) ~= nil}""",
     harmless([False, True]))  # fmt: skip
meta(
    "__name that looks like a handle",
    """
local fake = setmetatable({}, {__name = 'Counter(x)'})
return {pcall(function() return Probe.counter():same(fake) end)}""",
    denied("must be a Counter"),
)
meta("__gc in a new metatable", "return {pcall(setmetatable, {}, {__gc = print})}",
     denied("Security violation: Permission denied"))  # fmt: skip
meta(
    "__gc added later",
    """
local ran = false
local m = {}
local t = setmetatable({}, m)
m.__gc = function() ran = true end
t = nil
collectgarbage() collectgarbage()
return ran""",
    harmless(False),
)
meta(
    "__gc by way of a deep copy",
    """
local m = {}
local t = setmetatable({}, m)
m.__gc = function() while true do end end
return {pcall(Utils.deep_copy, t)}""",
    denied("Security violation: Permission denied"),
)
meta(
    "__gc through a metatable that lies about itself",
    """
local m = setmetatable({}, {__index = {__gc = function() while true do end end}})
setmetatable({}, m)
collectgarbage() collectgarbage()
return 'no finalizer'""",
    harmless("no finalizer"),
)
meta("a proxy of userdata", "return newproxy", gone)

# Modules --------------------------------------------------------------------------------------------

modules = subject("modules", "sandbox.package.lua_only")

for name in ("loadlib", "searchers", "loaders", "seeall"):
    modules(f"package.{name}", f"return package.{name}", gone)
modules(
    "a path for C modules is not read",
    """
package.cpath = './?.so;OUT/?.so'
return {pcall(require, 'secret')}""",
    denied("module 'secret' not found"),
)
for name in ("ffi", "jit", "jit.opt", "posix", "lfs", "socket", "bit32", "table.new", "lupa"):
    modules(f"require '{name}'", f"return {{pcall(require, '{name}')}}", denied("not found"))
modules("the compiler of LuaJIT", "return {type(jit and jit.on), type(jit and jit.opt)}",
        harmless(["nil", "nil"]))  # fmt: skip
modules(
    "require of a traversal", "return {pcall(require, '../outside/secret')}", denied("not found")
)
modules("require of dots", "return {pcall(require, '...outside.secret')}", denied("not found"))
modules(
    "require of an absolute name", "return {pcall(require, '/etc/passwd')}", denied("not found")
)
modules(
    "a path that names a forbidden file",
    """
package.path = 'OUT/secret.txt'
return {pcall(require, 'x')}""",
    denied("Path not allowed"),
)
modules("finding out whether a forbidden file exists", """
local a = {package.searchpath('secret', 'OUT/?.txt')}
local b = {package.searchpath('absent', 'OUT/?.txt')}
return {tostring(a[1]), a[2]:gsub('secret', 'N') == b[2]:gsub('absent', 'N')}""",
        harmless(["nil", True]))  # fmt: skip
modules(
    "a searcher of one's own",
    """
package.searchers = {function() return function() return 'mine' end end}
package.loaders = package.searchers
return {pcall(require, 'nothing')}""",
    denied("module 'nothing' not found"),
)
modules(
    "taking back what the sandbox hides",
    """
local found = {}
for name, module in pairs(package.loaded) do
  if type(module) == 'table' and module ~= _G then
    for _, key in ipairs({'loadlib', 'getregistry', 'setmetatable', 'getupvalue', 'setfenv'}) do
      if rawget(module, key) ~= nil then found[#found + 1] = name .. '.' .. key end
    end
  end
end
return found""",
    harmless({}),
)
modules("dofile of a forbidden file", "return {pcall(dofile, 'OUT/secret.txt')}",
        denied("not in allowlist"))  # fmt: skip
modules("loadfile of a forbidden file", "return {pcall(loadfile, 'OUT/secret.txt')}",
        denied("not in allowlist"))  # fmt: skip
modules("dofile of a device", "return {pcall(dofile, '/dev/stdin')}", denied("not in allowlist"))

# Code -----------------------------------------------------------------------------------------------

code = subject("code", "sandbox.load.no_bytecode")

DUMP = "local d = string.dump(function() return 1 end) "
code("bytecode to load", DUMP + "return {load(d)}", denied("attempt to load a binary chunk"))
code("bytecode in the mode for it", DUMP + "return {load(d, 'x', 'b')}",
     denied("attempt to load a"))  # fmt: skip
code("bytecode in both modes", DUMP + "return {load(d, 'x', 'bt')}",
     denied("attempt to load a binary chunk"))  # fmt: skip
code("bytecode in pieces", DUMP + """local i = 0
return {load(function() i = i + 1 return i <= #d and d:sub(i, i) or nil end)}""",
     denied("attempt to load a binary chunk"))  # fmt: skip
code("bytecode to loadstring", DUMP + "return {loadstring(d)}",
     denied("attempt to load a binary chunk"))  # fmt: skip
code(
    "bytecode in a file",
    DUMP
    + """
local f = assert(io.open('WORK/byte.lua', 'wb')) f:write(d) f:close()
return {pcall(dofile, 'WORK/byte.lua')}""",
    denied("compiled chunk is not a script"),
)
code(
    "bytecode in a module",
    DUMP
    + """
local f = assert(io.open('WORK/bytes.lua', 'wb')) f:write(d) f:close()
package.path = 'WORK/?.lua'
return {pcall(require, 'bytes')}""",
    denied("compiled chunk is not a script"),
)
code("a reader that changes its mind", DUMP + """
local calls = 0
local piece = setmetatable({}, {__tostring = function() return d end})
return {load(function() calls = calls + 1 if calls == 1 then return piece end end)}""",
     denied("reader function must return a string"))  # fmt: skip

env = subject("environment", "sandbox.load.environment")
REAL = "type(f.python) .. type(rawget(f, 'newproxy')) .. tostring(f == _G)"
env("load without one", "return load('return _G')() == _G", harmless(True))
env("load with nil", "local ok, v = pcall(load('return _G', 'x', 't', nil)) return ok and v ~= _G",
    harmless(False))  # fmt: skip
env(
    "load with something that is no table",
    """
local out = {}
for _, e in ipairs({false, 5, 'x'}) do
  local ok, f = pcall(load, 'return python or io or os', 'x', 't', e)
  local good, v = ok and f and pcall(f)
  out[#out + 1] = good and v ~= nil and v ~= os and v ~= io or false
end
return out""",
    harmless([False, False, False]),
)
env("loadfile with nil", """
local f = assert(io.open('WORK/env.lua', 'w')) f:write('return python, io') f:close()
local ok, a, b = pcall(loadfile('WORK/env.lua', 't', nil))
return {tostring(ok and a), ok and b ~= nil and b ~= io or false}""",
    harmless(["false", False]), engines=ONLY_54)  # fmt: skip
env("_ENV of one's own", "local _ENV = {} return python", gone, engines=ONLY_54)
env(
    "_ENV through a function of the engine",
    """
local ok, v = pcall(function() local _ENV = setmetatable({}, {__index = Probe}) return take_text('x') end)
return {ok, v}""",
    harmless([True, "x"]),
    engines=ONLY_54,
)
env(
    "fields of _G that were never ours",
    """
local found = {}
for _, name in ipairs({'python', 'newproxy', 'setfenv', 'getfenv', 'ffi', 'module', 'host', 'bridge'}) do
  if rawget(_G, name) ~= nil then found[#found + 1] = name end
end
return found""",
    harmless({}),
)

# Files ----------------------------------------------------------------------------------------------

files = subject("files", "sandbox.io.paths")

FORBIDDEN = {
    "an absolute path": "OUT/secret.txt",
    "a traversal": "../outside/secret.txt",
    "a traversal from below": "./x/../../outside/secret.txt",
    "a link to a file": "link.txt",
    "a link to a folder": "linked/secret.txt",
    "a system file": "/etc/passwd",
    "the environment of the process": "/proc/self/environ",
    "the memory of the process": "/proc/self/mem",
    "the root by way of proc": "/proc/self/root/etc/passwd",
    "a descriptor": "/proc/self/fd/0",
    "the home folder": "~/.ssh/id_rsa",
    "a path with repeated slashes": "//etc//passwd",
    "a path with a dot": "/etc/./passwd",
}
for what, path in FORBIDDEN.items():
    files(f"reading {what}", f"return {{io.open('{path}')}}", denied("Permission denied"))
for what in ("an absolute path", "a traversal", "a link to a file", "a system file"):
    path = FORBIDDEN[what]
    files(f"lines of {what}", f"return {{pcall(io.lines, '{path}')}}", denied("not in allowlist"))
    files(f"input from {what}", f"return {{pcall(io.input, '{path}')}}", denied("not in allowlist"))
    files(f"writing to {what}", f"return {{io.open('{path}', 'w')}}", denied("Permission denied"))
    files(f"output to {what}", f"return {{pcall(io.output, '{path}')}}", denied("not in allowlist"))
    files(f"removing {what}", f"return {{os.remove('{path}')}}", denied("Permission denied"))
    files(f"renaming {what}", f"return {{os.rename('{path}', 'WORK/stolen')}}",
          denied("Permission denied"))  # fmt: skip
files(
    "writing beside the script", "return {io.open('inside.txt', 'w')}", denied("Permission denied")
)
files(
    "appending beside the script",
    "return {io.open('inside.txt', 'a')}",
    denied("Permission denied"),
)
files(
    "updating beside the script",
    "return {io.open('inside.txt', 'r+')}",
    denied("Permission denied"),
)
files(
    "moving out what may be written",
    """
assert(io.open('WORK/mine', 'w')):close()
return {os.rename('WORK/mine', 'OUT/mine')}""",
    denied("Permission denied"),
)
files(
    "a path with NUL", "return {io.open('inside.txt\\0/../../outside/secret.txt')}", denied("NUL")
)
files("an empty path", "return {io.open('')}", denied("empty"))
files("a path that is no string", "return {pcall(io.open, {})}", denied("path must be a string"))
files(
    "a path that answers differently each time",
    """
local n = 0
local path = setmetatable({}, {__tostring = function() n = n + 1
  return n == 1 and 'inside.txt' or 'OUT/secret.txt' end})
return {pcall(io.open, path)}""",
    denied("path must be a string"),
)
files("a mode that hides a write", "return {pcall(io.open, 'inside.txt', 'r\\0w')}",
      denied("invalid mode"))  # fmt: skip
files("closing the standard streams", "return {io.stdout:close()}",
      denied("cannot close standard file"))  # fmt: skip
files(
    "methods of a real file on something else",
    """
local f = io.open('inside.txt')
local read = f.read
f:close()
return {(pcall(read, {})), (pcall(read, f)), (select(2, pcall(read, Probe.counter())))}""",
    denied("bad argument"),
)
files("reading a folder", "return {io.open('.'):read('a')}", denied("directory"))

processes = subject("processes", "sandbox.process.denied")
processes("os.execute", "return {os.execute('touch OUT/made')}", denied("Permission denied"))
processes("the three results of os.execute", "return {os.execute('true')}",
          harmless([None, "Permission denied", 1]))  # fmt: skip
processes("asking whether there is a shell", "return os.execute()", gone)
processes("io.popen", "return {io.popen('cat OUT/secret.txt')}", denied("Permission denied"))
processes("io.popen for writing", "return {io.popen('sh', 'w')}", denied("Permission denied"))
processes("a shell in a file name", "return {io.open('|cat OUT/secret.txt')}",
          denied("No such file"))  # fmt: skip

# Leaving --------------------------------------------------------------------------------------------

leaving = subject("exit", "result.exit.cannot_be_caught")
for what, attempt in {
    "in a pcall": "pcall(os.exit, 3)",
    "in a coroutine": "coroutine.wrap(function() pcall(os.exit, 3) end)()",
    "in a callback": "pcall(Probe.later_call, function() os.exit(3) end)",
    "in a callback in place": "pcall(Probe.now_call, function() os.exit(3) end)",
    "in a handler of xpcall": "xpcall(error, function() os.exit(3) end)",
    "in a handler of a promise": "Probe.wait_async(0):next(function() os.exit(3) end):await()",
    "in a generator": "pcall(function() Streaming.create(function() os.exit(3) end):next() end)",
    "in __tostring": "pcall(tostring, setmetatable({}, {__tostring = function() os.exit(3) end}))",
    "in __tojson": "pcall(JSON.stringify, setmetatable({}, {__tojson = function() os.exit(3) end}))",
    "with the state closed": "pcall(os.exit, 3, true)",
}.items():
    leaving(what, f"{attempt} print('not reached') return 'went on'", ("exits", 3))
leaving("in __close", "do local t <close> = setmetatable({}, {__close = function() os.exit(3) end}) end"
        " return 'went on'", ("exits", 3), engines=ONLY_54)  # fmt: skip
