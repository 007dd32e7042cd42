"""What an agent costs around a model that answers at once; with ``--peers`` beside other libraries.

``--peers`` makes an environment for each of them with ``uv``, below ``~/.cache/llmspell/peers``,
and asks the same server over HTTP from each, and from here.
"""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from llmspell_agents import AgentBuilder
from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    EffectClass,
    ExecutionContext,
    Parameter,
    Plugin,
    PluginIndex,
    Provider,
    Recording,
    RunRecord,
    Services,
    Source,
    Tool,
    ToolRequest,
    ToolResult,
    ToolSchema,
    Usage,
)
from llmspell_kernel import Kernel, MemoryLedger, SqliteLedger

ROUNDS = 2_000
USAGE = Usage(10, 5, cost=0.0)
HERE = Path(__file__).parent / "peers"
PEERS = {
    "agno": ["agno", "openai"],
    "agent-framework": ["agent-framework-openai"],
    "pydantic-ai": ["pydantic-ai-slim[openai]"],
    "openai-agents": ["openai-agents"],
    "langchain": ["langchain", "langchain-openai"],
}


class Instant(Provider):
    """Answers at once; with tools offered, asks for one first."""

    name = "instant"

    def __init__(self, settings, services) -> None:
        pass

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        if request.tools and request.messages[-1].role == "user":
            call = ToolRequest("call_1", "noop", '{"input": "x"}')
            return ChatResponse("", "m", (call,), "tool_calls", USAGE)
        return ChatResponse("done", "m", (), "stop", USAGE)

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        yield ChatChunk(response=await self.chat(request, context))


class Noop(Tool):
    """Does nothing."""

    effect_class = EffectClass.PURE

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema("noop", "Does nothing", (Parameter("input", "string"),))

    async def run(self, parameters, context):
        return ToolResult(text="ok")


def services() -> Services:
    """As installed, with the model beside the installed ones."""
    model = Plugin("llmspell.providers", "instant", f"{__name__}:Instant", "bench", "1")
    made = Services(plugins=PluginIndex([*PluginIndex().all(), model]))
    made.tools.register(Noop())
    return made


def recorded(made: Services, ledger) -> ExecutionContext:
    ledger.open_run(RunRecord("bench", "bench", 0.0))
    return ExecutionContext(made, effects=Recording(ledger, "bench"))


