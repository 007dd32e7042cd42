"""What every `HookExecutor` keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from llmspell_core import (
    ExecutionCancelled,
    ExecutionContext,
    HookExecutor,
    HookOutcome,
    ValidationError,
)
from llmspell_testing._worlds import make_context

POINT = "BeforeToolExecution"
OTHER = "AfterToolExecution"


class HookExecutorSuite:
    """Override `hooks`: a fresh executor with nothing registered."""

    @pytest.fixture
    def hooks(self) -> HookExecutor:
        """A fresh executor."""
        raise NotImplementedError("override the fixture 'hooks'")

    @pytest.fixture
    def context(self) -> ExecutionContext:
        """The context of the calls."""
        return make_context()

    async def test_without_hooks_nothing_is_wanted_and_all_goes_on(
        self, hooks: HookExecutor, context: ExecutionContext
    ) -> None:
        assert hooks.wants(POINT) is False
        assert (await hooks.run(POINT, {"n": 1}, context)).action == "continue"

    async def test_a_hook_sees_point_data_and_context(
        self, hooks: HookExecutor, context: ExecutionContext
    ) -> None:
        seen: list[tuple[str, dict[str, Any], ExecutionContext]] = []

        async def look(point: str, data: Mapping[str, Any], inside: ExecutionContext) -> None:
            seen.append((point, dict(data), inside))

        hooks.register(POINT, look)
        assert hooks.wants(POINT) is True
        assert hooks.wants(OTHER) is False
        outcome = await hooks.run(POINT, {"n": 1}, context)
        assert outcome.action == "continue"
        assert [(point, data) for point, data, _ in seen] == [(POINT, {"n": 1})]
        assert seen[0][2].correlation_id == context.correlation_id

    async def test_an_unknown_point_is_refused(self, hooks: HookExecutor) -> None:
        with pytest.raises(ValidationError, match="Unknown hook point: NoSuchPoint"):
            hooks.register("NoSuchPoint", _pass)

    async def test_smaller_priorities_run_first_and_equals_in_order(
        self, hooks: HookExecutor, context: ExecutionContext
    ) -> None:
        ran: list[str] = []
        for name, priority in (("c", 0), ("a", -100), ("e", 5), ("d", 0), ("b", -50)):

            async def note(
                point: str, data: Mapping[str, Any], inside: ExecutionContext, name: str = name
            ) -> None:
                ran.append(name)

            hooks.register(POINT, note, priority=priority, name=name)
        await hooks.run(POINT, {}, context)
        assert ran == ["a", "b", "c", "d", "e"]

    async def test_a_change_reaches_the_next_hook_and_the_caller(
        self, hooks: HookExecutor, context: ExecutionContext
    ) -> None:
        async def add(point: str, data: Mapping[str, Any], inside: ExecutionContext) -> HookOutcome:
            return HookOutcome("modified", {**data, "n": data["n"] + 1})

        hooks.register(POINT, add, name="first")
        hooks.register(POINT, add, name="second")
        given = {"n": 1, "kept": True}
        outcome = await hooks.run(POINT, given, context)
        assert (outcome.action, outcome.data) == ("modified", {"n": 3, "kept": True})
        assert given == {"n": 1, "kept": True}

    @pytest.mark.parametrize(
        "decision",
        [
            HookOutcome("cancel", reason="because"),
            HookOutcome("skip"),
            HookOutcome("replace", {"result": 7}),
        ],
        ids=lambda outcome: outcome.action,
    )
    async def test_a_decision_ends_the_round(
        self, hooks: HookExecutor, context: ExecutionContext, decision: HookOutcome
    ) -> None:
        ran: list[str] = []

        async def decide(
            point: str, data: Mapping[str, Any], inside: ExecutionContext
        ) -> HookOutcome:
            return decision

        async def never(point: str, data: Mapping[str, Any], inside: ExecutionContext) -> None:
            ran.append("never")

        hooks.register(POINT, decide, priority=-10)
        hooks.register(POINT, never, priority=0)
        assert await hooks.run(POINT, {}, context) == decision
        assert ran == []

    async def test_a_failing_hook_counts_as_continue(
        self, hooks: HookExecutor, context: ExecutionContext
    ) -> None:
        ran: list[str] = []

        async def fail(point: str, data: Mapping[str, Any], inside: ExecutionContext) -> None:
            raise ZeroDivisionError

        async def note(point: str, data: Mapping[str, Any], inside: ExecutionContext) -> None:
            ran.append("note")

        hooks.register(POINT, fail, priority=-10)
        hooks.register(POINT, note)
        assert (await hooks.run(POINT, {}, context)).action == "continue"
        assert ran == ["note"]

    @pytest.mark.parametrize("stop", [ExecutionCancelled("stop"), asyncio.CancelledError()])
    async def test_cancellation_is_no_failure_of_a_hook(
        self, hooks: HookExecutor, context: ExecutionContext, stop: BaseException
    ) -> None:
        async def cancel(point: str, data: Mapping[str, Any], inside: ExecutionContext) -> None:
            raise stop

        hooks.register(POINT, cancel)
        with pytest.raises(type(stop)):
            await hooks.run(POINT, {}, context)

    async def test_an_unregistered_hook_is_gone(
        self, hooks: HookExecutor, context: ExecutionContext
    ) -> None:
        hook_id = hooks.register(POINT, _pass)
        assert hooks.unregister(hook_id) is True
        assert hooks.unregister(hook_id) is False
        assert hooks.wants(POINT) is False

    async def test_a_hook_may_unregister_itself(
        self, hooks: HookExecutor, context: ExecutionContext
    ) -> None:
        ran: list[str] = []

        async def once(point: str, data: Mapping[str, Any], inside: ExecutionContext) -> None:
            ran.append("once")
            hooks.unregister(hook_id)

        async def always(point: str, data: Mapping[str, Any], inside: ExecutionContext) -> None:
            ran.append("always")

        hook_id = hooks.register(POINT, once, priority=-1, name="once")
        hooks.register(POINT, always, name="always")
        await hooks.run(POINT, {}, context)
        await hooks.run(POINT, {}, context)
        assert ran == ["once", "always", "always"]


async def _pass(point: str, data: Mapping[str, Any], context: ExecutionContext) -> None:
    return None
