"""Which ledger the service `ledger` is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from llmspell_kernel._sqlite_ledger import SqliteLedger

if TYPE_CHECKING:
    from llmspell_core import RunLedger, Services


def open_ledger(services: Services) -> RunLedger:
    """The service ``ledger``: ``runs.db`` in the data directory, opened at the first use."""
    return SqliteLedger(os.path.join(services.config.home, "runs.db"))
