import asyncio
import os
import re
import socket
import sqlite3
import threading
import uuid
from decimal import Decimal

import pytest

from llmspell_core import (
    ConfigurationError,
    EffectClass,
    ExecutionContext,
    LLMTimeoutError,
    SecurityError,
    StorageError,
)
from llmspell_testing import SecurityDouble, ToolSuite
from llmspell_tools._threads import Stop
from llmspell_tools.data import DatabaseConnector
from llmspell_tools.data._database_places import Place, parsed
from llmspell_tools.data._database_sqlite import SqliteFile
from llmspell_tools.data._database_values import plain

URLS = {
    "postgresql": "postgresql://postgres@127.0.0.1/test",
    "mysql": "mariadb://root@127.0.0.1/test",
}
PORTS = {"postgresql": 5432, "mysql": 3306}
SERVERS = pytest.mark.parametrize("server", ["postgresql", "mysql"])
ALL = pytest.mark.parametrize("server", ["sqlite", "postgresql", "mysql"])


class TestDatabaseConnectorKeepsTheToolContract(ToolSuite):
    @pytest.fixture
    def component(self):
        return DatabaseConnector()

    @pytest.fixture
    def services(self, allowed):
        class Policy(SecurityDouble):
            def path(self, path, mode, context, *, caller="script"):
                return super().path(path, mode, context)

        make_file(allowed / "x.db")
        return {"security": Policy(allowed)}

    @pytest.fixture
    def parameters(self, allowed):
        return {
            "operation": "query",
            "query": "SELECT count(*) AS n FROM people",
            "connection_string": f"sqlite:///{allowed}/x.db",
        }

    @pytest.fixture
    def refused(self, allowed, secret, parameters):
        make_file(secret / "x.db")
        return [
            {**parameters, "connection_string": f"sqlite:///{secret}/x.db"},
            {**parameters, "connection_string": f"sqlite:///{allowed}/none.db"},
            {**parameters, "connection_string": "postgresql://example.org/x"},
            {**parameters, "query": "DROP TABLE people"},
            {**parameters, "query": "SELECT"},
            {"operation": "query", "query": "SELECT 1"},
            {"operation": "fly"},
        ]


PEOPLE = "CREATE TABLE {} (id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL, price NUMERIC(10, 2))"


def make_file(path, table="people"):
    database = sqlite3.connect(path)
    database.execute(PEOPLE.format(table))
    database.executemany(
        f"INSERT INTO {table} VALUES (?, ?, ?)", [(1, "Ann", 1.5), (2, "Bob", None)]
    )
    database.commit()
    database.close()
    return path


class World:
    """A database with a table of its own, reached through the tool."""

    def __init__(self, services, url, table):
        self.services = services
        self.url = url
        self.table = table
        self.context = ExecutionContext(services)

    async def call(self, operation, sql=None, params=None, /, **more):
        given = {"operation": operation, "connection_string": self.url, **more}
        if sql is not None:
            given["query"] = sql.replace("people", self.table)
        if params is not None:
            given["params"] = params
        return await self.services.tools.invoke("database-connector", given, self.context)

    async def rows(self, sql, params=None, /, **more):
        result = await self.call("query", sql, params, **more)
        assert result.success, result.error
        return result.value

    async def error(self, sql, params=None, /, **more):
        result = await self.call("query", sql, params, **more)
        assert not result.success
        return result.error


