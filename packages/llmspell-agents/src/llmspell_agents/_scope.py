"""What an execution of an agent hands to the agents inside it: its line, its purse, its limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmspell_core import AgentOutput, BaseAgent, Budget, ComponentError, Usage

if TYPE_CHECKING:
    from llmspell_agents._config import AgentConfig
    from llmspell_core import ExecutionContext

MAX_DEPTH = 10
_KEY = "llmspell.agents"


class CycleError(ComponentError):
    """An agent would run inside itself."""

    code = "CYCLE_DETECTED"


class DepthError(ComponentError):
    """Agents are nested deeper than `MAX_DEPTH`."""

    code = "MAX_DEPTH_EXCEEDED"


@dataclass(slots=True)
class Scope:
    """One execution of an agent: who is executing, the outermost first, and what was spent by
    the agents inside it, wherever they were called: as members, as tools, in workflows.
    """

    line: tuple[BaseAgent, ...]
    spent: Usage | None = None
    left: AgentOutput | None = None
    """What the agent inside it that failed last had done: no work of this execution's own."""

    def spend(self, usage: Usage | None) -> None:
        """Add what an execution inside it took."""
        if usage is not None:
            self.spent = usage if self.spent is None else self.spent + usage


def scope_of(context: ExecutionContext) -> Scope | None:
    """The execution of an agent that *context* belongs to."""
    found = context.data.get(_KEY)
    return found if isinstance(found, Scope) else None


def entered(agent: BaseAgent, context: ExecutionContext) -> tuple[ExecutionContext, Scope]:
    """The context and the scope of an execution of *agent* in *context*.

    Raises:
        CycleError: when it is executing already, further out.
        DepthError: beyond `MAX_DEPTH` agents.
    """
    around = scope_of(context)
    line = () if around is None else around.line
    if any(other is agent for other in line):
        names = [other.metadata.name for other in (*line, agent)]
        raise CycleError(
            f"Agent '{agent.metadata.name}' would run inside itself: {' → '.join(names)}",
            hint="Take it out of the team or out of the tools of the agents inside it.",
            details={"line": names},
        )
    if len(line) >= MAX_DEPTH:
        names = [other.metadata.name for other in line]
        raise DepthError(
            f"Agents are nested more than {MAX_DEPTH} deep: {' → '.join(names)}",
            details={"line": names},
        )
    scope = Scope((*line, agent))
    return context.child(data={_KEY: scope}), scope


def inside(config: AgentConfig, context: ExecutionContext) -> ExecutionContext:
    """*context* with the budget of an agent, and who is asked for approval on its behalf."""
    from llmspell_agents._approvals import for_agent

    budget = None
    if config.budget is not None:
        started = context.monotonic()
        budget = Budget(config.budget, started=started, parent=context.budget)
    approval = for_agent(config.approval, context.approval, config.name)
    return context.child(budget=budget, approval=approval)


def with_spent(output: AgentOutput, spent: Usage | None) -> AgentOutput:
    """*output*, its usage and figures with what agents inside it took."""
    if spent is None:
        return output
    usage = spent if output.usage is None else output.usage + spent
    figures: dict[str, Any] = {
        "token_count": usage.total_tokens,
        "estimated_tokens": usage.total_tokens,
        "token_count_estimated": usage.estimated,
        "usage_inside": spent.to_dict(),
    }
    metadata = {**output.metadata, **figures}
    metadata.pop("cost", None)
    metadata.pop("estimated_cost_cents", None)
    if usage.cost is not None:
        metadata["cost"] = usage.cost
        metadata["estimated_cost_cents"] = usage.cost * 100
    return replace(output, usage=usage, metadata=metadata)
