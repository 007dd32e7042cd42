# ruff: noqa: E501 a script is easier to read on one line than cut in two
"""The rest of `escape_corpus`: errors, time, memory, and what the host's own Lua code uses."""

from escape_corpus import MEMORY, ONLY_54, TIME, denied, gone, harmless, subject

# Errors ---------------------------------------------------------------------------------------------

errors = subject("errors", "errors.plain_strings")
errors(
    "a forged interrupt",
    """
local out = {}
for _, mark in ipairs({'\\3', 'x\\3', '\\3\\3'}) do
  out[#out + 1] = (pcall(error, mark, 0))
  out[#out + 1] = (pcall(coroutine.wrap(function() error(mark, 0) end)))
end
return out""",
    harmless([False] * 6),
)
errors("a forged failure of memory", "return {pcall(error, 'not enough memory', 0)}",
       harmless([False, "not enough memory"]))  # fmt: skip
errors("a position that is not there", "return {pcall(error, '/etc/passwd:1: Component error: x', 0)}",
       harmless([False, "/etc/passwd:1: Component error: x"]))  # fmt: skip
errors(
    "an error value with traps everywhere",
    """
local trap = setmetatable({}, {__index = error, __tostring = error, __concat = error, __eq = error,
  __len = error, __call = error, __name = 5})
return {(pcall(error, trap)), (pcall(Probe.now_call, function() error(trap) end)),
  (pcall(Probe.later_call, function() error(trap) end))}""",
    harmless([False, False, False]),
)
errors(
    "an endless chain of errors in handlers",
    """
local depth = 0
local function handler(e) depth = depth + 1 if depth < 50 then error(e) end return 'end' end
return {(xpcall(error, handler, 'x'))}""",
    harmless([False]),
)
errors("a failure holds no host object", """
local kinds = {}
local function look(v) kinds[type(v)] = true if type(v) == 'table' then
  for k, x in pairs(v) do look(k) look(x) end end end
look({Probe.fail_table()})
return {tostring(kinds.userdata), tostring(kinds['function']), tostring(kinds.thread)}""",
       harmless(["nil", "nil", "nil"]))  # fmt: skip

# Time -----------------------------------------------------------------------------------------------

time = subject("time", "limits.time.cannot_be_evaded")
for what, loop in {
    "a loop": "while true do end",
    "a loop under pcall": "while true do pcall(function() while true do end end) end",
    "errors under pcall": "while true do pcall(error) end",
    "a handler of xpcall": "while true do xpcall(error, function() while true do end end) end",
    "coroutines that make coroutines":
        "local function f() while true do pcall(coroutine.wrap(f)) end end f()",
    "coroutines that take turns": "local a = coroutine.wrap(function() while true do coroutine.yield()"
        " end end) while true do a() end",
    "an iterator": "for _ in function() return 1 end do end",
    "a metamethod": "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end})"
        " while true do pcall(function() return t[1] end) end",
    "a comparator": "while true do pcall(table.sort, {3, 2, 1}, function() return true end) end",
    "a callback of gsub": "('x'):rep(1e6):gsub('x', function() while true do end end)",
    "a __tojson": "JSON.stringify(setmetatable({}, {__tojson = function() while true do end end}))",
    "calls of the host": "while true do pcall(Probe.fail_raise) end",
    "callbacks that fail": "while true do pcall(Probe.now_call, function() error('x') end) end",
    "callbacks on the loop": "while true do pcall(Probe.later_call, function() error('x') end) end",
    "promises": "local function f() return Probe.wait_async(0):next(f) end f()",
    "a replaced pcall": "local p = pcall pcall = function(f) while true do p(f) end end"
        " pcall(function() while true do end end)",
    "a stopped collector": "collectgarbage('stop') while true do local t = {} end",
    "a collector that never ends its step": "while true do collectgarbage('step', 0) end",
    "a stream that never ends": "Streaming.create(function() while true do Streaming.yield(1) end end)"
        ":filter(function() return false end):next()",
    "a pipeline of streams": "local s = Streaming.create(function() while true do coroutine.yield(1)"
        " end end) for _ = 1, 20 do s = s:map(function(v) return v end) end s:collect()",
    "a print of nothing": "while true do io.write('') end",
    "an await in a loop": "while true do Utils.sleep(0) end",
    "a reader of load": "load(function() return ' ' end)",
    "requires that fail": "while true do pcall(require, 'nothing.here') end",
}.items():  # fmt: skip
    time(what, loop, TIME, seconds=0.15)
for what, loop in {
    "a __close": "local t <close> = setmetatable({}, {__close = function() while true do end end})",
    "a __close while an interrupt unwinds": "local t <close> = setmetatable({}, {__close = function()"
        " while true do end end}) while true do end",
    "a __close of a coroutine": "local co = coroutine.create(function() local t <close> ="
        " setmetatable({}, {__close = function() while true do end end}) coroutine.yield() end)"
        " coroutine.resume(co) coroutine.close(co)",
    "goto": "::again:: goto again",
}.items():  # fmt: skip
    time(what, loop, TIME, seconds=0.15, engines=ONLY_54)