@pytest.fixture
async def world(make_services, allowed):
    """``await world("postgresql")``; skips where no such server is, unless
    LLMSPELL_TEST_SERVERS is ``required``.
    """
    opened = []

    async def make(server, **database):
        table = f"t_{uuid.uuid4().hex}"
        if server == "sqlite":
            url = f"sqlite:///{make_file(allowed / 'x.db', table)}"
        else:
            pytest.importorskip("sqlalchemy", reason="llmspell-tools[sql] is missing")
            try:
                socket.create_connection(("127.0.0.1", PORTS[server]), 5).close()
            except OSError:
                if os.environ.get("LLMSPELL_TEST_SERVERS") == "required":
                    raise
                pytest.skip(f"no {server} listens on this machine")
            url = URLS[server]
            owner = World(make_services(database={"allow_ddl": True}), url, table)
            await owner.rows(PEOPLE.format("people"))
            await owner.rows("INSERT INTO people VALUES (?, ?, ?)", [1, "Ann", 1.5])
            await owner.rows("INSERT INTO people VALUES (?, ?, ?)", [2, "Bob", None])
            opened.append(owner)
        return World(make_services(database=database), url, table)

    yield make
    for owner in opened:
        await owner.rows("DROP TABLE people")


ROWS = [{"id": 1, "name": "Ann", "price": 1.5}, {"id": 2, "name": "Bob", "price": None}]


# Reading and writing -------------------------------------------------------------------------


@ALL
async def test_rows_are_read(world, server):
    database = await world(server)
    found = await database.call("query", "SELECT * FROM people ORDER BY id")
    assert found.value == found.result["results"] == found.result["rows"] == ROWS
    timing, moment = found.result["execution_time_ms"], found.result["timestamp"]
    assert timing > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", moment)
    assert {k: v for k, v in found.result.items() if k not in ("results", "rows")} == {
        "database_type": server,
        "query": f"SELECT * FROM {database.table} ORDER BY id",
        "status": "executed",
        "rows_affected": 0,
        "columns": ["id", "name", "price"],
        "truncated": False,
        "execution_time_ms": timing,
        "timestamp": moment,
    }


@ALL
async def test_values_are_bound_in_three_ways(world, server):
    database = await world(server)
    evil = "x'); DROP TABLE people; --"
    for sql, params in (
        ("INSERT INTO people (id, name) VALUES (?, ?)", [3, evil]),
        ("INSERT INTO people (name, id) VALUES ($2, $1)", [4, ":name ? $1"]),
        ("INSERT INTO people (id, name) VALUES (:id, :name)", {"id": 5, "name": "ä\"'\\", "x": 1}),
    ):
        made = await database.call("execute", sql, params)
        assert (made.success, made.result["rows_affected"]) == (True, 1), made.error
    assert await database.rows("SELECT name FROM people WHERE id > ? ORDER BY id", [2]) == [
        {"name": evil},
        {"name": ":name ? $1"},
        {"name": "ä\"'\\"},
    ]
    assert await database.rows("SELECT ':x ? $1' AS a -- :y ?\n", []) == [{"a": ":x ? $1"}]


@ALL
async def test_rows_are_changed_and_deleted(world, server):
    database = await world(server)
    made = await database.call("query", "UPDATE people SET price = ? WHERE id = ?", [2.25, 2])
    assert made.result["rows_affected"] == 1
    made = await database.call("query", "DELETE FROM people WHERE id = ?", [1])
    assert made.result["rows_affected"] == 1
    assert await database.rows("SELECT * FROM people") == [{"id": 2, "name": "Bob", "price": 2.25}]


@ALL
async def test_no_more_rows_than_asked_for(world, server):
    database = await world(server, max_rows=3)
    for number in range(3, 9):
        await database.rows("INSERT INTO people (id, name) VALUES (?, 'x')", [number])
    for given, count in (({}, 3), ({"max_rows": 2}, 2), ({"max_rows": 100}, 3)):
        found = await database.call("query", "SELECT id FROM people ORDER BY id", **given)
        assert len(found.value) == count
        assert found.result["truncated"] is True
    exact = await database.call("query", "SELECT id FROM people WHERE id < 4")
    assert (len(exact.value), exact.result["truncated"]) == (3, False)


@ALL
async def test_tables_are_described(world, server):
    database = await world(server)
    found = await database.call("schema")
    assert found.result["database_type"] == server
    assert found.value == found.result["tables"]
    table = next(table for table in found.value if table["name"] == database.table)
    columns = [
        (column["name"], column["nullable"], column["primary_key"]) for column in table["columns"]
    ]
    assert columns == [("id", False, True), ("name", False, False), ("price", True, False)]
    assert [re.sub(r", ", ",", column["type"]) for column in table["columns"]][1] == "VARCHAR(40)"


