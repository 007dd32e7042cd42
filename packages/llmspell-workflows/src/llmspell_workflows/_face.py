"""The global ``Workflow`` and the handles it gives out."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import (
    ComponentError,
    Items,
    Live,
    NotFoundError,
    Record,
    Returns,
    ScriptFunction,
    ValidationError,
    attribute,
    exposed,
    script_global,
    script_object,
)
from llmspell_workflows._builder import WorkflowBuilder
from llmspell_workflows._definitions import KINDS, Kind, ToolAction
from llmspell_workflows._frames import timestamp
from llmspell_workflows._parsing import kind_from, workflow_from
from llmspell_workflows._service import WorkflowService
from llmspell_workflows._workflow import ComposedWorkflow

if TYPE_CHECKING:
    from llmspell_core import ScriptHost
    from llmspell_workflows._results import WorkflowResult

SCOPE = "workflow"

_TYPES: dict[Kind, tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "sequential": (
        "Steps in order",
        ("ordered_execution", "state_passing", "error_handling"),
        ("name", "steps"),
        ("error_strategy", "timeout_ms", "variables"),
    ),
    "conditional": (
        "The first branch whose condition holds",
        ("branching", "condition_evaluation", "default_branch"),
        ("name", "branches"),
        ("default_branch", "pre_steps", "post_steps", "execute_all_matching"),
    ),
    "loop": (
        "A body, again and again",
        (
            "collection_iteration",
            "range_iteration",
            "while_condition",
            "break_conditions",
            "result_aggregation",
        ),
        ("name", "iterator", "body"),
        ("break_conditions", "max_iterations", "initial_state", "aggregation_strategy"),
    ),
    "parallel": (
        "Branches at the same time",
        (
            "concurrent_execution",
            "fork_join",
            "concurrency_limits",
            "fail_fast",
            "optional_branches",
        ),
        ("name", "branches"),
        ("max_concurrency", "fail_fast", "merge_strategy", "success_criteria"),
    ),
}


@script_object("Workflow")
class WorkflowHandle:
    """A workflow that can be run."""

    def __init__(self, host: ScriptHost, workflow: ComposedWorkflow) -> None:
        self._host = host
        self.workflow = workflow
        self._last: WorkflowResult | None = None

    @attribute
    def id(self) -> str:
        """Its id, ``workflow_<uuid>``."""
        return self.workflow.id

    @attribute
    def name(self) -> str:
        """Its name."""
        return self.workflow.name

    @attribute
    def type(self) -> str:
        """Its type: ``sequential``, ``conditional``, ``loop`` or ``parallel``."""
        return self.workflow.kind

    @attribute
    def description(self) -> str | None:
        """What it is for; nil if nobody said."""
        return self.workflow.options.description or None

    @attribute
    def steps(self) -> list[str]:
        """The names of its steps."""
        return [step.name for step in self.workflow.plan.steps()]

    @exposed(async_twin=True)
    async def execute(self, input: Any = None) -> Record:
        """Run the workflow; a failed run is a result with ``success=false``.

        Args:
            input: What the steps see as the workflow's input.

        Returns:
            The result: ``{success, status, output, outputs, steps, error, text, duration_ms, …}``

        Raises:
            ValidationError: When it cannot run at all.
        """
        result = await self.workflow.run(_plain_input(input), self._host.context)
        return result.to_record()

    @exposed()
    def get_info(self) -> dict[str, Any]:
        """About the workflow: ``{id, name, type, description?, step_count}``."""
        return describe(self.workflow)

    @exposed()
    def get_id(self) -> str:
        """Its id."""
        return self.workflow.id

    @exposed()
    def get_status(self) -> dict[str, Any]:
        """How the latest run stands: ``{state, current_step?, started_at?, finished_at?}``."""
        running = next(reversed(self.workflow.runs.values()), None)
        if running is not None:
            run = running[0]
            return {
                "state": "running",
                "current_step": run.current_step,
                "steps_executed": run.executed,
                "started_at": timestamp(run.started),
            }
        last = self.workflow.last_result
        if last is None:
            return {"state": "ready"}
        state = last.status if last.status in ("completed", "cancelled") else "failed"
        return {
            "state": state,
            "progress": 1.0,
            "started_at": timestamp(last.started_at),
            "finished_at": timestamp(last.started_at + last.duration_ms / 1000),
        }

    @exposed()
    def validate(self) -> Returns:
        """Look for what would keep it from running, and what will probably fail.

        Returns:
            ``{valid, workflow_id, warnings, errors}``, and the errors or nil
        """
        errors, warnings = problems(self.workflow, self._host)
        table = {
            "valid": not errors,
            "workflow_id": self.workflow.id,
            "warnings": warnings,
            "errors": errors,
        }
        return Returns((table, errors or None))

    @exposed()
    async def get_state(self, key: str) -> Any:
        """The stored value ``workflow:<id>:<key>``, or nil.

        Args:
            key: The key.
        """
        context = self._host.context
        return await self._host.services.state.get(SCOPE, f"{self.workflow.id}:{key}", context)

    @exposed()
    async def set_state(self, key: str, value: Any) -> bool:
        """Store a value as ``workflow:<id>:<key>``.

        Args:
            key: The key.
            value: Anything JSON can hold; nil deletes.

        Returns:
            True
        """
        context = self._host.context
        await self._host.services.state.set(SCOPE, f"{self.workflow.id}:{key}", value, context)
        return True

    @exposed()
    async def set_shared_data(self, key: str, value: Any) -> None:
        """Set what placeholders and conditions find by that name; stored as ``shared:<key>``.

        Args:
            key: The name.
            value: Anything JSON can hold.
        """
        self.workflow.shared[key] = value
        await self.set_state(f"shared:{key}", value)

    @exposed()
    def get_shared_data(self, key: str) -> Any:
        """What `set_shared_data` set, or nil.

        Args:
            key: The name.
        """
        return self.workflow.shared.get(key)

    def _hooked(self, kind: str) -> dict[str, Any]:
        return {
            "message": f"{kind} callback registered for workflow '{self.workflow.name}'",
            "workflow_id": self.workflow.id,
            "hook_type": kind,
        }

    @exposed()
    def on_before_execute(self, function: ScriptFunction) -> dict[str, Any]:
        """Have a function called before the first step of each run.

        Args:
            function: Called with the context.
        """
        self.workflow.callbacks.before.append(function)
        return self._hooked("before_execute")

    @exposed()
    def on_after_execute(self, function: ScriptFunction) -> dict[str, Any]:
        """Have a function called after each run.

        Args:
            function: Called with the result.
        """
        self.workflow.callbacks.after.append(function)
        return self._hooked("after_execute")

    @exposed()
    def on_error(self, function: ScriptFunction) -> dict[str, Any]:
        """Have a function called when a run fails.

        Args:
            function: Called with the error and the context.
        """
        self.workflow.callbacks.error.append(function)
        return self._hooked("on_error")

    def _result(self) -> WorkflowResult:
        last = self.workflow.last_result
        if last is None:
            raise ComponentError("No workflow execution found. Run execute() first.")
        return last

    def _outputs(self) -> dict[str, Any]:
        result = self._result()
        return {} if self._last is result else dict(result.outputs)

    @exposed()
    def get_output(self, step: str) -> Any:
        """The output of a step in the latest run, or nil.

        Args:
            step: Its name.
        """
        return self._outputs().get(step)

    @exposed()
    def get_all_outputs(self) -> dict[str, Any]:
        """The outputs of the latest run, by step."""
        return self._outputs()

    @exposed()
    def list_outputs(self) -> list[str]:
        """The steps of the latest run that have an output."""
        return list(self._outputs())

    @exposed()
    async def clear_outputs(self) -> dict[str, Any]:
        """Forget the outputs of the latest run, and its keys in the state store.

        Returns:
            ``{deleted}``: how many outputs
        """
        result, context = self._result(), self._host.context
        state = self._host.services.state
        prefix = f"{result.execution_id}:"
        for key in await state.list(SCOPE, context, prefix=prefix):
            await state.delete(SCOPE, key, context)
        deleted = len(self._outputs())
        self._last = result
        return {"deleted": deleted}

    @exposed()
    def get_execution_id(self) -> str:
        """The id of the latest run."""
        return self._result().execution_id

    @exposed()
    def emit(self, event: str, data: Any = None) -> dict[str, Any]:
        """Publish an event in the name of this workflow.

        Args:
            event: Its name.
            data: What it carries.
        """
        workflow = self.workflow
        self._host.services.events.publish(
            event,
            {
                "workflow_id": workflow.id,
                "workflow_name": workflow.name,
                "workflow_type": workflow.kind,
                "data": data,
            },
            self._host.context,
        )
        return {"success": True, "workflow_id": workflow.id, "event_name": event}

    @exposed()
    async def debug(self) -> dict[str, Any]:
        """What is known of it: ``{workflow_id, name, type, runtime}``."""
        workflow, context = self.workflow, self._host.context
        keys = await self._host.services.state.list(SCOPE, context, prefix=f"{workflow.id}:")
        last = workflow.metrics.last_execution
        return {
            "workflow_id": workflow.id,
            "name": workflow.name,
            "type": workflow.kind,
            "runtime": {
                "created_at": timestamp(context.now() if last is None else last),
                "state_keys": keys,
            },
        }

    @exposed()
    def get_metrics(self) -> dict[str, Any]:
        """Figures of its runs: ``{workflow_id, execution{total_executions, …}}``."""
        metrics = self.workflow.metrics
        average = metrics.total_duration_ms / metrics.total if metrics.total else 0.0
        last = metrics.last_execution
        return {
            "workflow_id": self.workflow.id,
            "execution": {
                "total_executions": metrics.total,
                "successful_executions": metrics.successful,
                "failed_executions": metrics.failed,
                "average_duration_ms": average,
                "last_execution_time": None if last is None else timestamp(last),
            },
        }

    @exposed()
    def cancel(self) -> bool:
        """Cancel the run in progress; whether there was one."""
        return self.workflow.cancel()


def _plain_input(input: Any) -> Any:
    return dict(input) if isinstance(input, Live) else input


def describe(workflow: ComposedWorkflow) -> dict[str, Any]:
    """A workflow in a list."""
    made: dict[str, Any] = {
        "id": workflow.id,
        "name": workflow.name,
        "type": workflow.kind,
        "kind": "instance",
        "step_count": len(workflow.plan.steps()),
    }
    if workflow.options.description:
        made["description"] = workflow.options.description
    return made


def problems(workflow: ComposedWorkflow, host: ScriptHost) -> tuple[list[str], list[str]]:
    """Why a workflow cannot run, and what will probably fail."""
    errors: list[str] = []
    try:
        workflow.plan.check()
    except ValidationError as error:
        errors.append(error.message)
    warnings: list[str] = []
    for step in workflow.plan.steps():
        action = step.action
        if isinstance(action, ToolAction) and "{{" not in action.tool:
            tools = host.services.tools
            if not tools.has(action.tool):
                warnings.append(f"Step '{step.name}': tool '{action.tool}' not found")
    return errors, warnings


class ScriptWorkflowBuilder(WorkflowBuilder):
    """A builder whose workflows are registered and handed out as handles."""

    def __init__(
        self, face: WorkflowGlobal, name: str | None = None, *, kind: Kind | None = None
    ) -> None:
        super().__init__(name, kind=kind)
        self._face = face

    @exposed()
    def build(self) -> WorkflowHandle:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The workflow, registered under its id.

        Raises:
            ValidationError: ``Workflow type not specified``, or naming what is wrong.
        """
        return self._face.adopt(self._made(self._face.new_id()))


