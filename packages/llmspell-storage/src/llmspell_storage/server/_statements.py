"""The statements on the table of entries."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    Insert,
    Select,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.dialects import mysql, postgresql

from llmspell_storage.server._schema import ENTRIES, HEAD_BYTES

__all__ = [
    "HEAD_BYTES",
    "claims",
    "delete_all",
    "delete_digests",
    "delete_expired",
    "ends",
    "inserts",
    "page",
    "totals",
    "upserts",
    "values_of",
]

_C = ENTRIES.c


def _live() -> ColumnElement[bool]:
    return or_(_C.expires_at.is_(None), _C.expires_at > time.time())


def values_of(store: str, digests: Sequence[bytes], *, lock: bool) -> Select[bytes, bytes]:
    """Digest and value of the rows that exist, locked in the order of their digests."""
    found: Select[bytes, bytes] = select(_C.digest, _C.value).where(
        _C.store == store, _C.digest.in_(digests), _live()
    )
    return found.order_by(_C.digest).with_for_update() if lock else found


def page(
    store: str, beginning: bytes, after: bytes | None, rows: int, *, values: bool
) -> Select[*tuple[Any, ...]]:
    """The next *rows* keys (with their values) that begin so, behind *after*, in order."""
    found: Select[*tuple[Any, ...]] = select(*((_C.key, _C.value) if values else (_C.key,)))
    found = found.where(_C.store == store, _C.head >= beginning[:HEAD_BYTES], _live())
    end = _following(beginning[:HEAD_BYTES])
    if end is not None:
        found = found.where(_C.head < end)
    if len(beginning) > HEAD_BYTES:
        found = found.where(_C.key >= beginning)
        whole = _following(beginning)
        found = found if whole is None else found.where(_C.key < whole)
    if after is not None:
        head = after[:HEAD_BYTES]
        found = found.where(or_(_C.head > head, and_(_C.head == head, _C.key > after)))
        found = found.where(_C.head >= head)  # for the index
    return found.order_by(_C.head, _C.key).limit(rows)


def _following(prefix: bytes) -> bytes | None:
    """The first bytes behind all that begin with *prefix*; None when there is no end."""
    cut = prefix.rstrip(b"\xff")
    return cut[:-1] + bytes((cut[-1] + 1,)) if cut else None


def ends(store: str) -> Select[bytes, float]:
    """The keys that will expire, and when."""
    found: Select[bytes, float] = select(_C.key, _C.expires_at)
    return found.where(_C.store == store, _C.expires_at > time.time())


def totals(store: str) -> Select[int, int]:
    """How many keys there are, and the bytes of their values."""
    size = func.coalesce(func.sum(func.octet_length(_C.value)), 0)
    return select(func.count(), size).where(_C.store == store, _live())


def delete_digests(store: str, digests: Sequence[bytes]) -> Delete:
    """Remove these keys."""
    return delete(ENTRIES).where(_C.store == store, _C.digest.in_(digests))


def delete_expired(store: str, digests: Sequence[bytes] | None = None) -> Delete:
    """Free what has expired: among *digests*, or all."""
    gone = delete(ENTRIES).where(_C.store == store, _C.expires_at <= time.time())
    return gone if digests is None else gone.where(_C.digest.in_(digests))


def delete_all(store: str) -> Delete:
    """Remove all keys of the store."""
    return delete(ENTRIES).where(_C.store == store)


@cache
def inserts() -> Insert:
    """Insert rows; one that exists is an error."""
    return insert(ENTRIES)


@cache
def claims(dialect: str) -> Insert:
    """Insert a row unless it exists; the count of rows tells."""
    if dialect == "postgresql":
        return postgresql.insert(ENTRIES).on_conflict_do_nothing()
    return mysql.insert(ENTRIES).prefix_with("IGNORE")


@cache
def upserts(dialect: str) -> Insert:
    """Insert rows, or replace the value of those that exist."""
    if dialect == "postgresql":
        made = postgresql.insert(ENTRIES)
        return made.on_conflict_do_update(
            index_elements=[_C.store, _C.digest],
            set_={"value": made.excluded.value, "expires_at": made.excluded.expires_at},
        )
    ours = mysql.insert(ENTRIES)
    return ours.on_duplicate_key_update(
        value=ours.inserted.value, expires_at=ours.inserted.expires_at
    )
