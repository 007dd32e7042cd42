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
