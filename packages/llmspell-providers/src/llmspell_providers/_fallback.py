"""`Falling`: other models answer when the first one cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    LLMSpellError,
    Provider,
    ProviderError,
)
from llmspell_providers._wrapper import Wrapper
from llmspell_utils import closing

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext


@dataclass(frozen=True, slots=True)
class Substitute:
    """A model that stands in. `related`: of the same provider type, so that what is written for
    the first one's vendor (`ChatRequest.extra`) suits it too.
    """

    provider: Provider
    model: str
    related: bool = False

    @property
    def text(self) -> str:
        """``provider/model``."""
        return f"{self.provider.name}/{self.model}"

    def request(self, request: ChatRequest) -> ChatRequest:
        """*request* for this model."""
        extra = request.extra if self.related else {}
        return replace(request, model=self.model, extra=extra)


class Falling(Wrapper):
    """Asks the first model, and when it cannot answer the substitutes, in order.

    That is: after failures that may pass and were retried, a rate limit that would take too
    long, an open circuit, a spent quota. What is wrong with the request itself is wrong for
    everybody, and what the caller has seen the beginning of is not begun again. Vectors of
    different models do not compare: `embed` has no substitutes. The answer names who gave it
    (`ChatResponse.provider`, `model`).
    """

    def __init__(self, inner: Provider, substitutes: Sequence[Substitute]) -> None:
        super().__init__(inner)
        self.substitutes = tuple(substitutes)

    def _line(self, request: ChatRequest) -> list[tuple[Provider, ChatRequest, str]]:
        first = (self.inner, request, f"{self.name}/{request.model}")
        return [first, *((s.provider, s.request(request), s.text) for s in self.substitutes)]

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        failures = _Failures(context)
        for provider, asked, text in self._line(request):
            try:
                return await provider.chat(asked, context)
            except LLMSpellError as error:
                failures.add(text, error)
        raise failures.whole()

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        failures = _Failures(context)
        for provider, asked, text in self._line(request):
            seen = False
            try:
                async with closing(provider.stream(asked, context)) as flow:
                    async for chunk in flow:
                        seen = True
                        yield chunk
                return
            except LLMSpellError as error:
                if seen:
                    raise
                failures.add(text, error)
        raise failures.whole()

    async def aclose(self) -> None:
        # The substitutes belong to whoever built them.
        await self.inner.aclose()


class _Failures:
    """Who failed so far, and why."""

    def __init__(self, context: ExecutionContext) -> None:
        self._context = context
        self._all: list[tuple[str, LLMSpellError]] = []

    def add(self, text: str, error: LLMSpellError) -> None:
        """Remember it; raises what no other model would help with."""
        self._context.check()
        first = not self._all
        if not (_others_may_help(error) or (not first and _out_of_the_question(error))):
            raise error
        self._all.append((text, error))
        import logging

        logging.getLogger("llmspell.providers").warning("%s cannot answer: %s", text, error.message)

    def whole(self) -> LLMSpellError:
        """The error when all failed: the first one's, with those of the others."""
        _, error = self._all[0]
        others = {text: str(failed) for text, failed in self._all[1:]}
        error.details["fallbacks"] = others
        told = "; ".join(f"{text}: {words}" for text, words in others.items())
        error.hint = f"{error.hint + ' ' if error.hint else ''}The fallbacks failed too: {told}"
        return error


def _others_may_help(error: LLMSpellError) -> bool:
    return error.is_retryable() or (isinstance(error, ProviderError) and error.kind == "quota")


def _out_of_the_question(error: LLMSpellError) -> bool:
    """A substitute that is not set up: no reason to keep the next one from its turn."""
    if isinstance(error, ProviderError):
        return error.kind in {"auth", "model_not_found"}
    return isinstance(error, ConfigurationError)
