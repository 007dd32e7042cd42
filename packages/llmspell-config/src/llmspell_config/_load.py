"""`load`: the way from nothing to a `Config`, short where there is nothing to read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmspell_core import Config

if TYPE_CHECKING:
    from llmspell_core import PluginIndex

NOT_SETTINGS = frozenset({"LLMSPELL_HOME", "LLMSPELL_CONFIG", "LLMSPELL_ENGINE"})
"""Variables with our prefix that are read elsewhere and set no key."""


def load(
    path: str | None = None,
    *,
    profile: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    use_files: bool = True,
    environ: Mapping[str, str] | None = None,
    plugins: PluginIndex | None = None,
) -> Config:
    """The configuration in force.

    Each of these beats the next: *overrides*, environment variables, the profile, the file, the
    defaults. Unknown keys are logged with the nearest valid one and kept. With neither file,
    profile, override nor variable this returns all defaults and imports nothing.

    Args:
        path: The file; None asks ``LLMSPELL_CONFIG`` and then the usual places.
        profile: Name of a table ``[profiles.NAME]`` laid over the file.
        overrides: Settings as nested mappings or by dotted key; None where a key may be empty.
        use_files: False ignores all files but *path*.
        environ: The environment; None means that of the process.
        plugins: Where the sections are found; None means what is installed.

    Raises:
        ConfigurationError: for a file that is missing, unreadable or not TOML, and for a value
            that does not fit, naming file, line and key.
    """
    environment = os.environ if environ is None else environ
    if profile is None and not overrides and not _any_setting(environment):
        from llmspell_config._discovery import find

        found = find(path, use_files=use_files, environ=environment)
        if found is None:
            return Config(build=build_late)
    from llmspell_config._reading import read

    reading = read(
        path,
        profile=profile,
        overrides=overrides,
        use_files=use_files,
        environ=environment,
        plugins=plugins,
    )
    reading.raise_first()
    reading.log_warnings()
    return reading.config


def _any_setting(environ: Mapping[str, str]) -> bool:
    return any(name.startswith("LLMSPELL_") and name not in NOT_SETTINGS for name in environ)


def build_late(name: str, cls: type[Any], values: Mapping[str, Any]) -> Any:
    """Build a section; converting is imported when there is something to convert."""
    from llmspell_config._schema import build

    return build(name, cls, values)
