"""`AgentBuilder`: an agent, option by option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

from llmspell_agents._config import AgentConfig, ToolRules
from llmspell_agents._options import changed
from llmspell_core import Agent, BudgetLimits, Tool, new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llmspell_agents._registry import AgentService
    from llmspell_core import Approver, BaseAgent, ExecutionContext, Services


class AgentBuilder:
    """Collects the options of an agent; each method returns the builder.

    ``AgentBuilder("ada").model("openai/gpt-4o-mini").tool("calculator").build(services)``, or
    all options as keywords: ``AgentBuilder("ada", model="openai/gpt-4o-mini")``. Wrong types
    and values raise at once.

    Args:
        name: The agent's name; None makes one, ``agent_`` and eight hex digits.
        type: The kind of agent: ``llm``, ``basic``, ``tool``, ``tool-orchestrator``,
            ``composite``, ``workflow``, ``monitor``, or one a plugin adds. None means ``llm``.
        options: Any field of `AgentConfig`, or a name scripts use for it.
    """

    def __init__(self, name: str | None = None, type: str | None = None, **options: Any) -> None:
        self._named = name is not None
        self._config = AgentConfig(name or f"agent_{new_id()[:8]}")
        self._objects: list[Tool] = []
        if type is not None:
            options["type"] = type
        self.options(options)

    @classmethod
    def llm(cls, name: str | None = None, model: str | None = None, **options: Any) -> Self:
        """An agent that talks to a model."""
        return cls(name, "llm", model=model, **options)

    @classmethod
    def basic(cls, name: str | None = None, **options: Any) -> Self:
        """An agent without a model, that says what it was told."""
        return cls(name, "basic", **options)

    @classmethod
    def tool_orchestrator(
        cls, name: str | None = None, model: str | None = None, **options: Any
    ) -> Self:
        """An agent that talks to a model and may use every tool."""
        return cls(name, "tool-orchestrator", model=model, **options)

    @classmethod
    def workflow(cls, name: str | None, workflow: Any, **options: Any) -> Self:
        """An agent that runs a workflow: the workflow, its name or its id."""
        return cls(name, "workflow", workflow=workflow, **options)

    @classmethod
    def composite(
        cls,
        name: str | None,
        members: Sequence[BaseAgent | str],
        routing: Any = "sequential",
        **options: Any,
    ) -> Self:
        """A team.

        Args:
            name: Its name.
            members: Agents, workflows, or names of agents.
            routing: A strategy, a `Routing`, a table of its fields, or a function that names
                members.
            options: As for any agent.
        """
        return cls(name, "composite", members=list(members), routing=routing, **options)

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

    def seed(self, seed: int) -> Self:
        """Makes sampling repeatable, where the model can."""
        return self.options({"seed": seed})

    def fallback(self, models: list[str]) -> Self:
        """Models to ask instead, in that order, when this one cannot answer."""
        return self.options({"fallback": models})

    def timeout(self, milliseconds: float) -> Self:
        """The longest one model call may take."""
        return self.options({"timeout_seconds": milliseconds / 1000})

    def retry(self, times: int) -> Self:
        """How often a model call is made again after a failure that may pass."""
        return self.options({"retries": times})

    def model_setting(self, key: str, value: Any) -> Self:
        """A field for the provider's request, sent as it is."""
        return self.options({"settings": {**self._config.settings, key: value}})

    def tool(
        self, tool: str | Tool, *, timeout_seconds: float | None = None, retry: int = 0
    ) -> Self:
        """One more tool, by name or as an object, which `build` registers.

        Args:
            tool: The tool.
            timeout_seconds: How long one attempt of a call may take; None: as configured.
            retry: Further attempts after failures that may pass.
        """
        if isinstance(tool, Tool):
            self._objects.append(tool)
            tool = tool.schema.name
        if timeout_seconds is not None or retry:
            rules = ToolRules(timeout_seconds, retry)
            self.options({"tool_options": {**self._config.tool_options, tool: rules}})
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

    def tool_options(self, options: Mapping[str, Any]) -> Self:
        """How the calls of single tools are made: `ToolRules`, or ``{timeout_seconds, retry}``,
        by name.
        """
        return self.options({"tool_options": options})

    def tool_choice(self, choice: str) -> Self:
        """``auto``, ``none``, ``required`` or a tool, until the first call was made."""
        return self.options({"tool_choice": choice})

    def tool_calling(self, how: str) -> Self:
        """``native``, or ``prompt`` for a model without function calling."""
        return self.options({"tool_calling": how})

    def parallel_tools(self, parallel: bool) -> Self:
        """Whether the calls of one reply run at once; they do."""
        return self.options({"parallel_tools": parallel})

    def output_schema(self, schema: Any) -> Self:
        """The form of the answer: a JSON Schema, or a class that pydantic understands. The value
        is in `AgentOutput.data`; an answer that does not fit, not even after it was told what is
        wrong, raises `OutputError`.
        """
        return self.options({"output_schema": schema})

    def capability(self, capability: str) -> Self:
        """A free word by which it is discovered."""
        return self.options({"capabilities": [*self._config.capabilities, capability]})

    def memory_enabled(self, enabled: bool) -> Self:
        """Whether it remembers the conversation between executions; it does."""
        return self.options({"memory_enabled": enabled})

    def memory(
        self, strategy: str, *, threshold: float | None = None, keep: int | None = None
    ) -> Self:
        """``window`` leaves the oldest turns out when there is no more room; ``summary`` has the
        model sum them up from the part *threshold* of the room on, but for the last *keep*.
        """
        options = {"strategy": strategy, "threshold": threshold, "keep": keep}
        return self.options({"memory": {k: v for k, v in options.items() if v is not None}})

    def approval(
        self, approval: str | Approver | Callable[..., Any], ask: str | None = None
    ) -> Self:
        """Who is asked before calls that cannot be taken back.

        Args:
            approval: ``destructive``, ``always`` or ``never``; or a function of the
                `ApprovalRequest` (and the context), plain or async, that says true, false, a
                text (no, and why) or an `Approval`.
            ask: When the function is asked: ``destructive`` or ``always``.
        """
        if ask is not None:
            return self.options({"approval": {"approver": approval, "ask": ask}})
        return self.options({"approval": approval})

    def budget(
        self,
        *,
        tokens: int | None = None,
        cost: float | None = None,
        calls: int | None = None,
        seconds: float | None = None,
        soft: float = 0.8,
    ) -> Self:
        """What one execution may spend: model tokens, US dollars, model calls, seconds. From the
        part *soft* on the model is told to finish; at the end the partial result is returned.
        """
        return self.options({"budget": BudgetLimits(tokens, cost, calls, seconds, soft)})

    def on_error(self, how: str) -> Self:
        """``raise``, or ``text``: a failure is an answer that says so."""
        return self.options({"on_error": how})

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
