"""The loop plan: a body, again and again."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, cast

from llmspell_core import ValidationError
from llmspell_workflows._conditions import Condition
from llmspell_workflows._definitions import Kind, Step
from llmspell_workflows._expressions import truthy
from llmspell_workflows._frames import Frame
from llmspell_workflows._functions import Function, call
from llmspell_workflows._reporting import notify, tell
from llmspell_workflows._results import PlanOutcome, StepFailed
from llmspell_workflows._serial import check_names
from llmspell_workflows._steps import pause, run_steps

if TYPE_CHECKING:
    from collections.abc import Iterable

Strategy = Literal["collect_all", "collect_outputs", "last_only", "first_n", "last_n", "none"]


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `start` by `step`; `end` is among them only if `inclusive`."""

    start: float = 1
    end: float = 10
    step: float = 1
    inclusive: bool = False

    def check(self) -> None:
        """Raise `ValidationError` for a range without values."""
        if self.step == 0:
            raise ValidationError("Range step cannot be zero", field="iterator")
        if self.count() == 0:
            raise ValidationError(
                f"Range configuration will not iterate: {self.start:g} to {self.end:g} "
                f"by {self.step:g}",
                field="iterator",
            )

    def count(self) -> int:
        """How many values."""
        span = (self.end - self.start) / self.step
        if not math.isfinite(span):
            raise ValidationError("Range bounds must be finite numbers", field="iterator")
        whole = math.floor(span + 1e-9)
        exact = abs(span - whole) < 1e-9
        return max(0, whole + 1 if self.inclusive or not exact else whole)

    def values(self) -> Iterator[Any]:
        """The values, one by one."""
        return (self.start + n * self.step for n in range(self.count()))

    def describe(self) -> dict[str, Any]:
        """For ``metadata.extra``."""
        return {
            "iterator_type": "range",
            "range_start": self.start,
            "range_end": self.end,
            "range_step": self.step,
        }


@dataclass(frozen=True, slots=True)
class Collection:
    """The items of a list, or of a table as ``{key, value}`` in the order of keys; a text with
    a placeholder is filled when the loop begins.
    """

    items: Any

    def check(self) -> None:
        """Raise `ValidationError` for an empty collection."""
        if not isinstance(self.items, str):
            self.filled(self.items)

    def filled(self, items: Any) -> Sequence[Any]:
        """The items."""
        if isinstance(items, Mapping):
            table = cast("Mapping[str, Any]", items)
            found: Sequence[Any] = [{"key": key, "value": table[key]} for key in sorted(table)]
        elif isinstance(items, Sequence) and not isinstance(items, str | bytes):
            found = cast("Sequence[Any]", items)
        else:
            raise ValidationError(
                f"Collection iterator must be a list or a table, not {type(items).__name__}",
                field="iterator",
            )
        if not found:
            raise ValidationError("Collection iterator cannot be empty", field="iterator")
        return found


@dataclass(frozen=True, slots=True)
class While:
    """As long as a condition holds, asked before each iteration."""

    condition: Condition
    text: str = "function"
    max_iterations: int = 100

    def check(self) -> None:
        """Raise `ValidationError` for a cap below 1."""
        if self.max_iterations < 1:
            raise ValidationError("Max iterations must be at least 1", field="max_iterations")

    def describe(self) -> dict[str, Any]:
        """For ``metadata.extra``."""
        return {
            "iterator_type": "while_condition",
            "while_condition": self.text,
            "condition": self.text,
            "max_iterations": self.max_iterations,
        }


@dataclass(frozen=True, slots=True)
class Break:
    """A condition that ends a loop, asked after each iteration; `message` is the reason given."""

    condition: Condition
    message: str


@dataclass(frozen=True, slots=True)
class Aggregation:
    """Which iterations the result keeps; `n` is for ``first_n`` and ``last_n``."""

    strategy: Strategy = "collect_all"
    n: int = 1