@ALL
async def test_values_of_every_type_become_json(world, server):
    database = await world(server)
    queries = {
        "sqlite": "SELECT x'00ff' AS b, 1.5 AS f, 9007199254740993 AS i, NULL AS n, 'ä' AS t",
        "postgresql": "SELECT '\\x00ff'::bytea AS b, 1.5::float8 AS f, 9007199254740993 AS i, "
        "NULL AS n, 'ä' AS t, '2024-01-02 03:04:05'::timestamp AS m, '{\"a\": [1]}'::jsonb AS j, "
        "true AS o, 0.1::numeric AS d, '1 hour'::interval AS s, ARRAY[1, 2] AS l, "
        "'6ec0bd7f-11c0-43da-975e-2a8ad9ebae0b'::uuid AS u",
        "mysql": "SELECT x'00ff' AS b, 1.5e0 AS f, 9007199254740993 AS i, NULL AS n, 'ä' AS t, "
        "timestamp '2024-01-02 03:04:05' AS m, 0.1 AS d",
    }
    everything = {
        "b": "AP8=",
        "f": 1.5,
        "i": 9007199254740993,
        "n": None,
        "t": "ä",
        "m": "2024-01-02T03:04:05",
        "j": {"a": [1]},
        "o": True,
        "d": 0.1,
        "s": 3600.0,
        "l": [1, 2],
        "u": "6ec0bd7f-11c0-43da-975e-2a8ad9ebae0b",
    }
    [row] = await database.rows(queries[server])
    if isinstance(row.get("j"), str):
        row["j"] = everything["j"]
    assert row == {name: everything[name] for name in row}


def test_numbers_stay_exact():
    assert plain(Decimal("1.10")) == 1.1
    assert plain(Decimal("12")) == 12
    assert plain(Decimal("12345678901234567890")) == "12345678901234567890"
    assert plain(Decimal("0.1234567890123456789")) == "0.1234567890123456789"
    assert [plain(float(word)) for word in ("nan", "inf")] == ["nan", "inf"]


async def test_columns_of_the_same_name_are_kept_apart(world):
    database = await world("sqlite")
    sql = "SELECT a.id, b.id FROM people a JOIN people b ON a.id < b.id"
    assert await database.rows(sql) == [{"id": 1, "id_2": 2}]


@SERVERS
async def test_calls_share_a_pool_and_many_at_once_are_served(world, server):
    database = await world(server, max_connections=2)
    sql = "SELECT count(*) AS n FROM people"
    results = await asyncio.gather(*(database.rows(sql) for _ in range(20)))
    assert results == [[{"n": 2}]] * 20
    backend = "pg_backend_pid()" if server == "postgresql" else "connection_id()"
    seen = {(await database.rows(f"SELECT {backend} AS n"))[0]["n"] for _ in range(5)}
    assert len(seen) <= 2
    apart = {
        (await database.rows(f"SELECT {backend} AS n", use_pool=False))[0]["n"] for _ in range(5)
    }
    assert len(apart) == 5


@SERVERS
async def test_a_call_leaves_no_lock_behind(world, server):
    database = await world(server, max_connections=1)
    lock, free = {
        "postgresql": (
            "SELECT pg_advisory_lock(4711) AS x",
            "SELECT pg_try_advisory_lock(4711) AS x",
        ),
        "mysql": ("SELECT get_lock('x4711', 0) AS x", "SELECT get_lock('x4711', 0) AS x"),
    }[server]
    await database.rows(lock)
    await database.rows("SELECT 1 AS a")
    [row] = await database.rows(free, use_pool=False)
    assert row["x"] in (True, 1)


