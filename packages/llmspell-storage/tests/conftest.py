import os
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmspell_storage import ServerConfig, ServerStorage, open_mariadb, open_postgres
from llmspell_testing import make_services

Program = Callable[..., subprocess.CompletedProcess[str]]
OnServer = Callable[..., ServerStorage]

_URLS = {
    "postgres": "postgresql://postgres@127.0.0.1/test",
    "mariadb": "mariadb://root@127.0.0.1/test",
}
_PORTS = {"postgres": 5432, "mariadb": 3306}
_OPENERS: dict[str, Any] = {"postgres": open_postgres, "mariadb": open_mariadb}


@pytest.fixture
def on_server() -> OnServer:
    """Opens a store on a database server of this machine; skips where there is none, unless
    LLMSPELL_TEST_SERVERS is ``required``.
    """

    def open_on(server: str, *, store: str | None = None, **config: Any) -> ServerStorage:
        pytest.importorskip("sqlalchemy", reason="llmspell-storage[postgres,mariadb] is missing")
        try:
            socket.create_connection(("127.0.0.1", _PORTS[server]), 5).close()
        except OSError:
            if os.environ.get("LLMSPELL_TEST_SERVERS") == "required":
                raise
            pytest.skip(f"no {server} listens on this machine")
        section = ServerConfig(**{"url": _URLS[server], "pool_size": 10, **config})
        services = make_services({"storage": {server: section}})
        return _OPENERS[server](services, name=store or f"t-{uuid.uuid4().hex}")

    return open_on


@pytest.fixture
def new_database(on_server: OnServer) -> Callable[[str], AbstractAsyncContextManager[str]]:
    """Makes an empty database on a server, and drops it afterwards; gives its URL."""

    @asynccontextmanager
    async def make(server: str) -> AsyncIterator[str]:
        from sqlalchemy import text

        maintenance = on_server(server)
        await maintenance.stats()
        engine = (await maintenance._opened.get()).execution_options(isolation_level="AUTOCOMMIT")
        name = f"llmspell_{uuid.uuid4().hex}"
        async with engine.connect() as connection:
            await connection.execute(text(f"CREATE DATABASE {name}"))
        try:
            yield _URLS[server].rpartition("/")[0] + f"/{name}"
        finally:
            async with engine.connect() as connection:
                force = " WITH (FORCE)" if server == "postgres" else ""
                await connection.execute(text(f"DROP DATABASE {name}{force}"))
            await maintenance.aclose()

    return make


@pytest.fixture
def python() -> Program:
    """Runs Python code in a process of its own."""

    def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Callable[[str, str], subprocess.CompletedProcess[str]]:
    """Runs Python code with a file system of its own at the path it gets as its argument."""
    place = tmp_path / "disk"
    place.mkdir()

    def run(code: str, options: str) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "program.py"
        script.write_text(code)
        mount = f"mount -t tmpfs -o {options} tmpfs {place}"
        done = subprocess.run(
            [
                "unshare",
                "-rm",
                "sh",
                "-c",
                f"{mount} || exit 77; {sys.executable} {script} {place}",
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode == 77 or "unshare" in done.stderr:
            pytest.skip("this system does not let a test mount a file system")
        return done

    return run
