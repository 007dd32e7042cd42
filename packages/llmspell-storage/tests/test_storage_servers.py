"""Storage on the PostgreSQL and MariaDB of this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Any

import pytest

from llmspell_core import ConfigurationError, StorageBackend, StorageError
from llmspell_storage import ServerStorage, open_mariadb, open_postgres
from llmspell_testing import StorageBackendSuite, make_services

pytestmark = pytest.mark.xdist_group("servers")
OnServer = Callable[..., ServerStorage]
SERVERS = pytest.mark.parametrize("server", ["postgres", "mariadb"])


class _ServerSuite(StorageBackendSuite):
    server: str

    @pytest.fixture
    async def backend(self, on_server: OnServer) -> AsyncIterator[StorageBackend]:
        store = on_server(self.server)
        yield store
        await store.aclose()
        again = on_server(self.server, store=store.store)
        await again.clear()
        await again.aclose()

    @pytest.fixture
    def reopen(self, backend: ServerStorage, on_server: OnServer) -> Callable[[], StorageBackend]:
        return lambda: on_server(self.server, store=backend.store)

    @pytest.fixture
    def another(self, on_server: OnServer) -> StorageBackend:
        return on_server(self.server)


class TestPostgresStorage(_ServerSuite):
    server = "postgres"


class TestMariaDbStorage(_ServerSuite):
    server = "mariadb"


@SERVERS
async def test_processes_that_open_a_new_database_together_all_find_its_table(
    server: str, on_server: OnServer, new_database: Callable[[str], Any]
) -> None:
    async with new_database(server) as url:
        stores = [on_server(server, store="s", url=url) for _ in range(6)]
        await asyncio.gather(*(s.set(f"k{n}", b"x") for n, s in enumerate(stores)))
        assert await stores[0].list_keys() == [f"k{n}" for n in range(6)]
        await asyncio.gather(*(s.aclose() for s in stores))


@SERVERS
async def test_a_database_of_a_newer_version_is_refused_and_left_alone(
    server: str, on_server: OnServer, new_database: Callable[[str], Any]
) -> None:
    async with new_database(server) as url:
        first = on_server(server, store="s", url=url)
        await first.set("k", b"kept")
        engine = await first._opened.get()
        from sqlalchemy import text

        async with engine.begin() as connection:
            await connection.execute(text("UPDATE llmspell_storage_version SET version_num='9999'"))
        second = on_server(server, store="s", url=url)
        with pytest.raises(StorageError, match=r"newer version \(format 9999") as caught:
            await second.get("k")
        assert caught.value.code == "STORAGE_NEWER"
        assert await first.get("k") == b"kept"
        await first.aclose()


@SERVERS
async def test_a_server_that_is_not_there_is_named_without_the_password(
    server: str, on_server: OnServer
) -> None:
    scheme = {"postgres": "postgresql", "mariadb": "mariadb"}[server]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        store = on_server(server, url=f"{scheme}://me:very-secret@127.0.0.1:{port}/none")
        with pytest.raises(StorageError, match="cannot be reached") as caught:
            await store.get("k")
    assert "very-secret" not in f"{caught.value} {caught.value.hint} {store.place}"
    assert f"127.0.0.1:{port}" in str(caught.value)


@SERVERS
async def test_a_connection_that_the_server_ended_is_replaced(
    server: str, on_server: OnServer
) -> None:
    store = on_server(server, pool_size=1)
    await store.set("k", b"1")
    engine = await store._opened.get()
    from sqlalchemy import text

    other = on_server(server)
    await other.stats()
    async with engine.connect() as mine:
        what = "pg_backend_pid()" if server == "postgres" else "CONNECTION_ID()"
        number = (await mine.execute(text(f"SELECT {what}"))).scalar_one()
    async with (await other._opened.get()).begin() as killer:
        end = "SELECT pg_terminate_backend(:n)" if server == "postgres" else "KILL :n"
        await killer.execute(text(end), {"n": number})
    assert await store.get("k") == b"1"
    await store.clear()
    await store.aclose()
    await other.aclose()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "needs an address"),
        ({"url": "mariadb://root@127.0.0.1/test"}, "names 'mariadb', not PostgreSQL"),
        ({"url": "nonsense"}, "is not a URL"),
        ({"url": "postgresql://root@127.0.0.1"}, "names no database"),
    ],
)
def test_an_address_that_does_not_fit_is_refused(
    config: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    services = make_services({"storage": {"postgres": config}})
    with pytest.raises(ConfigurationError, match=words):
        open_postgres(services, name="state")


def test_the_address_comes_from_the_environment_where_it_is_one_of_the_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://me:a-password@host/base")
    services = make_services()
    assert open_postgres(services, name="state").place == "postgresql://me:***@host/base"
    assert services.secrets.redact("a-password") != "a-password"
    with pytest.raises(ConfigurationError, match="needs an address"):
        open_mariadb(services, name="state")


def test_parts_and_variables_make_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "p@ss/word")
    services = make_services(
        {
            "storage": {
                "mariadb": {
                    "host": "db",
                    "username": "me",
                    "password": "${DB_PASSWORD}",
                    "database": "llmspell",
                }
            }
        }
    )
    store = open_mariadb(services, name="state")
    assert store.place == "mariadb://me:***@db/llmspell"
    assert store._url.password == "p@ss/word"


@SERVERS
async def test_a_database_of_the_first_version_opens_with_all_it_holds(
    server: str, on_server: OnServer, new_database: Callable[[str], Any]
) -> None:
    async with new_database(server) as url:
        await _made_by_the_first_version(server, url)
        stores = [on_server(server, store="s", url=url) for _ in range(3)]
        assert await asyncio.gather(*(s.get("k") for s in stores)) == [b"\x00\xff"] * 3
        await stores[0].set("soon", b"x", expires_at=1.0)
        assert await stores[1].list_keys() == ["k"]
        await asyncio.gather(*(s.aclose() for s in stores))


async def _made_by_the_first_version(server: str, url: str) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import Connection, make_url, text
    from sqlalchemy.ext.asyncio import create_async_engine

    driver = {"postgres": "postgresql+asyncpg", "mariadb": "mariadb+asyncmy"}[server]
    engine = create_async_engine(make_url(url).set(drivername=driver))

    def upgrade(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", "llmspell_storage:server/migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text("INSERT INTO llmspell_entries VALUES('s', :digest, :key, :key, :value)"),
            {"digest": sha256(b"k").digest(), "key": b"k", "value": b"\x00\xff"},
        )

    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()
