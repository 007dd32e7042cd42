"""What is put around a provider: each wrapper has the provider's own base."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    Codec,
    EffectClass,
    LLMSpellError,
    ModelInfo,
    NetworkError,
    Provider,
    ProviderError,
)
from llmspell_providers._prices import PriceList
from llmspell_utils import Retries, RetryPolicy, closing, unless_cancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llmspell_core import ExecutionContext


class _Wrapper(Provider):
    def __init__(self, inner: Provider) -> None:
        self.name = inner.name
        self._inner = inner

    async def models(self) -> list[ModelInfo]:
        return await self._inner.models()

    async def aclose(self) -> None:
        await self._inner.aclose()


class Retrying(_Wrapper):
    """Asks again after failures that may pass, as long as the caller has seen nothing.

    A stream that broke after its first chunk is not asked again: its beginning cannot be taken
    back. A garbled answer is asked again once. Without *when_unreachable*, a server that cannot
    be reached is not asked again.
    """

    def __init__(
        self,
        inner: Provider,
        policy: RetryPolicy,
        *,
        when_unreachable: bool = True,
        sleep: Callable[[float], Awaitable[None]] | None = None,
        random: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(inner)
        self._policy = policy
        self._when_unreachable = when_unreachable
        self._sleep = sleep
        self._random = random

    async def _wait(
        self, retries: Retries, error: LLMSpellError, context: ExecutionContext
    ) -> None:
        most = None
        if isinstance(error, ProviderError) and error.kind == "protocol":
            most = 1
        elif isinstance(error, NetworkError) and not self._when_unreachable:
            most = 0
        await retries.wait(error, most=most, remaining=context.deadline.remaining())

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        retries = Retries(self._policy, sleep=self._sleep, random=self._random)
        while True:
            try:
                return await self._inner.chat(request, context)
            except LLMSpellError as error:
                await self._wait(retries, error, context)

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        retries = Retries(self._policy, sleep=self._sleep, random=self._random)
        while True:
            seen = False
            try:
                async with closing(self._inner.stream(request, context)) as flow:
                    async for chunk in flow:
                        seen = True
                        yield chunk
                return
            except LLMSpellError as error:
                if seen:
                    raise
                await self._wait(retries, error, context)


class Priced(_Wrapper):
    """Adds the cost to the usage, where the price is known."""

    def __init__(self, inner: Provider, prices: PriceList) -> None:
        super().__init__(inner)
        self._prices = prices

    def _priced(self, response: ChatResponse, request: ChatRequest) -> ChatResponse:
        usage = self._prices.priced(response.usage, response.model)
        if usage is response.usage:
            usage = self._prices.priced(response.usage, request.model)
        return response if usage is response.usage else replace(response, usage=usage)

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        return self._priced(await self._inner.chat(request, context), request)

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        async with closing(self._inner.stream(request, context)) as flow:
            async for chunk in flow:
                if chunk.response is not None:
                    chunk = replace(chunk, response=self._priced(chunk.response, request))
                yield chunk


class Ending(_Wrapper):
    """Ends a call with its execution: cancelled from any thread, or past its deadline."""

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        context.check()
        return await unless_cancelled(self._inner.chat(request, context), context)

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        context.check()
        async with closing(self._inner.stream(request, context)) as flow:
            while True:
                chunk = await unless_cancelled(anext(flow, None), context)
                if chunk is None:
                    return
                yield chunk


def _tokens(response: ChatResponse | None) -> int | None:
    return None if response is None or response.usage is None else response.usage.total_tokens


def _cost(response: ChatResponse | None) -> float | None:
    return None if response is None or response.usage is None else response.usage.cost


_CHAT: Codec[ChatResponse] = Codec(
    ChatResponse.to_dict, ChatResponse.from_dict, tokens=_tokens, cost=_cost
)
_CHUNKS: Codec[ChatChunk] = Codec(
    ChatChunk.to_dict,
    ChatChunk.from_dict,
    tokens=lambda chunk: _tokens(chunk.response),
    cost=lambda chunk: _cost(chunk.response),
)


class Recorded(_Wrapper):
    """Makes each call the effect ``model.chat`` of the execution it belongs to.

    A call that was interrupted may be made again: it costs money, and changes nothing.
    """

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        return await context.effect(
            "model.chat",
            {"provider": self.name, **request.to_dict()},
            lambda inside: self._inner.chat(request, inside),
            effect_class=EffectClass.IDEMPOTENT,
            codec=_CHAT,
        )

    def stream(self, request: ChatRequest, context: ExecutionContext) -> AsyncIterator[ChatChunk]:
        return context.effect_stream(
            "model.chat",
            {"provider": self.name, "stream": True, **request.to_dict()},
            lambda inside: self._inner.stream(request, inside),
            effect_class=EffectClass.IDEMPOTENT,
            codec=_CHUNKS,
        )
