"""`BasicAgent`: no model; says what it was told."""

from __future__ import annotations

from llmspell_agents._history import Remembered
from llmspell_agents._managed import Emit, ManagedAgent
from llmspell_core import AgentChunk, AgentInput, AgentOutput, ExecutionContext, Message


class BasicAgent(ManagedAgent):
    """Echoing test agent without a model.

    Answers ``BasicAgent '<name>' received: <text>``.
    """

    async def answer(
        self, input: AgentInput, context: ExecutionContext, emit: Emit | None
    ) -> AgentOutput:
        started = context.monotonic()
        text = f"BasicAgent '{self.metadata.name}' received: {input.text}"
        if self.config.memory_enabled:
            now = context.now()
            self._history.add(
                [
                    Remembered(Message("user", input.text), now),
                    Remembered(Message("assistant", text), now),
                ]
            )
        if emit is not None:
            await emit(AgentChunk("text", 0, text))
        took = (context.monotonic() - started) * 1000
        return AgentOutput(text, metadata={"execution_time_ms": took})