async def loop(made: Services, context: ExecutionContext, *tools: str) -> float:
    """Milliseconds of one execution."""
    agent = AgentBuilder(f"a{time.perf_counter_ns()}", memory_enabled=False, tools=list(tools))
    built = agent.model("instant/m").build(made)
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        for _ in range(ROUNDS // 10):
            await built.execute("hello", context)
        best = min(best, (time.perf_counter() - started) / (ROUNDS // 10))
    return best * 1e3


def creation(made: Services) -> float:
    """Microseconds to build an agent."""
    best = float("inf")
    for batch in range(10):
        started = time.perf_counter()
        for number in range(ROUNDS // 10):
            AgentBuilder(f"c{batch}-{number}", model="instant/m", tools=["noop"]).build(made)
        best = min(best, (time.perf_counter() - started) / (ROUNDS // 10))
    return best * 1e6


def start(code: str) -> float:
    times = []
    for _ in range(7):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - started)
    return min(times) * 1e3


@contextmanager
def model_server() -> Iterator[str]:
    """The bare server in a process of its own; its address."""
    command = [sys.executable, str(HERE / "model_server.py")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


FIRST_TOKEN = """
local agent = Agent.builder():model("local/m"):build()
for _ = 1, 20 do
    agent:invokeStream("hello", function(chunk) if #chunk.text > 0 then print(chunk.text) end end)
    agent:reset()
end
"""


def first_token(address: str) -> list[float]:
    """Milliseconds from the server's write to the script's callback, for each word of a stream."""
    late: list[float] = []

    def output(_: str, text: str) -> None:
        now = time.monotonic()
        late.extend((now - float(word)) * 1e3 for word in text.split())

    table = {"base_url": f"{address}/clock/v1", "provider_type": "openai"}
    with Kernel.open({"providers": {"local": table}}, output=output) as kernel:
        kernel.execute(Source(FIRST_TOKEN, "bench")).result(60)
    return sorted(late[5:])


def line(label: str, value: float, unit: str, bound: str = "") -> None:
    print(f"{label:46} {value:8.3f} {unit:3} {bound}".rstrip(), flush=True)


async def in_process() -> None:
    made = services()
    line("build an agent with a tool", creation(made), "µs", "(bound: 50)")
    plain = ExecutionContext(made)
    with tempfile.TemporaryDirectory() as folder:
        on_disk = SqliteLedger(os.path.join(folder, "runs.db"))
        memory, disk = recorded(made, MemoryLedger()), recorded(made, on_disk)
        for label, context, tools, bound in (
            ("text only, not recorded", plain, (), ""),
            ("text only, ledger in memory", memory, (), "(bound: 0.3)"),
            ("text only, ledger in SQLite", disk, (), ""),
            ("one tool call, not recorded", plain, ("noop",), ""),
            ("one tool call, ledger in memory", memory, ("noop",), "(bound: 0.8)"),
            ("one tool call, ledger in SQLite", disk, ("noop",), "(bound: 1.5)"),
        ):
            line(label, await loop(made, context, *tools), "ms", bound)
        on_disk.close()
    await made.aclose()


def main() -> None:
    asyncio.run(in_process())
    with model_server() as address:
        late = first_token(address)
    line("server's word to Lua callback, median", statistics.median(late), "ms", "(bound: 2)")
    line("the same, one in twenty takes longer", late[len(late) * 19 // 20], "ms")
    bare = start("pass")
    first = start("import llmspell_agents") - bare
    line("import llmspell_agents, over python -c pass", first, "ms", "(bound: 60)")
    code = "from llmspell_agents import LLMAgent, AgentBuilder"
    line("with LLMAgent and its loop", start(code) - bare, "ms")


# Peers -------------------------------------------------------------------------------------------


def environment(name: str) -> Path:
    """The interpreter of a peer's environment, made when it is not there."""
    place = Path.home() / ".cache" / "llmspell" / "peers" / name
    python = place / "bin" / "python"
    done = place / "complete"
    if not done.exists():
        uv = shutil.which("uv")
        command = [uv] if uv else [sys.executable, "-m", "uv"]
        shutil.rmtree(place, ignore_errors=True)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        subprocess.run([*command, "venv", "-q", "--python", version, str(place)], check=True)
        install = [*command, "pip", "install", "-q", "--python", str(python), *PEERS[name]]
        subprocess.run(install, check=True)
        done.touch()
    return python


def measured(python: str, name: str, address: str) -> dict[str, float]:
    command = [python, str(HERE / "harness.py"), name, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    lines = [text for text in done.stdout.splitlines() if text.startswith("{")]
    if not lines:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(lines[-1])


def peers() -> None:
    print(
        "\nover HTTP, the same server for all: one run, a tool call, 200 agents at once (times the"
    )
    print("50 ms that the server takes), an agent, the import\n")
    heads = ("text ms", "tool ms", "200 ×", "new µs", "import ms")
    print(" " * 24, " ".join(f"{head:>9}" for head in heads))
    with model_server() as address:
        for name in ("llmspell", *PEERS):
            try:
                python = sys.executable if name == "llmspell" else str(environment(name))
                found = measured(python, name, address)
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                print(f"{name}: not measured: {error}")
                continue
            label = f"{name} {found['version']}"
            keys = ("text_ms", "tool_ms", "times_ideal", "creation_us", "import_ms")
            print(f"{label:24}", " ".join(f"{found[key]:9.2f}" for key in keys), flush=True)


if __name__ == "__main__":
    main()
    if "--peers" in sys.argv[1:]:
        peers()
