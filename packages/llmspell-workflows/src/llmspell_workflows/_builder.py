"""`WorkflowBuilder`: a workflow, said step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, cast

from llmspell_core import ValidationError, exposed, new_id, script_object
from llmspell_workflows._conditions import Condition, condition_from
from llmspell_workflows._definitions import Kind
from llmspell_workflows._functions import is_function
from llmspell_workflows._loop import Collection, Range, While
from llmspell_workflows._parsing import (
    default_name,
    items_of,
    range_from,
    step_from,
    while_from,
    workflow_from,
)
from llmspell_workflows._workflow import ComposedWorkflow

ITERATIONS_WITHOUT_ITERATOR = 9


@script_object("WorkflowBuilder")
class WorkflowBuilder:
    """Every method changes the builder and returns it; `build` makes the workflow.

    Args:
        name: The name, as the method `name`.
        kind: The rule, as the methods `sequential`, `conditional`, `loop`, `parallel`.
    """

    def __init__(self, name: str | None = None, *, kind: Kind | None = None) -> None:
        self._kind: Kind | None = kind
        self._fields: dict[str, Any] = {} if name is None else {"name": name}
        self._steps: list[Any] = []
        self._then: list[Any] = []
        self._else: list[Any] = []
        self._branches: list[Mapping[str, Any]] = []
        self._condition: Condition | None = None
        self._condition_text = "function"
        self._iterator: Range | Collection | While | None = None

    def _set(self, **fields: Any) -> Self:
        self._fields.update(fields)
        return self

    def _of(self, kind: Kind) -> Self:
        self._kind = kind
        return self

    @exposed()
    def sequential(self) -> Self:
        """Run steps in order."""
        return self._of("sequential")

    @exposed()
    def conditional(self) -> Self:
        """Run one branch or another."""
        return self._of("conditional")

    @exposed(names=("loop_workflow",))
    def loop(self) -> Self:
        """Run a body again and again."""
        return self._of("loop")

    @exposed()
    def parallel(self) -> Self:
        """Run branches at the same time."""
        return self._of("parallel")

    @exposed()
    def name(self, name: str) -> Self:
        """Say what it is called; at first ``workflow_`` and 8 hex digits."""
        return self._set(name=name)

    @exposed()
    def description(self, text: str) -> Self:
        """Say what it is for."""
        return self._set(description=text)

    @exposed()
    def error_strategy(self, strategy: Any) -> Self:
        """Say what a failed step does to the run.

        Args:
            strategy: ``fail_fast``, ``continue``, ``retry``, or a table with ``type``.
        """
        return self._set(error_strategy=strategy)

    @exposed()
    def on_error(self, value: Any) -> Self:
        """Say what a failed step does to the run, or have a function called.

        Args:
            value: A strategy, or a function called with the error and the context.
        """
        return self._set(**{"on_error" if is_function(value) else "error_strategy": value})

    @exposed()
    def max_retries(self, attempts: int) -> Self:
        """Bound the attempts of the strategy ``retry``, the first included."""
        return self._set(max_retries=attempts)

    @exposed(names=("timeout",))
    def timeout_ms(self, milliseconds: float) -> Self:
        """Bound the time of the whole run."""
        return self._set(timeout_ms=milliseconds)

    @exposed()
    def variables(self, table: dict[str, Any]) -> Self:
        """Set values that placeholders find by name, when nothing else has it."""
        return self._set(variables=table)

    @exposed()
    def add_step(self, step: Any, action: Any = None) -> Self:
        """Append a step.

        Args:
            step: A table that describes the step, or its name.
            action: What the step of that name does.
        """
        made = step_from(step) if action is None else step_from(action, str(step))
        self._steps.append(made)
        return self

    @exposed()
    def step(self, name: str, spec: Any = None, **fields: Any) -> Self:
        """Append a step of that name.

        Args:
            name: Its name.
            spec: A table that describes it.
            **fields: More of the description, from Python.
        """
        return self.add_step(step_from({**_table(spec), **fields, "name": name}))

    @exposed()
    def condition(self, condition: Any, comparison: Any = None) -> Self:
        """Say which branch is taken, or how long is looped.

        Args:
            condition: An expression, a function, or a reference such as ``step:x:output``.
            comparison: What the reference is compared with: ``> 0.8``.
        """
        self._condition = condition_from(condition, comparison)
        self._condition_text = condition if isinstance(condition, str) else "function"
        return self

    @exposed()
    def add_then_step(self, step: Any) -> Self:
        """Append to the branch for when the condition holds."""
        self._then.append(step_from(step))
        return self

    @exposed()
    def add_else_step(self, step: Any) -> Self:
        """Append to the branch for when nothing holds."""
        self._else.append(step_from(step))
        return self

    @exposed()
    def when_true(self, steps: Any) -> Self:
        """Append steps for when the condition holds.

        Args:
            steps: A step or a list of them.
        """
        self._then += items_of(steps)
        return self

    @exposed(names=("default_branch",))
    def when_false(self, steps: Any) -> Self:
        """Append steps for when nothing holds.

        Args:
            steps: A step, a list of them, or a table with ``steps``.
        """
        inner = _table(steps).get("steps") if isinstance(steps, Mapping) else None
        self._else += items_of(steps if inner is None else inner)
        return self

    @exposed()
    def add_branch(self, condition: Any, steps: Any) -> Self:
        """Add a branch, tried after those before it.

        Args:
            condition: As for `condition`.
            steps: A step or a list of them.
        """
        number = len(self._branches) + 1
        self._branches.append(
            {"name": f"branch_{number}", "condition": condition_from(condition), "steps": steps}
        )
        return self

    @exposed()
    def branch(self, name: str, spec: Any) -> Self:
        """Add a named branch of a parallel workflow.

        Args:
            name: Its name.
            spec: Steps, or a table with ``steps``.
        """
        table = _table(spec)
        fields = table if "steps" in table else {"steps": items_of(spec)}
        self._branches.append({**fields, "name": name})
        return self

    @exposed()
    def with_range(self, range: Any = None) -> Self:
        """Loop over numbers.

        Args:
            range: ``{start = 1, end = 10, step = 1, inclusive = false}``; the end is not included.
        """
        self._iterator = range_from(range or {}, inclusive=False, start=1, end=10)
        return self

    @exposed()
    def with_collection(self, items: Any) -> Self:
        """Loop over the items of a list or table."""
        self._iterator = Collection([] if items == {} else items)
        self._iterator.check()
        return self

    @exposed(names=("loop_condition",))
    def with_while(self, condition: Any) -> Self:
        """Loop as long as a condition holds.

        Args:
            condition: An expression or a function.
        """
        self._iterator = while_from(condition)
        return self

    @exposed(names=("body_step",))
    def body(self, steps: Any) -> Self:
        """Append to the body of the loop.

        Args:
            steps: A step or a list of them.
        """
        self._steps += items_of(steps)
        return self

    @exposed()
    def max_iterations(self, count: int) -> Self:
        """Bound the iterations; 100 for while loops, none for the others."""
        return self._set(max_iterations=count)

    @exposed()
    def break_condition(self, condition: Any) -> Self:
        """End the loop when a condition holds after an iteration."""
        known = items_of(self._fields.get("break_conditions"))
        return self._set(break_conditions=[*known, condition])

    @exposed()
    def initial_state(self, table: dict[str, Any]) -> Self:
        """Set what ``context.state`` begins with."""
        return self._set(initial_state=table)

    @exposed()
    def aggregation_strategy(self, strategy: Any) -> Self:
        """Say which iterations the result keeps."""
        return self._set(aggregation_strategy=strategy)

    @exposed()
    def max_concurrency(self, count: int) -> Self:
        """Say how many branches run at a time; 4 at first."""
        return self._set(max_concurrency=count)

    @exposed()
    def merge_strategy(self, strategy: str) -> Self:
        """Say how results of branches become one: ``combine``, ``first``, ``vote`` or ``all``."""
        return self._set(merge_strategy=strategy)

    @exposed()
    def fail_fast(self, flag: bool = True) -> Self:
        """Say whether the failure of a required branch cancels the others."""
        return self._set(fail_fast=flag)

    @exposed()
    def on_start(self, function: Any) -> Self:
        """Have a function called with the context before the first step."""
        return self._set(on_start=function)

    @exposed()
    def on_complete(self, function: Any) -> Self:
        """Have a function called with the result."""
        return self._set(on_complete=function)

    @exposed()
    def build(self) -> ComposedWorkflow:
        """The workflow.

        Raises:
            ValidationError: ``Workflow type not specified``, or naming what is wrong.
        """
        return self._made(None)

    def _made(self, id: str | None) -> ComposedWorkflow:
        if self._kind is None:
            raise ValidationError(
                "Workflow type not specified",
                field="type",
                hint="Call :sequential(), :conditional(), :loop() or :parallel() first.",
            )
        id = id or f"workflow_{new_id()}"
        made: dict[str, Any] = {
            "name": default_name(id),
            **self._fields,
            **self._content(self._kind),
        }
        return workflow_from(made, self._kind, id=id)

    def _content(self, kind: Kind) -> dict[str, Any]:
        if kind == "sequential":
            return {"steps": self._steps}
        if kind == "parallel":
            return {"branches": self._branches, "steps": self._steps}
        if kind == "conditional":
            content: dict[str, Any] = {"pre_steps": self._steps, "branches": self._branches}
            if self._then or self._condition is not None:
                content |= {"then_branch": self._then, "condition": self._condition}
            if self._else:
                content["default_branch"] = self._else
            return content
        return {"iterator": self._loop_iterator(), "body": self._steps}

    def _loop_iterator(self) -> Range | Collection | While:
        limit = self._fields.get("max_iterations")
        if self._iterator is None and self._condition is not None:
            return While(self._condition, self._condition_text, limit or 100)
        if self._iterator is None:
            return Range(1, limit or ITERATIONS_WITHOUT_ITERATOR, inclusive=True)
        if isinstance(self._iterator, While) and limit is not None:
            return While(self._iterator.condition, self._iterator.text, limit)
        return self._iterator


def _table(spec: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", spec) if isinstance(spec, Mapping) else {}
