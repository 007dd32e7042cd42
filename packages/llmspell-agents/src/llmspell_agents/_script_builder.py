"""The builder of agents as scripts hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from llmspell_agents._builder import AgentBuilder
from llmspell_core import Record, ScriptHost, ValidationError, exposed, script_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmspell_agents._handle import AgentHandle
    from llmspell_core import Agent


@script_object("AgentBuilder")
class BuilderFace:
    """``Agent.builder()``: each method sets an option and returns the builder."""

    def __init__(self, host: ScriptHost, adopt: Callable[[Agent], AgentHandle]) -> None:
        self._host = host
        self._adopt = adopt
        self._builder = AgentBuilder()

    def _set(self, **options: Any) -> Self:
        self._builder.options(options)
        return self

    @exposed()
    def name(self, name: str) -> Self:
        """Its name."""
        return self._set(name=name)

    @exposed()
    def description(self, description: str) -> Self:
        """One sentence."""
        return self._set(description=description)

    @exposed()
    def type(self, type: str) -> Self:
        """The kind: ``llm``, ``basic``, ``tool``, ``tool-orchestrator``, ``composite``,
        ``workflow``, ``monitor``, or one a plugin adds.
        """
        return self._set(type=type)

    @exposed()
    def model(self, model: str) -> Self:
        """``provider/model``, or a model of the provider."""
        return self._set(model=model)

    @exposed()
    def provider(self, provider: Any) -> Self:
        """A name, or an entry of ``Provider.list()``."""
        return self._set(provider=_named(provider, "provider"))

    @exposed()
    def system_prompt(self, system_prompt: str) -> Self:
        """The system message."""
        return self._set(system_prompt=system_prompt)

    @exposed()
    def temperature(self, temperature: float) -> Self:
        """From 0 to 2."""
        return self._set(temperature=temperature)

    @exposed()
    def max_tokens(self, max_tokens: int) -> Self:
        """The longest completion."""
        return self._set(max_tokens=max_tokens)

    @exposed()
    def top_p(self, top_p: float) -> Self:
        """From 0 to 1."""
        return self._set(top_p=top_p)

    @exposed()
    def seed(self, seed: int) -> Self:
        """Makes sampling repeatable, where the model can."""
        return self._set(seed=seed)

    @exposed()
    def fallback(self, models: list[str]) -> Self:
        """Models to ask instead, in that order, when this one cannot answer."""
        return self._set(fallback=models)

    @exposed()
    def model_setting(self, key: str, value: Any) -> Self:
        """A field for the provider's request, sent as it is."""
        settings = {**self._builder.config.settings, key: value}
        return self._set(settings=settings)

    @exposed()
    def stop(self, stop: list[str]) -> Self:
        """Texts that end the completion."""
        return self._set(stop=stop)

    @exposed()
    def timeout(self, ms: float) -> Self:
        """The longest one model call may take, in milliseconds."""
        return self._set(timeout_seconds=ms / 1000)

    @exposed()
    def retry(self, times: int) -> Self:
        """How often a model call is made again after a failure that may pass.

        Args:
            times: Further tries; the provider's configuration otherwise.
        """
        return self._set(retries=times)

    @exposed(names=("agents",))
    def members(self, members: list[Any]) -> Self:
        """The agents of a team, by name or handle; for the type ``composite``."""
        return self._set(members=members)

    @exposed(names=("strategy",))
    def routing(self, routing: Any) -> Self:
        """How a team works: a strategy, a function that names members, or ``{strategy, …}``."""
        return self._set(routing=routing)

    @exposed()
    def workflow(self, workflow: Any) -> Self:
        """The workflow, its name or its id; for the type ``workflow``."""
        return self._set(workflow=workflow)

    @exposed()
    def max_conversation_length(self, messages: int) -> Self:
        """How many messages are remembered."""
        return self._set(max_conversation_length=messages)

    @exposed()
    def base_url(self, base_url: str) -> Self:
        """Another address for this agent."""
        return self._set(base_url=base_url)

    @exposed()
    def api_key(self, api_key: str) -> Self:
        """Another key for this agent; never shown."""
        self._host.services.secrets.add(api_key)
        return self._set(api_key=api_key)

    @exposed(names=("allow_tool", "allowTool"))
    def tool(self, tool: Any, options: dict[str, Any] | None = None) -> Self:
        """One more tool: its name or handle; ``{timeout, retry}`` say how its calls are made."""
        name = _named(tool, "tool")
        if options:
            self._set(tool_options={**self._builder.config.tool_options, name: options})
        return self._set(tools=[*self._builder.config.tools, name])

    @exposed(names=("allowed_tools", "allowedTools"))
    def tools(self, tools: list[Any]) -> Self:
        """These tools and no others; ``{"*"}`` is every registered one."""
        return self._set(tools=[_named(tool, "tools") for tool in tools])

    @exposed()
    def allow_all_tools(self) -> Self:
        """Every registered tool."""
        return self._set(tools=["*"])

    @exposed()
    def tool_options(self, options: dict[str, Any]) -> Self:
        """``{NAME = {timeout, retry}}``: milliseconds for one attempt, further attempts."""
        return self._set(tool_options=options)

    @exposed()
    def tool_choice(self, choice: str) -> Self:
        """``auto``, ``none``, ``required`` or a tool, until the first call was made."""
        return self._set(tool_choice=choice)

    @exposed()
    def tool_calling(self, how: str) -> Self:
        """``native``, or ``prompt`` for a model without function calling."""
        return self._set(tool_calling=how)

    @exposed()
    def parallel_tools(self, parallel: bool) -> Self:
        """Whether the calls of one reply run at once; they do."""
        return self._set(parallel_tools=parallel)

    @exposed(names=("schema", "response_format", "responseFormat"))
    def output_schema(self, schema: Any) -> Self:
        """The form of the answer: a JSON Schema, ``{name, schema, strict}``, or ``"json"``."""
        return self._set(output_schema=schema)

    @exposed()
    def capability(self, capability: str) -> Self:
        """A free word by which it is discovered."""
        return self._set(capabilities=[*self._builder.config.capabilities, capability])

    @exposed()
    def memory_enabled(self, enabled: bool) -> Self:
        """Whether it remembers the conversation between executions."""
        return self._set(memory_enabled=enabled)

    @exposed()
    def memory(self, strategy: Any, options: dict[str, Any] | None = None) -> Self:
        """``window`` leaves old turns out, ``summary`` sums them up; ``{threshold, keep}``."""
        if isinstance(strategy, str):
            strategy = {**(options or {}), "strategy": strategy}
        return self._set(memory=strategy)

    @exposed()
    def approval(self, approval: Any, ask: str | None = None) -> Self:
        """Who is asked before calls that cannot be taken back: a function that says true, false
        or why not; or ``destructive``, ``always``, ``never``.
        """
        if ask is not None:
            approval = {"approver": approval, "ask": ask}
        return self._set(approval=approval)

    @exposed()
    def budget(self, limits: dict[str, Any]) -> Self:
        """What one execution may spend: ``{tokens, cost, calls, seconds, soft}``."""
        return self._set(budget=limits)

    @exposed()
    def on_error(self, how: str) -> Self:
        """``raise``, or ``text``: a failure is an answer that says so."""
        return self._set(on_error=how)

    @exposed()
    def context_window(self, tokens: int) -> Self:
        """A budget of estimated tokens for prompt, history and input."""
        return self._set(context_window=tokens)

    @exposed()
    def max_execution_time(self, seconds: float) -> Self:
        """After this it returns what it has."""
        return self._set(max_execution_time=seconds)

    @exposed()
    def max_memory_mb(self, megabytes: float) -> Self:
        """Accepted, and without effect: the memory of one agent among others in a process cannot
        be bounded. The script's own is, by the engine.
        """
        return self._set(max_memory_mb=megabytes)

    @exposed()
    def max_tool_calls(self, calls: int) -> Self:
        """Tool calls of one execution."""
        return self._set(max_tool_calls=calls)

    @exposed()
    def max_recursion_depth(self, rounds: int) -> Self:
        """Rounds of tool calls of one execution."""
        return self._set(max_recursion_depth=rounds)

    @exposed()
    def resource_limits(self, limits: dict[str, Any]) -> Self:
        """The three limits above in one table."""
        return self._set(resource_limits=limits)

    @exposed()
    def custom_config(self, values: dict[str, Any]) -> Self:
        """Values of your own; ``system_prompt`` and ``max_conversation_length`` are read."""
        return self._set(custom_config=values)

    @exposed()
    def build(self) -> AgentHandle:
        """The agent, registered under its name."""
        host = self._host
        return self._adopt(self._builder.build(host.services, context=host.context))


def _named(value: Any, field: str) -> str:
    """The name of what a script gave: a text, a handle or a table with one."""
    found = value.get("name") if isinstance(value, dict) else getattr(value, "name", value)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if isinstance(value, Record):
        found = value.fields.get("name")
    if not isinstance(found, str) or not found:
        raise ValidationError(f"{field} must be a name or a handle", field=field)
    return found
