"""Effects that a run gave up: cancelled by the run itself, which went on without them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from llmspell_core import EffectClass, ExecutionContext, ReplayError, RunStatus
from llmspell_testing import LedgerDouble, recording_context, replaying_context


async def race(context: ExecutionContext) -> str:
    """Two effects; the one that hangs is cancelled when the other has its outcome."""

    async def hang(_: ExecutionContext) -> str:
        await asyncio.Event().wait()
        return "never"

    async def pieces(_: ExecutionContext) -> AsyncIterator[str]:
        await asyncio.Event().wait()
        yield "never"

    async def quick(_: ExecutionContext) -> str:
        await asyncio.sleep(0)
        return "quick"

    async def stream() -> None:
        async for _ in context.effect_stream("s", 1, pieces, effect_class=EffectClass.PURE):
            raise AssertionError("nothing was ever yielded")

    slow = asyncio.create_task(context.effect("a", 1, hang, effect_class=EffectClass.PURE))
    streaming = asyncio.create_task(stream())
    try:
        return await context.effect("b", 2, quick, effect_class=EffectClass.PURE)
    finally:
        await asyncio.sleep(0)
        assert not slow.done()
        assert not streaming.done()
        slow.cancel()
        streaming.cancel()
        await asyncio.wait([slow, streaming])
        context.now()  # the run goes on


@pytest.mark.parametrize("status", [RunStatus.COMPLETED, RunStatus.FAILED])
async def test_what_a_run_gave_up_is_given_up_again_in_its_replay(status: RunStatus) -> None:
    ledger = LedgerDouble()
    assert await race(recording_context(ledger)) == "quick"
    ledger.close_run("run", status, finished_at=1.0)
    async with asyncio.timeout(10):
        assert await race(replaying_context(ledger)) == "quick"


@pytest.mark.parametrize("status", [None, RunStatus.CANCELLED, RunStatus.FAILED])
async def test_what_a_run_ended_with_is_not_waited_for(status: RunStatus | None) -> None:
    ledger = LedgerDouble()
    context = recording_context(ledger)

    async def hang(_: ExecutionContext) -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(context.effect("a", 1, hang, effect_class=EffectClass.PURE))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    if status is not None:
        ledger.close_run("run", status, finished_at=1.0)
    replay = replaying_context(ledger)
    async with asyncio.timeout(10):
        with pytest.raises(ReplayError, match="no recorded outcome"):
            await replay.effect("a", 1, hang, effect_class=EffectClass.PURE)
