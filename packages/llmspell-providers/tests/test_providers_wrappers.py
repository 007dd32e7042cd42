"""What is put around a provider: recording, ending, pricing, retrying, and their order."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from llmspell_core import (
    CancelSignal,
    ChatChunk,
    ChatRequest,
    ChatResponse,
    Deadline,
    EmbeddingRequest,
    EmbeddingResponse,
    ExecutionCancelled,
    ExecutionContext,
    LLMTimeoutError,
    Message,
    ModelInfo,
    NetworkError,
    Plugin,
    ProviderError,
    RateLimitError,
    Usage,
)
from llmspell_providers import ProviderService
from llmspell_providers._breaker import Breaking
from llmspell_providers._budgeted import Budgeted
from llmspell_providers._ending import Ending
from llmspell_providers._fallback import Falling
from llmspell_providers._paced import Paced
from llmspell_providers._priced import Priced
from llmspell_providers._prices import Price, PriceList
from llmspell_providers._recorded import Recorded
from llmspell_providers._retrying import Retrying
from llmspell_testing import (
    LedgerDouble,
    Reply,
    ScriptedProvider,
    make_context,
    make_services,
    recorded_and_replayed,
)
from llmspell_utils import RetryPolicy

REQUEST = ChatRequest("gpt-4o-2024-08-06", (Message("user", "hi"),))


@dataclass(frozen=True)
class Given(Plugin):
    """A provider type made of providers that are there."""

    made: Any = None

    def load(self) -> Any:
        return lambda settings, services: self.made[settings.name]


def service(*scripts: ScriptedProvider, **tables: Any) -> ProviderService:
    """Providers of type ``given``, one for each script, by its name."""
    given = Given(
        "llmspell.providers", "given", "", "t", "1", {script.name: script for script in scripts}
    )
    config = {
        script.name: {
            "provider_type": "given",
            "base_url": "http://x",
            **tables.get(script.name, {}),
        }
        for script in scripts
    }
    return ProviderService(make_services({"providers": config}, plugins=(given,)))


def test_the_order_of_the_wrappers_is_what_it_says() -> None:
    providers = service(ScriptedProvider(name="a"), ScriptedProvider(name="b"))
    order = []
    provider, _ = providers.resolve("a/m", fallback=["b/m"])
    while hasattr(provider, "inner"):
        order.append(type(provider))
        provider = provider.inner
    assert order == [Budgeted, Recorded, Ending, Falling, Breaking, Retrying, Paced, Priced]


class Naps(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


class Clock:
    """Goes on by a step with each look."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def retrying(script: ScriptedProvider, naps: Naps, **more: Any) -> Retrying:
    return Retrying(script, RetryPolicy(jitter=0), sleep=naps, random=lambda: 0.5, **more)


async def texts(provider: Any, context: ExecutionContext | None = None) -> list[str]:
    flow = provider.stream(REQUEST, context or make_context())
    return [chunk.text async for chunk in flow]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_that_may_pass_is_tried_again(stream: bool) -> None:
    naps = Naps()
    script = ScriptedProvider(
        ProviderError("down", kind="server"), RateLimitError("slow", retry_after=5), "fine"
    )
    provider = retrying(script, naps)
    if stream:
        assert await texts(provider) == ["fine", ""]
    else:
        assert (await provider.chat(REQUEST, make_context())).content == "fine"
    assert naps == [1.0, 5.0]


class Embedding(ScriptedProvider):
    """Fails as often as it is told, then gives a vector for each input."""

    def __init__(self, *failures: Exception, name: str = "scripted") -> None:
        super().__init__(name=name)
        self.failures = list(failures)
        self.asked = 0

    async def embed(
        self, request: EmbeddingRequest, context: ExecutionContext
    ) -> EmbeddingResponse:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return EmbeddingResponse(((1.0, 2.0),) * len(request.inputs), "e-1", Usage(1000, 0))


