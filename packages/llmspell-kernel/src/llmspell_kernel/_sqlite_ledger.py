"""The run ledger in a SQLite file: survives the process, shared by several."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from llmspell_core import (
    Effect,
    EffectClass,
    Intent,
    Outcome,
    RunLedger,
    RunRecord,
    RunStatus,
    StorageError,
)
from llmspell_kernel._run_rules import (
    ERASED_ERROR,
    ERASED_REQUEST,
    one_of,
    prunable,
    unopened,
    written_before,
)

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

SCHEMA_VERSION = 1
_BUSY_SECONDS = 10.0
_PAGE = 500

_SCHEMA = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL UNIQUE, script TEXT NOT NULL,
    started_at REAL NOT NULL, status TEXT NOT NULL, finished_at REAL, error TEXT, pid INTEGER);
CREATE TABLE intents (
    run INTEGER NOT NULL, sequence INTEGER NOT NULL, path TEXT NOT NULL, kind TEXT NOT NULL,
    occurrence INTEGER NOT NULL, request_hash TEXT NOT NULL, request INTEGER NOT NULL,
    effect_class TEXT NOT NULL, started_at REAL NOT NULL,
    PRIMARY KEY (run, sequence)) WITHOUT ROWID;
CREATE TABLE outcomes (
    run INTEGER NOT NULL, sequence INTEGER NOT NULL, attempt INTEGER NOT NULL,
    ok INTEGER NOT NULL, payload INTEGER, duration_ms REAL NOT NULL, tokens INTEGER, cost REAL,
    PRIMARY KEY (run, sequence, attempt)) WITHOUT ROWID;
CREATE TABLE payloads (number INTEGER PRIMARY KEY, run INTEGER NOT NULL, content BLOB);
"""
"""`intents` and `outcomes` are only ever added to; an effect that a resume tried again has a
second outcome, and the newest counts. What was said and answered lies in `payloads` and is known
by its number there; erasing empties it, so that the number never comes to mean something else.

Four b-trees that grow at their ends, and no index: a transaction writes two pages.
"""

_ADD_PAYLOAD = "INSERT INTO payloads (run, content) VALUES (?, ?)"
_ADD_INTENT = "INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ADD_OUTCOME = "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_ATTEMPTS = "SELECT max(attempt) + 1 FROM outcomes WHERE run = ? AND sequence = ?"
_RUNS = """
SELECT run_id, script, started_at, status, finished_at, error, pid,
    (SELECT count(*) FROM intents WHERE run = runs.number AND effect_class != 'span'),
    (SELECT coalesce(sum(tokens), 0) FROM outcomes WHERE run = runs.number),
    (SELECT CASE WHEN max(tokens > 0 AND cost IS NULL) THEN NULL ELSE sum(cost) END
        FROM outcomes WHERE run = runs.number)
FROM runs
"""
_EFFECTS = """
SELECT i.sequence, i.path, i.kind, i.occurrence, i.request_hash, asked.content, i.effect_class,
    i.started_at, o.ok, answered.content, o.duration_ms, o.tokens, o.cost
FROM intents i
LEFT JOIN payloads asked ON asked.number = i.request
LEFT JOIN outcomes o ON o.run = i.run AND o.sequence = i.sequence AND o.attempt =
    (SELECT max(attempt) FROM outcomes WHERE run = i.run AND sequence = i.sequence)
LEFT JOIN payloads answered ON answered.number = o.payload
WHERE i.run = ? AND i.sequence > ? ORDER BY i.sequence LIMIT ?
"""
_WORTH_SHARING = 128
_REMEMBERED = 20_000


