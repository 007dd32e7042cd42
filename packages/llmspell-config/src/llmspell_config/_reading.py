"""`read`: everything there is to know of a configuration, its faults included."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from llmspell_config._discovery import find, home_of
from llmspell_config._document import Document
from llmspell_config._environment import from_environment
from llmspell_config._known import known_keys, registered
from llmspell_config._layers import Settled, Settling
from llmspell_config._load import build_late
from llmspell_config._problems import Problem
from llmspell_config._resolved import resolve
from llmspell_config._rules import broken_rules, literal_secrets
from llmspell_config._schema import Table, build
from llmspell_core import Config, ConfigurationError, PluginIndex, nearest

if TYPE_CHECKING:
    from llmspell_config._schema import Path

OVERRIDDEN = "command line"
"""The origin of what `overrides` set."""

_FATAL = frozenset({"type", "rule", "environment"})
_LONGEST_CHAIN = 10


@dataclass(frozen=True, slots=True)
class Reading:
    """A configuration that was read: the settings, where each came from, what is wrong.

    `file` is the path that was read, or None.
    """

    config: Config
    file: str | None
    problems: tuple[Problem, ...]
    settled: Settled
    known: Table
    sections: Mapping[str, type[Any]]

    @property
    def errors(self) -> list[Problem]:
        """What `config validate` refuses: faults, and keys nobody knows."""
        return [p for p in self.problems if p.kind in _FATAL or p.kind == "unknown"]

    @property
    def warnings(self) -> list[Problem]:
        """What is legal and probably not meant."""
        return [p for p in self.problems if p.kind in {"advice", "unset"}]

    @property
    def faults(self) -> list[Problem]:
        """What `load` refuses: values that do not fit."""
        return [p for p in self.problems if p.kind in _FATAL]

    def raise_first(self) -> None:
        """Raise for the first of the `faults`."""
        for problem in self.faults:
            raise problem.error()

    def log_warnings(self) -> None:
        """Log unknown keys and references to variables that are not set."""
        logger = logging.getLogger("llmspell.config")
        for problem in self.problems:
            if problem.kind in {"unknown", "unset"}:
                logger.warning("%s", problem.text)

    def in_force(self) -> dict[str, Any]:
        """Every setting, defaults included; secrets are shown."""
        return resolve(self.config, self.sections)

    def origin(self, path: Path) -> str:
        """Where the value at *path* comes from: ``file, line n``, a variable, ``default``."""
        return self.settled.origin(path) or "default"


def read(
    path: str | None = None,
    *,
    profile: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    use_files: bool = True,
    environ: Mapping[str, str] | None = None,
    plugins: PluginIndex | None = None,
) -> Reading:
    """Read the configuration as `load` does, and collect faults in values instead of raising.

    Raises:
        ConfigurationError: for a file that is missing, unreadable or not TOML, and for an
            unknown profile.
    """
    environment = os.environ if environ is None else environ
    index = plugins or PluginIndex()
    sections = registered(index)
    known = known_keys(sections)
    place = find(path, use_files=use_files, environ=environment)
    settled = Settled()
    document = None
    if place is not None:
        document = Document(place.path)
        settled = Settling(known, document.where, environment).settle(document.values)
    if profile is not None:
        _lay_profile(settled, profile, document, known, environment)
    settled.lay(from_environment(known, environment))
    if overrides:
        above = Settling(known, lambda _: OVERRIDDEN, environment, nulls=True)
        settled.lay(above.settle(_nested(overrides)))
    home = home_of(place)
    config = Config(
        settled.values, build=build_late, home=home, origin=None if place is None else place.path
    )
    problems = [*settled.problems, *_misfits(settled, sections)]
    if not any(problem.kind in _FATAL for problem in problems):
        problems += broken_rules(config, settled, sections, index.names("llmspell.providers"))
    if document is not None:
        problems += _exposed_secrets(document)
    file = None if place is None else place.path
    return Reading(config, file, tuple(dict.fromkeys(problems)), settled, known, sections)


def _exposed_secrets(document: Document) -> list[Problem]:
    return [
        Problem(
            "advice",
            key,
            f"'{key}' is a secret in a file that others may read; chmod 600, or env:NAME",
            document.where(tuple(key.split("."))),
        )
        for key in literal_secrets(document.path, document.values)
    ]


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    made = Settled()
    for dotted, value in overrides.items():
        made.set(tuple(dotted.split(".")), value, "")
    return made.values


def _misfits(settled: Settled, sections: Mapping[str, type[Any]]) -> list[Problem]:
    """Build every section that was written to, for the faults that come to light."""
    found: list[Problem] = []
    config = Config(settled.values)
    for name, cls in sections.items():
        values = config.get(name)
        if isinstance(values, Mapping):
            build(name, cls, cast("Mapping[str, Any]", values), found)
    return [_located(problem, settled) for problem in found]


def _located(problem: Problem, settled: Settled) -> Problem:
    where = settled.origin(tuple(problem.key.split(".")))
    kind = problem.kind
    if where is not None and where.startswith("LLMSPELL_"):
        kind = "environment"
    return Problem(kind, problem.key, problem.message, where, problem.hint)


# -- profiles -------------------------------------------------------------------------------------


def _lay_profile(
    settled: Settled,
    name: str,
    document: Document | None,
    known: Table,
    environ: Mapping[str, str],
) -> None:
    tables: dict[str, Any] = {} if document is None else document.values.get("profiles", {})
    for link in reversed(_chain(name, tables)):
        overlay = {key: value for key, value in tables[link].items() if key != "extends"}

        def where(path: Path, link: str = link) -> str:
            assert document is not None
            return document.where(("profiles", link, *path))

        settled.lay(Settling(known, where, environ).settle(overlay))


def _chain(name: str, tables: Mapping[str, Any]) -> list[str]:
    """*name* and what it extends, the farthest last; ``default`` is the file without overlay."""
    chain: list[str] = []
    link: str | None = name
    while link is not None and link != "default":
        if link in chain:
            raise ConfigurationError(
                f"profile '{name}' extends itself: {' → '.join([*chain, link])}"
            )
        if not isinstance(tables.get(link), Mapping):
            raise _no_profile(link, tables)
        chain.append(link)
        if len(chain) > _LONGEST_CHAIN:
            raise ConfigurationError(
                f"profile '{name}' extends more than {_LONGEST_CHAIN} others: {' → '.join(chain)}"
            )
        link = tables[link].get("extends")
    return chain


def _no_profile(name: str, tables: Mapping[str, Any]) -> ConfigurationError:
    available = sorted({"default", *tables})
    close = nearest(name, available)
    hint = f"Did you mean '{close}'? " if close else ""
    return ConfigurationError(
        f"profile '{name}' not found; available: {', '.join(available)}",
        hint=f"{hint}A profile is a table [profiles.{name}.…] in the configuration file.",
    )
