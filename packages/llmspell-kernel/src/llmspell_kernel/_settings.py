"""The configuration section `runtime`."""

from __future__ import annotations

from dataclasses import dataclass

from llmspell_core import setting


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """How scripts are run."""

    max_concurrent_scripts: int = setting(
        10,
        help="Executions at a time; more wait their turn",
        env=("LLMSPELL_MAX_CONCURRENT_SCRIPTS",),
        above_zero=True,
    )
    script_timeout_seconds: float = setting(
        300.0,
        help="A script that runs longer is ended with a time-out error",
        env=("LLMSPELL_SCRIPT_TIMEOUT_SECONDS",),
        unit="seconds",
        above_zero=True,
    )
