"""Executing steps: conditions, attempts, time-outs, strategies, callbacks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmspell_core import (
    ComponentError,
    ConfigurationError,
    EffectClass,
    LLMSpellError,
    LLMTimeoutError,
    NetworkError,
    ProviderError,
    ReplayError,
    ResourceLimitError,
    SecurityError,
    ValidationError,
    WorkflowError,
)
from llmspell_workflows._actions import Produced, perform
from llmspell_workflows._definitions import (
    ErrorStrategy,
    FunctionAction,
    PlanAction,
    Step,
    ToolAction,
    WorkflowAction,
)
from llmspell_workflows._expressions import truthy
from llmspell_workflows._functions import call
from llmspell_workflows._interpolation import rendered
from llmspell_workflows._reporting import ask_hooks, notify, tell
from llmspell_workflows._results import StepFailed, StepResult
from llmspell_workflows._storing import store_step

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_workflows._frames import Frame

NEVER_RETRIED = (
    ValidationError,
    ConfigurationError,
    SecurityError,
    ComponentError,
    ResourceLimitError,
)
TOOL_GRACE_SECONDS = 1.0
"""A tool's time-out is the tool registry's; if that does not end it, this much later we do."""


async def run_steps(steps: Iterable[Step], frame: Frame) -> None:
    """Execute *steps* one after the other.

    Raises:
        StepFailed: when one failed and the strategy is not to go on.
    """
    before: str | None = None
    for step in steps:
        if before is not None:
            data = {"from": before, "to": step.name}
            await ask_hooks(frame.run, frame.context, "WorkflowStageTransition", data)
        await run_step(step, frame)
        before = step.name


async def run_step(step: Step, frame: Frame) -> StepResult:
    """Execute one step and keep its result.

    Raises:
        StepFailed: when it failed and the strategy is not to go on.
    """
    frame.context.check()
    with frame.context.span("step", step.name) as context:
        place = frame.at(context, step.name)
        place.run.current_step = step.name
        started = context.monotonic()
        try:
            if await _is_left_out(step, place):
                result = StepResult(
                    step.name, step.action.kind, True, skipped=True, branch=frame.branch
                )
                frame.keep(result)
                return result
            produced, retries = await _produce(step, place)
        except ReplayError:
            raise
        except _Failed as failed:
            took = (context.monotonic() - started) * 1000
            result = await _failed(step, place, failed, took)
            frame.keep(result)
            if step.required and _strategy(step, place).kind != "continue":
                raise StepFailed(result, failed.error) from failed.error
            return result
        took = (context.monotonic() - started) * 1000
        result = await _succeeded(step, place, produced, retries, took)
        frame.keep(result)
        if step.compensate is not None:
            place.run.undo.append((step, place.view(), result))
        return result


class _Failed(Exception):
    def __init__(self, error: LLMSpellError, retries: int = 0) -> None:
        super().__init__(str(error))
        self.error = error
        self.retries = retries


def _strategy(step: Step, frame: Frame) -> ErrorStrategy:
    if isinstance(step.on_error, ErrorStrategy):
        return step.on_error
    return frame.run.options.error_strategy


async def _is_left_out(step: Step, frame: Frame) -> bool:
    try:
        if step.condition is not None and not truthy(await step.condition.evaluate(frame)):
            return True
        return step.skip_if is not None and truthy(await step.skip_if.evaluate(frame))
    except ReplayError:
        raise
    except Exception as error:
        raise _Failed(_as_error(error, step)) from error


async def _produce(step: Step, frame: Frame) -> tuple[Produced | None, int]:
    """The step's work with what surrounds it; None when a hook skipped it."""
    tell(frame, "workflow.step.started", step_name=step.name, step_type=step.action.kind)
    try:
        await notify(frame.run.options.on_step_start, frame.view(), context=frame.context)
        decision = await ask_hooks(
            frame.run,
            frame.context,
            "BeforeWorkflowStage",
            {
                "step_name": step.name,
                "step_type": step.action.kind,
                "step_index": frame.run.executed,
                "input": _given(step),
            },
        )
        if decision.action == "cancel":
            raise WorkflowError(f"cancelled by a hook: {decision.reason}", step=step.name)
        if decision.action == "skip":
            return None, 0
        if decision.action == "replace":
            return Produced(decision.data, rendered(decision.data)), 0
        if decision.action == "modified":
            step = _with_input(step, decision.data["input"])
        if step.before_execute is not None:
            await call(step.before_execute, frame.view(), context=frame.context)
    except ReplayError:
        raise
    except Exception as error:
        raise _Failed(_as_error(error, step)) from error
    return await _attempts(step, frame)


def _given(step: Step) -> Any:
    action = step.action
    if isinstance(action, FunctionAction):
        return action.parameters
    return None if isinstance(action, PlanAction) else action.input


def _with_input(step: Step, given: Any) -> Step:
    action = step.action
    if isinstance(action, FunctionAction):
        return replace(step, action=replace(action, parameters=given))
    if isinstance(action, PlanAction):
        return step
    return replace(step, action=replace(action, input=given))


