"""The question that is asked before a call which cannot be taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell_core import (
    ApprovalRequest,
    EffectClass,
    LLMSpellError,
    SecurityError,
    ToolError,
    canonical,
    from_canonical,
    redact_fields,
)
from llmspell_utils import unless_cancelled

if TYPE_CHECKING:
    from llmspell_core import ApprovalPolicy, ExecutionContext, Tool
    from llmspell_tools._pipeline import Prepared

NOBODY = "it needs approval, and nobody is there to give it"


async def approve(
    prepared: Prepared, parameters: dict[str, Any], context: ExecutionContext, *, required: bool
) -> None:
    """Ask whether this call may be made, where the policy of the execution wants that.

    The question is the effect ``approval``: a replay or resume takes the answer that was given.

    Args:
        prepared: The tool.
        parameters: As it will get them.
        context: The execution.
        required: ``tools.security.require_approval``, which an execution may leave it to.

    Raises:
        SecurityError: with code ``APPROVAL_DENIED``, when the answer is no or nobody can answer.
    """
    policy = context.approval
    reason = _reason(prepared, parameters, context, required=required)
    if reason is None:
        return
    operation = parameters.get("operation")
    request = ApprovalRequest(
        prepared.name,
        _shown(prepared, parameters, context),
        reason,
        operation if isinstance(operation, str) else None,
        policy.agent,
    )
    answer = await _answer(policy, request, context)
    if not answer["allowed"]:
        raise _denied(request, answer["reason"])


def _reason(
    prepared: Prepared, parameters: dict[str, Any], context: ExecutionContext, *, required: bool
) -> str | None:
    """Why it is asked; None when it is not."""
    ask = context.approval.ask
    if ask == "configured":
        ask = "destructive" if required else "never"
    if ask == "never":
        return None
    if ask == "always":
        return "always"
    # Observed, because a tool may look at the world: a file is written over or it is not.
    return context.observe(
        "approval.reason",
        {"tool": prepared.name, "parameters": _shown(prepared, parameters, context)},
        lambda: why_asked(prepared.tool, parameters),
    )


def why_asked(tool: Tool, parameters: dict[str, Any]) -> str | None:
    """``destructive``, ``irreversible``, or None for a call that harms nothing."""
    if tool.read_only_of(parameters):
        return None
    if tool.destructive_of(parameters):
        return "destructive"
    irreversible = tool.effect_of(parameters) is EffectClass.IRREVERSIBLE
    return "irreversible" if irreversible else None


def _shown(
    prepared: Prepared, parameters: dict[str, Any], context: ExecutionContext
) -> dict[str, Any]:
    """The parameters without what must not be read."""
    shown = redact_fields(parameters, prepared.signature.sensitive)
    return from_canonical(context.services.secrets.redact_json(canonical(shown)))


async def _answer(
    policy: ApprovalPolicy, request: ApprovalRequest, context: ExecutionContext
) -> dict[str, Any]:
    async def ask(inner: ExecutionContext) -> dict[str, Any]:
        if policy.approver is None:
            return {"allowed": False, "reason": NOBODY}
        try:
            given = await unless_cancelled(policy.approver(request, inner), inner)
        except LLMSpellError:
            raise
        except Exception as error:
            raise ToolError(
                f"{request.tool}: the question for approval failed: "
                f"{type(error).__name__}: {error}",
                tool_name=request.tool,
                source=error,
            ) from error
        return {"allowed": given.allowed, "reason": given.reason}

    if not policy.scripted:
        return await context.effect(
            "approval", request.to_dict(), ask, effect_class=EffectClass.IDEMPOTENT
        )
    with context.span("approval.function", request.tool) as inner:
        given = await ask(inner)
        return inner.observe("approval", request.to_dict(), lambda: given)


def _denied(request: ApprovalRequest, reason: str | None) -> SecurityError:
    hint = None
    if reason == NOBODY:
        hint = (
            "Run it in a terminal, which asks; give the agent a function with :approval(function); "
            'or say :approval("never"), or tools.security.require_approval = false.'
        )
    what = f" ({request.operation})" if request.operation else ""
    return SecurityError(
        f"Tool '{request.tool}'{what} was not approved: {reason or 'the answer was no'}",
        violation_type="approval",
        permission_required=request.tool,
        code="APPROVAL_DENIED",
        hint=hint,
        details={"tool": request.tool, "reason": request.reason, "answer": reason},
    )
