"""Doubles of the services that hold tools, providers and components, and of the policy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from llmspell_core import (
    Agent,
    AgentRegistry,
    ConfigurationError,
    DuplicateError,
    NotFoundError,
    ProviderInfo,
    ProviderRegistry,
    Security,
    SecurityError,
    StorageBackend,
    Tenancy,
    Tool,
    ToolInfo,
    ToolRegistry,
    ToolResult,
    ValidationError,
    Workflow,
    WorkflowRegistry,
)

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Provider


def _folded(name: str) -> str:
    return name.casefold().replace("-", "_")


class ToolsDouble(ToolRegistry):
    """The tools it is given, run without policy, hooks and time-out.

    `calls` holds what was invoked: ``(name, parameters)``.
    """

    def __init__(self, *tools: Tool) -> None:
        self._tools: dict[str, Tool] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        for tool in tools:
            self.register(tool)

    def list(self) -> list[ToolInfo]:
        """By name."""
        unique = {id(tool): tool for tool in self._tools.values()}
        return sorted(
            (
                ToolInfo(
                    tool.schema.name,
                    tool.schema.description,
                    tool.category,
                    tool.security_level.value,
                    str(tool.metadata.version),
                    tool.aliases,
                )
                for tool in unique.values()
            ),
            key=lambda info: info.name,
        )

    def get(self, name: str) -> Tool:
        """The tool."""
        found = self._tools.get(_folded(name))
        if found is None:
            raise NotFoundError(f"Tool '{name}' not found")
        return found

    def has(self, name: str) -> bool:
        """Whether there is one."""
        return _folded(name) in self._tools

    def register(self, tool: Tool) -> None:
        """Add it under its name and its aliases."""
        names = [tool.schema.name, *tool.aliases]
        for name in names:
            if self.has(name):
                raise DuplicateError(f"Tool '{name}' already exists")
        for name in names:
            self._tools[_folded(name)] = tool

    def unregister(self, name: str) -> bool:
        """Remove it and its aliases."""
        if not self.has(name):
            return False
        tool = self.get(name)
        self._tools = {key: other for key, other in self._tools.items() if other is not tool}
        return True

    async def invoke(
        self,
        name: str,
        parameters: Mapping[str, Any],
        context: ExecutionContext,
        *,
        timeout_seconds: float | None = None,
        retry: int = 0,
    ) -> ToolResult:
        """Run it, once, as an effect ``tool.call``."""
        tool = self.get(name)
        self.calls.append((tool.schema.name, dict(parameters)))
        from llmspell_core import Codec

        codec: Codec[ToolResult] = Codec(
            encode=_encode_result,
            decode=lambda value: ToolResult(**value),
            sensitive=tool.schema.sensitive,
        )
        return await context.effect(
            "tool.call",
            {"tool": tool.schema.name, "parameters": dict(parameters)},
            lambda inner: tool.run(dict(parameters), inner),
            effect_class=tool.effect_of(parameters),
            codec=codec,
        )


def _encode_result(result: ToolResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in ToolResult.__slots__}


class ProvidersDouble(ProviderRegistry):
    """The providers it is given, the first as the default; a model text may name one:
    ``provider/model``. Calls are neither recorded nor retried.
    """

    def __init__(self, *providers: Provider) -> None:
        self._providers = {provider.name: provider for provider in providers}

    def list(self) -> list[ProviderInfo]:
        """By name."""
        return [ProviderInfo(name, "double") for name in sorted(self._providers)]

    def resolve(
        self,
        model: str | None,
        *,
        provider: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        fallback: Sequence[str] = (),
    ) -> tuple[Provider, str]:
        """By the provider's name, else the default."""
        if not model:
            raise ConfigurationError("Model is required")
        head, slash, rest = model.partition("/")
        name = provider or (head if slash else next(iter(self._providers), ""))
        if name not in self._providers:
            raise ConfigurationError(f"Unsupported provider '{name}'")
        return self._providers[name], rest if slash and provider is None else model

    def default(self) -> ProviderInfo | None:
        """The first."""
        return ProviderInfo(next(iter(self._providers)), "double") if self._providers else None

    async def aclose(self) -> None:
        """Close the providers."""
        for provider in self._providers.values():
            await provider.aclose()


class AgentsDouble(AgentRegistry):
    """The agents it is given."""

    def __init__(self, *agents: Agent) -> None:
        self._agents: dict[str, Agent] = {}
        for agent in agents:
            self.add(agent)

    def get(self, name: str) -> Agent | None:
        """By name or id."""
        for agent in self._agents.values():
            if name in (agent.metadata.name, agent.metadata.id):
                return agent
        return None

    def list(self) -> Sequence[Agent]:
        """By name."""
        return [self._agents[name] for name in sorted(self._agents)]

    def add(self, agent: Agent) -> None:
        """Add it."""
        name = agent.metadata.name
        if name in self._agents:
            raise DuplicateError(f"Agent instance '{name}' already exists")
        self._agents[name] = agent

    def remove(self, name: str) -> bool:
        """Remove it."""
        return self._agents.pop(name, None) is not None

    def build(self, options: Mapping[str, Any], context: ExecutionContext | None = None) -> Agent:
        """It has no kinds of agents to make one of."""
        raise ConfigurationError("the double of the agents holds those it was given")


class WorkflowsDouble(WorkflowRegistry):
    """The workflows it is given."""

    def __init__(self, *workflows: Workflow) -> None:
        self._workflows = {workflow.metadata.name: workflow for workflow in workflows}

    def get(self, name: str) -> Workflow | None:
        """By name or id."""
        for workflow in self._workflows.values():
            if name in (workflow.metadata.name, workflow.metadata.id):
                return workflow
        return None

    def list(self) -> Sequence[Workflow]:
        """By name."""
        return [self._workflows[name] for name in sorted(self._workflows)]


class SecurityDouble(Security):
    """Allows what lies below the *roots* it is given (nothing without any) and every tool whose
    level is not in *denied_levels*.
    """

    def __init__(
        self, *roots: str | os.PathLike[str], denied_levels: frozenset[str] = frozenset()
    ) -> None:
        self._roots = tuple(os.path.realpath(root) for root in roots)
        self._denied = denied_levels

    def path(
        self,
        path: str,
        mode: Literal["read", "write"],
        context: ExecutionContext,
        *,
        caller: Literal["script", "tool"] = "script",
    ) -> str:
        """The real path."""
        if not path or "\0" in path:
            raise ValidationError(f"Not a path: {path!r}", field="path")
        real = os.path.realpath(path)
        if not any(real == root or real.startswith(root + os.sep) for root in self._roots):
            raise SecurityError(f"Path not allowed: {path} not in allowlist", violation_type="path")
        return real

    def tool(self, name: str, level: str) -> None:
        """Raise for a denied level."""
        if level in self._denied:
            raise SecurityError(f"Tool '{name}' needs level {level}", permission_required=level)


class TenancyDouble(Tenancy):
    """One tenant, or none; data is not separated."""

    def __init__(self, tenant: str | None = None) -> None:
        self._tenant = tenant

    def current(self) -> str | None:
        """The tenant."""
        return self._tenant

    def storage(self, backend: StorageBackend, tenant: str | None) -> StorageBackend:
        """The same one."""
        return backend

    def namespace(self, namespace: str, tenant: str | None) -> str:
        """With the tenant in front, where there is one."""
        return namespace if tenant is None else f"{tenant}:{namespace}"
