"""What an agent remembers, and that it never remembers half of something."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmspell_agents import AgentBuilder, AgentService, LLMAgent
from llmspell_core import Plugin, ValidationError
from llmspell_testing import ProvidersDouble, Reply, ScriptedProvider, make_context, make_services

KINDS = [Plugin("llmspell.agents", "llm", "llmspell_agents:LLMAgent", "a", "1")]


def agent_of(provider: ScriptedProvider, **options: Any) -> tuple[LLMAgent, Any]:
    services = make_services(plugins=KINDS, providers=ProvidersDouble(provider))
    services.provide("agents", AgentService(services))
    agent = AgentBuilder("ada", model="scripted/m", system_prompt="S", **options).build(services)
    assert isinstance(agent, LLMAgent)
    return agent, make_context(services)


def sent(provider: ScriptedProvider) -> list[str]:
    return [message.content for message in provider.requests[-1].messages]


async def test_earlier_turns_are_sent_again() -> None:
    provider = ScriptedProvider("one", "two")
    agent, context = agent_of(provider)
    await agent.execute("first", context)
    await agent.execute("second", context)
    assert sent(provider) == ["S", "first", "one", "second"]
    history = [dict(message) for message in agent.conversation]
    times = [message.pop("timestamp") for message in history]
    assert times == sorted(times)
    assert history == [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "second"},
        {"role": "assistant", "content": "two"},
    ]


async def test_forgetting_keeps_the_configuration() -> None:
    provider = ScriptedProvider("one", "two")
    agent, context = agent_of(provider)
    await agent.execute("first", context)
    agent.clear_conversation()
    assert list(agent.conversation) == []
    await agent.execute("second", context)
    assert sent(provider) == ["S", "second"]


async def test_without_memory_nothing_is_kept() -> None:
    provider = ScriptedProvider("one", "two")
    agent, context = agent_of(provider, memory_enabled=False)
    await agent.execute("first", context)
    await agent.execute("second", context)
    assert sent(provider) == ["S", "second"]
    assert list(agent.conversation) == []


async def test_only_so_many_messages_are_kept_by_whole_turns() -> None:
    provider = ScriptedProvider("1", "2", "3")
    agent, context = agent_of(provider, max_conversation_length=3)
    for text in ("a", "b", "c"):
        await agent.execute(text, context)
    assert sent(provider) == ["S", "b", "2", "c"]


async def test_a_budget_of_tokens_sends_the_last_turns_that_fit() -> None:
    provider = ScriptedProvider("x" * 40, "y" * 40, "z")
    agent, context = agent_of(provider, context_window=25)
    await agent.execute("a" * 20, context)
    await agent.execute("b" * 20, context)
    await agent.execute("c" * 20, context)
    assert sent(provider) == ["S", "b" * 20, "y" * 40, "c" * 20]
    with pytest.raises(ValidationError, match="Input does not fit: about 100 tokens"):
        await agent.execute("d" * 400, context)


async def test_two_executions_at_once_do_not_mix_their_turns() -> None:
    gate = asyncio.Event()
    provider = ScriptedProvider(Reply("slow", after=gate), "quick")
    agent, context = agent_of(provider)
    slow = asyncio.ensure_future(agent.execute("first", context))
    await asyncio.sleep(0)
    await agent.execute("second", context)
    gate.set()
    await slow
    said = [message["content"] for message in agent.conversation]
    assert said == ["second", "quick", "first", "slow"]


async def test_an_empty_system_prompt_sends_none() -> None:
    provider = ScriptedProvider("x")
    agent, context = agent_of(provider)
    agent.config = AgentBuilder("a", system_prompt="").config
    await agent.execute("hi", context)
    assert sent(provider) == ["hi"]
