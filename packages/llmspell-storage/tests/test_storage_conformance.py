"""The conformance suites of the bases this package implements."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from llmspell_core import StorageBackend, VectorStore
from llmspell_storage import MemoryStorage, SqliteStorage, SqliteVectorStore
from llmspell_testing import StorageBackendSuite, VectorStoreSuite


class TestMemoryStorage(StorageBackendSuite):
    @pytest.fixture
    def backend(self) -> StorageBackend:
        return MemoryStorage()

    @pytest.fixture
    def another(self) -> StorageBackend:
        return MemoryStorage()


class TestSqliteStorage(StorageBackendSuite):
    @pytest.fixture
    async def backend(self, tmp_path: Path) -> AsyncIterator[StorageBackend]:
        store = SqliteStorage(str(tmp_path / "data" / "state.db"))
        yield store
        await store.aclose()

    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Callable[[], StorageBackend]:
        return lambda: SqliteStorage(str(tmp_path / "data" / "state.db"))

    @pytest.fixture
    async def another(self, tmp_path: Path) -> AsyncIterator[StorageBackend]:
        store = SqliteStorage(str(tmp_path / "other.db"))
        yield store
        await store.aclose()


class TestVectorsInMemory(VectorStoreSuite):
    @pytest.fixture
    async def store(self) -> AsyncIterator[VectorStore]:
        store = SqliteVectorStore(None)
        yield store
        await store.aclose()


class TestVectorsInAFile(VectorStoreSuite):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[VectorStore]:
        store = SqliteVectorStore(str(tmp_path / "data" / "rag.db"))
        yield store
        await store.aclose()

    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Callable[[], VectorStore]:
        return lambda: SqliteVectorStore(str(tmp_path / "data" / "rag.db"))


class TestVectorsThroughAnIndex(TestVectorsInAFile):
    """The same promises when every vector but the newest is answered for by the index."""

    @pytest.fixture(autouse=True)
    def index_everything(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("hnswlib")
        monkeypatch.setattr("llmspell_storage._vector_sqlite.BUILD_FROM", 1)
        monkeypatch.setattr("llmspell_storage._vector_space.SCAN", 0)
