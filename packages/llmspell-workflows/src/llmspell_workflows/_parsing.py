"""Workflows as tables: what scripts write, made into plans and options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import ValidationError
from llmspell_workflows._conditions import condition_from
from llmspell_workflows._definitions import (
    KINDS,
    Action,
    AgentAction,
    ErrorStrategy,
    FunctionAction,
    Kind,
    Options,
    Plan,
    PlanAction,
    Step,
    ToolAction,
    WorkflowAction,
)
from llmspell_workflows._functions import is_function
from llmspell_workflows._loop import (
    Aggregation,
    Break,
    Collection,
    LoopPlan,
    Range,
    While,
)
from llmspell_workflows._parallel import MERGES, ParallelBranch, ParallelPlan
from llmspell_workflows._serial import ConditionalBranch, ConditionalPlan, SequentialPlan
from llmspell_workflows._workflow import ComposedWorkflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmspell_workflows._conditions import Condition
    from llmspell_workflows._functions import Function

Table = Mapping[str, Any]


def first_of(table: Table, *names: str) -> Any:
    """The first of these fields that is there, or None."""
    return next((table[name] for name in names if table.get(name) is not None), None)


def items_of(value: Any) -> list[Any]:
    """A list as scripts write it: a sequence, one item, nothing, or the empty table."""
    if value is None or (isinstance(value, Mapping) and not value):
        return []
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return list(cast("Sequence[Any]", value))
    return [value]


def _number(table: Table, *names: str) -> float | None:
    for name in names:
        value = table.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValidationError(f"'{name}' must be a number", field=name)
        return value
    return None


def _count(table: Table, *names: str) -> int | None:
    value = _number(table, *names)
    return None if value is None else int(value)


def _seconds(table: Table, *names: str) -> float | None:
    value = _number(table, *names)
    if value is not None and value <= 0:
        raise ValidationError(f"'{names[0]}' must be positive", field=names[0])
    return None if value is None else value / 1000


def _function(table: Table, *names: str) -> Function | None:
    value = first_of(table, *names)
    if value is not None and not is_function(value):
        raise ValidationError(f"'{names[0]}' must be a function", field=names[0])
    return value


def _condition(table: Table, *names: str) -> Condition | None:
    value = first_of(table, *names)
    return None if value is None else condition_from(value)


def strategy_from(
    value: Any, *, attempts: int | None = None, table: Table | None = None
) -> ErrorStrategy:
    """Read an error strategy: ``fail_fast`` (``stop``, ``fail``, anything unknown),
    ``continue`` (``skip``), ``retry``, or a table with ``type``, ``max_attempts``,
    ``backoff_ms``, ``backoff_multiplier``.
    """
    own: Table = cast("Table", value) if isinstance(value, Mapping) else {}
    word = str(own.get("type", "retry" if own else value))
    around: Table = table or {}
    if word in ("continue", "skip"):
        return ErrorStrategy("continue")
    if word != "retry":
        return ErrorStrategy()
    most = _count(own, "max_attempts") or attempts or 3
    delay = _number(own, "backoff_ms")
    if delay is None:
        delay = _number(around, "retry_delay_ms")
    factor = _number(own, "backoff_multiplier")
    if factor is None:
        factor = 2.0 if around.get("exponential_backoff") else 1.0
    return ErrorStrategy("retry", max(1, most), 1000.0 if delay is None else delay, factor)


def options_from(table: Table) -> Options:
    """The fields that every kind of workflow has."""
    attempts = _count(table, "max_retries")
    on_error = table.get("on_error")
    strategy = table.get("error_strategy")
    if strategy is None and on_error is not None and not is_function(on_error):
        strategy = on_error
    if strategy is None and attempts is not None:
        strategy = "retry"
    if strategy is None and table.get("continue_on_error"):
        strategy = "continue"
    seconds = _seconds(table, "timeout_ms", "timeout")
    if seconds is None:
        seconds = _number(table, "timeout_secs", "timeout_seconds")
    return Options(
        description=str(table.get("description") or ""),
        error_strategy=strategy_from(strategy, attempts=attempts, table=table),
        timeout_seconds=seconds,
        step_timeout_seconds=_seconds(table, "default_step_timeout_ms") or 30.0,
        variables=dict(first_of(table, "variables", "inputs") or {}),
        metadata=dict(table.get("metadata") or {}),
        pre_condition=_condition(table, "pre_condition"),
        on_start=_function(table, "on_start"),
        on_complete=_function(table, "on_complete"),
        on_error=on_error if on_error is not None and is_function(on_error) else None,
        on_step_start=_function(table, "on_step_start"),
        on_step_complete=_function(table, "on_step_complete"),
        on_timeout=_function(table, "on_timeout"),
    )


def step_from(value: Any, name: str | None = None) -> Step:
    """Read a step.

    Raises:
        ValidationError: ``Failed to parse workflow step: …``.
    """
    if isinstance(value, Step):
        return value if name is None else replace(value, name=name)
    if not isinstance(value, Mapping):
        raise ValidationError(
            f"Failed to parse workflow step: a step is a table, not {type(value).__name__}",
            field="steps",
        )
    table = dict(cast("Table", value))
    action = table.pop("action", None)
    if isinstance(action, Mapping):
        table = {**cast("Table", action), **table}
    label = first_of(table, "name", "id") or name
    try:
        if not isinstance(label, str) or not label:
            raise ValidationError("name is required", field="name")
        return _step(label, table)
    except ValidationError as error:
        what = f" '{label}'" if label else ""
        raise ValidationError(
            f"Failed to parse workflow step{what}: {error.message}",
            field=error.field,
            hint=error.hint,
        ) from error


def _step(name: str, table: Table) -> Step:
    attempts = _count(table, "retry_count", "retry_attempts", "max_retries")
    on_error = first_of(table, "on_error", "error_strategy")
    if on_error is not None and not is_function(on_error):
        on_error = strategy_from(on_error, attempts=None if attempts is None else attempts + 1)
    return Step(
        name,
        _action(table),
        timeout_seconds=_seconds(table, "timeout_ms"),
        retries=attempts,
        condition=_condition(table, "condition", "when"),
        skip_if=_condition(table, "skip_if"),
        on_error=on_error,
        required=table.get("required") is not False,
        description=str(table.get("description") or ""),
        before_execute=_function(table, "before_execute"),
        after_execute=_function(table, "after_execute"),
        on_complete=_function(table, "on_complete"),
        on_retry=_function(table, "on_retry"),
        compensate=_function(table, "compensate"),
    )


_FUNCTION_KEYS = ("execute", "handler", "function")


def _action(table: Table) -> Action:
    kind = table.get("type") or _inferred(table)
    if kind == "tool":
        tool = table.get("tool") or table.get("tool_name")
        name = tool if isinstance(tool, str) or tool is None else getattr(tool, "name", "")
        given = first_of(table, "input", "params", "parameters")
        return ToolAction(name or "", {} if given is None else given)
    if kind == "agent":
        return AgentAction(table.get("agent") or table.get("agent_id"), _asked(table))
    if kind == "workflow":
        target = table.get("workflow") or table.get("workflow_id")
        return WorkflowAction(target, first_of(table, "input", "params"))
    if kind in ("custom", "function"):
        return _custom(table)
    if kind in KINDS:
        inner = {k: v for k, v in table.items() if k not in ("condition", "when")}
        if kind == "conditional":
            inner = dict(table)
        return PlanAction(plan_from(kind, inner))
    raise ValidationError(
        f"Unknown step type: {kind}",
        field="type",
        hint=f"Give it 'tool', 'agent', 'workflow', 'execute', or a type: {', '.join(KINDS)}.",
    )


def _inferred(table: Table) -> str | None:
    for key in ("tool", "agent", "workflow"):
        if table.get(key) is not None:
            return key
    if any(table.get(key) is not None for key in _FUNCTION_KEYS):
        return "custom"
    return None


def _asked(table: Table) -> Any:
    given = first_of(table, "input", "prompt")
    variables: Any = table.get("variables")
    if isinstance(given, str) and isinstance(variables, Mapping):
        return {"prompt": given, "variables": cast("Table", variables)}
    return given


def _custom(table: Table) -> FunctionAction:
    parameters = first_of(table, "parameters", "params", "input")
    for key in ("execute", "handler"):
        if table.get(key) is not None:
            return FunctionAction(table[key], parameters, context_first=True)
    function = first_of(table, "function", "function_name")
    first = parameters is None and not isinstance(function, str)
    return FunctionAction(function or "", parameters, context_first=first)


def steps_from(value: Any, *, default_name: str | None = None) -> tuple[Step, ...]:
    """Read a list of steps, or one. With *default_name*, steps may have no name of their own."""
    items = items_of(value)
    made: list[Step] = []
    for number, item in enumerate(items, 1):
        name = None
        if default_name is not None and isinstance(item, Mapping):
            own = first_of(cast("Table", item), "name", "id")
            name = own or (default_name if len(items) == 1 else f"{default_name}_{number}")
        made.append(step_from(item, name))
    return tuple(made)


def plan_from(kind: Kind, table: Table) -> Plan:
    """Read the rule and the steps of a workflow of that kind."""
    return _READERS[kind](table)


def _sequential(table: Table) -> SequentialPlan:
    if table.get("steps") is None:
        raise ValidationError("Failed to get workflow steps", field="steps")
    return SequentialPlan(steps_from(table["steps"]))


def _conditional(table: Table) -> ConditionalPlan:
    default = first_of(table, "default_branch", "else_branch", "else_steps", "when_false")
    then = first_of(table, "then_branch", "then_steps", "when_true")
    branches: list[ConditionalBranch] = []
    named = table.get("branches")
    if then is not None:
        condition = _condition(table, "condition", "when")
        if condition is None:
            raise ValidationError("Failed to get workflow condition", field="condition")
        branches.append(_conditional_branch("then_branch", then, condition))
    elif named is None and default is None:
        raise ValidationError("Failed to get workflow branches", field="branches")
    if isinstance(named, Mapping) and named:
        branches += _selected(cast("Table", named), _condition(table, "condition"))
    else:
        branches += [_listed(item, number) for number, item in enumerate(items_of(named), 1)]
    return ConditionalPlan(
        tuple(branches),
        None if default is None else _conditional_branch("else_branch", default),
        pre_steps=steps_from(table.get("pre_steps")),
        post_steps=steps_from(table.get("post_steps")),
        execute_all_matching=table.get("execute_all_matching") is True,
        execute_default_on_no_match=table.get("execute_default_on_no_match") is not False,
        max_branches_to_evaluate=_given(_count(table, "max_branches_to_evaluate"), 100),
    )


def _given(value: int | None, default: int) -> int:
    return default if value is None else value


def _conditional_branch(
    name: str, value: Any, condition: Condition | None = None
) -> ConditionalBranch:
    steps = value
    if isinstance(value, Mapping) and "steps" in value:
        table = cast("Table", value)
        name, steps = str(table.get("name") or name), table["steps"]
    made = steps_from(steps, default_name=name)
    return ConditionalBranch(name, made, condition or condition_from("always"))


def _listed(item: Any, number: int) -> ConditionalBranch:
    if isinstance(item, ConditionalBranch):
        return item
    if not isinstance(item, Mapping):
        raise ValidationError(f"branch {number} is not a table", field="branches")
    table = cast("Table", item)
    condition = _condition(table, "condition", "when")
    if condition is None:
        raise ValidationError(f"branch {number} has no condition", field="condition")
    return _conditional_branch(
        str(first_of(table, "name", "id") or f"branch_{number}"),
        {"steps": table.get("steps") or []},
        condition,
    )


def _selected(named: Table, selector: Condition | None) -> list[ConditionalBranch]:
    """Branches by name: the condition says which."""
    if selector is None:
        raise ValidationError(
            "Failed to get workflow condition",
            field="condition",
            hint="Branches by name need a condition function that returns one of the names.",
        )
    never = condition_from("never")
    return [
        _conditional_branch(name, named[name], selector if number == 0 else never)
        for number, name in enumerate(sorted(named))
    ]


def _loop(table: Table) -> LoopPlan:
    if table.get("iterator") is None:
        raise ValidationError("Failed to get iterator configuration", field="iterator")
    body = first_of(table, "body", "steps")
    if body is None:
        raise ValidationError("Failed to get loop body", field="body")
    tables = [cast("Table", item) for item in items_of(body) if isinstance(item, Mapping)]
    update = next((table["update"] for table in tables if "update" in table), None)
    limit = _count(table, "max_iterations")
    return LoopPlan(
        iterator_from(table["iterator"], limit),
        steps_from(body, default_name="body"),
        breaks=tuple(
            _break(item)
            for item in (
                *items_of(table.get("break_conditions")),
                *items_of(table.get("break_condition")),
            )
        ),
        continue_condition=_condition(table, "continue_condition"),
        max_iterations=limit,
        initial_state=dict(table.get("initial_state") or {}),
        state_update=_function(table, "state_update"),
        update=_function({"update": update}, "update"),
        aggregation=_aggregation(table),
        on_iteration_complete=_function(table, "on_iteration_complete"),
        iteration_delay_seconds=(_number(table, "iteration_delay_ms") or 0) / 1000,
        continue_on_error=table.get("continue_on_error") is True,
    )


def _break(value: Any) -> Break:
    if isinstance(value, Mapping) and "type" not in value:
        table = cast("Table", value)
        inner = first_of(table, "expression", "condition", "evaluate")
        if inner is None:
            raise ValidationError("a break condition needs 'expression'", field="break_conditions")
        return Break(condition_from(inner), str(table.get("message") or inner))
    message = value if isinstance(value, str) else "break_condition"
    return Break(condition_from(value), message)


def _aggregation(table: Table) -> Aggregation:
    value = first_of(table, "aggregation_strategy", "aggregation")
    count = _count(table, "aggregation_count", "n")
    if isinstance(value, Mapping):
        inner = cast("Table", value)
        value, count = inner.get("type"), _count(inner, "n", "count") or count
    word, _, number = str(value or "collect_all").partition(":")
    if word not in ("collect_all", "collect_outputs", "last_only", "first_n", "last_n", "none"):
        raise ValidationError(f"Unknown aggregation strategy: {word}", field="aggregation_strategy")
    if number.isdecimal():
        count = int(number)
    return Aggregation(word, max(1, count or 1))


def iterator_from(value: Any, limit: int | None = None) -> Range | Collection | While:
    """Read an iterator: ``{range=…}``, ``{collection=…}``, ``{while_condition=…}``, or the same
    with ``type``. The ``end`` of a range in a table is among its values.
    """
    if isinstance(value, Range | Collection | While):
        return value
    table: Table = cast("Table", value) if isinstance(value, Mapping) else {}
    kind = table.get("type")
    if table.get("range") is not None or kind == "range":
        return range_from(table if kind == "range" else table["range"], inclusive=True, start=0)
    items = first_of(table, "collection", "values", "items")
    if items is not None or kind == "collection":
        return Collection([] if items is None else items)
    condition = first_of(table, "while_condition", "while", "condition")
    if condition is not None or (kind or "").startswith("while"):
        cap = _count(table, "max_iterations")
        return while_from(condition, cap if cap is not None else limit)
    raise ValidationError(
        "Iterator must contain 'range', 'collection', or 'while_condition'", field="iterator"
    )


def range_from(value: Any, *, inclusive: bool, start: float, end: float | None = None) -> Range:
    """Read ``{start=…, end=…, step=…, inclusive=…}`` or ``{start, end, step}``.

    Raises:
        ValidationError: for a missing end, a zero step, a range without values.
    """
    if not isinstance(value, Mapping):
        value = dict(zip(("start", "end", "step"), items_of(value), strict=False))
    table = cast("Table", value)
    given = _number(table, "end", "stop")
    last = end if given is None else given
    if last is None:
        raise ValidationError("a range needs 'end'", field="iterator")
    first, step = _number(table, "start"), _number(table, "step")
    own = table.get("inclusive")
    made = Range(
        start if first is None else first,
        last,
        1 if step is None else step,
        own if isinstance(own, bool) else inclusive,
    )
    made.check()
    return made


def while_from(condition: Any, limit: int | None = None) -> While:
    """Read the condition of a while loop."""
    if condition is None or condition == "":
        raise ValidationError("While condition cannot be empty", field="iterator")
    text = condition if isinstance(condition, str) else "function"
    made = While(condition_from(condition), text, 100 if limit is None else limit)
    made.check()
    return made


def _parallel(table: Table) -> ParallelPlan:
    branches = _parallel_branches(table)
    criteria: Table = table.get("success_criteria") or {}
    merge = table.get("merge_strategy") or table.get("merge") or "combine"
    if merge not in MERGES:
        raise ValidationError(
            f"Unknown merge strategy: {merge}",
            field="merge_strategy",
            hint=f"One of: {', '.join(MERGES)}",
        )
    fail_fast = table.get("fail_fast")
    return ParallelPlan(
        branches,
        max_concurrency=_given(_count(table, "max_concurrency"), 4),
        fail_fast=fail_fast if isinstance(fail_fast, bool) else None,
        merge=merge,
        pre_steps=steps_from(table.get("pre_steps")),
        post_steps=steps_from(table.get("post_steps")),
        min_successful=_count(criteria, "min_successful"),
        min_percentage=_number(criteria, "percentage", "min_percentage"),
    )


def _parallel_branches(table: Table) -> tuple[ParallelBranch, ...]:
    named, steps = table.get("branches"), table.get("steps")
    if named is None and steps is None:
        raise ValidationError(
            "Parallel workflow requires either 'branches' or 'steps' field", field="branches"
        )
    made: list[ParallelBranch] = []
    if isinstance(named, Mapping):
        by_name = cast("Table", named)
        made += [_parallel_branch(by_name[name], str(name)) for name in sorted(by_name)]
    else:
        made += [
            _parallel_branch(item, f"branch_{number}")
            for number, item in enumerate(items_of(named), 1)
        ]
    for step in steps_from(steps):
        made.append(ParallelBranch(step.name, (step,), required=step.required))
    return tuple(made)


def _parallel_branch(value: Any, name: str) -> ParallelBranch:
    if isinstance(value, ParallelBranch):
        return value
    if not isinstance(value, Mapping) or "steps" not in value:
        return ParallelBranch(name, steps_from(value, default_name=name))
    table = cast("Table", value)
    name = str(first_of(table, "name", "id") or name)
    return ParallelBranch(
        name,
        steps_from(table["steps"], default_name=name),
        required=table.get("required") is not False and table.get("optional") is not True,
        description=str(table.get("description") or ""),
        timeout_seconds=_seconds(table, "timeout_ms"),
    )


_READERS: dict[Kind, Callable[[Table], Plan]] = {
    "sequential": _sequential,
    "conditional": _conditional,
    "loop": _loop,
    "parallel": _parallel,
}
_CONTENT = (
    "steps",
    "branches",
    "body",
    "iterator",
    "then_branch",
    "then_steps",
    "when_true",
    "default_branch",
    "else_branch",
    "else_steps",
    "when_false",
)


def kind_from(value: Any) -> Kind:
    """The kind called *value*; None is sequential.

    Raises:
        ValidationError: for an unknown one.
    """
    if value is None:
        return "sequential"
    word = str(value).removesuffix("_workflow")
    if word not in KINDS:
        raise ValidationError(
            f"Unknown workflow type: {value}", field="type", hint=f"One of: {', '.join(KINDS)}"
        )
    return word


def workflow_from(
    table: Table, kind: Kind | None = None, *, id: str | None = None
) -> ComposedWorkflow:
    """The workflow a table describes.

    Args:
        table: ``name``, the common fields, and those of the kind.
        kind: The rule; None reads ``type``.
        id: Its id; made up when not given.

    Raises:
        ValidationError: naming the field that is missing or wrong.
    """
    from llmspell_core import new_id

    name = table.get("name")
    if name is None and not any(items_of(table.get(key)) for key in _CONTENT):
        raise ValidationError("Failed to get workflow name", field="name")
    if name is not None and (not isinstance(name, str) or not name):
        raise ValidationError("Failed to get workflow name", field="name")
    id = id or f"workflow_{new_id()}"
    plan = plan_from(kind or kind_from(table.get("type")), table)
    return ComposedWorkflow(name or default_name(id), plan, options_from(table), id=id)


def default_name(id: str) -> str:
    """``workflow_`` and the first 8 hex digits of the id."""
    return f"workflow_{id.removeprefix('workflow_')[:8]}"
