"""Calls begin when the limits of a provider have room for them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from llmspell_core import (
    CancelSignal,
    ChatRequest,
    Deadline,
    ExecutionCancelled,
    Message,
    Plugin,
    RateLimitError,
    Usage,
)
from llmspell_providers import ProviderService
from llmspell_providers._ending import Ending
from llmspell_providers._paced import Paced
from llmspell_providers._pacing import Need, Pace, RateLimit
from llmspell_providers._told_limits import Told, read_limits
from llmspell_testing import (
    HttpRequest,
    LoopbackServer,
    Reply,
    ScriptedProvider,
    http_response,
    make_context,
    make_services,
)

REQUEST = ChatRequest("m", (Message("user", "hi"),), max_tokens=100)


class Clock:
    """Stands still but when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.naps.append(round(seconds, 3))
        self.now += seconds


def pace(clock: Clock, limit: RateLimit | None = None) -> Pace:
    return Pace("acme", limit, clock=clock, sleep=clock.sleep, date=lambda: 1_700_000_000.0)


async def call(
    paced: Pace, model: str = "m", *, tokens: int = 100, took: int | None = None
) -> None:
    request = ChatRequest(model, (Message("user", ""),), max_tokens=tokens - 4)
    with await paced.turn(model, Need(request), make_context()) as turn:
        if took is not None:
            turn.took(Usage(took, 0))


async def test_no_minute_sees_more_requests_than_are_configured() -> None:
    clock = Clock()
    paced = pace(clock, RateLimit(requests_per_minute=3))
    begun: list[float] = []
    for _ in range(10):
        await call(paced)
        begun.append(clock.now - 1000)
    for first, fourth in zip(begun, begun[3:], strict=False):
        assert fourth - first >= 60
    assert begun[-1] == pytest.approx(3 * 60.3, abs=0.01)


async def test_a_call_of_which_nothing_is_heard_counts_as_arriving_late() -> None:
    clock = Clock()
    paced = pace(clock, RateLimit(requests_per_minute=2))
    await call(paced)
    with await paced.turn("m", Need(REQUEST), make_context()):
        clock.now += 59
        await call(paced)
        await call(paced)
    # The second one left with the first, and may have arrived up to two seconds later.
    assert clock.naps == [1.3, 2.0]


async def test_tokens_are_reserved_by_estimate_and_corrected_by_what_was_used() -> None:
    clock = Clock()
    paced = pace(clock, RateLimit(tokens_per_minute=1000))
    await call(paced, tokens=600, took=100)
    await call(paced, tokens=600, took=900)
    assert clock.naps == []
    await call(paced, tokens=300, took=300)
    assert clock.naps == [60.3]


async def test_a_call_that_failed_gives_back_what_it_would_have_been_answered() -> None:
    clock = Clock()
    paced = pace(clock, RateLimit(tokens_per_minute=1000))
    await call(paced, tokens=900)
    await call(paced, tokens=900)
    assert clock.naps == []


async def test_a_call_larger_than_the_limit_waits_until_it_is_alone() -> None:
    clock = Clock()
    paced = pace(clock, RateLimit(tokens_per_minute=1000))
    await call(paced, tokens=10, took=10)
    await call(paced, tokens=5000, took=5000)
    assert clock.naps == [60.3]


async def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    clock = Clock()
    paced = pace(clock, RateLimit(requests_per_minute=1))
    order: list[int] = []

    async def one(number: int) -> None:
        await call(paced)
        order.append(number)

    await asyncio.gather(*(one(number) for number in range(5)))
    assert order == [0, 1, 2, 3, 4]


async def test_whoever_gives_up_waiting_takes_nothing_and_keeps_nobody_waiting() -> None:
    clock = Clock()
    held = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await held.wait()
        await clock.sleep(seconds)

    paced = Pace("acme", RateLimit(requests_per_minute=1), clock=clock, sleep=sleep)
    await call(paced)
    cancel = CancelSignal()
    provider = Ending(Paced(ScriptedProvider("a", "b"), paced))
    gone = asyncio.ensure_future(provider.chat(REQUEST, make_context(cancel=cancel)))
    next_one = asyncio.ensure_future(provider.chat(REQUEST, make_context()))
    await asyncio.sleep(0)
    cancel.cancel("enough")
    cancel.cancel("twice")
    with pytest.raises(ExecutionCancelled, match="enough"):
        await gone
    held.set()
    assert (await next_one).content == "a"
    assert clock.naps == [60.3]


