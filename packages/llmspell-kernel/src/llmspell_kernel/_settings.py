"""The configuration sections `runtime` and `runtime.budget`."""

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


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """What each execution may spend on models; what is not set is not limited."""

    cost: float | None = setting(None, help="US dollars", above_zero=True)
    tokens: int | None = setting(None, help="Tokens, prompts and answers together", above_zero=True)
    calls: int | None = setting(None, help="Model calls", above_zero=True)
    seconds: float | None = setting(
        None, help="From the start of the execution", unit="seconds", above_zero=True
    )
    soft: float = setting(
        0.8, help="The part of a limit from which on agents are told to finish", above_zero=True
    )
