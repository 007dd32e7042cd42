"""Where a configuration file is looked for."""

from __future__ import annotations

import os
from collections.abc import Mapping

from llmspell_core import ConfigurationError, data_directory

_PROJECT = ("llmspell.toml", ".llmspell.toml", "config/llmspell.toml", ".config/llmspell.toml")


class Place:
    """A path that is searched. `project` says that it belongs to the working directory."""

    __slots__ = ("path", "project", "source")

    def __init__(self, path: str, source: str, *, project: bool = False) -> None:
        self.path = path
        self.source = source
        self.project = project

    @property
    def exists(self) -> bool:
        """Whether a file is there."""
        return os.path.isfile(self.path)

    @property
    def home(self) -> str | None:
        """The data directory a project file brings along: beside the project, not beside a
        file in its ``config`` folder. None: as `llmspell_core.data_directory` says.
        """
        if not self.project or os.environ.get("LLMSPELL_HOME"):
            return None
        return os.path.join(os.getcwd(), ".llmspell")


def search_places(
    path: str | None = None, *, use_files: bool = True, environ: Mapping[str, str] | None = None
) -> list[Place]:
    """Every place in the order it is searched; the first that exists is used, alone.

    A *path*, or else ``LLMSPELL_CONFIG``, is the only place there is.
    """
    environment = os.environ if environ is None else environ
    if path is not None:
        return [Place(os.path.expanduser(path), "--config")]
    if not use_files:
        return []
    named = environment.get("LLMSPELL_CONFIG")
    if named:
        return [Place(os.path.expanduser(named), "LLMSPELL_CONFIG")]
    places = [Place(name, "project", project=True) for name in _PROJECT]
    home = environment.get("HOME") or environment.get("USERPROFILE")
    if home:
        places.append(Place(os.path.join(home, ".llmspell", "config.toml"), "user"))
        places.append(Place(os.path.join(home, ".llmspell.toml"), "user"))
        places.append(Place(os.path.join(home, ".config", "llmspell.toml"), "user"))
    xdg = environment.get("XDG_CONFIG_HOME") or (home and os.path.join(home, ".config"))
    if xdg:
        places.append(Place(os.path.join(xdg, "llmspell", "config.toml"), "user"))
    places.append(Place("/etc/llmspell/config.toml", "system"))
    return places


def find(
    path: str | None = None, *, use_files: bool = True, environ: Mapping[str, str] | None = None
) -> Place | None:
    """The place whose file is used, or None for the defaults.

    Raises:
        ConfigurationError: when a file that was named does not exist.
    """
    for place in search_places(path, use_files=use_files, environ=environ):
        if place.exists:
            return place
        if place.source in {"--config", "LLMSPELL_CONFIG"}:
            if os.path.exists(place.path):
                raise ConfigurationError(
                    f"Failed to read configuration file {place.path}: it is not a file"
                )
            given = "" if place.source == "--config" else f" ({place.source})"
            raise ConfigurationError(
                f"Configuration file not found: {place.path}{given}",
                hint="Without one all settings have defaults: leave it out, or use --no-config.",
            )
    return None


def home_of(place: Place | None) -> str | None:
    """The data directory to use with the file at *place*; None leaves it to the default."""
    if place is None or place.source == "--config":
        return None
    return place.home or data_directory()
