"""The section ``[runtime.security]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmspell_core import setting


@dataclass(frozen=True, slots=True)
class RuntimeSecurityConfig:
    """What a script may do directly, through its language's own library.

    Tools follow ``[tools]`` instead, and model providers are never blocked by it.
    """

    allow_file_access: bool = setting(
        False,
        help="let scripts read and write files anywhere, not only in the allowed paths",
        env=("LLMSPELL_ALLOW_FILE_ACCESS",),
    )
    allow_network_access: bool = setting(
        True,
        help="told to scripts by Config.isNetworkAccessAllowed; their library has no sockets",
        env=("LLMSPELL_ALLOW_NETWORK_ACCESS",),
    )
    allow_process_spawn: bool = setting(
        False,
        help="let scripts start programs (os.execute, io.popen)",
        env=("LLMSPELL_ALLOW_PROCESS_SPAWN",),
    )
    max_memory_bytes: int | None = setting(
        50_000_000,
        help="heap of a script state; unset means no limit",
        env=("LLMSPELL_MAX_MEMORY_BYTES",),
        unit="bytes",
        above_zero=True,
    )
    max_execution_time_ms: int | None = setting(
        300_000,
        help="how long a script may run at most, whatever runtime.script_timeout_seconds says",
        env=("LLMSPELL_MAX_EXECUTION_TIME_MS",),
        unit="milliseconds",
        above_zero=True,
    )
    config_permissions: Literal["read_only", "standard", "full"] = setting(
        "standard",
        help="what scripts may change through Config: nothing, folders for tools, or all but "
        "the three switches above",
    )
