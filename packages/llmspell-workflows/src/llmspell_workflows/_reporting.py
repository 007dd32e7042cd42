"""Telling others what a run does: events for whoever listens, hooks that may interfere, notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmspell_core import CONTINUE, HookOutcome, ReplayError
from llmspell_workflows._frames import optional_service
from llmspell_workflows._functions import Function, call

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_workflows._frames import Frame, Run


def about(run: Run, **more: Any) -> dict[str, Any]:
    """The data of events and hooks: which run, and *more*."""
    return {
        "workflow_id": run.workflow_id,
        "workflow_name": run.name,
        "workflow_type": run.kind,
        "execution_id": run.execution_id,
        **more,
    }


def tell(frame: Frame, topic: str, **payload: Any) -> None:
    """Publish an event, if anybody listens."""
    bus = frame.context.services.peek("events")
    if bus is not None and bus.listening:
        bus.publish(topic, about(frame.run, **payload), frame.context)


async def ask_hooks(
    run: Run, context: ExecutionContext, point: str, data: Mapping[str, Any]
) -> HookOutcome:
    """Run the hooks of *point*, if there are any."""
    hooks = optional_service(context.services, "hooks")
    if hooks is None or not hooks.wants(point):
        return CONTINUE
    return await hooks.run(point, about(run, **data), context)


async def notify(function: Function | None, *args: Any, context: ExecutionContext) -> None:
    """Call an observer. If it fails, that is logged: the work it was told about is done."""
    if function is None:
        return
    try:
        await call(function, *args, context=context)
    except ReplayError:
        raise
    except Exception:
        import logging

        logging.getLogger("llmspell.workflows").warning(
            "callback %r of a workflow failed", function, exc_info=True
        )
