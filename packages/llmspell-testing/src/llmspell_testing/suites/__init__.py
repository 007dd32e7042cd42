"""One conformance suite for each abstract base of `llmspell_core`. Needs pytest.

A suite is a class of tests; subclass it under a name pytest collects, override its fixtures, and
the tests hold your implementation to the contract::

    class TestMyBackend(StorageBackendSuite):
        @pytest.fixture
        def backend(self, tmp_path):
            return MyBackend(tmp_path / "data.db")

The tests are ``async def``: run them with pytest-asyncio and ``asyncio_mode = "auto"``. A
fixture may be an async generator that closes what it opened.
"""

from typing import TYPE_CHECKING

import pytest

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_testing.suites._components import AgentSuite as AgentSuite
    from llmspell_testing.suites._components import ComponentSuite as ComponentSuite
    from llmspell_testing.suites._components import ToolSuite as ToolSuite
    from llmspell_testing.suites._components import WorkflowSuite as WorkflowSuite
    from llmspell_testing.suites._engine import Programs as Programs
    from llmspell_testing.suites._engine import ScriptEngineSuite as ScriptEngineSuite
    from llmspell_testing.suites._events import EventBusSuite as EventBusSuite
    from llmspell_testing.suites._hooks import HookExecutorSuite as HookExecutorSuite
    from llmspell_testing.suites._ledger import RunLedgerSuite as RunLedgerSuite
    from llmspell_testing.suites._provider import ProviderSuite as ProviderSuite
    from llmspell_testing.suites._retrieval import ChunkerSuite as ChunkerSuite
    from llmspell_testing.suites._retrieval import EmbedderSuite as EmbedderSuite
    from llmspell_testing.suites._state import StateStoreSuite as StateStoreSuite
    from llmspell_testing.suites._storage import StorageBackendSuite as StorageBackendSuite
    from llmspell_testing.suites._vectors import VectorStoreSuite as VectorStoreSuite

__all__ = [
    "AgentSuite",
    "ChunkerSuite",
    "ComponentSuite",
    "EmbedderSuite",
    "EventBusSuite",
    "HookExecutorSuite",
    "Programs",
    "ProviderSuite",
    "RunLedgerSuite",
    "ScriptEngineSuite",
    "StateStoreSuite",
    "StorageBackendSuite",
    "ToolSuite",
    "VectorStoreSuite",
    "WorkflowSuite",
]

_HOMES = {
    "AgentSuite": "_components",
    "ChunkerSuite": "_retrieval",
    "ComponentSuite": "_components",
    "EmbedderSuite": "_retrieval",
    "EventBusSuite": "_events",
    "HookExecutorSuite": "_hooks",
    "Programs": "_engine",
    "ProviderSuite": "_provider",
    "RunLedgerSuite": "_ledger",
    "ScriptEngineSuite": "_engine",
    "StateStoreSuite": "_state",
    "StorageBackendSuite": "_storage",
    "ToolSuite": "_components",
    "VectorStoreSuite": "_vectors",
    "WorkflowSuite": "_components",
}

# So that a failing assertion of a suite shows its values, as one of the test's own would.
pytest.register_assert_rewrite(*(f"{__name__}.{home}" for home in sorted({*_HOMES.values()})))

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
