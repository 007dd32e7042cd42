"""A recorded run and its replay see the same world."""

import time

import pytest

import bridge_testkit
from bridge_testkit import World, make_services
from llmspell_core import (
    CancelSignal,
    Effect,
    ExecutionContext,
    Recording,
    ReplayError,
    Replaying,
    RunLedger,
    ScriptArguments,
    Source,
)


class Memory(RunLedger):
    """Just what recording and replaying ask for."""

    def __init__(self):
        self.intents, self.outcomes = {}, {}

    def open_run(self, run): ...

    def close_run(self, run_id, status, *, finished_at, error=None): ...

    def append(self, intent):
        self.intents[intent.sequence] = intent

    def settle(self, outcome):
        self.outcomes[outcome.sequence] = outcome

    def run(self, run_id): ...

    def runs(self, *, limit=None):
        return []

    def effects(self, run_id):
        for number, intent in sorted(self.intents.items()):
            yield Effect(intent, self.outcomes.get(number))

    def prune(self, *, older_than=None, keep=None):
        return 0

    def erase_payloads(self, run_id):
        return 0


def play(ledger, code, *, replay=False, path=None, input=None, signal=None):
    policy = (Replaying if replay else Recording)(ledger, "r1")
    world = World(input=input)
    context = ExecutionContext(world.services, effects=policy, cancel=signal)
    future = world.state.submit(
        Source(code, "t.lua", path), context, ScriptArguments("t.lua", ("a",), {"k": "v"})
    )
    try:
        return future.result(20).value, world.out, context
    finally:
        world.close()


def both(code, **more):
    ledger = Memory()
    first = play(ledger, code, **more)[:2]
    more.pop("input", None)
    return first, play(ledger, code, replay=True, **more)[:2]


@pytest.mark.parametrize(
    "code",
    [
        "return os.time()",
        "return os.clock()",
        "return os.date('%Y-%m-%d %H:%M:%S')",
        "return os.date('*t').year",
        "return {math.random(), math.random(1, 1000), math.random(0)}",
        "return os.getenv('BRIDGE_REPLAY')",
        "return os.tmpname()",
        "return {Utils.uuid(), Utils.timestamp(), Utils.now()}",
        "return Debug.timer('x'):stop()",
        "local t = {} for i = 1, 200 do t['k' .. i] = i end"
        " local out = {} for k in pairs(t) do out[#out + 1] = k end return out",
        "local t = {} for i = 1, 200 do t['k' .. i] = i end"
        " local out = {} for k in next, t do out[#out + 1] = k end return out",
        "local t = {} for i = 1, 100 do t['k' .. i] = i end print(JSON.stringify(t))",
        "local t = {} for i = 1, 100 do t['k' .. i] = i end return Probe.take_any(t)",
        "for k, v in pairs({ARGS[0], ARGS[1], ARGS.k}) do print(k, v) end",
        "return collectgarbage('count') > 0",
    ],
)
def test_a_replay_repeats_the_run(code, monkeypatch):
    monkeypatch.setenv("BRIDGE_REPLAY", "first")
    ledger = Memory()
    first = play(ledger, code)[:2]
    monkeypatch.setenv("BRIDGE_REPLAY", "second")
    time.sleep(0.002)
    assert play(ledger, code, replay=True)[:2] == first


def test_the_order_of_pairs_is_numbers_strings_rest():
    (value, _), _ = both(
        "local t = {b = 1, a = 1, [10] = 1, [2] = 1, [1.5] = 1, [true] = 1, [false] = 1, B = 1}"
        " local out = {} for k in pairs(t) do out[#out + 1] = tostring(k) end return out"
    )
    assert value == ["1.5", "2", "10", "B", "a", "b", "false", "true"]


def test_tables_and_functions_as_keys_are_ordered_by_what_they_are():
    code = (
        "local t, out = {}, {}\n"
        "for i = 20, 1, -1 do t[{name = 'n' .. i + 10, inner = {i + 10}}] = i end\n"
        "t[function() end] = 'first'\n"
        "t[function() end] = 'second'\n"
        "t[{}] = 'empty' t[coroutine.create(print)] = 'thread'\n"
        "for _, v in pairs(t) do out[#out + 1] = tostring(v) end return out"
    )
    (value, _), (again, _) = both(code)
    assert value == again
    assert [text for text in value if text.isdigit()] == sorted(map(str, range(1, 21)), key=int)
    assert value.index("first") < value.index("second")


