"""Doubles of the event bus and the hook executor."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmspell_core import (
    CONTINUE,
    Event,
    EventBus,
    HookExecutor,
    HookOutcome,
    ValidationError,
    new_id,
)

if TYPE_CHECKING:
    from llmspell_core import EventHandler, ExecutionContext, Hook


class _Subscription:
    def __init__(self, pattern: str, handler: EventHandler | None) -> None:
        self.matches = _compiled(pattern)
        self.handler = handler
        self.queue: deque[Event] = deque()
        self.waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []


def _compiled(pattern: str) -> re.Pattern[str]:
    if not pattern:
        raise ValidationError("Pattern cannot be empty", field="pattern")
    if pattern.endswith("*") and "*" not in pattern[:-1]:
        return re.compile(re.escape(pattern[:-1]) + ".*", re.DOTALL)
    if pattern.startswith("*") and "*" not in pattern[1:]:
        return re.compile(".*" + re.escape(pattern[1:]), re.DOTALL)
    parts = re.split(r"(\*\*|\*)", pattern)
    return re.compile(
        "".join({"*": r"[^.]+", "**": r".*"}.get(part, re.escape(part)) for part in parts),
        re.DOTALL,
    )


class EventsDouble(EventBus):
    """Keeps every event in `published`; handlers are called at once, on the publisher's thread.

    An ``async`` handler is started on the running loop. `listening` is always true, so that
    every event of the code under test is seen.
    """

    def __init__(self, *, listening: bool = True) -> None:
        self._listening = listening
        self._subscriptions: dict[str, _Subscription] = {}
        self._lock = threading.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.published: list[Event] = []

    @property
    def listening(self) -> bool:
        """Whether publishers should publish."""
        return self._listening or bool(self._subscriptions)

    @property
    def topics(self) -> list[str]:
        """The topics published so far, in order."""
        return [event.topic for event in self.published]

    def publish(self, topic: str, payload: Any, context: ExecutionContext | None = None) -> Event:
        """Keep it and hand it out."""
        with self._lock:
            event = Event(
                topic,
                payload,
                time.time() if context is None else context.now(),
                len(self.published),
                None if context is None else context.correlation_id,
                new_id() if context is None else context.new_id(),
            )
            self.published.append(event)
            receivers = [s for s in self._subscriptions.values() if s.matches.fullmatch(topic)]
            for subscription in receivers:
                if subscription.handler is None:
                    subscription.queue.append(event)
                    for loop, woken in subscription.waiters:
                        loop.call_soon_threadsafe(woken.set)
        for subscription in receivers:
            if subscription.handler is not None:
                self._hand(subscription.handler, event)
        return event

    def _hand(self, handler: EventHandler, event: Event) -> None:
        try:
            made = handler(event)
            if made is not None:

                async def finish() -> None:
                    try:
                        await made
                    except Exception:
                        logging.getLogger("llmspell.events").exception("event handler failed")

                task = asyncio.get_running_loop().create_task(finish())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except Exception:
            logging.getLogger("llmspell.events").exception("event handler failed")

    def subscribe(self, pattern: str, handler: EventHandler | None = None) -> str:
        """Subscribe."""
        subscription = _Subscription(pattern, handler)
        with self._lock:
            name = f"subscription-{new_id()}"
            self._subscriptions[name] = subscription
        return name

    async def receive(
        self, subscription: str, *, timeout_seconds: float | None = None
    ) -> Event | None:
        """The next event, or None after the time-out."""
        found = self._subscriptions.get(subscription)
        if found is None:
            raise ValidationError(f"Subscription '{subscription}' not found", field="subscription")
        woken = asyncio.Event()
        waiter = (asyncio.get_running_loop(), woken)
        with self._lock:
            found.waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_seconds):
                while not found.queue:
                    await woken.wait()
                    woken.clear()
            return found.queue.popleft()
        except TimeoutError:
            return None
        finally:
            with self._lock:
                found.waiters.remove(waiter)

    def unsubscribe(self, subscription: str) -> bool:
        """End it."""
        with self._lock:
            return self._subscriptions.pop(subscription, None) is not None


class HooksDouble(HookExecutor):
    """Runs hooks of the *points* it is given (any point without), smaller priorities first.

    `ran` holds ``(point, data)`` of every run.
    """

    def __init__(self, *points: str) -> None:
        self._points = frozenset(points)
        self._hooks: dict[str, list[tuple[int, str, Hook]]] = {}
        self.ran: list[tuple[str, dict[str, Any]]] = []

    def wants(self, point: str) -> bool:
        """Whether a hook is registered there."""
        return bool(self._hooks.get(point))

    def register(self, point: str, hook: Hook, *, priority: int = 0, name: str = "") -> str:
        """Add it."""
        if self._points and point not in self._points:
            raise ValidationError(f"Unknown hook point: {point}", field="point")
        hook_id = f"hook-{new_id()}"
        hooks = self._hooks.setdefault(point, [])
        hooks.append((priority, hook_id, hook))
        hooks.sort(key=lambda entry: entry[0])
        return hook_id

    def unregister(self, hook_id: str) -> bool:
        """Remove it."""
        for hooks in self._hooks.values():
            for entry in hooks:
                if entry[1] == hook_id:
                    hooks.remove(entry)
                    return True
        return False

    async def run(
        self, point: str, data: Mapping[str, Any], context: ExecutionContext
    ) -> HookOutcome:
        """Run them; the first that cancels, skips or replaces ends it."""
        self.ran.append((point, dict(data)))
        current: Any = data
        changed = False
        for _, _, hook in list(self._hooks.get(point, ())):
            try:
                outcome = await hook(point, current, context) or CONTINUE
            except Exception:
                logging.getLogger("llmspell.hooks").exception("hook failed at %s", point)
                continue
            if outcome.action == "modified":
                current, changed = outcome.data, True
            elif outcome.action != "continue":
                return outcome
        return HookOutcome("modified", current) if changed else CONTINUE