time(
    "an __index of ARGS of the next run is not in reach",
    "return {pcall(function() getmetatable(ARGS).__gc = print end)}",
    denied("attempt to index"),
)
time(
    "a closed task of ours",
    """
local thread
local out = Probe.all_of({
  function() thread = coroutine.running() Utils.sleep(30) return 'whole' end,
  function() Utils.sleep(1) return (pcall(coroutine.close, thread)) end})
return out""",
    harmless(["whole", False]),
    engines=ONLY_54,
)
time("resuming a task of ours", """
local thread
return Probe.all_of({
  function() thread = coroutine.running() Utils.sleep(30) return 'whole' end,
  function() Utils.sleep(1) return (coroutine.resume(thread, 'forged')) end})""",
     harmless(["whole", False]))  # fmt: skip
time(
    "a regular expression that does not end",
    """
local ok = Debug.addAdvancedFilter('(a+)+$', 'regex', true)
Debug.info('x', ('a'):rep(60) .. '!')
return ok""",
    harmless(False),
)
time(
    "a wildcard with many stars",
    """
Debug.addModuleFilter(('*a'):rep(100) .. 'b', false)
Debug.info('x', ('a'):rep(900))
return #Debug.getCapturedEntries()""",
    harmless(1),
)
time(
    "code made to be slow to read",
    """
return load(('[['):rep(200000) .. ' x:then(y)') == nil""",
    harmless(True),
)

# Memory ---------------------------------------------------------------------------------------------

memory = subject("memory", "limits.memory.cannot_be_evaded")
SMALL = "small"
for what, eater in {
    "one string": "return ('x'):rep(1e9)",
    "a string by doubling, under pcall":
        "local s = 'x' while true do local ok, t = pcall(function() return s .. s end) if not ok then"
        " error(t, 0) end s = t end",
    "tables with the collector stopped":
        "collectgarbage('stop') local t = {} while true do t[#t + 1] = {} end",
    "tables with a collector that pauses for long":
        "collectgarbage('setpause', 1000) collectgarbage('setstepmul', 1) local t = {}"
        " while true do t[#t + 1] = {{}} end",
    "coroutines": "local t = {} while true do t[#t + 1] = coroutine.wrap(function() end) end",
    "a replacement": "return (('x'):rep(1e5):gsub('x', ('y'):rep(1e5)))",
    "table.concat": "local t = {} for i = 1, 1e4 do t[i] = ('x'):rep(1e4) end return table.concat(t)",
    "values of the host": "local t = {} while true do t[#t + 1] = Probe.big(100000 + #t) end",
    "the arguments of a call": "return select('#', Probe.take_all('a', ('x'):rep(3e6), ('y'):rep(3e6),"
        " ('z'):rep(3e6), ('w'):rep(3e6)))",
    "a stream": "local s = Streaming.create() while true do s:push(('x'):rep(1000) .. math.random()) end",
    "captured output": "local t = {} while true do t[#t + 1] = tostring({}) .. ('x'):rep(100) end",
}.items():  # fmt: skip
    memory(what, eater, MEMORY, config=SMALL)
memory(
    "a collector in another mode",
    """
pcall(collectgarbage, 'generational')
local t = {} while true do t[#t + 1] = {} end""",
    MEMORY,
    config=SMALL,
)
for what, flood in {
    "log messages": "for i = 1, 1000 do Debug.info(('x'):rep(100000)) end",
    "log data": "for i = 1, 100 do Debug.logWithData('info', 'm', {('x'):rep(1000000)}) end",
    "laps": "local t = Debug.timer('t') for i = 1, 1000 do t:lap(('x'):rep(100000) .. i) end",
    "events of a timer": "local t = Debug.timer('t') for i = 1, 1000 do"
        " Debug.recordEvent(t.id, 'e', {('x'):rep(100000)}) end",
    "names of timers": "for i = 1, 900 do Debug.timer(('x'):rep(200000)) end",
    "patterns of filters": "for i = 1, 100 do pcall(Debug.addModuleFilter, ('x'):rep(1000000), true) end",
    "a line that never ends": "for i = 1, 100 do io.write(('x'):rep(1000000)) end",
}.items():  # fmt: skip
    memory(f"outside the heap, {what}", f"{flood} return 'done'", ("bounded", 50_000_000))
memory("recursion", "local function f() return 1 + f() end return {pcall(f)}",
       denied("stack overflow", "not enough memory"))  # fmt: skip
memory(
    "recursion through the host",
    "local function f() return Probe.now_call(f) end return {(pcall(f))}",
    harmless([False]),
)
memory(
    "recursion through metamethods",
    """
local t = setmetatable({}, {})
getmetatable(t).__index = function(_, k) return t[k .. 'x'] end
return {(pcall(function() return t.x end))}""",
    harmless([False]),
)
memory(
    "recursion through __tojson",
    """
local m = {}
m.__tojson = function(t) return JSON.stringify(setmetatable({}, m)) end
return {(pcall(JSON.stringify, setmetatable({}, m)))}""",
    harmless([False]),
)
memory(
    "recursion through gsub",
    """
local function f() return (('x'):gsub('x', f)) end
return {(pcall(f))}""",
    harmless([False]),
)
memory(
    "recursion through coroutines",
    """
local function f() return coroutine.wrap(f)() end
return {(pcall(f))}""",
    harmless([False]),
)
memory("an expression too deep to compile", "return {load('return ' .. ('('):rep(1e5) .. '1')}",
       denied("overflow"), engines=ONLY_54)  # fmt: skip
