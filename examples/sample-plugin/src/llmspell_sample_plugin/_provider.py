"""`ReverseProvider`: a model provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    ModelInfo,
    Provider,
    ProviderError,
    Usage,
)

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, ProviderSettings, Services


class ReverseProvider(Provider):
    """Answers with the words of the last user message in reverse order.

    The class is its own factory: it is called with the settings of ``[providers.NAME]`` and the
    services. It must not connect to anything yet.
    """

    def __init__(self, settings: ProviderSettings, services: Services) -> None:
        self.name = settings.name

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        """Yield the answer word by word, then the whole response.

        Raises:
            ProviderError: when nobody said anything. Never answer with an apology instead.
        """
        asked = [message.content for message in request.messages if message.role == "user"]
        if not asked:
            raise ProviderError(
                f"{self.name} was given no user message",
                provider=self.name,
                kind="invalid_request",
            )
        words = asked[-1].split()[::-1]
        said: list[str] = []
        for word in words:
            context.check()
            said.append(word if not said else f" {word}")
            yield ChatChunk(said[-1])
        context.check()
        prompt = sum(len(message.content.split()) for message in request.messages)
        usage = Usage(prompt, len(words), cost=0.0, estimated=True)
        yield ChatChunk(response=ChatResponse("".join(said), request.model, usage=usage))

    async def models(self) -> list[ModelInfo]:
        """The models it offers, by id."""
        return [ModelInfo("words")]
