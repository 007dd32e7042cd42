import asyncio
import gc
import logging
import threading

import pytest

from llmspell_core import (
    IO_LOOP,
    Event,
    ExecutionContext,
    NotFoundError,
    Services,
    ValidationError,
)
from llmspell_events import BusService, BusStats, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "fits", "differs"),
    [
        ("*", ["a", "a.b.c", ""], []),
        ("**", ["a", "a.b.c"], []),
        ("agent.started", ["agent.started"], ["Agent.started", "agent.started.x", "agent"]),
        ("agent.*", ["agent.started", "agent.tool.called"], ["agent", "agents.started"]),
        ("test*", ["test", "testing", "test.a"], ["atest"]),
        ("*.error", ["tool.error", "a.b.error"], ["error", "tool.errors"]),
        ("*mid*", ["amidb", "mid", "a.mid.c"], ["mi.d"]),
        (
            "workflow.*.complete",
            ["workflow.step.complete"],
            ["workflow.complete", "workflow.a.b.complete", "workflow..complete"],
        ),
        ("a.*.*.b", ["a.x.y.b"], ["a.x.b", "a.x.y.z.b"]),
        ("a.**.b", ["a.b", "a.x.b", "a.x.y.b"], ["ab", "a.bb.c"]),
        ("a**z", ["az", "a.b.z"], ["a.b"]),
        ("wo*w.x", ["workflow.x", "wow.x"], ["wo.w.x"]),
        ("*.a.*.b", ["x.a.y.b", "x.z.a.y.b"], ["x.a.b"]),
        ("a.*.b.*", ["a.x.b.c", "a.x.b.c.d"], ["a.b.c"]),
        ("a+b.*.[c]", ["a+b.x.[c]"], ["aab.x.c"]),
    ],
)
def test_patterns_fit_what_they_say(pattern, fits, differs):
    matches = compile_pattern(pattern)
    assert [t for t in fits if not matches(t)] == []
    assert [t for t in differs if matches(t)] == []


def test_an_empty_pattern_is_refused():
    with pytest.raises(ValidationError, match="Pattern cannot be empty"):
        BusService().subscribe("")


async def test_subscribers_receive_in_order_what_they_named():
    bus = BusService(clock=lambda: 12.5)
    tools, everything = bus.subscribe("tool.*"), bus.subscribe("*")
    context = ExecutionContext(Services(), correlation_id="c-1")

    first = bus.publish("tool.started", {"n": 1}, context)
    bus.publish("agent.started", {"n": 2})
    bus.publish("tool.done", {"n": 3})

    assert first == Event("tool.started", {"n": 1}, 12.5, 0, "c-1", first.id)
    assert [(await bus.receive(tools)).payload["n"] for _ in range(2)] == [1, 3]
    assert [(await bus.receive(everything)).payload["n"] for _ in range(3)] == [1, 2, 3]
    assert await bus.receive(tools, timeout_seconds=0) is None
    assert bus.stats() == BusStats(3, 5, 0, 0, 2)


async def test_nobody_listens_until_somebody_subscribes_and_again_after_the_last_left():
    bus = BusService()
    assert not bus.listening
    assert bus.publish("lost", None).sequence == 0
    subscription = bus.subscribe("x")
    assert bus.listening
    assert (bus.unsubscribe(subscription), bus.unsubscribe(subscription)) == (True, False)
    assert not bus.listening


async def test_a_receiver_that_waits_is_woken_from_another_thread():
    bus = BusService()
    subscription = bus.subscribe("x.*")
    waiting = asyncio.create_task(bus.receive(subscription, timeout_seconds=10))
    await asyncio.sleep(0)
    thread = threading.Thread(target=bus.publish, args=("x.y", "hello"))
    thread.start()
    event = await waiting
    thread.join()
    assert event is not None
    assert event.payload == "hello"