async def test_embeddings_are_retried_priced_and_recorded_like_answers() -> None:
    scripts = [
        Embedding(NetworkError("gone"), name="v"),
        Embedding(name="v"),
    ]
    tables = {
        "api_key": "k" * 9,
        "pricing": {"e-1": {"input": 0.5, "output": 0}},
        "retry": {"initial_delay_ms": 0, "max_delay_ms": 0},
    }
    ledger = LedgerDouble()
    made = iter(scripts)

    async def work(context: Any) -> EmbeddingResponse:
        provider, model = service(next(made), v=tables).resolve("v/e-1")
        return await provider.embed(EmbeddingRequest(model, ("a", "b")), context)

    first, second = await recorded_and_replayed(work, ledger)
    assert first == second
    assert first == EmbeddingResponse(((1.0, 2.0),) * 2, "e-1", Usage(1000, 0, cost=0.5))
    assert [script.asked for script in scripts] == [2, 0]
    (effect,) = (e for e in ledger.effects("run") if e.intent.kind == "model.embed")
    assert effect.outcome is not None
    assert (effect.outcome.tokens, effect.outcome.cost) == (1000, 0.5)


async def test_a_keyless_server_that_is_not_there_is_not_waited_for() -> None:
    for key, tries in ((None, 1), ("sk-some-key", 3)):
        script = ScriptedProvider(*[NetworkError("refused")] * 3, name="local")
        retry = {"max_retries": 2, "initial_delay_ms": 0, "max_delay_ms": 0}
        providers = service(script, local={"retry": retry})
        provider, _ = providers.resolve("local/m", api_key=key)
        with pytest.raises(NetworkError):
            await provider.chat(REQUEST, make_context())
        assert len(script.requests) == tries


async def test_a_garbled_answer_is_asked_for_once_more_and_not_twice() -> None:
    garbled = ProviderError("?", kind="protocol")
    script = ScriptedProvider(garbled, garbled, "never asked")
    with pytest.raises(ProviderError):
        await retrying(script, Naps()).chat(REQUEST, make_context())
    assert len(script.requests) == 2


async def test_a_stream_that_has_begun_is_not_begun_again() -> None:
    naps = Naps()
    script = ScriptedProvider(
        Reply(pieces=("a", "b"), error=ProviderError("cut", kind="protocol")), "again"
    )
    seen: list[str] = []

    async def read() -> None:
        async for chunk in retrying(script, naps).stream(REQUEST, make_context()):
            seen.append(chunk.text)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(ProviderError, match="cut"):
        await read()
    assert (seen, naps) == (["a", "b"], [])


async def test_no_retry_outlasts_the_deadline() -> None:
    naps = Naps()
    script = ScriptedProvider(RateLimitError("slow", retry_after=50), "late")
    with pytest.raises(RateLimitError):
        await retrying(script, naps).chat(REQUEST, make_context(deadline=Deadline(10)))
    assert naps == []


@pytest.mark.parametrize("stream", [False, True])
async def test_the_seconds_of_a_request_are_for_all_its_tries_together(stream: bool) -> None:
    naps, clock = Naps(), Clock(step=1.0)
    script = ScriptedProvider(*[NetworkError("gone")] * 3, "late")
    provider = retrying(script, naps, clock=clock)
    request = ChatRequest("m", (Message("user", "hi"),), timeout_seconds=6.0)
    asked = provider.stream(request, make_context()) if stream else None
    calling = provider.chat(request, make_context()) if asked is None else anext(asked, None)
    with pytest.raises(NetworkError):
        await calling
    # One second passes at each look at the clock: before the wait and before the try.
    assert [asked.timeout_seconds for asked in script.requests] == [6.0, 4.0, 2.0]
    assert naps == [1.0, 2.0]


async def test_who_wants_no_waiting_is_told_of_a_rate_limit_at_once() -> None:
    script = ScriptedProvider(RateLimitError("slow", retry_after=1), name="a")
    providers = service(script, a={"rate_limit": {"auto_retry": False}})
    provider, _ = providers.resolve("a/m")
    with pytest.raises(RateLimitError, match="slow"):
        await provider.chat(REQUEST, make_context())