# Where the database is -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sqlite:///x.db", "x.db"),
        ("sqlite:////tmp/x.db", "/tmp/x.db"),
        ("sqlite://x.db", "x.db"),
        ("sqlite://", ""),
        (":memory:", ""),
        ("sqlite://:memory:", ""),
    ],
)
def test_files_are_named_by_url(text, path):
    assert parsed("x", text) == Place("x", "sqlite", path=path)


def test_servers_are_named_by_url():
    place = parsed("x", "mysql+pymysql://me:p%40ss@db.example:3307/shop")
    assert place == Place("x", "mysql", "", "db.example", 3307, "shop", "me", "p@ss")
    assert "p@ss" not in repr(place)
    assert parsed("x", "postgres://h/d").port == 5432


async def test_databases_are_configured_by_name_or_environment(make_services, allowed, monkeypatch):
    for name in ("one", "two", "three"):
        make_file(allowed / f"{name}.db", name)
    monkeypatch.setenv("FOLDER", str(allowed))
    connections = {"main": "sqlite:///${FOLDER}/one.db"}
    services = make_services(database={"connections": connections})

    async def table(**given):
        found = await services.tools.invoke(
            "database-connector", {"operation": "schema", **given}, ExecutionContext(services)
        )
        return [t["name"] for t in found.value] if found.success else found.error

    assert await table() == ["one"]
    assert await table(database="main") == ["one"]
    assert (
        await table(database="sqlite") == "Database query failed: Database 'sqlite' not configured"
    )
    monkeypatch.setenv("DATABASE_SQLITE_PATH", str(allowed / "two.db"))
    assert await table(database="sqlite") == ["two"]
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{allowed}/three.db")
    services = make_services()
    assert await table() == ["three"]
    assert await table(provider="sqlite", database=str(allowed / "one.db")) == ["one"]
    assert "'postgresql' not configured" in await table(database="postgresql")
    assert "Unsupported database type: 'oracle'" in await table(provider="oracle")
    assert "Unsupported database type" in await table(connection_string="oracle://x/y")
    assert "is no database URL" in await table(connection_string="nonsense")
    assert "Missing required parameter 'provider'" in await table(host="localhost")


@SERVERS
async def test_a_server_is_described_piece_by_piece(world, server):
    database = await world(server)
    user = "postgres" if server == "postgresql" else "root"
    given = {"provider": server, "host": "127.0.0.1", "username": user, "database": "test"}
    found = await database.services.tools.invoke(
        "database-connector",
        {"operation": "query", "query": "SELECT 1 AS one", **given},
        ExecutionContext(database.services),
    )
    assert found.value == [{"one": 1}]


async def test_a_database_in_memory_lasts_one_call(world):
    database = await world("sqlite", allow_ddl=True)
    for given in ({"connection_string": ":memory:"}, {"connection_string": "sqlite://"}):
        made = await database.call("execute", "CREATE TABLE x (a)", **given)
        assert made.success, made.error
        gone = await database.call("query", "SELECT * FROM x", **given)
        assert "no such table" in gone.error


# What is refused -----------------------------------------------------------------------------


