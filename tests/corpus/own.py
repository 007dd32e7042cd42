# ruff: noqa: E501 a script is easier to read on one line than cut in two
"""The engine's own globals: JSON, Debug, Logger, Utils, Streaming, ARGS."""

from . import Like, Prints, Raises, gives, refuses, runs

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"

gives("json.parse", {
    "JSON.parse('{\"a\": {\"b\": [1, 2]}}').a.b[2]": 2,
    "JSON.parse(' [1 , 2 ] ')[1]": 1,
    "JSON.parse('\"top\"')": "top",
    "JSON.parse('5')": 5,
    "JSON.parse('[true, false]')[2]": False,
    "JSON.parse('[[[]]]')[1][1] ~= nil": True,
    "JSON.parse(JSON.stringify({a = {1, 2, {b = 'c'}}})).a[3].b": "c",
    "JSON.parse('{\"a\":1,\"a\":2}').a": 2,
    "JSON.parse('\\n{}\\n') ~= nil": True,
})  # fmt: skip
gives("json.stringify", {
    "JSON.stringify({1, 'a', true})": '[1,"a",true]',
    "JSON.stringify('x')": '"x"',
    "JSON.stringify({a = 1}, 2)": '{\n  "a": 1\n}',
    "JSON.stringify({a = 1}, 4)": '{\n    "a": 1\n}',
    "JSON.stringify({1, 2}, true)": "[\n  1,\n  2\n]",
    "JSON.stringify({a = 1}, false)": '{"a":1}',
    "JSON.encode({b = 2})": '{"b":2}',
    "JSON.stringify(Tool.invoke('calculator', {input = '1'})):find('success') ~= nil": True,
})  # fmt: skip
gives("json.null", {
    "JSON.stringify(JSON.null)": "null",
    "JSON.stringify({a = JSON.null})": '{"a":null}',
    "JSON.stringify({JSON.null, 1, JSON.null})": "[null,1,null]",
    "JSON.null == JSON.null": True,
    "JSON.null ~= nil": True,
})  # fmt: skip
gives("json.array", {
    "JSON.stringify(JSON.array())": "[]",
    "JSON.stringify(JSON.array({}))": "[]",
    "JSON.stringify(JSON.array({1}))": "[1]",
    "JSON.stringify({tags = JSON.array()})": '{"tags":[]}',
    "#JSON.array({1, 2})": 2,
})  # fmt: skip

