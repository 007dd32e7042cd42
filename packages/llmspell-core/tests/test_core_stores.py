"""What the bases of stores make of the methods a back end writes."""

import pytest

from llmspell_core import StateUsage, StorageBackend, StorageStats, VectorStore
from llmspell_testing import (
    BackendDouble,
    StateDouble,
    StorageBackendSuite,
    VectorsDouble,
    VectorStoreSuite,
    make_context,
)


class TestBackendMadeOfThreeMethods(StorageBackendSuite):
    """`BackendDouble` writes `get`, `write` and `scan` only."""

    @pytest.fixture
    def backend(self) -> StorageBackend:
        return BackendDouble()


class TestVectorsMadeOfTheLeast(VectorStoreSuite):
    """`VectorsDouble` leaves `replace_many` to the base."""

    @pytest.fixture
    def store(self) -> VectorStore:
        return VectorsDouble()


async def test_state_counts_itself() -> None:
    state, context = StateDouble(), make_context(tenant="acme")
    assert await state.usage(context) == StateUsage(0, 0, {})
    await state.set_many("global", {"a": "ü", "b": [1, 2]}, context)
    await state.set("agent:x", "c", {"k": None}, context)
    assert await state.usage(context) == StateUsage(3, 4 + 5 + 10, {"agent:x": 1, "global": 2})
    assert await state.usage(make_context()) == StateUsage(0, 0, {})


async def test_a_back_end_counts_itself() -> None:
    backend = BackendDouble()
    await backend.set_batch({"a": b"12", "b": b""})
    assert await backend.stats() == StorageStats(2, 2)
    await backend.aclose()
