"""`Recorded`: model calls as effects of the execution they belong to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    Codec,
    EffectClass,
    EmbeddingRequest,
    EmbeddingResponse,
    Usage,
)
from llmspell_providers._wrapper import Wrapper

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext


def _tokens(usage: Usage | None) -> int | None:
    return None if usage is None else usage.total_tokens


def _cost(usage: Usage | None) -> float | None:
    return None if usage is None else usage.cost


def _chunk_usage(chunk: ChatChunk) -> Usage | None:
    return None if chunk.response is None else chunk.response.usage


_CHAT: Codec[ChatResponse] = Codec(
    ChatResponse.to_dict,
    ChatResponse.from_dict,
    tokens=lambda response: _tokens(response.usage),
    cost=lambda response: _cost(response.usage),
)
_CHUNKS: Codec[ChatChunk] = Codec(
    ChatChunk.to_dict,
    ChatChunk.from_dict,
    tokens=lambda chunk: _tokens(_chunk_usage(chunk)),
    cost=lambda chunk: _cost(_chunk_usage(chunk)),
)
_VECTORS: Codec[EmbeddingResponse] = Codec(
    EmbeddingResponse.to_dict,
    EmbeddingResponse.from_dict,
    tokens=lambda response: _tokens(response.usage),
    cost=lambda response: _cost(response.usage),
)


class Recorded(Wrapper):
    """Makes each call the effect ``model.chat`` or ``model.embed`` of its execution.

    A call that was interrupted may be made again: it costs money, and changes nothing.
    """

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        return await context.effect(
            "model.chat",
            {"provider": self.name, **request.to_dict()},
            lambda inside: self.inner.chat(request, inside),
            effect_class=EffectClass.IDEMPOTENT,
            codec=_CHAT,
        )

    def stream(self, request: ChatRequest, context: ExecutionContext) -> AsyncIterator[ChatChunk]:
        return context.effect_stream(
            "model.chat",
            {"provider": self.name, "stream": True, **request.to_dict()},
            lambda inside: self.inner.stream(request, inside),
            effect_class=EffectClass.IDEMPOTENT,
            codec=_CHUNKS,
        )

    async def embed(
        self, request: EmbeddingRequest, context: ExecutionContext
    ) -> EmbeddingResponse:
        return await context.effect(
            "model.embed",
            {"provider": self.name, **request.to_dict()},
            lambda inside: self.inner.embed(request, inside),
            effect_class=EffectClass.IDEMPOTENT,
            codec=_VECTORS,
        )