CLEAN = "Debug.clearCaptured() Debug.clearModuleFilters() Debug.setLevel('info') "
runs("debug.log", {
    "level, message, module": (
        CLEAN + "Debug.info('hello', 'net') local e = Debug.getCapturedEntries(1)[1]"
        " return {e.level:lower(), e.message, e.module}", ["info", "hello", "net"]),
    "the module is script": (CLEAN + "Debug.warn('x') return Debug.getCapturedEntries(1)[1].module",
                             "script"),
    "any type of message": (
        CLEAN + "Debug.info(5) Debug.info(true) Debug.info(nil) local t = {} for i, e in"
        " ipairs(Debug.getCapturedEntries()) do t[i] = e.message end return t", ["5", "true", "nil"]),
    "error does not raise": (CLEAN + "Debug.error('bad') return 'went on'", "went on"),
    "log with a word": (CLEAN + "Debug.log('WARN', 'w') return Debug.getCapturedEntries(1)[1].message",
                        "w"),
    "an unknown word is ignored": (CLEAN + "Debug.log('loud', 'x') return #Debug.getCapturedEntries()",
                                   0),
    "data": (CLEAN + "Debug.logWithData('info', 'm', {n = 1, l = {2}})"
             " return Debug.getCapturedEntries(1)[1].metadata", {"n": 1, "l": [2]}),
    "the time": (CLEAN + "Debug.info('t') return Debug.getCapturedEntries(1)[1].timestamp", Like(TIME)),
    "nothing is printed": (CLEAN + "Debug.info('quiet') print('loud')", Prints("loud\n")),
})  # fmt: skip
runs("debug.level", {
    "below it is dropped": (
        CLEAN + "Debug.setLevel('error') Debug.warn('no') Debug.error('yes') Debug.setLevel('info')"
        " return #Debug.getCapturedEntries()", 1),
    "the word in capitals": (CLEAN + "Debug.setLevel('debug') local w = Debug.getLevel()"
                             " Debug.setLevel('info') return w", "DEBUG"),
    "case does not matter": ("return {Debug.setLevel('WaRn'), Debug.setLevel('info')}", [True, True]),
    "trace is the lowest": (
        CLEAN + "Debug.setLevel('trace') Debug.trace('t') Debug.setLevel('info')"
        " return #Debug.getCapturedEntries()", 1),
    "off": (CLEAN + "Debug.setLevel('off') Debug.error('x') Debug.setLevel('info')"
            " return #Debug.getCapturedEntries()", 0),
    "disabled": (CLEAN + "Debug.setEnabled(false) Debug.error('x') local on = Debug.isEnabled()"
                 " Debug.setEnabled(true) return {on, #Debug.getCapturedEntries()}", [False, 0]),
})  # fmt: skip
runs("debug.filters", {
    "a wildcard": (
        CLEAN + "Debug.addModuleFilter('noisy.*', false) Debug.info('a', 'noisy.one')"
        " Debug.info('b', 'calm') local n = #Debug.getCapturedEntries() Debug.clearModuleFilters()"
        " return n", 1),
    "a wildcard at the front": (
        CLEAN + "Debug.addModuleFilter('*.db', false) Debug.info('a', 'app.db') Debug.info('b', 'db.x')"
        " local n = #Debug.getCapturedEntries() Debug.clearModuleFilters() return n", 1),
    "a wildcard in the middle": (
        CLEAN + "Debug.addModuleFilter('a*z', false) Debug.info('1', 'abcz') Debug.info('2', 'az')"
        " Debug.info('3', 'abc') local n = #Debug.getCapturedEntries() Debug.clearModuleFilters()"
        " return n", 1),
    "a regular expression": (
        CLEAN + "Debug.addAdvancedFilter('^db[0-9]$', 'regex', false) Debug.info('a', 'db1')"
        " Debug.info('b', 'db') local n = #Debug.getCapturedEntries() Debug.clearModuleFilters()"
        " return n", 1),
    "a hierarchy": (
        CLEAN + "Debug.addAdvancedFilter('app', 'hierarchical', false) Debug.info('a', 'app.x')"
        " Debug.info('b', 'apple') Debug.info('c', 'app') local n = #Debug.getCapturedEntries()"
        " Debug.clearModuleFilters() return n", 1),
    "exactly": (
        CLEAN + "Debug.addAdvancedFilter('a.b', 'exact', false) Debug.info('a', 'a.b')"
        " Debug.info('b', 'axb') local n = #Debug.getCapturedEntries() Debug.clearModuleFilters()"
        " return n", 1),
    "only some": (
        CLEAN + "Debug.setDefaultFilterEnabled(false) Debug.addModuleFilter('only', true)"
        " Debug.info('a', 'only') Debug.info('b', 'other') local n = #Debug.getCapturedEntries()"
        " Debug.setDefaultFilterEnabled(true) Debug.clearModuleFilters() return n", 1),
    "removed": (
        CLEAN + "Debug.addModuleFilter('x', false) return {Debug.removeModuleFilter('x'),"
        " Debug.removeModuleFilter('x')}", [True, False]),
    "the summary": (
        CLEAN + "Debug.addModuleFilter('s.*', false) local s = Debug.getFilterSummary()"
        " Debug.clearModuleFilters() return {s.default_enabled, s.total_rules, s.rules[1].pattern,"
        " s.rules[1].pattern_type, s.rules[1].enabled}", [True, 1, "s.*", "wildcard", False]),
})  # fmt: skip
runs("debug.captured", {
    "oldest first": (
        CLEAN + "for i = 1, 5 do Debug.info(i) end local e = Debug.getCapturedEntries()"
        " return {#e, e[1].message, e[5].message}", [5, "1", "5"]),
    "the last ones": (
        CLEAN + "for i = 1, 5 do Debug.info(i) end local e = Debug.getCapturedEntries(2)"
        " return {#e, e[1].message}", [2, "4"]),
    "more than there are": (CLEAN + "Debug.info(1) return #Debug.getCapturedEntries(50)", 1),
    "cleared": (CLEAN + "Debug.info(1) Debug.clearCaptured() return #Debug.getCapturedEntries()", 0),
})  # fmt: skip
gives("debug.dump", {
    "Debug.dump(nil)": "nil (nil)",
    "Debug.dump(true)": "true (boolean)",
    "Debug.dump(5)": "5 (integer)",
    "Debug.dump(1.5)": "1.5 (number)",
    "Debug.dump('s')": '"s" (string, 1 chars)',
    "Debug.dump(print)": "<function>",
    "Debug.dump({1, 2}):match('^%[ %(array, 2 elements%)') ~= nil": True,
    "Debug.dump({a = 1}):match('^{ %(table, 1 pairs%)') ~= nil": True,
    "Debug.dump({a = {b = 1}}):find('\\n  a = ', 1, true) ~= nil": True,
    "Debug.dump(1, 'label')": "label:\n1 (integer)",
    "Debug.dump(('x'):rep(300)):find('...', 1, true) ~= nil": True,
    "(function() local t = {} for i = 1, 60 do t[i] = i end return Debug.dump(t):find('(10 more)', 1,"
    " true) ~= nil end)()": True,
    "(function() local t = {} t.me = t return Debug.dump(t):find('<circular reference to depth 0>', 1,"
    " true) ~= nil end)()": True,
    "(function() local t = {} for _ = 1, 20 do t = {t} end return Debug.dump(t):find('...', 1, true)"
    " ~= nil end)()": True,
    "'dumped ' .. Debug.dump(1)": "dumped 1 (integer)",
})  # fmt: skip
gives("debug.dump.presets", {
    "Debug.dumpCompact({a = 1})": "{a = 1}",
    "Debug.dumpCompact({1, {2}}, 'x')": "x: [1, [2]]",
    "Debug.dumpCompact({a = {b = {c = {d = 1}}}}):find('...', 1, true) ~= nil": True,
    "Debug.dumpCompact(('y'):rep(60)):len() < 60": True,
    "Debug.dumpVerbose({f = print}):find('0x', 1, true) ~= nil": True,
    "Debug.dumpWithOptions({1}, {show_types = false, compact_mode = true})": "[1]",
    "Debug.dumpWithOptions('abcdef', {max_string_length = 3, show_types = false})": '"abc..."',
    "Debug.dumpWithOptions({1, 2, 3}, {max_array_elements = 1, show_types = false, compact_mode = true})":
        "[1, ... (2 more)]",
    "Debug.dumpWithOptions({{{}}}, {max_depth = 1, show_types = false, compact_mode = true})": "[...]",
})  # fmt: skip
runs("debug.timer", {
    "stop gives milliseconds": (
        "local t = Debug.timer('a') Utils.sleep(3) local ms = t:stop() return ms >= 2 and ms < 60000",
        True),
    "stopped twice": ("local t = Debug.timer('a') t:stop() return {t:stop() == nil}", [True]),
    "laps": ("local t = Debug.timer('a') local a = t:lap('x') t:stop() return {a, t:lap('y')}",
             [True, False]),
    "elapsed goes on": ("local t = Debug.timer('a') local a = t:elapsed() Utils.sleep(2)"
                        " return t:elapsed() > a", True),
    "elapsed after stop": ("local t = Debug.timer('a') t:stop() return t:elapsed()", None),
    "its id takes events": ("local t = Debug.timer('a') return {type(t.id),"
                            " Debug.recordEvent(t.id, 'e', {x = 1})}", ["string", True]),
    "two have ids of their own": ("return Debug.timer('a').id ~= Debug.timer('a').id", True),
})  # fmt: skip
runs("debug.reports", {
    "text": ("Debug.timer('rep$N'):stop() return Debug.performanceReport():find('rep$N', 1, true) ~= nil",
             True),
    "JSON": (
        "local t = Debug.timer('js$N') t:lap('half') t:stop() local r = JSON.parse(Debug.jsonReport())"
        " for _, e in ipairs(r.timers) do if e.name == 'js$N' then return e.laps[1].name end end", "half"),
    "folded stacks": (
        "Debug.timer('fl$N'):stop() for line in Debug.flameGraph():gmatch('[^\\n]+') do"
        " if line:find('fl$N', 1, true) then return line:match(' %d+$') ~= nil end end", True),
})  # fmt: skip
runs("debug.memory", {
    "statistics": (
        "local m = Debug.memoryStats() return {m.used_bytes > 0, m.allocated_bytes > 0,"
        " m.resident_bytes > 1000000, type(m.collections)}", [True, True, True, "number"]),
    "the heap grows": (
        "collectgarbage() local a = Debug.memoryStats().used_bytes local s = ('x'):rep(1000000)"
        " return Debug.memoryStats().used_bytes - a > 900000 and #s > 0", True),
    "a snapshot": (
        "local t = Debug.timer('sn$N') local s = Debug.memorySnapshot() t:stop()"
        " return {s.active_trackers > 0, s.tracker_memory_usage['sn$N'].start_bytes > 0}", [True, True]),
})  # fmt: skip
runs("debug.stack_trace", {
    "its first line": ("return Debug.stackTrace():match('^Stack trace:') ~= nil", True),
    "functions and lines": (
        "local function inner() local s = Debug.stackTrace() return s end\nlocal s = inner()\n"
        "return {s:find('inner', 1, true) ~= nil, s:find('t.lua:2', 1, true) ~= nil}", [True, True]),
    "locals on demand": (
        "local function f() local seen = 'here' local s = Debug.stackTrace({capture_locals = true})"
        " return s .. seen end return f():find('seen', 1, true) ~= nil", True),
    "as JSON": (
        "local r = JSON.parse(Debug.stackTraceJson()) local f = r.frames[1]"
        " return {type(f.line), f.source, type(r.truncated), r.max_depth}",
        ["number", "t.lua", "boolean", 50]),
    "the word error": ("return JSON.parse(Debug.stackTraceJson('error')).max_depth", 20),
    "cut at a depth": (
        "local function f(n) if n == 0 then local s = Debug.stackTraceJson({max_depth = 3}) return s end"
        " local s = f(n - 1) return s end local r = JSON.parse(f(10)) return {#r.frames, r.truncated}",
        [3, True]),
})  # fmt: skip

