"""The script global `Agent`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

from llmspell_agents._builder import AgentBuilder
from llmspell_agents._config import AgentConfig
from llmspell_agents._handle import AgentHandle, describe
from llmspell_agents._managed import ManagedAgent
from llmspell_agents._registry import TEMPLATES, AgentService
from llmspell_agents._script_builder import BuilderFace
from llmspell_agents._script_options import AgentOptions
from llmspell_core import (
    Agent,
    NotFoundError,
    Record,
    ScriptHost,
    ValidationError,
    exposed,
    nearest,
    script_global,
)


@script_global("Agent")
class AgentGlobal:
    """``Agent``: build agents, find them, run them."""

    def __init__(self, host: ScriptHost) -> None:
        self._host = host
        self._handles: dict[str, AgentHandle] = {}

    @property
    def _agents(self) -> AgentService:
        return cast("AgentService", self._host.services.agents)

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
    def list(self) -> list[Record]:
        """All agents, by name: ``{name, type, id, description, state, model}``."""
        return [Record(describe(agent), agent.metadata.name) for agent in self._agents.list()]

    @exposed()
    def list_instances(self) -> list[str]:
        """Their names."""
        return [agent.metadata.name for agent in self._agents.list()]

    @exposed()
    def get(self, name: str) -> AgentHandle | None:
        """The agent of that name, or nil."""
        agent = self._agents.get(name)
        return None if agent is None else self._adopt(agent)

    @exposed()
    def list_templates(self) -> list[str]:
        """The names of the templates."""
        return sorted(TEMPLATES)

    @exposed()
    def create_from_template(
        self, name: str, template: Any = None, params: dict[str, Any] | None = None
    ) -> AgentHandle:
        """``(instance_name, template, params)`` or ``(template, overrides)``."""
        if isinstance(template, str):
            options = {**self._agents.template(template), **(params or {}), "name": name}
        else:
            overrides = {} if template is None else _table(template)
            options = {**self._agents.template(name), **overrides}
        return self._made(options)

    @exposed()
    def get_info(self, name: str) -> dict[str, Any]:
        """What a kind or an agent is and takes."""
        agent = self._agents.get(name)
        if agent is not None:
            kind = agent.config.agent_type if isinstance(agent, ManagedAgent) else "agent"
            return {**_kind_info(kind), **describe(agent)}
        kinds = self._agents.kinds()
        if name in kinds:
            return {
                **_kind_info(name),
                "name": name,
                "type": name,
                "description": _summary(self._agents.kind(name)),
            }
        known = [*kinds, *self.list_instances()]
        close = nearest(name, known)
        raise NotFoundError(
            f"Agent '{name}' not found",
            hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(known)}",
        )

    @exposed()
    def discover(self, options: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """The kinds of agents; with ``{type, capabilities}`` the agents that match."""
        if not options:
            return [
                {"name": kind, "type": kind, "description": _summary(self._agents.kind(kind))}
                for kind in self._agents.kinds()
            ]
        for key in options:
            if key not in {"type", "capabilities"}:
                raise ValidationError(
                    f"discover has no option '{key}'",
                    field=key,
                    hint="Known: type, capabilities",
                )
        wanted: Any = options.get("capabilities") or []
        words = {wanted} if isinstance(wanted, str) else set(cast("list[str]", wanted))
        found = [describe(agent) for agent in self._agents.list()]
        return [
            info
            for info in found
            if options.get("type") in {None, info["type"]} and words <= {*info["capabilities"]}
        ]


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValidationError(
            f"an agent is described by a table, not by {type(value).__name__}", field="config"
        )
    return dict(cast("Mapping[str, Any]", value))


def _summary(factory: Any) -> str:
    return (factory.__doc__ or "").strip().partition("\n")[0]


def _kind_info(kind: str) -> dict[str, Any]:
    required = ["name", "model"] if kind == "llm" else ["name"]
    return {
        "category": "agent",
        "complexity": "basic" if kind == "basic" else "standard",
        "required_parameters": required,
        "optional_parameters": [
            field for field in AgentConfig.__slots__ if field not in {*required, "agent_type"}
        ],
    }