@script_global("Workflow")
class WorkflowGlobal:
    """Build, find and run workflows."""

    def __init__(self, host: ScriptHost) -> None:
        self._host = host

    @property
    def _service(self) -> WorkflowService:
        return cast("WorkflowService", self._host.services.workflows)

    def new_id(self) -> str:
        """An id for a new workflow, as recorded."""
        return self._host.context.new_id("workflow_")

    def adopt(self, workflow: ComposedWorkflow) -> WorkflowHandle:
        """Register it and hand it out."""
        self._service.add(workflow)
        return WorkflowHandle(self._host, workflow)

    def _made(self, config: Any, kind: Kind | None) -> WorkflowHandle | ScriptWorkflowBuilder:
        if config is None or isinstance(config, str):
            return ScriptWorkflowBuilder(self, config, kind=kind)
        if not isinstance(config, Mapping):
            raise ValidationError(
                f"a workflow is described by a table, not {type(config).__name__}", field="config"
            )
        table = cast("Mapping[str, Any]", config)
        return self.adopt(workflow_from(table, kind, id=self.new_id()))

    @exposed()
    def builder(self, name: str | None = None) -> ScriptWorkflowBuilder:
        """A builder; its methods say type and steps.

        Args:
            name: The name of the workflow.
        """
        return ScriptWorkflowBuilder(self, name)

    @exposed()
    def sequential(self, config: Any = None) -> WorkflowHandle | ScriptWorkflowBuilder:
        """A workflow whose steps run in order.

        Args:
            config: A table ``{name, steps, …}`` makes the workflow; a name or nothing gives a
                builder.
        """
        return self._made(config, "sequential")

    @exposed()
    def conditional(self, config: Any = None) -> WorkflowHandle | ScriptWorkflowBuilder:
        """A workflow that takes the first branch whose condition holds.

        Args:
            config: A table ``{name, branches, …}`` makes the workflow; a name or nothing gives a
                builder.
        """
        return self._made(config, "conditional")

    @exposed()
    def loop(self, config: Any = None) -> WorkflowHandle | ScriptWorkflowBuilder:
        """A workflow that runs a body again and again.

        Args:
            config: A table ``{name, iterator, body, …}`` makes the workflow; a name or nothing
                gives a builder.
        """
        return self._made(config, "loop")

    @exposed()
    def parallel(self, config: Any = None) -> WorkflowHandle | ScriptWorkflowBuilder:
        """A workflow whose branches run at the same time.

        Args:
            config: A table ``{name, branches, …}`` makes the workflow; a name or nothing gives a
                builder.
        """
        return self._made(config, "parallel")

    @exposed(names=("new",))
    def create(self, config: Any = None) -> WorkflowHandle | ScriptWorkflowBuilder:
        """A workflow of the type that the table names (sequential).

        Args:
            config: A table ``{type, name, …}`` makes the workflow; a name or nothing gives a
                builder.
        """
        return self._made(config, None)

    @exposed()
    def register(self, type: str, params: dict[str, Any]) -> str:
        """Make a workflow; returns its id.

        Args:
            type: ``sequential``, ``conditional``, ``loop`` or ``parallel``.
            params: As for the function of that type.
        """
        kind = kind_from(type)
        table: dict[str, Any] = {"name": f"{kind}_workflow", **params}
        if kind == "sequential":
            table.setdefault("steps", [])
        return self.adopt(workflow_from(table, kind, id=self.new_id())).id

    @exposed()
    def list(self) -> Items:
        """The workflows there are; if none, the types there are."""
        found = [Record(describe(w), text=w.name) for w in self._service.list()]
        return Items(found or self.discover_types())

    @exposed()
    def get(self, name: str) -> WorkflowHandle:
        """The workflow of that id or name.

        Args:
            name: Its id or name.

        Raises:
            NotFoundError: ``Workflow not found: <name>``.
        """
        return WorkflowHandle(self._host, self._service.find(name))

    @exposed()
    def remove(self, name: str) -> bool:
        """Forget a workflow.

        Args:
            name: Its id or name.

        Returns:
            True

        Raises:
            NotFoundError: ``Workflow not found: <name>``.
        """
        if not self._service.remove(name):
            raise NotFoundError(f"Workflow not found: {name}")
        return True

    @exposed()
    def clear(self) -> int:
        """Forget all workflows; returns how many."""
        return self._service.clear()

    @exposed()
    def types(self) -> Items:
        """The types of workflows: ``sequential, conditional, loop, parallel``."""
        return Items(KINDS)

    @exposed()
    def discover_types(self) -> builtins.list[dict[str, Any]]:
        """What each type is and takes.

        Returns:
            ``{type, description, features, required_params, optional_params}`` of each
        """
        return [
            {
                "id": kind,
                "type": kind,
                "description": description,
                "features": [*features],
                "required_params": [*required],
                "optional_params": [*optional],
            }
            for kind, (description, features, required, optional) in _TYPES.items()
        ]

    @exposed(async_twin=True)
    async def execute(self, workflow: Any, input: Any = None) -> Record:
        """Run a workflow; a failed run is a result with ``success=false``.

        Args:
            workflow: The workflow itself, its id or its name.
            input: What the steps see as the workflow's input.

        Raises:
            NotFoundError: ``Workflow not found: <name>``.
        """
        if isinstance(workflow, WorkflowHandle):
            return await workflow.execute(input)
        if isinstance(workflow, str):
            return await self.get(workflow).execute(input)
        raise ValidationError("Workflow.execute needs a workflow, its id or its name")