@dataclass(frozen=True, slots=True)
class LoopPlan:
    """The body once for each value of the iterator.

    Functions are called with: `state_update(context, outputs)` after each iteration (a table it
    returns is merged into ``context.state``), `update(context, output)` likewise,
    `on_iteration_complete(iteration, outputs)`.
    """

    iterator: Range | Collection | While
    body: tuple[Step, ...]
    breaks: tuple[Break, ...] = ()
    continue_condition: Condition | None = None
    max_iterations: int | None = None
    initial_state: Mapping[str, Any] = field(default_factory=dict[str, Any])
    state_update: Function | None = None
    update: Function | None = None
    aggregation: Aggregation = field(default_factory=Aggregation)
    on_iteration_complete: Function | None = None
    iteration_delay_seconds: float = 0.0
    continue_on_error: bool = False
    kind: Kind = field(default="loop", init=False)

    def steps(self) -> tuple[Step, ...]:
        return self.body

    def check(self) -> None:
        if not self.body:
            raise ValidationError("Loop body cannot be empty", field="body")
        if self.max_iterations is not None and self.max_iterations < 1:
            raise ValidationError("Max iterations must be at least 1", field="max_iterations")
        check_names(self.body, "the loop body")
        self.iterator.check()

    async def run(self, frame: Frame) -> PlanOutcome:
        return await _Rounds(self, frame).run()


