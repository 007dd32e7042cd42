"""The script global `Provider`."""

from __future__ import annotations

from typing import Any

from llmspell_core import ProviderInfo, Record, ScriptHost, exposed, script_global


def _capabilities(info: ProviderInfo) -> dict[str, Any]:
    return {
        "supports_streaming": info.supports_streaming,
        "supports_multimodal": info.supports_multimodal,
        "supports_tools": info.supports_tools,
        "max_context_tokens": info.max_context_tokens,
        "max_output_tokens": info.max_output_tokens,
        "available_models": list(info.models),
    }


def _record(info: ProviderInfo) -> Record:
    fields = {
        "name": info.name,
        "type": info.provider_type,
        "enabled": info.enabled,
        "available": info.available,
        "default_model": info.default_model,
        "base_url": info.base_url,
        "capabilities": _capabilities(info),
    }
    return Record(fields, info.name)


@script_global("Provider")
class ProviderGlobal:
    """The model providers that are configured or found in the environment."""

    def __init__(self, host: ScriptHost) -> None:
        self._host = host

    def _list(self) -> list[ProviderInfo]:
        """As seen by this run: the environment is part of it, so a replay sees the same."""
        seen = self._host.context.observe(
            "provider.list",
            None,
            lambda: [_plain(info) for info in self._host.services.providers.list()],
        )
        return [_revived(row) for row in seen]

    def _find(self, name: str) -> ProviderInfo | None:
        plain = name.removeprefix("rig/").partition("/")[0].lower()
        return next((info for info in self._list() if info.name.lower() == plain), None)

    @exposed()
    def list(self) -> list[Record]:
        """All providers, by name; each prints as its name.

        Returns:
            ``{name, type, enabled, available, default_model, base_url, capabilities}`` of each
        """
        return [_record(info) for info in self._list()]

    @exposed()
    def get(self, name: str) -> Record | None:
        """One provider, or nil.

        Args:
            name: Its name, also with a model behind a slash.

        Returns:
            As in `list`
        """
        info = self._find(name)
        return None if info is None else _record(info)

    @exposed()
    def get_capabilities(self, name: str) -> dict[str, Any] | None:
        """What a provider can do, or nil for an unknown one.

        Args:
            name: Its name, also with a model behind a slash.

        Returns:
            ``{supports_streaming, supports_multimodal, supports_tools, max_context_tokens,
            max_output_tokens, available_models}``
        """
        info = self._find(name)
        return None if info is None else _capabilities(info)

    @exposed()
    def is_available(self, name: str) -> bool:
        """Whether a provider is configured, enabled, and has the key it needs.

        Args:
            name: Its name, also with a model behind a slash.
        """
        info = self._find(name)
        return info is not None and info.available


def _revived(row: dict[str, Any]) -> ProviderInfo:
    fields: dict[str, Any] = {**row, "models": tuple(row["models"])}
    return ProviderInfo(**fields)


def _plain(info: ProviderInfo) -> dict[str, Any]:
    return {name: getattr(info, name) for name in ProviderInfo.__slots__}
