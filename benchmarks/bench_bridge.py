"""What the Lua engines cost, beside raw lupa and `json.dumps` in the same run."""

import asyncio
import gc
import json
import statistics
import threading
import time
from typing import Any

import lupa.lua54
import lupa.luajit21

from llmspell_core import (
    IO_LOOP,
    Deadline,
    ExecutionContext,
    Plugin,
    PluginIndex,
    ScriptFunction,
    Services,
    Source,
    exposed,
    script_global,
)

ROWS = 6500
KEPT: list[ScriptFunction] = []


@script_global("Bench")
class Bench:
    """Calls to measure."""

    def __init__(self, host) -> None:
        self._host = host
        self.last: Any = None
        self.data = table_of_a_megabyte()

    @exposed()
    def inline(self, text: str, number: int) -> int:
        """Does not block."""
        return number

    @exposed()
    async def hop(self, number: int) -> int:
        """To the loop and back."""
        return number

    @exposed()
    async def ten_ms(self) -> None:
        """A tool call."""
        await asyncio.sleep(0.01)

    @exposed()
    def take(self, value: Any) -> None:
        """Converts."""
        self.last = value

    @exposed()
    def give(self) -> Any:
        """Converts."""
        return self.data

    @exposed()
    def keep(self, function: ScriptFunction) -> None:
        """For callbacks."""
        KEPT.append(function)

    @exposed()
    async def call_back(self, function: ScriptFunction, times: int) -> list[float]:
        """Calls the script from the loop."""
        took = []
        for n in range(times):
            started = time.perf_counter()
            await function(n)
            took.append(time.perf_counter() - started)
        return took


def table_of_a_megabyte() -> list[dict[str, Any]]:
    return [
        {
            "id": i,
            "name": f"item number {i}",
            "score": i * 0.37,
            "ok": i % 2 == 0,
            "tags": ["alpha", "beta", f"g{i}"],
            "pos": {"x": i, "y": -i, "label": "somewhere über" if i % 10 == 0 else "somewhere"},
        }
        for i in range(ROWS)
    ]


def best(call, times: int = 7) -> float:
    """Processor time: what other programs take does not count."""
    found = []
    for _ in range(times):
        started = time.process_time()
        call()
        found.append(time.process_time() - started)
    return min(found)


MODULES = {"lua": lupa.lua54, "luajit": lupa.luajit21}


class World:
    def __init__(self, engine: str = "lua") -> None:
        self.module: Any = MODULES[engine]
        installed = [p for p in PluginIndex().all() if p.group == "llmspell.globals"]
        extra = Plugin("llmspell.globals", "Bench", "bench_bridge:Bench", "benchmarks", "0")
        everything = PluginIndex().all()
        self.services = Services(plugins=PluginIndex([*everything, extra]))
        self.engine = self.services.plugins.load("llmspell.engines", engine)(self.services)
        self.count = len(installed)
        self.state = self.open()

    def open(self):
        return self.engine.open_state(output=lambda _stream, _text: None)

    def run(self, text: str, *, state=None, seconds: float | None = None) -> Any:
        context = ExecutionContext(self.services, deadline=Deadline(seconds))
        return (state or self.state).submit(Source(text, "bench.lua"), context).result().value


def line(what: str, value: str, bound: str = "") -> None:
    print(f"{what:<58}{value:>14}  {bound}")


def new_states(world: World) -> None:
    def one() -> None:
        state = world.open()
        world.run("", state=state)
        state.close()

    one()
    plain = best(lambda: world.module.LuaRuntime(encoding=None), 15)
    took = best(one, 15)
    line(
        f"new state, {world.count} globals, empty script, closed", f"{took * 1e3:.2f} ms", "≤ 3 ms"
    )
    line("  a bare lupa runtime", f"{plain * 1e3:.2f} ms")


def calls(world: World) -> None:
    count = 200_000
    loop = f"local f, t0 = ..., os.clock() for i = 1, {count} do f('text', i) end"
    runtime = world.module.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
    raw_loop = runtime.execute(f"return function(f) {loop.replace('..., os.clock()', 'f, 0')} end")
    raw = best(lambda: raw_loop(lambda text, number: number), 5) / count
    code = f"local f = Bench.inline for i = 1, {count} do f('text', i) end"
    ours = best(lambda: world.run(code), 5) / count
    line("call that does not block", f"{ours * 1e6:.2f} µs")
    line("  raw lupa call", f"{raw * 1e6:.2f} µs")
    line("  over raw lupa", f"{(ours - raw) * 1e6:.2f} µs", "≤ 2 µs")


def python_hops(count: int) -> list[float]:
    async def nothing() -> None:
        pass

    loop = IO_LOOP.loop()
    took = []
    for _ in range(count):
        started = time.perf_counter()
        asyncio.run_coroutine_threadsafe(nothing(), loop).result()
        took.append(time.perf_counter() - started)
    return took


