"""`Pace`: how fast a provider may be asked, so that its limits are not reached."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmspell_core import ChatRequest, EmbeddingRequest, RateLimitError
from llmspell_providers._estimate import USUAL_ANSWER, prompt_tokens
from llmspell_providers._told_limits import Told, read_limits
from llmspell_providers._window import Taken, Window

if TYPE_CHECKING:
    from types import TracebackType

    from llmspell_core import ExecutionContext, Usage

LONGEST_WAIT = 60.0
"""Seconds: a turn that comes later is an error now."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What may be asked of a provider in a minute, and how many calls at a time; None: no limit.

    Without `auto_retry` a call that would have to wait fails with `RateLimitError` at once, and
    one that the provider refuses is not tried again.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    auto_retry: bool = True
    max_concurrent_requests: int | None = None


class Need:
    """What a call will take, as far as is known before; counted only where a limit asks for it."""

    __slots__ = ("_prompt", "_request")

    def __init__(self, request: ChatRequest | EmbeddingRequest) -> None:
        self._request = request
        self._prompt: int | None = None

    @property
    def prompt(self) -> int:
        """Tokens that are sent."""
        if self._prompt is None:
            self._prompt = prompt_tokens(self._request)
        return self._prompt

    @property
    def answer(self) -> int:
        """Tokens that may come back."""
        if isinstance(self._request, EmbeddingRequest):
            return 0
        return self._request.max_tokens or USUAL_ANSWER

    def of(self, resource: str) -> float:
        """Its part of a resource as vendors count it."""
        if resource == "requests":
            return 1
        if resource == "input_tokens":
            return self.prompt
        return self.answer if resource == "output_tokens" else self.prompt + self.answer


