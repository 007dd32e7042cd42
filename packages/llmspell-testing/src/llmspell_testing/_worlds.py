"""Contexts, services and script hosts to test with."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from llmspell_core import (
    Config,
    ExecutionContext,
    Plugin,
    PluginIndex,
    Recording,
    Replaying,
    RunRecord,
    RunStatus,
    ScriptHost,
    Services,
    new_id,
)

if TYPE_CHECKING:
    from llmspell_core import EffectPolicy, RunLedger

T = TypeVar("T")


def make_services(
    config: Mapping[str, Any] | None = None,
    *,
    home: str | os.PathLike[str] | None = None,
    plugins: Iterable[Plugin] = (),
    **doubles: Any,
) -> Services:
    """`Services` that know nothing but what they are given.

    Args:
        config: Settings.
        home: The data directory; the default is a fresh name in the temporary directory, and
            nothing is created.
        plugins: Entry points; the installed ones are not looked at.
        doubles: Services by name: ``make_services(tools=ToolsDouble(...))``.
    """
    place = os.fspath(home) if home is not None else _fresh_place()
    services = Services(Config(config, home=place), plugins=PluginIndex(plugins))
    for name, service in doubles.items():
        services.provide(name, service)
    return services


def _fresh_place() -> str:
    return os.path.join(tempfile.gettempdir(), f"llmspell-testing-{new_id()}")


def make_context(
    services: Services | None = None, *, effects: EffectPolicy | None = None, **fields: Any
) -> ExecutionContext:
    """An `ExecutionContext`; *fields* are its keyword arguments (``tenant="acme"``)."""
    return ExecutionContext(services or make_services(), effects=effects, **fields)


def recording_context(
    ledger: RunLedger, services: Services | None = None, *, run_id: str = "run", **fields: Any
) -> ExecutionContext:
    """A context whose effects are written to *ledger* as those of a new run."""
    ledger.open_run(RunRecord(run_id, "test", started_at=0.0, pid=os.getpid()))
    made = services or make_services()
    return make_context(made, effects=Recording(ledger, run_id, secrets=made.secrets), **fields)


def replaying_context(
    ledger: RunLedger, services: Services | None = None, *, run_id: str = "run", **fields: Any
) -> ExecutionContext:
    """A context that answers every effect with what *ledger* holds for the run."""
    made = services or make_services()
    return make_context(made, effects=Replaying(ledger, run_id, secrets=made.secrets), **fields)


async def recorded_and_replayed(
    work: Callable[[ExecutionContext], Awaitable[T]],
    ledger: RunLedger,
    *,
    record_with: Services | None = None,
    replay_with: Services | None = None,
) -> tuple[T, T]:
    """Run *work* once for real and once against its own recording.

    Give *replay_with* services whose parts would fail or differ if they were used: then equal
    results show that the replay asked none of them.
    """
    first = await work(recording_context(ledger, record_with))
    ledger.close_run("run", RunStatus.COMPLETED, finished_at=1.0)
    second = await work(replaying_context(ledger, replay_with))
    return first, second


class HostDouble(ScriptHost):
    """What a script global is constructed with, for testing globals as plain Python.

    `written` holds what was emitted: ``(stream, text)``. Set `context` to change executions.
    """

    def __init__(
        self, services: Services | None = None, context: ExecutionContext | None = None
    ) -> None:
        self._context = context or make_context(services)
        self.written: list[tuple[str, str]] = []

    @property
    def services(self) -> Services:
        """The services of the context."""
        return self._context.services

    @property
    def context(self) -> ExecutionContext:
        """The context of the execution in progress."""
        return self._context

    @context.setter
    def context(self, context: ExecutionContext) -> None:
        self._context = context

    def write(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        """Remember it."""
        self.written.append((stream, text))
