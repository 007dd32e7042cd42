"""The bases of the services that other packages call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from llmspell_core._component import Agent, Tool, ToolResult, Workflow
from llmspell_core._provider import Provider, ProviderInfo
from llmspell_core._stores import StorageBackend

if TYPE_CHECKING:
    from llmspell_core._context import ExecutionContext


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """A tool as it is listed, without importing it."""

    name: str
    description: str
    category: str
    security_level: str
    version: str = "0.1.0"
    aliases: tuple[str, ...] = ()


class ToolRegistry(ABC):
    """The tools by name: case-insensitive, ``-`` and ``_`` alike, aliases included."""

    @abstractmethod
    def list(self) -> list[ToolInfo]:
        """Each tool once, by canonical name, sorted; imports none of them."""

    @abstractmethod
    def get(self, name: str) -> Tool:
        """The tool.

        Raises:
            NotFoundError: ``Tool '<name>' not found``, with the nearest name as hint.
        """

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether `get` would find it."""

    @abstractmethod
    def register(self, tool: Tool) -> None:
        """Add a tool for the life of these services.

        Raises:
            DuplicateError: when the name or an alias is taken.
        """

    @abstractmethod
    def unregister(self, name: str) -> bool:
        """Remove a registered tool; whether there was one. Installed tools stay (raises)."""

    @abstractmethod
    async def invoke(
        self,
        name: str,
        parameters: Mapping[str, Any],
        context: ExecutionContext,
        *,
        timeout_seconds: float | None = None,
        retry: int = 0,
    ) -> ToolResult:
        """Normalise, validate, check policy, run hooks, ask for approval where that is wanted,
        run with a time-out, record.

        Args:
            name: Name or alias.
            parameters: Names and values.
            context: The execution it belongs to.
            timeout_seconds: How long one attempt may take; None: as configured.
            retry: Further attempts after failures that may pass.

        Raises:
            NotFoundError: for an unknown tool.
            LLMSpellError: for a hard failure. A soft one is a result with ``success=False``.
        """


class AgentRegistry(ABC):
    """The agents that live in these services."""

    @abstractmethod
    def get(self, name: str) -> Agent | None:
        """The agent of that name (or id), or None."""

    @abstractmethod
    def list(self) -> Sequence[Agent]:
        """All, by name."""

    @abstractmethod
    def add(self, agent: Agent) -> None:
        """Add it.

        Raises:
            DuplicateError: ``Agent instance '<name>' already exists``.
        """

    @abstractmethod
    def remove(self, name: str) -> bool:
        """Remove it; whether it was there."""

    @abstractmethod
    def build(self, options: Mapping[str, Any], context: ExecutionContext | None = None) -> Agent:
        """Make an agent from options as scripts write them (``name``, ``model``,
        ``system_prompt``, ``tools`` …) and add it.

        Args:
            options: What it is.
            context: The execution that builds it, so that a replay builds the same.

        Raises:
            ValidationError, ConfigurationError: for an option that does not fit.
            DuplicateError: as `add`.
        """


class WorkflowRegistry(ABC):
    """The workflows that live in these services."""

    @abstractmethod
    def get(self, name: str) -> Workflow | None:
        """The workflow of that name or id, or None."""

    @abstractmethod
    def list(self) -> Sequence[Workflow]:
        """All, by name."""


