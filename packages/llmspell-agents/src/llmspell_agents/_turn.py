"""One execution of an agent: ask the model, run the tools it wants, until it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmspell_agents._history import Remembered
from llmspell_agents._toolbox import Toolbox, failed_call, read_arguments
from llmspell_core import (
    AgentOutput,
    BudgetError,
    ChatResponse,
    Deadline,
    ExecutionContext,
    LLMTimeoutError,
    Message,
    ProviderError,
    ToolCall,
    ToolRequest,
    Usage,
    ValidationError,
)
from llmspell_utils import in_order, unless_cancelled

if TYPE_CHECKING:
    from llmspell_agents._asking import Asking, Tell
    from llmspell_agents._config import AgentConfig
    from llmspell_agents._dialogue import Dialogue

_SAME_AGAIN = 3
"""From this many equal rounds of calls in a row on, they are refused with advice."""
_SAME_TOO_OFTEN = 5
"""At this many the execution ends."""
_ALMOST = 0.05
"""Seconds that clocks may disagree about whether the time is over."""
_NO_TIME = 1e-6
_LARGE, _SMALL = 30_000, 1_000
"""Tokens between which a transcript is summed up in ever smaller pieces."""
_FINISH = Message(
    "user",
    "(Note: the budget of this task is nearly spent. No more tools can be called. Give your "
    "final answer now, from what you have, and say what is missing.)",
)
_HOOKED_LIMITS = {
    "tool_calls": "max_tool_calls",
    "recursion_depth": "max_recursion_depth",
    "execution_time": "max_execution_time",
    "budget": "budget",
}

Outcomes = list[tuple[ToolCall, str] | None]


class Clock:
    """The time of one execution, by the run's own (recorded) clock.

    It is looked at when something has happened, because each look is written down where a run is
    recorded; in between `elapsed` and `now` are those of the last look.
    """

    def __init__(self, context: ExecutionContext) -> None:
        self._context = context
        self._started = context.monotonic()
        self._began = context.now()
        self.elapsed = 0.0
        """Seconds since the beginning."""

    def look(self) -> float:
        """Seconds since the beginning, as of now."""
        self.elapsed = self._context.monotonic() - self._started
        return self.elapsed

    @property
    def now(self) -> float:
        """Unix seconds."""
        return self._began + self.elapsed

    @property
    def monotonic(self) -> float:
        """As `ExecutionContext.monotonic`."""
        return self._started + self.elapsed


class Turn:
    """One execution in progress.

    What it adds to the conversation is consistent at every await: a request for tools enters
    together with the answers to it.

    Args:
        config: The agent's, with what this call overrides.
        asking: The model.
        toolbox: The tools, None for none.
        dialogue: What is sent.
        context: The execution, with its budget.
        tell: Where pieces of the answer go, None for nowhere.
    """

    def __init__(
        self,
        config: AgentConfig,
        asking: Asking,
        toolbox: Toolbox | None,
        dialogue: Dialogue,
        context: ExecutionContext,
        tell: Tell | None,
    ) -> None:
        self._config = config
        self._asking = asking
        self._toolbox = toolbox
        self._dialogue = dialogue
        self._context = context
        self._tell = tell
        self._clock = Clock(context)
        self.entries: list[Remembered] = []
        self._calls: list[ToolCall] = []
        self._usage: Usage | None = None
        self._text = ""
        self._reasoning = ""
        self._last: ChatResponse | None = None
        self._rounds = 0
        self._previous: Any = None
        self._same = 0
        self._finishing = False
        self._overrun = False
        self._too_long: ProviderError | None = None

    async def run(self, asked: Message) -> AgentOutput:
        """The whole of it. A limit ends it with what there is, and says so in the reason.

        Raises:
            LLMSpellError: what the provider or the check of the input raised.
        """
        self._remember(asked)
        while True:
            self._context.check()
            reply = await self._ask()
            if isinstance(reply, str):
                return await self._ended(reply)
            if not reply.tool_requests:
                return await self._answered(reply)
            reason = await self._use_tools(reply)
            if reason is not None:
                return await self._ended(reason)

    async def _answered(self, reply: ChatResponse) -> AgentOutput:
        schema = self._config.output_schema
        data = None
        if schema is not None:
            checked = await self._in_form(reply)
            if isinstance(checked, str):
                return await self._ended(checked)
            reply, data = checked
        self._remember(Message("assistant", reply.content, carry=reply.carry))
        reason = reply.finish_reason
        if reason == "stop" and not reply.content:
            reason = "empty"
        return self.output(reason, data=data)

    async def _in_form(self, reply: ChatResponse) -> tuple[ChatResponse, Any] | str:
        """*reply* and its value in the form that was asked for; after one repair at most. A
        word, when a limit came in between.
        """
        schema = self._config.output_schema
        assert schema is not None
        data, problems = schema.read(reply.content)
        if problems:
            self._dialogue.notes += [
                Message("assistant", reply.content or "(nothing)", carry=reply.carry),
                Message("user", schema.complaint(problems)),
            ]
            again = await self._ask(tools=False)
            if isinstance(again, str):
                return again
            reply = again
            data, problems = schema.read(reply.content)
        if problems:
            from llmspell_agents._schema import OutputError

            listed = "; ".join(map(str, problems))
            cut = " (cut off at max_tokens)" if reply.finish_reason == "length" else ""
            raise OutputError(
                f"the answer of '{self._config.name}' does not fit its schema, not even after "
                f"being told what is wrong{cut}: {listed}",
                text=reply.content,
                problems=[problem.to_dict() for problem in problems],
                hint="Raise max_tokens."
                if cut
                else "Simplify the schema, say more about it in the prompt, or take another model.",
            )
        return reply, data

    def _remember(self, message: Message) -> None:
        self.entries.append(Remembered(message, self._clock.now))
        self._dialogue.entries.append(message)

    def _remaining(self) -> float:
        """Seconds of `max_execution_time` that were left at the last look at the clock."""
        return self._config.limits.max_execution_time - self._clock.elapsed

    def _out_of_time(self) -> bool:
        """Whether it is the agent's own time that is over; looks at the clock."""
        self._clock.look()
        return self._remaining() <= _ALMOST

    async def _ask(self, *, tools: bool = True) -> ChatResponse | str:
        """The model's next answer; a word when a limit was reached: ``execution_time`` or
        ``budget``.
        """
        remaining = self._remaining()
        if remaining <= _NO_TIME:
            return "execution_time"
        self._watch_budget()
        bounded = self._context.child(deadline=Deadline(remaining))
        try:
            reply = await self._fitted(bounded, tools=tools and not self._finishing)
        except BudgetError:
            if self._last is None:
                raise
            return "budget"
        except LLMTimeoutError:
            if not self._out_of_time():
                raise
            self._context.check()
            return "execution_time"
        self._clock.look()
        self._last = reply
        self._text = reply.content or self._text
        self._reasoning = reply.reasoning or self._reasoning
        return reply

    def _watch_budget(self) -> None:
        """At the soft limit of the budget, tell the model to finish, once."""
        budget = self._context.budget
        if budget is None or self._finishing or self._last is None:
            return
        now = self._clock.monotonic
        # Observed: agents at once spend in another order when they are replayed.
        if self._context.observe("budget.soft", None, lambda: budget.nearly_spent(now)):
            self._finishing = True
            self._dialogue.notes.append(_FINISH)

    async def _fitted(self, context: ExecutionContext, *, tools: bool) -> ChatResponse:
        """Ask with what fits; where the provider finds it too long, once more with less."""
        while True:
            older = self._dialogue.foldable()
            if older:
                await self._sum_up(older, context)
            try:
                messages = self._dialogue.messages()
            except ValidationError as error:
                # Half of what the provider refused is no limit to speak of.
                raise self._too_long or error from None
            try:
                reply = await self._asking.ask(
                    messages,
                    context,
                    offer=tools and self._toolbox is not None,
                    first=not self._calls,
                )
            except ProviderError as error:
                if error.kind != "context_length":
                    raise
                self._retry_shorter(error)
            else:
                self._count(reply)
                return reply

    def _retry_shorter(self, error: ProviderError) -> None:
        """Raise *error*, unless the conversation may be compacted and was not yet."""
        if self._config.memory.strategy != "summary" or self._too_long is not None:
            from llmspell_agents._dialogue import compaction_hint

            advice = compaction_hint(self._config.memory)
            error.hint = f"{error.hint or ''}{advice}".strip() or None
            raise error
        self._too_long = error
        self._dialogue.tighten()

    async def _sum_up(self, older: Sequence[Message], context: ExecutionContext) -> None:
        from llmspell_agents._compaction import summed_up

        with context.span("agent.compaction", self._config.name) as inner:

            async def ask(messages: list[Message]) -> str:
                reply = await self._asking.plainly(messages, inner)
                self._count(reply)
                return reply.content

            before, limit = self._dialogue.earlier_summary, self._dialogue.limit
            while True:
                try:
                    summary = await summed_up(older, before, ask, limit=limit)
                    break
                except ProviderError as error:
                    # The window is unknown, or smaller than thought: in smaller pieces, then.
                    if error.kind != "context_length" or (limit or _LARGE) < _SMALL:
                        raise
                    limit = (limit or _LARGE) // 4
        if summary:
            self._dialogue.fold(older, summary, self._clock.now)

    def _count(self, reply: ChatResponse) -> None:
        if reply.usage is not None:
            self._usage = reply.usage if self._usage is None else self._usage + reply.usage

    async def _say(self, kind: str, data: Any) -> None:
        if self._tell is not None:
            await self._tell(kind, "", data)

    async def _use_tools(self, reply: ChatResponse) -> str | None:
        """Run the calls of *reply* and remember them; why the execution ends, if it does."""
        requests = reply.tool_requests
        outcomes: Outcomes = [None] * len(requests)
        for request in requests if self._tell is not None else ():
            parameters, _ = read_arguments(request.arguments)
            asked = ToolCall(request.id, request.name, parameters or {})
            await self._say("tool_call", asked.to_dict())
        try:
            reason = await self._settle(requests, outcomes)
        finally:
            # Also when cancelled half-way: what was done stays known, and no request is left
            # without an answer, which providers would refuse next time.
            self._remember(Message("assistant", reply.content, requests, carry=reply.carry))
            for request, outcome in zip(requests, outcomes, strict=True):
                call, told = outcome or _not_run(request, "cancelled before it finished")
                self._calls.append(call)
                self._remember(Message("tool", told, tool_request_id=request.id))
        for outcome in outcomes:
            if outcome is not None:
                await self._say("tool_result", outcome[0].to_dict())
        return reason

    async def _settle(self, requests: Sequence[ToolRequest], outcomes: Outcomes) -> str | None:
        """Fill *outcomes*, in the order of *requests*, by running or refusing them."""
        limits = self._config.limits
        if self._finishing:
            reason = "budget" if self._overrun else None
            self._overrun = True
            return _refuse(requests, outcomes, 0, "the budget is nearly spent", reason)
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
        await self._run_all(requests[:left], outcomes)
        if left < len(requests):
            words = f"the limit of {limits.max_tool_calls} tool calls is reached"
            return _refuse(requests, outcomes, left, words, "tool_calls")
        return None

    async def _run_all(self, requests: Sequence[ToolRequest], outcomes: Outcomes) -> None:
        """Run calls, at once or one after the other, for as long as there is time."""
        toolbox = self._toolbox
        if toolbox is None:
            _refuse(requests, outcomes, 0, "this agent has no tools", None)
            return
        bounded = self._context.child(deadline=Deadline(max(0.001, self._remaining())))

        async def one(at: int) -> None:
            outcomes[at] = await toolbox.call(requests[at], bounded, self._clock)

        batches = [range(len(requests))]
        if not self._config.parallel_tools:
            batches = [range(at, at + 1) for at in range(len(requests))]
        try:
            for batch in batches:
                await unless_cancelled(in_order([one(at) for at in batch]), bounded)
        except LLMTimeoutError:
            if not self._out_of_time():
                raise
            for at, request in enumerate(requests):
                outcomes[at] = outcomes[at] or _not_run(request, "the time of the agent was over")

    def _equal_rounds(self, requests: Sequence[ToolRequest]) -> int:
        """How many rounds in a row, with this one, asked for the same."""
        mark = [(r.name, read_arguments(r.arguments)[0] or r.arguments) for r in requests]
        self._same = self._same + 1 if mark == self._previous else 1
        self._previous = mark
        return self._same

    async def _ended(self, reason: str) -> AgentOutput:
        """What there is, at a limit."""
        output = self.output(reason)
        limit = _HOOKED_LIMITS.get(reason)
        hooks = self._context.services.peek("hooks")
        if limit is not None and hooks is not None and hooks.wants("ResourceLimitExceeded"):
            told = {"agent_name": self._config.name, "limit": limit, "reason": reason}
            await hooks.run("ResourceLimitExceeded", told, self._context)
        return output

    def output(self, reason: str, *, data: Any = None) -> AgentOutput:
        """What there is so far."""
        took = self._clock.elapsed * 1000
        usage, last = self._usage, self._last
        metadata: dict[str, Any] = {
            "model": self._asking.model if last is None else last.model,
            "provider": (None if last is None else last.provider) or self._asking.provider.name,
            "token_count": None if usage is None else usage.total_tokens,
            "estimated_tokens": None if usage is None else usage.total_tokens,
            "token_count_estimated": usage is not None and usage.estimated,
            "finish_reason": reason,
            "execution_time_ms": took,
            "duration_ms": took,
            "tool_rounds": self._rounds,
            "request_id": None if last is None else last.request_id,
        }
        if usage is not None and usage.cost is not None:
            metadata["cost"] = usage.cost
            metadata["estimated_cost_cents"] = usage.cost * 100
        if self._reasoning:
            metadata["reasoning"] = self._reasoning
        if self._config.budget is not None and self._context.budget is not None:
            metadata["budget"] = self._context.budget.to_dict()
        return AgentOutput(
            self._text,
            data=data,
            tool_calls=tuple(self._calls),
            usage=usage,
            finish_reason=reason,
            metadata=metadata,
        )


def _not_run(request: ToolRequest, words: str) -> tuple[ToolCall, str]:
    parameters, _ = read_arguments(request.arguments)
    return failed_call(request, request.name, parameters or {}, "ResourceLimit", words, None)


def _refuse(
    requests: Sequence[ToolRequest], outcomes: Outcomes, first: int, words: str, reason: str | None
) -> str | None:
    """Answer the requests from *first* on with *words*; gives *reason* back."""
    for at in range(first, len(requests)):
        outcomes[at] = _not_run(requests[at], words)
    return reason