def hops(world: World) -> None:
    code = (
        "local t = {} for i = 1, 3000 do local t0 = Debug.timer('h') Bench.hop(i)"
        " t[i] = t0:elapsed() end table.sort(t) return t[1500] * 1000"
    )
    world.run(code)
    line("hop to the loop and back, p50", f"{world.run(code):.0f} µs", "≤ 100 µs")
    bare = statistics.median(python_hops(3000))
    line("  the same from a Python thread", f"{bare * 1e6:.0f} µs")
    took = world.run("return Bench.call_back(function(n) return n end, 3000)")
    line(
        "callback into Lua from the loop, p50",
        f"{statistics.median(took) * 1e6:.0f} µs",
        "≤ 150 µs",
    )
    world.run("for i = 1, 5 do Bench.ten_ms() end")
    ours = world.run(
        "local t = {} for i = 1, 200 do local t0 = Debug.timer('h') Bench.ten_ms()"
        " t[i] = t0:elapsed() end table.sort(t) return t[100] / 1000"
    )

    loop = IO_LOOP.loop()
    took = []
    for _ in range(200):
        started = time.perf_counter()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), loop).result()
        took.append(time.perf_counter() - started)
    bare = statistics.median(took)
    line(
        "call of 10 ms, over one from a Python thread, p50",
        f"{(ours / bare - 1) * 100:.2f} %",
        "< 1 %",
    )


def conversion(world: World) -> None:
    data = table_of_a_megabyte()
    text = json.dumps(data)
    dumps = best(lambda: json.dumps(data))
    world.run("big = Bench.give()")
    take = best(lambda: world.run("Bench.take(big)"))
    give = best(lambda: world.run("local t = Bench.give()"))
    nothing = best(lambda: world.run("local t = big"))
    line(f"json.dumps of a nested table of {len(text) / 1e6:.2f} MB", f"{dumps * 1e3:.1f} ms")
    line("  Lua → Python", f"{(take - nothing) / dumps:.2f} x", "≤ 5 x")
    line("  Python → Lua", f"{(give - nothing) / dumps:.2f} x", "≤ 5 x")


def loops(world: World) -> None:
    body = "local n = 0 for i = 1, 2e7 do n = n + i % 7 end return n"
    runtime = world.module.LuaRuntime()
    if world.module is lupa.luajit21:
        runtime.execute("jit.off()")
    function = runtime.eval(f"function() {body} end")
    raw = best(function, 5)
    ours = best(lambda: world.run(body, seconds=600), 5)
    line(
        "loop of 20 M rounds under a deadline, over raw Lua",
        f"{(ours / raw - 1) * 100:.1f} %",
        "≈ 0",
    )


def interrupts(world: World) -> None:
    took = []
    state = world.open()
    for body in ("while true do end", "while true do pcall(error) end") * 10:
        context = ExecutionContext(world.services)
        future = state.submit(Source(f"Bench.keep(print) {body}", "bench.lua"), context)
        while not KEPT:
            time.sleep(0.0005)
        KEPT.clear()
        started = time.perf_counter()
        context.cancel.cancel("bench")
        future.exception()
        took.append(time.perf_counter() - started)
    state.close()
    line("interrupt to exception, p50", f"{statistics.median(took) * 1e3:.2f} ms", "≤ 5 ms")
    line("  the slowest of 20", f"{max(took) * 1e3:.2f} ms")


def editing(world: World) -> None:
    code = "local x = Debug.timer('t'):lap('n')\n" * 200 + "Debug.t"
    world.engine.complete(code, len(code))
    took = best(lambda: world.engine.complete(code, len(code)))
    line("completion behind 200 lines", f"{took * 1e3:.1f} ms", "≤ 100 ms")
    world.run("fruits = {} for i = 1, 1000 do fruits['name_' .. i] = i end")
    world.state.complete("fruits.", 7)
    took = best(lambda: world.state.complete("fruits.", 7))
    line("  in a running state, of 1,000 fields", f"{took * 1e3:.1f} ms", "≤ 100 ms")


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def memory(world: World) -> None:
    def many(count: int) -> None:
        for _ in range(count):
            state = world.open()
            world.run(
                "local t = {} for i = 1, 1000 do t[i] = Bench.inline('x', i) end", state=state
            )
            state.close()
        gc.collect()

    many(300)
    grown: list[int] = []
    for _ in range(3):
        before = resident()
        many(200)
        grown.append(resident() - before)
    # What the allocator keeps comes and goes; what leaks is there each time.
    line("memory growth over 200 states made and dropped", f"{min(grown) / 1e6:.2f} MB", "≈ 0")
    line("threads left", str(threading.active_count()))


def patterns(world: World) -> None:
    count = 200_000
    body = f"for i = 1, {count} do M('key = value', '^(%w+)%s*=%s*(%w+)$') end"
    runtime = world.module.LuaRuntime()
    function = runtime.execute(f"local M = string.match return function() {body} end")
    raw = best(function, 5) / count
    ours = best(lambda: world.run(f"local M = string.match {body}", seconds=600), 5) / count
    line("string.match with a bound on its work", f"{ours * 1e6:.2f} µs")
    line("  without", f"{raw * 1e6:.2f} µs")


def main() -> None:
    world = World()
    for part in (new_states, calls, hops, conversion, loops, patterns, interrupts, editing, memory):
        part(world)
    world.state.close()
    print("\nLuaJIT, its compiler off")
    world = World("luajit")
    for part in (new_states, calls, conversion, loops, patterns, interrupts, memory):
        part(world)
    world.state.close()


if __name__ == "__main__":
    import sys

    sys.modules.setdefault("bench_bridge", sys.modules["__main__"])
    main()
