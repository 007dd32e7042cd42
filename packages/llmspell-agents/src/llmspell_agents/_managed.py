"""What all our agents share: configuration, memory, state, and streaming around `execute`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmspell_agents._config import AgentConfig
from llmspell_agents._history import History
from llmspell_agents._hooks import hooked
from llmspell_core import (
    Agent,
    AgentChunk,
    AgentInput,
    AgentOutput,
    BaseAgent,
    ComponentError,
    ComponentMetadata,
    LLMSpellError,
    ValidationError,
)

if TYPE_CHECKING:
    import asyncio

    from llmspell_core import ExecutionContext, Services

Emit = Callable[[AgentChunk], Awaitable[None]]

_AHEAD = 16
"""Chunks a stream may be ahead of whoever reads it."""


class DestroyedError(ComponentError):
    """An agent was used after `destroy`."""

    code = "AGENT_DESTROYED"


class ManagedAgent(Agent):
    """An agent built from an `AgentConfig`.

    Subclasses write `answer`. `state` is ``Uninitialized``, ``Running``, ``Error`` (the last
    execution failed; the next one starts anew) or ``Terminated``.
    """

    def __init__(self, config: AgentConfig, services: Services) -> None:
        self.config = config
        self._services = services
        summed_up = config.memory.strategy == "summary"
        self._history = History(None if summed_up else config.max_conversation_length)
        self._metadata = ComponentMetadata(
            config.name, config.description, "agent", tags=config.capabilities
        )
        self.state = "Uninitialized"
        self.last_error: str | None = None

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

    def capabilities(self) -> list[str]:
        """What it can do, for discovery: its own words, ``supports_streaming`` and so on."""
        own = list(self.config.capabilities)
        return own if "supports_streaming" in own else [*own, "supports_streaming"]

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

    def destroy(self) -> None:
        """Take it out of its registry; whatever is asked of it later raises."""
        self._services.agents.remove(self.metadata.name)
        self.state = "Terminated"

    def check_alive(self) -> None:
        """Raise `DestroyedError` after `destroy`."""
        if self.state == "Terminated":
            raise DestroyedError(
                f"Agent '{self.metadata.name}' was destroyed: cannot execute in state Terminated",
                hint="Build it again.",
            )

    async def validate_input(self, input: AgentInput) -> None:
        """Alive, and asked something."""
        self.check_alive()
        if not input.text.strip() and not input.media:
            raise ValidationError("Input text cannot be empty", field="text")

    async def handle_error(self, error: LLMSpellError) -> AgentOutput:
        """Remember it and raise it: a failure is never an answer."""
        if self.state != "Terminated":
            self.state = "Error"
            self.last_error = str(error)
        raise error

    async def execute_impl(self, input: AgentInput, context: ExecutionContext) -> AgentOutput:
        """`answer`, in state Running."""
        return await self.running(input, context, None)

    async def running(
        self, input: AgentInput, context: ExecutionContext, emit: Emit | None
    ) -> AgentOutput:
        """`answer`, in state Running, with the hooks around it and the pieces going to *emit*."""
        self.state = "Running"
        return await hooked(self, input, context, lambda asked: self.answer(asked, context, emit))

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
