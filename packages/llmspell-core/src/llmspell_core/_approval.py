"""The question whether a call that cannot be taken back may be made, and who answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from llmspell_core._context import ExecutionContext


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A tool call that waits for an answer.

    `parameters` are as they will be used, sensitive ones replaced. `reason` says why it is
    asked: ``destructive``, ``irreversible`` or ``always``. `agent` is who wants it, if one does.
    """

    tool: str
    parameters: dict[str, Any]
    reason: str
    operation: str | None = None
    agent: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return {
            "tool": self.tool,
            "parameters": self.parameters,
            "reason": self.reason,
            "operation": self.operation,
            "agent": self.agent,
        }


@dataclass(frozen=True, slots=True)
class Approval:
    """The answer; `reason` is told to the model when it is no."""

    allowed: bool
    reason: str | None = None


Approver = Callable[[ApprovalRequest, "ExecutionContext"], Awaitable[Approval]]


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """When an execution asks, and whom.

    `ask`: ``configured`` leaves it to ``tools.security.require_approval``; ``destructive`` asks
    before calls that are destructive or irreversible; ``always`` before each one; ``never``
    before none. With no `approver`, what would be asked is refused.

    `scripted` says that the approver is a function of the script: in a replay it runs again,
    because what it does to the script's own values must happen again, and its answer must be
    the recorded one. Any other is not asked again.
    """

    approver: Approver | None = None
    ask: Literal["configured", "destructive", "always", "never"] = "configured"
    agent: str | None = None
    scripted: bool = False