class ProviderRegistry(ABC):
    """The configured and discovered model providers."""

    @abstractmethod
    def list(self) -> list[ProviderInfo]:
        """All, by name; makes no connection."""

    @abstractmethod
    def resolve(
        self,
        model: str | None,
        *,
        provider: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        fallback: Sequence[str] = (),
    ) -> tuple[Provider, str]:
        """The provider for a model text (``provider/model``, ``model``, with ``@URL``) and the
        model's name there. The provider records its calls and retries them as configured.

        Args:
            model: The text; None is the default model of the provider.
            provider: The provider, for a text that names none.
            base_url: Another address than the configured one.
            api_key: Another key than the configured one.
            fallback: Models to ask instead, in that order, when this one cannot answer; before
                those that the provider's configuration names.

        Raises:
            ConfigurationError: ``Unsupported provider …``, ``Model is required``, an empty text.
        """

    @abstractmethod
    def default(self) -> ProviderInfo | None:
        """The configured default provider, else the first available one that is not a test
        double; None when no model can be asked.
        """


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `timestamp` is Unix seconds, `sequence` counts per bus."""

    topic: str
    payload: Any
    timestamp: float
    sequence: int
    correlation_id: str | None = None
    id: str = ""


EventHandler = Callable[[Event], Awaitable[None] | None]


class EventBus(ABC):
    """Topics with dots; subscribers name them with ``*`` wildcards."""

    @property
    @abstractmethod
    def listening(self) -> bool:
        """Whether anybody subscribed at all: publishers test this first."""

    @abstractmethod
    def publish(self, topic: str, payload: Any, context: ExecutionContext | None = None) -> Event:
        """Hand it to every subscriber's queue; never waits, callable from any thread."""

    @abstractmethod
    def subscribe(self, pattern: str, handler: EventHandler | None = None) -> str:
        """Subscribe; returns the subscription's id. Without a handler, `receive` collects."""

    @abstractmethod
    async def receive(
        self, subscription: str, *, timeout_seconds: float | None = None
    ) -> Event | None:
        """The next event, or None after the time-out."""

    @abstractmethod
    def unsubscribe(self, subscription: str) -> bool:
        """End it; whether it existed."""


@dataclass(frozen=True, slots=True)
class HookOutcome:
    """What the hooks of a point decided.

    `action` is ``continue``, ``modified`` (`data` replaces the point's data), ``cancel``
    (`reason`), ``skip`` or ``replace`` (`data` is the result).
    """

    action: Literal["continue", "modified", "cancel", "skip", "replace"] = "continue"
    data: Any = None
    reason: str | None = None


CONTINUE = HookOutcome()

Hook = Callable[[str, Mapping[str, Any], "ExecutionContext"], Awaitable[HookOutcome | None]]


class HookExecutor(ABC):
    """Runs what was registered for a hook point, by priority."""

    @abstractmethod
    def wants(self, point: str) -> bool:
        """Whether anything is registered there: callers test this first."""

    @abstractmethod
    def register(self, point: str, hook: Hook, *, priority: int = 0, name: str = "") -> str:
        """Add a hook (smaller priorities run first); returns its id.

        Raises:
            ValidationError: ``Unknown hook point: <point>``.
        """

    @abstractmethod
    def unregister(self, hook_id: str) -> bool:
        """Remove it; whether it was there."""

    @abstractmethod
    async def run(
        self, point: str, data: Mapping[str, Any], context: ExecutionContext
    ) -> HookOutcome:
        """Run the hooks of *point*; a failing hook is logged and counts as continue."""


class Security(ABC):
    """The policy: what a script or a tool may reach."""

    @abstractmethod
    def path(
        self,
        path: str,
        mode: Literal["read", "write"],
        context: ExecutionContext,
        *,
        caller: Literal["script", "tool"] = "script",
    ) -> str:
        """The real, absolute path, if it may be used so.

        ``runtime.security.allow_file_access`` opens every path to scripts; tools, which models
        drive, keep to the allowed paths all the same.

        Raises:
            SecurityError: ``Path not allowed: <path> not in allowlist``.
            ValidationError: for an empty path or one with NUL.
        """

    @abstractmethod
    def tool(self, name: str, level: str) -> None:
        """Raise `SecurityError` when a tool of that level must not run."""


class Tenancy(ABC):
    """Who an execution belongs to, and where that tenant's data lies."""

    @abstractmethod
    def current(self) -> str | None:
        """The tenant executions are for when nobody says otherwise."""

    @abstractmethod
    def storage(self, backend: StorageBackend, tenant: str | None) -> StorageBackend:
        """A view of *backend* that sees the tenant's keys and no others."""

    @abstractmethod
    def namespace(self, namespace: str, tenant: str | None) -> str:
        """The tenant's form of a retrieval namespace."""
