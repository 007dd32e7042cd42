"""`ToolService`: the tools by name, and the way to call them."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llmspell_core import (
    ComponentError,
    DuplicateError,
    NotFoundError,
    PluginError,
    Tool,
    ToolInfo,
    ToolRegistry,
    ToolResult,
    ValidationError,
    nearest,
)
from llmspell_tools._catalogue import CATALOGUE, DISTRIBUTION
from llmspell_tools._names import key_of, keys_of

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services
    from llmspell_tools._config import ToolsConfig
    from llmspell_tools._pipeline import CallOptions, Pipeline, Prepared

GROUP = "llmspell.tools"


class ToolService(ToolRegistry):
    """The tools of one set of services: installed ones (entry-point group ``llmspell.tools``,
    `Tool` classes or instances) and those registered while it lives.

    A built-in is listed from the catalogue, so listing imports no tool. What a stranger's tool
    is for is known once it was loaded; until then its distribution stands in its description.
    A tool that the configuration disables (``[tools.NAME] enabled = false``, or its category)
    is neither listed nor found.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = threading.RLock()
        self._own: dict[str, Tool] = {}
        self._loaded: dict[str, Tool] = {}
        self._prepared: dict[str, Prepared] = {}
        self._enabled: dict[str, bool] = {}
        self._index: dict[str, tuple[str, str | None]] | None = None
        self._settings: ToolsConfig | None = None
        self._line: Pipeline | None = None

    @property
    def settings(self) -> ToolsConfig:
        """The section ``[tools]``."""
        if self._settings is None:
            from llmspell_tools._config import tools_config

            self._settings = tools_config(self._services.config)
        return self._settings

    # Names ---------------------------------------------------------------------------------

    def _names(self) -> dict[str, tuple[str, str | None]]:
        """Key → (canonical name, operation a preset fills in)."""
        if self._index is None:
            with self._lock:
                index: dict[str, tuple[str, str | None]] = {}
                for name in self._services.plugins.names(GROUP):
                    index.setdefault(key_of(name), (name, None))
                for name in [name for name, _ in index.values()]:
                    self._index_installed(index, name)
                for tool in self._own.values():
                    self._index_tool(index, tool.schema.name, tool.aliases)
                self._index = index
        return self._index

    def _index_installed(self, index: dict[str, tuple[str, str | None]], name: str) -> None:
        if name in self._loaded and not self._is_built_in(name):
            self._index_tool(index, name, self._loaded[name].aliases)
        elif self._is_built_in(name):
            entry = CATALOGUE[name]
            self._index_tool(index, name, entry.aliases)
            for alias, operation in entry.presets.items():
                index.setdefault(key_of(alias), (name, operation))

    @staticmethod
    def _index_tool(
        index: dict[str, tuple[str, str | None]], name: str, aliases: Iterable[str]
    ) -> None:
        index.setdefault(key_of(name), (name, None))
        for alias in aliases:
            index.setdefault(key_of(alias), (name, None))

    def _is_built_in(self, name: str) -> bool:
        if name not in CATALOGUE:
            return False
        try:
            plugin = self._services.plugins.find(GROUP, name)
        except PluginError:
            return False
        return plugin is not None and plugin.distribution == DISTRIBUTION

    def resolve(self, name: str) -> tuple[str, str | None] | None:
        """The canonical name that *name* stands for, and the operation it fills in; None for
        an unknown one. Disabled tools are resolved too.
        """
        index = self._names()
        for key in keys_of(name):
            found = index.get(key)
            if found is not None:
                return found
        return None

    def enabled(self, name: str) -> bool:
        """Whether the tool with this canonical *name* is not disabled by the configuration."""
        if name in self._own:
            return True
        known = self._enabled.get(name)
        if known is None:
            known = self._enabled[name] = self._is_enabled(name)
        return known

    def _is_enabled(self, name: str) -> bool:
        if self._services.config.get("tools") is None:
            return True
        from llmspell_tools._config import tool_table

        if tool_table(self._services.config, key_of(name)).get("enabled") is False:
            return False
        rules = self.settings.categories
        if not rules.enabled and not rules.disabled:
            return True
        categories = {word.lower() for word in self.categories_of(name)}
        if rules.enabled and not categories & {word.lower() for word in rules.enabled}:
            return False
        return self._info(name).category.lower() not in {word.lower() for word in rules.disabled}

    # What there is -------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """See `ToolRegistry.has`."""
        found = self.resolve(name)
        return found is not None and self.enabled(found[0])

    def get(self, name: str) -> Tool:
        """See `ToolRegistry.get`.

        Raises:
            NotFoundError: ``Tool '<name>' not found``.
            PluginError: when the tool is installed and cannot be loaded.
        """
        canonical, _ = self._found(name)
        return self._tool(canonical)

    def _found(self, name: str) -> tuple[str, str | None]:
        found = self.resolve(name)
        if found is None:
            known = sorted({canonical for canonical, _ in self._names().values()})
            close = nearest(key_of(name), [key_of(k) for k in known])
            raise NotFoundError(
                f"Tool '{name}' not found",
                hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(known)}",
                details={"name": name},
            )
        if not self.enabled(found[0]):
            raise NotFoundError(
                f"Tool '{name}' not found",
                hint=f"It is disabled: see [tools.{key_of(found[0])}] and [tools.categories].",
                code="DISABLED",
                details={"name": name},
            )
        return found

    def _tool(self, canonical: str) -> Tool:
        tool = self._own.get(canonical) or self._loaded.get(canonical)
        if tool is None:
            with self._lock:
                tool = self._loaded.get(canonical)
                if tool is None:
                    tool = self._load(canonical)
        return tool

    def _load(self, canonical: str) -> Tool:
        made: Any = self._services.plugins.load(GROUP, canonical)
        tool = made() if isinstance(made, type) else made
        if not isinstance(tool, Tool):
            raise PluginError(
                f"'{canonical}' ({GROUP}) is not a Tool but {type(tool).__name__}",
                hint="Register a subclass of llmspell_core.Tool, or what @tool made.",
            )
        _check_schema(tool)
        self._loaded[canonical] = tool
        self._note_closing(tool)
        self._enabled.pop(canonical, None)
        if not self._is_built_in(canonical):
            self._index = None
        return tool

    def list(self) -> builtins.list[ToolInfo]:
        """See `ToolRegistry.list`."""
        names = {canonical for canonical, _ in self._names().values()}
        return [self._info(name) for name in sorted(names) if self.enabled(name)]

    def info(self, name: str) -> ToolInfo:
        """How one tool is listed. Raises as `get`."""
        return self._info(self._found(name)[0])

    def _info(self, canonical: str) -> ToolInfo:
        tool = self._own.get(canonical)
        if tool is None and self._is_built_in(canonical):
            return CATALOGUE[canonical].info()
        tool = tool or self._loaded.get(canonical)
        if tool is not None:
            about = tool.metadata
            return ToolInfo(
                canonical,
                tool.schema.description,
                tool.category,
                tool.security_level.value,
                str(about.version),
                tuple(tool.aliases),
            )
        origin = " and ".join(
            f"{plugin.distribution} {plugin.version}"
            for plugin in self._services.plugins.all()
            if plugin.group == GROUP and plugin.name == canonical
        )
        return ToolInfo(canonical, f"A tool of {origin}", "utility", "restricted")

    def categories_of(self, name: str) -> tuple[str, ...]:
        """The primary and secondary categories of the tool with this canonical *name*."""
        info = self._info(name)
        also = CATALOGUE[name].also if self._is_built_in(name) else ()
        return (info.category, *also)

    # Registration --------------------------------------------------------------------------

    def register(self, tool: Tool) -> None:
        """See `ToolRegistry.register`.

        Raises:
            ValidationError: for a tool without a name or description.
            DuplicateError: when the name or an alias is taken, or an alias repeats.
        """
        _check_schema(tool)
        name = tool.schema.name
        with self._lock:
            seen: set[str] = set()
            for wanted in (name, *tool.aliases):
                key = key_of(wanted)
                owner = self._names().get(key)
                if owner is not None or key in seen:
                    whose = owner[0] if owner is not None else name
                    raise DuplicateError(
                        f"Tool '{wanted}' already exists: it is already registered as '{whose}'",
                        hint="Choose another name, or unregister the first one.",
                        details={"name": wanted, "owner": whose},
                    )
                seen.add(key)
            self._own[name] = tool
            self._note_closing(tool)
            self._index = None

    def unregister(self, name: str) -> bool:
        """See `ToolRegistry.unregister`.

        Raises:
            ComponentError: for an installed tool.
        """
        with self._lock:
            found = self.resolve(name)
            if found is None:
                return False
            canonical = found[0]
            if canonical not in self._own:
                raise ComponentError(
                    f"Tool '{canonical}' is installed and cannot be unregistered",
                    hint=f"Disable it: [tools.{key_of(canonical)}] enabled = false.",
                )
            del self._own[canonical]
            self._prepared.pop(canonical, None)
            self._index = None
            return True

    # Calls ---------------------------------------------------------------------------------

    def _prepare(self, canonical: str) -> Prepared:
        prepared = self._prepared.get(canonical)
        if prepared is None:
            from llmspell_tools._pipeline import Prepared

            tool = self._tool(canonical)
            prepared = Prepared.of(canonical, tool, self._timeout(canonical, tool))
            self._prepared[canonical] = prepared
        return prepared

    def _timeout(self, canonical: str, tool: Tool) -> float:
        timeouts = {key_of(name): value for name, value in self.settings.timeouts.items()}
        value = timeouts.get(key_of(canonical), timeouts.get("default"))
        return tool.timeout_seconds if value is None else float(value)

    def _pipeline(self) -> Pipeline:
        if self._line is None:
            from llmspell_tools._metrics import RateLimit
            from llmspell_tools._pipeline import Pipeline

            rules = self.settings
            per_minute = rules.rate_limit_per_minute
            self._line = Pipeline(
                self._services,
                None if per_minute is None else RateLimit(per_minute),
                rules.cache_ttl_seconds if rules.cache_enabled else None,
                require_approval=rules.security.require_approval,
            )
        return self._line

    async def invoke(
        self,
        name: str,
        parameters: Mapping[str, Any],
        context: ExecutionContext,
        *,
        timeout_seconds: float | None = None,
        retry: int = 0,
        cache_seconds: float | None = None,
    ) -> ToolResult:
        """See `ToolRegistry.invoke`.

        Args:
            name: Name or alias; a preset alias (``file-reader``) fills in its operation.
            parameters: Names and values; aliases are understood.
            context: The execution it belongs to.
            timeout_seconds: Overrides the configured time-out.
            retry: Further attempts when a failure may pass (network, time-out, resources). An
                irreversible call is repeated only where it was refused (rate, resources).
            cache_seconds: Reuse a result of the same call that is not older, if the call has no
                side effects; ``metadata.cached`` tells.
        """
        found = self._names().get(name)
        canonical, preset = found if found is not None else self._found(name)
        if found is not None and not self.enabled(canonical):
            self._found(name)
        options = None
        if timeout_seconds is not None or retry or cache_seconds is not None:
            options = _options(timeout_seconds, retry, cache_seconds)
        prepared = self._prepared.get(canonical) or self._prepare(canonical)
        line = self._line or self._pipeline()
        if options is None:
            return await line.call(prepared, parameters, context, preset=preset)
        return await line.call(prepared, parameters, context, options, preset=preset)

    def check(self, name: str, parameters: Any) -> dict[str, Any]:
        """*parameters* as the tool would get them; runs nothing.

        Raises:
            NotFoundError, ValidationError: as `invoke` would.
        """
        canonical, preset = self._found(name)
        bound, _, _ = self._prepare(canonical).signature.bind(parameters, preset=preset)
        return bound

    def metrics(self, name: str) -> dict[str, Any]:
        """``{invocations, failures, average_duration}`` (milliseconds) since these services were
        made. Raises as `get`.
        """
        canonical, _ = self._found(name)
        prepared = self._prepared.get(canonical)
        if prepared is None:
            return {"invocations": 0, "failures": 0, "average_duration": 0.0}
        return prepared.stats.to_dict()

    def close(self) -> None:
        """Close the tools that have something to close (``close()``, without arguments)."""
        for tool in (*self._loaded.values(), *self._own.values()):
            close = getattr(tool, "close", None)
            if close is not None:
                close()

    def _note_closing(self, tool: Tool) -> None:
        # Whoever closes the services starts a loop for an `aclose`, which costs as much as all
        # else in a short script: there is one only where a tool has something to wait for.
        if hasattr(tool, "aclose"):
            self.aclose = self._aclose

    async def _aclose(self) -> None:
        """As `close`, with ``aclose()`` of the tools that have one."""
        for tool in (*self._loaded.values(), *self._own.values()):
            close = getattr(tool, "aclose", None)
            if close is not None:
                await close()
        self.close()


def _options(timeout: float | None, retry: int, cache: float | None) -> CallOptions:
    from llmspell_tools._pipeline import CallOptions

    for field, value in (("timeout", timeout), ("cache", cache)):
        if value is not None and not value > 0:
            raise ValidationError(f"'{field}' must be above zero, not {value:g}", field=field)
    if retry < 0:
        raise ValidationError(f"'retry' must not be negative: {retry}", field="retry")
    return CallOptions(timeout, min(retry, 10), cache)


def _check_schema(tool: Tool) -> None:
    schema = tool.schema
    for field in ("name", "description"):
        if not str(getattr(schema, field)).strip():
            raise ValidationError(f"A tool needs a {field}", field=field)
    if not tool.metadata.name.strip():
        raise ValidationError("A tool needs a name in its metadata", field="name")
