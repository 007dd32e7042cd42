"""What steps, plans and workflows bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from llmspell_core import AgentOutput, LLMSpellError, Record, WorkflowError

Status = Literal["completed", "failed", "partial", "cancelled", "timeout"]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What came of a step. `output` is its value, `text` what a person reads.

    A step whose condition did not hold is `skipped` and counts as a success.
    """

    name: str
    type: str
    success: bool
    output: Any = None
    text: str = ""
    error: str | None = None
    error_type: str | None = None
    duration_ms: float = 0.0
    retry_count: int = 0
    skipped: bool = False
    required: bool = True
    branch: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_fields(self) -> dict[str, Any]:
        """As scripts read it."""
        return {
            "name": self.name,
            "type": self.type,
            "success": self.success,
            "skipped": self.skipped,
            "output": self.output,
            "content": self.text,
            "text": self.text,
            "error": self.error,
            "duration_ms": self.duration_ms,
            "retry_count": self.retry_count,
        }


@dataclass(frozen=True, slots=True)
class PlanOutcome:
    """What came of following a plan to its end.

    `extra` is for programs (``metadata.extra``), `fields` and `data` are what scripts find in
    the result and in its ``data``. `error` says why the plan as a whole failed although no step
    ended it.
    """

    output: Any = None
    error: LLMSpellError | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    aggregated: Any = None


class StepFailed(Exception):
    """Control flow: a step failed and the run has to end; `outcome` is how far its plan came."""

    def __init__(self, result: StepResult, error: LLMSpellError) -> None:
        super().__init__(result.name)
        self.result = result
        self.error = error
        self.outcome: PlanOutcome | None = None


@dataclass(frozen=True, slots=True)
class WorkflowResult:
    """What came of a run. Durations are milliseconds.

    `steps` holds the last result of each step in the order they first ran; `outputs` the
    outputs of those that succeeded. `partial` means that a step failed and the error strategy
    went on.
    """

    execution_id: str
    workflow_id: str
    workflow_name: str
    workflow_type: str
    status: Status
    text: str
    error: str | None
    output: Any
    outputs: Mapping[str, Any]
    steps: tuple[StepResult, ...]
    steps_executed: int
    steps_failed: int
    steps_skipped: int
    duration_ms: float
    started_at: float
    failed_step: str | None = None
    last_completed_step: str | None = None
    agent_outputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def success(self) -> bool:
        """Whether every required step succeeded."""
        return self.status == "completed"

    @property
    def steps_succeeded(self) -> int:
        """Executed and not failed."""
        return self.steps_executed - self.steps_failed

    def metadata(self) -> dict[str, Any]:
        """``metadata`` of the output and of the script's result table."""
        return {
            "execution_time_ms": self.duration_ms,
            "steps_executed": self.steps_executed,
            "steps_succeeded": self.steps_succeeded,
            "extra": {
                "workflow_type": self.workflow_type,
                "workflow_name": self.workflow_name,
                "execution_id": self.execution_id,
                "workflow_id": self.workflow_id,
                "agent_outputs": dict(self.agent_outputs),
                "total_steps": self.steps_executed + self.steps_skipped,
                "successful_steps": self.steps_succeeded,
                "failed_steps": self.steps_failed,
                "success_rate": self.steps_succeeded / self.steps_executed
                if self.steps_executed
                else 1.0,
                **self.extra,
            },
        }

    def to_record(self) -> Record:
        """The result table of scripts."""
        from llmspell_core import Items

        records = [step.to_fields() for step in self.steps]
        steps = Items(records, {record["name"]: record for record in records})
        metadata = self.metadata()
        fields: dict[str, Any] = {
            "success": self.success,
            "status": self.status,
            "text": self.text,
            "error": self.error,
            "failed_step": self.failed_step,
            "last_completed_step": self.last_completed_step,
            "partial_success": self.status == "partial",
            "execution_id": self.execution_id,
            "workflow_id": self.workflow_id,
            "id": self.workflow_id,
            "workflow_name": self.workflow_name,
            "name": self.workflow_name,
            "workflow_type": self.workflow_type,
            "type": self.workflow_type,
            "output": self.output,
            "final_output": self.output,
            "outputs": dict(self.outputs),
            "steps": steps,
            "step_results": steps,
            "step_timings": {step.name: step.duration_ms for step in self.steps},
            "steps_executed": self.steps_executed,
            "steps_succeeded": self.steps_succeeded,
            "steps_failed": self.steps_failed,
            "steps_skipped": self.steps_skipped,
            "data": {
                "steps_executed": self.steps_executed,
                "final_output": self.output,
                **self.data,
            },
            "duration_ms": self.duration_ms,
            "execution_time": self.duration_ms,
            "metadata": metadata,
            "_metadata": metadata,
            "media": [],
            "tool_calls": [],
            **self.fields,
        }
        return Record(fields, text=self.text if self.success else self.error or self.text)


@dataclass(frozen=True, slots=True)
class WorkflowOutput(AgentOutput):
    """The output of a workflow: an `AgentOutput` that also holds the whole result."""

    result: WorkflowResult | None = None

    @classmethod
    def of(cls, result: WorkflowResult) -> WorkflowOutput:
        """The output for *result*: `text` is the summary, `data` the last output."""
        return cls(text=result.text, data=result.output, metadata=result.metadata(), result=result)


class WorkflowFailed(WorkflowError):
    """A run ended early; `result` tells how far it came."""

    def __init__(self, message: str, *, result: WorkflowResult, **common: Any) -> None:
        super().__init__(message, **common)
        self.result = result