class SqliteLedger(RunLedger):
    """Keeps runs in the SQLite file at *path*.

    The file is opened at the first use and made by the first write; reading where there is none
    finds nothing and makes nothing. One connection serves all threads; other processes may have
    the file open too, and each waits up to ten seconds for another's write. A write that
    returned survives the death of the process; the last ones before a power failure may be lost
    (``synchronous=NORMAL``), never torn.

    Raises:
        StorageError: naming the file, when it cannot be read or written, when it is not a run
            ledger, or when a newer LLMSpell wrote it (it is left as it is then).
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._lock = threading.RLock()
        self._open: sqlite3.Connection | None = None
        self._numbers: dict[str, int] = {}
        self._payloads: dict[tuple[int, bytes], int] = {}
        self._closed = False

    # -- writing -------------------------------------------------------------------------------

    def open_run(self, run: RunRecord) -> None:
        row = (run.run_id, run.script, run.started_at, run.status.value, run.pid)
        self._write(
            lambda connection: connection.execute(
                "INSERT INTO runs (run_id, script, started_at, status, pid) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (run_id) DO UPDATE SET status = excluded.status, pid = excluded.pid,"
                " finished_at = NULL, error = NULL",
                row,
            )
        )

    def close_run(
        self, run_id: str, status: RunStatus, *, finished_at: float, error: str | None = None
    ) -> None:
        def work(connection: sqlite3.Connection) -> None:
            changed = connection.execute(
                "UPDATE runs SET status = ?, finished_at = ?, error = ? WHERE run_id = ?",
                (status.value, finished_at, error, run_id),
            )
            if changed.rowcount == 0:
                raise unopened(run_id)

        self._write(work)

    def append(self, intent: Intent) -> None:
        self._write(lambda connection: self._add_intent(connection, intent))

    def settle(self, outcome: Outcome) -> None:
        self._write(lambda connection: self._add_outcome(connection, outcome))

    def note(self, intent: Intent, outcome: Outcome) -> None:
        def work(connection: sqlite3.Connection) -> None:
            try:
                self._add_intent(connection, intent)
            except StorageError:
                # A resume observes anew what was erased: the row is there and gets an outcome.
                if self._key(connection, intent) != intent.key:
                    raise
            self._add_outcome(connection, outcome)

        self._write(work)

    def _key(self, connection: sqlite3.Connection, intent: Intent) -> tuple[Any, ...] | None:
        """The key of the row that has the intent's number already."""
        return connection.execute(
            "SELECT path, kind, request_hash, occurrence FROM intents"
            " WHERE run = ? AND sequence = ?",
            (self._numbers.get(intent.run_id), intent.sequence),
        ).fetchone()

    def _add_intent(self, connection: sqlite3.Connection, intent: Intent) -> None:
        run = self._numbers.get(intent.run_id) or self._number(connection, intent.run_id)
        row = (
            run,
            intent.sequence,
            intent.path,
            intent.kind,
            intent.occurrence,
            intent.request_hash,
            self._add_payload(connection, run, intent.request),
            intent.effect_class.value,
            intent.started_at,
        )
        try:
            connection.execute(_ADD_INTENT, row)
        except connection.IntegrityError as error:
            raise written_before(intent) from error

    def _add_outcome(self, connection: sqlite3.Connection, outcome: Outcome) -> None:
        run = self._numbers.get(outcome.run_id) or self._number(connection, outcome.run_id)
        payload = None
        if outcome.payload is not None:
            payload = self._add_payload(connection, run, outcome.payload)
        rest = (outcome.ok, payload, outcome.duration_ms, outcome.tokens, outcome.cost)
        place = (run, outcome.sequence)
        try:
            connection.execute(_ADD_OUTCOME, (*place, 0, *rest))
        except connection.IntegrityError:
            attempt = connection.execute(_ATTEMPTS, place).fetchone()[0]
            connection.execute(_ADD_OUTCOME, (*place, attempt, *rest))

    def _add_payload(self, connection: sqlite3.Connection, run: int, text: str) -> int:
        """Store it, or find what this process stored for this run before; returns its number."""
        content = text.encode("utf-8", "surrogatepass")
        if len(content) < _WORTH_SHARING:
            return cast("int", connection.execute(_ADD_PAYLOAD, (run, content)).lastrowid)
        key = (run, blake2b(content, digest_size=16).digest())
        number = self._payloads.get(key)
        if number is None:
            number = cast("int", connection.execute(_ADD_PAYLOAD, (run, content)).lastrowid)
            if len(self._payloads) >= _REMEMBERED:
                self._payloads.clear()
            self._payloads[key] = number
        return number

    def _number(self, connection: sqlite3.Connection, run_id: str) -> int:
        row = connection.execute("SELECT number FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            raise unopened(run_id)
        number = self._numbers[run_id] = row[0]
        return number

    def prune(self, *, older_than: float | None = None, keep: int | None = None) -> int:
        def work(connection: sqlite3.Connection) -> int:
            gone = prunable(self._list(connection), older_than, keep)
            for run_id in gone:
                number = self._number(connection, run_id)
                for table in ("payloads", "outcomes", "intents"):
                    connection.execute(f"DELETE FROM {table} WHERE run = ?", (number,))  # noqa: S608
                connection.execute("DELETE FROM runs WHERE number = ?", (number,))
            return len(gone)

        return self._remove(work)

    def erase_payloads(self, run_id: str) -> int:
        def work(connection: sqlite3.Connection) -> int:
            connection.execute(
                "UPDATE runs SET error = ? WHERE run_id = ? AND error IS NOT NULL",
                (ERASED_ERROR, run_id),
            )
            return connection.execute(
                "UPDATE payloads SET content = NULL WHERE content IS NOT NULL"
                " AND run = (SELECT number FROM runs WHERE run_id = ?)",
                (run_id,),
            ).rowcount

        return self._remove(work)

    def _remove(self, work: Callable[[sqlite3.Connection], int]) -> int:
        """Run *work*, and carry what it removed out of the write-ahead log and the file too."""
        if not self._exists():
            return 0
        removed = self._write(work)
        # Numbers may come to mean other runs and payloads now.
        self._forget()
        if removed:
            self._read(lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall(), [])
        return removed

    def _forget(self) -> None:
        self._numbers.clear()
        self._payloads.clear()

    # -- reading -------------------------------------------------------------------------------

    def run(self, run_id: str) -> RunRecord | None:
        def work(connection: sqlite3.Connection) -> RunRecord | None:
            ids = connection.execute(
                "SELECT run_id FROM runs WHERE substr(run_id, 1, ?) = ?", (len(run_id), run_id)
            )
            found = one_of(run_id, [row[0] for row in ids])
            if found is None:
                return None
            return _record(connection.execute(_RUNS + "WHERE run_id = ?", (found,)).fetchone())

        return self._read(work, None) if run_id else None

    def runs(self, *, limit: int | None = None) -> list[RunRecord]:
        return self._read(lambda connection: self._list(connection, limit), [])

    def _list(self, connection: sqlite3.Connection, limit: int | None = None) -> list[RunRecord]:
        rows = connection.execute(
            _RUNS + "ORDER BY started_at DESC, number DESC LIMIT ?",
            (-1 if limit is None else limit,),
        )
        return [_record(row) for row in rows]

    def effects(self, run_id: str) -> Iterator[Effect]:
        sequence = -1
        while True:
            rows = self._read(partial(_page, run_id, sequence), [])
            for row in rows:
                yield _effect(run_id, row)
            if len(rows) < _PAGE:
                return
            sequence = rows[-1][0]

    # -- the file ------------------------------------------------------------------------------

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._open is not None:
                self._open.close()
                self._open = None

    def _exists(self) -> bool:
        return self._open is not None or os.path.exists(self.path)

    def _read(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        with self._lock:
            if not self._exists() and not self._closed:
                return nothing
            connection = self._connection()
            try:
                return work(connection)
            except connection.Error as error:
                self._refuse(error)

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            connection = self._open or self._connection()
            try:
                connection.execute("BEGIN IMMEDIATE")
                done = work(connection)
                connection.execute("COMMIT")
                return done
            except BaseException as error:
                # What was remembered may have been taken back.
                self._forget()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if isinstance(error, connection.Error):
                    self._refuse(error)
                raise

    def _connection(self) -> sqlite3.Connection:
        if self._closed:
            raise StorageError(f"the run ledger {self.path} is closed", operation="open")
        if self._open is None:
            import sqlite3

            try:
                connection = self._connect()
            except (OSError, sqlite3.Error) as error:
                self._refuse(error)
            self._open = connection
        return self._open

    def _connect(self) -> sqlite3.Connection:
        import sqlite3

        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        # What was said to a model is nobody else's business; SQLite's own files follow the mode.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        import sqlite3

        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"the run ledger {self.path} was written by a newer LLMSpell "
                f"(schema {version}; this one knows {SCHEMA_VERSION})",
                operation="open",
                hint="Upgrade llmspell-kernel, or set LLMSPELL_HOME to another directory.",
                code="SCHEMA_TOO_NEW",
            )
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")
        if version == 0:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise sqlite3.DatabaseError("file is not a database of the run ledger")
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")

    def _refuse(self, error: Exception) -> NoReturn:
        reason = str(error).lower()
        operation = "write"
        if "locked" in reason:
            operation = "lock"
            hint = "Another process is writing to it for long; try again."
        elif "full" in reason or "disk i/o" in reason:
            hint = "Free space on that disk, erase old runs with `llmspell runs prune`, or set LLMSPELL_HOME to another directory."  # noqa: E501
        elif "not a database" in reason or "malformed" in reason:
            operation = "open"
            hint = "It is damaged or not a run ledger: move it away, a new one is made."
        else:
            hint = "Make the directory writable, or set LLMSPELL_HOME to another one."
        raise StorageError(
            f"the run ledger {self.path} cannot be used: {error}",
            operation=operation,
            hint=hint,
            details={"path": self.path},
            source=error,
        ) from error


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. Where another process is switching too SQLite does not wait by itself."""
    end = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except connection.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.005)


def _page(run_id: str, after: int, connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    row = connection.execute("SELECT number FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return [] if row is None else connection.execute(_EFFECTS, (*row, after, _PAGE)).fetchall()


def _record(row: tuple[Any, ...]) -> RunRecord:
    run_id, script, started_at, status, *rest = row
    return RunRecord(run_id, script, started_at, RunStatus(status), *rest)


def _effect(run_id: str, row: tuple[Any, ...]) -> Effect:
    sequence, path, kind, occurrence, request_hash, request, effect_class, started_at = row[:8]
    ok, payload, duration_ms, tokens, cost = row[8:]
    intent = Intent(
        run_id,
        sequence,
        path,
        kind,
        occurrence,
        request_hash,
        ERASED_REQUEST if request is None else request.decode("utf-8", "surrogatepass"),
        EffectClass(effect_class),
        started_at,
    )
    if ok is None:
        return Effect(intent, None)
    text = None if payload is None else payload.decode("utf-8", "surrogatepass")
    return Effect(intent, Outcome(run_id, sequence, bool(ok), text, duration_ms, tokens, cost))
