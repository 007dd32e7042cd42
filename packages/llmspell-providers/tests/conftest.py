"""What the tests of all vendors share: a provider behind the public door."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    ExecutionContext,
    LLMSpellError,
    Message,
    Provider,
    Services,
)
from llmspell_testing import ModelServer


@dataclass
class Asking:
    """A provider as `Services` resolves it, and the execution that asks it."""

    provider: Provider
    model: str
    services: Services
    context: ExecutionContext
    key: str

    def request(self, *messages: Message | str, **fields: Any) -> ChatRequest:
        """A request; a text is a user's message."""
        said = tuple(Message("user", m) if isinstance(m, str) else m for m in messages or ("Hi",))
        return ChatRequest(self.model, said, **fields)

    async def chat(self, *messages: Message | str, **fields: Any) -> ChatResponse:
        """The answer."""
        return await self.provider.chat(self.request(*messages, **fields), self.context)

    async def stream(self, *messages: Message | str, **fields: Any) -> list[ChatChunk]:
        """The answer in pieces."""
        flow = self.provider.stream(self.request(*messages, **fields), self.context)
        return [chunk async for chunk in flow]

    async def failure(self, *, stream: bool = False, **fields: Any) -> LLMSpellError:
        """The error of a call, which must not show the key anywhere."""
        with pytest.raises(LLMSpellError) as caught:
            await (self.stream(**fields) if stream else self.chat(**fields))
        error = caught.value
        shown = f"{error} {error!r} {error.hint} {error.to_dict()} {error.__dict__}"
        assert self.key not in shown
        return error


@pytest.fixture
async def asking(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Asking]]:
    """``asking(server, "model", option=…)``: configured with the server's address and key, and
    without retries.
    """
    for name in list(os.environ):
        if name.startswith("LLMSPELL_") or name.endswith(("_API_KEY", "_BASE_URL", "_TOKEN")):
            monkeypatch.delenv(name)
    opened: list[Services] = []

    def make(server: ModelServer, model: str = "test-model", **options: Any) -> Asking:
        table = {"max_retries": 0, **server.settings, **options}
        name = server.vendor.name
        services = Services({"providers": {name: table}})
        opened.append(services)
        provider, found = services.providers.resolve(f"{name}/{model}")
        return Asking(provider, found, services, ExecutionContext(services), server.key)

    yield make
    for services in opened:
        await services.aclose()
