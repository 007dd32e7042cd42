"""`AgentService`: the agents of one set of services, and the making of new ones."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmspell_agents._config import AgentConfig
from llmspell_core import (
    Agent,
    AgentRegistry,
    ConfigurationError,
    DuplicateError,
    NotFoundError,
    nearest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llmspell_core import ExecutionContext, Services

GROUP = "llmspell.agents"

TEMPLATES: dict[str, dict[str, Any]] = {
    "basic": {"type": "basic", "description": "Echoing test agent without a model"},
    "llm": {"type": "llm", "model": "gpt-4", "temperature": 0.7, "max_tokens": 2000},
}
"""Options that `Agent.create_from_template` begins with."""


class AgentService(AgentRegistry):
    """Agents by name (or id). Kinds come from the entry-point group ``llmspell.agents``:
    ``(AgentConfig, Services) -> Agent``.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = threading.Lock()
        self._agents: dict[str, Agent] = {}

    def get(self, name: str) -> Agent | None:
        found = self._agents.get(name)
        if found is not None:
            return found
        return next((a for a in list(self._agents.values()) if a.metadata.id == name), None)

    def list(self) -> Sequence[Agent]:
        with self._lock:
            return [self._agents[name] for name in sorted(self._agents)]

    def add(self, agent: Agent) -> None:
        name = agent.metadata.name
        with self._lock:
            if name in self._agents:
                raise _exists(name)
            self._agents[name] = agent

    def remove(self, name: str) -> bool:
        with self._lock:
            return self._agents.pop(name, None) is not None

    def build(self, options: Mapping[str, Any], context: ExecutionContext | None = None) -> Agent:
        from llmspell_agents._builder import AgentBuilder

        return AgentBuilder().options(options).build(self._services, context=context)

    def kinds(self) -> Sequence[str]:
        """The kinds of agents there are, sorted."""
        return self._services.plugins.names(GROUP)

    def kind(self, name: str) -> Callable[[AgentConfig, Services], Agent]:
        """The factory of a kind.

        Raises:
            ConfigurationError: ``Unknown agent type: <name>``.
        """
        if self._services.plugins.find(GROUP, name) is None:
            known = self._services.plugins.names(GROUP)
            close = nearest(name, known)
            raise ConfigurationError(
                f"Unknown agent type: {name}",
                hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(known)}",
            )
        return self._services.plugins.load(GROUP, name)

    def create(self, config: AgentConfig, context: ExecutionContext | None = None) -> Agent:
        """Make an agent and add it.

        Raises:
            ConfigurationError: when it cannot be made so.
            DuplicateError: when the name is taken.
        """
        if config.name in self._agents:
            raise _exists(config.name)
        factory = self.kind(config.agent_type)
        if context is not None and config.agent_type == "llm":
            config = self._pinned(config, context)
        agent = factory(config, self._services)
        self.add(agent)
        return agent

    def _pinned(self, config: AgentConfig, context: ExecutionContext) -> AgentConfig:
        """With provider and model spelled out, as this run chose them: configuration and
        environment may say something else when the run is replayed.
        """

        def choose() -> dict[str, Any]:
            try:
                provider, model = self._services.providers.resolve(
                    config.model,
                    provider=config.provider,
                    base_url=config.base_url,
                    api_key=config.api_key,
                )
            except ConfigurationError as error:
                return {"error": error.message, "hint": error.hint, "code": error.code}
            return {"provider": provider.name, "model": model}

        asked = {"model": config.model, "provider": config.provider, "url": config.base_url}
        chosen = context.observe("provider.resolve", asked, choose)
        if "error" in chosen:
            raise ConfigurationError(chosen["error"], hint=chosen["hint"], code=chosen["code"])
        model = config.model or ""
        at = model.rfind("@http")
        address = config.base_url or (model[at + 1 :] if at >= 0 else None)
        return replace(config, provider=chosen["provider"], model=chosen["model"], base_url=address)

    def template(self, name: str) -> Mapping[str, Any]:
        """The options of a template.

        Raises:
            NotFoundError: ``Template '<name>' not found``.
        """
        plain = name.lower().replace("_", "-")
        if plain not in TEMPLATES:
            raise NotFoundError(
                f"Template '{name}' not found", hint=f"Known: {', '.join(sorted(TEMPLATES))}"
            )
        return TEMPLATES[plain]


def _exists(name: str) -> DuplicateError:
    return DuplicateError(
        f"Agent instance '{name}' already exists",
        hint="Choose another name, or destroy the agent first.",
    )
