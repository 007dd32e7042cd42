from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmspell_core import (
    Agent,
    AgentInput,
    AgentOutput,
    ComponentMetadata,
    ExecutionContext,
    Parameter,
    Tool,
    ToolResult,
    ToolSchema,
)
from llmspell_testing import (
    AgentsDouble,
    HostDouble,
    StateDouble,
    ToolsDouble,
    make_context,
    make_services,
)
from llmspell_workflows import WorkflowService
from llmspell_workflows._face import WorkflowGlobal


class FunctionTool(Tool):
    """A tool that is a function of its parameters."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._function = function

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema(self._name, "A function.", (Parameter("input", "any", "Anything."),))

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        value = self._function(**parameters)
        if hasattr(value, "__await__"):
            value = await value
        if isinstance(value, ToolResult):
            return value
        return ToolResult(operation="run", result={"given": value}, value=value, text=str(value))


class FunctionAgent(Agent):
    """An agent whose answer is a function of the text."""

    def __init__(self, name: str, answer: Callable[[str], str]) -> None:
        self._name = name
        self._answer = answer
        self.asked: list[AgentInput] = []

    @property
    def metadata(self) -> ComponentMetadata:
        return ComponentMetadata(self._name, component_type="agent")

    async def execute_impl(self, input: AgentInput, context: ExecutionContext) -> AgentOutput:
        self.asked.append(input)
        return AgentOutput(text=self._answer(input.text), metadata={"model": "double"})

    @property
    def conversation(self) -> list[dict[str, Any]]:
        return []

    def clear_conversation(self) -> None:
        return None


class World:
    """Services with doubles, a context, and the script global."""

    def __init__(self) -> None:
        self.tools = ToolsDouble(
            FunctionTool("echo", lambda input=None: input),
            FunctionTool("fail", lambda input=None: ToolResult(False, error="broken")),
        )
        self.agents = AgentsDouble(FunctionAgent("shouter", str.upper))
        self.state = StateDouble()
        self.workflows = WorkflowService()
        self.services = make_services(
            tools=self.tools, agents=self.agents, state=self.state, workflows=self.workflows
        )
        self.context = make_context(self.services)
        self.host = HostDouble(self.services, self.context)
        self.face = WorkflowGlobal(self.host)

    def tool(self, name: str, function: Callable[..., Any]) -> None:
        self.tools.register(FunctionTool(name, function))

    def agent(self, name: str, answer: Callable[[str], str]) -> FunctionAgent:
        made = FunctionAgent(name, answer)
        self.agents.add(made)
        return made

    async def outputs(self, *steps: Any, input: Any = None, **config: Any) -> dict[str, Any]:
        """Run the steps one after the other; their outputs."""
        result = await self.run(*steps, input=input, **config)
        assert result["success"], result["error"]
        return result["outputs"]

    async def run(self, *steps: Any, input: Any = None, **config: Any) -> dict[str, Any]:
        """Run the steps one after the other; the fields of the result."""
        table = {"name": "w", "steps": list(steps), **config}
        return await self.execute(self.face.sequential(table), input)

    async def execute(self, workflow: Any, input: Any = None) -> dict[str, Any]:
        """Execute a handle; the fields of the result."""
        record = await workflow.execute(input)
        return dict(record.fields)


@pytest.fixture
def world() -> World:
    return World()
