"""The configuration in force, defaults included, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from llmspell_config._plain import plain
from llmspell_config._schema import GROUP
from llmspell_config._sections import GeneralConfig
from llmspell_core import Config, PluginIndex


def resolved(config: Config, plugins: PluginIndex) -> dict[str, Any]:
    """Every setting of every section, and whatever else was set; secrets are shown.

    Keys without a value are left out.
    """
    return resolve(config, {plugin.name: cls for plugin, cls in plugins.load_all(GROUP)})


def resolve(config: Config, sections: Mapping[str, type[Any]]) -> dict[str, Any]:
    """`resolved` with the sections at hand."""
    made = cast("dict[str, Any]", plain(GeneralConfig()))
    _fill(made, plain(config.values))
    for name in sorted(sections, key=lambda name: name.count(".")):
        table = made
        for part in name.split("."):
            inner = table.get(part)
            if not isinstance(inner, dict):
                inner = table[part] = {}
            table = cast("dict[str, Any]", inner)
        _fill(table, plain(config.section(name, sections[name])))
    made.setdefault("providers", {})
    return cast("dict[str, Any]", _without_none(made))


def _fill(table: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Converted values replace what was written; tables keep what only they hold."""
    for key, value in values.items():
        old = table.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            _fill(cast("dict[str, Any]", old), cast("Mapping[str, Any]", value))
        else:
            table[key] = value


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return {key: _without_none(item) for key, item in table.items() if item is not None}
    return value