class _Rounds:
    """A loop while it runs."""

    def __init__(self, plan: LoopPlan, frame: Frame) -> None:
        self._plan = plan
        self._frame = frame
        self._around = Frame(
            frame.run, frame.context, parent=frame, place=frame.place, branch=frame.branch
        )
        aggregation = plan.aggregation
        keep = {"last_only": 1, "last_n": aggregation.n}.get(aggregation.strategy)
        self._kept: deque[dict[str, Any]] = deque(maxlen=keep)
        self._outputs: deque[Any] = deque(maxlen=keep)
        self._limit = plan.max_iterations
        self._total: int | None = None
        self._begun = 0
        self._completed = 0
        self._reason: str | None = None
        self._description: dict[str, Any] = {}

    async def run(self) -> PlanOutcome:
        plan, frame = self._plan, self._frame
        frame.run.state.update(plan.initial_state)
        import asyncio

        started = frame.context.monotonic()
        try:
            for value in await self._values():
                if self._begun and plan.iteration_delay_seconds:
                    await pause(plan.iteration_delay_seconds, frame.context)
                # Steps that never wait would otherwise keep the event loop to themselves.
                await asyncio.sleep(0)
                if not await self._iteration(value):
                    break
            else:
                self._note_limit()
        except StepFailed as failed:
            failed.outcome = failed.outcome or self._outcome(frame, started)
            raise
        finally:
            self._around.leave()
        return self._outcome(frame, started)

    async def _values(self) -> Iterable[Any]:
        iterator, limit = self._plan.iterator, self._limit
        if isinstance(iterator, While):
            self._description = iterator.describe()
            self._limit = iterator.max_iterations if limit is None else limit
            return range(1, self._limit + 1)
        if isinstance(iterator, Range):
            self._description = iterator.describe()
            count, values = iterator.count(), iterator.values()
        else:
            items = iterator.filled(await self._frame.filled(iterator.items))
            self._description = {"iterator_type": "collection", "collection_size": len(items)}
            count, values = len(items), iter(items)
        self._total = count if limit is None else min(count, limit)
        self._capped = limit is not None and count > limit
        return islice(values, limit)

    _capped = False

    def _note_limit(self) -> None:
        if self._capped or isinstance(self._plan.iterator, While):
            self._reason = f"max_iterations ({self._limit}) reached"

    async def _iteration(self, value: Any) -> bool:
        """One iteration; whether the loop goes on."""
        plan, around = self._plan, self._around
        around.context.check()
        number = self._begun + 1
        with around.context.span("iteration", str(number)) as context:
            inner = Frame(
                around.run,
                context,
                parent=around,
                loop={**self._frame.loop, **self._variables(number, value)},
                place=f"{self._frame.place}iteration_{number}:",
                branch=around.branch,
            )
            inner.iterations = cast("list[Any]", self._outputs)
            iterator = plan.iterator
            if isinstance(iterator, While) and not truthy(await iterator.condition.evaluate(inner)):
                return False
            self._begun = number
            succeeded = await self._body(inner)
            inner.leave()
            await self._after(inner, number)
            tell(inner, "workflow.loop.iteration", iteration=number, success=succeeded)
            return await self._goes_on(inner)

    def _variables(self, number: int, value: Any) -> dict[str, Any]:
        return {
            "loop_value": value,
            "loop_index": number - 1,
            "iteration": number,
            "iteration_value": value,
            "current_value": value,
            "current_item": value,
            "current_index": number,
            "index": number,
            "total_iterations": self._total,
        }

    async def _body(self, inner: Frame) -> bool:
        try:
            await run_steps(self._plan.body, inner)
        except StepFailed:
            inner.leave()
            if not self._plan.continue_on_error:
                raise
            return False
        if all(result.success or not result.required for result in inner.results.values()):
            self._completed += 1
            return True
        return False

    async def _after(self, inner: Frame, number: int) -> None:
        plan = self._plan
        outputs = {name: result.output for name, result in inner.results.items()}
        self._keep(outputs, inner.previous)
        for function, given in ((plan.update, inner.previous), (plan.state_update, outputs)):
            if function is not None:
                changed = await call(function, inner.view(), given, context=inner.context)
                if isinstance(changed, Mapping):
                    inner.run.state.update(cast("Mapping[str, Any]", changed))
        await notify(plan.on_iteration_complete, number, outputs, context=inner.context)

    def _keep(self, outputs: dict[str, Any], last: Any) -> None:
        aggregation = self._plan.aggregation
        if aggregation.strategy == "none":
            return
        if aggregation.strategy == "first_n" and len(self._kept) >= aggregation.n:
            return
        self._kept.append(outputs)
        self._outputs.append(last)

    async def _goes_on(self, inner: Frame) -> bool:
        for stop in self._plan.breaks:
            if truthy(await stop.condition.evaluate(inner)):
                self._reason = stop.message
                return False
        again = self._plan.continue_condition
        if again is not None and not truthy(await again.evaluate(inner)):
            self._reason = "continue_condition"
            return False
        return True

    def _outcome(self, frame: Frame, started: float) -> PlanOutcome:
        strategy = self._plan.aggregation.strategy
        kept = list(self._kept)
        total = self._begun if self._total is None else self._total
        counts = {"total_iterations": total, "completed_iterations": self._completed}
        aggregated: dict[str, Any] = {
            "loop_metadata": {
                **counts,
                "break_reason": self._reason,
                "duration_ms": (frame.context.monotonic() - started) * 1000,
            }
        }
        if strategy == "last_only":
            aggregated["last_iteration"] = kept[-1] if kept else None
        elif strategy in ("first_n", "last_n"):
            aggregated["iterations"] = kept
        elif strategy == "collect_outputs":
            aggregated["all_iterations"] = list(self._outputs)
        elif strategy == "collect_all":
            aggregated["all_iterations"] = kept
        results = list(self._outputs) if strategy == "collect_outputs" else kept
        return PlanOutcome(
            self._around.previous if self._begun else None,
            extra={
                **counts,
                "break_reason": self._reason,
                "aggregated_results_count": len(kept),
                **self._description,
                "continue_on_error": self._plan.continue_on_error,
            },
            fields={
                "iterations": self._begun,
                "iteration_outputs": list(self._outputs),
                "break_reason": self._reason,
                "final_state": dict(frame.run.state),
            },
            data={**counts, "aggregated_results": results},
            aggregated=aggregated,
        )
