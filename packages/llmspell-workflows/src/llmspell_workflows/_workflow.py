"""The workflow: a plan with a name, options and callbacks, executed as a component."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmspell_core import (
    AgentInput,
    AgentOutput,
    CancelSignal,
    ComponentMetadata,
    ExecutionCancelled,
    LLMSpellError,
    LLMTimeoutError,
    ReplayError,
    ResourceLimitError,
    ValidationError,
    Workflow,
    WorkflowError,
    new_id,
)
from llmspell_workflows._actions import workflow_input
from llmspell_workflows._conditions import Condition, condition_from
from llmspell_workflows._definitions import Kind, Options, Plan, Step
from llmspell_workflows._expressions import truthy
from llmspell_workflows._frames import Frame, Run
from llmspell_workflows._functions import Function, call
from llmspell_workflows._loop import LoopPlan
from llmspell_workflows._parallel import ParallelBranch, ParallelPlan
from llmspell_workflows._reporting import ask_hooks, notify
from llmspell_workflows._results import (
    PlanOutcome,
    Status,
    StepFailed,
    WorkflowFailed,
    WorkflowOutput,
    WorkflowResult,
)
from llmspell_workflows._serial import ConditionalBranch, ConditionalPlan, SequentialPlan
from llmspell_workflows._storing import store

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext

MAX_DEPTH = 10


@dataclass(slots=True)
class Metrics:
    """What a workflow has done so far. Times: milliseconds, Unix seconds."""

    total: int = 0
    successful: int = 0
    total_duration_ms: float = 0.0
    last_execution: float | None = None

    @property
    def failed(self) -> int:
        """Executions that did not succeed."""
        return self.total - self.successful


@dataclass(slots=True)
class Callbacks:
    """Functions a workflow's owner added: ``before(context)``, ``after(result)``,
    ``error(error, context)``.
    """

    before: list[Function]
    after: list[Function]
    error: list[Function]


class ComposedWorkflow(Workflow):
    """A workflow made of a plan.

    `run` gives the whole result, also of a failed run. `execute` is the same as a component:
    its output carries the result, a run that ended early raises `WorkflowFailed`.

    Args:
        name: What it is called.
        plan: The rule and the steps.
        options: What is the same for every kind.
        id: ``workflow_<uuid>``; made up when not given.
    """

    def __init__(
        self, name: str, plan: Plan, options: Options | None = None, *, id: str | None = None
    ) -> None:
        if not name:
            raise ValidationError("Workflow name cannot be empty", field="name")
        self.name = name
        self.plan = plan
        self.options = options or Options()
        self.id = id or f"workflow_{new_id()}"
        self.shared: dict[str, Any] = {}
        self.callbacks = Callbacks([], [], [])
        self.metrics = Metrics()
        self.last_result: WorkflowResult | None = None
        self.runs: dict[str, tuple[Run, CancelSignal]] = {}

    @property
    def kind(self) -> Kind:
        return self.plan.kind

    @property
    def metadata(self) -> ComponentMetadata:
        return ComponentMetadata(
            self.name, self.options.description, "workflow", tags=(self.plan.kind,)
        )

    async def validate_input(self, input: AgentInput) -> None:
        """Raise `ValidationError` for an empty input or a plan that cannot run."""
        if not (input.text or input.parameters or input.metadata):
            raise ValidationError("Workflow input text cannot be empty", field="text")
        self.plan.check()

    async def run(
        self, input: Mapping[str, Any] | str | AgentInput | None, context: ExecutionContext
    ) -> WorkflowResult:
        """Run it and return the result, whether it succeeded or not.

        Raises:
            ValidationError: when it cannot run at all.
            ExecutionCancelled: when the execution around it was cancelled.
        """
        try:
            output = await self.execute(workflow_input(input), context)
        except WorkflowFailed as failed:
            return failed.result
        assert isinstance(output, WorkflowOutput)
        assert output.result is not None
        return output.result

    def cancel(self) -> bool:
        """Cancel what runs; whether anything did."""
        running = list(self.runs.values())
        for _, signal in running:
            signal.cancel("workflow cancelled")
        return bool(running)

    async def execute_impl(self, input: AgentInput, context: ExecutionContext) -> AgentOutput:
        depth = context.data.get("workflow_depth", 0) + 1
        if depth > MAX_DEPTH:
            raise ResourceLimitError("workflow nesting", limit=MAX_DEPTH, used=depth)
        signal = CancelSignal(context.cancel)
        inner = context.child(cancel=signal, data={"workflow_depth": depth})
        run = self._begin(input, inner)
        self.runs[run.execution_id] = run, signal
        try:
            ending = await _cancellable(self._follow(run, inner), context, signal)
            result, error = await self._end(run, ending, inner)
        finally:
            del self.runs[run.execution_id]
            signal.detach()
        self.last_result = result
        if error is not None and result.status != "partial":
            raise WorkflowFailed(
                error.message if isinstance(error, WorkflowError) else str(error),
                result=result,
                step=result.failed_step,
                source=error,
            )
        return WorkflowOutput.of(result)

    def _begin(self, input: AgentInput, context: ExecutionContext) -> Run:
        shared = dict(self.shared)
        for key, value in input.parameters.items():
            if key.startswith("context_") and len(key) > len("context_"):
                shared[key.removeprefix("context_")] = value
        return Run(
            execution_id=context.new_id(),
            workflow_id=self.id,
            name=self.name,
            kind=self.kind,
            options=self.options,
            inputs=input.parameters,
            input_text=input.text,
            shared=shared,
            started=context.now(),
        )

    def _seconds(self, input: Mapping[str, Any]) -> float | None:
        for key, unit in (("timeout_ms", 0.001), ("timeout_secs", 1.0)):
            value = input.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
                return value * unit
        return self.options.timeout_seconds

    async def _follow(self, run: Run, context: ExecutionContext) -> _Ending:
        """Follow the plan; every way a run can end but cancellation from outside."""
        import asyncio

        started = context.monotonic()
        frame = Frame(run, context)
        seconds = self._seconds(run.inputs)
        limit = asyncio.timeout(seconds)
        ending = _Ending("completed")
        try:
            async with limit:
                ending.outcome = await self._plan(run, frame)
            ending.error = ending.outcome.error
        except StepFailed as failed:
            ending.failed_step = failed.result.name
            ending.outcome = failed.outcome or PlanOutcome()
            ending.error = WorkflowError(
                f"Step '{failed.result.name}' failed: {failed.error}",
                step=failed.result.name,
                source=failed.error,
            )
        except (ReplayError, ValidationError):
            raise
        except LLMSpellError as error:
            ending.error = error
        except TimeoutError:
            if not limit.expired():
                raise
            ending.status = "timeout"
            ending.error = LLMTimeoutError(
                f"Workflow '{self.name}' exceeded maximum execution time",
                duration_ms=round((seconds or 0) * 1000),
                operation=self.name,
            )
            await notify(self.options.on_timeout, frame.view(), context=context)
        if ending.error is not None and ending.status == "completed":
            ending.status = "failed"
        ending.duration_ms = (context.monotonic() - started) * 1000
        return ending

    async def _plan(self, run: Run, frame: Frame) -> PlanOutcome:
        context = frame.context
        for before in (self.options.on_start, *self.callbacks.before):
            if before is not None:
                await call(before, frame.view(), context=context)
        decision = await ask_hooks(run, context, "BeforeWorkflowStart", {"input": run.input})
        if decision.action == "cancel":
            raise WorkflowError(f"cancelled by a hook: {decision.reason}")
        if decision.action in ("skip", "replace"):
            return PlanOutcome(decision.data)
        if decision.action == "modified":
            replaced = workflow_input(decision.data["input"])
            run.inputs, run.input_text = replaced.parameters, replaced.text
        condition = self.options.pre_condition
        if condition is not None and not truthy(await condition.evaluate(frame)):
            raise WorkflowError("the pre-condition does not hold", code="CONDITION_FAILED")
        return await self.plan.run(frame)

    async def _end(
        self, run: Run, ending: _Ending, context: ExecutionContext
    ) -> tuple[WorkflowResult, LLMSpellError | None]:
        error = ending.error
        if error is None and run.failed > run.optional_failures and not ending.tolerated(run):
            ending.status = "partial"
            count = run.failed - run.optional_failures
            error = WorkflowError(f"{count} of {run.executed} steps failed")
            ending.failed_step = next(
                (r.name for r in run.results.values() if not r.success and r.required), None
            )
        frame = Frame(run, context)
        if error is not None and ending.status != "partial":
            await _compensate(run, context)
        result = self._result(run, ending, error)
        self._count(result)
        await _store_end(run, ending, result, context)
        if error is not None:
            await ask_hooks(run, context, "WorkflowError", {"error": str(error)})
            for function in (self.options.on_error, *self.callbacks.error):
                await notify(function, str(error), frame.view(), context=context)
        record = result.to_record()
        await ask_hooks(run, context, "AfterWorkflowComplete", {"result": dict(record.fields)})
        for function in (self.options.on_complete, *self.callbacks.after):
            await notify(function, record, context=context)
        return result, error

    def _result(self, run: Run, ending: _Ending, error: LLMSpellError | None) -> WorkflowResult:
        outcome = ending.outcome
        return WorkflowResult(
            execution_id=run.execution_id,
            workflow_id=run.workflow_id,
            workflow_name=run.name,
            workflow_type=run.kind,
            status=ending.status,
            text=_summary(run, ending, error),
            error=None if error is None else str(error),
            output=outcome.output,
            outputs={n: r.output for n, r in run.results.items() if r.success and not r.skipped},
            steps=tuple(run.results.values()),
            steps_executed=run.executed,
            steps_failed=run.failed,
            steps_skipped=run.skipped,
            duration_ms=ending.duration_ms,
            started_at=run.started,
            failed_step=ending.failed_step,
            last_completed_step=next(
                (r.name for r in reversed(run.results.values()) if r.success and not r.skipped),
                None,
            ),
            agent_outputs=dict(run.agent_outputs),
            extra=outcome.extra,
            fields=outcome.fields,
            data=outcome.data,
        )

    def _count(self, result: WorkflowResult) -> None:
        self.metrics.total += 1
        self.metrics.successful += result.success
        self.metrics.total_duration_ms += result.duration_ms
        self.metrics.last_execution = result.started_at


@dataclass(slots=True)
class _Ending:
    status: Status
    error: LLMSpellError | None = None
    failed_step: str | None = None
    duration_ms: float = 0.0
    outcome: PlanOutcome = field(default_factory=PlanOutcome)

    def tolerated(self, run: Run) -> bool:
        """Whether the plan as a whole succeeded in spite of failed steps."""
        return run.kind == "parallel" and run.options.error_strategy.kind != "continue"


async def _cancellable(body: Any, context: ExecutionContext, signal: CancelSignal) -> _Ending:
    """Await *body*, ended early when *signal* turns."""
    import asyncio

    loop = asyncio.get_running_loop()
    task: asyncio.Task[_Ending] = loop.create_task(body)

    def stop(_: str) -> None:
        loop.call_soon_threadsafe(task.cancel)

    unsubscribe = signal.subscribe(stop)
    try:
        return await task
    except asyncio.CancelledError:
        me = asyncio.current_task()
        if signal.reason is None or (me is not None and me.cancelling()):
            raise
        if context.cancel.reason is not None:
            raise ExecutionCancelled(context.cancel.reason) from None
        return _Ending("cancelled", error=WorkflowError("workflow was cancelled", code="CANCELLED"))
    finally:
        unsubscribe()


async def _compensate(run: Run, context: ExecutionContext) -> None:
    from llmspell_core import Record

    while run.undo:
        step, view, result = run.undo.pop()
        await notify(
            step.compensate, view, Record(result.to_fields(), text=result.text), context=context
        )


async def _store_end(
    run: Run, ending: _Ending, result: WorkflowResult, context: ExecutionContext
) -> None:
    values: dict[str, Any] = {
        "final_output": result.output,
        "state": {
            "status": result.status,
            "steps_executed": result.steps_executed,
            "steps_failed": result.steps_failed,
            "duration_ms": result.duration_ms,
            "data": dict(run.state),
        },
        "error": result.error,
    }
    if ending.outcome.aggregated is not None:
        values["aggregated"] = ending.outcome.aggregated
    await store(run, values, context)


def _summary(run: Run, ending: _Ending, error: LLMSpellError | None) -> str:
    what = f"{run.kind.capitalize()} workflow '{run.name}'"
    took = f"Duration: {ending.duration_ms:.1f} ms"
    if error is None:
        return f"{what} completed successfully. {run.executed} steps executed. {took}"
    return f"{what} failed: {error}. {run.executed} steps executed, {run.failed} failed. {took}"


class SequentialWorkflow(ComposedWorkflow):
    """Steps in order.

    Args:
        name: What it is called.
        steps: The steps.
        options: Error strategy, time-outs, callbacks.
    """

    def __init__(self, name: str, steps: Iterable[Step], options: Options | None = None) -> None:
        super().__init__(name, SequentialPlan(tuple(steps)), options)


class ParallelWorkflow(ComposedWorkflow):
    """Branches at the same time; a bare step is a branch of its own.

    Args:
        name: What it is called.
        branches: Branches and steps.
        options: Error strategy, time-outs, callbacks.
        rules: The other fields of `ParallelPlan`.
    """

    def __init__(
        self,
        name: str,
        branches: Iterable[ParallelBranch | Step],
        options: Options | None = None,
        **rules: Any,
    ) -> None:
        made = tuple(
            ParallelBranch(b.name, (b,), required=b.required) if isinstance(b, Step) else b
            for b in branches
        )
        super().__init__(name, ParallelPlan(made, **rules), options)


class ConditionalWorkflow(ComposedWorkflow):
    """The first branch whose condition holds.

    Args:
        name: What it is called.
        branches: The branches in the order they are tried.
        options: Error strategy, time-outs, callbacks.
        rules: The other fields of `ConditionalPlan`.
    """

    def __init__(
        self,
        name: str,
        branches: Sequence[ConditionalBranch],
        options: Options | None = None,
        **rules: Any,
    ) -> None:
        super().__init__(name, ConditionalPlan(tuple(branches), **rules), options)

    @staticmethod
    def branch(name: str, condition: Any, steps: Iterable[Step]) -> ConditionalBranch:
        """A branch; the condition is a text, a table, a function or a `Condition`."""
        made: Condition = condition_from(condition)
        return ConditionalBranch(name, tuple(steps), made)


class LoopWorkflow(ComposedWorkflow):
    """A body, again and again.

    Args:
        name: What it is called.
        iterator: `Range`, `Collection` or `While`.
        body: The steps of an iteration.
        options: Error strategy, time-outs, callbacks.
        rules: The other fields of `LoopPlan`.
    """

    def __init__(
        self,
        name: str,
        iterator: Any,
        body: Iterable[Step],
        options: Options | None = None,
        **rules: Any,
    ) -> None:
        super().__init__(name, LoopPlan(iterator, tuple(body), **rules), options)
