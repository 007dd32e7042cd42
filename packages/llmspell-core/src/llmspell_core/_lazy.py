"""Lazy package exports (PEP 562): importing a package costs nothing until a name is used."""

from __future__ import annotations

from importlib import import_module
from sys import modules

# Importing typing, or collections.abc by way of collections, costs as much as starting Python.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def lazy_exports(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``(__getattr__, __dir__)`` for *package*.

    Args:
        package: The package's ``__name__``.
        homes: Public name → private module that defines it (``{"Tool": "_tool"}``).

    The first access imports the module and stores the value on the package, so later
    accesses are ordinary attribute reads.
    """

    def getattr_(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{home}"), name)
        setattr(modules[package], name, value)
        return value

    def dir_() -> list[str]:
        return sorted({*vars(modules[package]), *homes})

    return getattr_, dir_
