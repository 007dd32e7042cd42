"""`Services`: the only composition root."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from llmspell_core._config import Config
from llmspell_core._errors import ConfigurationError, InternalError
from llmspell_core._plugins import PluginIndex
from llmspell_core._secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llmspell_core._bases import (
        AgentRegistry,
        EventBus,
        HookExecutor,
        ProviderRegistry,
        Security,
        Tenancy,
        ToolRegistry,
        WorkflowRegistry,
    )
    from llmspell_core._ledger import RunLedger
    from llmspell_core._retrieval import Retriever
    from llmspell_core._stores import StateStore, VectorStore

GROUP = "llmspell.services"


class Services:
    """The services of one kernel, each made on first touch and closed in reverse order.

    An attribute (``services.tools``) resolves its factory ``(Services) -> service`` from the
    entry-point group ``llmspell.services``, builds it once and keeps it. Two ``Services`` in one
    process share nothing. A service that a third party registers is reached by `get`.

    Args:
        config: Settings; a plain mapping or None (all defaults) will do.
        plugins: What is installed; the default reads it.

    Raises:
        ConfigurationError: on touching a service nobody registered, or one in a cycle.
        InternalError: on touching after `aclose`.
    """

    if TYPE_CHECKING:
        agents: AgentRegistry
        events: EventBus
        hooks: HookExecutor
        ledger: RunLedger
        providers: ProviderRegistry
        rag: Retriever
        security: Security
        state: StateStore
        tenancy: Tenancy
        tools: ToolRegistry
        vectors: VectorStore
        workflows: WorkflowRegistry

    def __init__(
        self,
        config: Config | Mapping[str, Any] | None = None,
        *,
        plugins: PluginIndex | None = None,
    ) -> None:
        self.config = config if isinstance(config, Config) else Config(config)
        self.plugins = plugins or PluginIndex(prefer=self.config.get("plugins.prefer"))
        self.secrets = Secrets()
        self._made: dict[str, Any] = {}
        self._making: list[str] = []
        self._lock = threading.RLock()
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.get(name)

    def get(self, name: str) -> Any:
        """The service called *name*; makes it on the first call."""
        with self._lock:
            if name in self._made:
                return self._made[name]
            if self._closed:
                raise self._closed_error(name)
            if name in self._making:
                cycle = " → ".join([*self._making[self._making.index(name) :], name])
                raise ConfigurationError(
                    f"services need each other in a cycle: {cycle}",
                    hint="A factory must not touch other services; touch them in the methods.",
                    code="SERVICE_CYCLE",
                )
            plugin = self.plugins.find(GROUP, name)
            if plugin is None:
                raise ConfigurationError(
                    f"service '{name}' is not installed",
                    hint=f"Try: pip install llmspell-{_OWNERS.get(name, name)}",
                    code="SERVICE_MISSING",
                )
            self._making.append(name)
            try:
                made = plugin.load()(self)
            finally:
                self._making.pop()
            self._made[name] = made
            return self._own(name, made)

    def _own(self, name: str, made: Any) -> Any:
        # From here on it is an ordinary attribute: no __getattr__ on later touches. A service
        # called as something of this class is reached by `get` alone.
        if name not in _OWN and not name.startswith("_") and not hasattr(Services, name):
            self.__dict__[name] = made
        return made

    def _closed_error(self, name: str) -> InternalError:
        return InternalError(
            f"service '{name}' was touched after its Services were closed",
            hint="Make new Services; closed ones stay closed.",
            code="SERVICES_CLOSED",
        )

    def provide(self, name: str, service: Any) -> None:
        """Put *service* in the place of the installed one, before anybody touched it."""
        with self._lock:
            if self._closed:
                raise self._closed_error(name)
            if name in self._made:
                raise InternalError(f"service '{name}' is already in use")
            self._made[name] = service
            self._own(name, service)

    def peek(self, name: str) -> Any:
        """The service if it was made already, else None; makes nothing."""
        return self._made.get(name)

    def made(self) -> list[str]:
        """The names of the services made so far, in order."""
        return list(self._made)

    async def aclose(self) -> None:
        """Close what was made, in reverse order; again is harmless.

        A service is closed by its ``aclose()``, else by its ``close()``. While it closes it may
        still use those made before it. Every service is closed even if one fails; the first
        failure is raised at the end.
        """
        first: BaseException | None = None
        for service in self._leave():
            try:
                await _close(service)
            except BaseException as error:
                # A cancellation too: what is open must not stay open for it.
                first = first or error
        if first is not None:
            raise first

    def _leave(self) -> Iterator[Any]:
        """The services in reverse order; each is forgotten when it was closed."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            names = list(self._made)
        for name in reversed(names):
            yield self._made[name]
            self.__dict__.pop(name, None)
            del self._made[name]

    def close(self) -> None:
        """`aclose` for synchronous code; starts no event loop when nothing needs one."""
        if not any(hasattr(service, "aclose") for service in list(self._made.values())):
            coroutine = self.aclose()
            try:
                # Nothing in it waits, so one step is all of it.
                coroutine.send(None)
            except StopIteration:
                return
        from llmspell_core._io import run_sync

        run_sync(self.aclose())

    async def __aenter__(self) -> Services:
        """The services themselves."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close them."""
        await self.aclose()


async def _close(service: Any) -> None:
    """Call its ``aclose``, or its ``close`` if that is all it has (the run ledger)."""
    close = getattr(service, "aclose", None)
    if close is not None:
        await close()
        return
    close = getattr(service, "close", None)
    if close is not None:
        close()


_OWN = frozenset({"config", "plugins", "secrets"})
_OWNERS = {
    "ledger": "kernel",
    "state": "kernel",
    "sessions": "kernel",
    "vectors": "storage",
}
