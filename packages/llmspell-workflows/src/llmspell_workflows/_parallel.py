"""The parallel plan: branches at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from llmspell_core import LLMSpellError, LLMTimeoutError, ValidationError, WorkflowError, canonical
from llmspell_workflows._definitions import Kind, Step
from llmspell_workflows._frames import Frame
from llmspell_workflows._keys import key_part
from llmspell_workflows._reporting import tell
from llmspell_workflows._results import PlanOutcome, StepFailed
from llmspell_workflows._serial import check_names
from llmspell_workflows._steps import run_steps

if TYPE_CHECKING:
    import asyncio

Merge = Literal["combine", "first", "vote", "all"]
MERGES: tuple[Merge, ...] = ("combine", "first", "vote", "all")


@dataclass(frozen=True, slots=True)
class ParallelBranch:
    """Steps that run one after the other beside other branches."""

    name: str
    steps: tuple[Step, ...]
    required: bool = True
    description: str = ""
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class BranchResult:
    """What came of a branch."""

    name: str
    success: bool
    output: Any = None
    error: str | None = None
    duration_ms: float = 0.0
    required: bool = True
    cancelled: bool = False

    def to_fields(self) -> dict[str, Any]:
        """As scripts read it."""
        return {
            "name": self.name,
            "success": self.success,
            "output": self.output,
            "error": self.error,
            "duration_ms": self.duration_ms,
            "required": self.required,
            "cancelled": self.cancelled,
        }


@dataclass(frozen=True, slots=True)
class ParallelPlan:
    """Branches at the same time, at most `max_concurrency` of them.

    With `fail_fast` the first failure of a required branch cancels the others. `merge` makes
    the output: ``combine`` a table branch → output, ``all`` a list in the order of the
    branches, ``first`` the output of the branch that succeeds first (the others are cancelled),
    ``vote`` the output most branches agree on, the earliest of them in a tie.

    `min_successful` and `min_percentage` replace the rule that every required branch succeeds.
    """

    branches: tuple[ParallelBranch, ...]
    max_concurrency: int = 4
    fail_fast: bool | None = None
    merge: Merge = "combine"
    pre_steps: tuple[Step, ...] = ()
    post_steps: tuple[Step, ...] = ()
    min_successful: int | None = None
    min_percentage: float | None = None
    kind: Kind = field(default="parallel", init=False)

    def steps(self) -> tuple[Step, ...]:
        inside = [step for branch in self.branches for step in branch.steps]
        return (*self.pre_steps, *inside, *self.post_steps)

    def check(self) -> None:
        if not self.branches:
            raise ValidationError(
                "Cannot execute parallel workflow without branches", field="branches"
            )
        if self.max_concurrency < 1:
            raise ValidationError("Max concurrency must be at least 1", field="max_concurrency")
        names = [branch.name for branch in self.branches]
        for branch in self.branches:
            if names.count(branch.name) > 1:
                raise ValidationError(
                    f"Branch name '{branch.name}' is used twice", field="branches"
                )
            if not branch.steps:
                raise ValidationError(f"Branch '{branch.name}' has no steps", field="branches")
            around = (*self.pre_steps, *branch.steps, *self.post_steps)
            check_names(around, f"branch '{branch.name}'")

    def _stops(self, frame: Frame) -> bool:
        if self.merge in ("first", "vote") or self._has_criteria():
            return self.fail_fast is True
        if self.fail_fast is None:
            return frame.run.options.error_strategy.kind != "continue"
        return self.fail_fast

    def _has_criteria(self) -> bool:
        return self.min_successful is not None or self.min_percentage is not None

    async def run(self, frame: Frame) -> PlanOutcome:
        await run_steps(self.pre_steps, frame)
        race = _Race(self, frame, self._stops(frame))
        results = await race.run()
        merged = self._merged(results, race.winner)
        error = self._error(results)
        outcome = self._outcome(results, merged, race.stopped, frame, error)
        if error is not None:
            return outcome
        frame.previous = merged
        try:
            await run_steps(self.post_steps, frame)
        except StepFailed as failed:
            failed.outcome = outcome
            raise
        return outcome

    def _error(self, results: list[BranchResult]) -> LLMSpellError | None:
        good = sum(result.success for result in results)
        if self._has_criteria():
            wanted = self.min_successful or 0
            percentage = self.min_percentage or 0.0
            if good >= wanted and good * 100 >= percentage * len(results):
                return None
            return WorkflowError(f"{good} of {len(results)} branches succeeded, too few")
        if self.merge in ("first", "vote") and good:
            return None
        failed = [r for r in results if r.required and not r.success and not r.cancelled]
        if not failed:
            if any(r.required and not r.success for r in results):
                return WorkflowError("required branches were cancelled")
            return None
        first = failed[0]
        return WorkflowError(f"{len(failed)} required branches failed: {first.name}: {first.error}")

    def _merged(self, results: list[BranchResult], winner: BranchResult | None) -> Any:
        good = [result for result in results if result.success]
        if self.merge == "all":
            return [result.output for result in good]
        if self.merge == "first":
            return None if winner is None else winner.output
        if self.merge == "vote":
            return _voted([result.output for result in good])
        return {result.name: result.output for result in good}

    def _outcome(
        self,
        results: list[BranchResult],
        merged: Any,
        stopped: bool,
        frame: Frame,
        error: LLMSpellError | None,
    ) -> PlanOutcome:
        good = sum(result.success for result in results)
        counts = {
            "successful_branches": good,
            "failed_branches": len(results) - good,
        }
        extra: dict[str, Any] = {
            "total_branches": len(results),
            **counts,
            "stopped_early": stopped,
            "max_concurrency": self.max_concurrency,
            "fail_fast": self._stops(frame),
            "merge_strategy": self.merge,
            "merged": merged,
            "branch_results": [result.to_fields() for result in results],
        }
        return PlanOutcome(
            merged,
            error=error,
            extra=extra,
            fields={"branches": {r.name: r.to_fields() for r in results}, **counts},
            data={**counts, "executed_branches": len(results), "merged": merged},
        )


def _voted(outputs: list[Any]) -> Any:
    votes: dict[str, int] = {}
    first: dict[str, Any] = {}
    for output in outputs:
        text = canonical(output)
        votes[text] = votes.get(text, 0) + 1
        first.setdefault(text, output)
    if not votes:
        return None
    return first[max(votes, key=lambda text: votes[text])]


class _Race:
    """The branches while they run."""

    def __init__(self, plan: ParallelPlan, frame: Frame, stops: bool) -> None:
        self._plan = plan
        self._frame = frame
        self._stops = stops
        self._frames: dict[str, Frame] = {}
        self.stopped = False
        self.winner: BranchResult | None = None

    async def run(self) -> list[BranchResult]:
        """Run them; the results are in the order of the branches."""
        import asyncio

        slots = asyncio.Semaphore(self._plan.max_concurrency)
        tasks = {
            asyncio.create_task(self._branch(branch, slots), name=f"branch {branch.name}"): branch
            for branch in self._plan.branches
        }
        try:
            results = await self._collect(tasks)
        except BaseException:
            await _cancelled(tasks)
            raise
        finally:
            self._leave()
        return [results[branch.name] for branch in self._plan.branches]

    def _leave(self) -> None:
        """Enter the results in the order of the branches, whatever order they came in."""
        for branch in self._plan.branches:
            inner = self._frames.get(branch.name)
            if inner is None:
                continue
            inner.leave()
            for result in inner.book.values():
                self._frame.enter(result)

    async def _collect(
        self, tasks: Mapping[asyncio.Task[BranchResult], ParallelBranch]
    ) -> dict[str, BranchResult]:
        import asyncio

        results: dict[str, BranchResult] = {}
        pending = set(tasks)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in (task for task in tasks if task in done):
                results[tasks[task].name] = task.result()
            if self.stopped and pending:
                await _cancelled(pending)
                for task in pending:
                    # One may have finished while the others were being stopped.
                    branch = tasks[task]
                    ended = _never_finished(branch) if task.cancelled() else task.result()
                    results[branch.name] = ended
                break
        return results

    def _judge(self, result: BranchResult) -> None:
        if result.success:
            if self.winner is None:
                self.winner = result
            if self._plan.merge == "first":
                self.stopped = True
        elif result.required and self._stops:
            self.stopped = True

    async def _branch(self, branch: ParallelBranch, slots: asyncio.Semaphore) -> BranchResult:
        async with slots:
            if self.stopped:
                return _never_finished(branch)
            frame = self._frame
            tell(frame, "workflow.branch.started", branch=branch.name)
            with frame.context.span("branch", branch.name) as context:
                inner = self._frames[branch.name] = Frame(
                    frame.run,
                    context,
                    parent=frame,
                    place=f"{frame.place}branch_{key_part(branch.name)}:",
                    branch=branch.name,
                    book={},
                )
                started = context.monotonic()
                error = await _follow(branch, inner)
                took = (context.monotonic() - started) * 1000
            result = BranchResult(
                branch.name,
                error is None,
                output=inner.previous if inner.results and error is None else None,
                error=None if error is None else str(error),
                duration_ms=took,
                required=branch.required,
            )
            what = "completed" if result.success else "failed"
            tell(frame, f"workflow.branch.{what}", branch=branch.name, duration_ms=took)
            self._judge(result)
            return result


def _never_finished(branch: ParallelBranch) -> BranchResult:
    return BranchResult(
        branch.name, False, error="Cancelled", required=branch.required, cancelled=True
    )


async def _follow(branch: ParallelBranch, inner: Frame) -> LLMSpellError | None:
    """Run the steps of a branch; the error it failed with."""
    import asyncio

    limit = asyncio.timeout(branch.timeout_seconds)
    try:
        async with limit:
            await run_steps(branch.steps, inner)
    except StepFailed as failed:
        return WorkflowError(
            f"Step '{failed.result.name}' failed: {failed.error}", step=failed.result.name
        )
    except TimeoutError as error:
        if isinstance(error, LLMSpellError) or not limit.expired():
            raise
        seconds = branch.timeout_seconds or 0.0
        return LLMTimeoutError(
            f"branch '{branch.name}' timed out after {seconds:g}s",
            duration_ms=round(seconds * 1000),
            operation=branch.name,
        )
    for result in inner.results.values():
        if not result.success and result.required:
            return WorkflowError(f"Step '{result.name}' failed: {result.error}", step=result.name)
    return None


async def _cancelled(tasks: Any) -> None:
    """Cancel *tasks* and wait until they have ended; what they raise is read, not raised."""
    import asyncio

    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