@ALL
@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("CREATE TABLE x (a int)", "DDL operations (CREATE) are not allowed"),
        ("DROP TABLE people", "DDL operations (DROP) are not allowed"),
        ("  /* x */ alter table people add b int", "DDL operations (ALTER) are not allowed"),
        ("TRUNCATE people", "DDL operations (TRUNCATE) are not allowed"),
        ("SELECT 1; DROP TABLE people", "potentially unsafe patterns: several statements"),
        ("SELECT 1; SELECT 2", "several statements"),
        ("EXPLAIN DELETE FROM people", "Database operation 'EXPLAIN' is not allowed"),
        ("PRAGMA writable_schema = on", "Database operation 'PRAGMA' is not allowed"),
        ("ATTACH 'x' AS y", "Database operation 'ATTACH' is not allowed"),
        ("SET autocommit = 1", "Database operation 'SET' is not allowed"),
        ("CALL danger()", "Database operation 'CALL' is not allowed"),
        ("EXEC xp_cmdshell('ls')", "the function xp_cmdshell"),
        ("SELECT sp_who()", "the function sp_who"),
        ("SELECT load_extension('x')", "the function load_extension"),
        ("SELECT pg_read_file('/etc/passwd')", "the function pg_read_file"),
        ('SELECT "pg_read_file"($$/etc/passwd$$)', "unsafe|does not exist|near|syntax"),
        ("SELECT * INTO x FROM people", "Database operation 'SELECT INTO' is not allowed"),
        (
            "SELECT name FROM people WHERE id = 1 UNION SELECT 'x' WHERE 1=1",
            "UNION with a condition that always holds",
        ),
        ("SELECT 'x", "a text does not end"),
        ("SELECT 1 /* x", "a comment does not end"),
        ("SELECT 1 \0", "a NUL character"),
        ("", "The query is empty"),
        (" -- nothing\n ;", "The query is empty"),
        ("123", "The query begins with '123'"),
        ("SELECT nope FROM people", "nope"),
    ],
)
async def test_statements_that_are_refused(world, server, sql, words):
    database = await world(server)
    error = await database.error(sql)
    assert error.startswith("Database query failed: ")
    assert words in error or re.search(words, error)
    assert await database.rows("SELECT * FROM people ORDER BY id") == ROWS


async def test_what_servers_read_differently_is_refused(world):
    database = await world("mysql")
    for sql, words in (
        ("SELECT 1 /*! UNION SELECT load_file('/etc/passwd') */", "some servers execute"),
        ("SELECT 1 /*M! + 1 */", "some servers execute"),
        ("SELECT '\\' OR 1=1 -- '", "a backslash before a quote"),
        ("SELECT 5 --load_file('/etc/passwd')", "the function load_file"),
        ("SELECT name FROM people INTO OUTFILE '/tmp/x'", "'SELECT INTO' is not allowed"),
    ):
        assert words in await database.error(sql)
    database = await world("postgresql")
    for sql, words in (
        ("SELECT U&'\\0041'", "Unicode escapes"),
        ("SELECT 1 /* /* */ ; DROP TABLE people */", None),
        ("SELECT E'\\'; DROP TABLE people; --' AS x", None),
        ("SELECT $a$; DROP TABLE people$a$ AS x", None),
        ("SELECT set_config('transaction_read_only', 'off', false)", "the function set_config"),
    ):
        result = await database.call("query", sql)
        assert result.success if words is None else words in result.error
    assert len(await database.rows("SELECT id FROM people")) == 2


@ALL
async def test_writing_can_be_switched_off_and_creating_on(world, server):
    database = await world(server, allow_dml=False)
    for sql in (
        "INSERT INTO people (id, name) VALUES (9, 'x')",
        "UPDATE people SET name = 'x'",
        "DELETE FROM people",
        "WITH x AS (SELECT 1) DELETE FROM people",
    ):
        assert re.search(r"DML operations \(\w+\) are not allowed", await database.error(sql))
    assert await database.rows("SELECT * FROM people ORDER BY id") == ROWS
    database = await world(server, allow_ddl=True)
    await database.rows("CREATE TABLE people_2 (a INTEGER)")
    await database.rows("INSERT INTO people_2 VALUES (1)")
    await database.rows("DROP TABLE people_2")


@ALL
async def test_the_kind_that_is_named_must_be_the_one_it_is(world, server):
    database = await world(server)
    error = await database.error("DELETE FROM people", query_type="SELECT")
    assert error == "Database query failed: query_type is SELECT, and the query is DELETE"
    assert await database.rows("SELECT 1 AS a", query_type="select") == [{"a": 1}]


@ALL
async def test_places_and_values_must_fit(world, server):
    database = await world(server)
    for sql, params, words in (
        ("SELECT ?", [1, 2], "1 places for values, and params are 2"),
        ("SELECT ? + $1", [1], "places for values"),
        ("SELECT :a", [1], "places for values"),
        ("SELECT :a", {"b": 1}, "names ':a', and params do not"),
        ("SELECT 1", [1], "0 places for values"),
        ("SELECT 1", "x", "Invalid type for parameter 'params'"),
    ):
        assert words in await database.error(sql, params)