async def _attempts(step: Step, frame: Frame) -> tuple[Produced, int]:
    strategy = _strategy(step, frame)
    allowed = 1 if strategy.kind != "retry" else strategy.max_attempts
    if step.retries is not None:
        allowed = step.retries + 1
    attempt = 0
    while True:
        try:
            return await _attempt(step, frame), attempt
        except ReplayError:
            raise
        except Exception as caught:
            error = _as_error(caught, step)
        attempt += 1
        retryable = _worth_a_retry(error)
        if attempt >= allowed or not retryable:
            return await _substitute(step, frame, error, attempt - 1, retryable and allowed > 1)
        await notify(step.on_retry, attempt, str(error), context=frame.context)
        wait = strategy.backoff_ms / 1000 * strategy.multiplier ** (attempt - 1)
        await pause(max(wait, error.retry_after or 0.0), frame.context)


async def _attempt(step: Step, frame: Frame) -> Produced:
    import asyncio

    seconds = step.timeout_seconds
    if seconds is None and not isinstance(step.action, PlanAction | WorkflowAction):
        seconds = frame.run.options.step_timeout_seconds
    grace = TOOL_GRACE_SECONDS if isinstance(step.action, ToolAction) else 0.0
    limit = asyncio.timeout(None if seconds is None else seconds + grace)
    try:
        async with limit:
            return await perform(step.action, frame, seconds)
    except TimeoutError as error:
        if isinstance(error, LLMSpellError) or not limit.expired():
            raise
        assert seconds is not None
        raise LLMTimeoutError(
            f"step '{step.name}' timed out after {seconds:g}s",
            duration_ms=round(seconds * 1000),
            operation=step.name,
        ) from None


async def pause(seconds: float, context: ExecutionContext) -> None:
    """Wait; a replayed run does not."""
    if seconds <= 0:
        return

    async def wait(_: ExecutionContext) -> None:
        import asyncio

        await asyncio.sleep(seconds)

    await context.effect("clock.sleep", seconds, wait, effect_class=EffectClass.PURE)


def _worth_a_retry(error: LLMSpellError) -> bool:
    if isinstance(error, ProviderError | NetworkError):
        return error.is_retryable()
    return not isinstance(error, NEVER_RETRIED)


def _as_error(error: Exception, step: Step) -> LLMSpellError:
    if isinstance(error, LLMSpellError):
        return error
    return WorkflowError(f"{type(error).__name__}: {error}", step=step.name, source=error)


async def _substitute(
    step: Step, frame: Frame, error: LLMSpellError, retries: int, exhausted: bool
) -> tuple[Produced, int]:
    """The output that the step's error handler puts in the place of the failure."""
    handler = step.on_error
    if handler is not None and not isinstance(handler, ErrorStrategy):
        try:
            value = await call(handler, str(error), frame.view(), context=frame.context)
        except ReplayError:
            raise
        except Exception as second:
            raise _Failed(_as_error(second, step), retries) from second
        if value is not None:
            return Produced(value, rendered(value), {"replaced": str(error)}), retries
    if exhausted:
        error = WorkflowError(
            f"All retries exhausted for step {step.name}: {error}", step=step.name, source=error
        )
    raise _Failed(error, retries) from error


async def _failed(step: Step, frame: Frame, failed: _Failed, took: float) -> StepResult:
    error = failed.error
    result = StepResult(
        step.name,
        step.action.kind,
        False,
        error=str(error),
        error_type=error.error_type,
        duration_ms=took,
        retry_count=failed.retries,
        required=step.required,
        branch=frame.branch,
    )
    tell(
        frame,
        "workflow.step.failed",
        step_name=step.name,
        step_type=step.action.kind,
        duration_ms=took,
        error=str(error),
    )
    await _observed(step, frame, result)
    return result


async def _succeeded(
    step: Step, frame: Frame, produced: Produced | None, retries: int, took: float
) -> StepResult:
    if produced is None:
        return StepResult(step.name, step.action.kind, True, skipped=True, branch=frame.branch)
    decision = await ask_hooks(
        frame.run,
        frame.context,
        "AfterWorkflowStage",
        {
            "step_name": step.name,
            "step_type": step.action.kind,
            "output": produced.output,
            "duration_ms": took,
        },
    )
    output, text = produced.output, produced.text
    if decision.action in ("modified", "replace"):
        output = decision.data["output"] if decision.action == "modified" else decision.data
        text = rendered(output)
    result = StepResult(
        step.name,
        step.action.kind,
        True,
        output=output,
        text=text,
        duration_ms=took,
        retry_count=retries,
        required=step.required,
        branch=frame.branch,
        metadata=produced.metadata,
    )
    if step.action.kind == "agent":
        frame.run.agent_outputs[produced.metadata.get("agent", step.name)] = text
    await store_step(frame, step, result)
    tell(
        frame,
        "workflow.step.completed",
        step_name=step.name,
        step_type=step.action.kind,
        duration_ms=took,
        output_size=len(text),
    )
    await _observed(step, frame, result)
    return result


async def _observed(step: Step, frame: Frame, result: StepResult) -> None:
    observers = (step.on_complete, step.after_execute, frame.run.options.on_step_complete)
    if not any(observers):
        return
    from llmspell_core import Record

    record = Record(result.to_fields(), text=result.text or result.error)
    if step.after_execute is not None:
        await notify(step.after_execute, frame.view(), record, context=frame.context)
    await notify(step.on_complete, record, context=frame.context)
    await notify(frame.run.options.on_step_complete, record, context=frame.context)
