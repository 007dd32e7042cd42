"""The choke point: what happens to an effect while a run passes, is recorded, replayed, resumed."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from llmspell_core._canonical import canonical, digest, from_canonical
from llmspell_core._errors import error_to_record
from llmspell_core._ledger import EffectClass, Intent, Outcome, RunLedger
from llmspell_core._secrets import Secrets, redact_fields

if TYPE_CHECKING:
    from llmspell_core._context import ExecutionContext

T = TypeVar("T")


def _same(value: Any) -> Any:
    return value


def _unknown(_: Any) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """How an outcome is kept and rebuilt.

    `sensitive` names fields (lower case) that are replaced in request and outcome before they
    are hashed and written. `tokens` and `cost` (US dollars) read the usage off an outcome.
    """

    encode: Callable[[T], Any] = _same
    decode: Callable[[Any], T] = _same
    sensitive: frozenset[str] = frozenset()
    tokens: Callable[[T], int | None] = field(default=_unknown)
    cost: Callable[[T], float | None] = field(default=_unknown)


JSON_CODEC: Codec[Any] = Codec()
"""For outcomes that are JSON values or bytes."""


class EffectPolicy(ABC):
    """What the four calls of an `ExecutionContext` do."""

    recording: bool = False
    """Whether the run must be repeatable: engines then fix the order of ``pairs``."""
    run_id: str | None = None

    @abstractmethod
    async def effect(
        self,
        context: ExecutionContext,
        kind: str,
        request: Any,
        run: Callable[[ExecutionContext], Awaitable[T]],
        effect_class: EffectClass,
        codec: Codec[T],
    ) -> T:
        """See `ExecutionContext.effect`."""

    @abstractmethod
    def effect_stream(
        self,
        context: ExecutionContext,
        kind: str,
        request: Any,
        run: Callable[[ExecutionContext], AsyncIterator[T]],
        effect_class: EffectClass,
        codec: Codec[T],
    ) -> AsyncIterator[T]:
        """See `ExecutionContext.effect_stream`."""

    @abstractmethod
    def observe(
        self, context: ExecutionContext, kind: str, request: Any, produce: Callable[[], T]
    ) -> T:
        """See `ExecutionContext.observe`."""

    @abstractmethod
    def span(
        self, context: ExecutionContext, kind: str, name: str
    ) -> AbstractContextManager[ExecutionContext]:
        """See `ExecutionContext.span`."""


class Passing(EffectPolicy):
    """Nothing is written; every effect just happens."""

    async def effect(
        self,
        context: ExecutionContext,
        kind: str,
        request: Any,
        run: Callable[[ExecutionContext], Awaitable[T]],
        effect_class: EffectClass,
        codec: Codec[T],
    ) -> T:
        """Run it."""
        return await run(context)

    def effect_stream(
        self,
        context: ExecutionContext,
        kind: str,
        request: Any,
        run: Callable[[ExecutionContext], AsyncIterator[T]],
        effect_class: EffectClass,
        codec: Codec[T],
    ) -> AsyncIterator[T]:
        """Run it."""
        return run(context)

    def observe(
        self, context: ExecutionContext, kind: str, request: Any, produce: Callable[[], T]
    ) -> T:
        """Produce it."""
        return produce()

    def span(
        self, context: ExecutionContext, kind: str, name: str
    ) -> AbstractContextManager[ExecutionContext]:
        """The context itself."""
        return nullcontext(context)


class Recording(EffectPolicy):
    """Every effect happens and is written: its intent before, its outcome after.

    Args:
        ledger: Where to.
        run_id: The run, opened already.
        secrets: Values that are replaced wherever they stand.
        first_sequence: Where to go on counting.
        max_payload_bytes: A request or an outcome with a longer text is not kept: the effect can
            be found again, but a replay stops where it needs the outcome.
    """

    recording = True

    def __init__(
        self,
        ledger: RunLedger,
        run_id: str,
        *,
        secrets: Secrets | None = None,
        first_sequence: int = 1,
        max_payload_bytes: int = 16_000_000,
    ) -> None:
        self.run_id = self._run_id = run_id
        self._ledger = ledger
        self._secrets = secrets or Secrets()
        self._sequence = count(first_sequence)
        self._occurrences: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._lock = threading.Lock()
        self._max_payload = max_payload_bytes

    def _intent(
        self,
        context: ExecutionContext,
        kind: str,
        request: Any,
        effect_class: EffectClass,
        sensitive: frozenset[str] = frozenset(),
    ) -> Intent:
        text = self._text(request, sensitive)
        request_hash = digest(text)
        if len(text) > self._max_payload:
            text = canonical(f"({len(text)} characters, too large to keep)")
        place = (context.path, kind, request_hash)
        # The script's thread and the event loop come here at the same time.
        with self._lock:
            occurrence = self._occurrences[place]
            self._occurrences[place] = occurrence + 1
            sequence = next(self._sequence)
        return Intent(
            self._run_id,
            sequence,
            context.path,
            kind,
            occurrence,
            request_hash,
            text,
            effect_class,
            time.time(),
        )

    def _text(self, value: Any, sensitive: frozenset[str]) -> str:
        text = canonical(value)
        if sensitive:
            # From the text, because the value may hide fields in objects with `to_dict`.
            text = canonical(redact_fields(from_canonical(text), sensitive))
        return self._secrets.redact_json(text)

    def _payload(self, intent: Intent, value: Any, sensitive: frozenset[str]) -> str | None:
        try:
            text = self._text(value, sensitive)
        except TypeError as error:
            # It has happened all the same, and the run must not end otherwise for being recorded.
            import logging

            logging.getLogger("llmspell.ledger").warning(
                "the outcome of %s (effect %d) is not kept: %s", intent.kind, intent.sequence, error
            )
            return None
        return text if len(text) <= self._max_payload else None

    def _settled(self, intent: Intent, started: float, value: Any, codec: Codec[Any]) -> Outcome:
        return Outcome(
            intent.run_id,
            intent.sequence,
            True,
            self._payload(intent, codec.encode(value), codec.sensitive),
            _since(started),
            codec.tokens(value),
            codec.cost(value),
        )

    def _failed(
        self,
        intent: Intent,
        duration_ms: float,
        error: Exception,
        sensitive: frozenset[str] = frozenset(),
        items: list[Any] | None = None,
    ) -> Outcome:
        kept = error_to_record(error)
        if sensitive:
            kept["details"] = redact_fields(kept["details"], sensitive)
        record: dict[str, Any] = {"error": kept}
        if items is not None:
            record["items"] = redact_fields(items, sensitive)
        payload = self._payload(intent, record, frozenset())
        return Outcome(intent.run_id, intent.sequence, False, payload, duration_ms)

    def _inside(self, context: ExecutionContext, intent: Intent) -> ExecutionContext:
        mark = f"{intent.kind}:{intent.request_hash[:12]}#{intent.occurrence}"
        return context.child(path=f"{intent.path}/{mark}")

    async def effect(
        self,
        context: ExecutionContext,
        kind: str,
        request: Any,
        run: Callable[[ExecutionContext], Awaitable[T]],
        effect_class: EffectClass,
        codec: Codec[T],
    ) -> T:
        """Write, run, write."""
        intent = self._intent(context, kind, request, effect_class, codec.sensitive)
        self._ledger.append(intent)
        return await self._perform(context, intent, run, codec)

    async def _perform(
        self,
        context: ExecutionContext,
        intent: Intent,
        run: Callable[[ExecutionContext], Awaitable[T]],
        codec: Codec[T],
    ) -> T:
        started = time.perf_counter()
        try:
            value = await run(self._inside(context, intent))
        except Exception as error:
            self._ledger.settle(self._failed(intent, _since(started), error, codec.sensitive))
            raise
        self._ledger.settle(self._settled(intent, started, value, codec))
        return value

    async def effect_stream(
        self,
        context: ExecutionContext,
        kind: str,
        request: Any,
        run: Callable[[ExecutionContext], AsyncIterator[T]],
        effect_class: EffectClass,
        codec: Codec[T],
    ) -> AsyncIterator[T]:
        """Write, run and pass on, write."""
        intent = self._intent(context, kind, request, effect_class, codec.sensitive)
        self._ledger.append(intent)
        async with aclosing(self._flow(context, intent, run, codec)) as flow:
            async for item in flow:
                yield item

    async def _flow(
        self,
        context: ExecutionContext,
        intent: Intent,
        run: Callable[[ExecutionContext], AsyncIterator[T]],
        codec: Codec[T],
    ) -> AsyncGenerator[T, None]:
        started = time.perf_counter()
        items: list[Any] = []
        last: T | None = None
        source = run(self._inside(context, intent))
        try:
            try:
                async for last in source:
                    items.append(codec.encode(last))
                    yield last
            finally:
                close = getattr(source, "aclose", None)
                if close is not None:
                    await close()
        except GeneratorExit:
            # The consumer has seen enough: the stream is complete as far as the run goes.
            self._ledger.settle(self._streamed(intent, started, items, last, codec))
            raise
        except Exception as error:
            self._ledger.settle(
                self._failed(intent, _since(started), error, codec.sensitive, items)
            )
            raise
        self._ledger.settle(self._streamed(intent, started, items, last, codec))

    def _streamed(
        self, intent: Intent, started: float, items: list[Any], last: Any, codec: Codec[Any]
    ) -> Outcome:
        known = last is not None
        return Outcome(
            intent.run_id,
            intent.sequence,
            True,
            self._payload(intent, items, codec.sensitive),
            _since(started),
            codec.tokens(last) if known else None,
            codec.cost(last) if known else None,
        )

    def observe(
        self, context: ExecutionContext, kind: str, request: Any, produce: Callable[[], T]
    ) -> T:
        """Produce it and write it down."""
        intent = self._intent(context, kind, request, EffectClass.PURE)
        return self._note(intent, produce)

    def _note(self, intent: Intent, produce: Callable[[], T], *, appended: bool = False) -> T:
        # Its duration is 0: that is how an observation is told from an effect.
        def write(outcome: Outcome) -> None:
            if appended:
                self._ledger.settle(outcome)
            else:
                self._ledger.note(intent, outcome)

        try:
            value = produce()
        except Exception as error:
            write(self._failed(intent, 0.0, error))
            raise
        payload = self._payload(intent, value, frozenset())
        write(Outcome(intent.run_id, intent.sequence, True, payload, 0.0))
        return value

    @contextmanager
    def span(self, context: ExecutionContext, kind: str, name: str) -> Generator[ExecutionContext]:
        """A row for the group, and a path for what is in it."""
        intent = self._intent(context, kind, name, EffectClass.SPAN)
        shown = self._secrets.redact(name)
        inner = context.child(path=f"{context.path}/{kind}:{shown}#{intent.occurrence}")
        row = self._span_row(intent)
        if row is None:
            yield inner
            return
        started = time.perf_counter()
        try:
            yield inner
        except Exception as error:
            self._ledger.settle(self._failed(row, _since(started), error))
            raise
        self._ledger.settle(Outcome(row.run_id, row.sequence, True, None, _since(started)))

    def _span_row(self, intent: Intent) -> Intent | None:
        """The row the end of the span is written to; None when nothing is written."""
        self._ledger.append(intent)
        return intent


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