# Enforced by the database itself -------------------------------------------------------------


@SERVERS
async def test_a_server_refuses_to_write_in_a_read_only_transaction(world, server):
    """What the text looks like plays no part here: the statements are sent as they are."""
    from llmspell_tools.data._database_server import Server
    from llmspell_tools.data._settings import DatabaseConfig

    database = await world(server)
    connection = Server(parsed("x", database.url), DatabaseConfig(), 1)
    t = database.table
    statements = [f"DELETE FROM {t}", f"INSERT INTO {t} (id, name) VALUES (7, 'x')"]
    statements += [f"DROP TABLE {t}", f"CREATE TABLE {t}_2 (a int)"]
    if server == "postgresql":
        statements += [
            f"WITH x AS (DELETE FROM {t} RETURNING id) SELECT * FROM x",
            f"SELECT set_config('transaction_read_only', 'off', true) WHERE EXISTS "
            f"(SELECT 1 FROM {t})",
            "SELECT 1; DROP TABLE people",
        ]
    try:
        for sql in statements:
            with pytest.raises(StorageError):
                await connection.run(sql, {}, 10, writes=False)
    finally:
        await connection.aclose()
    assert await database.rows("SELECT * FROM people ORDER BY id") == ROWS


def test_sqlite_refuses_what_its_authorizer_does_not_allow(allowed):
    path = make_file(allowed / "x.db")
    other = make_file(allowed / "y.db")
    file = SqliteFile(str(path), "x.db", 5.0)
    for kind, sql in (
        ("SELECT", "DELETE FROM people"),
        ("SELECT", "INSERT INTO people (id, name) VALUES (7, 'x')"),
        ("SELECT", "DROP TABLE people"),
        ("SELECT", f"ATTACH '{other}' AS y"),
        ("SELECT", "PRAGMA writable_schema = on"),
        ("SELECT", "SELECT * FROM pragma_database_list"),
        ("SELECT", "SELECT load_extension('x')"),
        ("SELECT", f"VACUUM INTO '{allowed}/z.db'"),
        ("SELECT", "CREATE TEMP TABLE t (a)"),
        ("DELETE", "DROP TABLE people"),
        ("DELETE", "CREATE TABLE t (a)"),
        ("DELETE", f"ATTACH '{other}' AS y"),
        ("CREATE", f"ATTACH '{other}' AS y"),
        ("CREATE", "PRAGMA journal_mode = wal"),
    ):
        with pytest.raises((SecurityError, StorageError)):
            SqliteFile(str(path), "x.db", 5.0).run(Stop(), kind, sql, {}, 10)
    rows, _ = file.run(Stop(), "SELECT", "SELECT * FROM people ORDER BY id", {}, 10)
    assert rows.rows == ROWS
    assert sorted(os.listdir(allowed)) == ["x.db", "y.db"]


def test_sqlite_takes_no_values_without_end(allowed):
    file = SqliteFile(str(make_file(allowed / "x.db")), "x.db", 5.0)
    with pytest.raises(StorageError, match="too big"):
        file.run(Stop(), "SELECT", "SELECT zeroblob(1000000000)", {}, 10)
    wide = "SELECT hex(zeroblob(4000000)) FROM people a, people b, people c, people d"
    rows, _ = file.run(Stop(), "SELECT", wide, {}, 100)
    assert rows.truncated
    assert len(rows.rows) == 2


# Files ---------------------------------------------------------------------------------------


