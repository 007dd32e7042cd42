"""How each kind of step does its work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import (
    AgentInput,
    AgentOutput,
    BaseAgent,
    NotFoundError,
    ScriptFunction,
    ToolError,
    ValidationError,
    Workflow,
    WorkflowError,
    canonical,
    from_canonical,
)
from llmspell_workflows._definitions import (
    AgentAction,
    FunctionAction,
    PlanAction,
    ToolAction,
    WorkflowAction,
)
from llmspell_workflows._frames import Frame, optional_service
from llmspell_workflows._interpolation import rendered
from llmspell_workflows._results import StepFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmspell_core import ExecutionContext
    from llmspell_workflows._definitions import Action
    from llmspell_workflows._frames import Run


@dataclass(frozen=True, slots=True)
class Produced:
    """What a step's work brought."""

    output: Any
    text: str
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


async def perform(action: Action, frame: Frame, timeout_seconds: float | None) -> Produced:
    """Do the work of a step.

    Raises:
        LLMSpellError: when it failed.
    """
    if isinstance(action, ToolAction):
        return await _use_tool(action, frame, timeout_seconds)
    if isinstance(action, AgentAction):
        return await _use_agent(action, frame)
    if isinstance(action, WorkflowAction):
        return await _run_workflow(action, frame)
    if isinstance(action, FunctionAction):
        return await _call_function(action, frame)
    return await _follow_plan(action, frame)


async def _use_tool(action: ToolAction, frame: Frame, timeout_seconds: float | None) -> Produced:
    parameters = await frame.filled(action.input)
    if not isinstance(parameters, Mapping):
        raise ValidationError(
            f"the input of tool '{action.tool}' must be a table, not {type(parameters).__name__}",
            field="input",
        )
    tools = frame.context.services.tools
    if not tools.has(action.tool):
        raise _unknown("Tool", action.tool, [tool.name for tool in tools.list()])
    result = await tools.invoke(
        action.tool,
        cast("Mapping[str, Any]", parameters),
        frame.context,
        timeout_seconds=timeout_seconds,
    )
    if not result.success:
        raise ToolError(result.error or f"tool '{action.tool}' failed", tool_name=action.tool)
    text = result.rendered()
    output = result.value
    if output is None:
        output = text if result.result is None else result.result
    return Produced(output, text, {"tool": action.tool, "operation": result.operation})


async def _use_agent(action: AgentAction, frame: Frame) -> Produced:
    answer = await ask_agent(action.agent, action.input, frame)
    metadata: dict[str, Any] = {
        "agent": _label(action.agent),
        "finish_reason": answer.finish_reason,
        "model": answer.metadata.get("model"),
        "provider": answer.metadata.get("provider"),
        "usage": None if answer.usage is None else answer.usage.to_dict(),
    }
    return Produced(answer.text, answer.text, metadata)


async def ask_agent(agent: Any, question: Any, frame: Frame) -> AgentOutput:
    """Fill the placeholders of *question* and let the agent answer it."""
    found = _agent(agent, frame)
    parameters: dict[str, Any] = {}
    if isinstance(question, Mapping):
        table = cast("Mapping[str, Any]", question)
        own = await frame.filled(table.get("variables") or table.get("context") or {})
        variables: Mapping[str, Any] = (
            cast("Mapping[str, Any]", own) if isinstance(own, Mapping) else {}
        )
        filled = await frame.filled(
            {key: value for key, value in table.items() if key not in ("variables", "context")},
            variables,
        )
        text = next((filled.pop(k) for k in ("text", "prompt", "input") if k in filled), "")
        parameters = filled
        if variables:
            parameters["variables"] = variables
    else:
        text = await frame.filled(question)
    text = rendered(text)
    if not text.strip():
        raise ValidationError("Agent input cannot be empty", field="input")
    return await found.execute(AgentInput(text, parameters), frame.context)


def _agent(agent: Any, frame: Frame) -> BaseAgent:
    if isinstance(agent, BaseAgent):
        return agent
    for attribute in ("agent", "component"):
        inside = getattr(agent, attribute, None)
        if isinstance(inside, BaseAgent):
            return inside
    agents = frame.context.services.agents
    names = [agent] if isinstance(agent, str) else [getattr(agent, k, None) for k in ("id", "name")]
    for name in names:
        found = agents.get(name) if isinstance(name, str) else None
        if found is not None:
            return found
    raise _unknown("Agent", _label(agent), [known.metadata.name for known in agents.list()])


def _label(component: Any) -> str:
    if isinstance(component, str):
        return component
    if isinstance(component, BaseAgent):
        return component.metadata.name
    return str(getattr(component, "name", type(component).__name__))


def _unknown(what: str, name: str, known: list[str]) -> NotFoundError:
    from llmspell_core import nearest

    close = nearest(name, known)
    return NotFoundError(
        f"{what} '{name}' not found in registry",
        hint=f"Did you mean '{close}'?" if close else None,
    )


async def _run_workflow(action: WorkflowAction, frame: Frame) -> Produced:
    target = action.workflow
    if not isinstance(target, Workflow):
        target = getattr(target, "workflow", target)
    if isinstance(target, str):
        workflows = frame.context.services.workflows
        found = workflows.get(target)
        if found is None:
            raise _unknown("Workflow", target, [w.metadata.name for w in workflows.list()])
        target = found
    if not isinstance(target, Workflow):
        raise ValidationError(
            f"a step cannot run {type(action.workflow).__name__} as a workflow", field="workflow"
        )
    given = frame.run.input if action.input is None else await frame.filled(action.input)
    output = await target.execute(workflow_input(given), frame.context)
    result = getattr(output, "result", None)
    if result is not None and not result.success:
        raise WorkflowError(result.error or result.text)
    return Produced(output.data, output.text, {"workflow": target.metadata.name})


