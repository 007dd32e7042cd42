"""Nothing hangs or starves the host: deadlines, cancellation, memory."""

import time

import pytest

import bridge_testkit
from bridge_testkit import KEPT, NO_LEN, SYNTAX, World
from llmspell_core import (
    CancelSignal,
    ExecutionCancelled,
    LLMTimeoutError,
    ResourceLimitError,
    ScriptError,
)

LOOPS = {
    "plain": "while true do end",
    "pcall": "while true do pcall(function() while true do end end) end",
    "pcall of error": "while true do pcall(error) end",
    "nested pcall": "local function f() while true do pcall(pcall, error) end end f()",
    "coroutine": "coroutine.wrap(function() while true do end end)()",
    "coroutine in coroutine": "coroutine.wrap(function() coroutine.wrap(function()"
    " while true do end end)() end)()",
    "chain of coroutines": "while true do local co = coroutine.create(function()"
    " while true do end end) coroutine.resume(co) end",
    "pcall of coroutine": "while true do pcall(coroutine.wrap(function()"
    " while true do end end)) end",
    "generator": "for _ in coroutine.wrap(function()"
    " while true do coroutine.yield(1) end end) do end",
    "xpcall handler": "xpcall(error, function() while true do end end)",
    "xpcall handler in loop": "while true do xpcall(function() error('x') end, function()"
    " while true do end end) end",
    "close": "local t <close> = setmetatable({}, {__close = function() while true do end end})",
    "close in error": "local t <close> = setmetatable({}, {__close = function() while true do end"
    " end}) error('x')",
    "close of coroutine": "local co = coroutine.create(function() local t <close> ="
    " setmetatable({}, {__close = function() while true do end end}) coroutine.yield() end)"
    " coroutine.resume(co) coroutine.close(co)",
    "tostring of error": "error(setmetatable({}, {__tostring = function() while true do end end}))",
    "index": "local t = setmetatable({}, {__index = function() while true do end end}) print(t.x)",
    "comparator": "table.sort({3, 2, 1}, function() while true do end end)",
    "gsub": "string.gsub('aaa', 'a', function() while true do end end)",
    "load reader": "load(function() while true do end end)",
    "tojson": "JSON.stringify(setmetatable({}, {__tojson = function() while true do end end}))",
    "result tojson": "return setmetatable({}, {__tojson = function() while true do end end})",
    "inline callback": "Probe.now_call(function() while true do end end)",
    "callback": "Probe.later_call(function() while true do end end)",
    "callback in pcall": "while true do pcall(Probe.later_call, function() while true do"
    " pcall(function() while true do end end) end end) end",
    "stream": "Streaming.create(function() while true do end end):next()",
    "promise handler": "Probe.wait_async(0):next(function() while true do end end)",
    "calls to the host": "while true do Probe.noop() end",
    "calls to the host in pcall": "while true do pcall(Probe.fail_raise) end",
    "prints": "while true do print('x') end",
    "goto": "::a:: goto a",
    "recursion by tail call": "local function f() return f() end f()",
    "repeat with empty strings": "while true do string.rep('', 1000) end",
}


@pytest.mark.requirement("limits.time")
@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, id=name, marks=[SYNTAX] if "<close>" in code else [])
        for name, code in LOOPS.items()
    ],
)
def test_an_endless_loop_ends_at_the_deadline(world, code):
    started = time.monotonic()
    error = world.fails(code, seconds=0.15)
    took = time.monotonic() - started
    assert isinstance(error, LLMTimeoutError)
    assert error.message == "execution timed out after 0.15s"
    assert took < 2.0
    assert world.run("return 'alive'") == "alive"


@pytest.mark.requirement("limits.cancel")
@pytest.mark.parametrize(
    "code", [LOOPS["pcall"], LOOPS["coroutine"], LOOPS["callback"], LOOPS["chain of coroutines"]]
)
def test_cancelling_ends_a_loop_at_once(world, code):
    signal = CancelSignal()
    future = world.submit("Probe.keep(print) " + code, context=world.context(cancel=signal))
    while not KEPT:
        assert not future.done()
        time.sleep(0)
    before = time.monotonic()
    signal.cancel("user pressed Ctrl-C")
    error = future.exception(10)
    assert isinstance(error, ExecutionCancelled)
    assert error.reason == "user pressed Ctrl-C"
    assert time.monotonic() - before < 5.0
    assert world.run("return 1") == 1


