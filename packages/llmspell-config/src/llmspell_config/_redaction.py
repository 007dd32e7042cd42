"""Keeping secrets out of what is shown and stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from llmspell_core import Config

MARK = "<REDACTED>"

_SENSITIVE = re.compile(
    r"api_key|secret|password|(?<![a-z])token(?!s)|hmac_key|connection_string|auth_value"
)
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")


def is_sensitive(key: str) -> bool:
    """Whether text under *key* is a secret; a key that names a variable is none."""
    word = key.lower().replace("-", "_")
    return not word.endswith("_env") and _SENSITIVE.search(word) is not None


def redacted(value: Any, key: str = "") -> Any:
    """A copy of *value* with secrets as ``<REDACTED>`` and without passwords in URLs."""
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        return {name: redacted(item, name) for name, item in table.items()}
    if isinstance(value, list | tuple):
        return [redacted(item, key) for item in cast("list[Any]", value)]
    if isinstance(value, str):
        if value and is_sensitive(key):
            return MARK
        return _CREDENTIALS.sub(f"{MARK}@", value)
    return value


def effective(config: Config) -> dict[str, Any]:
    """What was set, after profile and environment, as JSON: what the run ledger keeps.

    Secrets are ``<REDACTED>``, defaults are not in it. ``Config(effective(config))`` and
    `Config.replaced` take it back.
    """
    from llmspell_config._plain import plain

    return cast("dict[str, Any]", redacted(plain(config.values)))


def restored(recorded: Mapping[str, Any], current: Config) -> dict[str, Any]:
    """Settings that were kept by `effective`, with the secrets of *current* put back; a secret
    that *current* lacks is left out.
    """
    return cast("dict[str, Any]", _restored(recorded, current.values))


def _restored(recorded: Any, current: Any) -> Any:
    if isinstance(recorded, Mapping):
        now = cast("Mapping[str, Any]", current if isinstance(current, Mapping) else {})
        table = cast("Mapping[str, Any]", recorded)
        made = {name: _restored(item, now.get(name)) for name, item in table.items()}
        return {name: item for name, item in made.items() if item is not None}
    if isinstance(recorded, str) and MARK in recorded:
        return current
    return recorded


def secret_values(config: Config) -> list[str]:
    """The secrets among the settings, for whoever must recognise them in other text."""
    return sorted(set(_secrets(config.values, "")))


def _secrets(value: Any, key: str) -> list[str]:
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        return [found for name, item in table.items() for found in _secrets(item, name)]
    if isinstance(value, list):
        return [found for item in cast("list[Any]", value) for found in _secrets(item, key)]
    if isinstance(value, str) and value and is_sensitive(key):
        return [value]
    return []
