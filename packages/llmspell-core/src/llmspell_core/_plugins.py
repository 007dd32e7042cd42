"""`PluginIndex`: what is installed, known by name before any of its code is imported."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmspell_core._errors import NotFoundError, PluginError, nearest

GROUPS: Mapping[str, str] = {
    "llmspell.services": "factories of the services, `(Services) -> service`",
    "llmspell.tools": "`Tool` classes",
    "llmspell.providers": "`ProviderFactory` callables for model back ends",
    "llmspell.embedders": "factories of `Embedder`s",
    "llmspell.storage": "factories of `StorageBackend`s",
    "llmspell.vector_stores": "factories of `VectorStore`s",
    "llmspell.chunkers": "`Chunker` classes",
    "llmspell.agents": "factories of agent kinds",
    "llmspell.workflows": "factories of workflow kinds",
    "llmspell.hooks": "hook functions, named by their hook point",
    "llmspell.engines": "`ScriptEngine` classes",
    "llmspell.globals": "script globals",
    "llmspell.operations": "operations, `subject.verb`",
    "llmspell.protocols": "protocol servers of the kernel",
    "llmspell.config": "configuration sections (dataclasses)",
    "llmspell.commands": "sub-commands of the `llmspell` program",
}
"""The extension points: one entry-point group for each abstract base."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point: `value` is ``module:attribute``."""

    group: str
    name: str
    value: str
    distribution: str
    version: str

    def load(self) -> Any:
        """Import the module and return the attribute.

        Raises:
            PluginError: when that fails, naming the distribution; the import's own exception
                is the cause.
        """
        from importlib import import_module

        module, _, attribute = self.value.partition(":")
        try:
            found: Any = import_module(module.strip())
            for part in attribute.strip().split(".") if attribute else ():
                found = getattr(found, part)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"plugin '{self.name}' ({self.group}) of {self.distribution} {self.version} "
                f"cannot be loaded: {type(error).__name__}: {error}",
                hint=f"Reinstall or remove it: pip install --force-reinstall {self.distribution}",
                details={"plugin": self.name, "distribution": self.distribution},
                source=error,
            ) from error
        return found