def workflow_input(given: Any) -> AgentInput:
    """The input of a workflow: a table or a text; without a text the table as JSON is the text.

    Raises:
        ValidationError: for anything else.
    """
    if isinstance(given, AgentInput):
        return given
    if given is None:
        given = {}
    if isinstance(given, str):
        return AgentInput(given)
    if isinstance(given, list):
        return AgentInput(canonical(given), {"input": given})
    if not isinstance(given, Mapping):
        raise ValidationError(
            f"workflow input must be a table or a text, not {type(given).__name__}", field="input"
        )
    table = dict(cast("Mapping[str, Any]", given))
    text = table.get("text")
    return AgentInput(text if isinstance(text, str) and text else _json(table), table)


def _json(table: Mapping[str, Any]) -> str:
    import json

    return json.dumps(table, ensure_ascii=False, default=str)


async def _call_function(action: FunctionAction, frame: Frame) -> Produced:
    function = action.function
    if isinstance(function, str):
        function = _registered(function, frame)
    parameters = await frame.filled({} if action.parameters is None else action.parameters)

    if isinstance(function, ScriptFunction):
        view = frame.view()
        args = (view, parameters) if action.context_first else (parameters, view)
        value = await function(*args, context=frame.context)
    else:
        value = await _python(function, parameters, action, frame)
    return _answer(value, frame.step)


def _registered(name: str, frame: Frame) -> Any:
    find: Callable[[str], Any] | None = getattr(
        optional_service(frame.context.services, "workflows"), "function", None
    )
    found = None if find is None else find(name)
    if found is None:
        raise NotFoundError(
            f"Function '{name}' not found in registry",
            hint="Write the function itself, or register it under that name.",
        )
    return found


async def _python(function: Any, parameters: Any, action: FunctionAction, frame: Frame) -> Any:
    """Call a Python function as one effect: a resumed or replayed run takes its answer, and
    what it changed in the run, from the ledger.
    """
    run = frame.run
    recording = frame.context.effects.recording

    async def work(context: ExecutionContext) -> Any:
        shared = _texts(run.shared) if recording else {}
        state = _texts(run.state) if recording else {}
        view = frame.at(context, frame.step).view()
        args = (view, parameters) if action.context_first else (parameters, view)
        value = _plain(await _in_thread(function, args), frame.step)
        if not recording:
            return {"value": value}
        return {
            "value": value,
            "shared": _changes(run.shared, shared),
            "state": _changes(run.state, state),
            "changed": sorted(run.changed),
        }

    request = {
        "step": frame.step,
        "function": getattr(function, "__qualname__", type(function).__name__),
        "parameters": _texts({"parameters": parameters})["parameters"],
    }
    outcome = await frame.context.effect(
        "workflow.function", request, work, effect_class=action.effect_class
    )
    _apply(run, outcome)
    return outcome["value"]


def _apply(run: Run, outcome: Mapping[str, Any]) -> None:
    run.shared.update(outcome.get("shared", {}))
    run.state.update(outcome.get("state", {}))
    run.changed.update(outcome.get("changed", ()))


async def _in_thread(function: Any, args: tuple[Any, ...]) -> Any:
    import asyncio
    from inspect import isawaitable, iscoroutinefunction

    if iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):
        return await function(*args)
    answer = await asyncio.to_thread(function, *args)
    return await answer if isawaitable(answer) else answer


def _texts(table: Mapping[str, Any]) -> dict[str, str]:
    made: dict[str, str] = {}
    for key, value in table.items():
        try:
            made[key] = canonical(value)
        except TypeError:
            made[key] = type(value).__name__
    return made


def _changes(table: Mapping[str, Any], before: Mapping[str, str]) -> dict[str, Any]:
    return {k: table[k] for k, text in _texts(table).items() if before.get(k) != text}


def _plain(value: Any, step: str) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    try:
        return from_canonical(canonical(value))
    except TypeError as error:
        raise WorkflowError(
            f"the function of step '{step}' returned {type(value).__name__}, "
            "which has no JSON form",
            step=step,
            hint="Return numbers, text, lists and dicts.",
        ) from error


def _answer(value: Any, step: str) -> Produced:
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        if isinstance(table.get("success"), bool):
            if not table["success"]:
                raise WorkflowError(
                    rendered(table.get("error") or "the function reported a failure"), step=step
                )
            value = table.get("output", table)
    return Produced(value, rendered(value))


async def _follow_plan(action: PlanAction, frame: Frame) -> Produced:
    inner = Frame(frame.run, frame.context, parent=frame, place=frame.place, branch=frame.branch)
    try:
        outcome = await action.plan.run(inner)
    except StepFailed as failed:
        raise WorkflowError(
            f"Step '{failed.result.name}' failed: {failed.error}",
            step=failed.result.name,
            source=failed.error,
        ) from failed.error
    finally:
        inner.leave()
    if outcome.error is not None:
        raise outcome.error
    return Produced(outcome.output, rendered(outcome.output), dict(outcome.extra))
