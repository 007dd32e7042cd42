"""What happens to an effect while a recorded run is replayed or resumed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, cast

from llmspell_core._canonical import canonical, from_canonical
from llmspell_core._effects import JSON_CODEC, Codec, Recording
from llmspell_core._errors import ReplayError, UnsettledEffectError, error_from_record
from llmspell_core._ledger import Effect, EffectClass, Intent, Outcome, RunLedger, RunStatus

if TYPE_CHECKING:
    from llmspell_core._context import ExecutionContext
    from llmspell_core._secrets import Secrets

T = TypeVar("T")
Key = tuple[str, str, str, int]


class Replaying(Recording):
    """Nothing happens: every effect returns what was recorded, a new one stops the run.

    Nothing is written either. `mismatch` is the error that stopped the run, if one did: code
    that catches errors may swallow it, so every later effect raises it again, and whoever runs
    the script looks here at the end.
    """

    def __init__(self, ledger: RunLedger, run_id: str, *, secrets: Secrets | None = None) -> None:
        super().__init__(ledger, run_id, secrets=secrets)
        self._recorded: dict[Key, Effect] = {
            effect.intent.key: effect for effect in ledger.effects(run_id)
        }
        self._used: set[Key] = set()
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
                    "was erased, or could not be kept",
                    hint="Record the run again, or resume it.",
                    details={"kind": intent.kind, "sequence": recorded.intent.sequence},
                ),
            )
        self._used.add(intent.key)
        return outcome

    async def _wait_if_given_up(self, intent: Intent) -> None:
        """Wait to be cancelled, where the recorded effect was: the run went on without its
        outcome, because a race was decided or a time ran out, and will do so again.
        """
        recorded = self._recorded.get(intent.key)
        if self.mismatch is not None or recorded is None or recorded.outcome is not None:
            return
        if self._went_on_after(recorded.intent):
            import asyncio

            self._used.add(intent.key)
            await asyncio.get_running_loop().create_future()

    def _went_on_after(self, given_up: Intent) -> bool:
        run = self._ledger.run(self._run_id)
        if run is None or run.status not in (RunStatus.COMPLETED, RunStatus.FAILED):
            return False
        inside = _path_of(given_up.key)
        return run.status is RunStatus.COMPLETED or any(
            effect.intent.sequence > given_up.sequence
            and inside not in _ancestry(effect.intent.path)
            for effect in self._recorded.values()
        )

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
                details={"kind": intent.kind, "request": _request(intent)},
            )
        now = _request(intent)
        best, differences = None, []
        for effect in self._recorded.values():
            other = effect.intent
            if other.kind != intent.kind or other.key in self._used or not other.request:
                continue
            found = _differences(_request(other), now)
            moved = other.path != intent.path
            if moved:
                found.append({"field": "(place)", "recorded": other.path, "now": intent.path})
            if best is None or len(found) < len(differences):
                best, differences = other, found
        if best is None:
            message = f"{intent.kind} in {place} was not recorded; its request: {intent.request}"
        else:
            shown = "; ".join(
                f"{d['field']}: recorded {_shown(d['recorded'])}, now {_shown(d['now'])}"
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
                "nearest": None if best is None else _request(best),
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
        await self._wait_if_given_up(intent)
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
        await self._wait_if_given_up(intent)
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
        return self._decoded(self._answer(context, intent), JSON_CODEC)

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
        self._sequence = count(max((e.intent.sequence for e in known), default=0) + 1)
        self._repeat = repeat_irreversible
        self._by_place = {_place_of(effect.intent): effect for effect in known}
        run = ledger.run(run_id)
        self._ended_with = None if run is None else run.error
        self._clock_gap: float | None = None

    def _without_gap(self, produce: Callable[[], T]) -> Callable[[], T]:
        """The clock for durations goes on where it stood: the time between the runs, and what a
        restart of the machine did to the clock, belong to neither.
        """
        import time

        gap = self._clock_gap
        if gap is None:
            read: list[float] = [
                from_canonical(effect.outcome.payload)
                for effect in self._recorded.values()
                if effect.intent.kind == "clock.monotonic"
                and effect.outcome is not None
                and effect.outcome.ok
                and effect.outcome.payload is not None
            ]
            gap = self._clock_gap = time.perf_counter() - max(read) if read else 0.0
        return lambda: cast("T", cast("Any", produce()) - gap)

    def _kept(self, failed: Effect) -> bool:
        """Whether the run went on after this error, rather than ended with it.

        An error that shows up in the error of what it happened in was passed on; one that
        reached the top ended the run. Where the end was not written, because the process died,
        what was begun afterwards beside it tells that the run went on.
        """
        while True:
            around = self._by_place.get(failed.intent.path)
            if around is None:
                ended_with = self._ended_with
            elif around.outcome is None:
                ended_with = None
            elif around.outcome.ok:
                return True
            else:
                ended_with = _message(around)
            message = _message(failed)
            if ended_with is None or message is None:
                if self._went_on_beside(failed):
                    return True
            elif message not in ended_with:
                return True
            if around is None:
                return False
            failed = around

    def _went_on_beside(self, failed: Effect) -> bool:
        return any(
            other.intent.path == failed.intent.path
            and other.intent.sequence > failed.intent.sequence
            and not _is_observation(other)
            for other in self._recorded.values()
        )

    def _past(self, context: ExecutionContext, intent: Intent) -> Outcome | None:
        """The outcome to keep, or None for what is to be done (again)."""
        if self.mismatch is not None:
            raise self.mismatch
        recorded = self._recorded.get(intent.key)
        if recorded is None:
            self._ledger.append(intent)
            return None
        outcome = recorded.outcome
        if outcome is not None and outcome.payload is not None:
            if not outcome.ok and not self._kept(recorded):
                return None
            self._used.add(intent.key)
            return outcome
        if (
            recorded.intent.effect_class is EffectClass.IRREVERSIBLE
            and (outcome is None or outcome.ok)
            and not self._repeat
        ):
            raise self._stopped(context, _unsettled(recorded))
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
        if self.mismatch is not None:
            raise self.mismatch
        recorded = self._recorded.get(intent.key)
        if kind == "clock.monotonic":
            produce = self._without_gap(produce)
        if recorded is None:
            return self._note(intent, produce)
        outcome = recorded.outcome
        if outcome is not None and outcome.payload is not None:
            self._used.add(intent.key)
            return self._decoded(outcome, JSON_CODEC)
        return self._note(recorded.intent, produce, appended=True)

    def _span_row(self, intent: Intent) -> Intent | None:
        recorded = self._recorded.get(intent.key)
        if recorded is None:
            return super(Replaying, self)._span_row(intent)
        ended = recorded.outcome is not None and recorded.outcome.ok
        return None if ended else recorded.intent


def _unsettled(recorded: Effect) -> UnsettledEffectError:
    intent = recorded.intent
    if recorded.outcome is None:
        what = "was begun and its outcome never written; it may or may not have happened"
    else:
        what = "has happened, but its outcome was erased or could not be kept"
    return UnsettledEffectError(
        f"{intent.kind} (effect {intent.sequence}) {what}: {_short(intent.request, 400)}",
        hint="Find out, then resume with --repeat-irreversible to do it again.",
        details={"kind": intent.kind, "sequence": intent.sequence},
    )


def _request(intent: Intent) -> Any:
    """The request; None once it was erased."""
    return from_canonical(intent.request) if intent.request else None


def _message(effect: Effect) -> str | None:
    """The message of the error it ended with, where it is known."""
    payload = None if effect.outcome is None else effect.outcome.payload
    if payload is None:
        return None
    record = from_canonical(payload)
    return record["error"]["state"]["message"]


def _is_observation(effect: Effect) -> bool:
    return (
        effect.intent.effect_class is EffectClass.PURE
        and effect.outcome is not None
        and effect.outcome.duration_ms == 0.0
    )


def _place_of(intent: Intent) -> str:
    """The path of what happens inside it."""
    if intent.effect_class is EffectClass.SPAN:
        name = _request(intent)
        return f"{intent.path}/{intent.kind}:{name}#{intent.occurrence}"
    return _path_of(intent.key)


def _path_of(key: Key) -> str:
    path, kind, request_hash, occurrence = key
    return f"{path}/{kind}:{request_hash[:12]}#{occurrence}"


def _ancestry(path: str) -> list[str]:
    """The path itself and everything it lies in."""
    ends = [index for index, letter in enumerate(path) if letter == "/" and index]
    return [path, *(path[:end] for end in ends)]


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _shown(value: Any) -> str:
    return _short(canonical(value), 120)


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
