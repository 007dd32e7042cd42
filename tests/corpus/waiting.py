# ruff: noqa: E501 a script is easier to read on one line than cut in two
"""Waiting: synchronous forms, promises, callbacks."""

from . import LUA, Like, Prints, Raises, gives, runs

AGENT = "local a = Agent.builder():name('p$N'):model('test/x'):build() "
FLOW = (
    "local w = Workflow.sequential{name = 'q$N', steps = {{name = 's', tool = 'calculator',"
    " parameters = {input = '20 + 1'}}}} "
)
CALC = "Tool.executeAsync('calculator', {input = '40 + 2'}"

runs("sync.no_promise", {
    "a tool": ("return Tool.invoke('calculator', {input = '1'})['then']", None),
    "a tool's instance": ("return Tool.get('calculator'):execute({input = '1'})['then']", None),
    "an agent": (AGENT + "return a:execute('hi')['then']", None),
    "a workflow": (FLOW + "return w:execute()['then']", None),
    "a search": ("return RAG.search('x', {collection = 'none$N'})['then']", None),
    "the state": ("State.set('sp$N', {a = 1}) return State.get('sp$N')['then']", None),
})  # fmt: skip
runs("sync.final_value", {
    "one after the other": (
        "local t = {} for i = 1, 3 do t[i] = Tool.invoke('calculator', {input = i .. ' * 2'}).value end"
        " return t", [2, 4, 6]),
    "between prints": ("print(1) Utils.sleep(1) print(2)", Prints("1\n2\n")),
})  # fmt: skip
runs("async.forms", {
    "agent:execute_async": (AGENT + "return a:execute_async('hi'):await().text", "Echo: hi"),
    "agent:executeAsync": (AGENT + "return a:executeAsync('hi'):await().text", "Echo: hi"),
    "workflow:execute_async": (FLOW + "return w:execute_async():await().success", True),
    "workflow:executeAsync": (FLOW + "return w:executeAsync():await().success", True),
    "Tool.execute_async": (
        "return Tool.execute_async('calculator', {input = '1 + 1'}):await().value", 2),
    "Tool.executeAsync": (f"return {CALC}):await().value", 42),
    "tool:executeAsync": (
        "return Tool.get('calculator'):executeAsync({input = '2 * 3'}):await().value", 6),
    "Agent.create_async": (
        "return Agent.create_async{name = 'ca$N', model = 'test/x'}:await().name", "ca$N"),
    "Agent.createAsync": (
        "return Agent.createAsync{name = 'cb$N', model = 'test/x'}:await().name", "cb$N"),
})  # fmt: skip
runs("async.callback.once", {
    "with the result": (
        f"{CALC}, function(r, e) print('called', r.value, e) end)", Prints("called\t42\tnil\n")),
    "before the script ends": (
        f"{CALC}, function() print('callback') end) print('main')", Prints("main\ncallback\n")),
    "while the script awaits": (
        f"local n = 0 local p = {CALC}, function() n = n + 1 end) p:await() Utils.sleep(5) return n", 1),
    "while it sleeps": (
        f"local n = 0 {CALC}, function() n = n + 1 end) for _ = 1, 500 do if n > 0 then break end"
        " Utils.sleep(2) end return n", 1),
    "for an agent": (
        AGENT + "a:execute_async('hi', function(r) print(r.text) end)", Prints("Echo: hi\n")),
    "for a workflow": (
        FLOW + "w:executeAsync(nil, function(r) print(r.success) end)", Prints("true\n")),
})  # fmt: skip
runs("async.callback.error", {
    "nil and the message": (
        "local a = Agent.builder():name('ke$N'):model('openai/x'):build()"
        " a:execute_async('hi', function(r, e) print(r, e ~= nil, type(e)) end)",
        Prints("nil\ttrue\tstring\n")),
})  # fmt: skip
runs("async.callback.and_promise", {
    "both": (
        f"local seen local p = {CALC}, function(r) seen = r.value end)"
        " local v = p:await().value Utils.sleep(5) return {v, seen}", [42, 42]),
})  # fmt: skip
runs("async.callback.own_thread", {
    "it sees the locals of the script": (
        f"local x = 1 {CALC}, function() x = x + 1 end):await() Utils.sleep(5) return x", 2),
    "it may call what waits": (
        f"{CALC}, function() Utils.sleep(1) print(Tool.invoke('calculator', {{input = '3'}}).value)"
        " end)", Prints("3\n")),
})  # fmt: skip

