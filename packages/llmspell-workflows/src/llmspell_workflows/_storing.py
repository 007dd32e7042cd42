"""What a run writes into the state store, so that scripts can read it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell_workflows._definitions import AgentAction, ToolAction, WorkflowAction
from llmspell_workflows._frames import optional_service
from llmspell_workflows._keys import bounded_key, key_part

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_workflows._definitions import Step
    from llmspell_workflows._frames import Frame, Run
    from llmspell_workflows._results import StepResult

SCOPE = "workflow"


async def store(run: Run, values: dict[str, Any], context: ExecutionContext) -> None:
    """Write *values* under the execution's id, the workflow's id and its name, at once."""
    state = optional_service(context.services, "state")
    if state is None:
        return
    owners = dict.fromkeys((run.execution_id, run.workflow_id, key_part(run.name)))
    everything = {
        bounded_key(f"{owner}:{key}"): value for owner in owners for key, value in values.items()
    }
    for key in sorted(run.changed):
        everything[f"{run.workflow_id}:shared:{key_part(key)}"] = run.shared.get(key)
    run.changed.clear()
    await state.set_many(SCOPE, everything, context)


async def store_step(frame: Frame, step: Step, result: StepResult) -> None:
    """Write what a step brought."""
    record: dict[str, Any] = {
        "step_name": step.name,
        "step_id": step.name,
        "output": result.output,
        "duration_ms": result.duration_ms,
        "retry_count": result.retry_count,
    }
    if frame.branch is not None:
        record["branch_name"] = frame.branch
    name = key_part(step.name)
    values: dict[str, Any] = {f"{frame.place}{name}": record}
    if not frame.loop:
        values[f"{name}:output"] = result.output
        values.update(_by_component(step, result))
    await store(frame.run, values, frame.context)


def _by_component(step: Step, result: StepResult) -> dict[str, Any]:
    action = step.action
    if isinstance(action, ToolAction):
        place = f"step:{key_part(action.tool)}"
    elif isinstance(action, AgentAction):
        place = f"agent:{key_part(result.metadata.get('agent', step.name))}"
    elif isinstance(action, WorkflowAction):
        place = f"nested:{key_part(result.metadata.get('workflow', step.name))}"
    else:
        return {}
    return {f"{place}:output": result.output, f"{place}:metadata": dict(result.metadata)}