async def test_a_turn_that_comes_after_the_deadline_is_not_waited_for() -> None:
    clock = Clock()
    paced = pace(clock, RateLimit(requests_per_minute=1))
    await call(paced)
    with pytest.raises(
        RateLimitError, match=r"acme: its rate limit \(1 requests a minute\)"
    ) as caught:
        await paced.turn("m", Need(REQUEST), make_context(deadline=Deadline(5)))
    assert caught.value.retry_after == pytest.approx(60.3)
    assert clock.naps == []


async def test_without_auto_retry_a_full_minute_is_an_error_at_once() -> None:
    clock = Clock()
    paced = pace(clock, RateLimit(requests_per_minute=1, auto_retry=False))
    await call(paced)
    with pytest.raises(RateLimitError) as caught:
        await call(paced)
    assert (clock.naps, caught.value.retry_after) == ([], pytest.approx(60.3))
    clock.now += 61
    await call(paced)


async def test_no_more_calls_at_a_time_than_are_configured() -> None:
    running, most = 0, 0
    release = asyncio.Event()

    class Counting(ScriptedProvider):
        async def chat(self, request: Any, context: Any) -> Any:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await release.wait()
            running -= 1
            return await super().chat(request, context)

    limit = RateLimit(max_concurrent_requests=2)
    provider = Paced(Counting(*["x"] * 5), Pace("acme", limit))
    calls = [asyncio.ensure_future(provider.chat(REQUEST, make_context())) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert running == 2
    calls[2].cancel()
    release.set()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert most == 2
    assert [isinstance(one, asyncio.CancelledError) for one in done] == [False] * 2 + [True] + [
        False
    ] * 2


# -- what vendors tell -----------------------------------------------------------------------------

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        (
            {
                "x-ratelimit-limit-requests": "60",
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-limit-tokens": "150000",
                "x-ratelimit-remaining-tokens": "149984",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            [
                Told("requests", 59, 60, 1.0, refills=True),
                Told("tokens", 149984, 150000, 360.0, refills=True),
            ],
        ),
        (
            {
                "x-ratelimit-limit-requests": "14400",
                "x-ratelimit-remaining-requests": "14370",
                "x-ratelimit-reset-requests": "2m59.56s",
                "x-ratelimit-remaining-tokens": "17",
                "x-ratelimit-reset-tokens": "120ms",
            },
            [
                Told("requests", 14370, 14400, 179.56, refills=True),
                Told("tokens", 17, None, 0.12),
            ],
        ),
        (
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2023-11-14T22:13:32Z",
                "anthropic-ratelimit-input-tokens-limit": "40000",
                "anthropic-ratelimit-input-tokens-remaining": "39000",
                "anthropic-ratelimit-input-tokens-reset": "2023-11-14T22:12:00Z",
            },
            [
                Told("requests", 0, 50, 12.0, refills=True),
                Told("input_tokens", 39000, 40000, 0.0, refills=True),
            ],
        ),
        (
            {
                "x-ratelimit-limit-req-minute": "720",
                "x-ratelimit-remaining-req-minute": "717",
                "x-ratelimit-limit-tokens-minute": "5000000",
                "x-ratelimit-remaining-tokens-minute": "4999911",
            },
            [Told("requests", 717, 720, 60.0), Told("tokens", 4999911, 5000000, 60.0)],
        ),
        (
            {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"},
            [Told("requests", 0, 20, 30.0)],
        ),
        (
            {"x-rate-limit-remaining": "1", "x-rate-limit-reset": str(int(NOW) + 7)},
            [Told("requests", 1, None, 7.0)],
        ),
        (
            {"ratelimit-remaining": "1", "ratelimit-reset": str((int(NOW) + 7) * 1000)},
            [Told("requests", 1, None, 7.0)],
        ),
        ({"x-ratelimit-remaining-requests": "many", "ratelimit-remaining": "-1"}, []),
        ({"x-ratelimit-remaining": "nan", "x-ratelimit-reset": "soon"}, []),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "soon"}, [Told("requests", 3)]),
        ({}, []),
    ],
)
def test_the_headers_of_every_vendor_are_understood(
    headers: dict[str, str], told: list[Told]
) -> None:
    assert read_limits(headers, now=lambda: NOW) == told


