"""Resuming: what has an outcome is not done again, the rest is."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from llmspell_core import (
    Agent,
    AgentOutput,
    ComponentMetadata,
    EffectClass,
    ExecutionContext,
    LLMSpellError,
    ProviderError,
    Recording,
    Resuming,
    RunRecord,
    RunStatus,
    ToolError,
    UnsettledEffectError,
    WorkflowError,
)
from llmspell_testing import LedgerDouble, make_context, make_services

PURE = EffectClass.PURE
IRREVERSIBLE = EffectClass.IRREVERSIBLE


class Killed(BaseException):
    """The process dies: nothing more is written."""


class World:
    """What effects are done to; `answers` holds what comes of a key, the last one again."""

    def __init__(self, **answers) -> None:
        self.answers = {key: list(value) for key, value in answers.items()}
        self.calls: list[str] = []

    async def do(
        self, context: ExecutionContext, key: str, effect_class: EffectClass = PURE, delay: int = 0
    ):
        async def run(inner: ExecutionContext):
            self.calls.append(key)
            for _ in range(delay):
                await asyncio.sleep(0)
            answers = self.answers.get(key, [key])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return await context.effect("do", key, run, effect_class=effect_class)


class Run:
    """A run that is begun and resumed as the kernel does."""

    def __init__(self) -> None:
        self.ledger = LedgerDouble()

    async def begin(self, work):
        self.ledger.open_run(RunRecord("run", "t", 0.0))
        return await self._to_the_end(work, Recording(self.ledger, "run"))

    async def resume(self, work, **options):
        policy = Resuming(self.ledger, "run", **options)
        self.ledger.open_run(RunRecord("run", "t", 0.0))
        return await self._to_the_end(work, policy)

    async def _to_the_end(self, work, policy):
        try:
            result = await work(make_context(effects=policy))
        except Killed:
            return "killed"
        except Exception as error:
            self.ledger.close_run("run", RunStatus.FAILED, finished_at=1.0, error=str(error))
            raise
        self.ledger.close_run("run", RunStatus.COMPLETED, finished_at=1.0)
        return result


async def test_the_clock_for_durations_goes_on_where_it_stood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, clock = Run(), [1000.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    seen: list[list[float]] = []

    async def work(context: ExecutionContext) -> None:
        seen.append([])
        for number in range(4):
            seen[-1].append(context.monotonic())
            clock[0] += 1
            if number == 1 and len(seen) == 1:
                raise Killed

    await run.begin(work)
    # Hours later, on a machine that was started anew.
    clock[0] = 5.0
    await run.resume(work)
    assert seen == [[1000.0, 1001.0], [1000.0, 1001.0, 1003.0, 1004.0]]


async def test_a_killed_run_goes_on_where_it_stopped() -> None:
    run, world = Run(), World(c=[Killed(), "c"])

    async def work(context: ExecutionContext):
        seen = [context.new_id(), context.now()]
        for key in "abcd":
            with context.span("step", key) as step:
                seen.append(await world.do(step, key))
        return seen

    assert await run.begin(work) == "killed"
    assert world.calls == ["a", "b", "c"]
    ids = [e.outcome.payload for e in run.ledger.effects("run") if e.intent.kind == "id"]
    result = await run.resume(work)
    assert world.calls == ["a", "b", "c", "c", "d"]
    assert f'"{result[0]}"' == ids[0]
    assert result[2:] == ["a", "b", "c", "d"]
    effects = list(run.ledger.effects("run"))
    assert all(effect.outcome is not None and effect.outcome.ok for effect in effects)
    sequences = [effect.intent.sequence for effect in effects]
    assert len(sequences) == len(set(sequences))
    assert len({effect.intent.key for effect in effects}) == len(effects)


async def test_a_completed_resume_can_be_replayed() -> None:
    from llmspell_core import Replaying

    run, world = Run(), World(b=[Killed(), "b"])

    async def work(context: ExecutionContext):
        return [await world.do(context, key) for key in "abc"] + [context.new_id()]

    await run.begin(work)
    result = await run.resume(work)
    calls = list(world.calls)
    policy = Replaying(run.ledger, "run")
    assert await work(make_context(effects=policy)) == result
    assert (policy.unused(), world.calls) == ([], calls)


async def test_an_unfinished_body_runs_against_its_recorded_children() -> None:
    run, world = Run(), World(second=[Killed(), "2"])

    async def work(context: ExecutionContext):
        async def body(inner: ExecutionContext):
            return [await world.do(inner, "first"), await world.do(inner, "second")]

        return await context.effect("tool.call", "t", body, effect_class=EffectClass.IDEMPOTENT)

    assert await run.begin(work) == "killed"
    assert await run.resume(work) == ["first", "2"]
    assert world.calls == ["first", "second", "second"]


async def test_an_error_the_run_ended_with_is_tried_again() -> None:
    down = ProviderError("the model is down")
    run, world = Run(), World(b=[down, "b"])

    async def work(context: ExecutionContext):
        return [await world.do(context, key) for key in "abc"]

    with pytest.raises(ProviderError):
        await run.begin(work)
    assert await run.resume(work) == ["a", "b", "c"]
    assert world.calls == ["a", "b", "b", "c"]


async def test_an_error_the_run_went_on_after_is_kept() -> None:
    run = Run()
    world = World(a=[ToolError("no", tool_name="t"), "would be another branch"], c=[Killed(), "c"])

    async def work(context: ExecutionContext):
        seen = []
        try:
            seen.append(await world.do(context, "a"))
        except ToolError as error:
            seen.append(f"{error.tool_name}: {error}")
        return [*seen, await world.do(context, "b"), await world.do(context, "c")]

    assert await run.begin(work) == "killed"
    assert await run.resume(work) == ["t: Tool execution error: no", "b", "c"]
    assert world.calls == ["a", "b", "c", "c"]


async def test_an_error_caught_before_another_end_is_kept() -> None:
    run = Run()
    world = World(a=[ToolError("no"), "a"], b=[ProviderError("down"), "b"])

    async def work(context: ExecutionContext):
        try:
            first = await world.do(context, "a")
        except ToolError:
            first = "caught"
        return [first, await world.do(context, "b")]

    with pytest.raises(ProviderError):
        await run.begin(work)
    assert await run.resume(work) == ["caught", "b"]


class Asker(Agent):
    """Asks the world once, as an agent asks its model."""

    metadata = ComponentMetadata("asker", component_type="agent")
    conversation = ()

    def __init__(self, world: World, key: str) -> None:
        self._world = world
        self._key = key

    def clear_conversation(self) -> None: ...

    async def execute_impl(self, input, context):
        return AgentOutput(await self._world.do(context, self._key))


async def test_a_failed_agent_is_asked_again_although_it_looked_at_the_clock() -> None:
    """`BaseAgent.execute` observes the clock after the error; that is not going on."""
    run, world = Run(), World(a=[ProviderError("down"), "a"])
    services = make_services()
    services.provide("events", _Bus())

    async def work(context: ExecutionContext):
        return (await Asker(world, "a").execute("x", context)).text

    with pytest.raises(ProviderError):
        await run.begin(work)
    assert await run.resume(work) == "a"
    assert world.calls == ["a", "a"]


class _Bus:
    listening = True

    def publish(self, topic, payload, context):
        context.now()
        context.new_id()


async def test_an_error_that_was_wrapped_on_its_way_up_is_tried_again() -> None:
    run, world = Run(), World(a=[ToolError("disk is full"), "a"])

    async def work(context: ExecutionContext):
        with context.span("workflow", "w") as workflow, workflow.span("step", "s") as step:
            try:
                return await world.do(step, "a")
            except LLMSpellError as error:
                raise WorkflowError(f"step 's' failed: {error}", step="s") from error

    with pytest.raises(WorkflowError):
        await run.begin(work)
    assert await run.resume(work) == "a"


async def test_a_failed_branch_is_tried_again_although_its_siblings_went_on() -> None:
    run, world = Run(), World(b=[ToolError("b broke"), "b"])

    async def work(context: ExecutionContext):
        async def branch(inner: ExecutionContext, key: str, delay: int):
            with inner.span("step", key) as step:
                return [await world.do(step, key, delay=delay), await world.do(step, key + key)]

        with context.span("workflow", "w") as workflow:
            tasks = [
                asyncio.ensure_future(branch(workflow, key, delay))
                for key, delay in (("a", 3), ("b", 0), ("c", 9))
            ]
            results = await asyncio.gather(*tasks, return_exceptions=True)
            results.append(await asyncio.gather(branch(workflow, "late", 0)))
            broken = [r for r in results if isinstance(r, ToolError)]
            if broken:
                raise WorkflowError(f"1 of 3 steps failed: {broken[0]}")
            return results

    with pytest.raises(WorkflowError):
        await run.begin(work)
    assert world.calls.count("b") == 1
    result = await run.resume(work)
    assert result == [["a", "aa"], ["b", "bb"], ["c", "cc"], [["late", "latelate"]]]
    assert sorted(world.calls) == sorted(["a", "aa", "b", "b", "bb", "c", "cc", "late", "latelate"])


async def test_an_error_inside_a_part_that_succeeded_is_kept() -> None:
    run = Run()
    world = World(a=[ToolError("no"), "a"], z=[ProviderError("down"), "z"])

    async def work(context: ExecutionContext):
        with context.span("step", "s") as step:
            try:
                first = await world.do(step, "a")
            except ToolError:
                first = "fallback"
        return [first, await world.do(context, "z")]

    with pytest.raises(ProviderError):
        await run.begin(work)
    assert await run.resume(work) == ["fallback", "z"]
    assert world.calls == ["a", "z", "z"]


async def test_an_agent_that_went_on_after_a_tool_failed_keeps_that() -> None:
    run = Run()
    world = World(tool=[ToolError("no"), "t"], model2=[ProviderError("down"), "m"])

    async def work(context: ExecutionContext):
        with context.span("agent", "a") as agent:
            seen = [await world.do(agent, "model1")]
            try:
                seen.append(await world.do(agent, "tool"))
            except ToolError as error:
                seen.append(str(error))
            return [*seen, await world.do(agent, "model2")]

    with pytest.raises(ProviderError):
        await run.begin(work)
    assert await run.resume(work) == ["model1", "Tool execution error: no", "m"]
    assert world.calls == ["model1", "tool", "model2", "model2"]


async def test_a_killed_run_with_an_error_at_its_end_tries_again() -> None:
    run, world = Run(), World(a=[ToolError("no"), "a"])

    async def work(context: ExecutionContext):
        with context.span("step", "s") as step:
            try:
                return await world.do(step, "a")
            except ToolError:
                raise Killed from None

    assert await run.begin(work) == "killed"
    assert await run.resume(work) == "a"


async def test_an_irreversible_effect_without_an_outcome_stops_the_resume() -> None:
    run, world = Run(), World(mail=[Killed(), "sent"])

    async def work(context: ExecutionContext):
        with suppress(Exception):
            await world.do(context, "mail", IRREVERSIBLE)
        return await world.do(context, "after")

    assert await run.begin(work) == "killed"
    with pytest.raises(UnsettledEffectError, match="may or may not have happened") as caught:
        await run.resume(work)
    assert caught.value.hint == ("Find out, then resume with --repeat-irreversible to do it again.")
    assert world.calls == ["mail"]
    assert await run.resume(work, repeat_irreversible=True) == "after"
    assert world.calls == ["mail", "mail", "after"]


async def test_an_unsettled_effect_sticks_for_observations_and_streams_too() -> None:
    run, world = Run(), World(mail=[Killed(), "sent"])

    async def only_mail(context: ExecutionContext):
        return await world.do(context, "mail", IRREVERSIBLE)

    await run.begin(only_mail)
    context = make_context(effects=Resuming(run.ledger, "run"))
    with pytest.raises(UnsettledEffectError):
        await only_mail(context)
    with pytest.raises(UnsettledEffectError):
        context.new_id()

    async def source(inner):
        yield 1

    with pytest.raises(UnsettledEffectError):
        _ = [x async for x in context.effect_stream("s", 1, source, effect_class=PURE)]
    assert context.cancel.reason is not None


async def test_an_irreversible_effect_whose_outcome_was_not_kept_is_not_repeated() -> None:
    run, world = Run(), World(mail=[object()], b=[Killed(), "b"])

    async def work(context: ExecutionContext):
        await world.do(context, "mail", IRREVERSIBLE)
        return await world.do(context, "b")

    assert await run.begin(work) == "killed"
    with pytest.raises(UnsettledEffectError, match="has happened, but its outcome"):
        await run.resume(work)
    assert world.calls == ["mail", "b"]


async def test_an_irreversible_effect_that_failed_may_be_tried_again() -> None:
    run, world = Run(), World(mail=[ToolError("refused"), "sent"])

    async def work(context: ExecutionContext):
        return await world.do(context, "mail", IRREVERSIBLE)

    with pytest.raises(ToolError):
        await run.begin(work)
    assert await run.resume(work) == "sent"


@pytest.mark.parametrize(
    "effect_class", [PURE, EffectClass.IDEMPOTENT, EffectClass.RECONCILABLE], ids=lambda c: c.value
)
async def test_other_effects_without_an_outcome_are_done_again(effect_class) -> None:
    run, world = Run(), World(a=[Killed(), "a"])

    async def work(context: ExecutionContext):
        return await world.do(context, "a", effect_class)

    assert await run.begin(work) == "killed"
    assert await run.resume(work) == "a"
    assert len(list(run.ledger.effects("run"))) == 1


async def test_streams_are_kept_or_streamed_again() -> None:
    run = Run()
    pulled: list[str] = []

    def stream(context: ExecutionContext, name: str, *pieces):
        async def source(inner: ExecutionContext):
            pulled.append(name)
            for piece in pieces:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece

        return context.effect_stream("s", name, source, effect_class=PURE)

    async def work(context: ExecutionContext, *second):
        first = [x async for x in stream(context, "first", 1, 2)]
        return first + [x async for x in stream(context, "second", *second)]

    assert await run.begin(lambda c: work(c, 3, Killed())) == "killed"
    assert await run.resume(lambda c: work(c, 3, 4)) == [1, 2, 3, 4]
    assert pulled == ["first", "second", "second"]
    assert await run.resume(lambda c: work(c, "never")) == [1, 2, 3, 4]


async def test_a_broken_stream_the_run_went_on_after_is_kept() -> None:
    run, world = Run(), World(b=[Killed(), "b"])
    pulled: list[int] = []

    async def work(context: ExecutionContext):
        async def source(inner: ExecutionContext):
            pulled.append(1)
            yield "half"
            raise ProviderError("cut", kind="protocol")

        seen = []
        try:
            async for item in context.effect_stream("s", 1, source, effect_class=PURE):
                seen.append(item)  # noqa: PERF401
        except ProviderError as error:
            seen.append(error.kind)
        return [*seen, await world.do(context, "b")]

    assert await run.begin(work) == "killed"
    assert await run.resume(work) == ["half", "protocol", "b"]
    assert pulled == [1]


async def test_a_run_can_be_resumed_again_and_again() -> None:
    run = Run()
    world = World(a=[ProviderError("1"), ProviderError("2"), Killed(), "a"])

    async def work(context: ExecutionContext):
        before = context.new_id()
        with context.span("agent", "x") as agent:
            return [before, await world.do(agent, "a")]

    for message in ("1", "2"):
        with pytest.raises(ProviderError, match=message):
            await (run.begin(work) if message == "1" else run.resume(work))
    assert await run.resume(work) == "killed"
    result = await run.resume(work)
    assert result[1] == "a"
    assert world.calls == ["a"] * 4
    effects = list(run.ledger.effects("run"))
    assert len(effects) == 3
    assert all(effect.outcome is not None and effect.outcome.ok for effect in effects)


async def test_an_observation_whose_payload_was_erased_is_made_again() -> None:
    run = Run()

    async def work(context: ExecutionContext):
        return context.observe("o", 1, lambda: "new")

    await run.begin(work)
    first, *_ = run.ledger.effects("run")
    assert first.outcome is not None
    run.ledger.settle(replace(first.outcome, payload=None))
    assert await run.resume(work) == "new"
    assert len(list(run.ledger.effects("run"))) == 1
