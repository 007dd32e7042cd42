"""`Launch`: all that a recorded run was started from, so that it can be started again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmspell_core import ReplayError, ScriptArguments, Source, from_canonical

if TYPE_CHECKING:
    from llmspell_core import Config, ExecutionContext, RunLedger, Secrets

_KINDS = ("configuration", "script.source", "script.arguments", "execution")


class Launch:
    """A script with its arguments, engine, tenant, time limit (seconds), budget (the fields of
    `BudgetLimits`, None: no limit) and settings, the last without secrets (`recordable`), and
    only where they are recorded.
    """

    # Not a dataclass: making one costs a millisecond of every start.
    __slots__ = ("arguments", "budget", "engine", "home", "settings", "source", "tenant",
                 "timeout_seconds")  # fmt: skip

    def __init__(
        self,
        source: Source,
        arguments: ScriptArguments,
        *,
        engine: str,
        timeout_seconds: float,
        tenant: str | None,
        settings: Mapping[str, Any],
        home: str,
        budget: Mapping[str, Any] | None = None,
    ) -> None:
        self.source = source
        self.arguments = arguments
        self.engine = engine
        self.timeout_seconds = timeout_seconds
        self.tenant = tenant
        self.settings = settings
        self.home = home
        self.budget = budget

    def observe(self, context: ExecutionContext) -> None:
        """Write it at the head of the run, or in a replay take the place of what was written."""
        for kind, value in zip(_KINDS, self._parts(), strict=True):
            context.observe(kind, None, lambda value=value: value)

    def _parts(self) -> tuple[Any, ...]:
        source, arguments = self.source, self.arguments
        return (
            {"values": self.settings, "home": self.home},
            {
                "text": source.text,
                "name": source.name,
                "path": source.path,
                "expression": source.expression,
            },
            {
                "script": arguments.script,
                "positional": list(arguments.positional),
                "options": dict(arguments.options),
            },
            {
                "engine": self.engine,
                "tenant": self.tenant,
                "timeout_seconds": self.timeout_seconds,
                "budget": None if self.budget is None else dict(self.budget),
            },
        )

    @classmethod
    def recorded(cls, ledger: RunLedger, run_id: str) -> Launch:
        """What the run was started from.

        Raises:
            ReplayError: when that was never written or has been erased.
        """
        found: dict[str, Any] = {}
        for effect in ledger.effects(run_id):
            kind = effect.intent.kind
            if kind in _KINDS and effect.intent.path == "" and kind not in found:
                if effect.outcome is None or effect.outcome.payload is None:
                    raise ReplayError(
                        f"the payloads of run {run_id} were erased: its script is gone",
                        hint="Record the run again with: llmspell run --record",
                        details={"run_id": run_id, "kind": kind},
                        code="RUN_ERASED",
                    )
                found[kind] = from_canonical(effect.outcome.payload)
            if len(found) == len(_KINDS):
                break
        else:
            raise ReplayError(
                f"run {run_id} does not hold the script it was started from",
                hint="It ended before it began; run the script again.",
                details={"run_id": run_id},
            )
        arguments, execution = found["script.arguments"], found["execution"]
        return cls(
            Source(**found["script.source"]),
            ScriptArguments(
                arguments["script"], tuple(arguments["positional"]), arguments["options"]
            ),
            **execution,
            settings=found["configuration"]["values"],
            home=found["configuration"]["home"],
        )

    def settings_with_secrets(self, current: Config) -> Mapping[str, Any]:
        """The recorded settings, with what was redacted taken from *current*; what is not there
        either is left out.
        """
        from llmspell_config import restored

        return restored(self.settings, current)


def recordable(config: Config, secrets: Secrets) -> Mapping[str, Any]:
    """The settings in force without the secret values; these become known to *secrets*."""
    from llmspell_config import effective, secret_values

    for value in secret_values(config):
        secrets.add(value)
    return effective(config)
