"""A store named in one word: ``sqlite``, ``sqlite:FILE``, ``postgres``, a URL of a server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from llmspell_core import ConfigurationError, NotFoundError, ValidationError, nearest

if TYPE_CHECKING:
    from llmspell_core import Services, StorageBackend

GROUP = "llmspell.storage"
SYNONYMS = {"sled": "sqlite", "file": "sqlite", "postgresql": "postgres", "mysql": "mariadb"}
"""Other names of back ends."""


def open_place(place: str, services: Services, *, store: str) -> StorageBackend:
    """The store *store* at *place*.

    *place* is the name of an installed back end (``sqlite``, ``postgres``), which then opens
    what the configuration says; ``sqlite:FILE``; or the URL of a server
    (``postgresql://user@host/database``), whose password becomes a known secret.

    Raises:
        NotFoundError: for a back end that is not installed, with the nearest name.
        ValidationError: for ``memory``, which holds nothing that could be copied, and for a
            file that does not belong there.
    """
    if "://" in place:
        return _server(place, services, store)
    word, _, path = place.partition(":")
    name = SYNONYMS.get(word.lower(), word.lower())
    if name == "memory":
        raise ValidationError(
            "a store in memory ends with its process: nothing can be copied from or to it",
            field="place",
        )
    if services.plugins.find(GROUP, name) is None:
        known = [n for n in services.plugins.names(GROUP) if n != "memory"]
        close = nearest(name, [*known, *SYNONYMS])
        raise NotFoundError(
            f"storage back end '{word}' not found",
            hint=f"Did you mean '{close}'?" if close else f"There are: {', '.join(known)}",
        )
    if path and name != "sqlite":
        raise ValidationError(
            f"'{word}' takes no file; write a URL, or only '{word}' for the configured one",
            field="place",
        )
    file = os.path.abspath(os.path.expanduser(path)) if path else None
    return services.plugins.load(GROUP, name)(services, name=store, path=file)


def _server(place: str, services: Services, store: str) -> StorageBackend:
    from llmspell_storage.server._address import MARIADB, POSTGRES, ServerConfig
    from llmspell_storage.server._storage import open_server

    scheme = place.partition(":")[0].partition("+")[0].lower()
    for kind in (POSTGRES, MARIADB):
        if scheme in kind.schemes:
            return open_server(kind, ServerConfig(url=place), services, store)
    known = sorted({*POSTGRES.schemes, *MARIADB.schemes})
    raise ConfigurationError(
        f"there is no storage back end for URLs that begin with '{scheme}:'",
        hint=f"There are: {', '.join(known)}",
    )


def shown_place(backend: StorageBackend, place: str) -> str:
    """Where *backend* is, for people: never with a password."""
    found = getattr(backend, "place", None) or getattr(backend, "path", None)
    return place if found is None else str(found)
