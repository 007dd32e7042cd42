"""`ScriptedProvider`: a model whose every answer a test has written down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    LLMSpellError,
    ModelInfo,
    Provider,
    ToolRequest,
    Usage,
)

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_testing._loopback import Gated


class ScriptUsedUp(AssertionError):
    """The provider was asked once more than its script has answers.

    Not an `LLMSpellError`, so that no error handling of the code under test hides it.
    """


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted answer, of a `ScriptedProvider` or of a `ModelServer`.

    Args:
        text: What the model says.
        tools: Tool calls it asks for: ``(name, arguments)``; arguments that are text go out as
            they are, valid JSON or not.
        pieces: The deltas `text` is streamed in; the default is one, from a server one a word.
        usage: As reported; None reports nothing.
        finish_reason: The default is ``tool_calls`` with tools, else ``stop``.
        after: The answer begins when this event is set.
        between: The answer stops after its first delta until this event is set.
        error: Raised after the deltas, in the place of the completed answer. Not from a server:
            there a `Fault` is what goes wrong.
        reasoning: What the model lets be seen of its thinking, before `text`.
        data: A structured answer: goes out as JSON in the place of `text`.

    A server runs in a thread of its own: its `after` and `between` are `Gate` objects, or
    seconds.
    """

    text: str = ""
    tools: Sequence[tuple[str, Mapping[str, Any] | str]] = ()
    pieces: Sequence[str] = ()
    usage: Usage | None = field(default_factory=lambda: Usage(10, 5, cost=0.001))
    finish_reason: str | None = None
    after: Gated | float | None = None
    between: Gated | float | None = None
    error: LLMSpellError | None = None
    reasoning: str = ""
    data: Any = None

    @property
    def words(self) -> str:
        """The whole text."""
        if self.data is not None:
            return json.dumps(self.data, ensure_ascii=False)
        return "".join(self.pieces) if self.pieces else self.text

    @property
    def reason(self) -> str:
        """Why it ends: ``stop, length, tool_calls, content_filter``."""
        return self.finish_reason or ("tool_calls" if self.tools else "stop")


async def passing(gate: Gated | float | None) -> None:
    """Wait for what a `Reply` waits for."""
    if isinstance(gate, int | float):
        await asyncio.sleep(gate)
    elif gate is not None:
        await gate.wait()


Step: TypeAlias = "str | Reply | LLMSpellError | Callable[[ChatRequest], str | Reply]"


class ScriptedProvider(Provider):
    """Answers with the steps of a script, one a call.

    Args:
        script: Texts, `Reply` objects, errors to raise, or functions of the request that
            return a text or a `Reply`.
        name: The provider's name.

    `requests` holds the requests it got. A call too many raises `ScriptUsedUp`.
    """

    def __init__(self, *script: Step, name: str = "scripted") -> None:
        self.name = name
        self.requests: list[ChatRequest] = []
        self.closed = False
        self._script = list(script)
        self._calls = 0

    @property
    def remaining(self) -> int:
        """Steps that nobody asked for yet."""
        return len(self._script) - len(self.requests)

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        """Answer with the next step."""
        position = len(self.requests)
        if position >= len(self._script):
            raise ScriptUsedUp(
                f"{self.name} was asked {position + 1} times, its script has "
                f"{len(self._script)} answers; the request: {request.to_dict()}"
            )
        self.requests.append(request)
        step = self._script[position]
        if isinstance(step, LLMSpellError):
            raise step
        made = step(request) if callable(step) else step
        reply = Reply(made) if isinstance(made, str) else made
        await passing(reply.after)
        context.check()
        if reply.reasoning:
            yield ChatChunk(reasoning=reply.reasoning)
        for index, piece in enumerate(reply.pieces or ((reply.words,) if reply.words else ())):
            if index == 1:
                await passing(reply.between)
            yield ChatChunk(piece)
        if reply.error is not None:
            raise reply.error
        yield ChatChunk(response=self._response(reply, request))

    def _response(self, reply: Reply, request: ChatRequest) -> ChatResponse:
        tools: list[ToolRequest] = []
        for name, arguments in reply.tools:
            self._calls += 1
            text = arguments if isinstance(arguments, str) else json.dumps(dict(arguments))
            tools.append(ToolRequest(f"call_{self._calls}", name, text))
        return ChatResponse(
            reply.words,
            request.model,
            tuple(tools),
            reply.reason,
            reply.usage,
            reasoning=reply.reasoning,
        )

    async def models(self) -> list[ModelInfo]:
        """One, called as the provider."""
        return [ModelInfo(self.name)]

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.closed = True