async def test_files_follow_the_path_policy(make_services, allowed, secret):
    make_file(secret / "x.db")
    (allowed / "link.db").symlink_to(secret / "x.db")
    home = allowed.parent / "home"
    home.mkdir()
    make_file(home / "state.db")
    services = make_services(file_operations={"allowed_paths": [str(allowed), str(home)]})
    database = World(services, "", "people")
    for path in (secret / "x.db", allowed / "link.db", home / "state.db"):
        result = await database.call("query", "SELECT 1", connection_string=f"sqlite:///{path}")
        assert (result.success, result.error_details["kind"]) == (False, "security")
    readable = make_file(allowed.parent / "work" / "r.db")
    url = f"sqlite:///{readable}"
    assert await database.rows("SELECT id FROM people", connection_string=url)
    written = await database.error("DELETE FROM people", connection_string=url)
    assert "Path not allowed" in written
    for path in ("none.db", "x.db?mode=rwc", "sub/none.db"):
        gone = await database.error("SELECT 1", connection_string=f"sqlite:///{allowed}/{path}")
        assert "Failed to access path" in gone
    (allowed / "text.db").write_text("no database")
    wrong = await database.error(
        "SELECT 1 FROM x", connection_string=f"sqlite:///{allowed}/text.db"
    )
    assert "not a database" in wrong
    assert sorted(os.listdir(allowed)) == ["link.db", "text.db"]


async def test_a_link_put_in_the_way_never_opens_another_database(make_services, allowed, secret):
    """Somebody swaps the database for a link to a secret one, over and over."""
    make_file(secret / "x.db", "secrets")
    path = make_file(allowed / "x.db")
    done = threading.Event()

    def swap():
        while not done.is_set():
            path.rename(allowed / "aside")
            path.symlink_to(secret / "x.db")
            path.unlink()
            (allowed / "aside").rename(path)

    thread = threading.Thread(target=swap)
    thread.start()
    database = World(make_services(), f"sqlite:///{path}", "people")
    seen = set()
    try:
        for _ in range(150):
            result = await database.call("schema")
            seen |= {table["name"] for table in result.value} if result.success else {"refused"}
    finally:
        done.set()
        await asyncio.to_thread(thread.join)
    assert seen <= {"people", "refused"}


# Ends ----------------------------------------------------------------------------------------

FOREVER = {
    "sqlite": "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) "
    "SELECT max(n) FROM r",
    "postgresql": "SELECT pg_sleep(60) AS {}",
    "mysql": "SELECT sleep(60) AS {}",
}
RUNNING = {
    "postgresql": "SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'active' "
    "AND query LIKE :like AND pid <> pg_backend_pid()",
    "mysql": "SELECT count(*) AS n FROM information_schema.processlist WHERE info LIKE :like "
    "AND id <> connection_id()",
}


@ALL
async def test_a_statement_that_takes_too_long_is_ended(world, server):
    database = await world(server, query_timeout_seconds=0.3)
    result = await database.call("query", FOREVER[server].format("x"))
    assert result.error == "Database query failed: timed out after 0.3 seconds"
    assert result.error_details["code"] == "TIMEOUT"
    assert await database.rows("SELECT count(*) AS n FROM people") == [{"n": 2}]


