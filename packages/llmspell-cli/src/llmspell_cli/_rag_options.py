"""Options of `run` and `exec` that set up retrieval for one call."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from llmspell_cli._invocation import Invocation

_BUILT_IN: Mapping[str, Mapping[str, Any]] = {
    "development": {"enabled": True, "backend": "hnsw", "dimensions": 384},
    "production": {"enabled": True, "backend": "hnsw", "dimensions": 768},
}
_KEYS = {
    "enabled": "rag.enabled",
    "backend": "rag.vector_storage.backend",
    "dimensions": "rag.vector_storage.dimensions",
}


def rag_settings(
    invocation: Invocation,
    *,
    profile: str | None = None,
    enabled: bool | None = None,
    file: str | None = None,
    dimensions: int | None = None,
    backend: str | None = None,
) -> dict[str, Any]:
    """The settings, by dotted key; single options beat *file*, which beats *profile*.

    A profile is a table ``[rag.profiles.NAME]`` of the configuration or a built-in; an unknown
    one switches retrieval on, with a warning.
    """
    made: dict[str, Any] = {}
    if profile is not None:
        made.update(_from_profile(invocation, profile))
    if file is not None:
        made.update(_from_file(file))
    given = {"enabled": enabled, "dimensions": dimensions, "backend": backend}
    made.update({_KEYS[name]: value for name, value in given.items() if value is not None})
    return made


def _from_profile(invocation: Invocation, name: str) -> dict[str, Any]:
    table = invocation.config().get(f"rag.profiles.{name}") or _BUILT_IN.get(name)
    if table is None:
        logging.getLogger("llmspell.rag").warning(
            "Unknown RAG profile '%s', enabling RAG with defaults", name
        )
        return {"rag.enabled": True}
    made: dict[str, Any] = {}
    if "config_file" in table:
        made.update(_from_file(str(table["config_file"])))
    made.update({_KEYS[key]: value for key, value in table.items() if key in _KEYS})
    return made


def _from_file(path: str) -> dict[str, Any]:
    from llmspell_config import load

    # Read on its own: of this file only the retrieval settings count.
    table = load(path, environ={}).get("rag", {})
    return dict(_leaves("rag", cast("Mapping[str, Any]", table)))


def _leaves(above: str, table: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in table.items():
        if isinstance(value, Mapping):
            found += _leaves(f"{above}.{name}", cast("Mapping[str, Any]", value))
        else:
            found.append((f"{above}.{name}", value))
    return found