def test_changing_a_table_while_walking_it_is_fine():
    (value, _), again = both(
        "local t = {a = 1, b = 2, c = 3} local out = {}"
        " for k in pairs(t) do out[#out + 1] = k t[k] = nil t.c = nil end"
        " for k in next, {x = 1, y = 2} do out[#out + 1] = k end"
        " out[#out + 1] = tostring(next({})) out[#out + 1] = next({q = 1}) return out"
    )
    assert value == ["a", "b", "x", "y", "nil", "q"]
    assert again[0] == value


def test_files_are_read_from_the_recording(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.txt").write_text("line one\n12 0x1f\nrest\nof it")
    (tmp_path / "m.lua").write_text("return 'module'")
    code = (
        "local f = io.open('d.txt') local out = {f:read(), f:read('n', 'n', 'l'), f:seek('cur'),"
        " f:read(3), f:read('a'), tostring(f:read('l')), f:seek('set', 1), f:read('L'), io.type(f)}"
        " f:close() out[#out + 1] = tostring(io.type(f)) out[#out + 1] = require('m')"
        " for l in io.lines('d.txt') do out[#out + 1] = l end"
        " out[#out + 1] = select(2, io.open('none.txt')) return out"
    )
    ledger = Memory()
    first, _, _ = play(ledger, code)
    assert first[0] == "line one"
    assert first[1] == 12
    assert "module" in first
    assert first[-1] == "none.txt: No such file or directory"
    (tmp_path / "d.txt").unlink()
    (tmp_path / "m.lua").unlink()
    assert play(ledger, code, replay=True)[0] == first


def test_a_replay_does_not_write_again(tmp_path, monkeypatch):
    from test_bridge_sandbox_policy import AllowAll

    monkeypatch.chdir(tmp_path)
    code = (
        "local f = assert(io.open('o.txt', 'w')) f:write('a', 1):write('b') f:flush() f:write('c')"
        " f:close() local g = io.open('o.txt', 'a') g:write('d') g:close()"
        " local h = io.open('o.txt', 'r+') h:seek('set', 1) h:write('X') h:close()"
        " local left = io.open('left.txt', 'w') for i = 1, 200 do left:write(i, ',') end"
        " keep = left return io.open('o.txt'):read('a')"
    )
    ledger = Memory()
    monkeypatch.setattr(bridge_testkit, "make_services", lambda *a, **k: _with(AllowAll()))
    first, _, _ = play(ledger, code)
    assert first == "aXbcd"
    assert (tmp_path / "o.txt").read_text() == "aXbcd"
    assert (tmp_path / "left.txt").read_text().endswith("199,200,")
    (tmp_path / "o.txt").unlink()
    assert play(ledger, code, replay=True)[0] == "aXbcd"
    assert not (tmp_path / "o.txt").exists()


def _with(policy):
    services = make_services()
    services.provide("security", policy)
    return services


def test_input_is_recorded():
    lines = iter(["one\n", "2\n"])
    first, second = both("return {io.read(), io.read('n')}", input=lambda _: next(lines, None))
    assert first == (["one", 2], "")
    assert second == first


def test_a_replay_that_differs_ends_past_every_pcall():
    ledger = Memory()
    play(ledger, "return os.getenv('HOME')")
    signal = CancelSignal()
    with pytest.raises(ReplayError, match="differs from the recording"):
        play(
            ledger,
            "while true do pcall(os.getenv, 'OTHER') end",
            replay=True,
            signal=signal,
        )


def test_a_state_may_record_one_execution_and_not_the_next():
    world = World()
    ledger = Memory()
    recorded = ExecutionContext(world.services, effects=Recording(ledger, "r1"))
    world.state.submit(Source("t0 = os.time() raw = pairs", "t.lua"), recorded).result(10)
    kinds = [effect.intent.kind for effect in ledger.effects("r1")]
    assert kinds == ["random.seed", "script.arguments", "os.time"]
    world.run("return os.time()")
    assert len(list(ledger.effects("r1"))) == 3
    assert world.run("return raw == pairs") is False
    world.run("pairs = 5")
    world.state.submit(
        Source("kept = pairs", "t.lua"),
        ExecutionContext(world.services, effects=Recording(Memory(), "r2")),
    ).result(10)
    assert world.run("return kept") == 5
    world.close()