async def test_a_cancelled_receiver_loses_no_event():
    bus = BusService()
    subscription = bus.subscribe("*")
    waiting = asyncio.create_task(bus.receive(subscription))
    await asyncio.sleep(0)
    bus.publish("a", 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    event = await bus.receive(subscription, timeout_seconds=1)
    assert event is not None
    assert event.payload == 1


async def test_unsubscribing_releases_those_who_wait():
    bus = BusService()
    subscription = bus.subscribe("*")
    waiting = asyncio.create_task(bus.receive(subscription))
    await asyncio.sleep(0)
    bus.unsubscribe(subscription)
    assert await waiting is None
    with pytest.raises(NotFoundError, match=f"No active subscription found: {subscription}"):
        await bus.receive(subscription)


async def test_a_slow_subscriber_loses_its_oldest_events_and_nobody_elses():
    bus = BusService(capacity=3)
    slow = bus.subscribe("*")
    seen: list[int] = []
    bus.subscribe("*", lambda event: seen.append(event.payload))
    for n in range(5):
        bus.publish("n", n)
        await bus.drain()
    assert bus.dropped(slow) == 2
    assert [(await bus.receive(slow)).payload for _ in range(3)] == [2, 3, 4]
    assert seen == [0, 1, 2, 3, 4]
    bus.unsubscribe(slow)
    assert bus.stats() == BusStats(5, 8, 2, 0, 1)


async def test_handlers_run_one_event_at_a_time_in_order_on_the_loop_of_the_subscriber():
    bus = BusService()
    log: list[tuple[str, int]] = []
    gate = asyncio.Event()

    async def handler(event: Event) -> None:
        log.append(("begin", event.payload))
        if event.payload == 0:
            await gate.wait()
        log.append(("end", event.payload))

    bus.subscribe("*", handler)
    for n in range(3):
        bus.publish("n", n)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert log == [("begin", 0)]
    gate.set()
    await bus.drain()
    assert log == [(what, n) for n in range(3) for what in ("begin", "end")]
    await bus.aclose()


async def test_a_failing_handler_is_logged_and_the_next_event_comes(caplog):
    bus = BusService()
    seen: list[int] = []

    def handler(event: Event) -> None:
        if event.payload == 0:
            raise RuntimeError("boom")
        seen.append(event.payload)

    bus.subscribe("*", handler)
    with caplog.at_level(logging.ERROR, "llmspell.events"):
        bus.publish("n", 0)
        bus.publish("n", 1)
        await bus.drain()
    assert seen == [1]
    assert "failed on the event 'n'" in caplog.text
    assert "boom" in caplog.text


async def test_a_handler_may_unsubscribe_itself_and_finish():
    bus = BusService()
    done: list[int] = []
    ids: list[str] = []

    async def handler(event: Event) -> None:
        bus.unsubscribe(ids[0])
        await asyncio.sleep(0)
        done.append(event.payload)
        finished.set()

    finished = asyncio.Event()
    ids.append(bus.subscribe("*", handler))
    bus.publish("n", 1)
    bus.publish("n", 2)
    async with asyncio.timeout(5):
        await finished.wait()
    assert done == [1]


async def test_closing_ends_a_handler_in_the_middle():
    bus = BusService()
    started, ended = asyncio.Event(), asyncio.Event()

    async def handler(event: Event) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    bus.subscribe("*", handler)
    bus.publish("n", 1)
    async with asyncio.timeout(5):
        await started.wait()
        await bus.aclose()
        await ended.wait()
    assert not bus.listening


async def test_a_subscription_with_a_handler_cannot_be_received_from():
    bus = BusService()
    subscription = bus.subscribe("*", lambda event: None)
    with pytest.raises(ValidationError, match="has a handler"):
        await bus.receive(subscription)


def test_publishing_from_threads_reaches_a_handler_on_the_process_wide_loop():
    bus = BusService()
    seen: list[tuple[int, int]] = []
    names: set[str] = set()
    done = threading.Event()

    def handler(event: Event) -> None:
        names.add(threading.current_thread().name)
        seen.append(event.payload)
        if len(seen) == 400:
            done.set()

    bus.subscribe("t.*", handler)

    def publisher(thread: int) -> None:
        for n in range(100):
            bus.publish("t.x", (thread, n))

    threads = [threading.Thread(target=publisher, args=(t,)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done.wait(10)
    assert names == {"llmspell-io"}
    for publisher_number in range(4):
        assert [n for t, n in seen if t == publisher_number] == list(range(100))
    IO_LOOP.submit(bus.aclose()).result(5)


def test_a_subscriber_whose_loop_has_ended_is_left_behind():
    bus = BusService()

    async def subscribe_and_receive() -> None:
        bus.subscribe("*", lambda event: None)
        waiting = bus.subscribe("*")
        assert await bus.receive(waiting, timeout_seconds=0) is None

    asyncio.run(subscribe_and_receive())
    gc.collect()
    bus.publish("late", 1)
    bus.publish("later", 2)
    assert bus.stats().published == 2


async def test_many_topics_do_not_fill_the_cache_without_end():
    bus = BusService()
    subscription = bus.subscribe("t4999")
    for n in range(5000):
        bus.publish(f"t{n}", n)
    event = await bus.receive(subscription, timeout_seconds=1)
    assert event is not None
    assert event.payload == 4999
    assert len(bus._wanted) <= 4096  # the bound itself is what is tested


def test_publishing_starts_no_event_loop_when_nobody_listens():
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from llmspell_core import IO_LOOP, Services\n"
        "bus = Services().events\n"
        "bus.publish('a.b', {})\n"
        "bus.subscribe('c')\n"
        "bus.publish('c', {})\n"
        "print(IO_LOOP.started, 'asyncio' in sys.modules)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "False False\n"


def test_a_bus_without_room_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        BusService(capacity=0)
