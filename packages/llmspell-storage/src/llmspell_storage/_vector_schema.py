"""What the vector database holds, and the statements that change it."""

from __future__ import annotations

import json
import math
import sqlite3
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmspell_core import ResourceLimitError, ValidationError, VectorEntry, new_id
from llmspell_storage._database import Kind

KIND = Kind(
    name="a vector store of LLMSpell",
    application_id=0x4C535652,  # "LSVR"
    version=1,
    schema=(
        # `generation` counts changes, `removals` removed entries: readers see from the two
        # whether what they keep in memory is behind, and whether rows were only added.
        """CREATE TABLE spaces(
            space INTEGER PRIMARY KEY AUTOINCREMENT,
            namespace TEXT NOT NULL UNIQUE,
            dimension INTEGER NOT NULL,
            generation INTEGER NOT NULL DEFAULT 0,
            removals INTEGER NOT NULL DEFAULT 0)""",
        """CREATE TABLE documents(
            document INTEGER PRIMARY KEY AUTOINCREMENT,
            space INTEGER NOT NULL,
            collection TEXT NOT NULL,
            name TEXT NOT NULL,
            fingerprint TEXT,
            UNIQUE(space, collection, name))""",
        # Ids are never used twice, so an entry never changes under its id: it comes and goes.
        """CREATE TABLE entries(
            entry INTEGER PRIMARY KEY AUTOINCREMENT,
            space INTEGER NOT NULL,
            collection TEXT NOT NULL,
            document INTEGER NOT NULL,
            id TEXT NOT NULL,
            metadata TEXT NOT NULL,
            size INTEGER NOT NULL,
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL,
            event_time REAL,
            expires_at REAL)""",
        "CREATE UNIQUE INDEX entries_by_id ON entries(space, id, collection)",
        "CREATE INDEX entries_of_document ON entries(document)",
        "CREATE INDEX entries_of_space ON entries(space, entry, collection, expires_at)",
        "CREATE INDEX entries_expiring ON entries(expires_at) WHERE expires_at IS NOT NULL",
        "CREATE TABLE vectors(entry INTEGER PRIMARY KEY, vector BLOB NOT NULL)",
        """CREATE TABLE indexes(
            space INTEGER PRIMARY KEY,
            file TEXT NOT NULL,
            covers INTEGER NOT NULL,
            checksum TEXT NOT NULL)""",
    ),
)


@dataclass(frozen=True, slots=True)
class SpaceRow:
    """A namespace as the database has it."""

    key: int
    dimension: int
    generation: int
    removals: int


def find_space(connection: sqlite3.Connection, namespace: str) -> SpaceRow | None:
    """The namespace, or None."""
    row = connection.execute(
        "SELECT space, dimension, generation, removals FROM spaces WHERE namespace=?",
        (namespace,),
    ).fetchone()
    return None if row is None else SpaceRow(*row)


def packed(vector: Sequence[float], entry_id: str) -> bytes:
    """The vector as little-endian 32-bit floats.

    Raises:
        ValidationError: when a component is no number, not finite or too large.
    """
    try:
        if isinstance(vector, array) and vector.typecode == "f":
            floats = vector
        else:
            floats = array("f", vector)
    except (TypeError, OverflowError) as error:
        raise ValidationError(
            f"the vector of '{entry_id}' has a component that is not a number", field="vector"
        ) from error
    if not math.isfinite(sum(floats)):
        raise ValidationError(
            f"the vector of '{entry_id}' has a component that is NaN or infinite", field="vector"
        )
    if sys.byteorder == "big":
        floats = array("f", floats)
        floats.byteswap()
    return floats.tobytes()


