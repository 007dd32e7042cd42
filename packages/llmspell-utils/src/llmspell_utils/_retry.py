"""Retries with exponential backoff, jitter and the peer's own Retry-After."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from llmspell_core import LLMSpellError

Sleep = Callable[[float], Awaitable[None]]
Random = Callable[[], float]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long apart to try again. Times are seconds.

    `jitter` is the part of a wait that chance decides: with 1, full jitter, it lies anywhere
    between nothing and the whole, so that callers who failed together do not come back together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). A peer that asks
    for more patience than `longest_retry_after` is not waited for: the error goes to the caller,
    who reads its `retry_after`.
    """

    max_retries: int = 3
    initial_delay: float = 1.0
    max_delay: float = 30.0
    multiplier: float = 2.0
    jitter: float = 1.0
    longest_retry_after: float = 60.0

    def __post_init__(self) -> None:
        if self.max_retries < 0 or self.initial_delay < 0 or self.max_delay < 0:
            raise ValueError("retries and delays cannot be negative")
        if self.multiplier < 1 or not 0 <= self.jitter <= 1:
            raise ValueError("multiplier must be at least 1, jitter between 0 and 1")

    def delay(self, attempt: int, random: float) -> float:
        """Seconds before retry number *attempt* (from 0); *random* is from 0 to 1."""
        plain = min(self.initial_delay * self.multiplier**attempt, self.max_delay)
        return plain * (1 - self.jitter * (1 - random))


class Retries:
    """The retries of one call.

    ::

        retries = Retries(policy)
        while True:
            try:
                return await call()
            except LLMSpellError as error:
                await retries.wait(error)

    Args:
        policy: When to give up.
        sleep: Waits; the default is `asyncio.sleep`.
        random: Gives numbers from 0 to 1; the default is `random.random`.
    """

    def __init__(
        self, policy: RetryPolicy, *, sleep: Sleep | None = None, random: Random | None = None
    ) -> None:
        self._policy = policy
        self._sleep = sleep
        self._random = random
        self.made = 0

    async def wait(
        self, error: LLMSpellError, *, most: int | None = None, remaining: float | None = None
    ) -> None:
        """Sleep until the call may be made again.

        Args:
            error: Why it failed.
            most: Retries that make sense for this error, if fewer than the policy's.
            remaining: Seconds until nobody wants the answer any more.

        Raises:
            LLMSpellError: *error* itself, when it cannot be retried, the retries are used up,
                or the wait would outlast *remaining*.
        """
        limit = self._policy.max_retries if most is None else min(most, self._policy.max_retries)
        if not error.is_retryable() or self.made >= limit:
            raise error
        seconds = self._policy.delay(self.made, self._next_random())
        if error.retry_after is not None:
            if error.retry_after > self._policy.longest_retry_after:
                raise error
            # Never before the time the peer named, and not all callers at that very moment.
            seconds = error.retry_after + self._policy.jitter * self._next_random()
        if remaining is not None and seconds >= remaining:
            raise error
        self.made += 1
        if self._sleep is not None:
            await self._sleep(seconds)
            return
        import asyncio

        await asyncio.sleep(seconds)

    def _next_random(self) -> float:
        if self._random is not None:
            return self._random()
        from random import random

        return random()  # noqa: S311 - spreads load, guards nothing
