"""A provider that keeps failing is left alone for a while."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmspell_core import (
    ChatRequest,
    LLMSpellError,
    LLMTimeoutError,
    Message,
    NetworkError,
    Plugin,
    ProviderError,
    RateLimitError,
)
from llmspell_providers import CircuitOpenError, ProviderService
from llmspell_providers._breaker import Breaker, BreakerPolicy, Breaking
from llmspell_testing import (
    LoopbackServer,
    Reply,
    ScriptedProvider,
    http_response,
    make_context,
    make_services,
)

REQUEST = ChatRequest("m", (Message("user", "hi"),))
DOWN = NetworkError("down")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def breaking(
    *script: Any, clock: Clock | None = None, **policy: Any
) -> tuple[Breaking, ScriptedProvider]:
    inner = ScriptedProvider(*script)
    breaker = Breaker("acme", BreakerPolicy(**policy), clock=clock or Clock())
    return Breaking(inner, breaker), inner


async def outcome(provider: Breaking) -> str:
    try:
        return (await provider.chat(REQUEST, make_context())).content
    except LLMSpellError as error:
        return error.code


async def test_after_so_many_failures_in_a_row_calls_fail_at_once_and_say_until_when() -> None:
    clock = Clock()
    provider, inner = breaking(DOWN, DOWN, DOWN, clock=clock, failures=3, seconds=30)
    for _ in range(3):
        await outcome(provider)
    assert provider.breaker.state == "open"
    clock.now += 7
    with pytest.raises(
        CircuitOpenError, match=r"failed 3 times in a row.*again in 23.0s"
    ) as caught:
        await provider.chat(REQUEST, make_context())
    assert caught.value.retry_after == 23.0
    assert caught.value.is_retryable()
    assert "The last failure: down" in (caught.value.hint or "")
    assert len(inner.requests) == 3


async def test_a_success_in_between_begins_the_count_anew() -> None:
    provider, _ = breaking(DOWN, DOWN, "ok", DOWN, DOWN, failures=3)
    assert [await outcome(provider) for _ in range(5)] == [
        "NETWORK_ERROR",
        "NETWORK_ERROR",
        "ok",
        "NETWORK_ERROR",
        "NETWORK_ERROR",
    ]
    assert provider.breaker.state == "closed"


@pytest.mark.parametrize(
    "error",
    [
        ProviderError("bad request", kind="invalid_request"),
        ProviderError("bad key", kind="auth"),
        RateLimitError("slow"),
        LLMTimeoutError("own deadline", operation="execution"),
    ],
)
async def test_what_is_no_fault_of_the_provider_does_not_count(error: LLMSpellError) -> None:
    provider, _ = breaking(error, error, error, failures=2)
    for _ in range(3):
        await outcome(provider)
    assert provider.breaker.state == "closed"


async def test_after_the_pause_probes_decide_whether_it_is_back() -> None:
    clock = Clock()
    provider, inner = breaking(
        DOWN, DOWN, "one", DOWN, "two", "three", "four", clock=clock, failures=2, successes=2,
        seconds=30,
    )  # fmt: skip
    states = []

    async def step(seconds: float = 0) -> None:
        clock.now += seconds
        states.append((await outcome(provider), provider.breaker.state))

    await step()
    await step()
    await step(29)
    await step(1)
    await step()
    await step(29)
    await step(1)
    await step()
    await step()
    assert states == [
        ("NETWORK_ERROR", "closed"),
        ("NETWORK_ERROR", "open"),
        ("CIRCUIT_OPEN", "open"),
        ("one", "half-open"),
        ("NETWORK_ERROR", "open"),
        ("CIRCUIT_OPEN", "open"),
        ("two", "half-open"),
        ("three", "closed"),
        ("four", "closed"),
    ]
    assert inner.remaining == 0


async def test_only_a_few_probes_are_let_through_and_a_cancelled_one_frees_its_place() -> None:
    clock = Clock()
    never = asyncio.Event()
    waiting = [Reply("x", after=never)] * 2
    provider, _ = breaking(DOWN, *waiting, "back", clock=clock, failures=1, successes=1, probes=2)
    await outcome(provider)
    clock.now += 31
    probes = [asyncio.ensure_future(outcome(provider)) for _ in range(2)]
    await asyncio.sleep(0)
    assert await outcome(provider) == "CIRCUIT_OPEN"
    for probe in probes:
        probe.cancel()
    await asyncio.gather(*probes, return_exceptions=True)
    assert provider.breaker.state == "half-open"
    assert await outcome(provider) == "back"
    assert provider.breaker.state == "closed"


async def test_a_call_from_before_the_pause_does_not_close_the_circuit() -> None:
    clock = Clock()
    slow = asyncio.Event()
    provider, _ = breaking(Reply("late", after=slow), DOWN, clock=clock, failures=1, successes=1)
    early = asyncio.ensure_future(outcome(provider))
    await asyncio.sleep(0)
    await outcome(provider)
    slow.set()
    assert await early == "late"
    assert provider.breaker.state == "open"


async def test_streams_count_by_how_they_end() -> None:
    broken = Reply(pieces=("a", "b"), error=ProviderError("cut", kind="protocol"))
    provider, _ = breaking(broken, Reply(pieces=("a", "b")), broken, failures=2)

    async def read(most: int) -> None:
        flow = provider.stream(REQUEST, make_context())
        for _ in range(most):
            await anext(flow)
        await flow.aclose()  # type: ignore[attr-defined]

    with pytest.raises(ProviderError):
        await read(3)
    await read(1)
    with pytest.raises(ProviderError):
        await read(3)
    assert provider.breaker.state == "closed"


@pytest.mark.parametrize("jump", [-5000.0, 5000.0])
async def test_a_clock_that_jumps_does_not_keep_it_shut(jump: float) -> None:
    clock = Clock()
    provider, _ = breaking(DOWN, "back", clock=clock, failures=1, successes=1, seconds=30)
    await outcome(provider)
    clock.now += jump
    assert (provider.breaker.state == "half-open") is (jump > 0)
    clock.now += 30
    assert await outcome(provider) == "back"


async def test_it_can_be_switched_off() -> None:
    provider, _ = breaking(*[DOWN] * 9, failures=0)
    for _ in range(9):
        await outcome(provider)
    assert provider.breaker.state == "closed"


async def test_calls_fail_at_once_after_the_retries_of_others_and_the_state_can_be_seen() -> None:
    plugin = Plugin("llmspell.providers", "openai", "llmspell_providers:OpenAIProvider", "p", "1")
    refusal = http_response('{"error": {"message": "out of order"}}', status=503)
    async with LoopbackServer(lambda _: [refusal]) as server:
        table = {
            "provider_type": "openai",
            "base_url": f"{server.url}/v1",
            "retry": {"max_retries": 1, "initial_delay_ms": 0, "max_delay_ms": 0},
            "circuit_breaker": {"failure_threshold": 2, "timeout_seconds": 60},
        }
        services = make_services({"providers": {"acme": table}}, plugins=(plugin,))
        providers = ProviderService(services)
        provider, _ = providers.resolve("acme/m")

        def circuit() -> str:
            (info,) = (info for info in providers.list() if info.name == "acme")
            return info.circuit

        seen = []
        for _ in range(4):
            with pytest.raises(ProviderError) as caught:
                await provider.chat(REQUEST, make_context(services))
            seen.append((caught.value.code, circuit()))
        await providers.aclose()
    assert seen == [
        ("PROVIDER_ERROR", "closed"),
        ("PROVIDER_ERROR", "open"),
        ("CIRCUIT_OPEN", "open"),
        ("CIRCUIT_OPEN", "open"),
    ]
    assert len(server.requests) == 4