class PluginIndex:
    """The entry points of the groups in `GROUPS`, found lazily on ``sys.path``.

    Built-ins register exactly as strangers do. Names are known without importing the code
    behind them. Two distributions that register one name in one group make that name an error
    which names both, until *prefer* (``{"tools.calculator": "my-dist"}``, configured as
    ``[plugins.prefer]``) says which is meant.

    Args:
        plugins: The plugins; None reads the installed ones on first use.
        prefer: ``"<group without 'llmspell.'>.<name>"`` → distribution.
    """

    def __init__(
        self, plugins: Iterable[Plugin] | None = None, *, prefer: Mapping[str, str] | None = None
    ) -> None:
        self._given = None if plugins is None else tuple(plugins)
        self._prefer = dict(_flat(prefer or {}))
        self._groups: dict[str, dict[str, list[Plugin]]] | None = None
        self._lock = threading.Lock()

    def _table(self) -> dict[str, dict[str, list[Plugin]]]:
        if self._groups is None:
            with self._lock:
                if self._groups is None:
                    groups: dict[str, dict[str, list[Plugin]]] = {}
                    found = installed_plugins() if self._given is None else self._given
                    for plugin in found:
                        groups.setdefault(plugin.group, {}).setdefault(plugin.name, []).append(
                            plugin
                        )
                    self._groups = groups
        return self._groups

    def names(self, group: str) -> list[str]:
        """The names in *group*, sorted."""
        return sorted(self._table().get(group, ()))

    def all(self) -> list[Plugin]:
        """Every plugin, by group, name and distribution; duplicates included."""
        return sorted(
            (p for group in self._table().values() for owners in group.values() for p in owners),
            key=lambda p: (p.group, p.name, p.distribution),
        )

    def duplicates(self) -> list[list[Plugin]]:
        """The names with several owners that no preference settles."""
        return [
            owners
            for group in self._table().values()
            for owners in group.values()
            if len(owners) > 1 and self._preferred(owners) is None
        ]

    def _preferred(self, owners: list[Plugin]) -> Plugin | None:
        first = owners[0]
        wanted = self._prefer.get(f"{first.group.removeprefix('llmspell.')}.{first.name}")
        if wanted is None:
            return None
        return next((p for p in owners if p.distribution == _normal(wanted)), None)

    def find(self, group: str, name: str) -> Plugin | None:
        """The plugin called *name*, or None.

        Raises:
            PluginError: when two distributions own the name.
        """
        owners = self._table().get(group, {}).get(name)
        if not owners:
            return None
        if len(owners) == 1:
            return owners[0]
        chosen = self._preferred(owners)
        if chosen is None:
            key = f"{group.removeprefix('llmspell.')}.{name}"
            both = " and ".join(f"{p.distribution} {p.version}" for p in owners)
            raise PluginError(
                f"'{name}' ({group}) is registered by {both}",
                hint=f'Say which one in llmspell.toml: [plugins.prefer] "{key}" = '
                f'"{owners[0].distribution}"',
                details={"name": name, "owners": [p.distribution for p in owners]},
                code="PLUGIN_DUPLICATE",
            )
        return chosen

    def load(self, group: str, name: str) -> Any:
        """Import and return the object called *name*.

        Raises:
            NotFoundError: for a name nobody registered; suggests the nearest.
            PluginError: for a broken plugin or a name with two owners.
        """
        plugin = self.find(group, name)
        if plugin is None:
            known = self.names(group)
            close = nearest(name, known)
            subject = group.removeprefix("llmspell.")
            raise NotFoundError(
                f"'{name}' not found in {subject}",
                hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(known) or '-'}",
                details={"name": name, "known": known},
            )
        return plugin.load()

    def load_all(self, group: str) -> Iterator[tuple[Plugin, Any]]:
        """Import every plugin of *group*; a broken or contested one is logged and skipped."""
        for name in self.names(group):
            try:
                plugin = self.find(group, name)
                if plugin is not None:
                    yield plugin, plugin.load()
            except PluginError as error:
                import logging

                logging.getLogger("llmspell.plugins").warning("%s", error.message)


def installed_plugins() -> Iterator[Plugin]:
    """Read the entry points of every distribution on ``sys.path``.

    Reads ``*.dist-info/entry_points.txt`` directly: importing `importlib.metadata` costs four
    times what starting Python does. A distribution that is found twice counts once, where it
    is found first, as an import would.

    The format is that of the entry points specification
    (https://packaging.python.org/en/latest/specifications/entry-points/).
    """
    seen: set[str] = set()
    for place in dict.fromkeys(sys.path):
        try:
            with os.scandir(place or ".") as entries:
                found = sorted(
                    entry.name
                    for entry in entries
                    if entry.name.endswith((".dist-info", ".egg-info"))
                )
        except OSError:
            continue
        for folder in found:
            stem = folder.rsplit(".", 1)[0]
            name, _, version = stem.partition("-")
            key = _normal(name)
            if key in seen:
                continue
            seen.add(key)
            try:
                path = os.path.join(place or ".", folder, "entry_points.txt")
                # A file that is no UTF-8 is its distribution's fault and must not stop the rest.
                with open(path, encoding="utf-8", errors="replace") as file:
                    text = file.read()
            except OSError:
                continue
            if "llmspell." in text:
                yield from _parse(text, key, version.partition("-")[0])


def _normal(distribution: str) -> str:
    """The normalised name (https://packaging.python.org/en/latest/specifications/name-normalization/)."""
    text = distribution.lower().replace("_", "-").replace(".", "-")
    while "--" in text:
        text = text.replace("--", "-")
    return text


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """``"tools.calculator"`` whether the key was quoted in TOML or made a table."""
    for key, value in table.items():
        if isinstance(value, str):
            yield above + key, value
        else:
            yield from _flat(value, f"{above}{key}.")


def _parse(text: str, distribution: str, version: str) -> Iterator[Plugin]:
    group = ""
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            group = line[1:-1].strip()
        elif group in GROUPS:
            name, _, value = line.partition("=")
            value = value.partition("[")[0].strip()
            yield Plugin(group, name.strip(), value, distribution, version)
