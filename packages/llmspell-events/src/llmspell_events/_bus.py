"""The bus: topics, who wants them, and the order they come in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from llmspell_core import Event, EventBus, NotFoundError, ValidationError, new_id
from llmspell_events._patterns import compile_pattern
from llmspell_events._subscriptions import Subscription

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services
    from llmspell_core._bases import EventHandler

MAX_CACHED_TOPICS = 4096


@dataclass(frozen=True, slots=True)
class BusStats:
    """What a bus has done. `queued` waits for its subscriber, `dropped` was lost to slow ones."""

    published: int
    delivered: int
    dropped: int
    queued: int
    subscriptions: int


class BusService(EventBus):
    """An `EventBus` in this process.

    Events of one publisher reach each subscriber in the order they were published. Each
    subscriber has a queue of its own, so a slow one loses its own oldest events and delays
    nobody. A handler runs on the event loop it was subscribed on, or on the process-wide loop
    when it was subscribed from a plain thread; one event at a time, and if it raises, that is
    logged and the next event comes.

    Time stamps and ids are the bus's own, not effects of a run: who listens to a run must not
    change its recording.

    Args:
        capacity: How many events wait for one subscriber.
        clock: Unix seconds.
    """

    def __init__(self, *, capacity: int = 10_000, clock: Callable[[], float] = time.time) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self._capacity = capacity
        self._clock = clock
        self._lock = threading.Lock()
        self._subscriptions: dict[str, Subscription] = {}
        self._wanted: dict[str, tuple[Subscription, ...]] = {}
        self._sequence = count()
        self._published = 0
        self._past_delivered = 0
        self._past_dropped = 0

    @property
    def listening(self) -> bool:
        return bool(self._subscriptions)

    def publish(self, topic: str, payload: Any, context: ExecutionContext | None = None) -> Event:
        event = Event(
            topic,
            payload,
            self._clock(),
            next(self._sequence),
            None if context is None else context.correlation_id,
            new_id(),
        )
        self._published = event.sequence + 1
        if self._subscriptions:
            wanted = self._wanted.get(topic)
            if wanted is None:
                wanted = self._find(topic)
            for subscription in wanted:
                subscription.offer(event)
        return event

    def _find(self, topic: str) -> tuple[Subscription, ...]:
        with self._lock:
            wanted = tuple(s for s in self._subscriptions.values() if s.matches(topic))
            if len(self._wanted) >= MAX_CACHED_TOPICS:
                self._wanted = {}
            self._wanted[topic] = wanted
        return wanted

    def subscribe(self, pattern: str, handler: EventHandler | None = None) -> str:
        """Subscribe; returns the subscription's id. Without a handler, `receive` collects.

        Raises:
            ValidationError: for an empty pattern.
        """
        loop = None
        if handler is not None:
            import asyncio

            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                loop = None
        subscription = Subscription(
            new_id(),
            compile_pattern(pattern),
            capacity=self._capacity,
            handler=handler,
            loop=loop,
        )
        with self._lock:
            self._subscriptions[subscription.id] = subscription
            self._wanted = {}
        return subscription.id

    def _get(self, subscription: str) -> Subscription:
        found = self._subscriptions.get(subscription)
        if found is None:
            raise NotFoundError(f"No active subscription found: {subscription}")
        return found

    async def receive(
        self, subscription: str, *, timeout_seconds: float | None = None
    ) -> Event | None:
        """The next event; None after the time-out, or when the subscription ends meanwhile.

        Raises:
            NotFoundError: ``No active subscription found: <id>``.
            ValidationError: for a subscription that has a handler.
        """
        found = self._get(subscription)
        if found.handler is not None:
            raise ValidationError(
                f"subscription {subscription} has a handler",
                field="subscription",
                hint="Subscribe without a handler to receive events one by one.",
            )
        return await found.receive(timeout_seconds)

    def dropped(self, subscription: str) -> int:
        """How many events this subscriber lost because its queue was full.

        Raises:
            NotFoundError: for an unknown subscription.
        """
        return self._get(subscription).dropped

    def unsubscribe(self, subscription: str) -> bool:
        """End it, with what is still queued; whether it existed."""
        with self._lock:
            found = self._subscriptions.pop(subscription, None)
            self._wanted = {}
        if found is None:
            return False
        found.close()
        self._past_delivered += found.delivered
        self._past_dropped += found.dropped
        return True

    async def drain(self) -> None:
        """Wait until every handler has caught up with what was published."""
        for subscription in list(self._subscriptions.values()):
            await subscription.drain()

    def stats(self) -> BusStats:
        """What happened so far, ended subscriptions included."""
        living = list(self._subscriptions.values())
        return BusStats(
            published=self._published,
            delivered=self._past_delivered + sum(s.delivered for s in living),
            dropped=self._past_dropped + sum(s.dropped for s in living),
            queued=sum(len(s) for s in living),
            subscriptions=len(living),
        )

    async def aclose(self) -> None:
        """End every subscription."""
        for subscription in list(self._subscriptions):
            self.unsubscribe(subscription)


def bus_service(services: Services) -> BusService:
    """The factory of the service ``events``."""
    return BusService()
