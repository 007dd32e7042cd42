"""`Breaking`: a provider that failed too often is left alone for a while."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    EmbeddingResponse,
    LLMSpellError,
    LLMTimeoutError,
    Provider,
    ProviderError,
    RateLimitError,
)
from llmspell_providers._wrapper import Wrapper
from llmspell_utils import closing

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext


class CircuitOpenError(ProviderError):
    """A provider that failed too often was not asked. `retry_after` tells when it will be."""

    code = "CIRCUIT_OPEN"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a provider is left alone, and when it is asked again.

    After `failures` calls in a row that failed in spite of their retries, all calls fail at once
    for `seconds`; then up to `probes` at a time are let through, until `successes` of them
    succeeded (back to normal) or one failed (another pause). `failures` of 0 is never.
    """

    failures: int = 5
    successes: int = 2
    seconds: float = 30.0
    probes: int = 3


class Breaker:
    """The state of one provider. Failures are those on the provider's side: an answer that
    refuses a request shows that it works, and a rate limit is no failure.

    Args:
        name: The provider's, for the message.
        policy: When to open and close.
        clock: Seconds for durations.
    """

    def __init__(
        self, name: str, policy: BreakerPolicy, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._policy = policy
        self._clock = clock
        self._failed = 0
        self._succeeded = 0
        self._probing = 0
        self._opened: float | None = None
        self._last: LLMSpellError | None = None

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """``closed`` is the normal one."""
        if self._opened is None:
            return "closed"
        return "open" if self._left() > 0 else "half-open"

    def _left(self) -> float:
        """Seconds until the first probe."""
        assert self._opened is not None
        # A clock that jumped backwards must not prolong the pause by more than itself.
        self._opened = min(self._opened, now := self._clock())
        return self._opened + self._policy.seconds - now

    def check(self) -> None:
        """Raise `CircuitOpenError` while no call may be made."""
        if self.state == "open":
            raise self._refused(self._left())

    @contextmanager
    def call(self) -> Generator[None]:
        """Around a call: counts how it ended.

        Raises:
            CircuitOpenError: when it must not be made.
        """
        probe = self._admitted()
        try:
            yield
        except LLMSpellError as error:
            if _on_their_side(error):
                self._failure(error)
            elif not isinstance(error, RateLimitError | LLMTimeoutError | CircuitOpenError):
                self._success(probe)
            raise
        except GeneratorExit:
            # The reader of a stream has seen enough: it was answered.
            self._success(probe)
            raise
        else:
            self._success(probe)
        finally:
            if probe:
                self._probing -= 1

    def _admitted(self) -> bool:
        """Whether the call is a probe; raises when it may not be made at all."""
        state = self.state
        if state == "closed":
            return False
        if state == "open":
            raise self._refused(self._left())
        if self._probing >= self._policy.probes:
            raise self._refused(1.0)
        self._probing += 1
        return True

    def _failure(self, error: LLMSpellError) -> None:
        self._failed += 1
        self._last = error
        if self._opened is not None or 0 < self._policy.failures <= self._failed:
            self._opened = self._clock()
            self._succeeded = 0

    def _success(self, probe: bool) -> None:
        if self._opened is None:
            self._failed = 0
            return
        if not probe:
            # It was begun before the pause, and says nothing of what is now.
            return
        self._succeeded += 1
        if self._succeeded >= self._policy.successes:
            self._opened = None
            self._failed = self._succeeded = 0

    def _refused(self, seconds: float) -> CircuitOpenError:
        last = "" if self._last is None else f" The last failure: {self._last.message}"
        return CircuitOpenError(
            f"{self._name} failed {self._failed} times in a row and is left alone; "
            f"it is asked again in {seconds:.1f}s",
            provider=self._name,
            kind="server",
            retry_after=seconds,
            hint=f"Wait, or name a model of another provider as its fallback.{last}",
        )


def _on_their_side(error: LLMSpellError) -> bool:
    if isinstance(error, RateLimitError | CircuitOpenError):
        return False
    if isinstance(error, LLMTimeoutError) and error.operation == "execution":
        return False
    return error.is_retryable()


class Breaking(Wrapper):
    """Fails at once while the breaker is open, and tells it how calls end."""

    def __init__(self, inner: Provider, breaker: Breaker) -> None:
        super().__init__(inner)
        self.breaker = breaker

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        with self.breaker.call():
            return await self.inner.chat(request, context)

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        with self.breaker.call():
            async with closing(self.inner.stream(request, context)) as flow:
                async for chunk in flow:
                    yield chunk

    async def embed(
        self, request: EmbeddingRequest, context: ExecutionContext
    ) -> EmbeddingResponse:
        with self.breaker.call():
            return await self.inner.embed(request, context)