@pytest.mark.parametrize("stream", [False, True])
async def test_a_signal_from_another_thread_ends_a_call(stream: bool) -> None:
    cancel = CancelSignal()
    context = make_context(cancel=cancel)
    provider = Ending(ScriptedProvider(Reply("x", after=asyncio.Event())))

    async def call() -> None:
        if not stream:
            await provider.chat(REQUEST, context)
            return
        async for _ in provider.stream(REQUEST, context):
            pass

    calling = asyncio.ensure_future(call())
    await asyncio.sleep(0)
    threads = [threading.Thread(target=cancel.cancel) for _ in range(2)]
    for thread in threads:
        thread.start()
    with pytest.raises(ExecutionCancelled):
        await asyncio.wait_for(calling, 5)
    for thread in threads:
        thread.join()


async def test_the_deadline_of_the_execution_ends_a_call_and_a_wait_for_a_retry() -> None:
    waiting = Ending(ScriptedProvider(Reply("x", after=asyncio.Event())))
    context = make_context(deadline=Deadline(0.01))
    with pytest.raises(LLMTimeoutError, match="execution timed out"):
        await waiting.chat(REQUEST, context)

    async def forever(_: float) -> None:
        await asyncio.Event().wait()

    again = retrying(ScriptedProvider(NetworkError("x")), Naps())
    again._sleep = forever
    cancel = CancelSignal()
    calling = asyncio.ensure_future(Ending(again).chat(REQUEST, make_context(cancel=cancel)))
    await asyncio.sleep(0)
    cancel.cancel("enough")
    with pytest.raises(ExecutionCancelled, match="enough"):
        await calling


async def test_a_recorded_call_replays_without_being_made() -> None:
    def script() -> ScriptedProvider:
        return ScriptedProvider(
            Reply("one", usage=Usage(3, 4, cost=0.5)), Reply(pieces=("t", "wo"))
        )

    made: list[ScriptedProvider] = []

    async def work(context: Any) -> tuple[ChatResponse, list[ChatChunk]]:
        made.append(script())
        provider = Recorded(made[-1])
        whole = await provider.chat(REQUEST, context)
        return whole, [chunk async for chunk in provider.stream(REQUEST, context)]

    ledger = LedgerDouble()
    first, second = await recorded_and_replayed(work, ledger)
    assert first == second
    assert [len(one.requests) for one in made] == [2, 0]
    chat, stream = (e for e in ledger.effects("run") if e.intent.kind == "model.chat")
    assert chat.outcome is not None
    assert (chat.outcome.tokens, chat.outcome.cost) == (7, 0.5)
    assert stream.outcome is not None
    assert (stream.outcome.tokens, stream.outcome.cost) == (15, 0.001)


async def test_a_priced_answer_costs_by_its_own_model_else_by_the_one_asked_for() -> None:
    def priced(*prices: str) -> Priced:
        reply = Reply("x", usage=Usage(1000, 0))
        script = ScriptedProvider(reply, reply)
        return Priced(script, PriceList({name: Price(0.5, 1) for name in prices}))

    known = priced("gpt-4o")
    whole = await known.chat(REQUEST, make_context())
    assert (whole.usage, whole.provider) == (Usage(1000, 0, cost=0.5), "scripted")
    chunks = [chunk async for chunk in known.stream(REQUEST, make_context())]
    assert chunks == [ChatChunk("x"), ChatChunk(response=whole)]
    assert (await priced().chat(REQUEST, make_context())).usage == Usage(1000, 0)


async def test_closing_closes_every_provider_and_raises_the_first_failure() -> None:
    class Broken(ScriptedProvider):
        async def aclose(self) -> None:
            raise OSError("stuck")

    good, broken = ScriptedProvider(name="good"), Broken(name="broken")
    providers = service(broken, good)
    providers.resolve("broken/m", fallback=["good/m"])
    with pytest.raises(OSError, match="stuck"):
        await providers.aclose()
    assert good.closed
    await providers.aclose()


async def test_wrappers_pass_on_what_they_do_not_change() -> None:
    class Checked(ScriptedProvider):
        checked = False

        async def check(self) -> None:
            self.checked = True

    script = Checked(name="s")
    provider, _ = service(script).resolve("s/m")
    assert await provider.models() == [ModelInfo("s")]
    await provider.check()
    assert script.checked