runs("logger.messages", {
    "into the same log": (CLEAN + "Logger.info('from logger', {a = 1}) local e ="
                          " Debug.getCapturedEntries(1)[1] return {e.message, e.metadata.a}",
                          ["from logger", 1]),
    "a name": (CLEAN + "Logger.new('net'):warn('w') local e = Debug.getCapturedEntries(1)[1]"
               " return {e.module, e.level:lower()}", ["net", "warn"]),
    "log with a word": (CLEAN + "Logger.log('error', 'x')"
                        " return Debug.getCapturedEntries(1)[1].level:lower()", "error"),
    "the level is shared": (
        CLEAN + "Logger.set_level('error') Debug.info('no') Logger.set_level('info')"
        " return #Debug.getCapturedEntries()", 0),
    "get_level": ("Logger.set_level('info') return Logger.get_level():lower()", "info"),
    "a correlation id": (
        CLEAN + "Logger.set_correlation_id('c-1') Logger.info('x') Logger.set_correlation_id(nil)"
        " return Debug.getCapturedEntries(1)[1].metadata.correlation_id", "c-1"),
    "all the words": (
        CLEAN + "Logger.set_level('trace') for _, w in ipairs{'trace', 'debug', 'info', 'warn', 'error'}"
        " do Logger[w](w) end Logger.set_level('info') return #Debug.getCapturedEntries()", 5),
})  # fmt: skip

