"""`Launch`: all that a recorded run was started from, so that it can be started again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import ReplayError, ScriptArguments, Source, from_canonical

if TYPE_CHECKING:
    from llmspell_core import Config, ExecutionContext, RunLedger, Secrets

REDACTED = "<REDACTED>"
_KINDS = ("configuration", "script.source", "script.arguments", "execution")
_SECRET_WORDS = (
    "api_key",
    "apikey",
    "secret",
    "password",
    "token",
    "hmac_key",
    "connection_string",
    "auth_value",
)


@dataclass(frozen=True, slots=True)
class Launch:
    """A script with its arguments, engine, tenant, time limit (seconds) and settings."""

    source: Source
    arguments: ScriptArguments
    engine: str
    timeout_seconds: float
    tenant: str | None
    settings: Mapping[str, Any]
    home: str

    def observe(self, context: ExecutionContext) -> None:
        """Write it at the head of the run, or in a replay take the place of what was written."""
        for kind, value in zip(_KINDS, self._parts(context.services.secrets), strict=True):
            context.observe(kind, None, lambda value=value: value)

    def _parts(self, secrets: Secrets) -> tuple[Any, ...]:
        source, arguments = self.source, self.arguments
        return (
            {"values": redacted(self.settings, secrets), "home": self.home},
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
            execution["engine"],
            execution["timeout_seconds"],
            execution["tenant"],
            found["configuration"]["values"],
            found["configuration"]["home"],
        )

    def settings_with_secrets(self, current: Config) -> Mapping[str, Any]:
        """The recorded settings, with what was redacted taken from *current*; what is not there
        either is left out.
        """
        return cast("Mapping[str, Any]", _restored(self.settings, current.values))


def redacted(value: Any, secrets: Secrets, *, inside_secret: bool = False) -> Any:
    """A copy of settings without the secret values; these become known to *secrets*."""
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        return {
            str(key): redacted(item, secrets, inside_secret=inside_secret or _names_secret(key))
            for key, item in table.items()
        }
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        return [redacted(item, secrets, inside_secret=inside_secret) for item in items]
    if (
        inside_secret
        and isinstance(value, str)
        and value not in ("", REDACTED)
        and not _refers(value)
    ):
        secrets.add(value)
        return REDACTED
    return value


def _names_secret(key: Any) -> bool:
    name = str(key).lower().replace("-", "_")
    # `api_key_env` names a variable, `max_tokens` counts.
    return (
        any(word in name for word in _SECRET_WORDS)
        and not name.endswith("_env")
        and "tokens" not in name
    )


def _refers(value: str) -> bool:
    return value.startswith(("${", "env:"))


_GONE = object()


def _restored(recorded: Any, current: Any) -> Any:
    if recorded == REDACTED:
        return current if isinstance(current, str) else _GONE
    if isinstance(recorded, Mapping):
        now: Mapping[str, Any] = {}
        if isinstance(current, Mapping):
            now = cast("Mapping[str, Any]", current)
        table = cast("Mapping[str, Any]", recorded)
        pairs = ((key, _restored(item, now.get(key))) for key, item in table.items())
        return {key: item for key, item in pairs if item is not _GONE}
    if isinstance(recorded, list):
        olds = cast("list[Any]", recorded)
        news = cast("list[Any]", current) if isinstance(current, list) else []
        padded = [*news, *[None] * len(olds)]
        return [i for i in map(_restored, olds, padded) if i is not _GONE]
    return recorded
