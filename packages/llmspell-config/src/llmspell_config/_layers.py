"""Layers of settings, brought into one spelling and laid over each other."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from llmspell_config._convert import Misfit, convert, scale, shown, spelling, unit_of
from llmspell_config._known import PROVIDER_ALIASES, is_free, provider_key
from llmspell_config._plain import plain
from llmspell_config._problems import Problem
from llmspell_config._schema import Key, Path, Table, unknown
from llmspell_core import ConfigurationError

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_PLACES = ("_path", "_paths", "_dir", "_directory", "_directories")


@dataclass(slots=True)
class Settled:
    """Settings under their canonical names, and where each came from."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    origins: dict[Path, str] = field(default_factory=dict[Path, str])
    problems: list[Problem] = field(default_factory=list[Problem])

    def set(self, path: Path, value: Any, origin: str) -> None:
        """Put *value* at *path*."""
        table = self.values
        for part in path[:-1]:
            inner = table.get(part)
            if not isinstance(inner, dict):
                inner = table[part] = {}
            table = cast("dict[str, Any]", inner)
        table[path[-1]] = value
        for known in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[known]
        self.origins[path] = origin

    def origin(self, path: Path) -> str | None:
        """Where the value at *path* (or at the nearest key around or in it) came from."""
        above = path
        while above:
            if above in self.origins:
                return self.origins[above]
            above = above[:-1]
        return next((o for known, o in self.origins.items() if known[: len(path)] == path), None)

    def lay(self, above: Settled) -> None:
        """Lay *above* over this: tables merge by key, all else is replaced."""
        for path, origin in above.origins.items():
            value = value_at(above.values, path)
            if value != {} or self.origin(path) is None:
                self.set(path, value, origin)
        self.problems.extend(above.problems)


def value_at(values: Mapping[str, Any], path: Path) -> Any:
    """The value at *path*, which exists."""
    found: Any = values
    for part in path:
        found = found[part]
    return found


