"""What all our agents share: configuration, memory, life, figures, and streaming."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from llmspell_agents._config import AgentConfig
from llmspell_agents._history import History
from llmspell_agents._hooks import hooked
from llmspell_agents._lifecycle import DestroyedError, Lifecycle, StateError
from llmspell_agents._scope import entered, scope_of, with_spent
from llmspell_agents._statistics import Statistics
from llmspell_core import (
    Agent,
    AgentChunk,
    AgentInput,
    AgentOutput,
    BaseAgent,
    ComponentMetadata,
    ValidationError,
)

if TYPE_CHECKING:
    import asyncio

    from llmspell_agents._alerts import Alerts
    from llmspell_agents._scope import Scope
    from llmspell_core import ExecutionContext, LLMSpellError, Services

Emit = Callable[[AgentChunk], Awaitable[None]]

_AHEAD = 16
"""Chunks a stream may be ahead of whoever reads it."""

__all__ = ["DestroyedError", "Emit", "ManagedAgent", "StateError"]


class ManagedAgent(Agent):
    """An agent built from an `AgentConfig`.

    Subclasses write `answer`. Around it an execution has: the state Running (a new agent is
    initialised and started, one in Error recovers first), the hooks of an execution, the guard
    against agents inside themselves, and the counting of what was done and spent, that of agents
    inside it included.
    """

    needs_model = False
    """Whether agents of this kind ask a model; then the run that builds one records which."""
    counts_itself = True
    """What it spends is counted by the execution around it already."""

    def __init__(self, config: AgentConfig, services: Services) -> None:
        self.config = config
        self._services = services
        self._metadata = ComponentMetadata(
            config.name, config.description, "agent", tags=config.capabilities
        )
        self._history = _memory_of(config)
        self._born = time.monotonic()
        self._life: Lifecycle | None = None
        self._figures: Statistics | None = None
        self.alerts: Alerts | None = None

    @property
    def lifecycle(self) -> Lifecycle:
        """Its state, and what changes it."""
        if self._life is None:
            self._life = Lifecycle(self._metadata, self._born)
        return self._life

    @property
    def statistics(self) -> Statistics:
        """What it has done."""
        if self._figures is None:
            self._figures = Statistics()
        return self._figures

    @property
    def state(self) -> str:
        """``Uninitialized``, ``Initializing``, ``Ready``, ``Running``, ``Paused``,
        ``Terminating``, ``Terminated``, ``Error`` or ``Recovering``.
        """
        return "Uninitialized" if self._life is None else self._life.state

    @property
    def last_error(self) -> str | None:
        """The message of the last failure."""
        return None if self._life is None else self._life.last_error

    @abstractmethod
    async def answer(
        self, input: AgentInput, context: ExecutionContext, emit: Emit | None
    ) -> AgentOutput:
        """The work. With *emit*, the answer's pieces go there as they come."""

    @property
    def metadata(self) -> ComponentMetadata:
        """Who it is; tags are its capabilities."""
        return self._metadata

    @property
    def model(self) -> str | None:
        """The model's name, for agents that have one."""
        return None

    @property
    def provider(self) -> str | None:
        """The provider's name, for agents that have one."""
        return None

    def context_tokens(self) -> int | None:
        """How many tokens its model has room for, as far as that is known."""
        return None

    def capabilities(self) -> list[str]:
        """What it can do, for discovery: its own words, ``supports_streaming`` and so on."""
        return list(dict.fromkeys([*self.config.capabilities, "supports_streaming"]))

    def tool_names(self) -> list[str]:
        """The tools it may use, ``*`` written out."""
        return []

    @property
    def conversation(self) -> Sequence[Mapping[str, Any]]:
        """``{role, content, timestamp, …}``, oldest first."""
        return [entry.to_dict() for entry in self._history.entries]

    def clear_conversation(self) -> None:
        """Forget the messages."""
        self._history.clear()

    def restore_conversation(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Go on from *messages*, as `conversation` gave them, in place of what there is.

        Raises:
            ValidationError: for what is no conversation.
        """
        self._history.restore(messages)

    def take_up(self, config: AgentConfig, conversation: Sequence[Mapping[str, Any]]) -> None:
        """Go on with another configuration and conversation, in place of what there is.

        Raises:
            ValidationError: for what is no conversation; nothing is changed then.
        """
        history = _memory_of(config)
        history.restore(conversation)
        self.config, self._history = config, history
        self._metadata = ComponentMetadata(
            config.name, config.description, "agent", tags=config.capabilities
        )

    def members(self) -> Sequence[BaseAgent]:
        """The agents it consists of; none, for most kinds."""
        return ()

    async def destroy(self, context: ExecutionContext) -> None:
        """Terminate it and take it out of its registry; whatever is asked of it later raises.

        Raises:
            ComponentError: when a hook cancelled the termination; then it lives on.
        """
        if self.state != "Terminated":
            await self.lifecycle.terminate(context)
        self._services.agents.remove(self._metadata.name)

    def check_alive(self) -> None:
        """Raise `DestroyedError` after its end."""
        if self.state == "Terminated":
            self.lifecycle.check()

    async def validate_input(self, input: AgentInput) -> None:
        """In a state to execute, and asked something.

        Raises:
            StateError: ``cannot execute in state <state>``.
            ValidationError: without text and media.
        """
        if self._life is not None:
            self._life.check()
        if not input.text.strip() and not input.media:
            raise ValidationError("Input text cannot be empty", field="text")

    async def execute_impl(self, input: AgentInput, context: ExecutionContext) -> AgentOutput:
        """`answer`, in state Running."""
        return await self.running(input, context, None)

    async def running(
        self, input: AgentInput, context: ExecutionContext, emit: Emit | None
    ) -> AgentOutput:
        """`answer`, with all that is around it, the pieces going to *emit*."""
        around = scope_of(context)
        inner, scope = entered(self, context)
        await self.lifecycle.prepare(context)
        figures = self.statistics
        began = figures.begin()
        self._tell("execution_started", context, {})
        try:
            output = await hooked(self, input, inner, lambda asked: self.answer(asked, inner, emit))
        except BaseException as error:
            done = _with_partial(error, scope)
            failed = isinstance(error, Exception)
            figures.end(began, False if failed else None, None if done is None else done.usage)
            spent = scope.spent if done is None else done.usage
            if done is not None:
                figures.called(done.tool_calls)
            if around is not None:
                around.spend(spent)
                around.left = done or around.left
            if failed:
                await self.lifecycle.fail(str(error), context, executing=True)
            if self.alerts is not None:
                self.alerts.evaluate()
            raise
        output = with_spent(output, scope.spent)
        figures.end(began, ok=True, usage=output.usage)
        if output.tool_calls:
            figures.called(output.tool_calls)
        if around is not None:
            around.spend(output.usage)
        if self.alerts is not None:
            self.alerts.evaluate()
        self._tell("execution_completed", context, {"finish_reason": output.finish_reason})
        return output

    def _tell(self, event: str, context: ExecutionContext, more: Mapping[str, Any]) -> None:
        bus = self._services.peek("events")
        if bus is not None and bus.listening:
            me = self._metadata
            payload = {"agent_id": me.id, "agent_name": me.name, **more}
            bus.publish(f"agent.{event}", payload, context)

    def supports_streaming(self) -> bool:
        """Yes."""
        return True

    async def stream(
        self, input: AgentInput | str, context: ExecutionContext
    ) -> AsyncIterator[AgentChunk]:
        """As `execute`, with the pieces while they come; leaving the iterator cancels it."""
        import asyncio

        queue: asyncio.Queue[AgentChunk | None] = asyncio.Queue(_AHEAD)
        streamed = _Streamed(self, queue.put)

        async def produce() -> AgentOutput:
            try:
                return await streamed.execute(input, context)
            finally:
                # The reader may have gone: then nobody empties a full queue.
                if not task_is_cancelled():
                    await queue.put(None)

        def task_is_cancelled() -> bool:
            current = asyncio.current_task()
            return current is not None and current.cancelling() > 0

        task = asyncio.ensure_future(produce())
        index = 0
        try:
            while (chunk := await queue.get()) is not None:
                yield chunk
                index += 1
            yield AgentChunk("end", index, output=await task)
        finally:
            await _ended(task)


def _memory_of(config: AgentConfig) -> History:
    summed_up = config.memory.strategy == "summary"
    return History(None if summed_up else config.max_conversation_length)


def _with_partial(error: BaseException, scope: Scope) -> AgentOutput | None:
    """What was done before *error*, with what was spent inside; it is kept in the error too."""
    done = getattr(error, "partial", None)
    if not isinstance(done, AgentOutput) or done is scope.left:
        return None
    done = with_spent(done, scope.spent)
    cast("Any", error).partial = done
    return done


async def _ended(task: asyncio.Future[AgentOutput]) -> None:
    """Cancel *task* if it runs, and wait until it has cleaned up."""
    import asyncio

    if not task.done():
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


class _Streamed(BaseAgent):
    """The agent's execution with a place for the pieces, inside the same template."""

    def __init__(self, agent: ManagedAgent, emit: Emit) -> None:
        self._agent = agent
        self._emit = emit

    @property
    def metadata(self) -> ComponentMetadata:
        return self._agent.metadata

    async def validate_input(self, input: AgentInput) -> None:
        await self._agent.validate_input(input)

    async def handle_error(self, error: LLMSpellError) -> AgentOutput:
        return await self._agent.handle_error(error)

    async def execute_impl(self, input: AgentInput, context: ExecutionContext) -> AgentOutput:
        return await self._agent.running(input, context, self._emit)
