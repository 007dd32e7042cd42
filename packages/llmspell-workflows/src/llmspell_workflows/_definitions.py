"""What a workflow consists of: steps, branches, strategies, options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from llmspell_core import EffectClass, ValidationError
from llmspell_workflows._functions import Function, is_function

if TYPE_CHECKING:
    from llmspell_workflows._conditions import Condition
    from llmspell_workflows._frames import Frame
    from llmspell_workflows._results import PlanOutcome

Kind = Literal["sequential", "conditional", "loop", "parallel"]
KINDS: tuple[Kind, ...] = ("sequential", "conditional", "loop", "parallel")


@dataclass(frozen=True, slots=True)
class ErrorStrategy:
    """What the failure of a step does to the run.

    ``fail_fast`` ends it, ``continue`` goes on and ends as partial, ``retry`` tries the step up
    to `max_attempts` times, waiting ``backoff_ms * multiplier ** attempt``, and then ends it.
    """

    kind: Literal["fail_fast", "continue", "retry"] = "fail_fast"
    max_attempts: int = 3
    backoff_ms: float = 1000
    multiplier: float = 1.0


@dataclass(frozen=True, slots=True)
class ToolAction:
    """Call a tool."""

    tool: str
    input: Any
    kind = "tool"


@dataclass(frozen=True, slots=True)
class AgentAction:
    """Ask an agent: its name, its id or itself."""

    agent: Any
    input: Any
    kind = "agent"


@dataclass(frozen=True, slots=True)
class WorkflowAction:
    """Run another workflow: its name, its id or itself."""

    workflow: Any
    input: Any
    kind = "workflow"


@dataclass(frozen=True, slots=True)
class FunctionAction:
    """Call a function, or the one registered under a name.

    `context_first`: it gets ``(context, parameters)`` instead of ``(parameters, context)``.
    """

    function: Function | str
    parameters: Any = None
    context_first: bool = False
    effect_class: EffectClass = EffectClass.IDEMPOTENT
    kind = "custom"


class Plan(Protocol):
    """A rule with its steps: what the four kinds of workflow are made of."""

    @property
    def kind(self) -> Kind:
        """The rule."""
        ...

    async def run(self, frame: Frame) -> PlanOutcome:
        """Follow the rule.

        Raises:
            StepFailed: when a step failed and the run must end.
        """
        ...

    def check(self) -> None:
        """Raise `ValidationError` for a plan that cannot run."""
        ...

    def steps(self) -> tuple[Step, ...]:
        """The steps it may run, those of nested plans not included."""
        ...


@dataclass(frozen=True, slots=True)
class PlanAction:
    """Follow a nested plan, with the names and data of this run."""

    plan: Plan

    @property
    def kind(self) -> str:
        """The rule of the plan."""
        return self.plan.kind


Action = ToolAction | AgentAction | WorkflowAction | FunctionAction | PlanAction


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `timeout_seconds` and `retries` of None take the workflow's.

    Functions are called with: `before_execute(context)`, `after_execute(context, result)`,
    `on_complete(result)`, `on_retry(attempt, error)`, `on_error(error, context)` (its answer
    becomes the output), `compensate(context, result)` (when a later step ends the run).
    `on_error` may also be ``continue``, ``skip``, ``fail`` or ``retry``.
    """

    name: str
    action: Action
    timeout_seconds: float | None = None
    retries: int | None = None
    condition: Condition | None = None
    skip_if: Condition | None = None
    on_error: ErrorStrategy | Function | None = None
    required: bool = True
    description: str = ""
    before_execute: Function | None = None
    after_execute: Function | None = None
    on_complete: Function | None = None
    on_retry: Function | None = None
    compensate: Function | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValidationError("Step name cannot be empty", field="name")
        _check_action(self.name, self.action)

    @classmethod
    def tool(
        cls, name: str, tool: str, input: Mapping[str, Any] | None = None, **options: Any
    ) -> Step:
        """A step that calls a tool; *options* are the other fields of `Step`."""
        return cls(name, ToolAction(tool, dict(input or {})), **options)

    @classmethod
    def agent(cls, name: str, agent: Any, input: Any, **options: Any) -> Step:
        """A step that asks an agent."""
        return cls(name, AgentAction(agent, input), **options)

    @classmethod
    def workflow(cls, name: str, workflow: Any, input: Any = None, **options: Any) -> Step:
        """A step that runs another workflow."""
        return cls(name, WorkflowAction(workflow, input), **options)

    @classmethod
    def custom(
        cls,
        name: str,
        function: Function | str,
        parameters: Any = None,
        *,
        effect_class: EffectClass = EffectClass.IDEMPOTENT,
        **options: Any,
    ) -> Step:
        """A step that calls ``function(parameters, context)``, plain (in a worker thread) or
        async. Its answer must have a JSON form. *effect_class* says what resume may do when
        the process died in the middle of it.
        """
        return cls(name, FunctionAction(function, parameters, False, effect_class), **options)

    @classmethod
    def nested(cls, name: str, plan: Plan, **options: Any) -> Step:
        """A step that follows a plan of its own."""
        return cls(name, PlanAction(plan), **options)


def _check_action(name: str, action: Action) -> None:
    message = None
    if isinstance(action, ToolAction):
        if not action.tool:
            message = "Tool name cannot be empty"
    elif isinstance(action, AgentAction):
        if action.agent is None or action.agent == "":
            message = "Agent name cannot be empty"
        elif action.input in (None, "", {}):
            message = "Agent input cannot be empty"
    elif isinstance(action, WorkflowAction):
        if action.workflow is None or action.workflow == "":
            message = "Workflow id cannot be empty"
    elif isinstance(action, FunctionAction):
        if not action.function:
            message = "Custom function name cannot be empty"
        elif not isinstance(action.function, str) and not is_function(action.function):
            message = f"Custom function cannot be {type(action.function).__name__}"
    if message is not None:
        raise ValidationError(f"{message} (step '{name}')", field="steps")


@dataclass(frozen=True, slots=True)
class Options:
    """What is the same for every kind of workflow. Times are seconds.

    Functions are called with: `on_start(context)`, `on_complete(result)`,
    `on_error(error, context)`, `on_step_start(context)`, `on_step_complete(result)`,
    `on_timeout(context)`.
    """

    description: str = ""
    error_strategy: ErrorStrategy = field(default_factory=ErrorStrategy)
    timeout_seconds: float | None = None
    step_timeout_seconds: float = 30.0
    variables: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    pre_condition: Condition | None = None
    on_start: Function | None = None
    on_complete: Function | None = None
    on_error: Function | None = None
    on_step_start: Function | None = None
    on_step_complete: Function | None = None
    on_timeout: Function | None = None