gives("utils.uuid", {"Utils.uuid()": Like(UUID), "Utils.uuid() ~= Utils.uuid()": True})
gives("utils.time", {
    "Utils.now()": Like(TIME),
    "math.abs(Utils.timestamp() - os.time()) < 5": True,
    "type(Utils.timestamp())": "number",
})  # fmt: skip
runs("utils.sleep", {
    "at least so long": (
        "local a = Utils.timestamp() Utils.sleep(5) return Utils.timestamp() - a >= 0.004", True),
    "nothing": ("return Utils.sleep(0)", None),
    "less than nothing": ("Utils.sleep(-1)", Raises("Validation error")),
    "for ever": ("Utils.sleep(1/0)", Raises("Validation error")),
    "no number": ("Utils.sleep({})", Raises("Validation error", "number")),
})  # fmt: skip
gives("utils.hash", {
    "Utils.hash('abc')": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "Utils.hash('')": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "Utils.hash('abc', 'sha1')": "a9993e364706816aba3e25717850c26c9cd0d89d",
    "Utils.hash('abc', 'SHA-256') == Utils.hash('abc')": True,
    "#Utils.hash('abc', 'sha512')": 128,
})  # fmt: skip
refuses("utils.hash", {"Utils.hash('x', 'rot13')": "Unsupported algorithm: rot13"})
gives("utils.base64", {
    "Utils.base64_encode('')": "", "Utils.base64_encode('f')": "Zg==",
    "Utils.base64_decode('Zm9v')": "foo", "#Utils.base64_decode('AA==')": 1,
    "Utils.base64_decode(Utils.base64_encode('ü\\0\\xff')) == 'ü\\0\\xff'": True,
})  # fmt: skip
refuses("utils.base64", {
    "Utils.base64_decode('!')": "Base64", "Utils.base64_decode('Zg')": "Base64",
})  # fmt: skip
gives("utils.text", {
    "Utils.trim('  a  b \\n')": "a  b", "Utils.trim('')": "", "Utils.trim('\\t\\n ')": "",
    "Utils.split('a,b,c', ',')": ["a", "b", "c"], "Utils.split('a', ',')": ["a"],
    "Utils.split(',a,', ',')": ["", "a", ""], "Utils.split('a.b', '.')": ["a", "b"],
    "Utils.split('a||b', '||')": ["a", "b"], "Utils.split('', ',')": [""],
})  # fmt: skip
runs("utils.deep_copy", {
    "independent": ("local a = {x = {1}} local b = Utils.deep_copy(a) b.x[1] = 2 return a.x[1]", 1),
    "shared stays shared": (
        "local s = {} local c = Utils.deep_copy({s, s}) return c[1] == c[2]", True),
    "cycles": ("local t = {} t.t = t local c = Utils.deep_copy(t) return c.t == c and c ~= t", True),
    "metatables": ("local m = {__index = {hi = 1}} return Utils.deep_copy(setmetatable({}, m)).hi", 1),
    "scalars": ("return {Utils.deep_copy(5), Utils.deep_copy('x'), Utils.deep_copy(true)}",
                [5, "x", True]),
    "handles stay themselves": ("local t = Tool.get('calculator') return Utils.deep_copy({t})[1] == t",
                                True),
    "a result keeps its text": (
        "local p = Utils.deep_copy(Provider.get('test')) return tostring(p) .. p.name", "testtest"),
    "an empty array stays one": ("return JSON.stringify(Utils.deep_copy(JSON.array()))", "[]"),
})  # fmt: skip
gives("utils.env", {"Utils.env('PATH') == os.getenv('PATH')": True, "Utils.env('NO_$N')": None})

