"""The LLMSpell kernel: runtime, run ledger, state."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_kernel._execution import Execution as Execution
    from llmspell_kernel._kernel import Kernel as Kernel
    from llmspell_kernel._memory_ledger import MemoryLedger as MemoryLedger
    from llmspell_kernel._settings import RuntimeConfig as RuntimeConfig
    from llmspell_kernel._sqlite_ledger import SqliteLedger as SqliteLedger
    from llmspell_kernel._state import StateService as StateService
    from llmspell_kernel._state_settings import StatePersistenceConfig as StatePersistenceConfig

__all__ = [
    "Execution",
    "Kernel",
    "MemoryLedger",
    "RuntimeConfig",
    "SqliteLedger",
    "StatePersistenceConfig",
    "StateService",
]

_HOMES = {
    "Execution": "_execution",
    "Kernel": "_kernel",
    "MemoryLedger": "_memory_ledger",
    "RuntimeConfig": "_settings",
    "SqliteLedger": "_sqlite_ledger",
    "StatePersistenceConfig": "_state_settings",
    "StateService": "_state",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