@pytest.mark.requirement("limits.cancel")
def test_cancelling_reaches_a_hanging_call(world):
    signal = CancelSignal()
    future = world.submit("Probe.hang()", context=world.context(cancel=signal))
    assert bridge_testkit.HANGS.wait(10)
    signal.cancel("enough")
    assert isinstance(future.exception(10), ExecutionCancelled)
    assert bridge_testkit.HUNG.wait(5)


@pytest.mark.requirement("limits.time.reaches_waits")
@pytest.mark.parametrize(
    "code",
    [
        "Probe.hang()",
        "while true do pcall(Probe.hang) end",
        "coroutine.wrap(function() Probe.hang() end)()",
        "table.sort({2, 1}, function() Probe.hang() end)",
        "Probe.later_call(function() Probe.hang() end)",
        "Probe.all_of({function() Probe.hang() end, function() Probe.hang() end})",
        "Utils.sleep(1e8)",
        "Probe.wait_async(1e6)",
        "Probe.wait_async(1e6):await()",
        "Probe.wait_async(0):next(function() Probe.hang() end)",
    ],
)
def test_the_deadline_reaches_whatever_the_script_waits_for(world, code):
    started = time.monotonic()
    assert isinstance(world.fails(code, seconds=0.15), LLMTimeoutError)
    assert time.monotonic() - started < 10.0
    assert world.run("return 'alive'") == "alive"


def test_an_execution_that_was_cancelled_before_it_began_does_not_run(world):
    signal = CancelSignal()
    signal.cancel("never")
    error = world.fails("ran = true", context=world.context(cancel=signal))
    assert isinstance(error, ExecutionCancelled)
    assert world.run("return ran") is None


def test_a_passed_deadline_does_not_run(world):
    assert isinstance(world.fails("ran = true", seconds=0.0), LLMTimeoutError)
    assert world.run("return ran") is None


def test_closing_interrupts_what_runs(world):
    future = world.submit("Probe.keep(print) while true do pcall(error) end")
    while not KEPT:
        assert not future.done()
        time.sleep(0)
    world.close()
    assert isinstance(future.exception(10), ExecutionCancelled)


def test_a_coroutine_left_over_from_an_interrupt_is_harmless(world):
    world.fails(
        "co = coroutine.create(function() coroutine.yield() while true do end end)"
        " coroutine.resume(co) coroutine.resume(co)",
        seconds=0.1,
    )
    assert world.run("return {coroutine.resume(co)}") == [False, "cannot resume dead coroutine"]


BOMBS = {
    "lazy": "local s = ('a'):rep(60) return s:find(('.-'):rep(12) .. 'b')",
    "greedy": "return (('a'):rep(60)):match(('a*'):rep(12) .. 'b')",
    "options": "return (('a'):rep(3000)):find(('a?'):rep(150) .. ('a'):rep(3000) .. 'b')",
    "one quantifier, long text": "return (('ab'):rep(1e6)):find('a.-x')",
    "gsub": "return (('a'):rep(1e5)):gsub('a*a*a*b', '')",
    "gmatch": "for w in (('a'):rep(1e5)):gmatch('(a*)(a*)b') do end",
    "balanced": "return (('('):rep(1e6)):find('%b()')",
    "captured before": "return (('a'):rep(1e5)):find('(a*)%1b')",
    "long set": "return (('a'):rep(1e6)):find('[' .. ('b'):rep(1e6) .. 'a]*x')",
    "frontier": "return (('a '):rep(1e6)):find('%f[%w]%w+%f[%s]%s*x')",
    "plain": "return (('a'):rep(1e7)):find(('a'):rep(5e6) .. 'b', 1, true)",
    "captures": "return (('a'):rep(200)):find(('(a*)'):rep(32) .. 'b')",
    "malformed at the end": "return pcall(string.find, ('a'):rep(60), ('.-'):rep(12) .. 'b%9')",
}