ONE_TO = "local function upto(n) return Streaming.create(function() for i = 1, n do Streaming.yield(i) end end) end "
runs("streaming.create", {
    "values in turn": (ONE_TO + "local s = upto(2) return {s:next(), s:next(), s:next() == nil}",
                       [1, 2, True]),
    "the return value is the last": (
        "local s = Streaming.create(function() Streaming.yield('a') return 'z' end)"
        " return {s:next(), s:next(), s:next() == nil}", ["a", "z", True]),
    "coroutine.yield is the same": (
        "local s = Streaming.create(function() coroutine.yield('x') end) return s:next()", "x"),
    "it runs when it is read": (
        "local s = Streaming.create(function() print('begun') Streaming.yield(1) end) print('made')"
        " s:next()", Prints("made\nbegun\n")),
    "what next passes": (
        "local s = Streaming.create(function() Streaming.yield(1) return 'end' end) s:next()"
        " return s:next()", "end"),
    "no function": ("Streaming.create(5)", Raises("Validation error")),
})  # fmt: skip
runs("streaming.yield", {
    "outside a generator": ("Streaming.yield(1)", Raises("Streaming.yield")),
    "in a plain coroutine": ("coroutine.wrap(function() Streaming.yield(1) end)()",
                             Raises("Streaming.yield")),
})  # fmt: skip
runs("streaming.is_done", {
    "until the end": (
        ONE_TO + "local s = upto(1) local a = s:isDone() s:next() local b = s:isDone() s:next()"
        " return {a, b, s:isDone()}", [False, False, True]),
    "of an empty one": (
        "local s = Streaming.create(function() end) local a = s:isDone() s:next()"
        " return {a, s:isDone()}", [False, True]),
})  # fmt: skip
runs("streaming.collect", {
    "everything": (ONE_TO + "return upto(4):collect()", [1, 2, 3, 4]),
    "the rest": (ONE_TO + "local s = upto(4) s:next() return s:collect()", [2, 3, 4]),
    "so many": (ONE_TO + "local s = upto(4) return {s:collect(2), s:collect()}", [[1, 2], [3, 4]]),
    "nothing left": (ONE_TO + "local s = upto(1) s:collect() return #s:collect()", 0),
})  # fmt: skip
runs("streaming.errors", {
    "raise where it is read": (
        "local s = Streaming.create(function() Streaming.yield(1) error('broken', 0) end) s:next()"
        " local ok, e = pcall(s.next, s) return {ok, e, s:isDone()}", [False, "broken", True]),
    "in collect": ("Streaming.create(function() error('broken') end):collect()", Raises("broken")),
})  # fmt: skip
runs("streaming.convenience", {
    "map": (ONE_TO + "return upto(3):map(function(v) return v * v end):collect()", [1, 4, 9]),
    "filter": (ONE_TO + "return upto(6):filter(function(v) return v % 3 == 0 end):collect()", [3, 6]),
    "take": (ONE_TO + "return upto(9):take(3):collect()", [1, 2, 3]),
    "each": (ONE_TO + "local s = 0 upto(4):each(function(v) s = s + v end) return s", 10),
    "one after the other": (
        ONE_TO + "return upto(20):filter(function(v) return v % 2 == 0 end):map(function(v)"
        " return v * 10 end):take(3):collect()", [20, 40, 60]),
    "take reads no more than it needs": (
        "local made = 0 local s = Streaming.create(function() for i = 1, 100 do made = i"
        " Streaming.yield(i) end end) s:take(2):collect() return made", 2),
    "endless": (
        "local s = Streaming.create(function() local i = 0 while true do i = i + 1 Streaming.yield(i)"
        " end end) return s:take(3):collect()", [1, 2, 3]),
})  # fmt: skip
runs("streaming.pushable", {
    "in and out": ("local s = Streaming.create() s:push(1) s:push(2) return {s:next(), s:next()}",
                   [1, 2]),
    "nothing yet": ("local s = Streaming.create() return {s:next() == nil, s:isDone()}", [True, False]),
    "closed": (
        "local s = Streaming.create() s:push(1) s:close() local a = s:collect()"
        " return {a, s:isDone()}", [[1], True]),
    "push after close": ("local s = Streaming.create() s:close() s:push(1)", Raises("closed")),
    "push on a generator": ("Streaming.create(function() end):push(1)", Raises("Validation error")),
})  # fmt: skip

gives(
    "args.shape",
    {"ARGS ~= nil and ARGS == ARGS": True, "#ARGS": 2, "ARGS[0]": "corpus.lua", "#arg": 2},
)
gives("args.positional", {
    "ARGS[1]": "first", "ARGS[2]": "22", "ARGS[3]": None, "type(ARGS[2])": "string",
    "ARGS['1']": "first", "arg[1]": "first", "arg[0]": "corpus.lua", "arg.name": None,
    "table.concat(ARGS, ',')": "first,22",
})  # fmt: skip
gives("args.named", {
    "ARGS.name": "Ada", "ARGS['max-cost']": "3", "ARGS.max_cost": "3", "ARGS.flag": "true",
    "ARGS['name']": "Ada", "type(ARGS['max-cost'])": "string", "ARGS.nothing": None,
})  # fmt: skip
runs("args.walk", {
    "text keys only of options": (
        "local t = {} for k in pairs(ARGS) do if type(k) == 'string' then t[#t + 1] = k end end"
        " table.sort(t) return t", ["flag", "max-cost", "name"]),
    "writable for this run": ("ARGS.mine = 1 return ARGS.mine", 1),
    "not seen by the next": ("return ARGS.mine", None),
})  # fmt: skip
