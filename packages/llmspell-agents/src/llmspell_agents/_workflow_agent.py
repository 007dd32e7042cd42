"""`WorkflowAgent`: an agent that runs a workflow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmspell_agents._history import Remembered
from llmspell_agents._managed import Emit, ManagedAgent
from llmspell_agents._members import ask_inside
from llmspell_agents._scope import inside
from llmspell_core import (
    AgentInput,
    AgentOutput,
    BaseAgent,
    ConfigurationError,
    Message,
    NotFoundError,
    nearest,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmspell_agents._config import AgentConfig
    from llmspell_core import ExecutionContext, Services


class WorkflowAgent(ManagedAgent):
    """Runs a workflow with each input, and answers with what came of its last step.

    Args:
        config: What it is, with `workflow`: a workflow, its name or its id.
        services: Where workflows are found.

    Raises:
        ConfigurationError: without a workflow.
        NotFoundError: ``Workflow '<name>' not found``.
    """

    def __init__(self, config: AgentConfig, services: Services) -> None:
        super().__init__(config, services)
        if config.workflow is None:
            raise ConfigurationError(
                f"Agent '{config.name}' of type 'workflow' has no workflow",
                hint="Give it one: workflow = NAME.",
            )
        self._workflow = _found(config.workflow, services)

    def members(self) -> Sequence[BaseAgent]:
        """The workflow."""
        return (self._workflow,)

    async def answer(
        self, input: AgentInput, context: ExecutionContext, emit: Emit | None
    ) -> AgentOutput:
        output = await ask_inside(self._workflow, input, inside(self.config, context), emit)
        if self.config.memory_enabled:
            now = context.now()
            self._history.add(
                [
                    Remembered(Message("user", input.text), now),
                    Remembered(Message("assistant", output.text), now),
                ]
            )
        metadata: dict[str, Any] = {**output.metadata, "workflow": self._workflow.metadata.name}
        # Its usage was counted where it was spent.
        return replace(output, usage=None, metadata=metadata)


def _found(value: Any, services: Services) -> BaseAgent:
    for each in (value, getattr(value, "workflow", None)):
        if isinstance(each, BaseAgent):
            return each
    name = value if isinstance(value, str) else getattr(value, "name", str(value))
    found = services.workflows.get(name)
    if found is None:
        known = [workflow.metadata.name for workflow in services.workflows.list()]
        close = nearest(name, known)
        raise NotFoundError(
            f"Workflow '{name}' not found",
            hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(known) or 'none'}",
        )
    return found
