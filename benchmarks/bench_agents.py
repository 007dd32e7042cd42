"""What an agent costs around a model that answers at once."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator

from llmspell_agents import AgentBuilder
from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    EffectClass,
    ExecutionContext,
    Parameter,
    Provider,
    ProviderInfo,
    ProviderRegistry,
    Recording,
    RunRecord,
    Services,
    Tool,
    ToolRequest,
    ToolResult,
    ToolSchema,
    Usage,
)
from llmspell_kernel import MemoryLedger
from llmspell_providers._pacing import Pace
from llmspell_providers._prices import PriceList
from llmspell_providers._resilience import Resilience
from llmspell_providers._wrappers import Guarded, wrapped
from llmspell_utils import RetryPolicy

ROUNDS = 2_000
USAGE = Usage(10, 5, cost=0.0)


class Instant(Provider):
    """Answers at once; with tools offered, asks for one first."""

    name = "instant"

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        if request.tools and request.messages[-1].role == "user":
            call = ToolRequest("call_1", "noop", '{"input": "x"}')
            return ChatResponse("", "m", (call,), "tool_calls", USAGE)
        return ChatResponse("done", "m", (), "stop", USAGE)

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        yield ChatChunk(response=await self.chat(request, context))


class Providers(ProviderRegistry):
    """One provider, wrapped as the service wraps all."""

    def __init__(self) -> None:
        inner = Guarded(Instant(), Resilience(), RetryPolicy(), PriceList({}), Pace("instant"))
        self._provider = wrapped(inner)

    def list(self) -> list[ProviderInfo]:
        return []

    def resolve(self, model, *, provider=None, base_url=None, api_key=None, fallback=()):
        return self._provider, "m"

    def default(self) -> None:
        return None


class Noop(Tool):
    """Does nothing."""

    effect_class = EffectClass.PURE

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema("noop", "Does nothing", (Parameter("input", "string"),))

    async def run(self, parameters, context):
        return ToolResult(text="ok")


def services() -> Services:
    made = Services()
    made.provide("providers", Providers())
    made.tools.register(Noop())
    return made


def recorded(made: Services) -> ExecutionContext:
    ledger = MemoryLedger()
    ledger.open_run(RunRecord("bench", "bench", 0.0))
    return ExecutionContext(made, effects=Recording(ledger, "bench"))


async def loop(made: Services, context: ExecutionContext, *tools: str) -> float:
    """Milliseconds of one execution."""
    agent = AgentBuilder(f"a{time.perf_counter_ns()}", memory_enabled=False, tools=list(tools))
    built = agent.model("instant/m").build(made)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(ROUNDS // 5):
            await built.execute("hello", context)
        best = min(best, (time.perf_counter() - started) / (ROUNDS // 5))
    return best * 1e3


def creation(made: Services) -> float:
    """Microseconds to build an agent and to forget it."""
    started = time.perf_counter()
    for number in range(ROUNDS):
        AgentBuilder(f"c{number}", model="instant/m", tools=["noop"]).build(made)
    took = (time.perf_counter() - started) / ROUNDS * 1e6
    for number in range(ROUNDS):
        made.agents.remove(f"c{number}")
    return took


def start(code: str) -> float:
    times = []
    for _ in range(7):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - started)
    return min(times) * 1e3


async def main() -> None:
    made = services()
    print(f"{'build an agent with a tool':44} {creation(made):8.1f} µs")
    plain = ExecutionContext(made)
    for label, context, tools in (
        ("text only, not recorded", plain, ()),
        ("text only, ledger in memory", recorded(made), ()),
        ("one tool call, not recorded", plain, ("noop",)),
        ("one tool call, ledger in memory", recorded(made), ("noop",)),
    ):
        print(f"{label:44} {await loop(made, context, *tools):8.3f} ms")
    await made.aclose()
    bare = start("pass")
    for label, code in (
        ("import llmspell_agents, over python -c pass", "import llmspell_agents"),
        ("with LLMAgent and its loop", "from llmspell_agents import LLMAgent"),
    ):
        print(f"{label:44} {start(code) - bare:8.1f} ms")


if __name__ == "__main__":
    asyncio.run(main())
