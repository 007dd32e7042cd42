"""What the tool pipeline costs around a tool that does nothing, and listing tools cold."""

import asyncio
import subprocess
import sys
import time

from llmspell_core import (
    EffectClass,
    ExecutionContext,
    Parameter,
    Recording,
    RunRecord,
    Services,
    Tool,
    ToolResult,
    ToolSchema,
)
from llmspell_kernel import MemoryLedger

ROUNDS = 20_000
_RESULT = ToolResult(operation="noop", result={"ok": True})


class Noop(Tool):
    """Does nothing."""

    effect_class = EffectClass.PURE

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema("noop", "Does nothing", (Parameter("input", "string"),))

    async def run(self, parameters, context):
        return _RESULT


async def measure(services: Services, context: ExecutionContext) -> float:
    tools = services.tools
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(ROUNDS // 5):
            await tools.invoke("noop", {"input": "x"}, context)
        best = min(best, (time.perf_counter() - started) / (ROUNDS // 5))
    return best * 1e6


async def bare(tool: Noop, context: ExecutionContext) -> float:
    started = time.perf_counter()
    for _ in range(ROUNDS):
        await tool.run({"input": "x"}, context)
    return (time.perf_counter() - started) / ROUNDS * 1e6


def cold(code: str) -> float:
    times = []
    for _ in range(7):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return min(times) * 1000


async def main() -> None:
    services = Services()
    noop = Noop()
    services.tools.register(noop)
    plain = await bare(noop, ExecutionContext(services))
    passing = await measure(services, ExecutionContext(services))
    ledger = MemoryLedger()
    ledger.open_run(RunRecord("bench", "bench", 0.0))
    recording = await measure(
        services, ExecutionContext(services, effects=Recording(ledger, "bench"))
    )
    print(f"the tool's own run              {plain:7.2f} µs")
    print(f"invoke, not recorded            {passing:7.2f} µs")
    print(f"invoke, in-memory ledger        {recording:7.2f} µs   (bound: 40)")
    await services.aclose()

    nothing = cold("pass")
    core = cold("from llmspell_core import Services; Services()")
    listed = cold("from llmspell_core import Services; Services().tools.list()")
    print(f"python -c pass                  {nothing:7.1f} ms")
    print(f"Services()                      {core:7.1f} ms")
    print(f"Services().tools.list(), cold   {listed:7.1f} ms")
    print(f"listing alone                   {listed - core:7.1f} ms   (bound: 60)")


if __name__ == "__main__":
    asyncio.run(main())