def test_times_are_read_by_the_clock_of_whoever_wrote_them() -> None:
    hours_off = NOW + 5 * 3600
    headers = {
        "date": formatdate(hours_off, usegmt=True),
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2023-11-15T03:13:25Z",
    }
    assert read_limits(headers, now=lambda: NOW) == [Told("requests", 0, None, 5.0)]


def openai_headers(remaining: int, limit: int, reset: str) -> dict[str, str]:
    return {
        "X-RateLimit-Limit-Requests": str(limit),
        "X-RateLimit-Remaining-Requests": str(remaining),
        "X-RateLimit-Reset-Requests": reset,
    }


async def test_what_the_vendor_has_left_is_used_up_and_then_its_refill_is_waited_for() -> None:
    clock = Clock()
    paced = pace(clock)
    paced.hear("m", openai_headers(2, 60, "58s"))
    with await paced.turn("m", Need(REQUEST), make_context()):
        await call(paced)
        assert clock.naps == []
        # Two are under way and none left: one comes back each second.
        with await paced.turn("m", Need(REQUEST), make_context()):
            await call(paced)
        assert clock.naps == [1.0]
    await call(paced, "another model")
    assert clock.naps == [1.0]


async def test_what_was_told_is_forgotten_when_its_time_is_over() -> None:
    clock = Clock()
    paced = pace(clock)
    paced.hear("m", {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "20"})
    await call(paced)
    assert clock.naps == [20.0]
    await call(paced)
    assert clock.naps == [20.0]


async def test_a_pause_that_takes_hours_is_an_error_that_tells_how_long() -> None:
    clock = Clock()
    paced = pace(clock)
    paced.hear("m", {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "7200"})
    with pytest.raises(RateLimitError) as caught:
        await call(paced)
    assert (clock.naps, caught.value.retry_after) == ([], 7200.0)


async def test_a_refusal_makes_everybody_wait_and_begin_again_slowly() -> None:
    clock = Clock()
    paced = pace(clock)
    refusal = RateLimitError("slow", retry_after=5)
    turns = [await paced.turn("m", Need(REQUEST), make_context()) for _ in range(8)]
    for turn in turns:
        turn.__exit__(RateLimitError, refusal, None)
    first = await paced.turn("m", Need(REQUEST), make_context())
    assert clock.naps == [5.0]
    with first:
        second = asyncio.ensure_future(call(paced, took=1))
        for _ in range(5):
            await asyncio.sleep(0)
        # Four calls were under way beside the first that was refused: half of them may now.
        assert second.done()
        first.took(None)
    assert clock.naps == [5.0]


async def test_after_refusals_each_success_allows_one_more_call_at_a_time() -> None:
    clock = Clock()
    paced = pace(clock)
    with pytest.raises(RateLimitError), await paced.turn("m", Need(REQUEST), make_context()):
        raise RateLimitError("slow")

    async def most_at_once() -> int:
        turns: list[Any] = []
        while True:
            asking = asyncio.ensure_future(paced.turn("m", Need(REQUEST), make_context()))
            for _ in range(5):
                await asyncio.sleep(0)
            if not asking.done():
                asking.cancel()
                break
            turns.append(asking.result())
            if len(turns) > 20:
                break
        for turn in turns:
            turn.took(None)
            turn.__exit__(None, None, None)
        return len(turns)

    assert [await most_at_once() for _ in range(4)] == [1, 2, 4, 8]
    clock.now += 61
    await call(paced, took=1)
    assert await most_at_once() == 21


async def test_a_clock_that_jumps_neither_blocks_nor_breaks_the_minute() -> None:
    clock = Clock()
    paced = pace(clock, RateLimit(requests_per_minute=1))
    await call(paced)
    clock.now -= 5000
    await call(paced)
    assert clock.naps == [60.3]
    clock.now += 5000
    await call(paced)
    assert clock.naps == [60.3]


