"""The script global ``Config``."""

from __future__ import annotations

import json
from typing import Any, cast

from llmspell_config._redaction import redacted
from llmspell_config._resolved import resolved
from llmspell_core import ConfigurationError, ScriptHost, exposed, nearest, script_global


@script_global("Config")
class ConfigGlobal:
    """The settings in force, defaults included; secrets read ``<REDACTED>``.

    Read-only: settings are made in ``llmspell.toml``, the environment and on the command line.
    """

    def __init__(self, host: ScriptHost) -> None:
        self._host = host

    def _all(self) -> dict[str, Any]:
        services = self._host.services
        return self._host.context.observe(
            "config",
            None,
            lambda: cast("dict[str, Any]", redacted(resolved(services.config, services.plugins))),
        )

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
        """What scripts may do with the configuration: the preset ``standard``.

        Returns:
            ``{read, modify_providers, modify_tools, modify_runtime, modify_security,
            access_secrets}``
        """
        return {
            "read": True,
            "modify_providers": False,
            "modify_tools": True,
            "modify_runtime": False,
            "modify_security": False,
            "access_secrets": False,
        }

    @exposed()
    def to_json(self, pretty: bool = False) -> str:
        """All settings as JSON.

        Args:
            pretty: Whether over several lines.
        """
        return json.dumps(self._all(), ensure_ascii=False, indent=2 if pretty else None)
