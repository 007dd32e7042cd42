"""`ExecutionContext`: an execution is a value, passed explicitly and inherited by children."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from llmspell_core._approval import ApprovalPolicy
from llmspell_core._effects import JSON_CODEC, Codec, EffectPolicy, Passing
from llmspell_core._errors import ExecutionCancelled, LLMTimeoutError
from llmspell_core._ledger import EffectClass

if TYPE_CHECKING:
    from llmspell_core._budget import Budget
    from llmspell_core._services import Services

_ASK_AS_CONFIGURED = ApprovalPolicy()

T = TypeVar("T")


class CancelSignal:
    """A one-way switch that any thread may turn; whoever waits subscribes to it.

    Children follow their parent; turning a child leaves the parent alone.
    """

    __slots__ = ("_lock", "_reason", "_subscribers", "_unlink")

    def __init__(self, parent: CancelSignal | None = None) -> None:
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._subscribers: dict[int, Callable[[str], None]] = {}
        self._unlink: Callable[[], None] | None = None
        if parent is not None:
            self._unlink = parent.subscribe(self.cancel)

    @property
    def reason(self) -> str | None:
        """Why it was turned, or None while it is not."""
        return self._reason

    def cancel(self, reason: str = "cancelled") -> None:
        """Turn the switch; the first reason stays. Subscribers are called on this thread."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            subscribers = list(self._subscribers.values())
            self._subscribers.clear()
        first: Exception | None = None
        for subscriber in subscribers:
            try:
                subscriber(reason)
            except Exception as error:
                # The others wait for their cancellation too.
                first = first or error
        if first is not None:
            raise first

    def subscribe(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call *callback* with the reason once turned (at once if it already is).

        Returns a function that ends the subscription.
        """
        with self._lock:
            reason = self._reason
            if reason is None:
                token = id(callback)
                while token in self._subscribers:
                    token += 1
                self._subscribers[token] = callback
                return lambda: self._drop(token)
        callback(reason)
        return lambda: None

    def _drop(self, token: int) -> None:
        with self._lock:
            self._subscribers.pop(token, None)

    def detach(self) -> None:
        """Stop following the parent."""
        if self._unlink is not None:
            self._unlink()


class Deadline:
    """A point on the monotonic clock. ``Deadline(None)`` never comes."""

    __slots__ = ("at", "seconds")

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.at = None if seconds is None else time.monotonic() + seconds

    def remaining(self) -> float | None:
        """Seconds left, never negative; None for no deadline."""
        return None if self.at is None else max(0.0, self.at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether it has come."""
        return self.at is not None and time.monotonic() >= self.at


class ExecutionContext:
    """What an execution carries: who it is for, how long it may take, what it is recorded by.

    Hooks, events, state scopes, tracing and replay read it; nobody guesses from globals.
    `budget` is what it may spend on models, None for no limit; `approval` says who is asked before
    calls that cannot be taken back. `path` is the place in the tree of spans, see `Intent`.
    Everything a run takes from or does
    to the world goes through `effect`, `effect_stream`, `observe`; `span` groups it.
    """

    __slots__ = (
        "approval",
        "budget",
        "cancel",
        "conversation_id",
        "correlation_id",
        "data",
        "deadline",
        "depth",
        "effects",
        "execution_id",
        "path",
        "services",
        "session_id",
        "tenant",
        "user_id",
    )

    def __init__(
        self,
        services: Services,
        *,
        effects: EffectPolicy | None = None,
        execution_id: str | None = None,
        correlation_id: str | None = None,
        tenant: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        conversation_id: str | None = None,
        deadline: Deadline | None = None,
        cancel: CancelSignal | None = None,
        data: dict[str, Any] | None = None,
        budget: Budget | None = None,
        approval: ApprovalPolicy | None = None,
    ) -> None:
        self.services = services
        self.effects: EffectPolicy = effects or Passing()
        self.execution_id = execution_id or new_id()
        self.correlation_id = correlation_id or self.execution_id
        self.tenant = tenant
        self.session_id = session_id
        self.user_id = user_id
        self.conversation_id = conversation_id
        self.deadline = deadline or Deadline(None)
        self.cancel = cancel or CancelSignal()
        self.data: dict[str, Any] = {} if data is None else data
        self.budget = budget
        self.approval = approval or _ASK_AS_CONFIGURED
        self.path = ""
        self.depth = 0

    def child(
        self,
        *,
        path: str | None = None,
        deadline: Deadline | None = None,
        cancel: CancelSignal | None = None,
        data: dict[str, Any] | None = None,
        budget: Budget | None = None,
        approval: ApprovalPolicy | None = None,
    ) -> ExecutionContext:
        """A context for a part of this execution; what is not given is inherited.

        A child's deadline never lies behind its parent's. `data` is copied, not shared.
        """
        # Every recorded effect makes one, so the fields are copied by hand: a loop over
        # `__slots__` takes three times as long.
        inner = object.__new__(ExecutionContext)
        inner.services = self.services
        inner.effects = self.effects
        inner.execution_id = self.execution_id
        inner.correlation_id = self.correlation_id
        inner.tenant = self.tenant
        inner.session_id = self.session_id
        inner.user_id = self.user_id
        inner.conversation_id = self.conversation_id
        inner.path = self.path if path is None else path
        inner.cancel = self.cancel if cancel is None else cancel
        inner.budget = self.budget if budget is None else budget
        inner.approval = self.approval if approval is None else approval
        inner.deadline = self.deadline
        inner.depth = self.depth + 1
        inner.data = {**self.data, **data} if data else self.data.copy()
        if deadline is not None and deadline.at is not None:
            own = self.deadline.at
            inner.deadline = deadline if own is None or deadline.at < own else self.deadline
        return inner

    def check(self) -> None:
        """Raise if the execution must not go on.

        Raises:
            ExecutionCancelled: when it was cancelled.
            LLMTimeoutError: when its deadline has passed.
        """
        if self.cancel.reason is not None:
            raise ExecutionCancelled(self.cancel.reason)
        if self.deadline.passed:
            seconds = self.deadline.seconds or 0.0
            raise LLMTimeoutError(
                f"execution timed out after {seconds:g}s",
                duration_ms=round(seconds * 1000),
                operation="execution",
            )

    async def effect(
        self,
        kind: str,
        request: Any,
        run: Callable[[ExecutionContext], Awaitable[T]],
        *,
        effect_class: EffectClass,
        codec: Codec[T] = JSON_CODEC,
    ) -> T:
        """Do something to the world, or in replay return what came of it when it was recorded.

        Args:
            kind: What it is, dotted: ``model.chat``, ``tool.call``, ``state.write``.
            request: Anything `canonical` accepts; together with *kind* its identity.
            run: Does the work. It gets the context its own effects belong to.
            effect_class: What resume may do if the outcome was never written.
            codec: How the outcome is kept and rebuilt.

        Raises:
            ReplayError: in replay, for a request that was not recorded here.
            Exception: whatever *run* raises, or raised when it was recorded.
        """
        return await self.effects.effect(self, kind, request, run, effect_class, codec)

    def effect_stream(
        self,
        kind: str,
        request: Any,
        run: Callable[[ExecutionContext], AsyncIterator[T]],
        *,
        effect_class: EffectClass,
        codec: Codec[T] = JSON_CODEC,
    ) -> AsyncIterator[T]:
        """As `effect`, for work that yields its outcome piece by piece; *codec* is per piece.

        The outcome is written when the stream ends; a consumer that stops early ends it.
        """
        return self.effects.effect_stream(self, kind, request, run, effect_class, codec)

    def observe(self, kind: str, request: Any, produce: Callable[[], T]) -> T:
        """Take something from the world without waiting: clock, random, id, environment.

        The value must be a JSON value or bytes.
        """
        return self.effects.observe(self, kind, request, produce)

    def span(self, kind: str, name: str) -> AbstractContextManager[ExecutionContext]:
        """Group the effects of an agent, workflow or step: ``with context.span(…) as inner:``."""
        return self.effects.span(self, kind, name)

    def now(self) -> float:
        """Unix seconds, as recorded."""
        return self.observe("clock.time", None, time.time)

    def monotonic(self) -> float:
        """Seconds on a clock for durations, as recorded."""
        return self.observe("clock.monotonic", None, time.perf_counter)

    def new_id(self, prefix: str = "") -> str:
        """A random UUID with *prefix* in front, as recorded."""
        return prefix + self.observe("id", prefix, new_id)

    def environ(self, name: str) -> str | None:
        """An environment variable, as recorded."""
        from os import environ

        return self.observe("environment", name, lambda: environ.get(name))


def new_id() -> str:
    """A random UUID (RFC 9562, version 4) in its text form."""
    from os import urandom

    raw = bytearray(urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
