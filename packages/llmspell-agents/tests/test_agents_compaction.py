"""Conversations that grow longer than the model's room."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from llmspell_agents import AgentBuilder, AgentService, Memory
from llmspell_core import (
    ChatRequest,
    ChatResponse,
    Codec,
    EffectClass,
    ExecutionContext,
    Message,
    Plugin,
    Provider,
    ProviderError,
    Usage,
    ValidationError,
)
from llmspell_testing import (
    LedgerDouble,
    ProvidersDouble,
    Reply,
    ScriptedProvider,
    make_context,
    make_services,
    recorded_and_replayed,
)

Make = Callable[..., Any]
TOO_LONG = ProviderError("maximum context length is 100 tokens", kind="context_length")


class Small(ScriptedProvider):
    """A model whose window is known."""

    def __init__(self, *script: Any, tokens: int) -> None:
        super().__init__(*script)
        self._tokens = tokens

    def window(self, model: str) -> int | None:
        return self._tokens


def sent(provider: ScriptedProvider, request: int = -1) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in provider.requests[request].messages]


async def test_the_window_of_the_model_bounds_what_is_sent(make_agent: Make) -> None:
    provider = Small("x" * 200, "y" * 200, "z", tokens=180)
    agent, _, services = make_agent(provider=provider, max_tokens=20)
    context = make_context(services)
    for text in ("a" * 200, "b" * 200, "c" * 200):
        await agent.execute(text, context)
    assert sent(provider) == [
        ("system", "Be ada."),
        ("user", "b" * 200),
        ("assistant", "y" * 200),
        ("user", "c" * 200),
    ]
    with pytest.raises(ValidationError) as caught:
        await agent.execute("d" * 1000, context)
    assert caught.value.code == "CONTEXT_LENGTH"
    assert "about 251 tokens, the context window of agent 'ada' is 160" in caught.value.message
    assert "providers.NAME.context_window" in (caught.value.hint or "")
    assert len(provider.requests) == 3


async def test_earlier_turns_are_summed_up_by_the_model(make_agent: Make) -> None:
    provider = Small(
        "x" * 200,
        "y" * 200,
        Reply("They spoke of a and x.", usage=Usage(40, 8)),
        Reply("z", usage=Usage(10, 5)),
        tokens=320,
    )
    agent, _, services = make_agent(
        provider=provider, max_tokens=20, memory={"strategy": "summary", "keep": 1}
    )
    context = make_context(services)
    for text in ("a" * 400, "b" * 200, "c" * 400):
        output = await agent.execute(text, context)
    instruction, transcript = provider.requests[2].messages
    assert instruction.role == "system"
    assert transcript.content == f"The conversation:\nUser: {'a' * 400}\n\nAssistant: {'x' * 200}"
    assert provider.requests[2].tools == ()
    assert sent(provider) == [
        ("system", "Be ada.\n\nSummary of the conversation so far:\nThey spoke of a and x."),
        ("user", "b" * 200),
        ("assistant", "y" * 200),
        ("user", "c" * 400),
    ]
    assert output.usage == Usage(50, 13)
    kept = [(m["role"], m["content"][:4]) for m in agent.conversation]
    assert kept == [
        ("system", "They"),
        ("user", "bbbb"),
        ("assistant", "yyyy"),
        ("user", "cccc"),
        ("assistant", "z"),
    ]


async def test_a_second_summary_takes_the_first_in(make_agent: Make) -> None:
    provider = ScriptedProvider("1", "2", "first", "3", "second", "4")
    agent, _, services = make_agent(
        provider=provider, memory=Memory("summary", keep=1), max_conversation_length=2
    )
    context = make_context(services)
    for text in ("a", "b", "c", "d"):
        await agent.execute(text, context)
    assert provider.requests[4].messages[1].content == (
        "The summary so far:\nfirst\n\nThe conversation:\nUser: b\n\nAssistant: 2"
    )
    assert sent(provider)[0][1].endswith("so far:\nsecond")
    assert [content for _, content in sent(provider)[1:]] == ["c", "3", "d"]


async def test_a_transcript_longer_than_the_window_is_summed_up_in_pieces(
    make_agent: Make,
) -> None:
    def speak(request: ChatRequest) -> str:
        return "short" if request.messages[0].content.startswith("You sum up") else "x" * 900

    provider = Small(*[speak] * 20, tokens=1000)
    agent, _, services = make_agent(
        provider=provider, max_tokens=200, memory=Memory("summary", threshold=1, keep=1)
    )
    context = make_context(services)
    for letter in "abcd":
        await agent.execute(letter * 700, context)
    asked = [r.messages[1].content for r in provider.requests if speak(r) == "short"]
    assert len(asked) > 1
    assert [q.startswith("The summary so far:\nshort\n\n") for q in asked] == [
        number > 0 for number in range(len(asked))
    ]
    assert all(len(question) < 4 * 800 for question in asked)
    # Nothing of what was summed up was left out on the way.
    assert "a" * 700 in asked[0]
    assert sum(question.count("x" * 900) for question in asked) == 2


async def test_a_transcript_that_is_too_long_after_all_goes_in_smaller_pieces(
    make_agent: Make,
) -> None:
    def speak(request: ChatRequest) -> Any:
        return "short" if request.messages[0].content.startswith("You sum up") else "x" * 9_000

    def refuse(request: ChatRequest) -> Any:
        assert len(request.messages[1].content) > 20_000
        return Reply(error=ProviderError("too long", kind="context_length"))

    provider = ScriptedProvider(*[speak] * 4, refuse, *[speak] * 20)
    agent, _, services = make_agent(
        provider=provider, memory=Memory("summary", keep=1), max_conversation_length=6
    )
    context = make_context(services)
    for letter in "abcde":
        await agent.execute(letter * 9_000, context)
    asked = [r for r in provider.requests if r.messages[0].content.startswith("You sum up")]
    assert len(asked) > 2
    assert all(len(request.messages[1].content) < 17_000 for request in asked[1:])
    assert agent.conversation[0]["content"] == "short"


async def test_an_empty_summary_loses_nothing(make_agent: Make) -> None:
    provider = ScriptedProvider("1", "2", "", "3")
    agent, _, services = make_agent(
        provider=provider, memory=Memory("summary", keep=1), max_conversation_length=2
    )
    context = make_context(services)
    for text in ("a", "b", "c"):
        await agent.execute(text, context)
    assert [m["content"] for m in agent.conversation] == ["a", "1", "b", "2", "c", "3"]


async def test_a_provider_that_finds_it_too_long_is_asked_once_more_with_less(
    make_agent: Make,
) -> None:
    provider = ScriptedProvider("1", "2", TOO_LONG, "short", "3")
    agent, _, services = make_agent(provider=provider, memory=Memory("summary", keep=1))
    context = make_context(services)
    for text in ("a" * 400, "b" * 400):
        await agent.execute(text, context)
    assert (await agent.execute("c" * 400, context)).text == "3"
    assert len(provider.requests[2].messages) == 6
    assert sent(provider)[0][1].endswith("so far:\nshort")
    assert agent.conversation[0]["content"] == "short"


async def test_it_is_asked_only_once_more(make_agent: Make) -> None:
    provider = ScriptedProvider("1", TOO_LONG, "short", TOO_LONG)
    agent, _, services = make_agent(provider=provider, memory=Memory("summary", keep=1))
    context = make_context(services)
    await agent.execute("a" * 400, context)
    with pytest.raises(ProviderError, match="maximum context length"):
        await agent.execute("b" * 40, context)


@pytest.mark.parametrize("strategy", ["window", "summary"])
async def test_what_cannot_be_shortened_stays_the_providers_error(
    make_agent: Make, strategy: Any
) -> None:
    error = ProviderError("maximum context length is 100 tokens", kind="context_length")
    provider = ScriptedProvider(error)
    agent, _, services = make_agent(provider=provider, memory=strategy)
    with pytest.raises(ProviderError) as caught:
        await agent.execute("a" * 400, make_context(services))
    assert caught.value is error
    advised = 'memory = "summary"' in (error.hint or "")
    assert advised is (strategy == "window")


class Recorded(Provider):
    """As the provider service records calls."""

    name = "scripted"

    def __init__(self, inner: ScriptedProvider) -> None:
        self._inner = inner

    def stream(self, request: Any, context: ExecutionContext) -> Any:
        return self._inner.stream(request, context)

    async def chat(self, request: Any, context: ExecutionContext) -> ChatResponse:
        return await context.effect(
            "model.chat",
            request,
            lambda inner: self._inner.chat(request, inner),
            effect_class=EffectClass.IDEMPOTENT,
            codec=Codec(ChatResponse.to_dict, ChatResponse.from_dict),
        )


async def test_a_summary_is_in_the_ledger_and_stands_in_a_replay() -> None:
    ledger = LedgerDouble()
    providers = [ScriptedProvider("1", "2", "short", "3"), ScriptedProvider()]

    async def work(context: ExecutionContext) -> Any:
        services = make_services(
            plugins=[Plugin("llmspell.agents", "llm", "llmspell_agents:LLMAgent", "a", "1")],
            providers=ProvidersDouble(Recorded(providers.pop(0))),
        )
        services.provide("agents", AgentService(services))
        inner = ExecutionContext(services, effects=context.effects)
        builder = AgentBuilder("ada", model="scripted/m", max_conversation_length=2)
        agent = builder.memory("summary", keep=1).build(services, context=inner)
        for text in ("a", "b", "c"):
            await agent.execute(text, inner)
        return agent.conversation

    first, second = await recorded_and_replayed(work, ledger)
    assert first == second
    spans = [e.intent for e in ledger.effects("run") if e.intent.kind == "agent.compaction"]
    assert [json.loads(span.request) for span in spans] == ["ada"]


async def test_a_conversation_goes_on_in_another_agent(make_agent: Make) -> None:
    first, _, services = make_agent("1", "2", "short", "3", memory=Memory("summary", keep=1),
                                    max_conversation_length=2)  # fmt: skip
    context = make_context(services)
    for text in ("a", "b", "c"):
        await first.execute(text, context)
    second, provider, services = make_agent("4", memory=Memory("summary"))
    second.restore_conversation(first.conversation)
    await second.execute("d", make_context(services))
    assert sent(provider)[0][1].endswith("so far:\nshort")
    assert [content for _, content in sent(provider)[1:]] == ["b", "2", "c", "3", "d"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("forever", "memory must be 'window' or 'summary'"),
        (5, "memory must be a word or a table, not int"),
        ({"strategy": "summary", "keep": 0}, "memory.keep must be at least 1"),
        ({"keep": "all"}, "memory.keep does not fit"),
        ({"threshold": 2}, "memory.threshold must be above 0 and at most 1"),
        ({"treshold": 0.5}, "memory.treshold does not fit"),
    ],
)
def test_a_wrong_memory_is_refused(value: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        AgentBuilder("ada", memory=value)


async def test_media_go_with_the_question_and_stay_in_the_conversation(make_agent: Make) -> None:
    from llmspell_core import AgentInput, Media

    image = Media("image/png", data=b"\x89PNG")
    agent, provider, services = make_agent("a cat", "still a cat")
    context = make_context(services)
    await agent.execute(AgentInput("", media=(image,)), context)
    await agent.execute("sure?", context)
    assert provider.requests[0].messages[1] == Message("user", "", media=(image,))
    assert provider.requests[1].messages[1].media == (image,)
    assert agent.conversation[0]["media"] == [{"media_type": "image/png", "base64": "iVBORw=="}]
