"""The configuration section `runtime.state_persistence`."""

from __future__ import annotations

from dataclasses import dataclass

from llmspell_core import setting


@dataclass(frozen=True, slots=True)
class StatePersistenceConfig:
    """Where the values of the `State` global are kept."""

    enabled: bool = setting(
        True,
        help="Keep state on disk; false keeps it in memory for as long as the program runs",
        env=("LLMSPELL_STATE_ENABLED",),
    )
    backend_type: str = setting(
        "sqlite",
        help="sqlite (also named sled or file), memory, or an installed storage plugin",
        env=("LLMSPELL_STATE_BACKEND",),
    )
    schema_directory: str | None = setting(
        None,
        help="Directory of the store; the default is the data directory",
        env=("LLMSPELL_STATE_PATH",),
    )
    max_state_size_bytes: int = setting(
        10_000_000,
        help="Largest single value, as JSON",
        env=("LLMSPELL_STATE_MAX_SIZE_BYTES",),
        unit="bytes",
        above_zero=True,
    )
