"""`Priced`: answers that say who gave them and what they cost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    EmbeddingResponse,
    Provider,
)
from llmspell_providers._prices import PriceList
from llmspell_providers._wrapper import Wrapper
from llmspell_utils import closing

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext


class Priced(Wrapper):
    """Adds the provider's name to the answer, and its cost where the price is known."""

    def __init__(self, inner: Provider, prices: PriceList) -> None:
        super().__init__(inner)
        self.prices = prices

    def _priced(self, response: ChatResponse, request: ChatRequest) -> ChatResponse:
        usage = self.prices.priced(response.usage, response.model, request.model)
        return replace(response, usage=usage, provider=self.name)

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        return self._priced(await self.inner.chat(request, context), request)

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        async with closing(self.inner.stream(request, context)) as flow:
            async for chunk in flow:
                if chunk.response is not None:
                    chunk = replace(chunk, response=self._priced(chunk.response, request))
                yield chunk

    async def embed(
        self, request: EmbeddingRequest, context: ExecutionContext
    ) -> EmbeddingResponse:
        response = await self.inner.embed(request, context)
        usage = self.prices.priced(response.usage, response.model, request.model)
        return replace(response, usage=usage)