runs("promise.next", {
    "gets the value": (f"{CALC}):next(function(r) print(r.value) end)", Prints("42\n")),
    "gives its result on": (
        f"return {CALC}):next(function(r) return r.value + 1 end):await()", 43),
    "a promise in it is awaited": (
        f"return {CALC}):next(function() return {CALC}) end):await().value", 42),
    "and_then is the same": (f"return {CALC}):and_then(function(r) return r.value end):await()", 42),
    "then is the same": (f"return {CALC}):then(function(r) return r.value end):await()", 42),
    "in brackets": (
        f"local p = {CALC}) return p['then'](p, function(r) return r.value end):await()", 42),
    "with a dot": (f"local p = {CALC}) return p.next(function(r) return r.value end):await()", 42),
    "twice on one promise": (
        f"local p = {CALC}) local a = p:next(function() return 1 end)"
        " local b = p:next(function() return 2 end) return {a:await(), b:await()}", [1, 2]),
    "on one that is settled": (
        f"local p = {CALC}) p:await() return p:next(function() return 'late' end):await()", "late"),
    "without a handler the value goes through": (f"return {CALC}):next():await().value", 42),
})  # fmt: skip
runs("promise.catch", {
    "an error in a handler": (
        f"{CALC}):next(function() error('oops', 0) end):catch(function(e) print('caught', e) end)",
        Prints("caught\toops\n")),
    "not called when all is well": (
        f"{CALC}):catch(function() print('never') end):next(function(r) print(r.value) end)",
        Prints("42\n")),
    "its result goes on": (
        f"return {CALC}):next(error):catch(function() return 'mended' end):await()", "mended"),
    "skips what comes between": (
        f"return {CALC}):next(function() error('x', 0) end):next(function() return 'no' end)"
        ":catch(function(e) return e end):await()", "x"),
    "as the second handler of next": (
        f"return {CALC}):next(function() error('y', 0) end):next(print, function(e) return e end)"
        ":await()", "y"),
})  # fmt: skip
runs("promise.finally", {
    "after success": (f"return {CALC}):finally(function() print('end') end):await().value", 42),
    "after failure": (
        f"local v, e = {CALC}):next(function() error('z', 0) end):finally(function() print('end') end)"
        ":await() return {v == nil, e}", [True, "z"]),
})  # fmt: skip
runs("promise.await", {
    "the value": (f"return {CALC}):await().success", True),
    "again": (f"local p = {CALC}) p:await() return p:await().value", 42),
    "nil and the message": (
        f"local v, e = {CALC}):next(function() error('bad', 0) end):await() return {{v == nil, e}}",
        [True, "bad"]),
    "in a coroutine": (
        f"local co = coroutine.wrap(function() return {CALC}):await().value end) return co()", 42),
    "many at once": (
        "local t, sum = {}, 0 for i = 1, 20 do t[i] = Tool.executeAsync('calculator', {input = '' .. i})"
        " end for i = 1, 20 do sum = sum + t[i]:await().value end return sum", 210),
})  # fmt: skip
runs("promise.await.timeout", {
    "told in the message": (
        "Tool.register{name = 'slow$N', execute = function() Utils.sleep(2000) return {ok = true} end}"
        " local v, e = Tool.executeAsync('slow$N', {}):await(20) return {v == nil, e}",
        [True, Like("Timeout error: .*")]),
    "enough time": (f"return {CALC}):await(60000).value", 42),
    "no number": (f"{CALC}):await('soon')", Raises("Validation error")),
})  # fmt: skip
runs("promise.status", {
    "fulfilled": (f"local p = {CALC}) p:await() return {{p:status(), p:is_done()}}",
                  ["fulfilled", True]),
    "rejected": (f"local p = {CALC}):next(function() error('x') end) p:await() return p:status()",
                 "rejected"),
    "pending": (
        "Tool.register{name = 'w$N', execute = function() Utils.sleep(20) return {ok = 1} end}"
        " local p = Tool.executeAsync('w$N', {}) local s = {p:status(), p:is_done()} p:await() return s",
        ["pending", False]),
    "isDone is the same": (f"local p = {CALC}) p:await() return p:isDone()", True),
})  # fmt: skip
runs("promise.acts_as_the_result", {
    "a method of an agent": (
        "local c = Agent.createAsync{name = 'cc$N', model = 'test/x'} return c:execute('x').text",
        "Echo: x"),
    "a field of a tool's result": (f"return {CALC}).value", 42),
    "success is there": (f"return {CALC}).success", True),
    "a field of an agent": ("return Agent.createAsync{name = 'cd$N', model = 'test/x'}.name", "cd$N"),
})  # fmt: skip
runs("promise.script_waits", {
    "for a promise nobody looks at": (
        "Tool.register{name = 'x$N', execute = function() Utils.sleep(10) print('done')"
        " return {ok = true} end} Tool.executeAsync('x$N', {})", Prints("done\n")),
    "for a chain": (
        f"{CALC}):next(function() Utils.sleep(5) end):next(function() print('end of chain') end)",
        Prints("end of chain\n")),
    "the result is that of the main chunk": (f"{CALC}):next(function() return 2 end) return 1", 1),
})  # fmt: skip

