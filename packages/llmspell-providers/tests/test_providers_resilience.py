"""What the configuration says of limits, pauses and waits, and what comes of it on the wire."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from llmspell_core import (
    ChatRequest,
    ConfigurationError,
    LLMTimeoutError,
    Message,
    Plugin,
    ProviderSettings,
)
from llmspell_providers import ProviderService
from llmspell_providers._breaker import BreakerPolicy
from llmspell_providers._http import Waits
from llmspell_providers._pacing import RateLimit
from llmspell_providers._resilience import Resilience, take_resilience, waits
from llmspell_testing import (
    LoopbackServer,
    http_chunk,
    http_head,
    make_context,
    make_services,
)


@pytest.mark.parametrize(
    ("table", "limit"),
    [
        ({}, RateLimit()),
        ({"rate_limit": 100}, RateLimit(100)),
        ({"rate_limit": {}}, RateLimit(60)),
        ({"rate_limit": {"requests_per_minute": 7}}, RateLimit(7)),
        ({"rate_limit": {"tokens_per_minute": 9000}}, RateLimit(None, 9000)),
        ({"rate_limit": {"auto_retry": False}}, RateLimit(60, None, False)),
        ({"max_concurrent_requests": 4}, RateLimit(max_concurrent_requests=4)),
        (
            {"rate_limit": 5, "max_concurrent_requests": 4},
            RateLimit(5, max_concurrent_requests=4),
        ),
    ],
)
def test_rate_limits_are_read_in_all_their_forms(table: dict[str, Any], limit: RateLimit) -> None:
    assert take_resilience("p", table).rate_limit == limit


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        (True, BreakerPolicy()),
        (False, BreakerPolicy(failures=0)),
        ({}, BreakerPolicy()),
        ({"enabled": False}, BreakerPolicy(failures=0)),
        (
            {
                "failure_threshold": 9,
                "success_threshold": 8,
                "timeout_seconds": 7.5,
                "half_open_max_requests": 6,
            },
            BreakerPolicy(9, 8, 7.5, 6),
        ),
    ],
)
def test_breakers_are_read_in_all_their_forms(value: Any, policy: BreakerPolicy) -> None:
    assert take_resilience("p", {"circuit_breaker": value}).breaker == policy


def test_what_is_understood_is_taken_and_the_rest_left() -> None:
    table = {"rate_limit": 5, "fallback": "a/b", "other": 1, "timeouts": {"total": 5}}
    assert take_resilience("p", table) == Resilience(RateLimit(5), fallback=("a/b",))
    assert table == {"other": 1, "timeouts": {"total": 5}}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"rate_limit": "60"}, "'providers.p.rate_limit' must be a table, not str"),
        ({"rate_limit": 0}, "'providers.p.rate_limit' cannot be zero"),
        (
            {"rate_limit": {"requests_per_minute": 0}},
            "'providers.p.rate_limit.requests_per_minute' cannot be zero",
        ),
        ({"rate_limit": {"requests_per_minute": -1}}, "must be above 0"),
        ({"rate_limit": {"requests_per_minute": 1.5}}, "must be a whole number"),
        ({"rate_limit": {"requests_per_minuet": 1}}, "unknown key 'providers.p.rate_limit.request"),
        ({"rate_limit": {"auto_retry": 1}}, "'providers.p.rate_limit.auto_retry' must be true or"),
        ({"max_concurrent_requests": 0}, "'providers.p.max_concurrent_requests' cannot be zero"),
        ({"circuit_breaker": 3}, "'providers.p.circuit_breaker' must be a table"),
        (
            {"circuit_breaker": {"failures": 3}},
            "unknown key 'providers.p.circuit_breaker.failures'",
        ),
        ({"fallback": 3}, "'providers.p.fallback' must be a list of models"),
        ({"fallback": ["a", 3]}, "'providers.p.fallback' must be a list of texts"),
        ({"timeouts": 30}, "'providers.p.timeouts' must be a table"),
        ({"timeouts": {"first": 3}}, "unknown key 'providers.p.timeouts.first'"),
        ({"timeouts": {"total": True}}, "'providers.p.timeouts.total' must be a number"),
    ],
)
def test_what_does_not_fit_is_named(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        take_resilience("p", table)


def test_a_mistyped_key_is_answered_with_the_right_one() -> None:
    with pytest.raises(ConfigurationError) as caught:
        take_resilience("p", {"timeouts": {"frist_token": 3}})
    assert caught.value.hint == "Did you mean 'first_token'?"


def settings(timeout: float = 30.0, **timeouts: float) -> ProviderSettings:
    options = {"timeouts": timeouts} if timeouts else {}
    return ProviderSettings("p", "openai", timeout_seconds=timeout, options=options)


@pytest.mark.parametrize(
    ("given", "asked", "stream", "expected"),
    [
        (settings(), None, False, Waits(10.0, 30.0, 30.0)),
        (settings(5.0), None, False, Waits(5.0, 5.0, 5.0)),
        (settings(), 3.0, False, Waits(3.0, 3.0, 3.0)),
        (settings(total=90.0), None, False, Waits(10.0, 90.0, 90.0)),
        (settings(), None, True, Waits(10.0, 30.0, None, 30.0)),
        (settings(), 90.0, True, Waits(10.0, 30.0, 90.0, 30.0)),
        (
            settings(connect=1.0, first_token=60.0, between_tokens=5.0, total=300.0),
            None,
            True,
            Waits(1.0, 5.0, 300.0, 60.0),
        ),
    ],
)
def test_each_wait_has_its_own_end(
    given: ProviderSettings, asked: float | None, stream: bool, expected: Waits
) -> None:
    assert waits(given, asked, stream=stream) == expected


# -- on the wire -----------------------------------------------------------------------------------

OPENAI = Plugin("llmspell.providers", "openai", "llmspell_providers:OpenAIProvider", "p", "1")


def event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}}
    return http_chunk(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())


HEAD = http_head(200, {"content-type": "text/event-stream"}, chunked=True)


async def pieces(table: dict[str, Any], *answer: Any) -> tuple[list[str], Exception | None]:
    """What a stream gave before it ended, and how it ended."""
    seen: list[str] = []
    async with LoopbackServer() as server:
        server.answer(*answer)
        config = {"provider_type": "openai", "base_url": f"{server.url}/v1", "max_retries": 0}
        services = make_services({"providers": {"acme": {**config, **table}}}, plugins=(OPENAI,))
        providers = ProviderService(services)
        provider, model = providers.resolve("acme/m")
        request = ChatRequest(model, (Message("user", "hi"),))
        error = None
        try:
            async for chunk in provider.stream(request, make_context(services)):
                seen.append(chunk.text)  # noqa: PERF401 - what came before the error counts
        except LLMTimeoutError as caught:
            error = caught
            gone = server.exchanges[0].disconnected
            await asyncio.wait_for(asyncio.ensure_future(gone.wait()), 10)
        await providers.aclose()
    return seen, error


async def test_a_first_token_that_does_not_come_ends_the_wait_and_the_connection() -> None:
    table = {"timeouts": {"first_token": 0.2, "between_tokens": 60}}
    seen, error = await pieces(table, HEAD, asyncio.Event())
    assert seen == []
    assert str(error).endswith("did not continue its answer within 0.2s")


async def test_an_answer_that_never_begins_counts_as_a_first_token_that_does_not_come() -> None:
    seen, error = await pieces({"timeouts": {"first_token": 0.2}}, asyncio.Event())
    assert seen == []
    assert str(error).endswith("did not answer within 0.2s")


async def test_a_silence_between_tokens_has_a_patience_of_its_own() -> None:
    table = {"timeouts": {"first_token": 60, "between_tokens": 0.2}}
    seen, error = await pieces(table, HEAD, 0.5, event("a"), asyncio.Event())
    assert seen == ["a"]
    assert str(error).endswith("did not continue its answer within 0.2s")


async def test_a_stream_that_goes_on_forever_ends_with_its_total() -> None:
    table = {"timeouts": {"total": 0.5, "between_tokens": 60}}
    started = time.monotonic()
    seen, error = await pieces(table, HEAD, *[event("a"), 0.1] * 500)
    assert 0 < len(seen) < 50
    assert str(error).endswith("did not complete its answer within 0.5s")
    assert time.monotonic() - started < 30
