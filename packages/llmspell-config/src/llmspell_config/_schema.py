"""What is known of the keys: the tree that the registered sections form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from llmspell_config._convert import Misfit, convert, scale, spelling, unit_of
from llmspell_config._problems import Problem
from llmspell_core import ConfigurationError, nearest

GROUP = "llmspell.config"

Path = tuple[str, ...]


@dataclass(slots=True)
class Key:
    """A setting: what type it has, and what its declaration says of it."""

    name: str
    wanted: Any
    default: Any = None
    aliases: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    unit: str = ""
    sensitive: bool = False
    above_zero: bool = False
    help: str = ""


@dataclass(slots=True)
class Table:
    """A table: its keys, the tables in it, and whether others are welcome (`free`)."""

    keys: dict[str, Key] = field(default_factory=dict[str, Key])
    tables: dict[str, Table] = field(default_factory=dict[str, "Table"])
    free: bool = False
    cls: type[Any] | None = None
    _names: dict[str, str] | None = None

    def names(self) -> dict[str, str]:
        """Every accepted spelling → canonical name."""
        if self._names is None:
            self._names = {spelling(name): name for name in (*self.keys, *self.tables)}
            for key in self.keys.values():
                for alias in key.aliases:
                    self._names.setdefault(spelling(alias), key.name)
        return self._names

    def canonical(self, name: str) -> str | None:
        """The name that *name* is another spelling of, or None."""
        return self.names().get(spelling(name))

    def at(self, path: Path) -> Table:
        """The table at *path*, made where there is none."""
        found = self
        for part in path:
            found = found.tables.setdefault(part, Table())
        return found

    def leaves(self, above: Path = ()) -> Iterator[tuple[Path, Key]]:
        """Every key below, with its path."""
        for key in self.keys.values():
            yield (*above, key.name), key
        for name, table in self.tables.items():
            yield from table.leaves((*above, name))


def table_of(cls: type[Any]) -> Table:
    """What the dataclass *cls* declares."""
    made = Table(cls=cls)
    hints = _hints(cls)
    for declared in fields(cls):
        wanted = hints.get(declared.name, Any)
        inner = _dataclass_in(wanted)
        if inner is not None:
            made.tables[declared.name] = table_of(inner)
            continue
        about = declared.metadata
        default = None if declared.default is MISSING else declared.default
        if declared.default_factory is not MISSING:
            default = declared.default_factory()
        made.keys[declared.name] = Key(
            declared.name,
            wanted,
            default,
            about.get("aliases", ()),
            about.get("env", ()),
            about.get("unit", "") or unit_of(declared.name),
            about.get("sensitive", False),
            about.get("above_zero", False),
            about.get("help", ""),
        )
    return made


def _hints(cls: type[Any]) -> dict[str, Any]:
    try:
        return get_type_hints(cls)
    except NameError:
        # An annotation that only type checkers can resolve: taken as it comes.
        return {}


def _dataclass_in(wanted: Any) -> type[Any] | None:
    """The nested section a field holds: a dataclass, or one that may be missing."""
    if isinstance(wanted, type) and is_dataclass(wanted):
        return wanted
    if get_origin(wanted) in (Union, UnionType):
        options = [option for option in get_args(wanted) if option is not NoneType]
        if len(options) == 1:
            return _dataclass_in(options[0])
    return None


def build(
    name: str, cls: type[Any], values: Mapping[str, Any], problems: list[Problem] | None = None
) -> Any:
    """An instance of the section *cls* from loosely written *values*; unknown keys are ignored.

    Args:
        name: The section's path, for messages.
        cls: Its dataclass.
        values: What was set.
        problems: Findings are added here and defaults stand in; None raises the first.

    Raises:
        ConfigurationError: naming the key, for a value that does not fit.
    """
    table = table_of(cls)
    found: list[Problem] = []
    made = _instance(tuple(name.split(".")) if name else (), cls, table, values, found)
    if problems is None:
        if found:
            raise found[0].error()
    else:
        problems.extend(found)
    return made


def _instance(
    path: Path, cls: type[Any], table: Table, values: Mapping[str, Any], problems: list[Problem]
) -> Any:
    chosen: dict[str, Any] = {}
    for written, value in values.items():
        name = table.canonical(written)
        if name is None:
            continue
        place = (*path, name)
        dotted = ".".join(place)
        inner = table.tables.get(name)
        if inner is not None:
            # Tables below may also be sections of their own, which `cls` does not hold.
            if inner.cls is None or name not in cls.__dataclass_fields__:
                continue
            if isinstance(value, Mapping):
                below = cast("Mapping[str, Any]", value)
                chosen[name] = _instance(place, inner.cls, inner, below, problems)
            else:
                problems.append(Problem("type", dotted, "expected a table"))
            continue
        key = table.keys[name]
        try:
            fitted = convert(value, key.wanted, key.unit)
        except Misfit as misfit:
            problems.append(Problem("type", dotted, str(misfit)))
            continue
        except ConfigurationError as error:
            problems.append(Problem("type", dotted, error.message))
            continue
        if isinstance(fitted, int | float) and not isinstance(fitted, bool):
            fitted *= 1 if written == name else scale(written, name)
            if key.above_zero and fitted <= 0:
                problems.append(Problem("rule", dotted, "cannot be zero or less"))
                continue
        chosen[name] = fitted
    return _constructed(path, cls, chosen, problems)


def _constructed(
    path: Path, cls: type[Any], chosen: dict[str, Any], problems: list[Problem]
) -> Any:
    try:
        return cls(**chosen)
    except (ConfigurationError, ValueError, TypeError) as error:
        message = error.message if isinstance(error, ConfigurationError) else str(error)
        problems.append(Problem("rule", ".".join(path), message))
        return cls()


def unknown(path: Path, table: Table) -> Problem:
    """The finding for a key that *table* does not know."""
    *above, name = path
    close = nearest(spelling(name), list(table.names()))
    hint = None
    if close is not None:
        hint = f"did you mean '{'.'.join([*above, table.names()[close]])}'?"
    return Problem("unknown", ".".join(path), "", hint=hint)
