"""Waiting for the loop: callbacks, parallelism, promises."""

import asyncio
import threading
import time

import pytest

from bridge_testkit import KEPT, World
from llmspell_core import (
    CancelSignal,
    Deadline,
    ExecutionCancelled,
    ExecutionContext,
    LLMTimeoutError,
    ScriptError,
)


def test_a_waiting_call_returns_its_value(world):
    assert world.run("return Probe.wait(0.001, {a = 1})") == {"a": 1}


@pytest.mark.requirement("async.parallel")
def test_parallel_callbacks_end_together(world):
    # One after the other they would take 3 s.
    started = time.monotonic()
    assert world.run(
        "local begun, out = 0, {} local function branch(n) return function()"
        " begun = begun + 1 Utils.sleep(300) out[n] = begun return n end end"
        " local all = {} for n = 1, 10 do all[n] = branch(n) end"
        " return {Probe.all_of(all), out}"
    ) == [list(range(1, 11)), [10] * 10]
    assert time.monotonic() - started < 2.0


@pytest.mark.requirement("async.parallel")
def test_the_shortest_branch_ends_first(world):
    world.run(
        "local function branch(ms) return function() Utils.sleep(ms) print(ms) end end"
        " Probe.all_of({branch(400), branch(1), branch(200)})"
    )
    assert world.out == "1\n200\n400\n"


@pytest.mark.requirement("async.parallel")
def test_a_branch_that_waits_for_its_sibling_gets_it(world):
    assert world.run(
        "local ready"
        " return Probe.all_of({"
        "function() while not ready do Utils.sleep(1) end return 'saw ' .. ready end,"
        "function() Utils.sleep(20) ready = 'it' return 'set' end})"
    ) == ["saw it", "set"]


@pytest.mark.requirement("async.parallel")
def test_siblings_pass_values_to_and_fro(world):
    assert (
        world.run(
            "local ball, log = 'a', {}"
            " local function player(me, other) return function() for _ = 1, 5 do"
            " while ball ~= me do Utils.sleep(1) end log[#log + 1] = me ball = other end end end"
            " Probe.all_of({player('a', 'b'), player('b', 'a')}) return table.concat(log)"
        )
        == "ababababab"
    )


def test_a_wait_in_a_coroutine_of_the_script_interleaves_too(world):
    started = time.monotonic()
    branch = (
        "function() local out = {} for v in coroutine.wrap(function()"
        " Utils.sleep(400) coroutine.yield(1) Utils.sleep(400) coroutine.yield(2) end)"
        " do out[#out + 1] = v end return out end"
    )
    assert world.run(f"return Probe.all_of({{{branch}, {branch}, {branch}}})") == [[1, 2]] * 3
    assert time.monotonic() - started < 2.0  # one after the other: 2.4 s


def test_a_wait_where_lua_cannot_yield_blocks_in_place(world):
    assert world.run(
        "local t = {3, 1, 2} table.sort(t, function(a, b) Utils.sleep(1) return a < b end)"
        " return {t, (('ab'):gsub('.', function(c) return Probe.wait(0, c:upper()) end))}"
    ) == [[1, 2, 3], "AB"]


def test_a_coroutine_that_waits_cannot_be_resumed_by_another_branch(world):
    assert world.run(
        "local co = coroutine.create(function() Utils.sleep(50) return 'done' end)"
        " return Probe.all_of({"
        "function() return {coroutine.resume(co)} end,"
        "function() Utils.sleep(5) local ok, e = coroutine.resume(co)"
        " return {ok, e, (pcall(coroutine.close, co))} end})"
    ) == [[True, "done"], [False, "cannot resume non-suspended coroutine", False]]


def test_a_thousand_nested_callbacks(world):
    assert (
        world.run(
            "local function down(n) if n == 0 then return 0 end"
            " return 1 + Probe.later_call(down, n - 1) end return down(1000)"
        )
        == 1000
    )


def test_a_callback_that_raises_raises_in_the_caller(world):
    error = world.fails("Probe.later_call(function()\nerror('inner') end)")
    assert "Script execution error: t.lua:2: inner" in error.message
    assert isinstance(error.source, ScriptError)
    assert error.source.message == "t.lua:2: inner"
    assert (
        world.run(
            "return (select(2, pcall(Probe.now_call, function() error('x', 0) end))):match('x$')"
        )
        == "x"
    )


def test_a_callback_may_call_the_host_in_place_and_from_the_loop(world):
    assert (
        world.run(
            "return Probe.now_call(function(v) return Probe.later_call(function(w)"
            " return Probe.now_call(function(x) return x .. '!' end, w) end, v) end, 'deep')"
        )
        == "deep!"
    )


