"""Publishing events, beside appending to a raw deque."""

import asyncio
import time
from collections import deque

from llmspell_events import BusService

EVENTS = 200_000
PATTERNS = ["agent.*", "*.error", "workflow.*.completed", "tool.execution.started", "tool.*"]


def deque_appends() -> float:
    queue: deque[tuple[str, object]] = deque(maxlen=10_000)
    payload = {"tool_name": "calculator"}
    started = time.perf_counter()
    for _ in range(EVENTS):
        queue.append(("tool.execution.started", payload))
    return EVENTS / (time.perf_counter() - started)


def publishes(patterns: list[str]) -> float:
    bus = BusService()
    for pattern in patterns:
        bus.subscribe(pattern)
    payload = {"tool_name": "calculator"}
    started = time.perf_counter()
    for _ in range(EVENTS):
        bus.publish("tool.execution.started", payload)
    return EVENTS / (time.perf_counter() - started)


async def handled() -> float:
    bus = BusService(capacity=EVENTS)
    seen = 0

    def handler(event: object) -> None:
        nonlocal seen
        seen += 1

    bus.subscribe("tool.*", handler)
    started = time.perf_counter()
    for _ in range(EVENTS):
        bus.publish("tool.execution.started", None)
    await bus.drain()
    took = time.perf_counter() - started
    assert seen == EVENTS
    return EVENTS / took


def main() -> None:
    raw = deque_appends()
    print(f"deque.append                          {raw:12,.0f} /s    1.0 x")
    for label, rate in (
        ("publish, nobody listens", publishes([])),
        ("publish, 5 patterns, 2 of them match", publishes(PATTERNS)),
        ("publish and handle, 1 handler", asyncio.run(handled())),
    ):
        print(f"{label:37} {rate:12,.0f} /s  {raw / rate:5.1f} x")


if __name__ == "__main__":
    main()