class Settling:
    """Brings one layer into canonical names.

    Args:
        known: The tree of keys.
        where: The place of a key as it is written, for messages.
        environ: For ``${NAME}``.
        nulls: Whether None sets a key that may be empty; otherwise it is as if it were not there.
    """

    def __init__(
        self,
        known: Table,
        where: Callable[[Path], str],
        environ: Mapping[str, str],
        *,
        nulls: bool = False,
    ) -> None:
        self._known = known
        self._where = where
        self._environ = environ
        self._nulls = nulls
        self._made = Settled()

    def settle(self, values: Mapping[str, Any]) -> Settled:
        """The layer *values* in canonical names."""
        self._table((), (), self._known, values)
        return self._made

    def _table(self, written: Path, path: Path, table: Table, values: Mapping[str, Any]) -> None:
        # Aliases come first, so that what is spelled canonically wins over them.
        for name in sorted(values, key=lambda name: table.canonical(name) in {None, name}):
            value = values[name]
            as_written = (*written, name)
            canonical = table.canonical(name)
            if path == () and spelling(name) == "providers" and isinstance(value, Mapping):
                self._providers(as_written, cast("Mapping[str, Any]", value))
            elif canonical is None:
                place = (*path, name)
                if not is_free(place) and not (table.free and isinstance(value, Mapping)):
                    self._unknown(as_written, place, table)
                self._keep(as_written, place, value)
            elif canonical in table.tables:
                self._below(as_written, (*path, canonical), table.tables[canonical], value)
            else:
                key = table.keys[canonical]
                self._setting(as_written, (*path, canonical), key, value)

    def _below(self, written: Path, path: Path, table: Table, value: Any) -> None:
        if not isinstance(value, Mapping):
            self._wrong("type", written, path, f"expected a table, got {shown(value)}")
            return
        below = cast("Mapping[str, Any]", value)
        if not below:
            self._empty(path, written)
        self._table(written, path, table, below)

    def _setting(self, written: Path, path: Path, key: Key, value: Any) -> None:
        """Keep *value* as the JSON form of what *key* wants, or report why it does not fit."""
        if value is None and self._nulls and path[0] != "providers":
            self._null(written, path, key)
            return
        value = self._resolved(path, value, self._where(written))
        if value is None:
            return
        factor = 1 if written[-1] == path[-1] else scale(written[-1], path[-1])
        unit = key.unit if factor == 1 else unit_of(written[-1])
        try:
            fitted = convert(value, key.wanted if factor == 1 else float, unit)
            if factor != 1:
                fitted = convert(fitted * factor, key.wanted, key.unit)
        except Misfit as misfit:
            self._wrong("type", written, path, str(misfit))
            return
        except ConfigurationError as error:
            self._wrong("type", written, path, error.message)
            return
        if key.above_zero and isinstance(fitted, int | float) and fitted <= 0:
            self._wrong("rule", written, path, "cannot be zero or less")
            return
        self._put(written, path, plain(fitted))

    def _null(self, written: Path, path: Path, key: Key) -> None:
        try:
            convert(None, key.wanted, key.unit)
        except Misfit as misfit:
            self._wrong("type", written, path, str(misfit))
        else:
            self._made.set(path, None, self._where(written))

    def _wrong(self, kind: str, written: Path, path: Path, message: str) -> None:
        self._made.problems.append(Problem(kind, ".".join(path), message, self._where(written)))

    def _empty(self, path: Path, written: Path) -> None:
        if self._made.origin(path) is None:
            self._made.set(path, {}, self._where(written))

    def _unknown(self, written: Path, path: Path, table: Table) -> None:
        found = unknown(path, table)
        self._made.problems.append(
            Problem(found.kind, found.key, found.message, self._where(written), found.hint)
        )

    def _keep(self, written: Path, path: Path, value: Any) -> None:
        """Keep *value*, of which nothing is known, with its references replaced."""
        self._put(written, path, self._resolved(path, value, self._where(written)))

    def _put(self, written: Path, path: Path, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for name, item in cast("Mapping[str, Any]", value).items():
                self._put((*written, name), (*path, name), item)
        elif value is not None:
            self._made.set(path, value, self._where(written))

    # -- providers: two nestings, one meaning -----------------------------------------------------

    def _providers(self, written: Path, values: Mapping[str, Any]) -> None:
        inner = values.get("providers")
        for name, value in values.items():
            if name == "providers" and isinstance(inner, Mapping):
                continue
            self._provider((*written, name), name, value)
        if isinstance(inner, Mapping):
            for name, value in cast("Mapping[str, Any]", inner).items():
                self._provider((*written, "providers", name), name, value)

    def _provider(self, written: Path, name: str, value: Any) -> None:
        path = ("providers", name)
        if not isinstance(value, Mapping):
            if name != "default_provider":
                self._unknown_provider_key(written, path)
            self._keep(written, path, value)
            return
        settings = cast("Mapping[str, Any]", value)
        if not settings:
            self._empty(path, written)
        for key in sorted(settings, key=lambda key: key not in PROVIDER_ALIASES):
            canonical = PROVIDER_ALIASES.get(key, key)
            place = (*path, canonical)
            self._setting((*written, key), place, provider_key(canonical), settings[key])

    def _unknown_provider_key(self, written: Path, path: Path) -> None:
        hint = "a provider is a table, like [providers.openai]"
        self._made.problems.append(
            Problem("unknown", ".".join(path), "", self._where(written), hint)
        )

    # -- text -------------------------------------------------------------------------------------

    def _resolved(self, path: Path, value: Any, origin: str) -> Any:
        """*value* with references to the environment replaced; None: as if it were not there."""
        if isinstance(value, list):
            return [self._resolved(path, item, origin) for item in cast("list[Any]", value)]
        if isinstance(value, Mapping):
            table = cast("Mapping[str, Any]", value)
            return {n: self._resolved((*path, n), item, origin) for n, item in table.items()}
        if not isinstance(value, str):
            return value
        text = self._referred(path, value, origin)
        if text != value and text == "" and path[-1].endswith("api_key"):
            return None
        if any(path[-1].endswith(end) or path[-1] == end[1:] for end in _PLACES):
            text = self._expanded(text)
        return text

    def _referred(self, path: Path, text: str, origin: str) -> str:
        if text.startswith("env:"):
            return self._variable(path, text[4:].strip(), None, origin)
        if "${" not in text:
            return text
        return _REFERENCE.sub(lambda m: self._variable(path, m[1], m[2], origin), text)

    def _variable(self, path: Path, name: str, default: str | None, origin: str) -> str:
        value = self._environ.get(name) or default
        if value is None:
            self._made.problems.append(
                Problem(
                    "unset",
                    ".".join(path),
                    f"'{'.'.join(path)}' refers to the environment variable {name}, "
                    "which is not set",
                    origin,
                )
            )
            return ""
        return value

    def _expanded(self, text: str) -> str:
        named = re.sub(r"\$([A-Za-z_]\w*)", lambda m: self._environ.get(m[1], m[0]), text)
        return os.path.expanduser(named)