def test_main_sees_itself_as_the_main_coroutine(world):
    assert world.run(
        "local co, main = coroutine.running()"
        " local inner, is_main = coroutine.wrap(function() return coroutine.running() end)()"
        " return {type(co), main, is_main, coroutine.isyieldable(),"
        " coroutine.wrap(coroutine.isyieldable)(), (pcall(coroutine.yield, 1)),"
        " (coroutine.resume(co))}"
    ) == ["thread", True, False, False, True, False, False]


def test_coroutines_behave(world):
    assert world.run(
        "local co = coroutine.create(function(a) local b = coroutine.yield(a + 1)"
        " error({code = b}) end)"
        " local ok, v = coroutine.resume(co, 1) local bad, e = coroutine.resume(co, 5)"
        " local w = coroutine.wrap(function() error('in wrap') end)"
        " return {ok, v, bad, e.code, coroutine.status(co), (select(2, pcall(w))),"
        " (pcall(coroutine.resume, 5))}"
    ) == [True, 2, False, 5, "dead", "t.lua:1: in wrap", False]


async def test_callbacks_run_between_executions(world):
    world.run("n = 0 function bump(by) n = n + by return n end Probe.keep(bump)")
    assert await KEPT[-1](2) == 2
    assert await KEPT[-1](3) == 5
    assert world.run("return n") == 5


async def test_a_callback_runs_while_the_script_waits(world):
    world.run("Probe.keep(function() return 'served' end)")
    future = world.submit("Utils.sleep(1500) return 'slept'")
    assert await KEPT[-1]() == "served"
    assert not future.done()
    assert (await asyncio.wrap_future(future)).value == "slept"


async def test_a_cancelled_callback_ends_and_the_script_goes_on(world):
    for body in ("while true do end", "while true do pcall(error) end", "Probe.hang()"):
        assert world.run(f"return Probe.call_cancelled(function() {body} end, 0.05)") == "cancelled"
    assert world.run("return 1") == 1


async def test_the_context_of_a_callback_limits_it(world):
    world.run(
        "Probe.keep(function() Utils.sleep(1e7) end) Probe.keep(function() while true do end end)"
    )
    for function in KEPT[-2:]:
        context = ExecutionContext(world.services, deadline=Deadline(0.05))
        with pytest.raises(LLMTimeoutError):
            await function(context=context)
        signal = CancelSignal()
        asyncio.get_running_loop().call_later(0.05, signal.cancel, "stop")
        with pytest.raises(ExecutionCancelled):
            await function(context=ExecutionContext(world.services, cancel=signal))
    assert world.run("return 1") == 1


@pytest.mark.parametrize(
    "body",
    [
        "while true do end",
        "while true do pcall(error) end",
        "Utils.sleep(1) while true do end",
        "coroutine.wrap(function() while true do end end)()",
    ],
)
async def test_a_callback_between_executions_has_the_time_limit_of_a_script(body):
    world = World({"engines": {"lua": {"timeout_ms": 100}}})
    world.run(f"Probe.keep(function() {body} end)")
    with pytest.raises(LLMTimeoutError, match=r"callback timed out after 0\.1s"):
        await KEPT[-1]()
    future = world.submit("return 'served'")
    assert (await asyncio.wrap_future(future)).value == "served"
    world.close()


class Gate:
    """Takes what a script prints: tells that it came, and holds the script until it is opened."""

    def __init__(self, *, is_open):
        self.came, self.opened = threading.Event(), threading.Event()
        if is_open:
            self.opened.set()

    def append(self, _piece):
        self.came.set()
        self.opened.wait(30)


async def test_closing_ends_a_callback_that_runs_between_executions(world):
    world.written = gate = Gate(is_open=True)
    world.run("Probe.keep(function() print('begun') while true do end end)")
    running = asyncio.ensure_future(KEPT[-1]())
    assert await asyncio.to_thread(gate.came.wait, 20)
    await asyncio.to_thread(world.close)
    with pytest.raises(ExecutionCancelled):
        await running


async def test_an_execution_behind_a_callback_that_cannot_be_stopped_is_told():
    world = World({"engines": {"lua": {"timeout_ms": 100}}})
    world.run("Probe.keep(function() print('begun') end)")
    world.written = gate = Gate(is_open=False)
    running = asyncio.ensure_future(KEPT[-1]())
    assert await asyncio.to_thread(gate.came.wait, 20)
    behind = asyncio.wrap_future(world.submit("return 1"))
    with pytest.raises(LLMTimeoutError, match="callback timed out"):
        await running
    with pytest.raises(ScriptError, match="abandoned"):
        await behind
    gate.opened.set()
    world.close()


async def test_a_callback_into_a_closed_state_fails(world):
    world.run("Probe.keep(print)")
    world.close()
    with pytest.raises(ScriptError, match="was closed"):
        await KEPT[-1]()
    with pytest.raises(ScriptError, match="outside its thread"):
        KEPT[-1].call()


def test_calling_in_place_from_another_thread_is_refused(world):
    world.run("Probe.keep(print)")
    with pytest.raises(ScriptError, match="outside its thread"):
        KEPT[-1].call(1)


