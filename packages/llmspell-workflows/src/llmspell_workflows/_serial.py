"""Plans that do one thing after the other: sequential and conditional."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmspell_core import ValidationError, WorkflowError
from llmspell_workflows._conditions import Always, Condition
from llmspell_workflows._definitions import Kind, Step
from llmspell_workflows._expressions import truthy
from llmspell_workflows._frames import Frame
from llmspell_workflows._keys import key_part
from llmspell_workflows._reporting import tell
from llmspell_workflows._results import PlanOutcome, StepFailed
from llmspell_workflows._steps import run_steps

if TYPE_CHECKING:
    from collections.abc import Iterable


def check_names(steps: Iterable[Step], where: str) -> None:
    """Raise `ValidationError` when two steps have one name."""
    seen: set[str] = set()
    for step in steps:
        if step.name in seen:
            raise ValidationError(
                f"Step name '{step.name}' is used twice in {where}",
                field="steps",
                hint="Outputs are known by step names: give each its own.",
            )
        seen.add(step.name)


@dataclass(frozen=True, slots=True)
class SequentialPlan:
    """Steps in order."""

    body: tuple[Step, ...]
    kind: Kind = field(default="sequential", init=False)

    def steps(self) -> tuple[Step, ...]:
        return self.body

    def check(self) -> None:
        if not self.body:
            raise ValidationError("Cannot execute workflow without steps", field="steps")
        check_names(self.body, "the workflow")

    async def run(self, frame: Frame) -> PlanOutcome:
        await run_steps(self.body, frame)
        return PlanOutcome(frame.previous if frame.results else None)


@dataclass(frozen=True, slots=True)
class ConditionalBranch:
    """Steps for when a condition holds."""

    name: str
    steps: tuple[Step, ...]
    condition: Condition = field(default_factory=Always)


@dataclass(frozen=True, slots=True)
class ConditionalPlan:
    """The first branch whose condition holds (or all of them), else the default branch.

    A condition that is a function may also return the name of a branch.
    """

    branches: tuple[ConditionalBranch, ...]
    default_branch: ConditionalBranch | None = None
    pre_steps: tuple[Step, ...] = ()
    post_steps: tuple[Step, ...] = ()
    execute_all_matching: bool = False
    execute_default_on_no_match: bool = True
    max_branches_to_evaluate: int = 100
    kind: Kind = field(default="conditional", init=False)

    def steps(self) -> tuple[Step, ...]:
        inside = [step for branch in self._all() for step in branch.steps]
        return (*self.pre_steps, *inside, *self.post_steps)

    def _all(self) -> tuple[ConditionalBranch, ...]:
        default = self.default_branch
        return self.branches if default is None else (*self.branches, default)

    def check(self) -> None:
        if not self._all():
            raise ValidationError(
                "Cannot execute conditional workflow without branches", field="branches"
            )
        if self.max_branches_to_evaluate < 1:
            raise ValidationError(
                "Max branches to evaluate must be at least 1", field="max_branches_to_evaluate"
            )
        names = [branch.name for branch in self._all()]
        for name in names:
            if names.count(name) > 1:
                raise ValidationError(f"Branch name '{name}' is used twice", field="branches")
        for branch in self._all():
            around = (*self.pre_steps, *branch.steps, *self.post_steps)
            check_names(around, f"branch '{branch.name}'")

    async def run(self, frame: Frame) -> PlanOutcome:
        await run_steps(self.pre_steps, frame)
        matched = await self._matching(frame)
        chosen = matched if self.execute_all_matching else matched[:1]
        if not chosen:
            if self.default_branch is None:
                return self._outcome(
                    frame,
                    matched,
                    (),
                    WorkflowError("No conditions matched and no default branch available"),
                )
            if self.execute_default_on_no_match:
                chosen = (self.default_branch,)
        executed: list[ConditionalBranch] = []
        try:
            for branch in chosen:
                executed.append(branch)
                await self._follow(branch, frame)
            await run_steps(self.post_steps, frame)
        except StepFailed as failed:
            failed.outcome = failed.outcome or self._outcome(frame, matched, tuple(executed))
            raise
        return self._outcome(frame, matched, tuple(executed))

    async def _matching(self, frame: Frame) -> tuple[ConditionalBranch, ...]:
        matched: list[ConditionalBranch] = []
        for branch in self.branches[: self.max_branches_to_evaluate]:
            with frame.context.span("condition", branch.name) as context:
                value = await branch.condition.evaluate(frame.at(context, frame.step))
            found: ConditionalBranch | None = branch if truthy(value) else None
            if isinstance(value, str):
                found = next((b for b in self._all() if b.name == value), None)
            if found is not None and found not in matched:
                matched.append(found)
                if not self.execute_all_matching:
                    break
        return tuple(matched)

    async def _follow(self, branch: ConditionalBranch, frame: Frame) -> None:
        tell(frame, "workflow.branch.started", branch=branch.name)
        with frame.context.span("branch", branch.name) as context:
            inner = Frame(
                frame.run,
                context,
                parent=frame,
                place=f"{frame.place}branch_{key_part(branch.name)}:",
                branch=branch.name,
            )
            try:
                await run_steps(branch.steps, inner)
            except StepFailed:
                tell(frame, "workflow.branch.failed", branch=branch.name)
                raise
            finally:
                inner.leave()
        tell(frame, "workflow.branch.completed", branch=branch.name)

    def _outcome(
        self,
        frame: Frame,
        matched: tuple[ConditionalBranch, ...],
        executed: tuple[ConditionalBranch, ...],
        error: WorkflowError | None = None,
    ) -> PlanOutcome:
        taken = executed[0].name if executed else None
        names = [branch.name for branch in matched]
        extra: dict[str, Any] = {
            "total_branches": len(self._all()),
            "matched_branches": len(matched),
            "executed_branches": len(executed),
            "execute_all_matching": self.execute_all_matching,
            "short_circuit_evaluation": not self.execute_all_matching,
            "branch_names": [branch.name for branch in executed],
        }
        return PlanOutcome(
            frame.previous if frame.results else None,
            error=error,
            extra=extra,
            fields={
                "branch_taken": taken,
                "matched_branches": names,
                "executed_branches": len(executed),
            },
            data={"branch_taken": taken, "executed_branches": len(executed)},
        )
