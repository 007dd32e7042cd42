"""How a team works on an input, strategy by strategy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from llmspell_agents._members import (
    CapabilityError,
    MemberError,
    MemberResult,
    ask_inside,
    capabilities_of,
)
from llmspell_agents._routing import DELEGATING, Routing
from llmspell_core import (
    AgentChunk,
    AgentInput,
    AgentOutput,
    BudgetError,
    ComponentError,
    ConfigurationError,
    EffectClass,
    LLMSpellError,
    Record,
    ReplayError,
    ScriptFunction,
    canonical,
)
from llmspell_utils import in_order

if TYPE_CHECKING:
    from llmspell_agents._managed import Emit
    from llmspell_agents._statistics import Statistics
    from llmspell_core import BaseAgent, ExecutionContext


@dataclass(slots=True)
class Work:
    """One execution of a team.

    Attributes:
        team: Its name.
        members: Who may be asked.
        routing: How it is decided.
        input: The task.
        context: The execution, with its budget and the deadline of the team.
        emit: Where pieces of the answer go, None for nowhere.
        figures: What each member did for the team so far, in their order.
        turn: How many tasks were given out before this one.
        supervise: Gives the names of the tools that the others are for a supervisor.
        results: What the members did, in the order they were asked.
        notes: More for the metadata of the answer.
    """

    team: str
    members: Sequence[BaseAgent]
    routing: Routing
    input: AgentInput
    context: ExecutionContext
    emit: Emit | None
    figures: Sequence[Statistics]
    turn: int
    supervise: Callable[[], list[str]]
    results: list[MemberResult] = field(default_factory=list["MemberResult"])
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    _index: int = 0

    async def tell(self, chunk: AgentChunk) -> None:
        """Pass a piece on, numbered in the order of this execution."""
        assert self.emit is not None
        index, self._index = self._index, self._index + 1
        await self.emit(replace(chunk, index=index))

    async def say(self, text: str) -> None:
        """Pass on a text that no member said as it is."""
        if self.emit is not None and text:
            await self.tell(AgentChunk("text", 0, text))

    async def ask(self, at: int, input: AgentInput, *, aloud: bool = False) -> AgentOutput:
        """The answer of a member; *aloud*, its pieces are those of the team.

        Raises:
            MemberError: when it fails.
            BudgetError, ReplayError: as they are.
        """
        member = self.members[at]
        return await self.ask_agent(member, input, aloud=aloud, figures=self.figures[at])

    async def ask_agent(
        self,
        agent: BaseAgent,
        input: AgentInput,
        *,
        aloud: bool = False,
        figures: Statistics | None = None,
    ) -> AgentOutput:
        """As `ask`, for an agent that need not be a member."""
        context, name = self.context, agent.metadata.name
        result = MemberResult(name)
        self.results.append(result)
        context.check()
        started = context.monotonic()
        began = None if figures is None else figures.begin()
        ended: bool | None = None
        emit = self.tell if aloud and self.emit is not None else None
        try:
            output = await ask_inside(agent, input, context, emit)
            result.output, ended = output, True
        except (BudgetError, ReplayError):
            raise
        except LLMSpellError as error:
            ended = False
            result.error = str(error)
            raise MemberError(
                f"Agent '{name}' of '{self.team}' failed: {error}",
                agent=name,
                hint=error.hint,
                details={"agent": name, "team": self.team, **error.details},
                source=error,
                retry_after=error.retry_after,
            ) from error
        finally:
            if figures is not None and began is not None:
                figures.end(began, ended, None if result.output is None else result.output.usage)
        result.duration_ms = (context.monotonic() - started) * 1000
        return output

    async def ask_all(
        self, indices: Sequence[int], input: AgentInput
    ) -> list[tuple[int, AgentOutput]]:
        """The answers of several members at once, in their order. Where the team goes on without
        those that fail, they are missing.

        Raises:
            MemberError: of the first that fails, or when all do.
        """
        import asyncio

        free = asyncio.Semaphore(self.routing.max_concurrent)
        failures: list[MemberError] = []

        async def one(at: int) -> tuple[int, AgentOutput] | None:
            async with free:
                try:
                    return at, await self.ask(at, input)
                except MemberError as error:
                    if not self.routing.goes_on:
                        raise
                    failures.append(error)
                    return None

        answers = [found for found in await in_order([one(at) for at in indices]) if found]
        if not answers and failures:
            raise failures[0]
        return answers


async def sequential(work: Work) -> AgentOutput:
    """Each member gets the answer of the one before it."""
    return await in_a_row(work, range(len(work.members)))


async def in_a_row(work: Work, indices: Sequence[int]) -> AgentOutput:
    """The members *indices*, each with the answer of the one before it."""
    given, output = work.input, AgentOutput()
    for place, at in enumerate(indices):
        output = await work.ask(at, given, aloud=place == len(indices) - 1)
        # Media and what is known about the task were said once; the answer builds on them.
        given = AgentInput(output.text, work.input.parameters)
    return output


async def parallel(work: Work) -> AgentOutput:
    """All at once; the answers are joined, and in `data` by name."""
    return await at_once(work, range(len(work.members)))


async def at_once(work: Work, indices: Sequence[int]) -> AgentOutput:
    """The members *indices* at once."""
    answers = await work.ask_all(indices, work.input)
    text = "\n\n".join(output.text for _, output in answers)
    await work.say(text)
    data = {
        work.members[at].metadata.name: output.text if output.data is None else output.data
        for at, output in answers
    }
    return AgentOutput(text, data=data)


async def vote(work: Work) -> AgentOutput:
    """All at once; the answer that most give wins, the first of equals."""
    answers = await work.ask_all(range(len(work.members)), work.input)
    ballots = [(_ballot(output), output) for _, output in answers]
    counts = Counter(ballot for ballot, _ in ballots)
    winner, votes = max(counts.items(), key=lambda entry: entry[1])
    share = votes / len(work.members)
    work.notes["votes"] = [
        {
            "text": next(output.text for mark, output in ballots if mark == ballot),
            "votes": count,
            "agents": [
                work.members[at].metadata.name
                for (at, _), (mark, _) in zip(answers, ballots, strict=True)
                if mark == ballot
            ],
        }
        for ballot, count in counts.most_common()
    ]
    work.notes["share"] = share
    needed = work.routing.threshold
    if needed is not None and share < needed:
        raise ComponentError(
            f"the vote of '{work.team}' is undecided: {votes} of {len(work.members)} agree, "
            f"the threshold is {needed:g}",
            code="VOTE_UNDECIDED",
            hint="Lower the threshold, or name a fallback_agent to decide.",
            details={"votes": work.notes["votes"], "share": share},
        )
    chosen = next(output for ballot, output in ballots if ballot == winner)
    await work.say(chosen.text)
    return AgentOutput(chosen.text, data=chosen.data)


def _ballot(output: AgentOutput) -> str:
    """What counts as the same answer: equal data, or equal words."""
    if output.data is not None:
        try:
            return canonical(output.data)
        except TypeError:
            pass  # an instance of a class, which a Python program asked for
    return " ".join(output.text.split()).casefold().strip(" .!\"'")


async def hierarchical(work: Work) -> AgentOutput:
    """The task goes down to the others, their answers go up to the first one."""
    answers = []
    if len(work.members) > 1:
        answers = await work.ask_all(range(1, len(work.members)), work.input)
    given = work.input
    if answers:
        told = "\n\n".join(
            f"## {work.members[at].metadata.name}\n{output.text}" for at, output in answers
        )
        given = replace(given, text=f"{given.text}\n\nThe answers of your team:\n\n{told}")
    return await work.ask(0, given, aloud=True)


async def supervised(work: Work) -> AgentOutput:
    """The first one calls the others as tools, as it sees fit."""
    lead = work.members[0]
    config = getattr(lead, "config", None)
    if not getattr(lead, "needs_model", False) or config is None:
        raise ConfigurationError(
            f"'{lead.metadata.name}' cannot supervise '{work.team}': it has no model",
            hint="Put an agent with a model first, or take the strategy 'hierarchical'.",
        )
    tools = list(dict.fromkeys([*config.tools, *work.supervise()]))
    given = replace(work.input, parameters={**work.input.parameters, "tools": tools})
    return await work.ask(0, given, aloud=True)


async def conditional(work: Work) -> AgentOutput:
    """The first member whose condition holds."""
    names = [member.metadata.name for member in work.members]
    for at, name in enumerate(names):
        condition = work.routing.conditions.get(name)
        if condition is not None and await _holds(work, name, condition):
            work.notes["chosen"] = [name]
            return await work.ask(at, work.input, aloud=True)
    raise ComponentError(
        f"no condition of '{work.team}' holds for this input",
        code="NO_MEMBER",
        hint="Add a condition that always holds, or name a fallback_agent.",
    )


async def _holds(work: Work, name: str, condition: Any) -> bool:
    if isinstance(condition, ScriptFunction):
        return bool(await condition(_shown(work.input), context=work.context))

    async def run(_: ExecutionContext) -> bool:
        return bool(await _called(condition, work.input))

    request = {"team": work.team, "agent": name, "input": _shown(work.input).fields}
    return await work.context.effect(
        "agent.condition", request, run, effect_class=EffectClass.IDEMPOTENT
    )


def _shown(input: AgentInput) -> Record:
    """The input as functions of scripts get it."""
    return Record({"text": input.text, "parameters": dict(input.parameters)}, input.text)


async def _called(function: Callable[..., Any], *arguments: Any) -> Any:
    from inspect import isawaitable

    answer = function(*arguments)
    return await answer if isawaitable(answer) else answer


async def delegated(work: Work) -> AgentOutput:
    """One member with the capabilities that are asked for; when it fails, the next best."""
    order = _candidates(work)
    tries = order[: 1 + work.routing.retries]
    for place, at in enumerate(tries):
        work.notes["chosen"] = [work.members[at].metadata.name]
        try:
            return await work.ask(at, work.input, aloud=True)
        except MemberError:
            if place == len(tries) - 1:
                raise
    raise AssertionError("there is always a candidate")


def wanted_capabilities(routing: Routing, input: AgentInput) -> list[str]:
    """What the team and the input ask for: ``parameters.capabilities`` (or
    ``required_capabilities``), a word or a list of words.
    """
    found: list[str] = list(routing.capabilities)
    for key in ("capabilities", "required_capabilities"):
        value = input.parameters.get(key)
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [word for word in cast("list[Any]", value) if isinstance(word, str)]
    return list(dict.fromkeys(found))


def _candidates(work: Work) -> list[int]:
    """The members that can do it, the one to be asked first in front."""
    wanted = wanted_capabilities(work.routing, work.input)
    able = [at for at, member in enumerate(work.members) if _can(member, wanted)]
    if not able:
        offered = {m.metadata.name: capabilities_of(m) for m in work.members}
        raise CapabilityError(
            f"no member of '{work.team}' has the capabilities {', '.join(wanted)}",
            hint="; ".join(
                f"{name}: {', '.join(words) or 'none'}" for name, words in offered.items()
            ),
            details={"required": wanted, "provided": offered},
        )
    # What members did, and chance, are of this moment: a replay makes the recorded choice.
    request = {"team": work.team, "strategy": work.routing.strategy, "able": able}
    chosen = work.context.observe("agent.route", request, lambda: _ordered(work, able))
    return [int(at) for at in chosen]


def _can(member: BaseAgent, wanted: Sequence[str]) -> bool:
    from fnmatch import fnmatchcase

    offered = [word.lower() for word in capabilities_of(member)]
    return all(any(fnmatchcase(has, word.lower()) for has in offered) for word in wanted)


def _ordered(work: Work, able: list[int]) -> list[int]:
    strategy, figures = work.routing.strategy, work.figures
    if strategy == "best_match":
        return sorted(able, key=lambda at: -figures[at].score())
    if strategy == "load_balanced":
        return sorted(able, key=lambda at: figures[at].active)
    if strategy == "round_robin":
        first = work.turn % len(able)
        return [*able[first:], *able[:first]]
    if strategy == "random":
        from random import sample

        return sample(able, len(able))
    return able


async def custom(work: Work) -> AgentOutput:
    """The members that a function names: one, or several in a row or at once."""
    names = [member.metadata.name for member in work.members]
    select = work.routing.select
    if isinstance(select, ScriptFunction):
        answer = _choice(await select(_shown(work.input), names, context=work.context))
    else:
        request = {"team": work.team, "input": _shown(work.input).fields, "agents": names}

        async def run(_: ExecutionContext) -> dict[str, Any]:
            return _choice(await _called(cast("Any", select), work.input, names))

        answer = await work.context.effect(
            "agent.select", request, run, effect_class=EffectClass.IDEMPOTENT
        )
    chosen: list[str] = answer["agents"]
    work.notes["chosen"] = chosen
    unknown = next((name for name in chosen if name not in names), None)
    if unknown is not None or not chosen:
        raise ComponentError(
            f"the function that routes for '{work.team}' named "
            + ("nobody" if unknown is None else f"'{unknown}', who is no member"),
            code="NO_MEMBER",
            hint=f"Members: {', '.join(names)}.",
        )
    indices = [names.index(name) for name in chosen]
    return await (at_once if answer["strategy"] == "parallel" else in_a_row)(work, indices)


def _choice(answer: Any) -> dict[str, Any]:
    """``{agents, strategy}`` of what a function answered."""
    strategy = "sequential"
    if isinstance(answer, Mapping):
        table = cast("Mapping[str, Any]", answer)
        strategy = str(table.get("strategy") or strategy)
        answer = table.get("agents", table.get("agent"))
    if answer is None:
        return {"agents": [], "strategy": strategy}
    several = cast("list[Any]", answer) if isinstance(answer, list | tuple) else [answer]
    return {"agents": [_name_of(each) for each in several], "strategy": strategy}


def _name_of(value: Any) -> str:
    inside = getattr(value, "agent", value)
    metadata = getattr(inside, "metadata", None)
    return str(value if metadata is None else metadata.name)


_OWN: Mapping[str, Callable[[Work], Awaitable[AgentOutput]]] = {
    "sequential": sequential,
    "parallel": parallel,
    "vote": vote,
    "hierarchical": hierarchical,
    "supervised": supervised,
    "conditional": conditional,
    "custom": custom,
}


async def carried_out(work: Work) -> AgentOutput:
    """Work on the input as the routing says.

    Raises:
        MemberError: when a member fails that the team cannot do without.
        CapabilityError: when nobody can do it.
        ComponentError: ``VOTE_UNDECIDED``, ``NO_MEMBER``.
    """
    strategy = work.routing.strategy
    if strategy in DELEGATING:
        return await delegated(work)
    return await _OWN[strategy](work)
