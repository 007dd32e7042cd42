"""`AgentService`: the agents of one set of services, and the making of new ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmspell_agents._config import AgentConfig
from llmspell_core import (
    Agent,
    AgentRegistry,
    ConfigurationError,
    DuplicateError,
    SecurityLevel,
    nearest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llmspell_agents._agent_tool import AgentTool
    from llmspell_agents._contexts import ContextStore
    from llmspell_agents._monitor import Monitor
    from llmspell_agents._shared_memory import SharedMemory
    from llmspell_core import BaseAgent, ExecutionContext, Services

GROUP = "llmspell.agents"


class AgentService(AgentRegistry):
    """Agents by name (or id). Kinds come from the entry-point group ``llmspell.agents``:
    ``(AgentConfig, Services) -> Agent``.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = threading.RLock()
        self._agents: dict[str, Agent] = {}
        self._tools: dict[str, tuple[AgentTool, BaseAgent | None]] = {}
        self._born = (time.monotonic(), time.process_time())
        self._monitor: Monitor | None = None
        self._contexts: ContextStore | None = None
        self._memory: SharedMemory | None = None

    @property
    def monitor(self) -> Monitor:
        """The figures, the health and the alerts of agents."""
        with self._lock:
            if self._monitor is None:
                from llmspell_agents._monitor import Monitor

                self._monitor = Monitor(self._services, self._born)
            return self._monitor

    @property
    def contexts(self) -> ContextStore:
        """Named values for agents."""
        with self._lock:
            if self._contexts is None:
                from llmspell_agents._contexts import ContextStore

                self._contexts = ContextStore(self.memory)
            return self._contexts

    @property
    def memory(self) -> SharedMemory:
        """Values that agents share."""
        with self._lock:
            if self._memory is None:
                from llmspell_agents._shared_memory import SharedMemory

                self._memory = SharedMemory(self._services)
            return self._memory

    def close(self) -> None:
        """Stop watching agents."""
        if self._monitor is not None:
            self._monitor.close()

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
            agent = self._agents.pop(name, None)
        if agent is None:
            return False
        if self._monitor is not None:
            self._monitor.forget(agent)
        for tool, (made, owner) in list(self._tools.items()):
            if made.agent is agent or owner is agent:
                self._services.tools.unregister(tool)
                del self._tools[tool]
        return True

    def wrap(
        self,
        agent: BaseAgent | str,
        *,
        name: str | None = None,
        category: str = "utility",
        security_level: SecurityLevel = SecurityLevel.RESTRICTED,
        description: str | None = None,
        owner: BaseAgent | None = None,
    ) -> str:
        """Make *agent* a tool that other agents, workflows and scripts can call; it is one until
        the agent, or its *owner*, is removed.

        Args:
            agent: The agent, or its name.
            name: The tool's name; ``<agent>_tool``. The same agent under the same name again
                changes nothing.
            category: What the tool is listed under.
            security_level: What the policy must allow for it to be called.
            description: What it is good for; that of the agent.
            owner: The agent that needs it.

        Returns:
            The tool's name.

        Raises:
            NotFoundError: for an unknown agent.
            DuplicateError: when another tool has the name.
        """
        from llmspell_agents._agent_tool import AgentTool
        from llmspell_agents._members import found_member

        found = found_member(agent, self)
        tool = AgentTool(
            found,
            name=name,
            category=category,
            security_level=security_level,
            description=description,
        )
        called = tool.schema.name
        known = self._tools.get(called)
        if known is not None and known[0].agent is found:
            return called
        self._services.tools.register(tool)
        self._tools[called] = (tool, owner)
        return called

    def names_as_tool(self, agent: BaseAgent) -> Sequence[str]:
        """The names of the tools that *agent* is."""
        return [name for name, (tool, _) in self._tools.items() if tool.agent is agent]

    def tools_of(self, agent: BaseAgent) -> Sequence[BaseAgent]:
        """The agents that *agent* can call as tools."""
        names: Callable[[], Sequence[str]] | None = getattr(agent, "tool_names", None)
        return [self._tools[n][0].agent for n in (names() if names else ()) if n in self._tools]

    def build(self, options: Mapping[str, Any], context: ExecutionContext | None = None) -> Agent:
        from llmspell_agents._builder import AgentBuilder

        return AgentBuilder().options(options).build(self._services, context=context)

    def kinds(self) -> Sequence[str]:
        """The kinds of agents there are, sorted."""
        return self._services.plugins.names(GROUP)

    def kind(self, name: str) -> Callable[[AgentConfig, Services], Agent]:
        """The factory of a kind; ``-`` and ``_`` are alike.

        Raises:
            ConfigurationError: ``Unknown agent type: <name>``.
        """
        return self._services.plugins.load(GROUP, self._kind_name(name))

    def _kind_name(self, name: str) -> str:
        for spelled in (name, name.lower().replace("_", "-")):
            if self._services.plugins.find(GROUP, spelled) is not None:
                return spelled
        known = self._services.plugins.names(GROUP)
        close = nearest(name, known)
        raise ConfigurationError(
            f"Unknown agent type: {name}",
            hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(known)}",
        )

    def create(self, config: AgentConfig, context: ExecutionContext | None = None) -> Agent:
        """Make an agent and add it.

        Raises:
            ConfigurationError: when it cannot be made so.
            DuplicateError: when the name is taken.
        """
        if config.name in self._agents:
            raise _exists(config.name)
        factory = self.kind(config.agent_type)
        if context is not None and getattr(factory, "needs_model", False):
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

    def templates(self) -> Sequence[str]:
        """The names of the templates there are: those of the package, then those configured
        under ``[agents.templates.NAME]``.
        """
        from llmspell_agents._templates import template_names

        return template_names(self._services.config)

    def template(self, name: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The options that a template makes of *parameters*; ``-`` and ``_`` are alike.

        Raises:
            NotFoundError: ``Template '<name>' not found``.
            ValidationError: ``Missing required parameter: <name>``, a parameter of the wrong
                type or out of its range.
        """
        from llmspell_agents._templates import options_of

        return options_of(name, parameters or {}, self._services.config)

    def create_from_template(
        self,
        name: str,
        overrides: Mapping[str, Any] | None = None,
        context: ExecutionContext | None = None,
    ) -> Agent:
        """Make an agent from a template and add it.

        Args:
            name: The template.
            overrides: Its parameters, and any option of an agent.
            context: The execution that builds it.

        Raises:
            LLMSpellError: as `template` and `build` raise.
        """
        return self.build(self.template(name, overrides), context)


def _exists(name: str) -> DuplicateError:
    return DuplicateError(
        f"Agent instance '{name}' already exists",
        hint="Choose another name, or destroy the agent first.",
    )
