"""`Ending`: calls that end with the execution they belong to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    EmbeddingResponse,
)
from llmspell_providers._wrapper import Wrapper
from llmspell_utils import closing, unless_cancelled

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext


class Ending(Wrapper):
    """Ends a call with its execution: cancelled from any thread, or past its deadline.

    Whatever the call waits for at that moment (an answer, a retry, its turn) is given up, and
    its connection closed.
    """

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        context.check()
        return await unless_cancelled(self.inner.chat(request, context), context)

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        context.check()
        async with closing(self.inner.stream(request, context)) as flow:
            while True:
                chunk = await unless_cancelled(anext(flow, None), context)
                if chunk is None:
                    return
                yield chunk

    async def embed(
        self, request: EmbeddingRequest, context: ExecutionContext
    ) -> EmbeddingResponse:
        context.check()
        return await unless_cancelled(self.inner.embed(request, context), context)