class Writer:
    """Changes one namespace inside a write transaction."""

    def __init__(self, connection: sqlite3.Connection, namespace: str, now: float) -> None:
        self._connection = connection
        self._namespace = namespace
        self._now = now
        self.space = find_space(connection, namespace)
        self._added = self._removed = 0

    def replace(
        self, collection: str, document: str, entries: Sequence[tuple[VectorEntry, bytes]]
    ) -> int:
        """Put *entries* in the place of the document's; returns how many it had."""
        key = self._document(collection, document)
        old: dict[int, tuple[str, float]] = {}
        if key is not None:
            rows = self._connection.execute(
                "SELECT entry, id, created_at FROM entries WHERE document=?", (key,)
            )
            old = {entry: (entry_id, created) for entry, entry_id, created in rows}
        had = len(old)
        born = dict(old.values())
        if entries:
            space = self._open_space(len(entries[0][1]) // 4)
            old.update(self._taken_over(space.key, collection, entries, born))
        self._remove(old)
        if entries:
            self._insert(collection, document, key, entries, born)
        elif key is not None:
            self._connection.execute("DELETE FROM documents WHERE document=?", (key,))
        return had

    def _taken_over(
        self,
        space: int,
        collection: str,
        entries: Sequence[tuple[VectorEntry, bytes]],
        born: dict[str, float],
    ) -> dict[int, tuple[str, float]]:
        """Entries of other documents with one of these ids: unique in its collection, an id
        belongs to whoever brings it last. Its former document is no longer what it was.
        """
        found: dict[int, tuple[str, float]] = {}
        for entry, _ in entries:
            if entry.id in born:
                continue
            row = self._connection.execute(
                "SELECT entry, created_at, document FROM entries "
                "WHERE space=? AND id=? AND collection=?",
                (space, entry.id, collection),
            ).fetchone()
            if row is not None:
                found[row[0]] = (entry.id, row[1])
                born[entry.id] = row[1]
                self._connection.execute(
                    "UPDATE documents SET fingerprint=NULL WHERE document=?", (row[2],)
                )
        return found

    def _document(self, collection: str, name: str) -> int | None:
        if self.space is None:
            return None
        row = self._connection.execute(
            "SELECT document FROM documents WHERE space=? AND collection=? AND name=?",
            (self.space.key, collection, name),
        ).fetchone()
        return None if row is None else row[0]

    def _open_space(self, dimension: int) -> SpaceRow:
        if self.space is None:
            cursor = self._connection.execute(
                "INSERT INTO spaces(namespace, dimension) VALUES(?, ?)",
                (self._namespace, dimension),
            )
            assert cursor.lastrowid is not None
            self.space = SpaceRow(cursor.lastrowid, dimension, 0, 0)
            # A table of words for each namespace: how rare a word is must not depend on
            # what other tenants have written.
            self._connection.execute(
                f"CREATE VIRTUAL TABLE words_{self.space.key} USING fts5("
                "text, tokenize='porter unicode61 remove_diacritics 2')"
            )
        elif self.space.dimension != dimension:
            raise ValidationError(
                f"Vector dimension mismatch: expected {self.space.dimension}, got {dimension}",
                field="vector",
                hint=f"Clear the namespace '{self._namespace}' before changing the embedder.",
            )
        return self.space

    def _insert(
        self,
        collection: str,
        document: str,
        key: int | None,
        entries: Sequence[tuple[VectorEntry, bytes]],
        born: dict[str, float],
    ) -> None:
        assert self.space is not None
        space = self.space.key
        fingerprint = entries[0][0].metadata.get("fingerprint")
        if key is None:
            key = self._connection.execute(
                "INSERT INTO documents(space, collection, name, fingerprint) VALUES(?, ?, ?, ?)",
                (space, collection, document, fingerprint),
            ).lastrowid
        else:
            self._connection.execute(
                "UPDATE documents SET fingerprint=? WHERE document=?", (fingerprint, key)
            )
        for entry, vector in entries:
            metadata = json.dumps(entry.metadata, ensure_ascii=False)
            created = born.get(entry.id) or entry.created_at or self._now
            size = len(vector) + len(entry.text.encode()) + len(metadata.encode())
            row = self._connection.execute(
                "INSERT INTO entries(space, collection, document, id, metadata, size, created_at, "
                "updated_at, event_time, expires_at) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    space,
                    collection,
                    key,
                    entry.id or new_id(),
                    metadata,
                    size,
                    created,
                    self._now,
                    entry.event_time,
                    entry.expires_at,
                ),
            ).lastrowid
            self._connection.execute("INSERT INTO vectors VALUES(?, ?)", (row, vector))
            self._connection.execute(
                f"INSERT INTO words_{space}(rowid, text) VALUES(?, ?)",
                (row, entry.text),
            )
        self._added += len(entries)

    def _remove(self, entries: Iterable[int]) -> int:
        rows = [(entry,) for entry in entries]
        if not rows or self.space is None:
            return 0
        self._connection.executemany("DELETE FROM entries WHERE entry=?", rows)
        self._connection.executemany("DELETE FROM vectors WHERE entry=?", rows)
        self._connection.executemany(
            f"DELETE FROM words_{self.space.key} WHERE rowid=?",  # noqa: S608 - a number
            rows,
        )
        self._removed += len(rows)
        return len(rows)

    def remove_where(self, condition: str, values: Sequence[object]) -> int:
        """Remove entries by a condition on the table; documents left empty go, too."""
        if self.space is None:
            return 0
        rows = self._connection.execute(
            f"SELECT entry, document FROM entries WHERE space=? AND ({condition})",  # noqa: S608 - conditions are ours
            (self.space.key, *values),
        ).fetchall()
        gone = self._remove(entry for entry, _ in rows)
        self._connection.executemany(
            "DELETE FROM documents WHERE document=? "
            "AND NOT EXISTS (SELECT 1 FROM entries WHERE document=?)",
            {(document, document) for _, document in rows},
        )
        return gone

    def finish(self, limit: int) -> bool:
        """Count the change; a namespace left empty goes. Returns whether it did.

        Raises:
            ResourceLimitError: for more than *limit* entries in the namespace.
        """
        if self.space is None or not (self._added or self._removed):
            return False
        space = self.space.key
        (count,) = self._connection.execute(
            "SELECT COUNT(*) FROM entries WHERE space=?", (space,)
        ).fetchone()
        if self._added and count > limit:
            raise ResourceLimitError(
                f"vectors in namespace '{self._namespace}'",
                limit=limit,
                used=count,
                hint="Raise rag.vector_storage.hnsw.max_elements, or delete what is not needed.",
            )
        if count:
            self._connection.execute(
                "UPDATE spaces SET generation=generation+1, removals=removals+? WHERE space=?",
                (self._removed, space),
            )
            return False
        for table in ("documents", "indexes", "spaces"):
            self._connection.execute(f"DELETE FROM {table} WHERE space=?", (space,))  # noqa: S608
        self._connection.execute(f"DROP TABLE words_{space}")
        return True
