"""Which script engine runs a source."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from llmspell_core import ConfigurationError, NotFoundError, nearest

if TYPE_CHECKING:
    from llmspell_core import ScriptEngine, Services, Source

GROUP = "llmspell.engines"
_ALIASES = {"js": "javascript"}
_BY_SUFFIX = {".js": "javascript", ".mjs": "javascript", ".py": "python"}
_PLANNED = {"javascript": "Phase 15", "python": "Phase 22"}


def engine_name(services: Services, source: Source, wanted: str | None) -> str:
    """The engine for *source*: *wanted*, else by the suffix of its file, else the default
    (``default_engine``, Lua).

    Raises:
        ConfigurationError: for an engine that exists in plans only.
        NotFoundError: for a name nobody installed.
    """
    installed = services.plugins.names(GROUP)
    if wanted is not None:
        name = wanted.lower()
        return _checked(_ALIASES.get(name, name), installed)
    suffix = os.path.splitext(source.path or "")[1].lower()
    if suffix:
        # An engine called as its suffix is the usual case, and spares importing the others.
        if suffix[1:] in installed:
            return suffix[1:]
        for name in installed:
            if suffix in services.plugins.load(GROUP, name).suffixes:
                return name
        if suffix in _BY_SUFFIX:
            return _checked(_BY_SUFFIX[suffix], installed)
    return _checked(str(services.config.get("default_engine") or "lua"), installed)


def _checked(name: str, installed: list[str]) -> str:
    if name in installed:
        return name
    if name in _PLANNED:
        raise ConfigurationError(
            f"Script engine '{name}' is not available yet. Coming in {_PLANNED[name]}",
            code="ENGINE_UNAVAILABLE",
        )
    close = nearest(name, installed)
    known = ", ".join(installed)
    raise NotFoundError(
        f"script engine '{name}' not found",
        hint=f"Did you mean '{close}'?"
        if close
        else (f"Installed: {known}" if known else "Install one: pip install llmspell-bridge"),
        code="ENGINE_UNKNOWN",
    )


def make_engine(services: Services, name: str) -> ScriptEngine:
    """The engine called *name*, for *services*."""
    return services.plugins.load(GROUP, name)(services)