# -- over HTTP -------------------------------------------------------------------------------------

OPENAI = Plugin("llmspell.providers", "openai", "llmspell_providers:OpenAIProvider", "p", "1")
ANSWER = json.dumps(
    {
        "choices": [{"message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
)


class Limited:
    """Answers so many requests in any stretch of a time, and refuses the others."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self.arrivals: list[float] = []
        self.refused = 0

    def __call__(self, request: HttpRequest) -> Iterator[bytes]:
        now = time.monotonic()
        recent = [at for at in self.arrivals if at > now - self.seconds]
        if len(recent) >= self.most:
            self.refused += 1
            wait = recent[0] + self.seconds - now
            headers = {"retry-after-ms": str(int(wait * 1000) + 1)}
            yield http_response('{"error": {"message": "slow down"}}', status=429, headers=headers)
            return
        self.arrivals.append(now)
        yield http_response(ANSWER)


async def test_many_agents_at_once_never_pass_a_configured_limit() -> None:
    limited = Limited(10, 0.5)
    async with LoopbackServer(limited) as server:
        services = make_services(
            {"providers": {"acme": {"provider_type": "openai", "base_url": f"{server.url}/v1"}}},
            plugins=(OPENAI,),
        )
        settings = ProviderService(services)
        provider, model = settings.resolve("acme/m")
        inner = provider
        while not isinstance(inner, Paced):
            inner = inner.inner  # type: ignore[attr-defined]
        inner.pace = Pace("acme", RateLimit(requests_per_minute=10), minute=0.5)
        request = ChatRequest(model, (Message("user", "hi"),))
        answers = await asyncio.gather(
            *(provider.chat(request, make_context(services)) for _ in range(40))
        )
        await settings.aclose()
    assert [answer.content for answer in answers] == ["ok"] * 40
    assert limited.refused == 0
    assert len(limited.arrivals) == 40


async def test_a_storm_of_refusals_calms_down_and_everybody_is_answered() -> None:
    limited = Limited(5, 0.2)
    async with LoopbackServer(limited) as server:
        table = {
            "provider_type": "openai",
            "base_url": f"{server.url}/v1",
            "retry": {"max_retries": 10, "initial_delay_ms": 1, "max_delay_ms": 20},
        }
        services = make_services({"providers": {"acme": table}}, plugins=(OPENAI,))
        settings = ProviderService(services)
        provider, model = settings.resolve("acme/m")
        request = ChatRequest(model, (Message("user", "hi"),))
        answers = await asyncio.gather(
            *(provider.chat(request, make_context(services)) for _ in range(30))
        )
        await settings.aclose()
    assert [answer.content for answer in answers] == ["ok"] * 30
    # All thirty at once would be refused over and over: 25, then 20, then 15 …
    assert limited.refused <= 60


async def test_what_a_server_tells_in_its_headers_slows_the_next_call_down() -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "3600"}
    async with LoopbackServer() as server:
        server.answer(http_response(ANSWER, headers=headers))
        table = {"provider_type": "openai", "base_url": f"{server.url}/v1"}
        services = make_services({"providers": {"acme": table}}, plugins=(OPENAI,))
        settings = ProviderService(services)
        provider, model = settings.resolve("acme/m")
        request = ChatRequest(model, (Message("user", "hi"),))
        await provider.chat(request, make_context(services))
        with pytest.raises(RateLimitError, match="no room for this call") as caught:
            await provider.chat(request, make_context(services))
        await settings.aclose()
    assert caught.value.retry_after == pytest.approx(3600, abs=5)


async def test_streams_take_their_turn_and_report_what_they_used() -> None:
    clock = Clock()
    paced = pace(clock, RateLimit(tokens_per_minute=1000))
    script = ScriptedProvider(Reply("a", usage=Usage(10, 980)), "b")
    provider = Paced(script, paced)
    for _ in range(2):
        async for _ in provider.stream(REQUEST, make_context()):
            pass
    assert clock.naps == [60.3]
