"""An agent as scripts hold it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from llmspell_agents._handle_life import LifeHandle
from llmspell_agents._input import InputError, read_input
from llmspell_agents._lifecycle import DestroyedError
from llmspell_agents._managed import ManagedAgent
from llmspell_agents._result import agent_result, chunk_record, streamed_result, tool_result
from llmspell_core import (
    Agent,
    ComponentError,
    NotFoundError,
    Record,
    ScriptFunction,
    ScriptHost,
    SecurityError,
    attribute,
    exposed,
    script_object,
)
from llmspell_utils import closing

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmspell_core import Tool, ToolResult


class UnknownContextError(InputError):
    """There is no context with that id."""

    code = "NOT_FOUND"


_MISUSE = (InputError, DestroyedError)


@script_object("Agent")
class AgentHandle(LifeHandle):
    """An agent. ``success`` is true and ``result`` the agent itself, for scripts that treat
    what ``build()`` gives them as a result.
    """

    def __init__(self, agent: Agent, host: ScriptHost, forget: Callable[[str], None]) -> None:
        self.agent = agent
        self._host = host
        self._forget = forget

    def _managed(self) -> ManagedAgent:
        """The agent, where a call needs more than every agent has."""
        if not isinstance(self.agent, ManagedAgent):
            raise ComponentError(f"Agent '{self.name}' cannot tell")
        return self.agent

    @attribute
    def name(self) -> str:
        """Its name."""
        return self.agent.metadata.name

    @attribute
    def id(self) -> str:
        """Its id."""
        return self.agent.metadata.id

    @attribute
    def type(self) -> str:
        """Its kind."""
        found = self.agent
        return found.config.agent_type if isinstance(found, ManagedAgent) else "agent"

    @attribute
    def model(self) -> str | None:
        """The model's name."""
        return self.agent.model if isinstance(self.agent, ManagedAgent) else None

    @attribute
    def success(self) -> bool:
        """True."""
        return True

    @attribute
    def result(self) -> Self:
        """The agent itself."""
        return self

    @attribute
    def error(self) -> None:
        """Nil."""
        return None

    def _alive(self) -> None:
        if isinstance(self.agent, ManagedAgent):
            self.agent.check_alive()

    @exposed(fails="pair", raises=_MISUSE, async_twin=True)
    async def execute(self, input: Any, options: dict[str, Any] | None = None) -> Record:
        """Run it and wait for the answer; ``nil, message`` when that fails."""
        self._alive()
        output = await self.agent.execute(read_input(input, options), self._host.context)
        return agent_result(output)

    @exposed(fails="table", raises=_MISUSE)
    async def invoke(self, input: Any, options: dict[str, Any] | None = None) -> Record:
        """As `execute`; a failure is a table with ``success=false`` and ``error``."""
        self._alive()
        output = await self.agent.execute(read_input(input, options), self._host.context)
        return agent_result(output)

    @exposed(fails="pair", raises=_MISUSE)
    async def invoke_stream(
        self, input: Any, options: Any = None, callback: ScriptFunction | None = None
    ) -> Record:
        """``(input, callback)`` or ``(input, options, callback)``: the callback gets each piece
        while the model is still speaking; the whole result is returned.
        """
        return await self._stream(input, options, callback)

    @exposed(fails="pair", raises=_MISUSE)
    async def execute_streaming(
        self, prompt: Any, options: Any = None, callback: ScriptFunction | None = None
    ) -> Record:
        """As `invoke_stream`."""
        return await self._stream(prompt, options, callback)

    async def _stream(self, input: Any, options: Any, callback: ScriptFunction | None) -> Record:
        if callback is None and isinstance(options, ScriptFunction):
            options, callback = None, options
        if callback is None:
            raise InputError("a callback function is needed", field="callback")
        if options is not None and not isinstance(options, dict):
            raise InputError("options must be a table", field="options")
        self._alive()
        asked = read_input(input, options)  # pyright: ignore[reportUnknownArgumentType]
        context = self._host.context
        pieces: list[str] = []
        output = None
        async with closing(self.agent.stream(asked, context)) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    pieces.append(chunk.text)
                output = chunk.output or output
                await callback(chunk_record(chunk), context=context)
        if output is None:
            raise ComponentError(f"Agent '{self.name}' ended its stream without an answer")
        return streamed_result(output, pieces)

    @exposed()
    def reset(self) -> bool:
        """Forget the conversation, keep the configuration."""
        self._alive()
        self.agent.clear_conversation()
        return True

    @exposed()
    def get_history(self) -> list[dict[str, Any]]:
        """``{role, content, timestamp}``, oldest first."""
        return [dict(message) for message in self.agent.conversation]

    @exposed()
    def get_config(self) -> dict[str, Any]:
        """How it was built, without its key."""
        agent = self._managed()
        made = agent.config.to_dict()
        return {**made, "model": agent.model, "provider": agent.provider}

    @exposed()
    def get_info(self) -> dict[str, Any]:
        """``{success, result={name, id, type, model, provider, …}}``, the same flat."""
        info = describe(self.agent)
        return {**info, "success": True, "result": info}

    @exposed()
    async def invoke_tool(self, name: str, params: dict[str, Any] | None = None) -> Record:
        """Run one of its tools by hand. Hard failures are raised."""
        self._alive()
        tools = self._host.services.tools
        if not tools.has(name):
            tools.get(name)  # raises, with the nearest name
        if not self._may_use(name):
            raise SecurityError(
                f"Permission denied: tool '{name}' is not among those of agent '{self.name}'",
                hint=f"Its tools: {', '.join(self.discover_tools()) or 'none'}.",
                permission_required=name,
            )
        result = await self._counted(name, params or {})
        return tool_result(result)

    async def _counted(self, name: str, params: dict[str, Any]) -> ToolResult:
        """The result of a tool, counted among what the agent did."""
        context, tools = self._host.context, self._host.services.tools
        started = context.monotonic()
        ok = False
        try:
            result = await tools.invoke(name, params, context)
            ok = result.success
        finally:
            if isinstance(self.agent, ManagedAgent):
                took = (context.monotonic() - started) * 1000
                tool = tools.get(name).schema.name
                self.agent.statistics.call(tool, ok=ok, milliseconds=took)
        return result

    def _may_use(self, name: str) -> bool:
        tools = self._host.services.tools
        wanted = tools.get(name).schema.name if tools.has(name) else name
        return any(
            tools.has(own) and tools.get(own).schema.name == wanted for own in self.discover_tools()
        )

    @exposed()
    def has_tool(self, name: str) -> bool:
        """Whether it may use that tool."""
        return bool(self.discover_tools()) and self._may_use(name)

    @exposed()
    def discover_tools(self) -> list[str]:
        """The names of its tools."""
        return self.agent.tool_names() if isinstance(self.agent, ManagedAgent) else []

    @exposed()
    def get_id(self) -> str:
        """Its id."""
        return self.agent.metadata.id

    @exposed()
    def get_name(self) -> str:
        """Its name."""
        return self.agent.metadata.name

    @exposed()
    def get_tool_metadata(self, name: str) -> dict[str, Any] | None:
        """``{name, description, version}`` of one of its tools, or nil.

        Args:
            name: The tool.
        """
        if not self.has_tool(name):
            return None
        return _about_tool(self._host.services.tools.get(name))

    @exposed()
    def get_all_tool_metadata(self) -> dict[str, Any]:
        """``{name, description, version}`` of each of its tools, by name."""
        tools = self._host.services.tools
        return {name: _about_tool(tools.get(name)) for name in self.discover_tools()}

    @exposed(fails="pair", raises=_MISUSE)
    async def execute_with_context(
        self, input: Any, context_id: str, options: dict[str, Any] | None = None
    ) -> Record:
        """Run it with a context: the context's data are told to the model, ``key: value`` line by
        line, ahead of the input.

        Args:
            input: As for `execute`.
            context_id: What `Agent.create_context` gave.
            options: As for `execute`.
        """
        self._alive()
        contexts, context = self._service().contexts, self._host.context
        try:
            found = contexts.get(context_id)
        except NotFoundError as error:
            raise UnknownContextError(error.message, hint=error.hint, field="context_id") from error
        from llmspell_agents._contexts import inside_context

        data = contexts.read(context_id, None, context)
        asked = read_input(input, options)
        own: Any = asked.metadata.get("context") or {}
        metadata = {**asked.metadata, "context": {**data, **own}}
        output = await self.agent.execute(
            replace(asked, metadata=metadata), inside_context(found, context)
        )
        return agent_result(output)

    @exposed(names=("prompt",), fails="pair", raises=_MISUSE)
    async def complete(self, prompt: Any, options: dict[str, Any] | None = None) -> str:
        """Run it and give the text of the answer alone.

        Args:
            prompt: As for `execute`.
            options: As for `execute`.
        """
        self._alive()
        output = await self.agent.execute(read_input(prompt, options), self._host.context)
        return output.text

    @exposed()
    async def destroy(self) -> bool:
        """End it and free its name; later use raises."""
        self._alive_or_ended()
        if isinstance(self.agent, ManagedAgent):
            await self.agent.destroy(self._host.context)
        else:
            self._host.services.agents.remove(self.name)
        self._forget(self.name)
        return True

    def _alive_or_ended(self) -> None:
        """Raise after `destroy`; after `terminate` alone it is still to be removed."""
        if self._host.services.agents.get(self.name) is not self.agent:
            self._alive()


def describe(agent: Agent) -> dict[str, Any]:
    """What ``get_info`` and ``list`` tell of an agent."""
    me = agent.metadata
    made: dict[str, Any] = {"name": me.name, "id": me.id, "description": me.description}
    if not isinstance(agent, ManagedAgent):
        return {**made, "type": "agent", "capabilities": list(me.tags)}
    return {
        **made,
        "type": agent.config.agent_type,
        "model": agent.model,
        "provider": agent.provider,
        "capabilities": agent.capabilities(),
        "allowed_tools": list(agent.config.tools),
        "state": agent.state,
    }


def _about_tool(tool: Tool) -> dict[str, Any]:
    about = tool.metadata
    return {
        "name": tool.schema.name,
        "description": tool.schema.description,
        "version": str(about.version),
    }
