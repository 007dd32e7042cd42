"""Other models answer when the first one cannot."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import pytest

from llmspell_core import (
    CancelSignal,
    ChatRequest,
    ConfigurationError,
    EmbeddingRequest,
    ExecutionCancelled,
    LLMSpellError,
    LLMTimeoutError,
    Message,
    NetworkError,
    Plugin,
    ProviderError,
    RateLimitError,
)
from llmspell_providers import MissingKeyError, ProviderService
from llmspell_testing import (
    LedgerDouble,
    Reply,
    ScriptedProvider,
    make_context,
    make_services,
    recorded_and_replayed,
)

REQUEST = ChatRequest("big", (Message("user", "hi"),), extra={"reasoning": "high"})
NO_RETRIES = {"max_retries": 0}


@dataclass(frozen=True)
class Given(Plugin):
    """A provider type made of providers that are there."""

    made: Any = None

    def load(self) -> Any:
        return lambda settings, services: self.made[settings.name]


def service(*scripts: ScriptedProvider, **tables: Any) -> ProviderService:
    kinds = {name: table.pop("provider_type", "given") for name, table in tables.items()}
    made = {script.name: script for script in scripts}
    plugins = [
        Given("llmspell.providers", kind, "", "t", "1", made) for kind in {"given", *kinds.values()}
    ]
    config = {
        script.name: {
            "provider_type": kinds.get(script.name, "given"),
            "base_url": "http://x",
            **NO_RETRIES,
            **tables.get(script.name, {}),
        }
        for script in scripts
    }
    return ProviderService(make_services({"providers": config}, plugins=tuple(plugins)))


@pytest.mark.parametrize(
    "error",
    [
        ProviderError("overloaded", kind="server"),
        ProviderError("no money", kind="quota"),
        NetworkError("gone"),
        RateLimitError("slow", retry_after=3600),
        LLMTimeoutError("no answer", operation="model.chat"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_next_model_answers_and_the_answer_says_so(
    error: LLMSpellError, stream: bool
) -> None:
    first, second = ScriptedProvider(error, name="one"), ScriptedProvider("fine", name="two")
    provider, model = service(first, second, one={"fallback": ["two/small"]}).resolve("one/big")
    request = ChatRequest(model, REQUEST.messages)
    response = None
    if stream:
        async for chunk in provider.stream(request, make_context()):
            response = chunk.response or response
    else:
        response = await provider.chat(request, make_context())
    assert response is not None
    assert (response.content, response.provider) == ("fine", "two")
    assert [asked.model for asked in second.requests] == ["small"]


@pytest.mark.parametrize("kind", ["auth", "invalid_request", "context_length", "content_filter"])
async def test_what_is_wrong_with_the_request_is_not_asked_of_others(kind: str) -> None:
    first = ScriptedProvider(ProviderError("no", kind=kind), name="one")
    second = ScriptedProvider(name="two")
    provider, _ = service(first, second, one={"fallback": "two/small"}).resolve("one/big")
    with pytest.raises(ProviderError):
        await provider.chat(REQUEST, make_context())
    assert second.requests == []


async def test_what_the_caller_has_seen_the_beginning_of_is_not_begun_again() -> None:
    cut = Reply(pieces=("a", "b"), error=ProviderError("cut", kind="protocol"))
    first, second = ScriptedProvider(cut, name="one"), ScriptedProvider(name="two")
    provider, _ = service(first, second, one={"fallback": ["two/small"]}).resolve("one/big")
    flow = provider.stream(REQUEST, make_context())
    assert (await anext(flow)).text == "a"
    with pytest.raises(ProviderError, match="cut"):
        async for _ in flow:
            pass
    assert second.requests == []


async def test_they_are_tried_in_order_those_of_the_caller_first() -> None:
    down = NetworkError("down")
    scripts = [ScriptedProvider(down, name=name) for name in ("one", "two", "three")]
    providers = service(*scripts, ScriptedProvider("at last", name="four"), one={
        "fallback": ["three/m", "four/m", "two/m"],
    })  # fmt: skip
    provider, _ = providers.resolve("one/big", fallback=["two/m"])
    response = await provider.chat(REQUEST, make_context())
    assert (response.content, response.provider) == ("at last", "four")
    assert [len(script.requests) for script in scripts] == [1, 1, 1]


async def test_when_all_fail_the_first_error_tells_of_the_others() -> None:
    first = ScriptedProvider(ProviderError("one is down", kind="server"), name="one")
    second = ScriptedProvider(NetworkError("two is gone"), name="two")
    provider, _ = service(first, second, one={"fallback": ["two/small"]}).resolve("one/big")
    with pytest.raises(ProviderError, match="one is down") as caught:
        await provider.chat(REQUEST, make_context())
    assert caught.value.details["fallbacks"] == {"two/small": "Network error: two is gone"}
    assert "two/small: Network error: two is gone" in (caught.value.hint or "")


async def test_a_substitute_that_is_not_set_up_is_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = ScriptedProvider(NetworkError("gone"), name="one")
    keyless = ScriptedProvider(MissingKeyError("key required", kind="auth"), name="two")
    third = ScriptedProvider("fine", name="three")
    providers = service(first, keyless, third, one={"fallback": ["two/m", "three/m"]})
    with caplog.at_level(logging.WARNING, "llmspell.providers"):
        response = await providers.resolve("one/big")[0].chat(REQUEST, make_context())
    assert response.provider == "three"
    assert [record.message for record in caplog.records] == [
        "one/big cannot answer: gone",
        "two/m cannot answer: key required",
    ]


@pytest.mark.parametrize(("kind", "extra"), [("given", {"reasoning": "high"}), ("other", {})])
async def test_fields_for_one_vendor_are_not_sent_to_another(kind: str, extra: Any) -> None:
    first = ScriptedProvider(NetworkError("gone"), name="one")
    second = ScriptedProvider("fine", name="two")
    providers = service(first, second, one={"fallback": ["two/m"]}, two={"provider_type": kind})
    await providers.resolve("one/big")[0].chat(REQUEST, make_context())
    assert second.requests[0].extra == extra


async def test_an_open_circuit_hands_over_at_once() -> None:
    first = ScriptedProvider(NetworkError("gone"), name="one")
    second = ScriptedProvider("a", "b", name="two")
    table = {"fallback": ["two/m"], "circuit_breaker": {"failure_threshold": 1}}
    provider, _ = service(first, second, one=table).resolve("one/big")
    answers = [await provider.chat(REQUEST, make_context()) for _ in range(2)]
    assert [answer.content for answer in answers] == ["a", "b"]
    assert len(first.requests) == 1


async def test_nobody_else_is_asked_for_a_cancelled_call() -> None:
    cancel = CancelSignal()
    first = ScriptedProvider(Reply("x", after=asyncio.Event()), name="one")
    second = ScriptedProvider(name="two")
    provider, _ = service(first, second, one={"fallback": ["two/m"]}).resolve("one/big")
    calling = asyncio.ensure_future(provider.chat(REQUEST, make_context(cancel=cancel)))
    await asyncio.sleep(0)
    cancel.cancel("enough")
    with pytest.raises(ExecutionCancelled):
        await calling
    assert second.requests == []


async def test_providers_that_name_each_other_do_not_go_round_in_circles() -> None:
    first = ScriptedProvider(NetworkError("one"), name="one")
    second = ScriptedProvider(NetworkError("two"), name="two")
    tables = {"one": {"fallback": ["two/m", "one/big"]}, "two": {"fallback": ["one/m"]}}
    provider, _ = service(first, second, **tables).resolve("one/big")
    with pytest.raises(NetworkError, match="one"):
        await provider.chat(REQUEST, make_context())
    assert (len(first.requests), len(second.requests)) == (1, 1)


def test_a_substitute_that_does_not_exist_is_an_error_from_the_beginning() -> None:
    providers = service(ScriptedProvider(name="one"), one={"fallback": ["nowhere/m"]})
    with pytest.raises(ConfigurationError, match="Unsupported provider 'nowhere'"):
        providers.resolve("one/big")


async def test_vectors_come_from_the_model_that_was_asked_or_from_none() -> None:
    second = ScriptedProvider(name="two")
    providers = service(ScriptedProvider(name="one"), second, one={"fallback": ["two/m"]})
    provider, _ = providers.resolve("one/e")
    with pytest.raises(ProviderError, match="not implemented for provider 'one'"):
        await provider.embed(EmbeddingRequest("e", ("x",)), make_context())


async def test_a_replay_gives_the_answer_of_the_substitute_and_asks_nobody() -> None:
    made: list[list[ScriptedProvider]] = []

    async def work(context: Any) -> tuple[str, str | None]:
        scripts = [
            ScriptedProvider(NetworkError("gone"), name="one"),
            ScriptedProvider("fine", name="two"),
        ]
        made.append(scripts)
        provider, _ = service(*scripts, one={"fallback": ["two/m"]}).resolve("one/big")
        response = await provider.chat(REQUEST, context)
        return response.content, response.provider

    ledger = LedgerDouble()
    first, second = await recorded_and_replayed(work, ledger)
    assert first == second == ("fine", "two")
    assert [[len(one.requests) for one in scripts] for scripts in made] == [[1, 1], [0, 0]]
    assert [e.intent.kind for e in ledger.effects("run")].count("model.chat") == 1
