"""The choke point: passing, recording, replaying."""

import asyncio
import logging
import threading
from contextlib import aclosing
from dataclasses import replace

import pytest

from llmspell_core import (
    Codec,
    Effect,
    EffectClass,
    ExecutionCancelled,
    ExecutionContext,
    Passing,
    ProviderError,
    Recording,
    ReplayError,
    Replaying,
    RunRecord,
    RunStatus,
    ToolError,
    Usage,
    from_canonical,
)
from llmspell_testing import (
    LedgerDouble,
    make_context,
    make_services,
    recorded_and_replayed,
    recording_context,
    replaying_context,
)

PURE = EffectClass.PURE


@pytest.fixture
def ledger() -> LedgerDouble:
    return LedgerDouble()


async def fetch(context: ExecutionContext, key: str, answer, *, calls: list[str] | None = None):
    """An effect that answers *answer* (an exception is raised)."""

    async def run(inner: ExecutionContext):
        if calls is not None:
            calls.append(key)
        await asyncio.sleep(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return await context.effect("http.get", {"key": key}, run, effect_class=PURE)


def stream_of(*pieces):
    async def run(inner: ExecutionContext):
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    return run


def rows(ledger: LedgerDouble) -> list[tuple[str, str, str, int, object]]:
    """Each effect as (path, kind, class, occurrence, outcome): True, an error's class or None."""
    return [
        (
            effect.intent.path,
            effect.intent.kind,
            effect.intent.effect_class.value,
            effect.intent.occurrence,
            None if effect.outcome is None else _short(effect),
        )
        for effect in ledger.effects("run")
    ]


def _short(effect: Effect):
    assert effect.outcome is not None
    if effect.outcome.ok:
        return True
    return from_canonical(effect.outcome.payload or "{}")["error"]["class"]


# -- passing ------------------------------------------------------------------------------------


async def test_without_a_policy_everything_just_happens() -> None:
    context = make_context()
    assert isinstance(context.effects, Passing)
    assert context.effects.recording is False
    assert await fetch(context, "a", 1) == 1
    stream = context.effect_stream("s", None, stream_of(1, 2), effect_class=PURE)
    assert [item async for item in stream] == [1, 2]
    assert context.observe("o", None, lambda: 3) == 3
    with context.span("agent", "a") as inner:
        assert inner is context


# -- recording ----------------------------------------------------------------------------------


async def test_an_effect_is_an_intent_and_an_outcome(ledger: LedgerDouble) -> None:
    context = recording_context(ledger)
    codec: Codec[Usage] = Codec(
        encode=Usage.to_dict,
        decode=Usage.from_dict,
        tokens=lambda usage: usage.total_tokens,
        cost=lambda usage: usage.cost,
    )
    seen: list[Effect] = []

    async def run(inner: ExecutionContext) -> Usage:
        seen.extend(ledger.effects("run"))
        return Usage(10, 5, cost=0.25)

    answer = await context.effect(
        "model.chat", {"b": 1, "a": 2}, run, effect_class=EffectClass.IDEMPOTENT, codec=codec
    )
    assert answer == Usage(10, 5, cost=0.25)
    assert [effect.outcome for effect in seen] == [None]
    (effect,) = ledger.effects("run")
    intent, outcome = effect.intent, effect.outcome
    assert outcome is not None
    assert (intent.run_id, intent.sequence, intent.path, intent.kind) == (
        "run",
        1,
        "",
        "model.chat",
    )
    assert (intent.request, intent.effect_class) == ('{"a":2,"b":1}', EffectClass.IDEMPOTENT)
    assert (outcome.ok, outcome.tokens, outcome.cost) == (True, 15, 0.25)
    assert from_canonical(outcome.payload or "") == Usage(10, 5, cost=0.25).to_dict()
    assert outcome.duration_ms > 0
    assert context.effects.recording is True
    assert context.effects.run_id == "run"


async def test_a_failure_is_written_and_raised(ledger: LedgerDouble) -> None:
    context = recording_context(ledger)
    failure = ToolError("no", tool_name="t")
    with pytest.raises(ToolError) as caught:
        await fetch(context, "a", failure)
    assert caught.value is failure
    assert rows(ledger) == [("", "http.get", "pure", 0, "ToolError")]


@pytest.mark.parametrize("stop", [asyncio.CancelledError, ExecutionCancelled])
async def test_a_cancelled_effect_has_no_outcome(ledger: LedgerDouble, stop) -> None:
    context = recording_context(ledger)

    async def run(inner: ExecutionContext) -> None:
        raise stop

    with pytest.raises(stop):
        await context.effect("x", None, run, effect_class=PURE)
    assert rows(ledger) == [("", "x", "pure", 0, None)]


async def test_effects_inside_effects_and_spans_have_a_place(ledger: LedgerDouble) -> None:
    context = recording_context(ledger)

    async def outer(inner: ExecutionContext) -> int:
        with inner.span("step", "one") as step:
            return await fetch(step, "deep", 1)

    with context.span("agent", "a") as agent:
        await agent.effect("tool.call", "t", outer, effect_class=PURE)
        await fetch(agent, "beside", 2)
    with context.span("agent", "a") as agent:
        await fetch(agent, "again", 3)
    tool = next(e.intent for e in ledger.effects("run") if e.intent.kind == "tool.call")
    inside = f"/agent:a#0/tool.call:{tool.request_hash[:12]}#0"
    assert rows(ledger) == [
        ("", "agent", "span", 0, True),
        ("/agent:a#0", "tool.call", "pure", 0, True),
        (inside, "step", "span", 0, True),
        (f"{inside}/step:one#0", "http.get", "pure", 0, True),
        ("/agent:a#0", "http.get", "pure", 0, True),
        ("", "agent", "span", 1, True),
        ("/agent:a#1", "http.get", "pure", 0, True),
    ]


async def test_a_failing_span_is_written_and_a_cancelled_one_is_open(ledger: LedgerDouble) -> None:
    context = recording_context(ledger)
    with pytest.raises(ToolError), context.span("agent", "a"):
        raise ToolError("x")
    with pytest.raises(ExecutionCancelled), context.span("agent", "b"):
        raise ExecutionCancelled
    assert rows(ledger) == [
        ("", "agent", "span", 0, "ToolError"),
        ("", "agent", "span", 0, None),
    ]


async def test_equal_requests_are_counted(ledger: LedgerDouble) -> None:
    context = recording_context(ledger)
    for _ in range(3):
        await fetch(context, "a", 1)
    await fetch(context, "b", 1)
    assert [row[3] for row in rows(ledger)] == [0, 1, 2, 0]


def test_threads_never_count_the_same_twice(ledger: LedgerDouble) -> None:
    context = recording_context(ledger)

    def work() -> None:
        for _ in range(200):
            context.observe("clock", None, lambda: 1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    intents = [effect.intent for effect in ledger.effects("run")]
    assert sorted(intent.occurrence for intent in intents) == list(range(1600))
    assert sorted(intent.sequence for intent in intents) == list(range(1, 1601))


async def test_a_stream_is_written_when_it_ends(ledger: LedgerDouble) -> None:
    context = recording_context(ledger)
    codec: Codec[int] = Codec(tokens=lambda last: last * 10, cost=lambda last: last / 2)
    stream = context.effect_stream("s", "r", stream_of(1, 2, 3), effect_class=PURE, codec=codec)
    seen = []
    async for item in stream:
        seen.append(item)
        assert next(ledger.effects("run")).outcome is None
    assert seen == [1, 2, 3]
    (effect,) = ledger.effects("run")
    assert effect.outcome is not None
    assert (effect.outcome.payload, effect.outcome.tokens, effect.outcome.cost) == (
        "[1,2,3]",
        30,
        1.5,
    )


async def test_an_empty_stream_is_an_outcome(ledger: LedgerDouble) -> None:
    context = recording_context(ledger)
    stream = context.effect_stream("s", "r", stream_of(), effect_class=PURE)
    assert [item async for item in stream] == []
    (effect,) = ledger.effects("run")
    assert effect.outcome is not None
    assert (effect.outcome.ok, effect.outcome.payload) == (True, "[]")


async def test_a_stream_left_early_ends_its_source_and_is_complete(ledger: LedgerDouble) -> None:
    context = recording_context(ledger)
    closed = []

    async def source(inner: ExecutionContext):
        try:
            for n in range(100):
                yield n
        finally:
            closed.append(True)

    stream = context.effect_stream("s", "r", source, effect_class=PURE)
    async with aclosing(stream) as open_stream:
        async for item in open_stream:
            if item == 2:
                break
    assert closed == [True]
    (effect,) = ledger.effects("run")
    assert effect.outcome is not None
    assert (effect.outcome.ok, effect.outcome.payload) == (True, "[0,1,2]")


async def test_a_stream_that_breaks_keeps_what_came(ledger: LedgerDouble) -> None:
    async def work(context: ExecutionContext):
        broken = ProviderError("cut", kind="protocol")
        stream = context.effect_stream("s", "r", stream_of("a", "b", broken), effect_class=PURE)
        seen: list[str] = []
        try:
            async for item in stream:
                seen.append(item)  # noqa: PERF401
        except ProviderError as error:
            seen.append(f"{error.kind}: {error}")
        return seen

    first, second = await recorded_and_replayed(work, ledger)
    assert first == ["a", "b", "protocol: LLM provider error: cut"]
    assert second == first
    assert rows(ledger) == [("", "s", "pure", 0, "ProviderError")]


async def test_an_observation_that_fails_fails_again_in_replay(ledger: LedgerDouble) -> None:
    def missing():
        raise OSError("no such file")

    async def work(context: ExecutionContext):
        with pytest.raises(OSError, match="no such file"):
            context.observe("file", "a", missing)
        return context.observe("file", "b", lambda: "there")

    assert await recorded_and_replayed(work, ledger) == ("there", "there")
    assert [row[4] for row in rows(ledger)] == ["OSError", True]


async def test_sensitive_fields_and_secrets_never_reach_the_ledger(ledger: LedgerDouble) -> None:
    services = make_services()
    services.secrets.add("sk-very-secret")
    services.secrets.add("123456789")
    context = recording_context(ledger, services)
    codec = Codec(sensitive=frozenset({"password"}))

    class Request:
        def to_dict(self):
            return {"inner": {"Password": "hunter2"}, "url": "x?key=sk-very-secret", "n": 123456789}

    async def good(inner):
        return {"password": "hunter2", "token": "sk-very-secret", "n": 123456789}

    async def bad(inner):
        raise ToolError("refused sk-very-secret", details={"password": "hunter2"})

    await context.effect("a", Request(), good, effect_class=PURE, codec=codec)
    with pytest.raises(ToolError):
        await context.effect("b", Request(), bad, effect_class=PURE, codec=codec)
    stream = context.effect_stream(
        "c",
        Request(),
        stream_of({"password": "hunter2"}, ToolError("x", details={"Password": "hunter2"})),
        effect_class=PURE,
        codec=codec,
    )
    with pytest.raises(ToolError):
        _ = [item async for item in stream]
    context.observe("env", "sk-very-secret", lambda: "sk-very-secret")
    with context.span("agent", "of sk-very-secret") as inner:
        await fetch(inner, "x", 1)
    text = repr(list(ledger.effects("run")))
    for secret in ("hunter2", "sk-very-secret", "123456789"):
        assert secret not in text
    assert text.count("<REDACTED>") > 10
    for effect in ledger.effects("run"):
        from_canonical(effect.intent.request)
        if effect.outcome is not None and effect.outcome.payload is not None:
            from_canonical(effect.outcome.payload)


async def test_a_request_is_known_by_its_redacted_form(ledger: LedgerDouble) -> None:
    """So that a run can be replayed with another key."""

    async def ask(context: ExecutionContext, key: str) -> str:
        async def run(inner: ExecutionContext) -> str:
            return f"answer for {key}"

        codec = Codec(sensitive=frozenset({"key"}))
        return await context.effect("a", {"key": key}, run, effect_class=PURE, codec=codec)

    assert await ask(recording_context(ledger), "old key") == "answer for old key"
    assert await ask(replaying_context(ledger), "new key") == "answer for old key"


async def test_an_outcome_that_cannot_be_kept_has_happened_all_the_same(
    ledger: LedgerDouble, caplog
) -> None:
    context = recording_context(ledger)
    thing = object()
    with caplog.at_level(logging.WARNING):
        assert await fetch(context, "a", thing) is thing
    assert "the outcome of http.get (effect 1) is not kept" in caplog.text
    (effect,) = ledger.effects("run")
    assert effect.outcome is not None
    assert (effect.outcome.ok, effect.outcome.payload) == (True, None)
    with pytest.raises(ReplayError, match="was erased, or could not be kept"):
        await fetch(replaying_context(ledger), "a", thing)


async def test_a_request_without_a_json_form_is_refused_before_the_work(
    ledger: LedgerDouble,
) -> None:
    calls: list[str] = []

    async def run(inner: ExecutionContext) -> None:
        calls.append("ran")

    with pytest.raises(TypeError):
        await recording_context(ledger).effect("x", object(), run, effect_class=PURE)
    assert calls == []


async def test_what_is_too_large_is_not_kept_but_found_again(ledger: LedgerDouble) -> None:
    ledger.open_run(RunRecord("run", "t", 0.0))
    context = make_context(effects=Recording(ledger, "run", max_payload_bytes=100))
    await fetch(context, "k" * 200, "small")
    await fetch(context, "key", "a" * 200)
    first, second = ledger.effects("run")
    assert from_canonical(first.intent.request) == "(210 characters, too large to keep)"
    assert first.outcome is not None
    assert second.outcome is not None
    assert (first.outcome.payload, second.outcome.payload) == ('"small"', None)
    replaying = make_context(effects=Replaying(ledger, "run"))
    assert await fetch(replaying, "k" * 200, "other") == "small"
    with pytest.raises(ReplayError, match="could not be kept"):
        await fetch(replaying, "key", "x")


# -- replaying ----------------------------------------------------------------------------------


async def test_a_replay_does_nothing_and_returns_the_same(ledger: LedgerDouble) -> None:
    calls: list[str] = []

    async def work(context: ExecutionContext):
        seen: list[object] = [context.now(), context.new_id("run-"), context.monotonic()]
        with context.span("agent", "a") as agent:
            seen.append(await fetch(agent, "a", {"bytes": b"\x00", "n": 1.5}, calls=calls))
            stream = agent.effect_stream("s", 1, stream_of("x", "y"), effect_class=PURE)
            seen += [item async for item in stream]
        try:
            await fetch(context, "bad", ToolError("broke", tool_name="t", hint="h"), calls=calls)
        except ToolError as error:
            seen.append((str(error), error.tool_name, error.hint))
        return seen

    before = len(calls)
    first, second = await recorded_and_replayed(work, ledger)
    assert second == first
    assert calls[before:] == ["a", "bad"]
    recorded = rows(ledger)
    policy = Replaying(ledger, "run")
    third = await work(make_context(effects=policy))
    assert third == first
    assert policy.unused() == []
    assert policy.mismatch is None
    assert rows(ledger) == recorded


async def test_the_outermost_recorded_effect_answers(ledger: LedgerDouble) -> None:
    calls: list[str] = []

    async def work(context: ExecutionContext):
        async def outer(inner: ExecutionContext):
            return [await fetch(inner, "deep", 1, calls=calls)]

        return await context.effect("tool.call", "t", outer, effect_class=PURE)

    assert await recorded_and_replayed(work, ledger) == ([1], [1])
    assert calls == ["deep"]
    policy = Replaying(ledger, "run")
    await work(make_context(effects=policy))
    assert policy.unused() == []


async def test_parallel_branches_replay_in_any_order(ledger: LedgerDouble) -> None:
    async def work(context: ExecutionContext, order: list[str]):
        gates = {name: asyncio.Event() for name in order}

        async def branch(name: str):
            with context.span("step", name) as step:
                await gates[name].wait()
                once = await fetch(step, "same", f"{name} one")
                again = await fetch(step, "same", f"{name} two")
                return [once, again, step.new_id() is not None, step.new_id()]

        tasks = [asyncio.ensure_future(branch(name)) for name in sorted(order)]
        for name in order:
            gates[name].set()
            for _ in range(6):
                await asyncio.sleep(0)
        return await asyncio.gather(*tasks)

    first = await work(recording_context(ledger), ["a", "b", "c"])
    ledger.close_run("run", RunStatus.COMPLETED, finished_at=1.0)
    second = await work(replaying_context(ledger), ["c", "a", "b"])
    assert second == first
    assert first[1][:2] == ["b one", "b two"]


async def test_a_replayed_value_is_decoded(ledger: LedgerDouble) -> None:
    codec: Codec[Usage] = Codec(encode=Usage.to_dict, decode=Usage.from_dict)

    async def work(context: ExecutionContext):
        async def run(inner: ExecutionContext) -> Usage:
            return Usage(1, 2, cost=0.5)

        usage = await context.effect("u", None, run, effect_class=PURE, codec=codec)
        stream = context.effect_stream(
            "s", None, stream_of(Usage(3)), effect_class=PURE, codec=codec
        )
        return usage, [item async for item in stream]

    first, second = await recorded_and_replayed(work, ledger)
    assert first == second == (Usage(1, 2, cost=0.5), [Usage(3)])


async def test_a_different_request_stops_the_run_and_shows_the_difference(
    ledger: LedgerDouble,
) -> None:
    recording = recording_context(ledger)
    with recording.span("agent", "a") as agent:
        await agent.effect(
            "model.chat",
            {"model": "m", "messages": [{"text": "hello"}, {"text": "b"}]},
            lambda inner: _value("x"),
            effect_class=PURE,
        )
    context = replaying_context(ledger)
    policy = context.effects
    assert isinstance(policy, Replaying)
    with context.span("agent", "a") as agent, pytest.raises(ReplayError) as caught:
        await agent.effect(
            "model.chat",
            {"model": "m", "messages": [{"text": "goodbye"}, {"text": "b"}], "seed": 1},
            lambda inner: _value("x"),
            effect_class=PURE,
        )
    error = caught.value
    assert str(error) == (
        "Replay error: model.chat in /agent:a#0 differs from the recording. "
        "Nearest recorded request (effect 2): "
        '{"messages":[{"text":"hello"},{"text":"b"}],"model":"m"}. '
        'Different: messages[0].text: recorded "hello", now "goodbye"; '
        "seed: recorded null, now 1"
    )
    assert error.details["differences"] == [
        {"field": "messages[0].text", "recorded": "hello", "now": "goodbye"},
        {"field": "seed", "recorded": None, "now": 1},
    ]
    assert error.details["path"] == "/agent:a#0"
    assert policy.mismatch is error
    assert context.cancel.reason == "replay differs from the recording"


async def _value(value):
    return value


async def test_a_mismatch_sticks(ledger: LedgerDouble) -> None:
    recording = recording_context(ledger)
    await fetch(recording, "a", 1)
    recording.observe("o", 1, lambda: 1)
    context = replaying_context(ledger)
    with pytest.raises(ReplayError) as first:
        await fetch(context, "b", 1)
    with pytest.raises(ReplayError) as second:
        await fetch(context, "a", 1)
    with pytest.raises(ReplayError) as third:
        context.observe("o", 1, lambda: 1)
    with pytest.raises(ReplayError) as fourth:
        _ = [x async for x in context.effect_stream("s", 1, stream_of(1), effect_class=PURE)]
    assert first.value is second.value is third.value is fourth.value


async def test_asking_more_often_than_recorded_is_a_difference(ledger: LedgerDouble) -> None:
    await fetch(recording_context(ledger), "a", 1)
    context = replaying_context(ledger)
    await fetch(context, "a", 1)
    with pytest.raises(ReplayError, match=r"http\.get in the script was not recorded"):
        await fetch(context, "a", 1)


async def test_the_same_request_at_another_place_is_a_difference(ledger: LedgerDouble) -> None:
    await fetch(recording_context(ledger), "a", 1)
    context = replaying_context(ledger)
    with (
        context.span("agent", "new") as agent,
        pytest.raises(ReplayError, match=r"\(place\): recorded \"\", now \"/agent:new#0\""),
    ):
        await fetch(agent, "a", 1)


async def test_an_unknown_kind_is_told_with_its_request(ledger: LedgerDouble) -> None:
    recording_context(ledger)
    with pytest.raises(ReplayError, match=r'http.get in the script was not recorded.*"key":"a"'):
        await fetch(replaying_context(ledger), "a", 1)


async def test_a_replay_stops_where_the_run_ended(ledger: LedgerDouble) -> None:
    context = recording_context(ledger)

    async def cancelled(inner: ExecutionContext) -> None:
        raise ExecutionCancelled

    with pytest.raises(ExecutionCancelled):
        await context.effect("http.get", {"key": "a"}, cancelled, effect_class=PURE)
    with pytest.raises(ReplayError, match="has no recorded outcome") as caught:
        await fetch(replaying_context(ledger), "a", 1)
    assert caught.value.hint == "Go on from there with: llmspell resume run"


async def test_erased_payloads_stop_a_replay_with_a_plain_word(ledger: LedgerDouble) -> None:
    recording = recording_context(ledger)
    await fetch(recording, "a", 1)
    await fetch(recording, "b", 1)
    ledger.erase_payloads("run")
    with pytest.raises(ReplayError, match="was erased"):
        await fetch(replaying_context(ledger), "a", 1)
    with pytest.raises(ReplayError, match="was not recorded"):
        await fetch(replaying_context(ledger), "c", 1)


async def test_what_a_replay_did_not_ask_for_is_told(ledger: LedgerDouble) -> None:
    async def outer(inner: ExecutionContext):
        return await fetch(inner, "deep", 1)

    recording = recording_context(ledger)
    await recording.effect("tool.call", "t", outer, effect_class=PURE)
    with recording.span("agent", "a") as agent:
        await fetch(agent, "left out", 2)
    context = replaying_context(ledger)
    policy = context.effects
    assert isinstance(policy, Replaying)
    await context.effect("tool.call", "t", outer, effect_class=PURE)
    assert [effect.intent.request for effect in policy.unused()] == ['{"key":"left out"}']


async def test_many_differences_are_cut_short(ledger: LedgerDouble) -> None:
    request = {f"k{n}": "v" * 300 for n in range(20)}
    await recording_context(ledger).effect("x", request, lambda inner: _value(1), effect_class=PURE)
    changed = dict.fromkeys(request, "w" * 300)
    with pytest.raises(ReplayError) as caught:
        await replaying_context(ledger).effect(
            "x", changed, lambda inner: _value(1), effect_class=PURE
        )
    assert len(str(caught.value)) < 2500
    assert len(caught.value.details["differences"]) == 20


async def test_the_nearest_request_is_the_one_with_the_fewest_differences(
    ledger: LedgerDouble,
) -> None:
    recording = recording_context(ledger)
    for a, b, c in ((1, 2, 3), (1, 2, 9), (7, 8, 9)):
        await recording.effect(
            "x", {"a": a, "b": b, "c": c}, lambda inner: _value(1), effect_class=PURE
        )
    with pytest.raises(ReplayError) as caught:
        await replaying_context(ledger).effect(
            "x", {"a": 1, "b": 5, "c": 9}, lambda inner: _value(1), effect_class=PURE
        )
    assert caught.value.details["nearest"] == {"a": 1, "b": 2, "c": 9}
    assert caught.value.details["differences"] == [{"field": "b", "recorded": 2, "now": 5}]


def test_an_effect_knows_its_key() -> None:
    from llmspell_core import Intent

    intent = Intent("r", 1, "/a#0", "k", 2, "hash", "{}", PURE, 0.0)
    assert intent.key == ("/a#0", "k", "hash", 2)
    assert replace(intent, sequence=9).key == intent.key
