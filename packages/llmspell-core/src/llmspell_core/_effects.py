"""The choke point: what happens to an effect while a run passes, is recorded, replayed, resumed."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from llmspell_core._canonical import canonical, digest, from_canonical
from llmspell_core._errors import (
    ReplayError,
    UnsettledEffectError,
    error_from_record,
    error_to_record,
)
from llmspell_core._ledger import Effect, EffectClass, Intent, Outcome, RunLedger
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
    """Every effect happens and is written: its intent before, its outcome after."""

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
        self._max_payload = max_payload_bytes

    def _intent(
        self,
        context: ExecutionContext,
        kind: str,
        request: Any,
        effect_class: EffectClass,
        sensitive: frozenset[str] = frozenset(),
    ) -> Intent:
        if sensitive:
            request = redact_fields(request, sensitive)
        text = self._secrets.redact(canonical(request))
        request_hash = digest(text)
        place = (context.path, kind, request_hash)
        occurrence = self._occurrences[place]
        self._occurrences[place] = occurrence + 1
        return Intent(
            self._run_id,
            next(self._sequence),
            context.path,
            kind,
            occurrence,
            request_hash,
            text,
            effect_class,
            time.time(),
        )

    def _payload(self, value: Any, sensitive: frozenset[str]) -> str | None:
        if sensitive:
            value = redact_fields(value, sensitive)
        text = self._secrets.redact(canonical(value))
        return text if len(text) <= self._max_payload else None

    def _settled(self, intent: Intent, started: float, value: Any, codec: Codec[Any]) -> Outcome:
        return Outcome(
            intent.run_id,
            intent.sequence,
            True,
            self._payload(codec.encode(value), codec.sensitive),
            (time.perf_counter() - started) * 1000,
            codec.tokens(value),
            codec.cost(value),
        )

    def _failed(
        self, intent: Intent, started: float, error: Exception, items: list[Any] | None = None
    ) -> Outcome:
        record: dict[str, Any] = {"error": error_to_record(error)}
        if items is not None:
            record["items"] = items
        return Outcome(
            intent.run_id,
            intent.sequence,
            False,
            self._payload(record, frozenset()),
            (time.perf_counter() - started) * 1000,
        )

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
            self._ledger.settle(self._failed(intent, started, error))
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
            self._ledger.settle(self._failed(intent, started, error, items))
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
            self._payload(items, codec.sensitive),
            (time.perf_counter() - started) * 1000,
            codec.tokens(last) if known else None,
            codec.cost(last) if known else None,
        )

    def observe(
        self, context: ExecutionContext, kind: str, request: Any, produce: Callable[[], T]
    ) -> T:
        """Produce it and write it down."""
        intent = self._intent(context, kind, request, EffectClass.PURE)
        return self._note(intent, produce)

    def _note(self, intent: Intent, produce: Callable[[], T]) -> T:
        value = produce()
        outcome = Outcome(
            intent.run_id, intent.sequence, True, self._payload(value, frozenset()), 0.0
        )
        self._ledger.note(intent, outcome)
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
            self._ledger.settle(self._failed(row, started, error))
            raise
        self._ledger.settle(Outcome(row.run_id, row.sequence, True, None, _since(started)))

    def _span_row(self, intent: Intent) -> Intent | None:
        """The row the end of the span is written to; None when nothing is written."""
        self._ledger.append(intent)
        return intent


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


class Replaying(Recording):
    """Nothing happens: every effect returns what was recorded, a new one stops the run.

    Nothing is written either. `mismatch` is the error that stopped the run, if one did: code
    that catches errors may swallow it, so every later effect raises it again, and whoever runs
    the script looks here at the end.
    """

    def __init__(self, ledger: RunLedger, run_id: str, *, secrets: Secrets | None = None) -> None:
        super().__init__(ledger, run_id, secrets=secrets)
        self._recorded: dict[tuple[str, str, str, int], Effect] = {
            effect.intent.key: effect for effect in ledger.effects(run_id)
        }
        self._used: set[tuple[str, str, str, int]] = set()
        self.mismatch: ReplayError | None = None

    def unused(self) -> list[Effect]:
        """Recorded leaf effects that the replay did not ask for."""
        answered = {_path_of(key) for key in self._used}
        return [
            effect
            for key, effect in self._recorded.items()
            if key not in self._used
            and effect.intent.effect_class is not EffectClass.SPAN
            and answered.isdisjoint(_ancestry(effect.intent.path))
        ]

    def _answer(self, context: ExecutionContext, intent: Intent) -> Outcome:
        if self.mismatch is not None:
            raise self.mismatch
        recorded = self._recorded.get(intent.key)
        if recorded is None or recorded.outcome is None:
            raise self._stopped(context, self._explain(intent, unfinished=recorded is not None))
        outcome = recorded.outcome
        if outcome.payload is None:
            raise self._stopped(
                context,
                ReplayError(
                    f"the payload of {intent.kind} (effect {recorded.intent.sequence}) "
                    "was erased or too large to keep",
                    hint="Record the run again, or resume it.",
                    details={"kind": intent.kind, "sequence": recorded.intent.sequence},
                ),
            )
        self._used.add(intent.key)
        return outcome

    def _stopped(self, context: ExecutionContext, error: ReplayError) -> ReplayError:
        self.mismatch = error
        context.cancel.cancel("replay differs from the recording")
        return error

    def _explain(self, intent: Intent, *, unfinished: bool) -> ReplayError:
        place = intent.path or "the script"
        if unfinished:
            return ReplayError(
                f"{intent.kind} in {place} has no recorded outcome: the run ended before it",
                hint=f"Go on from there with: llmspell resume {self._run_id}",
                details={"kind": intent.kind, "request": from_canonical(intent.request)},
            )
        now = from_canonical(intent.request)
        best, differences = None, []
        for effect in self._recorded.values():
            other = effect.intent
            if other.kind != intent.kind or other.key in self._used:
                continue
            found = _differences(from_canonical(other.request), now)
            moved = other.path != intent.path
            if moved:
                found.append({"field": "(place)", "recorded": other.path, "now": intent.path})
            if best is None or len(found) < len(differences):
                best, differences = other, found
        if best is None:
            message = f"{intent.kind} in {place} was not recorded; its request: {intent.request}"
        else:
            shown = "; ".join(
                f"{d['field']}: recorded {_short(d['recorded'])}, now {_short(d['now'])}"
                for d in differences[:5]
            )
            message = (
                f"{intent.kind} in {place} differs from the recording. "
                f"Nearest recorded request (effect {best.sequence}): {_short(best.request, 400)}. "
                f"Different: {shown or 'it was asked more often than recorded'}"
            )
        return ReplayError(
            message,
            hint="The script, its inputs or a component changed since the run was recorded.",
            details={
                "kind": intent.kind,
                "path": intent.path,
                "request": now,
                "nearest": None if best is None else from_canonical(best.request),
                "differences": differences,
            },
        )

    async def effect(
        self,
        context: ExecutionContext,
        kind: str,
        request: Any,
        run: Callable[[ExecutionContext], Awaitable[T]],
        effect_class: EffectClass,
        codec: Codec[T],
    ) -> T:
        """Return or raise what was recorded."""
        intent = self._intent(context, kind, request, effect_class, codec.sensitive)
        return self._decoded(self._answer(context, intent), codec)

    def _decoded(self, outcome: Outcome, codec: Codec[T]) -> T:
        value = from_canonical(cast("str", outcome.payload))
        if not outcome.ok:
            raise error_from_record(value["error"])
        return codec.decode(value)

    async def effect_stream(
        self,
        context: ExecutionContext,
        kind: str,
        request: Any,
        run: Callable[[ExecutionContext], AsyncIterator[T]],
        effect_class: EffectClass,
        codec: Codec[T],
    ) -> AsyncIterator[T]:
        """Yield, and at the end raise, what was recorded."""
        intent = self._intent(context, kind, request, effect_class, codec.sensitive)
        for item in self._pieces(self._answer(context, intent), codec):
            yield item

    def _pieces(self, outcome: Outcome, codec: Codec[T]) -> Iterator[T]:
        value = from_canonical(cast("str", outcome.payload))
        for item in value if outcome.ok else value.get("items", []):
            yield codec.decode(item)
        if not outcome.ok:
            raise error_from_record(value["error"])

    def observe(
        self, context: ExecutionContext, kind: str, request: Any, produce: Callable[[], T]
    ) -> T:
        """Return what was recorded."""
        intent = self._intent(context, kind, request, EffectClass.PURE)
        return from_canonical(cast("str", self._answer(context, intent).payload))

    def _span_row(self, intent: Intent) -> Intent | None:
        return None


class Resuming(Replaying):
    """What has an outcome is not done again; the rest happens and is appended to the same run.

    An outcome that is an error is kept when the run went on after it, and tried again when the
    run ended with it. An intent without an outcome is done again, except an irreversible one.
    """

    def __init__(
        self,
        ledger: RunLedger,
        run_id: str,
        *,
        secrets: Secrets | None = None,
        repeat_irreversible: bool = False,
    ) -> None:
        super().__init__(ledger, run_id, secrets=secrets)
        known = list(self._recorded.values())
        self._last = max((e.intent.sequence for e in known), default=0)
        self._sequence = count(self._last + 1)
        self._repeat = repeat_irreversible

    def _usable(self, recorded: Effect) -> bool:
        if recorded.outcome is None or recorded.outcome.payload is None:
            return False
        if recorded.outcome.ok:
            return True
        inside = _path_of(recorded.intent.key)
        return any(
            other.intent.sequence > recorded.intent.sequence
            and not other.intent.path.startswith(inside)
            for other in self._recorded.values()
        )

    def _past(self, context: ExecutionContext, intent: Intent) -> Outcome | None:
        recorded = self._recorded.get(intent.key)
        if recorded is None:
            self._ledger.append(intent)
            return None
        if self._usable(recorded):
            self._used.add(intent.key)
            return recorded.outcome
        if (
            recorded.outcome is None
            and recorded.intent.effect_class is EffectClass.IRREVERSIBLE
            and not self._repeat
        ):
            raise self._stopped(
                context,
                UnsettledEffectError(
                    f"{intent.kind} (effect {recorded.intent.sequence}) was begun and its outcome "
                    f"never written; it may or may not have happened: "
                    f"{_short(recorded.intent.request, 400)}",
                    hint="Find out, then resume with --repeat-irreversible to do it again.",
                    details={"kind": intent.kind, "sequence": recorded.intent.sequence},
                ),
            )
        return None

    def _again(self, intent: Intent) -> Intent:
        """The recorded intent where there is one, so that the outcome settles that row."""
        recorded = self._recorded.get(intent.key)
        return intent if recorded is None else recorded.intent

    async def effect(
        self,
        context: ExecutionContext,
        kind: str,
        request: Any,
        run: Callable[[ExecutionContext], Awaitable[T]],
        effect_class: EffectClass,
        codec: Codec[T],
    ) -> T:
        """Return what was recorded, or do it."""
        intent = self._intent(context, kind, request, effect_class, codec.sensitive)
        past = self._past(context, intent)
        if past is not None:
            return self._decoded(past, codec)
        return await self._perform(context, self._again(intent), run, codec)

    async def effect_stream(
        self,
        context: ExecutionContext,
        kind: str,
        request: Any,
        run: Callable[[ExecutionContext], AsyncIterator[T]],
        effect_class: EffectClass,
        codec: Codec[T],
    ) -> AsyncIterator[T]:
        """Yield what was recorded, or do it."""
        intent = self._intent(context, kind, request, effect_class, codec.sensitive)
        past = self._past(context, intent)
        if past is not None:
            for item in self._pieces(past, codec):
                yield item
            return
        async with aclosing(self._flow(context, self._again(intent), run, codec)) as flow:
            async for item in flow:
                yield item

    def observe(
        self, context: ExecutionContext, kind: str, request: Any, produce: Callable[[], T]
    ) -> T:
        """Return what was recorded, or produce it."""
        intent = self._intent(context, kind, request, EffectClass.PURE)
        recorded = self._recorded.get(intent.key)
        if recorded is not None and recorded.outcome and recorded.outcome.payload is not None:
            self._used.add(intent.key)
            return from_canonical(recorded.outcome.payload)
        return self._note(intent, produce)

    def _span_row(self, intent: Intent) -> Intent | None:
        recorded = self._recorded.get(intent.key)
        if recorded is None:
            return super(Replaying, self)._span_row(intent)
        ended = recorded.outcome is not None and recorded.outcome.ok
        return None if ended else recorded.intent


def _path_of(key: tuple[str, str, str, int]) -> str:
    path, kind, request_hash, occurrence = key
    return f"{path}/{kind}:{request_hash[:12]}#{occurrence}"


def _ancestry(path: str) -> list[str]:
    """The path itself and everything it lies in."""
    ends = [index for index, letter in enumerate(path) if letter == "/" and index]
    return [path, *(path[:end] for end in ends)]


def _short(value: Any, width: int = 120) -> str:
    text = value if isinstance(value, str) else canonical(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def _differences(recorded: Any, now: Any, place: str = "") -> list[dict[str, Any]]:
    if isinstance(recorded, dict) and isinstance(now, dict):
        old, new = cast("dict[str, Any]", recorded), cast("dict[str, Any]", now)
        return [
            found
            for key in sorted({*old, *new})
            for found in _differences(
                old.get(key), new.get(key), f"{place}.{key}" if place else str(key)
            )
        ]
    if isinstance(recorded, list) and isinstance(now, list):
        olds, news = cast("list[Any]", recorded), cast("list[Any]", now)
        if len(olds) == len(news):
            return [
                found
                for index, (old, new) in enumerate(zip(olds, news, strict=True))
                for found in _differences(old, new, f"{place}[{index}]")
            ]
    if recorded == now:
        return []
    return [{"field": place or "(request)", "recorded": recorded, "now": now}]