class _Lane:
    """What is known of one model: what its vendor told, how many calls are under way, and how
    long it asked for peace.
    """

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.quiet_until = -math.inf
        self.told: dict[str, tuple[float, Told]] = {}
        self.flying: list[Need] = []
        self.most_flying: float = math.inf
        self.cut_at = -math.inf

    def delay(self, need: Need, now: float) -> float:
        """Seconds until the next call; infinite: until one under way has ended."""
        if now < self.quiet_until:
            return self.quiet_until - now
        if len(self.flying) >= self.most_flying:
            return math.inf
        return max((self._told_delay(need, r, now) for r in list(self.told)), default=0.0)

    def _told_delay(self, need: Need, resource: str, now: float) -> float:
        at, told = self.told[resource]
        passed = max(0.0, now - at)
        reset = LONGEST_WAIT if told.reset_seconds is None else told.reset_seconds
        if passed >= reset:
            del self.told[resource]
            return 0.0
        there, rate = told.remaining, 0.0
        amount = need.of(resource)
        if told.refills and told.limit is not None:
            amount = min(amount, told.limit)
            rate = (told.limit - told.remaining) / reset
            there += rate * passed
        missing = amount + sum(other.of(resource) for other in self.flying) - there
        if missing <= 0:
            return 0.0
        return min(reset - passed, missing / rate) if rate > 0 else reset - passed

    def hear(self, told: list[Told], now: float) -> None:
        """Take in what an answer said."""
        for one in told:
            self.told[one.resource] = (now, one)

    def refused(self, turn: Turn, seconds: float | None, now: float) -> None:
        """The vendor refused a call. Those under way had no room together: only half as many
        are allowed, and one more with each success, until there was no refusal for a minute.
        """
        if seconds is not None:
            self.quiet_until = max(self.quiet_until, now + seconds)
        if turn.began > self.cut_at:
            self.most_flying = max(1, (len(self.flying) + 1) // 2)
            self.cut_at = now

    def succeeded(self, now: float) -> None:
        """A call was answered."""
        if self.most_flying != math.inf:
            calm = now - self.cut_at >= LONGEST_WAIT
            self.most_flying = math.inf if calm else self.most_flying + 1


class Turn:
    """A call under way; leaving the ``with`` ends it."""

    def __init__(
        self,
        pace: Pace,
        lane: _Lane,
        need: Need,
        began: float,
        requests: Taken | None,
        tokens: Taken | None,
    ) -> None:
        self.began = began
        self._pace = pace
        self._lane = lane
        self._need = need
        self._requests = requests
        self._tokens = tokens
        self._answered = False
        self._heard = False

    def heard(self) -> None:
        """The answer has begun."""
        if self._heard:
            return
        self._heard = True
        now = self._pace.now()
        for taken in (self._requests, self._tokens):
            if taken is not None:
                taken.at = min(taken.at, now)
        self._pace.changed()

    def took(self, usage: Usage | None) -> None:
        """The call was answered, and took that."""
        self._answered = True
        if usage is not None and self._tokens is not None:
            self._pace.correct(self._tokens, usage.total_tokens)

    def __enter__(self) -> Turn:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The call is over."""
        self.heard()
        self._lane.flying.remove(self._need)
        now = self._pace.now()
        if isinstance(error, RateLimitError):
            self._lane.refused(self, error.retry_after, now)
        elif self._answered:
            self._lane.succeeded(now)
        if not self._answered and self._tokens is not None:
            # Nothing was generated.
            self._pace.correct(self._tokens, self._need.prompt)
        self._pace.changed()


@dataclass(slots=True)
class _Free:
    """Told when something ended, so that whoever waits looks again."""

    waiting: set[asyncio.Future[None]] = field(default_factory=set[asyncio.Future[None]])

    def tell(self) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_result(None)
        self.waiting.clear()

    async def wait(self, seconds: float, pause: Callable[[float], Awaitable[None]] | None) -> None:
        """Until told, at most *seconds*."""
        future = asyncio.get_running_loop().create_future()
        self.waiting.add(future)
        try:
            if pause is None or seconds == math.inf:
                limit = None if seconds == math.inf else seconds
                await asyncio.wait([future], timeout=limit)
                return
            pausing = asyncio.ensure_future(pause(seconds))
            try:
                await asyncio.wait([future, pausing], return_when=asyncio.FIRST_COMPLETED)
            finally:
                pausing.cancel()
        finally:
            self.waiting.discard(future)


class Pace:
    """Gives calls their turn: in the order in which they came, model by model.

    A call begins when the configured requests and tokens of a minute have room for it, when the
    vendor has told of nothing against it, when no `RateLimitError` asked for a pause that still
    lasts, and when not too many are under way. Waiting ends with the caller's task.

    Args:
        name: The provider's, for messages.
        limit: What is configured.
        minute: Seconds the configured figures are for.
        clock: Seconds for durations; may jump.
        sleep: Waits; the default is the event loop's.
        date: Unix seconds.
    """

    def __init__(
        self,
        name: str,
        limit: RateLimit | None = None,
        *,
        minute: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] | None = None,
        date: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._limit = limit or RateLimit()
        self._clock = clock
        self._sleep = sleep
        self._date = date
        self._jumped = 0.0
        self._last = -math.inf
        self._lanes: dict[str, _Lane] = {}
        self._free = _Free()
        requests, tokens = self._limit.requests_per_minute, self._limit.tokens_per_minute
        self._requests = None if requests is None else Window("requests", requests, minute)
        self._tokens = None if tokens is None else Window("tokens", tokens, minute)
        most = self._limit.max_concurrent_requests
        self.places = None if most is None else asyncio.Semaphore(most)

    def now(self) -> float:
        """The clock, without its jumps backwards."""
        seconds = self._clock() + self._jumped
        if seconds < self._last:
            self._jumped += self._last - seconds
            seconds = self._last
        self._last = seconds
        return seconds

    def hear(self, model: str, headers: Mapping[str, str]) -> None:
        """Learn from the headers of an answer."""
        told = read_limits({k.lower(): v for k, v in headers.items()}, now=self._date)
        if told:
            self._lane(model).hear(told, self.now())
            self._free.tell()

    def _lane(self, model: str) -> _Lane:
        lane = self._lanes.get(model)
        if lane is None:
            lane = self._lanes[model] = _Lane()
        return lane

    async def turn(
        self,
        model: str,
        need: Need,
        context: ExecutionContext,
        gate: Callable[[], None] = lambda: None,
    ) -> Turn:
        """Wait for the turn of a call; enter the result around it.

        Args:
            model: The model's name.
            need: What the call will take.
            context: Its deadline: a turn that comes later is not waited for.
            gate: Asked before the turn is taken; it raises when there is no point any more.

        Raises:
            RateLimitError: when there is no room and waiting is not allowed, would take more
                than a minute, or longer than the execution lasts.
        """
        lane = self._lane(model)
        if not self._limit.auto_retry:
            return self._at_once(lane, need, gate)
        async with lane.turn:
            while (seconds := self._delay(lane, need)) > 0:
                self._bear(seconds, lane.delay(need, self.now()), context)
                await self._free.wait(seconds, self._sleep)
            gate()
            return self._begin(lane, need)

    def _at_once(self, lane: _Lane, need: Need, gate: Callable[[], None]) -> Turn:
        seconds = self._delay(lane, need)
        if seconds > 0:
            raise self._full(None if seconds == math.inf else seconds)
        gate()
        return self._begin(lane, need)

    def _delay(self, lane: _Lane, need: Need) -> float:
        now = self.now()
        own = [lane.delay(need, now)]
        if self._requests is not None:
            own.append(self._requests.delay(1, now))
        if self._tokens is not None:
            own.append(self._tokens.delay(need.of("tokens"), now))
        return max(own)

    def _begin(self, lane: _Lane, need: Need) -> Turn:
        now = self.now()
        requests = None if self._requests is None else self._requests.take(1, now)
        tokens = None if self._tokens is None else self._tokens.take(need.of("tokens"), now)
        lane.flying.append(need)
        return Turn(self, lane, need, now, requests, tokens)

    def _bear(self, seconds: float, told: float, context: ExecutionContext) -> None:
        """Raise when *seconds* are too long to wait, *told* of them because the vendor said so."""
        if seconds == math.inf:
            return
        left = context.deadline.remaining()
        if told > LONGEST_WAIT or (left is not None and seconds > left):
            raise self._full(seconds)

    def _full(self, seconds: float | None) -> RateLimitError:
        when = "" if seconds is None else f"; there is room again in {seconds:.1f}s"
        configured = [
            f"{int(window.most)} {window.what} a minute"
            for window in (self._requests, self._tokens)
            if window is not None
        ]
        limits = f" ({', '.join(configured)})" if configured else ""
        return RateLimitError(
            f"{self._name}: its rate limit{limits} has no room for this call{when}",
            provider=self._name,
            retry_after=seconds,
            hint=f"Wait, raise providers.{self._name}.rate_limit, or ask less at a time.",
        )

    def correct(self, taken: Taken, tokens: float) -> None:
        """A call took *tokens* instead of what was expected."""
        if self._tokens is not None:
            self._tokens.correct(taken, tokens)

    def changed(self) -> None:
        """A call arrived or is over: somebody may have room earlier than it looked."""
        self._free.tell()
