"""`Retrying`: calls that are made again after failures that may pass."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    EmbeddingResponse,
    LLMSpellError,
    NetworkError,
    Provider,
    ProviderError,
    RateLimitError,
)
from llmspell_providers._wrapper import Wrapper
from llmspell_utils import Retries, RetryPolicy, closing

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext


class Retrying(Wrapper):
    """Asks again after failures that may pass, as long as the caller has seen nothing.

    It waits as long as the provider asked for, else exponentially longer with full jitter, and
    never beyond the deadline of the execution or the request's own ``timeout_seconds``, which
    bounds all tries together. A stream that broke after its first chunk is not asked again: its
    beginning cannot be taken back. A garbled answer is asked again once.

    Args:
        inner: Who is asked.
        policy: How often and how far apart.
        when_unreachable: Ask again when the server cannot be reached.
        when_limited: Ask again when a rate limit was reached.
        sleep: Waits; the default is `asyncio.sleep`.
        random: Gives numbers from 0 to 1.
        clock: Seconds for durations.
    """

    def __init__(
        self,
        inner: Provider,
        policy: RetryPolicy,
        *,
        when_unreachable: bool = True,
        when_limited: bool = True,
        sleep: Callable[[float], Awaitable[None]] | None = None,
        random: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(inner)
        self._policy = policy
        self._when_unreachable = when_unreachable
        self._when_limited = when_limited
        self._sleep = sleep
        self._random = random
        self._clock = clock

    def _tries(
        self, seconds: float | None, context: ExecutionContext, most: int | None = None
    ) -> _Tries:
        policy = self._policy if most is None else replace(self._policy, max_retries=most)
        retries = Retries(policy, sleep=self._sleep, random=self._random)
        return _Tries(retries, seconds, context, self._clock)

    def _most(self, error: LLMSpellError) -> int | None:
        """How often *error* is worth a retry; None: as often as the policy says."""
        if isinstance(error, ProviderError) and error.kind == "protocol":
            return 1
        if isinstance(error, NetworkError) and not self._when_unreachable:
            return 0
        if isinstance(error, RateLimitError) and not self._when_limited:
            return 0
        return None

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        tries = self._tries(request.timeout_seconds, context, request.retries)
        while True:
            try:
                return await self.inner.chat(tries.bounded(request), context)
            except LLMSpellError as error:
                await tries.again(error, self._most(error))

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        tries = self._tries(request.timeout_seconds, context, request.retries)
        while True:
            seen = False
            try:
                async with closing(self.inner.stream(tries.bounded(request), context)) as flow:
                    async for chunk in flow:
                        seen = True
                        yield chunk
                return
            except LLMSpellError as error:
                if seen:
                    raise
                await tries.again(error, self._most(error))

    async def embed(
        self, request: EmbeddingRequest, context: ExecutionContext
    ) -> EmbeddingResponse:
        tries = self._tries(None, context)
        while True:
            try:
                return await self.inner.embed(request, context)
            except LLMSpellError as error:
                await tries.again(error, self._most(error))


class _Tries:
    """The tries of one call and the time they have together."""

    def __init__(
        self,
        retries: Retries,
        seconds: float | None,
        context: ExecutionContext,
        clock: Callable[[], float],
    ) -> None:
        self._retries = retries
        self._context = context
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds

    def bounded(self, request: ChatRequest) -> ChatRequest:
        """*request*, with the time that is left to this try."""
        if self._end is None or not self._retries.made:
            return request
        return replace(request, timeout_seconds=max(0.001, self._end - self._clock()))

    async def again(self, error: LLMSpellError, most: int | None) -> None:
        """Wait until the next try; raises *error* when there is to be none."""
        remaining = self._context.deadline.remaining()
        if self._end is not None:
            own = max(0.0, self._end - self._clock())
            remaining = own if remaining is None else min(own, remaining)
        await self._retries.wait(error, most=most, remaining=remaining)
