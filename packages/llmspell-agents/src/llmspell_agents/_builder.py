"""`AgentBuilder`: an agent, option by option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

from llmspell_agents._config import AgentConfig, changed
from llmspell_core import Agent, Tool, new_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmspell_agents._registry import AgentService
    from llmspell_core import ExecutionContext, Services


class AgentBuilder:
    """Collects the options of an agent; each method returns the builder.

    ``AgentBuilder("ada").model("openai/gpt-4o-mini").tool("calculator").build(services)``, or
    all options as keywords: ``AgentBuilder("ada", model="openai/gpt-4o-mini")``. Wrong types
    and values raise at once.

    Args:
        name: The agent's name; None makes one, ``agent_`` and eight hex digits.
        type: The kind of agent: ``llm``, ``basic``, or one a plugin adds. None means ``llm``.
        options: Any field of `AgentConfig`, or a name scripts use for it.
    """

    def __init__(self, name: str | None = None, type: str | None = None, **options: Any) -> None:
        self._named = name is not None
        self._config = AgentConfig(name or f"agent_{new_id()[:8]}")
        self._objects: list[Tool] = []
        if type is not None:
            options["type"] = type
        self.options(options)

    def options(self, options: Mapping[str, Any]) -> Self:
        """Several options at once, under the names `AgentConfig` or scripts use.

        Raises:
            ValidationError: for a wrong type or value.
            ConfigurationError: for an unknown option.
        """
        if options:
            self._config = changed(self._config, options)
            self._named = self._named or options.get("name") is not None
        return self

    @property
    def config(self) -> AgentConfig:
        """What has been collected."""
        return self._config

    def name(self, name: str) -> Self:
        """Its name, unique among the agents of its services."""
        return self.options({"name": name})

    def description(self, description: str) -> Self:
        """One sentence; part of the default system prompt."""
        return self.options({"description": description})

    def type(self, type: str) -> Self:
        """The kind of agent."""
        return self.options({"type": type})

    def model(self, model: str) -> Self:
        """``provider/model``, or a model of the provider."""
        return self.options({"model": model})

    def with_model(self, provider: str, model: str) -> Self:
        """Provider and model apart."""
        return self.options({"provider": provider, "model": model})

    def provider(self, provider: str) -> Self:
        """The provider; without a model its default model is used."""
        return self.options({"provider": provider})

    def base_url(self, base_url: str) -> Self:
        """Another address for this agent."""
        return self.options({"base_url": base_url})

    def api_key(self, api_key: str) -> Self:
        """Another key for this agent; never shown."""
        return self.options({"api_key": api_key})

    def system_prompt(self, system_prompt: str) -> Self:
        """The system message."""
        return self.options({"system_prompt": system_prompt})

    def temperature(self, temperature: float) -> Self:
        """From 0 to 2; the provider's own default otherwise."""
        return self.options({"temperature": temperature})

    def max_tokens(self, max_tokens: int) -> Self:
        """The longest completion."""
        return self.options({"max_tokens": max_tokens})

    def top_p(self, top_p: float) -> Self:
        """From 0 to 1."""
        return self.options({"top_p": top_p})

    def stop(self, stop: list[str]) -> Self:
        """Texts that end the completion."""
        return self.options({"stop": stop})

    def timeout(self, milliseconds: float) -> Self:
        """The longest one model call may take."""
        return self.options({"timeout_seconds": milliseconds / 1000})

    def model_setting(self, key: str, value: Any) -> Self:
        """A field for the provider's request, sent as it is."""
        return self.options({"settings": {**self._config.settings, key: value}})

    def tool(self, tool: str | Tool) -> Self:
        """One more tool, by name or as an object, which `build` registers."""
        if isinstance(tool, Tool):
            self._objects.append(tool)
            tool = tool.schema.name
        return self.options({"tools": [*self._config.tools, tool]})

    with_tool = tool
    allow_tool = tool

    def tools(self, tools: list[str | Tool]) -> Self:
        """These tools and no others; ``["*"]`` is every registered one."""
        self._objects.clear()
        self.options({"tools": []})
        for tool in tools:
            self.tool(tool)
        return self

    allowed_tools = tools

    def allow_all_tools(self) -> Self:
        """Every registered tool."""
        return self.options({"tools": ["*"]})

    def capability(self, capability: str) -> Self:
        """A free word by which it is discovered."""
        return self.options({"capabilities": [*self._config.capabilities, capability]})

    def memory_enabled(self, enabled: bool) -> Self:
        """Whether it remembers the conversation between executions; it does."""
        return self.options({"memory_enabled": enabled})

    def max_conversation_length(self, messages: int) -> Self:
        """How many messages are remembered: 100."""
        return self.options({"max_conversation_length": messages})

    def context_window(self, tokens: int) -> Self:
        """A budget of estimated tokens for prompt, history and input."""
        return self.options({"context_window": tokens})

    def max_execution_time(self, seconds: float) -> Self:
        """After this it returns what it has: 300."""
        return self.options({"max_execution_time": seconds})

    def max_tool_calls(self, calls: int) -> Self:
        """Tool calls of one execution: 100."""
        return self.options({"max_tool_calls": calls})

    def max_recursion_depth(self, rounds: int) -> Self:
        """Rounds of tool calls of one execution: 10."""
        return self.options({"max_recursion_depth": rounds})

    def resource_limits(self, limits: Mapping[str, Any]) -> Self:
        """The three limits above in one table."""
        return self.options({"resource_limits": limits})

    def custom_config(self, values: Mapping[str, Any]) -> Self:
        """Values of your own; ``system_prompt`` and ``max_conversation_length`` are read."""
        return self.options({"custom_config": values})

    def build(self, services: Services, *, context: ExecutionContext | None = None) -> Agent:
        """Make the agent and add it to ``services.agents``.

        Args:
            services: Where it lives.
            context: The execution that builds it, so that a replay builds the same.

        Raises:
            ConfigurationError: ``Model is required``, ``Unsupported provider …``, an unknown
                tool or kind.
            DuplicateError: ``Agent instance '<name>' already exists``.
        """
        if not self._named and context is not None:
            self.name(f"agent_{context.new_id()[:8]}")
        for tool in self._objects:
            if not services.tools.has(tool.schema.name):
                services.tools.register(tool)
        agents = cast("AgentService", services.agents)
        return agents.create(self._config, context)
