"""Who is asked before calls that cannot be taken back, as agents are told it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import (
    Approval,
    ApprovalPolicy,
    Record,
    ScriptFunction,
    ToolError,
    ValidationError,
)

if TYPE_CHECKING:
    from llmspell_core import ApprovalRequest, Approver, ExecutionContext

WORDS = ("configured", "destructive", "always", "never")


def read_approval(value: Any) -> ApprovalPolicy:
    """From a word (`WORDS`), a function, a table ``{ask, approver}``, or a policy.

    A function is asked before calls that are destructive or irreversible, unless ``ask`` says
    otherwise. It gets the request as a table (in Python the `ApprovalRequest`) and says true,
    false, a text (no, and why) or ``{allowed, reason}``; in Python it may be async.

    Raises:
        ValidationError: for anything else.
    """
    if isinstance(value, ApprovalPolicy):
        return value
    if isinstance(value, str):
        return ApprovalPolicy(ask=_word(value))
    if isinstance(value, Mapping):
        table = dict(cast("Mapping[str, Any]", value))
        approver = table.pop("approver", None)
        ask = table.pop("ask", None)
        if table or (approver is None and ask is None):
            raise _unusable("a table must have 'ask', 'approver' or both, and nothing else")
        made = ApprovalPolicy() if approver is None else read_approval(approver)
        if ask is None:
            return made
        return ApprovalPolicy(made.approver, _word(ask), scripted=made.scripted)
    if isinstance(value, ScriptFunction):
        return ApprovalPolicy(_of_script(value), "destructive", scripted=True)
    if callable(value):
        return ApprovalPolicy(_of_python(value), "destructive")
    raise _unusable(f"it is a {type(value).__name__}")


def for_agent(own: ApprovalPolicy | None, around: ApprovalPolicy, agent: str) -> ApprovalPolicy:
    """The policy of an execution of *agent*: its *own*, and for the rest what holds *around* it."""
    if own is None:
        return ApprovalPolicy(around.approver, around.ask, agent, around.scripted)
    if own.approver is None:
        return ApprovalPolicy(around.approver, own.ask, agent, around.scripted)
    return ApprovalPolicy(own.approver, own.ask, agent, own.scripted)


def _word(value: Any) -> Any:
    if value not in WORDS:
        raise _unusable(f"{value!r} is not one of: {', '.join(WORDS)}")
    return value


def _unusable(words: str) -> ValidationError:
    return ValidationError(
        f"approval must be a word or a function: {words}",
        field="approval",
        hint='Write "destructive", "always", "never", or a function that says true or false.',
    )


def _of_script(function: ScriptFunction) -> Approver:
    async def ask(request: ApprovalRequest, context: ExecutionContext) -> Approval:
        told = {key: value for key, value in request.to_dict().items() if value is not None}
        return _approval(await function(Record(told, request.tool), context=context))

    return ask


def _of_python(function: Callable[..., Any]) -> Approver:
    try:
        count = len(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        count = 2

    async def ask(request: ApprovalRequest, context: ExecutionContext) -> Approval:
        answer = function(request) if count == 1 else function(request, context)
        if inspect.isawaitable(answer):
            answer = await answer
        return _approval(answer)

    return ask


def _approval(answer: Any) -> Approval:
    """What an approver said. Anything that is not clearly yes is no."""
    if isinstance(answer, Approval):
        return answer
    if isinstance(answer, bool):
        return Approval(answer)
    if isinstance(answer, str):
        return Approval(False, answer)
    if isinstance(answer, Mapping):
        table = cast("Mapping[str, Any]", answer)
        reason = table.get("reason")
        return Approval(table.get("allowed") is True, None if reason is None else str(reason))
    if answer is None:
        return Approval(False, "nothing was answered")
    raise ToolError(
        f"the approval function answered with a {type(answer).__name__}",
        hint="It must say true, false, a text (no, and why) or {allowed, reason}.",
    )
