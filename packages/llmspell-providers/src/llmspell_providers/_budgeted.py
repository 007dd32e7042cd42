"""`Budgeted`: calls that fit into the budget of their execution."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    Deadline,
    EmbeddingRequest,
    EmbeddingResponse,
    LLMTimeoutError,
    Provider,
    Usage,
)
from llmspell_providers._estimate import USUAL_ANSWER, prompt_tokens, thinking_tokens
from llmspell_providers._prices import Price
from llmspell_providers._wrapper import Wrapper
from llmspell_utils import closing

if TYPE_CHECKING:
    from types import TracebackType

    from llmspell_core import Budget, ExecutionContext, Reservation

_LEAST_ANSWER = 16
"""With room for fewer tokens than this there is no point in asking."""
_ALMOST = 0.05
"""Seconds that clocks may disagree about whether the time is over."""

Prices = Callable[[str], Sequence[tuple[str, Price | None]]]
"""From the name of a model, the models that may answer for it and their prices."""


class Budgeted(Wrapper):
    """Reserves what a call may take before it is made, and settles what it took.

    Where tokens or money are limited, so is the answer: a request that asks for a longer one
    than there is room for, or says nothing of its length, is sent with a `max_tokens` that fits.
    A budget of seconds ends a call under way. Without a budget nothing happens.

    What was decided is an observation of the run, so that a replay decides the same, also when
    several calls were made at once. Calls raise `BudgetError` when there is no room for them
    (they were not made) or when the time is over, and `ConfigurationError` (``PRICE_UNKNOWN``)
    when money is limited and the price of a model that may answer is unknown.

    Args:
        inner: Who is asked; whatever it repeats or hands on is one call of the budget.
        prices: Who may answer for a model, at what price.
        usual_answer: The `max_tokens` that the provider sends when the request has none.
    """

    def __init__(self, inner: Provider, prices: Prices, *, usual_answer: int | None = None) -> None:
        super().__init__(inner)
        self._prices = prices
        self._usual = usual_answer

    def _call(
        self, budget: Budget, request: ChatRequest | EmbeddingRequest, context: ExecutionContext
    ) -> _Call:
        return _Call(budget, self._prices(request.model), request, self._usual, context)

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        if context.budget is None:
            return await self.inner.chat(request, context)
        with self._call(context.budget, request, context) as call:
            response = await self.inner.chat(call.fitting(request), call.context)
            call.took(response.usage)
            return response

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        if context.budget is None:
            async with closing(self.inner.stream(request, context)) as flow:
                async for chunk in flow:
                    yield chunk
            return
        with self._call(context.budget, request, context) as call:
            asked = call.fitting(request)
            async with closing(self.inner.stream(asked, call.context)) as flow:
                async for chunk in flow:
                    call.saw(chunk)
                    yield chunk

    async def embed(
        self, request: EmbeddingRequest, context: ExecutionContext
    ) -> EmbeddingResponse:
        if context.budget is None:
            return await self.inner.embed(request, context)
        with self._call(context.budget, request, context) as call:
            response = await self.inner.embed(request, call.context)
            call.took(response.usage)
            return response


class _Call:
    """A call within a budget: reserved when it is entered, settled when it is left."""

    def __init__(
        self,
        budget: Budget,
        prices: Sequence[tuple[str, Price | None]],
        request: ChatRequest | EmbeddingRequest,
        usual: int | None,
        context: ExecutionContext,
    ) -> None:
        self.context = context
        self._budget = budget
        self._prices = prices
        self._request = request
        self._usual = usual
        self._reservation: Reservation | None = None
        self._granted: int | None = None
        self._prompt = prompt_tokens(request)
        self._usage: Usage | None = None
        self._letters = 0

    def fitting(self, request: ChatRequest) -> ChatRequest:
        """*request* with an answer that there is room for."""
        return request if self._granted is None else replace(request, max_tokens=self._granted)

    def took(self, usage: Usage | None) -> None:
        """The call was answered."""
        self._usage = usage or self._estimated()

    def saw(self, chunk: ChatChunk) -> None:
        """A piece of the answer came."""
        if chunk.response is not None:
            self.took(chunk.response.usage)
        self._letters += len(chunk.text) + len(chunk.reasoning)

    def _estimated(self) -> Usage:
        usage = Usage(self._prompt, self._letters // 4, estimated=True)
        price = self._prices[0][1]
        return usage if price is None else replace(usage, cost=price.cost(usage))

    def __enter__(self) -> _Call:
        context, budget = self.context, self._budget
        now = context.monotonic()
        wanted = self._wanted()
        about = {"model": self._prices[0][0], "prompt": self._prompt, "answer": wanted}
        decided = context.observe("budget.reserve", about, lambda: self._decide(wanted, now))
        if self._reservation is None:
            # Replayed: it was allowed, whatever this budget would say now.
            self._reservation = budget.hold(tokens=decided["tokens"], cost=decided["cost"])
        self._granted = decided["max_tokens"]
        seconds = budget.remaining_seconds(now)
        if seconds is not None:
            self.context = context.child(deadline=Deadline(seconds))
        return self

    def _wanted(self) -> int:
        """The longest answer that is asked for."""
        if isinstance(self._request, EmbeddingRequest):
            return 0
        thinking = thinking_tokens(self._request.extra)
        return self._request.max_tokens or (self._usual or USUAL_ANSWER) + thinking

    def _decide(self, wanted: int, now: float) -> dict[str, Any]:
        """Reserve: ``{tokens, cost, max_tokens}``, the last where it has to be sent."""
        budget = self._budget
        answer = min(wanted, max(self._room(), min(wanted, _LEAST_ANSWER)))
        tokens, cost = self._prompt + answer, self._cost(answer)
        unknown = next((text for text, price in self._prices if price is None), None)
        self._reservation = budget.reserve(
            tokens=tokens, cost=cost, now=now, model=unknown or self._prices[0][0]
        )
        limited = budget.remaining_tokens() is not None or budget.remaining_cost() is not None
        asked = isinstance(self._request, ChatRequest) and self._request.max_tokens
        said = answer == wanted and bool(asked or self._usual)
        grant = answer if limited and wanted and not said else None
        return {"tokens": tokens, "cost": cost, "max_tokens": grant}

    def _room(self) -> int:
        """Tokens of an answer that fit into what is left."""
        left = self._budget.remaining_tokens()
        room = float("inf") if left is None else left - self._prompt
        money = self._budget.remaining_cost()
        if money is not None:
            for _, price in self._prices:
                each = 0.0 if price is None else price.at_most(self._prompt, 1000) / 1000
                sent = 0.0 if price is None else price.at_most(self._prompt, 0)
                each -= sent / 1000
                if each > 0:
                    room = min(room, (money - sent) / each)
        return 10**9 if room == float("inf") else int(room + 1e-6)

    def _cost(self, answer: int) -> float | None:
        """What the dearest of the models may charge; None when one of the prices is unknown."""
        found = [price.at_most(self._prompt, answer) for _, price in self._prices if price]
        return max(found) if len(found) == len(self._prices) else None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Settle by what is known: the usage, what was seen of the answer, or nothing at all
        for a call that failed before there was one.
        """
        assert self._reservation is not None
        failed = isinstance(error, Exception) and not isinstance(error, LLMTimeoutError)
        if self._usage is not None:
            self._budget.settle(self._reservation, self._usage)
        elif failed and not self._letters:
            self._budget.release(self._reservation)
        else:
            self._budget.settle(self._reservation, self._estimated())
        if isinstance(error, LLMTimeoutError) and self._budget.remaining_seconds(0.0) is not None:
            late = self._budget.out_of_time(self.context.monotonic() + _ALMOST)
            if late is not None:
                raise late from error
