"""`Wrapper`: the base of everything that is put around a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    EmbeddingResponse,
    ModelInfo,
    Provider,
)

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext

Request = ChatRequest | EmbeddingRequest


class Wrapper(Provider):
    """Passes every call on to `inner`; subclasses put something around the calls that matter."""

    def __init__(self, inner: Provider) -> None:
        self.name = inner.name
        self.inner = inner

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        return await self.inner.chat(request, context)

    def stream(self, request: ChatRequest, context: ExecutionContext) -> AsyncIterator[ChatChunk]:
        return self.inner.stream(request, context)

    async def embed(
        self, request: EmbeddingRequest, context: ExecutionContext
    ) -> EmbeddingResponse:
        return await self.inner.embed(request, context)

    async def models(self) -> list[ModelInfo]:
        return await self.inner.models()

    async def check(self) -> None:
        await self.inner.check()

    def window(self, model: str) -> int | None:
        return self.inner.window(model)

    async def aclose(self) -> None:
        await self.inner.aclose()
