"""`EchoProvider`: a deterministic model without a network, for tests, dry runs and examples."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    Message,
    ModelInfo,
    Provider,
    ToolRequest,
    Usage,
)

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, ProviderSettings, Services


class EchoProvider(Provider):
    """Answers ``Echo: <last user text>``, word by word.

    A user message with lines ``/tool NAME {json}`` makes it ask for those tool calls first, all
    of them at once, for the tools that the request offers; when their results have come, it
    answers with the results' texts. It never calls a tool with ``tool_choice="none"``.

    `max_tokens` counts words here and cuts the answer with ``finish_reason="length"``. Usage
    counts words and is marked as estimated; the cost is 0.

    It is a factory of the group ``llmspell.providers``: registered as ``echo`` and ``mock``.
    """

    def __init__(self, settings: ProviderSettings, services: Services) -> None:
        self.name = settings.name
        self._models = (settings.default_model or settings.name,)

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        """Answer word by word; lets others run between two words."""
        import asyncio

        turn = _turn(request)
        asked = list(_tool_requests(request, turn))
        if asked:
            words: list[str] = []
            reason = "tool_calls"
        else:
            words = list(_words(_answer(turn)))
            reason = "stop"
            if request.max_tokens is not None and len(words) > request.max_tokens:
                words = words[: request.max_tokens]
                reason = "length"
        for word in words:
            context.check()
            yield ChatChunk(word)
            await asyncio.sleep(0)
        context.check()
        answer = "".join(words)
        yield ChatChunk(
            response=ChatResponse(
                answer,
                request.model,
                tuple(asked),
                reason,
                Usage(
                    sum(len(message.content.split()) for message in request.messages),
                    len(answer.split()) + sum(len(one.arguments.split()) for one in asked),
                    cost=0.0,
                    estimated=True,
                ),
            )
        )

    async def models(self) -> list[ModelInfo]:
        """One: the default model, else the provider's own name."""
        return [ModelInfo(model) for model in self._models]


def _turn(request: ChatRequest) -> tuple[Message, ...]:
    """The last user message and what came after it."""
    messages = request.messages
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "user":
            return messages[index:]
    return ()


def _tool_requests(request: ChatRequest, turn: tuple[Message, ...]) -> Iterator[ToolRequest]:
    answered = any(message.role in {"assistant", "tool"} for message in turn)
    if not turn or answered or request.tool_choice == "none":
        return
    offered = {_folded(tool.name): tool.name for tool in request.tools}
    number = sum(len(message.tool_requests) for message in request.messages)
    for line in turn[0].content.splitlines():
        command, _, rest = line.strip().partition(" ")
        name, _, arguments = rest.strip().partition(" ")
        if command == "/tool" and _folded(name) in offered:
            number += 1
            yield ToolRequest(f"call_{number}", offered[_folded(name)], _object(arguments))


def _folded(name: str) -> str:
    return name.casefold().replace("-", "_")


def _object(text: str) -> str:
    """The JSON as it was written; nothing at all is the empty object."""
    text = text.strip()
    try:
        return json.dumps(json.loads(text), ensure_ascii=False) if text else "{}"
    except ValueError:
        return text  # Models write broken JSON too; whoever reads it must cope.


def _answer(turn: tuple[Message, ...]) -> str:
    if not turn:
        return "Echo: "
    results = [message.content for message in turn if message.role == "tool"]
    return "\n".join(results) if results else f"Echo: {turn[0].content}"


def _words(text: str) -> Iterator[str]:
    """The words of *text*, each with the white space behind it; together they are the text."""
    start = 0
    for index in range(1, len(text)):
        if text[index - 1].isspace() and not text[index].isspace() and text[start:index].strip():
            yield text[start:index]
            start = index
    if text:
        yield text[start:]
