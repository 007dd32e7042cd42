"""`CompositeAgent`: a team of agents that is an agent itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from llmspell_agents._history import Remembered
from llmspell_agents._managed import Emit, ManagedAgent
from llmspell_agents._members import capabilities_of, check_tree, found_member, members_of
from llmspell_agents._routing import Routing
from llmspell_agents._scope import inside
from llmspell_agents._statistics import Statistics
from llmspell_agents._strategies import Work, carried_out
from llmspell_core import (
    AgentInput,
    AgentOutput,
    BaseAgent,
    BudgetError,
    ConfigurationError,
    Deadline,
    ExecutionCancelled,
    LLMSpellError,
    Message,
    ReplayError,
)
from llmspell_utils import unless_cancelled

if TYPE_CHECKING:
    from llmspell_agents._config import AgentConfig
    from llmspell_agents._registry import AgentService
    from llmspell_core import ExecutionContext, Services


@dataclass(frozen=True, slots=True)
class Delegation:
    """What came of a task that a team gave to one of its members."""

    delegated_to: str
    output: AgentOutput
    duration_ms: float
    tried: tuple[str, ...] = field(default=())


class CompositeAgent(ManagedAgent):
    """A team of agents, working by a routing strategy.

    The members are agents of any kind, workflows, or whatever else is a `BaseAgent`. Deadline,
    budget, approval and cancellation of the team hold for all of them; what they spend is the
    usage of the team's answer. Its metadata have ``strategy``, ``agent_results`` (one
    entry for each member that was asked: ``{agent, success, text, error, duration_ms, usage}``)
    and, depending on the strategy, ``chosen``, ``votes``, ``share``, ``fallback``.

    Args:
        config: What it is, with `members` (agents or their names) and `routing`.
        services: Where agents are found by name.

    Raises:
        ConfigurationError: without members.
        NotFoundError: ``Agent '<name>' not found``.
        CycleError, DepthError: for a team inside itself, or nested too deep.
    """

    def __init__(self, config: AgentConfig, services: Services) -> None:
        super().__init__(config, services)
        self.routing: Routing = config.routing or Routing()
        self._members: list[BaseAgent] = []
        self._done: list[Statistics] = []
        self._turn = 0
        if not config.members:
            raise ConfigurationError(
                f"Team '{config.name}' has no members",
                hint="Name at least one agent: members = {…}.",
            )
        for member in config.members:
            self.add_member(member)
        fallback = self.routing.fallback
        self._fallback = None if fallback is None else found_member(fallback, services.agents)
        if self._fallback is not None:
            check_tree(self, self._fallback)

    def members(self) -> Sequence[BaseAgent]:
        """Its members, in the order they were added."""
        return tuple(self._members)

    def add_member(self, member: BaseAgent | str) -> None:
        """One more, or its name. Raises as the constructor."""
        found = found_member(member, self._services.agents)
        check_tree(self, found)
        self._members.append(found)
        self._done.append(Statistics())

    def remove_member(self, name: str) -> bool:
        """Take the first member of that name out; whether there was one."""
        for at, member in enumerate(self._members):
            if member.metadata.name == name:
                del self._members[at], self._done[at]
                return True
        return False

    def depth(self) -> int:
        """How many levels of teams there are below it: 1 when no member is a team."""

        def levels(agent: BaseAgent) -> int:
            return 1 + max(map(levels, members_of(agent)), default=0)

        return levels(self) - 1

    def member_statistics(self) -> dict[str, Statistics]:
        """What each member did for this team, by name."""
        return {
            member.metadata.name: done
            for member, done in zip(self._members, self._done, strict=True)
        }

    def capabilities(self) -> list[str]:
        """Its own, ``composite``, and those of its members."""
        words = [*super().capabilities(), "composite"]
        for member in self._members:
            words += capabilities_of(member)
        return list(dict.fromkeys(words))

    async def delegate(
        self,
        input: AgentInput | str,
        context: ExecutionContext,
        *,
        capabilities: Sequence[str] = (),
        strategy: str = "best_match",
    ) -> Delegation:
        """Give a task to one member, whatever the routing of the team is.

        Args:
            input: The task.
            context: The execution it belongs to.
            capabilities: What it asks for; patterns with ``*`` are understood.
            strategy: ``first_match``, ``best_match``, ``round_robin``, ``load_balanced`` or
                ``random``.

        Raises:
            CapabilityError: when nobody can do it.
            MemberError: when all who were tried failed.
        """
        routing = replace(
            self.routing,
            strategy=strategy,
            capabilities=(*self.routing.capabilities, *capabilities),
        )
        started = context.monotonic()
        inner = inside(self.config, context)
        work = self._work(AgentInput.of(input), inner, None, routing)
        output = await unless_cancelled(carried_out(work), work.context)
        took = (context.monotonic() - started) * 1000
        tried = tuple(result.agent for result in work.results)
        return Delegation(tried[-1], output, took, tried)

    def _work(
        self, input: AgentInput, context: ExecutionContext, emit: Emit | None, routing: Routing
    ) -> Work:
        """One execution in *context*, which has the budget of the team already."""
        limit = routing.timeout_seconds or self.config.limits.max_execution_time
        bounded = context.child(deadline=Deadline(limit))
        turn, self._turn = self._turn, self._turn + 1
        return Work(
            self.config.name,
            tuple(self._members),
            routing,
            input,
            bounded,
            emit,
            tuple(self._done),
            turn,
            self._as_tools,
        )

    def _as_tools(self) -> list[str]:
        """The names of the tools that all members but the first are for it."""
        agents = cast("AgentService", self._services.agents)
        return [agents.wrap(member, owner=self) for member in self._members[1:]]

    async def answer(
        self, input: AgentInput, context: ExecutionContext, emit: Emit | None
    ) -> AgentOutput:
        started = context.monotonic()
        inner = inside(self.config, context)
        work = self._work(input, inner, emit, self.routing)
        try:
            try:
                output = await unless_cancelled(carried_out(work), work.context)
            except (BudgetError, ReplayError):
                raise
            except LLMSpellError as error:
                if self._fallback is None:
                    raise
                work.notes["fallback"] = {
                    "agent": self._fallback.metadata.name,
                    "error": str(error),
                }
                # Its time is its own: that of the team may be over.
                work.context = inner
                output = await work.ask_agent(self._fallback, input, aloud=True)
        except BudgetError as error:
            output = self._so_far(work, "budget")
            if not output.text:
                error.partial = output
                raise
            await work.say(output.text)
        except (LLMSpellError, ExecutionCancelled) as error:
            error.partial = self._so_far(work, "error")
            raise
        took = (context.monotonic() - started) * 1000
        output = self._told(output, work, took)
        if self.config.memory_enabled:
            now = context.now()
            asked = Message("user", input.text, media=input.media)
            self._history.add(
                [Remembered(asked, now), Remembered(Message("assistant", output.text), now)]
            )
        return output

    def _so_far(self, work: Work, reason: str) -> AgentOutput:
        """What there is when it ends early."""
        answers = [result.output.text for result in work.results if result.output is not None]
        text = answers[-1] if answers else ""
        if work.routing.strategy == "parallel":
            text = "\n\n".join(answers)
        return self._told(AgentOutput(text, finish_reason=reason), work, None)

    def _told(self, output: AgentOutput, work: Work, took: float | None) -> AgentOutput:
        """*output* as the answer of the team. Its usage is counted where it was spent."""
        about = output.metadata
        calls = [call for r in work.results if r.output is not None for call in r.output.tool_calls]
        metadata: dict[str, Any] = {
            **{key: about[key] for key in ("model", "provider") if key in about},
            "strategy": work.routing.strategy,
            "agent_results": [result.to_dict() for result in work.results],
            "finish_reason": output.finish_reason,
            **work.notes,
        }
        if took is not None:
            metadata["execution_time_ms"] = metadata["duration_ms"] = took
        if self.config.budget is not None and work.context.budget is not None:
            metadata["budget"] = work.context.budget.to_dict()
        return replace(output, tool_calls=tuple(calls), usage=None, metadata=metadata)
