"""`Config`: the settings a set of services is built with.

A section is a frozen dataclass that lives beside the code that reads it and is announced in the
entry-point group ``llmspell.config`` under its dotted name (``rag``, ``runtime.security``).
Fields describe themselves through `setting`. This module only carries values; files,
environment, precedence and diagnostics are the business of ``llmspell-config``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, field, is_dataclass
from typing import Any, Literal, TypeVar, cast

from llmspell_core._errors import ConfigurationError, nearest

T = TypeVar("T")
Build = Callable[[str, type[Any], Mapping[str, Any]], Any]


def setting(
    default: Any = MISSING,
    *,
    factory: Callable[[], Any] | None = None,
    help: str = "",
    aliases: tuple[str, ...] = (),
    env: tuple[str, ...] = (),
    unit: Literal["bytes", "seconds", "milliseconds", ""] = "",
    sensitive: bool = False,
    above_zero: bool = False,
) -> Any:
    """A field of a section dataclass.

    Args:
        default: The value when nobody says otherwise.
        factory: Makes the default, for mutable ones.
        help: One line for ``llmspell config schema`` and the docs.
        aliases: Other accepted keys.
        env: Environment variables that set it, the strongest first.
        unit: Lets a text with a unit (``"10MB"``, ``"5m"``) stand for the number.
        sensitive: Shown as ``<REDACTED>``.
        above_zero: Zero and less are refused.
    """
    metadata = {
        "help": help,
        "aliases": aliases,
        "env": env,
        "unit": unit,
        "sensitive": sensitive,
        "above_zero": above_zero,
    }
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def _construct(name: str, cls: type[Any], values: Mapping[str, Any]) -> Any:
    """Build a section from values that need no conversion."""
    known = list(cls.__dataclass_fields__)
    for key, value in values.items():
        # A table below this one may be the section of another package (`runtime.security`).
        if key not in known and not isinstance(value, Mapping):
            close = nearest(key, known)
            raise ConfigurationError(
                f"unknown key '{name}.{key}'",
                hint=f"Did you mean '{name}.{close}'?" if close else f"Known: {', '.join(known)}",
            )
    made: dict[str, Any] = {}
    for key in known:
        if key not in values:
            continue
        value = values[key]
        nested = cls.__dataclass_fields__[key].default_factory
        if isinstance(value, Mapping) and is_dataclass(nested) and isinstance(nested, type):
            value = _construct(f"{name}.{key}", nested, cast("Mapping[str, Any]", value))
        made[key] = value
    return cls(**made)


class Config:
    """Settings as nested mappings, read by dotted path or as typed sections.

    ``Config()`` is all defaults; ``Config({"rag": {"chunking": …}})`` is what a library user
    writes. The command line and the kernel use ``llmspell_config.load()``, which passes a
    *build* that converts and validates.

    Args:
        values: The settings; never changed by this class.
        build: ``(section name, dataclass, values) -> instance``.
        home: Directory for data; None asks `data_directory`.
        origin: The file they came from, for messages.

    Attributes:
        version: Counts the changes made by `change` and `put_back`; who keeps something made of
            settings looks whether it is still of this version.
    """

    def __init__(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        build: Build = _construct,
        home: str | None = None,
        origin: str | None = None,
    ) -> None:
        self._values: Mapping[str, Any] = values or {}
        self._build = build
        self._home = home
        self._sections: dict[str, Any] = {}
        self.origin = origin
        self.version = 0

    @property
    def values(self) -> Mapping[str, Any]:
        """Everything that was set, unknown keys included; defaults are not in it."""
        return self._values

    def get(self, path: str, default: Any = None) -> Any:
        """The value that was set at the dotted *path*, else *default*."""
        found: Any = self._values
        for part in path.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return default
            found = cast("Mapping[str, Any]", found)[part]
        return found

    def section(self, name: str, cls: type[T]) -> T:
        """The section *name* as an instance of its dataclass, built once.

        Raises:
            ConfigurationError: naming the key, for a value that does not fit.
        """
        made = self._sections.get(name)
        if made is None:
            raw = self.get(name)
            if raw is None:
                made = cls()
            elif isinstance(raw, cls):
                made = raw
            elif isinstance(raw, Mapping):
                made = self._build(name, cls, cast("Mapping[str, Any]", raw))
            else:
                raise ConfigurationError(
                    f"'{name}' must be a table, not {type(raw).__name__}",
                    hint=f"Write it as [{name}] with keys below it.",
                )
            self._sections[name] = made
        return cast("T", made)

    def change(self, path: str, value: Any) -> None:
        """Set the value at the dotted *path* from now on; no file is written."""
        *above, last = path.split(".")
        top: dict[str, Any] = dict(self._values)
        inner = top
        for part in above:
            found = inner.get(part)
            inner[part] = (
                dict(cast("Mapping[str, Any]", found)) if isinstance(found, Mapping) else {}
            )
            inner = inner[part]
        inner[last] = value
        self.put_back(top)

    def put_back(self, values: Mapping[str, Any]) -> None:
        """Make *values*, as `values` once gave them, the settings from now on."""
        self._values = values
        self._sections = {}
        self.version += 1

    def replaced(self, values: Mapping[str, Any], *, home: str | None = None) -> Config:
        """Other *values* under the same rules, for a run that is repeated with the settings it
        was recorded with.
        """
        return Config(values, build=self._build, home=home, origin=self.origin)

    @property
    def home(self) -> str:
        """The directory data lives in. It may not exist: whoever writes first creates it."""
        if self._home is None:
            self._home = data_directory(self.origin)
        return self._home


def data_directory(origin: str | None = None) -> str:
    """Where data lives: ``LLMSPELL_HOME``, else ``.llmspell`` beside the nearest
    ``llmspell.toml`` at or above the working directory (or beside *origin*, the project file
    in use), else ``~/.llmspell``.
    """
    import os

    explicit = os.environ.get("LLMSPELL_HOME")
    if explicit:
        return os.path.abspath(os.path.expanduser(explicit))
    home = os.path.join(os.path.expanduser("~"), ".llmspell")
    if origin is not None and os.path.basename(origin) in {"llmspell.toml", ".llmspell.toml"}:
        return os.path.join(os.path.dirname(os.path.abspath(origin)), ".llmspell")
    folder = os.getcwd()
    while True:
        if os.path.isfile(os.path.join(folder, "llmspell.toml")):
            return os.path.join(folder, ".llmspell")
        above = os.path.dirname(folder)
        if above == folder:
            return home
        folder = above
