from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from llmspell_core import (
    CancelSignal,
    Deadline,
    ExecutionCancelled,
    ExecutionContext,
    LLMTimeoutError,
)
from llmspell_testing import make_context
from llmspell_utils import closing, in_order, unless_cancelled


def context_with(**fields: object) -> ExecutionContext:
    return make_context(**fields)


async def forever(seen: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise


async def test_the_result_comes_through() -> None:
    async def seven() -> int:
        await asyncio.sleep(0)
        return 7

    assert await unless_cancelled(seven(), context_with()) == 7


async def test_cancelling_from_another_thread_ends_the_wait_and_the_work() -> None:
    cancel = CancelSignal()
    seen: list[str] = []
    waiting = asyncio.ensure_future(unless_cancelled(forever(seen), context_with(cancel=cancel)))
    await asyncio.sleep(0)
    thread = threading.Thread(target=cancel.cancel, args=("enough",))
    thread.start()
    with pytest.raises(ExecutionCancelled, match="enough"):
        await asyncio.wait_for(waiting, 5)
    thread.join()
    assert seen == ["cancelled"]


async def test_a_signal_that_is_turned_already_ends_it_at_once() -> None:
    cancel = CancelSignal()
    cancel.cancel("before")
    with pytest.raises(ExecutionCancelled, match="before"):
        await unless_cancelled(forever([]), context_with(cancel=cancel))


async def test_the_deadline_is_a_timeout() -> None:
    seen: list[str] = []
    with pytest.raises(LLMTimeoutError, match=r"timed out after 0\.01s"):
        await unless_cancelled(forever(seen), context_with(deadline=Deadline(0.01)))
    assert seen == ["cancelled"]


async def test_a_timeout_of_the_work_itself_stays_what_it_is() -> None:
    async def slow() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await unless_cancelled(slow(), context_with())


async def test_cancelling_the_task_is_not_mistaken_for_the_signal() -> None:
    seen: list[str] = []
    waiting = asyncio.ensure_future(unless_cancelled(forever(seen), context_with()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert seen == ["cancelled"]


async def test_a_signal_turned_after_the_end_changes_nothing() -> None:
    cancel = CancelSignal()
    context = context_with(cancel=cancel)
    assert await unless_cancelled(asyncio.sleep(0, "done"), context) == "done"
    cancel.cancel("late")
    await asyncio.sleep(0)


async def test_results_come_in_the_order_of_the_work_not_of_its_end() -> None:
    first = asyncio.Event()

    async def slow() -> str:
        await first.wait()
        return "slow"

    async def quick() -> str:
        first.set()
        return "quick"

    assert await in_order([slow(), quick()]) == ["slow", "quick"]
    assert await in_order([]) == []


async def test_one_failure_cancels_the_others_before_it_goes_on() -> None:
    seen: list[str] = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        await in_order([forever(seen), fails(), forever(seen)])
    assert seen == ["cancelled", "cancelled"]


async def test_cancelling_the_caller_cancels_all_the_work() -> None:
    seen: list[str] = []
    waiting = asyncio.ensure_future(in_order([forever(seen), forever(seen)]))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert seen == ["cancelled", "cancelled"]


async def test_a_control_exception_of_one_reaches_the_caller() -> None:
    async def stops() -> None:
        raise ExecutionCancelled("stop")

    seen: list[str] = []
    with pytest.raises(ExecutionCancelled):
        await in_order([forever(seen), stops()])
    assert seen == ["cancelled"]


async def test_closing_closes_generators_and_lets_other_iterators_be() -> None:
    ended: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ended.append("closed")

    async with closing(numbers()) as source:
        assert await anext(source) == 1
    assert ended == ["closed"]

    class Bare:
        def __aiter__(self) -> Bare:
            return self

        async def __anext__(self) -> int:
            raise StopAsyncIteration

    async with closing(Bare()) as source:  # type: ignore[var-annotated]
        assert [n async for n in source] == []