@pytest.mark.requirement("limits.c_functions")
@pytest.mark.parametrize("code", BOMBS.values(), ids=BOMBS.keys())
def test_a_pattern_that_tries_everything_ends_at_the_deadline(world, code):
    error = world.submit(code, seconds=0.3).exception(20)
    if error is not None:
        assert isinstance(error, LLMTimeoutError)
        assert "abandoned" not in str(error.hint)
    assert world.run("return 'alive'") == "alive"


@pytest.mark.requirement("limits.c_functions")
def test_a_state_that_does_not_react_is_abandoned_and_says_so(world):
    error = world.fails("Probe.block()", seconds=0.1)
    assert isinstance(error, LLMTimeoutError)
    assert "abandoned" in error.hint
    assert "abandoned" in str(world.fails("return 1"))
    bridge_testkit.UNBLOCK.set()


# Memory ------------------------------------------------------------------------------------------

EATERS = {
    "string": "return ('x'):rep(1e9)",
    "doubling": "local s = 'x' while true do s = s .. s end",
    "table": "local t = {} while true do t[#t + 1] = {} end",
    "strings": "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
    "closures": "local t = {} while true do t[#t + 1] = function() return t end end",
    "coroutines": "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
    "concat": "local t = {} for i = 1, 1e5 do t[i] = ('x'):rep(1000) end return table.concat(t)",
    "host bytes": "local t = {} while true do t[#t + 1] = Probe.big(1000000 + #t) end",
    "host table": "local t = {} while true do t[#t + 1] = Probe.big_table(10000) end",
    "handles": "local t = {} while true do t[#t + 1] = Probe.counter() end",
    "in a callback": "Probe.later_call(function() local t = {}"
    " while true do t[#t + 1] = {} end end)",
    "upvalue string": "Probe.now_call(function() return ('x'):rep(1e9) end)",
    "gsub": "return (('x'):rep(1e6):gsub('x', ('y'):rep(1000)))",
    "format": "local s = ('x'):rep(1e7) return s:format() .. s .. s .. s .. s .. s",
}


@pytest.mark.requirement("limits.memory")
@pytest.mark.parametrize("code", EATERS.values(), ids=EATERS.keys())
def test_a_script_that_eats_memory_gets_a_typed_error(code):
    world = World({"engines": {"lua": {"max_memory_bytes": 20_000_000}}})
    error = world.fails(code, seconds=60)
    assert isinstance(error, ResourceLimitError)
    assert str(error).startswith("Resource limit exceeded: memory limit of 20000000 exceeded")
    assert world.run("return 'alive'") == "alive"
    world.close()


@pytest.mark.parametrize("megabytes", [12, 14, 16, 17, 19])
def test_handles_fill_the_heap_wherever_their_tables_grow(megabytes):
    world = World({"engines": {"lua": {"max_memory_bytes": megabytes * 2**20}}})
    code = "local t = {} while true do t[#t + 1] = Probe.counter(tostring(#t)) end"
    assert isinstance(world.fails(code, seconds=60), ResourceLimitError)
    assert world.run("return 'alive'") == "alive"
    world.close()


def test_coroutines_that_nobody_resumes_any_more_are_collected(world):
    code = (
        "for i = 1, 200 do coroutine.wrap(function()"
        " local big = ('x'):rep(1000000) .. i coroutine.yield(big) end)() end return 'done'"
    )
    assert world.run(code) == "done"
    endless = "local big = ('x'):rep(5000000) .. os.clock() while true do pcall(#big) end"
    for _ in range(12):
        assert isinstance(world.fails(endless, seconds=0.01), LLMTimeoutError)


def test_one_host_value_larger_than_the_heap_is_refused(world):
    assert isinstance(world.fails("return #Probe.big(60000000)"), ResourceLimitError)
    assert isinstance(world.fails("return #Probe.big_table(5000000)"), ResourceLimitError)
    assert world.run("return #Probe.big(30000000)") == 30000000


