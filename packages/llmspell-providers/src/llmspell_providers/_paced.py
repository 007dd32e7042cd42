"""`Paced`: calls that begin when the limits of the provider have room for them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    EmbeddingResponse,
    Provider,
)
from llmspell_providers._pacing import Need, Pace, Turn
from llmspell_providers._wrapper import Request, Wrapper
from llmspell_utils import closing

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext


class Paced(Wrapper):
    """Waits for its turn before each call, and tells the pace how the call went.

    Args:
        inner: Who is asked.
        pace: Shared by all calls of one provider.
        gate: Asked when the turn has come; it raises when the call is not wanted any more.
    """

    def __init__(
        self, inner: Provider, pace: Pace, *, gate: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(inner)
        self.pace = pace
        self._gate = gate

    @asynccontextmanager
    async def _turn(self, request: Request, context: ExecutionContext) -> AsyncGenerator[Turn]:
        need = Need(request)
        places = self.pace.places
        if places is None:
            with await self.pace.turn(request.model, need, context, self._gate) as turn:
                yield turn
            return
        async with places:
            with await self.pace.turn(request.model, need, context, self._gate) as turn:
                yield turn

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        async with self._turn(request, context) as turn:
            response = await self.inner.chat(request, context)
            turn.took(response.usage)
            return response

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        async with (
            self._turn(request, context) as turn,
            closing(self.inner.stream(request, context)) as flow,
        ):
            async for chunk in flow:
                turn.heard()
                if chunk.response is not None:
                    turn.took(chunk.response.usage)
                yield chunk

    async def embed(
        self, request: EmbeddingRequest, context: ExecutionContext
    ) -> EmbeddingResponse:
        async with self._turn(request, context) as turn:
            response = await self.inner.embed(request, context)
            turn.took(response.usage)
            return response
