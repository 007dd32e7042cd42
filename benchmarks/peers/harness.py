"""Measures one agent library, in whatever environment it is installed.

``python harness.py NAME ADDRESS`` prints a JSON object of figures. An adapter makes an agent, with
a tool or without, and a coroutine function that asks it; all speak the OpenAI protocol to the same
server.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version

os.environ |= {
    "OPENAI_API_KEY": "sk-none",
    "AGNO_TELEMETRY": "false",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "LANGSMITH_TRACING": "false",
}
MODEL, SYSTEM = "gpt-4o-mini", "Answer briefly."
WARM, BATCHES, RUNS = 20, 15, 15
CONCURRENT, DELAY = 200, 0.05


def noop(text: str) -> str:
    """Do nothing.

    Args:
        text: Anything.
    """
    return "ok"


def llmspell(url):
    from llmspell_agents import AgentBuilder
    from llmspell_core import EffectClass, ExecutionContext, Services
    from llmspell_tools import tool

    provider = {"provider_type": "openai", "base_url": url, "api_key": "sk-none-0123"}
    services = Services({"providers": {"local": provider}})
    services.tools.register(tool(effect_class=EffectClass.PURE)(noop))
    context = ExecutionContext(services)
    made = iter(range(10**9))

    def make(tools):
        builder = AgentBuilder(f"a{next(made)}", model=f"local/{MODEL}", system_prompt=SYSTEM,
                               memory_enabled=False, tools=["noop"] if tools else [])  # fmt: skip
        return builder.build(services)

    async def ask(agent):
        return (await agent.execute("hello", context)).text

    return make, ask


def pydantic_ai(url):
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=url, api_key="sk-none"))

    def make(tools):
        return Agent(model, system_prompt=SYSTEM, tools=[noop] if tools else [])

    async def ask(agent):
        return (await agent.run("hello")).output

    return make, ask


def openai_agents(url):
    from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool
    from openai import AsyncOpenAI

    model = OpenAIChatCompletionsModel(MODEL, AsyncOpenAI(base_url=url, api_key="sk-none"))
    wrapped = function_tool(noop)

    def make(tools):
        return Agent("a", instructions=SYSTEM, model=model, tools=[wrapped] if tools else [])

    async def ask(agent):
        return (await Runner.run(agent, "hello")).final_output

    return make, ask


def agno(url):
    from agno.agent import Agent
    from agno.models.openai import OpenAIChat

    model = OpenAIChat(id=MODEL, base_url=url, api_key="sk-none")

    def make(tools):
        return Agent(model=model, instructions=SYSTEM, tools=[noop] if tools else [])

    async def ask(agent):
        return (await agent.arun("hello")).content

    return make, ask


def agent_framework(url):
    from agent_framework import Agent
    from agent_framework.openai import OpenAIChatCompletionClient

    client = OpenAIChatCompletionClient(MODEL, base_url=url, api_key="sk-none")

    def make(tools):
        return Agent(client, SYSTEM, tools=[noop] if tools else [])

    async def ask(agent):
        return (await agent.run("hello")).text

    return make, ask


def langchain(url):
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model=MODEL, base_url=url, api_key="sk-none")

    def make(tools):
        return create_agent(model, [noop] if tools else [], system_prompt=SYSTEM)

    async def ask(agent):
        state = await agent.ainvoke({"messages": [{"role": "user", "content": "hello"}]})
        return state["messages"][-1].content

    return make, ask


ADAPTERS = {
    "llmspell": (llmspell, "llmspell-agents", "import llmspell_agents"),
    "pydantic-ai": (pydantic_ai, "pydantic-ai-slim", "from pydantic_ai import Agent"),
    "openai-agents": (openai_agents, "openai-agents", "from agents import Agent"),
    "agno": (agno, "agno", "from agno.agent import Agent"),
    "agent-framework": (
        agent_framework, "agent-framework-core", "from agent_framework import Agent"
    ),
    "langchain": (langchain, "langchain", "from langchain.agents import create_agent"),
}  # fmt: skip


async def milliseconds(ask, agent) -> float:
    for _ in range(WARM):
        assert await ask(agent) == "done"
    best = float("inf")
    for _ in range(BATCHES):
        started = time.perf_counter()
        for _ in range(RUNS):
            await ask(agent)
        best = min(best, (time.perf_counter() - started) / RUNS)
    return best * 1e3


async def times_ideal(make, ask) -> float:
    """How many times 50 ms pass until 200 agents have asked a model that takes 50 ms."""
    agents = [make(False) for _ in range(CONCURRENT)]
    best = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        answers = await asyncio.gather(*map(ask, agents))
        best = min(best, time.perf_counter() - started)
        assert set(answers) == {"done"}
    return best / DELAY


def creation(make) -> float:
    """Microseconds."""
    make(True)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(50):
            make(True)
        best = min(best, (time.perf_counter() - started) / 50)
    return best * 1e6


def start(code: str) -> float:
    """Milliseconds of a process."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - started)
    return min(times) * 1e3


async def main(name: str, address: str) -> None:
    adapter, distribution, imported = ADAPTERS[name]
    make, ask = adapter(f"{address}/v1")
    found = {"version": version(distribution), "creation_us": creation(make)}
    found["text_ms"] = await milliseconds(ask, make(False))
    found["tool_ms"] = await milliseconds(ask, make(True))
    make, ask = adapter(f"{address}/slow/v1")
    found["times_ideal"] = await times_ideal(make, ask)
    found["import_ms"] = start(imported) - start("pass")
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # some of them leave clients open that complain at the end


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
