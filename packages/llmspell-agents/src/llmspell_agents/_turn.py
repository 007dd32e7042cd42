"""One execution of an agent: ask the model, run the tools it wants, until it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmspell_agents._config import AgentConfig
from llmspell_agents._history import Remembered
from llmspell_agents._managed import Emit
from llmspell_agents._toolbox import Toolbox, failed_call, read_arguments
from llmspell_core import (
    AgentChunk,
    AgentOutput,
    ChatRequest,
    ChatResponse,
    Deadline,
    ExecutionContext,
    LLMTimeoutError,
    Message,
    Provider,
    ProviderError,
    ToolCall,
    ToolRequest,
    Usage,
)
from llmspell_utils import closing, in_order

_SAME_AGAIN = 3
"""From this many equal rounds of calls in a row on, they are refused with advice."""
_SAME_TOO_OFTEN = 5
"""At this many the execution ends."""
_ALMOST = 0.05
"""Seconds that clocks may disagree about whether the time is over."""


class Turn:
    """One execution in progress.

    `entries` are the messages it adds to the conversation. They are consistent at every await:
    a request for tools enters together with the answers to it.

    Args:
        config: The agent's, with what this call overrides.
        provider: Who is asked.
        model: The model's name there.
        toolbox: The tools, None for none.
        before: The messages ahead of this turn: system prompt and history.
        context: The execution.
        emit: Where pieces go; None asks for whole answers.
    """

    def __init__(
        self,
        config: AgentConfig,
        provider: Provider,
        model: str,
        toolbox: Toolbox | None,
        before: Sequence[Message],
        context: ExecutionContext,
        emit: Emit | None,
    ) -> None:
        self._config = config
        self._provider = provider
        self._model = model
        self._toolbox = toolbox
        self._before = list(before)
        self._context = context
        self._emit = emit
        self._started = context.monotonic()
        self._now = context.now()
        self.entries: list[Remembered] = []
        self._calls: list[ToolCall] = []
        self._usage: Usage | None = None
        self._text = ""
        self._last: ChatResponse | None = None
        self._rounds = 0
        self._chunks = 0
        self._previous: Any = None
        self._same = 0

    async def run(self, text: str) -> AgentOutput:
        """The whole of it. A limit ends it with what there is, and says so in the reason."""
        self._remember(Message("user", text))
        while True:
            self._context.check()
            reply = await self._ask()
            if reply is None:
                return self._output("execution_time")
            self._last = reply
            self._text = reply.content or self._text
            if reply.usage is not None:
                self._usage = reply.usage if self._usage is None else self._usage + reply.usage
            if not reply.tool_requests:
                self._remember(Message("assistant", reply.content))
                return self._output(reply.finish_reason)
            reason = await self._use_tools(reply)
            if reason is not None:
                return self._output(reason)

    def _remember(self, message: Message) -> None:
        self.entries.append(Remembered(message, self._now))

    def _remaining(self) -> float:
        """Seconds of `max_execution_time` that are left, by the run's own (recorded) clock."""
        elapsed = self._context.monotonic() - self._started
        return self._config.limits.max_execution_time - elapsed

    def _request(self) -> ChatRequest:
        config = self._config
        return ChatRequest(
            self._model,
            (*self._before, *(entry.message for entry in self.entries)),
            () if self._toolbox is None else self._toolbox.schemas,
            temperature=config.temperature,
            max_tokens=config.max_tokens,
            top_p=config.top_p,
            stop=config.stop,
            timeout_seconds=config.timeout_seconds,
            extra=dict(config.settings),
        )

    async def _ask(self) -> ChatResponse | None:
        """The model's next answer; None when the time is over."""
        remaining = self._remaining()
        if remaining <= 0:
            return None
        bounded = self._context.child(deadline=Deadline(remaining))
        try:
            if self._emit is None:
                reply = await self._provider.chat(self._request(), bounded)
            else:
                reply = await self._streamed(bounded)
        except LLMTimeoutError:
            if self._remaining() > _ALMOST:
                raise
            self._context.check()
            return None
        self._now = self._context.now()
        return reply

    async def _streamed(self, context: ExecutionContext) -> ChatResponse:
        reply: ChatResponse | None = None
        async with closing(self._provider.stream(self._request(), context)) as flow:
            async for chunk in flow:
                if chunk.text:
                    await self._tell("text", text=chunk.text)
                reply = chunk.response or reply
        if reply is None:
            raise ProviderError(
                f"{self._provider.name} ended its answer without completing it",
                provider=self._provider.name,
                kind="protocol",
            )
        return reply

    async def _tell(self, kind: str, *, text: str = "", data: Any = None) -> None:
        if self._emit is not None:
            await self._emit(AgentChunk(kind, self._chunks, text, data))
            self._chunks += 1

    async def _use_tools(self, reply: ChatResponse) -> str | None:
        """Run the calls of *reply* and remember them; why the execution ends, if it does."""
        requests = reply.tool_requests
        outcomes: list[tuple[ToolCall, str] | None] = [None] * len(requests)
        for request in requests:
            parameters, _ = read_arguments(request.arguments)
            asked = ToolCall(request.id, request.name, parameters or {})
            await self._tell("tool_call", data=asked.to_dict())
        try:
            reason = await self._settle(requests, outcomes)
        finally:
            # Also when cancelled half-way: what was done stays known, and no request is left
            # without an answer, which providers would refuse next time.
            self._remember(Message("assistant", reply.content, requests))
            for request, outcome in zip(requests, outcomes, strict=True):
                call, told = outcome or _not_run(request, "cancelled before it finished")
                self._calls.append(call)
                self._remember(Message("tool", told, tool_request_id=request.id))
        for outcome in outcomes:
            if outcome is not None:
                await self._tell("tool_result", data=outcome[0].to_dict())
        return reason

    async def _settle(
        self, requests: Sequence[ToolRequest], outcomes: list[tuple[ToolCall, str] | None]
    ) -> str | None:
        """Fill *outcomes*, in the order of *requests*, by running or refusing them."""
        limits = self._config.limits
        if self._rounds >= limits.max_recursion_depth:
            words = f"the limit of {limits.max_recursion_depth} rounds of tool calls is reached"
            return _refuse(requests, outcomes, 0, words, "recursion_depth")
        self._rounds += 1
        same = self._equal_rounds(requests)
        if same >= _SAME_AGAIN:
            words = f"the same calls were made {same} times in a row; use the results you have"
            reason = "repeated_calls" if same >= _SAME_TOO_OFTEN else None
            return _refuse(requests, outcomes, 0, words, reason)
        left = max(0, limits.max_tool_calls - len(self._calls))
        await in_order(
            [self._run(at, request, outcomes) for at, request in enumerate(requests[:left])]
        )
        if left < len(requests):
            words = f"the limit of {limits.max_tool_calls} tool calls is reached"
            return _refuse(requests, outcomes, left, words, "tool_calls")
        return None

    async def _run(
        self, at: int, request: ToolRequest, outcomes: list[tuple[ToolCall, str] | None]
    ) -> None:
        if self._toolbox is None:
            outcomes[at] = _not_run(request, "this agent has no tools")
            return
        remaining = max(0.001, self._remaining())
        bounded = self._context.child(deadline=Deadline(remaining))
        outcomes[at] = await self._toolbox.call(request, bounded, remaining=remaining)

    def _equal_rounds(self, requests: Sequence[ToolRequest]) -> int:
        """How many rounds in a row, with this one, asked for the same."""
        mark = [(r.name, read_arguments(r.arguments)[0] or r.arguments) for r in requests]
        self._same = self._same + 1 if mark == self._previous else 1
        self._previous = mark
        return self._same

    def _output(self, reason: str) -> AgentOutput:
        took = (self._context.monotonic() - self._started) * 1000
        usage = self._usage
        metadata: dict[str, Any] = {
            "model": self._model if self._last is None else self._last.model,
            "provider": self._provider.name,
            "token_count": None if usage is None else usage.total_tokens,
            "estimated_tokens": None if usage is None else usage.total_tokens,
            "token_count_estimated": usage is not None and usage.estimated,
            "execution_time_ms": took,
            "duration_ms": took,
            "finish_reason": reason,
            "tool_rounds": self._rounds,
            "request_id": None if self._last is None else self._last.request_id,
        }
        if usage is not None and usage.cost is not None:
            metadata["cost"] = usage.cost
            metadata["estimated_cost_cents"] = usage.cost * 100
        return AgentOutput(
            self._text,
            tool_calls=tuple(self._calls),
            usage=usage,
            finish_reason=reason,
            metadata=metadata,
        )


def _not_run(request: ToolRequest, words: str) -> tuple[ToolCall, str]:
    parameters, _ = read_arguments(request.arguments)
    return failed_call(request, request.name, parameters or {}, "ResourceLimit", words, None)


def _refuse(
    requests: Sequence[ToolRequest],
    outcomes: list[tuple[ToolCall, str] | None],
    first: int,
    words: str,
    reason: str | None,
) -> str | None:
    """Answer the requests from *first* on with *words*; gives *reason* back."""
    for at in range(first, len(requests)):
        outcomes[at] = _not_run(requests[at], words)
    return reason