@SERVERS
async def test_a_cancelled_call_ends_its_statement_at_the_server(world, server):
    database = await world(server)
    mark = f"m{uuid.uuid4().hex}"

    async def running():
        like = {"like": f"%sleep(60) AS {mark}%"}
        return (await database.rows(RUNNING[server], like, use_pool=False))[0]["n"]

    async def until(count):
        for _ in range(1000):
            if await running() == count:
                return
            await asyncio.sleep(0.02)
        pytest.fail(f"there are not {count} such statements")

    task = asyncio.ensure_future(database.call("query", FOREVER[server].format(mark)))
    await until(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(0)
    assert await database.rows("SELECT count(*) AS n FROM people") == [{"n": 2}]


async def test_a_cancelled_call_ends_its_work_on_a_file(world):
    database = await world("sqlite")
    with pytest.raises(LLMTimeoutError):
        await database.services.tools.invoke(
            "database-connector",
            {
                "operation": "query",
                "query": FOREVER["sqlite"],
                "connection_string": database.url,
            },
            database.context,
            timeout_seconds=0.3,
        )
    assert len(await database.rows("SELECT id FROM people")) == 2


@ALL
async def test_what_failed_half_way_changed_nothing(world, server):
    database = await world(server)
    error = await database.error("INSERT INTO people (id, name) VALUES (3, 'x'), (1, 'twice')")
    assert re.search("UNIQUE|unique|Duplicate", error)
    assert await database.rows("SELECT * FROM people ORDER BY id") == ROWS


# Servers -------------------------------------------------------------------------------------


@SERVERS
async def test_passwords_stand_in_no_error_and_no_record(world, server):
    from llmspell_core import Recording, RunRecord
    from llmspell_kernel import MemoryLedger

    database = await world(server)
    ledger = MemoryLedger()
    ledger.open_run(RunRecord("run", "run", 0.0))
    database.context = ExecutionContext(database.services, effects=Recording(ledger, "run"))
    url = URLS[server].replace("root@", "nobody:hunter2@").replace("postgres@", "nobody:hunter2@")
    wrong = await database.call("query", "SELECT 1", connection_string=url)
    assert not wrong.success
    port = url.replace("127.0.0.1", "127.0.0.1:1")
    closed = await database.call("query", "SELECT 1", connection_string=port)
    assert "cannot be reached" in closed.error
    assert closed.error_details["retryable"] is True
    for result in (wrong, closed):
        assert "hunter2" not in f"{result.error} {result.error_details}"
    kept = repr(list(ledger.effects("run")))
    assert "SELECT 1" in kept
    assert "hunter2" not in kept


async def test_only_allowed_hosts_are_asked(make_services):
    services = make_services(database={"allowed_hosts": ["db.example", "*.internal.example"]})
    database = World(services, "", "people")
    for host, allowed in (
        ("localhost", False),
        ("127.0.0.1", False),
        ("internal.example", False),
        ("db.example.evil.example", False),
        ("x.internal.example", True),
    ):
        url = f"postgresql://u@{host}:1/x"
        given = {"provider": "mysql", "host": host, "port": 1}
        for call in ({"connection_string": url}, given):
            result = await database.call("query", "SELECT 1", **{"connection_string": None, **call})
            assert ("host not allowed" in result.error) is not allowed
    options = "postgresql://u@db.example/x?host=/var/run/postgresql"
    assert "takes no options" in await database.error("SELECT 1", connection_string=options)


async def test_a_missing_package_is_named_with_the_line_that_installs_it(
    make_services, monkeypatch
):
    import sys

    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    database = World(make_services(), URLS["postgresql"], "people")
    with pytest.raises(ConfigurationError) as caught:
        await database.call("query", "SELECT 1")
    assert caught.value.hint == "pip install 'llmspell-tools[sql]'"


async def test_statements_are_logged_on_request(world, caplog):
    database = await world("sqlite", enable_query_logging=True)
    with caplog.at_level("INFO", "llmspell.tools.database"):
        await database.rows("SELECT ? AS x", ["secret value"])
    assert "SELECT ? AS x" in caplog.text
    assert "secret value" not in caplog.text


def test_statements_say_what_they_may_do():
    tool = DatabaseConnector()

    def about(sql):
        given = {"operation": "query", "query": sql}
        return tool.effect_of(given), tool.destructive_of(given), tool.read_only_of(given)

    reading = (EffectClass.PURE, False, True)
    harming = (EffectClass.IRREVERSIBLE, True, False)
    assert about("SELECT 1") == about("WITH x AS (SELECT 1) SELECT * FROM x") == reading
    assert about("INSERT INTO x VALUES (1)") == (EffectClass.IRREVERSIBLE, False, False)
    assert about("DELETE FROM x") == about("UPDATE x SET a = 1") == about("DROP TABLE x") == harming
    assert about("SELECT 'x") == harming
    assert tool.effect_of({"operation": "schema"}) is EffectClass.PURE
    assert not tool.destructive_of({"operation": "schema"})
    assert tool.schema.sensitive == {"connection_string", "password"}