def test_a_script_may_catch_the_memory_error_and_go_on(world):
    assert world.run("local ok, message = pcall(string.rep, 'x', 1e9) return {ok, message}") == [
        False,
        "not enough memory",
    ]


def test_a_full_heap_refuses_calls_to_the_host_without_harm():
    world = World({"engines": {"lua": {"max_memory_bytes": 4_000_000}}})
    code = """
      kept = {}
      while true do
        local ok = pcall(function() kept[#kept + 1] = ('x'):rep(2000) .. #kept end)
        local called = pcall(Probe.record)
        local printed = pcall(print, 'x')
        if not ok then kept.full = true break end
      end
      local n = 0
      for i = 1, 300 do if pcall(Probe.record) then n = n + 1 end end
      local full_calls = n
      kept = nil
      collectgarbage()
      return {full_calls, Probe.record().name}
    """
    full_calls, name = world.run(code, seconds=60)
    assert full_calls == 0
    assert name == "rec"
    world.close()


def test_a_heap_left_full_refuses_the_next_execution_and_callbacks():
    world = World({"engines": {"lua": {"max_memory_bytes": 2_000_000}}})
    world.run("function late() return 1 end Probe.keep(late)")
    world.run(
        "kept = {} pcall(function() while true do kept[#kept + 1] = ('x'):rep(50) .. #kept end end)"
    )
    error = world.fails("return 1")
    assert isinstance(error, ResourceLimitError)
    world.close()


def test_deep_recursion_is_an_error_not_a_crash(world):
    error = world.fails("local function f() return 1 + f() end f()")
    assert isinstance(error, ScriptError | ResourceLimitError)
    error = world.fails("local function f() Probe.now_call(f) end f()")
    assert isinstance(error, ScriptError)
    assert world.run("return 1") == 1


def test_coroutines_in_coroutines_end_in_an_error(world):
    error = world.fails(
        "local function f() local ok, e = coroutine.resume(coroutine.create(f))"
        " if not ok then error(e, 0) end end f()"
    )
    assert "C stack overflow" in error.message


@NO_LEN
def test_lengths_that_a_metamethod_invents_do_not_hang(world):
    lie = "setmetatable({}, {__len = function() return 2^60 end})"
    assert "too long" in world.message(f"table.insert({lie}, 1, 1)")
    assert "too long" in world.message(f"table.remove({lie}, 1)")
    assert "too many" in world.message("table.move({}, 1, 2^60, 2)")
    assert world.run("return string.rep('', 1e18)") == ""


@pytest.mark.requirement("limits.memory.cannot_be_evaded")
def test_calls_in_progress_are_bounded(world):
    message = world.run(
        "local p for i = 1, 10001 do p = Probe.wait_async(0.5) end return (select(2, p:await()))"
    )
    assert "Resource limit exceeded: calls in progress limit of 10000 exceeded" in message
    assert world.run("return Probe.wait(0, 'alive')") == "alive"


@pytest.mark.requirement("limits.memory.cannot_be_evaded")
def test_callbacks_without_end_are_bounded(world):
    message = world.run(
        "local deepest local function again() local ok, e = pcall(Probe.later_call, again)"
        " deepest = deepest or e end again() return deepest",
        seconds=60,
    )
    assert "Resource limit exceeded: callbacks in progress limit of 4000 exceeded" in message
    endless = "local function again() return Probe.later_call(again) end again()"
    assert isinstance(world.fails(endless, seconds=0.3), LLMTimeoutError)
    assert world.run("return 'alive'") == "alive"


def test_long_names_and_lists_of_places_end_at_the_deadline(world):
    assert isinstance(
        world.fails("package.path = ('?;'):rep(1e6) require('nothing')", seconds=0.2),
        LLMTimeoutError,
    )
    assert "characters" in world.message("require(('a.'):rep(1e5))")
    assert "characters" in world.run("return (select(2, io.open(('a/'):rep(1e5))))")
    assert world.run("return 'alive'") == "alive"
