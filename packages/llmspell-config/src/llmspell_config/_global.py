"""The script global ``Config``."""

from __future__ import annotations

import json
from typing import Any, cast

from llmspell_config._changes import ConfigChanges
from llmspell_config._redaction import redacted
from llmspell_config._resolved import resolved
from llmspell_core import ConfigurationError, ScriptHost, exposed, nearest, script_global


@script_global("Config")
class ConfigGlobal:
    """The settings in force, defaults included; secrets read ``<REDACTED>``.

    Settings are made in ``llmspell.toml``, the environment and on the command line. What a
    script may change here, for as long as the program runs, is said by
    ``runtime.security.config_permissions``: ``read_only``, ``standard`` or ``full``.
    """

    def __init__(self, host: ScriptHost) -> None:
        self._host = host
        self._changes = ConfigChanges(host.services)

    def _all(self) -> dict[str, Any]:
        services = self._host.services
        open_ = self._changes.permissions()["access_secrets"]

        def read() -> dict[str, Any]:
            found = resolved(services.config, services.plugins)
            return cast("dict[str, Any]", found if open_ else redacted(found))

        return self._host.context.observe("config", None, read)

    def _at(self, path: str) -> Any:
        # Both nestings of providers answer.
        if path == "providers.providers" or path.startswith("providers.providers."):
            path = "providers" + path.removeprefix("providers.providers")
        found: Any = self._all()
        for part in path.split(".") if path else ():
            if not isinstance(found, dict) or part not in found:
                return None
            found = cast("dict[str, Any]", found)[part]
        return found

    @exposed()
    def get(self, path: str | None = None, default: Any = None) -> Any:
        """The value of a setting.

        Args:
            path: Its dotted path, like ``rag.chunking.chunk_size``; without one, all of them.
            default: What is given where there is no such setting.
        """
        found = self._at(path or "")
        return default if found is None else found

    @exposed()
    def get_section(self, name: str) -> dict[str, Any]:
        """A table of settings.

        Args:
            name: Its dotted path, like ``runtime.security``.

        Raises:
            ConfigurationError: ``Unknown configuration section: …``.
        """
        found = self._at(name)
        if isinstance(found, dict):
            return cast("dict[str, Any]", found)
        known = [key for key, value in self._all().items() if isinstance(value, dict)]
        close = nearest(name, known)
        raise ConfigurationError(
            f"Unknown configuration section: {name}",
            hint=f"Did you mean '{close}'?" if close else f"There are: {', '.join(known)}",
        )

    @exposed()
    def get_default_engine(self) -> str:
        """The script language where none is named."""
        return str(self._at("default_engine"))

    @exposed()
    def get_provider(self, name: str) -> dict[str, Any] | None:
        """The settings of a model provider, or nil.

        Args:
            name: Its name in the configuration.

        Returns:
            Its table, with ``model`` and ``type`` as well.
        """
        table = self._at(f"providers.{name}")
        if not isinstance(table, dict):
            return None
        made: dict[str, Any] = {"enabled": True, "provider_type": name, "timeout_seconds": 30}
        made.update(cast("dict[str, Any]", table))
        made["type"] = made["provider_type"]
        if "default_model" in made:
            made["model"] = made["default_model"]
        return made

    @exposed()
    def list_providers(self) -> list[str]:
        """The names of the configured model providers, sorted."""
        tables = cast("dict[str, Any]", self._at("providers"))
        return sorted(name for name, table in tables.items() if isinstance(table, dict))

    @exposed()
    def get_security(self) -> dict[str, Any]:
        """The settings ``runtime.security``."""
        return cast("dict[str, Any]", self._at("runtime.security") or {})

    @exposed()
    def get_tools(self) -> dict[str, Any]:
        """The settings ``tools``."""
        return cast("dict[str, Any]", self._at("tools") or {})

    @exposed()
    def is_file_access_allowed(self) -> bool:
        """Whether scripts may use files outside the allowed paths."""
        return self._at("runtime.security.allow_file_access") is True

    @exposed()
    def is_network_access_allowed(self) -> bool:
        """Whether scripts may open connections of their own."""
        return self._at("runtime.security.allow_network_access") is True

    @exposed()
    def is_process_spawn_allowed(self) -> bool:
        """Whether scripts may start programs."""
        return self._at("runtime.security.allow_process_spawn") is True

    @exposed()
    def get_permissions(self) -> dict[str, bool]:
        """What scripts may do with the configuration.

        Returns:
            ``{read, modify_providers, modify_tools, modify_runtime, modify_security,
            access_secrets}``
        """
        return self._changes.permissions()

    @exposed()
    async def set_provider(self, name: str, config: dict[str, Any]) -> bool:
        """Put the settings of a model provider in place of what there was.

        Args:
            name: Its name.
            config: Its table, as under ``[providers.NAME]``.

        Returns:
            True
        """
        await self._changes.set_provider(name, config, self._host.context)
        return True

    @exposed()
    async def set_security(self, config: dict[str, Any]) -> bool:
        """Change the limits of scripts, from the next execution on.

        Args:
            config: ``max_memory_bytes`` (at most 1 GB), ``max_execution_time_ms`` (at least
                1000).

        Returns:
            True
        """
        await self._changes.set_security(config, self._host.context)
        return True

    @exposed()
    async def add_allowed_path(self, path: str) -> bool:
        """Let tools work in a folder.

        Args:
            path: The folder; inside the working directory, unless the permissions are ``full``.

        Returns:
            True
        """
        await self._changes.add_allowed_path(path, self._host.context)
        return True

    @exposed()
    def snapshot(self) -> int:
        """Remember the settings; returns the number that `restore_snapshot` takes."""
        return self._changes.snapshot(self._host.context)

    @exposed()
    def list_snapshots(self) -> list[int]:
        """The numbers of the remembered settings, oldest first; the last ten are kept."""
        return self._changes.snapshots()

    @exposed()
    async def restore_snapshot(self, timestamp: int) -> bool:
        """Make remembered settings those in force.

        Args:
            timestamp: The number that `snapshot` gave.

        Returns:
            True
        """
        await self._changes.restore(timestamp, self._host.context)
        return True

    @exposed()
    def to_json(self, pretty: bool = False) -> str:
        """All settings as JSON.

        Args:
            pretty: Whether over several lines.
        """
        return json.dumps(self._all(), ensure_ascii=False, indent=2 if pretty else None)
