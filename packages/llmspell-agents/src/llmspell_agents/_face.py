"""The script global `Agent`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

from llmspell_agents._builder import AgentBuilder
from llmspell_agents._face_contexts import ContextsFace
from llmspell_agents._face_discovery import DiscoveryFace
from llmspell_agents._handle import AgentHandle
from llmspell_agents._members import kind_of
from llmspell_agents._script_builder import BuilderFace
from llmspell_agents._script_options import (
    AgentOptions,
    CompositeOptions,
    RoutingOptions,
    WrapOptions,
)
from llmspell_core import (
    Agent,
    ScriptHost,
    SecurityLevel,
    ValidationError,
    exposed,
    script_global,
)

_ROUTING = tuple(RoutingOptions.__annotations__)


@script_global("Agent")
class AgentGlobal(DiscoveryFace, ContextsFace):
    """``Agent``: build agents and teams of them, find them, run them."""

    def __init__(self, host: ScriptHost) -> None:
        self._host = host
        self._handles: dict[str, AgentHandle] = {}

    def _adopt(self, agent: Agent) -> AgentHandle:
        """The one handle of *agent* in this script."""
        name = agent.metadata.name
        handle = self._handles.get(name)
        if handle is None or handle.agent is not agent:
            handle = AgentHandle(agent, self._host, self._forget)
            self._handles[name] = handle
        return handle

    def _forget(self, name: str) -> None:
        self._handles.pop(name, None)

    def _made(self, options: Mapping[str, Any]) -> AgentHandle:
        options = dict(options)
        key = options.get("api_key")
        if isinstance(key, str):
            self._host.services.secrets.add(key)
        if "type" not in options and "agent_type" not in options:
            options["type"] = "llm"
        builder = AgentBuilder().options(options)
        return self._adopt(builder.build(self._host.services, context=self._host.context))

    @exposed()
    def builder(self) -> BuilderFace:
        """A new builder."""
        return BuilderFace(self._host, self._adopt)

    @exposed(async_twin=True)
    async def create(
        self,
        model: Annotated[Any, AgentOptions],
        config: Annotated[dict[str, Any] | None, AgentOptions] = None,
    ) -> AgentHandle:
        """Build an agent from a table: ``create{…}`` or ``create("provider/model", {…})``.

        Args:
            model: The table, or the model.
            config: The table behind a model.
        """
        if isinstance(model, str):
            return self._made({**(config or {}), "model": model})
        return self._made(_table(model))

    @exposed()
    def register(
        self,
        name: Annotated[Any, AgentOptions],
        config: Annotated[dict[str, Any] | None, AgentOptions] = None,
    ) -> str:
        """Build an agent and return its name: ``register{name=…, …}`` or ``register(name, {…})``.

        Args:
            name: The table, or the name.
            config: The table behind a name.
        """
        options = {**(config or {}), "name": name} if isinstance(name, str) else _table(name)
        if not options.get("name"):
            raise ValidationError("An agent needs a name to be registered", field="name")
        return self._made(options).agent.metadata.name

    @exposed()
    def get(self, name: str) -> AgentHandle | None:
        """The agent of that name, or nil."""
        agent = self._agents.get(name)
        return None if agent is None else self._adopt(agent)

    @exposed()
    def create_from_template(
        self, name: str, template: Any = None, params: dict[str, Any] | None = None
    ) -> AgentHandle:
        """Build an agent from a template: ``(NAME, TEMPLATE, PARAMETERS)``, or ``(TEMPLATE,
        OVERRIDES)``.

        Args:
            name: The name of the new agent; or the template.
            template: The template; or a table of its parameters and of options of the agent.
            params: That table, behind a template.
        """
        if isinstance(template, str):
            wanted, given = template, {**(params or {}), "name": name}
        else:
            wanted, given = name, {} if template is None else _table(template)
        return self._made(self._agents.template(wanted, given))

    @exposed()
    def create_composite(
        self,
        name: Annotated[Any, CompositeOptions],
        agents: list[Any] | None = None,
        routing: Annotated[Any, RoutingOptions] = None,
    ) -> AgentHandle:
        """Build a team, which is an agent: ``(NAME, AGENTS, ROUTING)``, or ``create_composite{…}``.

        Args:
            name: Its name; or the table.
            agents: Its members: names or agents. Workflows can be members too.
            routing: How it works: the word of a strategy, a function that is given the input and
                the names of the members and names who is to work, or a table.
        """
        if isinstance(name, str):
            options: dict[str, Any] = {"name": name, "members": agents or [], "routing": routing}
        else:
            options = _table(name)
            table = {key: options.pop(key) for key in _ROUTING if key in options}
            if "routing" not in options:
                options["routing"] = table
            elif table:
                raise ValidationError(
                    f"'{next(iter(table))}' belongs into the table 'routing'", field="routing"
                )
        options = {key: value for key, value in options.items() if value is not None}
        return self._made({**options, "type": "composite"})

    @exposed()
    def wrap_as_tool(
        self, agent: Any, config: Annotated[dict[str, Any] | None, WrapOptions] = None
    ) -> str:
        """Make an agent a tool, for ``Tool``, other agents and workflows. It takes a text
        (``text``, ``input`` or ``prompt``) and gives the agent's answer.

        Args:
            agent: The agent, or its name.
            config: What the tool is called, and what it may.

        Returns:
            The tool's name.
        """
        options = dict(config or {})
        for key in options:
            if key not in WrapOptions.__annotations__:
                raise ValidationError(
                    f"wrap_as_tool has no option '{key}'",
                    field=key,
                    hint=f"Known: {', '.join(WrapOptions.__annotations__)}",
                )
        level = options.pop("security_level", "restricted")
        levels = [each.value for each in SecurityLevel]
        if level not in levels:
            raise ValidationError(
                f"security_level must be one of {', '.join(levels)}, not {level!r}",
                field="security_level",
            )
        return self._agents.wrap(
            agent,
            name=options.get("tool_name"),
            category=options.get("category") or "utility",
            security_level=SecurityLevel(level),
            description=options.get("description"),
        )


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValidationError(
            f"an agent is described by a table, not by {kind_of(value)}", field="config"
        )
    return dict(cast("Mapping[str, Any]", value))
