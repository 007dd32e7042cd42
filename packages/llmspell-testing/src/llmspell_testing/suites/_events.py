"""What every `EventBus` keeps."""

from __future__ import annotations

import asyncio
import threading

import pytest

from llmspell_core import Event, EventBus, LLMSpellError
from llmspell_testing._worlds import make_context


class EventBusSuite:
    """Override `bus`: a fresh bus nobody listens to."""

    @pytest.fixture
    def bus(self) -> EventBus:
        """A fresh bus."""
        raise NotImplementedError("override the fixture 'bus'")

    async def test_it_listens_while_somebody_subscribes(self, bus: EventBus) -> None:
        assert bus.listening is False
        subscription = bus.subscribe("*")
        assert bus.listening is True
        assert bus.unsubscribe(subscription) is True
        assert bus.unsubscribe(subscription) is False
        assert bus.unsubscribe("never made") is False
        assert bus.listening is False

    async def test_publishing_to_nobody_is_harmless(self, bus: EventBus) -> None:
        event = bus.publish("a.b", {"n": 1})
        assert (event.topic, event.payload) == ("a.b", {"n": 1})

    async def test_a_subscriber_receives_in_the_order_of_publishing(self, bus: EventBus) -> None:
        subscription = bus.subscribe("count")
        made = [bus.publish("count", n) for n in range(200)]
        received = [await bus.receive(subscription, timeout_seconds=10) for _ in range(200)]
        assert received == made
        sequences = [event.sequence for event in made]
        assert sequences == sorted(set(sequences))
        assert len({event.id for event in made}) == 200

    async def test_every_subscriber_gets_every_event(self, bus: EventBus) -> None:
        subscriptions = [bus.subscribe("t") for _ in range(5)]
        event = bus.publish("t", "x")
        received = [await bus.receive(s, timeout_seconds=10) for s in subscriptions]
        assert received == [event] * 5

    @pytest.mark.parametrize(
        ("pattern", "topics"),
        [
            (
                "*",
                ["agent.started", "agent.tool.error", "tool.error", "w.1.complete", "w.complete"],
            ),
            ("agent.*", ["agent.started", "agent.tool.error"]),
            ("*.error", ["agent.tool.error", "tool.error"]),
            ("w.*.complete", ["w.1.complete"]),
            ("tool.error", ["tool.error"]),
            ("Tool.error", []),
            ("tool", []),
            ("tool.erro.", []),
        ],
    )
    async def test_patterns(self, bus: EventBus, pattern: str, topics: list[str]) -> None:
        subscription = bus.subscribe(pattern)
        for topic in (
            "agent.started",
            "agent.tool.error",
            "tool.error",
            "w.1.complete",
            "w.complete",
        ):
            bus.publish(topic, None)
        received: list[str] = []
        while (event := await bus.receive(subscription, timeout_seconds=0.05)) is not None:
            received.append(event.topic)
        assert received == topics

    async def test_an_empty_pattern_is_refused(self, bus: EventBus) -> None:
        with pytest.raises((LLMSpellError, ValueError), match="empty"):
            bus.subscribe("")

    async def test_waiting_ends_with_the_next_event(self, bus: EventBus) -> None:
        subscription = bus.subscribe("t")
        waiting = asyncio.ensure_future(bus.receive(subscription, timeout_seconds=30))
        await asyncio.sleep(0)
        event = bus.publish("t", 1)
        assert await waiting == event

    async def test_waiting_ends_with_the_time_out(self, bus: EventBus) -> None:
        subscription = bus.subscribe("t")
        assert await bus.receive(subscription, timeout_seconds=0.01) is None
        assert await bus.receive(subscription, timeout_seconds=0) is None
        event = bus.publish("t", 1)
        assert await bus.receive(subscription, timeout_seconds=10) == event

    async def test_a_cancelled_wait_loses_no_event(self, bus: EventBus) -> None:
        subscription = bus.subscribe("t")
        waiting = asyncio.ensure_future(bus.receive(subscription, timeout_seconds=30))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        event = bus.publish("t", 1)
        assert await bus.receive(subscription, timeout_seconds=10) == event

    async def test_handlers_are_called(self, bus: EventBus) -> None:
        plain: list[Event] = []
        awaited: list[Event] = []
        done = asyncio.Event()

        async def later(event: Event) -> None:
            await asyncio.sleep(0)
            awaited.append(event)
            done.set()

        bus.subscribe("t", plain.append)
        bus.subscribe("t", later)
        event = bus.publish("t", 1)
        await asyncio.wait_for(done.wait(), 10)
        await _until(lambda: len(plain) == 1)
        assert (plain, awaited) == ([event], [event])

    async def test_a_failing_handler_hurts_nobody_else(self, bus: EventBus) -> None:
        seen: list[int] = []

        def fail(event: Event) -> None:
            raise ZeroDivisionError

        bus.subscribe("t", fail)
        bus.subscribe("t", lambda event: seen.append(event.payload))
        subscription = bus.subscribe("t")
        bus.publish("t", 1)
        bus.publish("t", 2)
        received = [await bus.receive(subscription, timeout_seconds=10) for _ in range(2)]
        assert [event.payload for event in received if event is not None] == [1, 2]
        await _until(lambda: seen == [1, 2])
        assert seen == [1, 2]

    async def test_threads_may_publish(self, bus: EventBus) -> None:
        subscription = bus.subscribe("t")

        def publish(thread: int) -> None:
            for number in range(50):
                bus.publish("t", (thread, number))

        threads = [threading.Thread(target=publish, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        received: list[tuple[int, int]] = []
        for _ in range(200):
            event = await bus.receive(subscription, timeout_seconds=30)
            assert event is not None
            received.append(event.payload)
        for thread in threads:
            thread.join(10)
        for number in range(4):
            assert [n for thread, n in received if thread == number] == list(range(50))

    async def test_an_event_carries_the_correlation_of_its_execution(self, bus: EventBus) -> None:
        context = make_context(correlation_id="corr-1")
        assert bus.publish("t", None, context).correlation_id == "corr-1"

    async def test_nothing_arrives_after_unsubscribing(self, bus: EventBus) -> None:
        seen: list[Event] = []
        subscription = bus.subscribe("t", seen.append)
        bus.unsubscribe(subscription)
        other = bus.subscribe("t")
        bus.publish("t", 1)
        assert await bus.receive(other, timeout_seconds=10) is not None
        assert seen == []


async def _until(condition: object) -> None:
    """Let the loop turn until *condition* holds, for ten seconds at most."""
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a handler may run on another thread
            await asyncio.sleep(0.001)
