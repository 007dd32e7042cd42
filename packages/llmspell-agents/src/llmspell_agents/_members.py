"""The members of a team: how they are named, found and asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from llmspell_agents._scope import MAX_DEPTH, CycleError, DepthError, scope_of
from llmspell_core import (
    AgentChunk,
    AgentInput,
    AgentOutput,
    BaseAgent,
    ComponentError,
    LLMSpellError,
    NotFoundError,
    ValidationError,
    Workflow,
    nearest,
)
from llmspell_utils import closing

if TYPE_CHECKING:
    from llmspell_agents._managed import Emit
    from llmspell_core import AgentRegistry, ExecutionContext

_INSIDE = ("agent", "workflow")
"""Where the handles of scripts hold the component itself."""


class MemberError(ComponentError):
    """A member of a team failed. `agent` is its name; the cause is in `source`."""

    code = "DELEGATION_FAILED"

    def __init__(self, message: str, *, agent: str = "", **common: Any) -> None:
        super().__init__(message, **common)
        self.agent = agent

    def is_retryable(self) -> bool:
        """As its cause."""
        return isinstance(self.source, LLMSpellError) and self.source.is_retryable()


class CapabilityError(ComponentError):
    """No member of a team has the capabilities that a task asks for."""

    code = "CAPABILITY_MISMATCH"


@dataclass(slots=True)
class MemberResult:
    """What a member did for one execution of its team."""

    agent: str
    output: AgentOutput | None = None
    error: str | None = None
    duration_ms: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the metadata of the team's answer."""
        output = self.output
        made: dict[str, Any] = {
            "agent": self.agent,
            "success": output is not None,
            "duration_ms": self.duration_ms,
        }
        if self.error is not None:
            made["error"] = self.error
        if output is not None:
            made["text"] = output.text
            made["finish_reason"] = output.finish_reason
            made["tool_calls"] = len(output.tool_calls)
            if output.usage is not None:
                made["usage"] = output.usage.to_dict()
        return made


def kind_of(value: Any) -> str:
    """What *value* is, for messages."""
    return "nothing" if value is None else type(value).__name__


def found_member(value: Any, agents: AgentRegistry) -> BaseAgent:
    """The component that *value* means: itself, the one a script's handle holds, or the agent of
    that name or id.

    Raises:
        NotFoundError: ``Agent '<name>' not found``.
        ValidationError: for anything else.
    """
    for each in (value, *(getattr(value, inside, None) for inside in _INSIDE)):
        if isinstance(each, BaseAgent):
            return each
    if not isinstance(value, str):
        raise ValidationError(
            f"a member must be an agent or the name of one, not {kind_of(value)}",
            field="members",
        )
    found = agents.get(value)
    if found is None:
        known = [agent.metadata.name for agent in agents.list()]
        close = nearest(value, known)
        raise NotFoundError(
            f"Agent '{value}' not found",
            hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(known) or 'none'}",
        )
    return found


def members_of(agent: BaseAgent) -> Sequence[BaseAgent]:
    """The agents that *agent* consists of; none, for those that are not teams."""
    members = getattr(agent, "members", None)
    return cast("Sequence[BaseAgent]", members()) if callable(members) else ()


def capabilities_of(agent: BaseAgent) -> list[str]:
    """What *agent* says it can do."""
    tell = getattr(agent, "capabilities", None)
    return list(cast("Sequence[str]", tell() if callable(tell) else agent.metadata.tags))


def check_tree(team: BaseAgent, member: BaseAgent) -> None:
    """See that *member* can become one of *team*.

    Raises:
        CycleError: when the team would be inside itself.
        DepthError: when it would be nested deeper than `MAX_DEPTH`.
    """
    for line in _lines(member, (team,)):
        if line[-1] is team:
            names = [agent.metadata.name for agent in line]
            raise CycleError(
                f"Agent '{team.metadata.name}' would be a member of itself: {' → '.join(names)}",
                details={"line": names},
            )
        if len(line) > MAX_DEPTH:
            names = [agent.metadata.name for agent in line]
            raise DepthError(
                f"Agents are nested more than {MAX_DEPTH} deep: {' → '.join(names)}",
                details={"line": names},
            )


def _lines(agent: BaseAgent, above: tuple[BaseAgent, ...]) -> Iterator[tuple[BaseAgent, ...]]:
    """Every way from the first of *above* down through *agent*, as far as it goes."""
    line = (*above, agent)
    yield line
    if len(line) > MAX_DEPTH or any(other is agent for other in above):
        return
    for member in members_of(agent):
        yield from _lines(member, line)


def _words(value: Any) -> str:
    if isinstance(value, str):
        return value
    import json

    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


async def ask_inside(
    agent: BaseAgent, input: AgentInput, context: ExecutionContext, emit: Emit | None = None
) -> AgentOutput:
    """Let *agent* work on *input* as a part of the execution that *context* belongs to, which
    counts what it spends. With *emit*, its pieces go there as they come.

    Raises:
        LLMSpellError: as the agent raises.
    """
    output = None
    if emit is None or not agent.supports_streaming():
        output = await agent.execute(input, context)
    else:
        async with closing(agent.stream(input, context)) as chunks:
            async for chunk in chunks:
                if chunk.output is None:
                    await emit(chunk)
                output = chunk.output or output
    if output is None:
        raise ComponentError(f"Agent '{agent.metadata.name}' ended its stream without an answer")
    if isinstance(agent, Workflow) and output.data is not None:
        # The text of a workflow is about its run; its answer is what came of the last step.
        output = replace(output, text=_words(output.data))
    if emit is not None and not agent.supports_streaming() and output.text:
        await emit(AgentChunk("text", 0, output.text))
    scope = scope_of(context)
    if scope is not None and not getattr(agent, "counts_itself", False):
        scope.spend(output.usage)
    return output
