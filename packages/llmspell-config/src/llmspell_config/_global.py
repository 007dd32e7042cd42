"""The script global ``Config``."""

from __future__ import annotations

import json
from typing import Any, cast

from llmspell_config._redaction import redacted
from llmspell_config._resolved import resolved
from llmspell_core import ConfigurationError, ScriptHost, exposed, nearest, script_global


@script_global("Config")
class ConfigGlobal:
    """``Config``: the settings in force, defaults included. Secrets read ``<REDACTED>``."""

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
        """The value at the dotted *path*, else *default*; without a path everything."""
        found = self._at(path or "")
        return default if found is None else found

    @exposed()
    def get_section(self, name: str) -> dict[str, Any]:
        """A table.

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
        """The table of a provider, or None. ``model`` and ``type`` are given as well."""
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
        """The names of the configured providers, sorted."""
        tables = cast("dict[str, Any]", self._at("providers"))
        return sorted(name for name, table in tables.items() if isinstance(table, dict))

    @exposed()
    def get_security(self) -> dict[str, Any]:
        """The table ``runtime.security``."""
        return cast("dict[str, Any]", self._at("runtime.security") or {})

    @exposed()
    def get_tools(self) -> dict[str, Any]:
        """The table ``tools``."""
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
        """What scripts may do with the configuration: the preset ``standard``."""
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
        """Everything as JSON."""
        return json.dumps(self._all(), ensure_ascii=False, indent=2 if pretty else None)