runs("coroutines.host_calls", {
    "a call that waits in a coroutine": (
        "local co = coroutine.wrap(function() coroutine.yield(Tool.invoke('calculator',"
        " {input = '5'}).value) return 'end' end) return {co(), co()}", [5, "end"]),
    "yields stay the script's own": (
        "local co = coroutine.create(function(a) Utils.sleep(1) local b = coroutine.yield(a + 1)"
        " Utils.sleep(1) return b * 2 end) local _, x = coroutine.resume(co, 1)"
        " local _, y = coroutine.resume(co, 5) return {x, y, coroutine.status(co)}", [2, 10, "dead"]),
    "in a comparator": (
        "local t = {3, 1, 2} table.sort(t, function(a, b) Utils.sleep(0) return a < b end) return t",
        [1, 2, 3]),
    "in a callback of gsub": (
        "return (('abc'):gsub('.', function(c) Utils.sleep(0) return c:upper() end))", "ABC"),
    "in a metamethod": (
        "local t = setmetatable({}, {__index = function(_, k) Utils.sleep(0) return k .. '!' end})"
        " return t.hello", "hello!"),
    "in an iterator": (
        "local out = {} for i in coroutine.wrap(function() for i = 1, 3 do Utils.sleep(0)"
        " coroutine.yield(i) end end) do out[#out + 1] = i end return out", [1, 2, 3]),
    "in pcall": ("local ok, v = pcall(function() Utils.sleep(1) return 'fine' end) return {ok, v}",
                 [True, "fine"]),
    "in xpcall": ("return {xpcall(function() Utils.sleep(1) return 'x' end, print)}", [True, "x"]),
})  # fmt: skip
runs("coroutines.host_calls", {
    "in a __close": (
        "local t = {} do local x <close> = setmetatable({}, {__close = function() Utils.sleep(1)"
        " t[1] = 'closed' end}) end return t", ["closed"]),
}, only=LUA)  # fmt: skip
gives("coroutines.language", {
    "coroutine.isyieldable()": False,
    "coroutine.wrap(function() return coroutine.isyieldable() end)()": True,
    "select(2, coroutine.running())": True,
    "coroutine.wrap(function() return select(2, coroutine.running()) end)()": False,
    "coroutine.status(coroutine.create(print))": "suspended",
    "type(coroutine.running())": "thread",
    "(coroutine.resume(coroutine.create(function() error('x') end)))": False,
    "(select(2, coroutine.resume(coroutine.create(function() error('x', 0) end))))": "x",
    "(pcall(coroutine.wrap(function() error('x') end)))": False,
    "(pcall(coroutine.yield))": False,
})  # fmt: skip
runs("coroutines.language", {
    "values go both ways": (
        "local co = coroutine.wrap(function(a) local b = coroutine.yield(a * 2) return a + b end)"
        " return {co(5), co(7)}", [10, 12]),
    "a dead one": (
        "local co = coroutine.create(function() end) coroutine.resume(co)"
        " return {coroutine.resume(co)}", [False, "cannot resume dead coroutine"]),
    "a generator": (
        "local function gen(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end"
        " end) end local s = 0 for i in gen(4) do s = s + i end return s", 10),
})  # fmt: skip
runs("coroutines.language", {
    "one that resumes itself": (
        "local co co = coroutine.create(function() return coroutine.resume(co) end)"
        " local _, ok, e = coroutine.resume(co) return {ok, e}",
        [False, "cannot resume non-suspended coroutine"]),
    "close": (
        "local co = coroutine.create(function() coroutine.yield() end) coroutine.resume(co)"
        " return {coroutine.close(co), coroutine.status(co)}", [True, "dead"]),
}, only=LUA)  # fmt: skip
