"""The part of the global `Agent` that tells what agents there are."""

from __future__ import annotations

import builtins
from typing import Annotated, Any, cast

from llmspell_agents._config import AgentConfig
from llmspell_agents._discovery import (
    capability_record,
    details,
    forest,
    has_capability,
    hierarchy,
)
from llmspell_agents._handle import describe
from llmspell_agents._managed import ManagedAgent
from llmspell_agents._members import capabilities_of
from llmspell_agents._registry import AgentService
from llmspell_agents._script_options import DiscoverOptions
from llmspell_core import Agent, Items, NotFoundError, Record, ScriptHost, ValidationError, exposed
from llmspell_core import nearest as nearest_name


class DiscoveryFace:
    """Finding agents, and what is known of them."""

    _host: ScriptHost

    @property
    def _agents(self) -> AgentService:
        return cast("AgentService", self._host.services.agents)

    def _known(self, name: str) -> Agent:
        agent = self._agents.get(name)
        if agent is None:
            raise self._missing(name, self.list_instances())
        return agent

    def _missing(self, name: str, known: builtins.list[str]) -> NotFoundError:
        close = nearest_name(name, known)
        return NotFoundError(
            f"Agent '{name}' not found",
            hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(known) or 'none'}",
        )

    @exposed()
    def list(self) -> builtins.list[Record]:
        """All agents, by name.

        Returns:
            ``{name, type, id, description, state, model, provider, capabilities}`` each.
        """
        return [Record(describe(agent), agent.metadata.name) for agent in self._agents.list()]

    @exposed()
    def list_instances(self) -> builtins.list[str]:
        """The names of all agents, sorted."""
        return [agent.metadata.name for agent in self._agents.list()]

    @exposed()
    def list_templates(self) -> builtins.list[str]:
        """The names of the templates, sorted; those of ``[agents.templates]`` included."""
        return [*self._agents.templates()]

    @exposed()
    def get_info(self, name: str) -> dict[str, Any]:
        """What a kind, an agent or a template is and takes.

        Args:
            name: Of the agent, else of the kind, else of the template.

        Returns:
            ``{name, type, description, category, complexity, required_parameters,
            optional_parameters}``; of an agent also its model, provider, capabilities, tools and
            state; of a template its ``parameters``.
        """
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
        templates = self._agents.templates()
        if name in templates:
            from llmspell_agents._templates import find_template

            about = find_template(name, self._host.services.config).to_dict()
            required = [p["name"] for p in about["parameters"] if p["required"]]
            return {
                **about,
                "type": "template",
                "category": "template",
                "complexity": "standard",
                "required_parameters": required,
                "optional_parameters": [
                    p["name"] for p in about["parameters"] if not p["required"]
                ],
            }
        raise self._missing(name, [*kinds, *templates, *self.list_instances()])

    @exposed()
    def discover(
        self, options: Annotated[dict[str, Any] | None, DiscoverOptions] = None
    ) -> builtins.list[dict[str, Any]]:
        """The kinds of agents; with options the agents that match.

        Args:
            options: What an agent must have; all of it.
        """
        if not options:
            return [
                {"name": kind, "type": kind, "description": _summary(self._agents.kind(kind))}
                for kind in self._agents.kinds()
            ]
        for key in options:
            if key not in {"type", "capabilities", "min_context"}:
                raise ValidationError(
                    f"discover has no option '{key}'",
                    field=key,
                    hint="Known: type, capabilities, min_context",
                )
        wanted: Any = options.get("capabilities") or []
        words = [wanted] if isinstance(wanted, str) else [*cast("builtins.list[str]", wanted)]
        least = options.get("min_context")
        return [
            describe(agent)
            for agent in self._agents.list()
            if _is_kind(agent, options.get("type"))
            and all(word in capabilities_of(agent) for word in words)
            and (least is None or (_window(agent) or 0) >= least)
        ]

    @exposed()
    def discover_by_capability(self, capability: str) -> builtins.list[str]:
        """The names of the agents that can do something.

        Args:
            capability: ``streaming``, ``tools``, ``context``, ``multimodal``, ``composite`` (or
                ``supports_tools`` and so on); else a word, or a part of one, that an agent was
                given with ``:capability(word)``.
        """
        return [
            agent.metadata.name
            for agent in self._agents.list()
            if has_capability(agent, capability)
        ]

    @exposed()
    def list_capabilities(self, name: str | None = None) -> Any:
        """What agents can do.

        Args:
            name: Of one agent.

        Returns:
            Name → ``{id, name, description, config, capabilities = {supports_streaming,
            supports_tools, supports_context, supports_multimodal}}``; of one agent that table,
            which is the list of its words too.
        """
        if name is None:
            return {agent.metadata.name: capability_record(agent) for agent in self._agents.list()}
        agent = self._known(name)
        return Items(capabilities_of(agent), capability_record(agent))

    @exposed()
    def get_hierarchy(self, name: str | None = None) -> dict[str, Any]:
        """Who belongs to whom: teams and their members, agents and those they call as tools.

        Args:
            name: The agent to begin with; without it all agents, below a root.

        Returns:
            ``{root = {name, type, id, children = {…}}}``.
        """
        if name is None:
            return {"root": forest(self._agents)}
        return {"root": hierarchy(self._known(name), self._agents)}

    @exposed()
    def get_details(self, name: str) -> dict[str, Any]:
        """All about an agent.

        Args:
            name: The agent.

        Returns:
            ``{id, name, description, state, metrics, config, composition = {can_be_wrapped,
            supports_delegation, supports_nesting}}``.
        """
        agent = self._known(name)
        found = details(agent, self._agents)
        if "metrics" in found:
            metrics = found["metrics"]
            found["metrics"] = self._host.context.observe("agent.metrics", name, lambda: metrics)
        return found


def _is_kind(agent: Agent, kind: Any) -> bool:
    own = agent.config.agent_type if isinstance(agent, ManagedAgent) else "agent"
    return kind is None or own == str(kind).replace("_", "-")


def _window(agent: Agent) -> int | None:
    """The tokens the agent's model has room for, as far as that is known."""
    return agent.context_tokens() if isinstance(agent, ManagedAgent) else None


def _summary(factory: Any) -> str:
    return (factory.__doc__ or "").strip().partition("\n")[0]


_NEEDED = {
    "llm": ["name", "model"],
    "tool-orchestrator": ["name", "model"],
    "tool": ["name", "tools"],
    "composite": ["name", "members"],
    "workflow": ["name", "workflow"],
}


def _kind_info(kind: str) -> dict[str, Any]:
    required = _NEEDED.get(kind, ["name"])
    return {
        "category": "agent",
        "complexity": "basic" if kind in ("basic", "tool") else "standard",
        "required_parameters": required,
        "optional_parameters": [
            field for field in AgentConfig.__slots__ if field not in {*required, "agent_type"}
        ],
    }