def test_results_that_cannot_cross_fail_the_callback_only(world):
    assert "Unsupported Lua type" in world.message(
        "Probe.later_call(function() return coroutine.create(print) end)"
    )


# Promises ----------------------------------------------------------------------------------------


def test_an_async_twin_returns_a_promise(world):
    assert world.run(
        "local p = Probe.wait_async(0.01, 'v')"
        " local before = p:status()"
        " return {before, p:is_done(), p:await(), p:status(), p:isDone(), p:await(), tostring(p)}"
    ) == ["pending", False, "v", "fulfilled", True, "v", "Promise(fulfilled)"]


def test_handlers_chain(world):
    world.run(
        "Probe.waitAsync(0.001, 1):next(function(v) return v + 1 end)"
        ":then(function(v) return Probe.wait_async(0.001, v * 10) end)"
        ":and_then(function(v) print('got', v) error('bad', 0) end)"
        ":next(function() print('skipped') end)"
        ":catch(function(e) print('caught', e) return 'ok' end)"
        ":finally(function() print('finally') end)"
        ":next(function(v) print('end', v) end)"
    )
    assert world.out == "got\t20\ncaught\tbad\nfinally\nend\tok\n"


def test_a_handler_after_one_that_waited_runs_too(world):
    world.run(
        "Probe.wait_async(0):next(function() Utils.sleep(1) end):next(function() Utils.sleep(1)"
        " print('second') end):next(function() print('third') end)"
    )
    assert world.out == "second\nthird\n"


def test_an_exit_in_a_handler_ends_a_script_that_waits(world):
    started = time.monotonic()
    result = world.submit(
        "Probe.wait_async(0):next(function() os.exit(5) end) Utils.sleep(1e7)", seconds=30
    ).result(20)
    assert result.exit_code == 5
    assert time.monotonic() - started < 10


def test_a_callback_gets_result_and_error_exactly_once(world):
    world.run(
        "local c = Probe.counter('c') c:add(4)"
        " c:slow_async(0.001, function(r, e) print('ok', r, e) end)"
        " c.slowAsync(0.001, true, function(r, e) print('bad', r, e) end)"
        " c:slow_async('x', function(r, e) print('misuse', r, e) end)"
    )
    lines = sorted(world.out.splitlines())
    assert lines[0] == "bad\tnil\tTool execution error: slow failed"
    assert lines[1].startswith("misuse\tnil\tValidation error: parameter 'seconds'")
    assert lines[2] == "ok\t4\tnil"
    assert len(lines) == 3


def test_a_rejected_promise_gives_nil_and_the_message(world):
    assert world.run(
        "local r, e = Probe.counter():slow_async(0, true):await() return {r == nil, e}"
    ) == [True, "Tool execution error: slow failed"]


def test_awaiting_with_a_time_out(world):
    assert world.run(
        "local r, e = Probe.wait_async(0.3):await(10) return {r == nil, e}", seconds=10
    ) == [True, "Timeout error: promise timed out after 0.01s"]


def test_an_unknown_field_awaits_and_forwards(world):
    assert world.run("return Probe.wait_async(0.001, {text = 'x'}).text") == "x"
    assert "slow failed" in world.message("Probe.counter():slow_async(0, true).text")


def test_the_script_does_not_end_before_its_promises(world):
    world.run("Probe.wait_async(0.05):next(function() Utils.sleep(20) print('late') end)")
    assert world.out == "late\n"


def test_an_error_in_the_main_chunk_drops_the_promises(world):
    started = time.monotonic()
    error = world.fails("Probe.wait_async(30):next(function() print('late') end) error('now')")
    assert error.message == "t.lua:1: now"
    assert time.monotonic() - started < 5
    assert world.run("return 1") == 1
    assert world.out == ""


def test_a_synchronous_result_is_no_promise(world):
    assert world.run("return tostring(Probe.wait(0, {a = 1})['then'])") == "nil"


def test_handlers_on_a_settled_promise_run(world):
    world.run(
        "local p = Probe.wait_async(0, 1) p:await() p:next(function(v) print('v', v) end)"
        " p['then'](p, function() print('again') end)"
    )
    assert world.out == "v\t1\nagain\n"


def test_a_hundred_promises_in_parallel(world):
    started = time.monotonic()
    assert (
        world.run(
            "local t = {} for i = 1, 100 do t[i] = Probe.wait_async(0.1, i) end"
            " local sum = 0 for _, p in ipairs(t) do sum = sum + p:await() end return sum"
        )
        == 5050
    )
    assert time.monotonic() - started < 5  # one after the other: 10 s


def test_many_states_at_once():
    worlds = [World() for _ in range(8)]
    futures = [w.submit(f"Utils.sleep(50) return {i}") for i, w in enumerate(worlds)]
    assert [f.result(10).value for f in futures] == list(range(8))
    for w in worlds:
        w.close()