memory("more results than the stack holds", "return {pcall(table.unpack, {}, 1, 1e8)}",
       denied("too many results"))  # fmt: skip
memory("a length that a metamethod invents",
       "return {pcall(table.insert, setmetatable({}, {__len = function() return 2^52 end}), 1, 1)}",
       denied("too long"), engines=ONLY_54)  # fmt: skip
memory("an answer too big for the heap", "return {pcall(Probe.big, 60000000)}",
       denied("Resource limit exceeded"))  # fmt: skip
memory(
    "hundreds of tables as arguments",
    """
local t = {}
for i = 1, 600 do t[i] = {i} end
local back = Probe.take_all('x', (table.unpack or unpack)(t))
for i = 1, 600 do assert(back[i + 1][1] == i) end
return #back""",
    harmless(601),
)
memory(
    "tables of other calls while one is converted",
    """
local arg = setmetatable({}, {__tojson = function()
  for i = 1, 600 do Probe.take_any({i, {i}}) end
  return {'second'}
end})
local back = Probe.take_all('x', {'first'}, arg, {'third'})
return {back[2][1], back[3][1], back[4][1]}""",
    harmless(["first", "second", "third"]),
)

# What the host's own Lua code uses -------------------------------------------------------------------

ours = subject("replaced", "sandbox.host_code_is_out_of_reach")
BROKEN = "local function broken() return 'broken' end "
CHECK = """
local out = {Probe.take_any({a = {1, 2}}).a[2], Probe.wait(0, 'w'), Probe.record() .. '',
  select(2, Probe.fail_pair()), Probe.counter('c').name}
return out"""
EXPECTED = harmless([2, "w", "the text", "Tool execution error: it broke", "c"])
for name in (
    "pairs", "ipairs", "next", "type", "tostring", "tonumber", "pcall", "xpcall", "rawget", "rawset",
    "rawequal", "setmetatable", "getmetatable", "unpack", "error", "assert", "collectgarbage", "load",
    "require", "print",
):  # fmt: skip
    ours(
        name, BROKEN + f"local select = select {name} = broken _G.{name} = broken" + CHECK, EXPECTED
    )
for name in (
    "string.format", "string.gsub", "string.find", "string.sub", "string.rep", "table.concat",
    "table.unpack", "table.sort", "math.type", "coroutine.yield", "coroutine.resume",
    "coroutine.running", "coroutine.create", "coroutine.isyieldable", "debug.traceback",
    "debug.getinfo", "package.loaded", "os.time",
):  # fmt: skip
    ours(name, BROKEN + f"{name} = broken" + CHECK, EXPECTED)
ours("the whole environment",
     "local P, S, R, g = Probe, select, rawset, _G for k in next, g do R(g, k, nil) end"
     " local out = {P.take_any({a = {1, 2}}).a[2], P.wait(0, 'w'), P.record() .. '',"
     " S(2, P.fail_pair()), P.counter('c').name} return out", EXPECTED)  # fmt: skip
ours(
    "a trap on every missing global",
    """
local fail = error
setmetatable(_G, {__index = function(_, k) fail('trap ' .. k) end,
                  __newindex = function(_, k) fail('trap ' .. k) end})"""
    + CHECK,
    EXPECTED,
)
ours(
    "a trap for what the host sets",
    """
ARGS, arg = nil, nil
setmetatable(_G, {__newindex = function() while true do end end})
return 'set'""",
    harmless("set"),
)
ours(
    "the handler of errors",
    """
debug = nil
return {xpcall(error, function(e) return 'seen ' .. e end, 'x')}""",
    harmless([False, "seen x"]),
)
ours("a method of a global stays replaced in this state only", """
Probe.take_text = function() return 'mine' end
JSON.stringify = function() return 'mine' end
return {Probe.take_text('x'), Probe.takeText('x'), JSON.stringify(1), JSON.encode(1)}""",
     harmless(["mine", "x", "mine", "1"]))  # fmt: skip

# The environment of the process ----------------------------------------------------------------------

secrets = subject("secrets", "sandbox.getenv.strict")
for what in ("BRIDGE_API_KEY", "BRIDGE_SECRET", "BRIDGE_PASSWORD", "BRIDGE_TOKEN"):
    secrets(f"{what} in the strict profile", f"return Utils.env('{what}')", gone, config="strict")
secrets("os in the strict profile", "return os", gone, config="strict")
secrets("io in the strict profile", "return io", gone, config="strict")
secrets("getinfo in the strict profile", "return debug.getinfo", gone, config="strict")
