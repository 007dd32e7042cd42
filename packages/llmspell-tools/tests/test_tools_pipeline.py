import asyncio
import json
import logging
import time

import pytest

from llmspell_core import (
    CancelSignal,
    Deadline,
    EffectClass,
    ExecutionCancelled,
    ExecutionContext,
    HookOutcome,
    InternalError,
    LLMSpellError,
    LLMTimeoutError,
    NetworkError,
    NotFoundError,
    Parameter,
    PluginIndex,
    RateLimitError,
    SecurityError,
    SecurityLevel,
    Tool,
    ToolError,
    ToolResult,
    ToolSchema,
    ValidationError,
)
from llmspell_testing import (
    EventsDouble,
    HooksDouble,
    LedgerDouble,
    recorded_and_replayed,
    recording_context,
    replaying_context,
)
from llmspell_tools._catalogue import CATALOGUE


class Probe(Tool):
    """Keeps what it was called with, and does what the test says."""

    effect_class = EffectClass.PURE

    def __init__(self, *parameters, act=None, name="probe", **attributes):
        self._schema = ToolSchema(name, "Probes", parameters)
        self._act = act
        self.calls = []
        for key, value in attributes.items():
            setattr(self, key, value)

    @property
    def schema(self):
        return self._schema

    async def run(self, parameters, context):
        self.calls.append(parameters)
        if self._act is not None:
            found = self._act(parameters, context)
            if asyncio.iscoroutine(found):
                found = await found
            if found is not None:
                return found
        return ToolResult(operation="probe", result={"n": len(self.calls)})


ALL = (
    Parameter("s", "string", aliases=("text", "t")),
    Parameter("n", "number", minimum=0, maximum=10),
    Parameter("i", "integer"),
    Parameter("b", "boolean", default=False),
    Parameter("a", "array", items="integer"),
    Parameter("o", "object"),
    Parameter("x", "any"),
    Parameter("e", "string", enum=("one", "two")),
)


@pytest.fixture
def probe(services):
    def make(*parameters, **options):
        made = Probe(*parameters, **options)
        services.tools.register(made)
        return made

    return make


# Parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "got"),
    [
        ({}, {}),
        ([], {}),
        ({"parameters": {"s": "x"}}, {"s": "x"}),
        ({"s": None, "i": 5.0, "n": 5}, {"i": 5, "n": 5}),
        ({"text": "x"}, {"s": "x"}),
        ({"text": "other", "s": "x"}, {"s": "x"}),
        ({"a": {}, "o": []}, {"a": [], "o": {}}),
        ({"a": (1, 2.0)}, {"a": [1, 2]}),
        ({"x": [1, "y", None]}, {"x": [1, "y", None]}),
        ({"timeout_ms": 500, "timeout_seconds": 2}, {}),
    ],
)
async def test_parameters_are_normalised(probe, services, context, given, got):
    made = probe(*ALL)
    result = await services.tools.invoke("probe", given, context)
    assert result.success
    expected = {"b": False, **got}
    assert made.calls == [expected]
    assert {k: type(v) for k, v in made.calls[0].items()} == {
        k: type(v) for k, v in expected.items()
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "Missing parameters object"),
        ("text", "Parameters must be an object, not string"),
        ([1], "Parameters must be an object, not array"),
        ({"s": 5}, "Invalid type for parameter 's': expected string, got integer"),
        ({"s": b"x"}, "Invalid type for parameter 's': expected string, got bytes"),
        ({"n": "5"}, "Invalid type for parameter 'n': expected number, got string"),
        ({"n": True}, "Invalid type for parameter 'n': expected number, got boolean"),
        ({"i": 5.5}, "Invalid type for parameter 'i': expected integer, got number"),
        ({"b": 1}, "Invalid type for parameter 'b': expected boolean, got integer"),
        ({"a": {"k": 1}}, "Invalid type for parameter 'a': expected array, got object"),
        ({"a": [1, "x"]}, "Invalid type for parameter 'a[1]': expected integer, got string"),
        ({"o": [1]}, "Invalid type for parameter 'o': expected object, got array"),
        ({"e": "three"}, "Invalid e: 'three'. Allowed values: one, two"),
        ({"n": -1}, "Invalid n: '-1'. It must be at least 0"),
        ({"n": 11}, "Invalid n: '11'. It must be at most 10"),
        ({"n": float("nan")}, "Invalid n: 'nan'. It must be at least 0"),
        ({"timeout_ms": 0}, "Invalid timeout_ms: '0'. It must be a number above zero"),
        ({"timeout_seconds": "1"}, "Invalid timeout_seconds: '1'. It must be a number above zero"),
    ],
)
async def test_wrong_parameter_is_refused_before_anything_runs(
    probe, services, context, given, message
):
    made = probe(*ALL)
    with pytest.raises(ValidationError) as caught:
        await services.tools.invoke("probe", given, context)
    assert caught.value.message == message
    assert caught.value.field
    assert made.calls == []


async def test_required_parameter_is_named_when_missing(probe, call):
    probe(Parameter("path", "string", required=True))
    with pytest.raises(ValidationError, match="Missing required parameter 'path'") as caught:
        await call("probe")
    assert (caught.value.code, caught.value.field) == ("MISSING_REQUIRED", "path")


async def test_unexpected_parameters_are_dropped_with_a_warning(probe, call):
    made = probe(*ALL)
    result = await call("probe", s="x", nonsense=1, parameters={})
    assert made.calls == [{"s": "x", "b": False}]
    assert result.metadata["warnings"] == [
        "Unexpected parameter 'nonsense' will be ignored",
        "Unexpected parameter 'parameters' will be ignored",
    ]


async def test_tool_without_declared_parameters_gets_them_all(probe, call):
    made = probe()
    await call("probe", anything=1)
    assert made.calls == [{"anything": 1}]


async def test_long_values_are_warned_about(probe, call):
    probe(*ALL)
    result = await call("probe", s="x" * 10_001, a=list(range(1001)))
    assert result.metadata["warnings"] == [
        "Parameter 's' is long: 10001 characters",
        "Parameter 'a' is long: 1001 items",
    ]


WRONG = {
    "string": [5, True, [1], {"a": 1}],
    "number": ["5", True, [1], {"a": 1}],
    "integer": ["5", 5.5, True, [1], {"a": 1}],
    "boolean": ["true", 1, [1], {"a": 1}],
    "array": ["x", 5, True, {"a": 1}],
    "object": ["x", 5, True, [1]],
}
CASES = [
    (name, parameter.name, value)
    for name in CATALOGUE
    for parameter in PluginIndex().load("llmspell.tools", name)().schema.parameters
    for value in WRONG.get(parameter.type, [])
]


FITTING = {"string": "x", "number": 1.5, "integer": 1, "boolean": True, "array": [], "object": {}}


@pytest.mark.parametrize(("name", "parameter", "value"), CASES)
async def test_wrong_type_of_every_parameter_of_every_tool_is_refused(call, name, parameter, value):
    tool = PluginIndex().load("llmspell.tools", name)()
    needed = {p.name: FITTING[p.type] for p in tool.schema.parameters if p.required}
    messages = []
    for operation in getattr(tool, "operations", [None]):
        given = {**needed, "operation": operation, parameter: value}
        with pytest.raises(ValidationError) as caught:
            await call(name, **given)
        messages.append(caught.value.message)
    # Where a name means different things to different operations, some call it by the other.
    assert all("Invalid type for parameter" in message for message in messages)
    assert any(f"'{parameter}'" in message for message in messages)


# Policy --------------------------------------------------------------------------------------


async def test_level_above_the_maximum_is_refused_before_any_effect(make_services):
    services = make_services(security={"max_level": "safe"})
    made = Probe(security_level=SecurityLevel.RESTRICTED)
    services.tools.register(made)
    with pytest.raises(SecurityError, match="exceeds maximum allowed level"):
        await services.tools.invoke("probe", {}, ExecutionContext(services))
    assert made.calls == []


# Hooks ---------------------------------------------------------------------------------------


@pytest.fixture
def hooks(services):
    made = HooksDouble()
    services.provide("hooks", made)
    return made


def answering(outcome):
    async def hook(point, data, context):
        return outcome(data) if callable(outcome) else outcome

    return hook


async def test_hooks_run_in_order_around_the_call(probe, call, hooks):
    probe(*ALL)
    points = [
        "ToolValidation",
        "custom:tool_parameter_validation",
        "custom:tool_security_check",
        "custom:tool_resource_allocated",
        "BeforeToolExecution",
        "AfterToolExecution",
        "custom:tool_resource_released",
    ]
    for point in reversed(points):
        hooks.register(point, answering(None))
    hooks.register("ToolError", answering(None))
    await call("probe", s="x")
    assert [point for point, _ in hooks.ran] == points
    before, after = hooks.ran[4][1], hooks.ran[5][1]
    assert before == {
        "tool_name": "probe",
        "parameters": {"s": "x", "b": False},
        "input": {"s": "x", "b": False},
        "metadata": {
            "tool_name": "probe",
            "tool_category": "utility",
            "security_level": "safe",
            "execution_phase": "BeforeToolExecution",
        },
    }
    assert after["success"] is True
    assert after["result"]["result"] == {"n": 1}
    assert after["duration_ms"] >= 0


async def test_hook_may_change_parameters_which_are_checked_again(probe, call, hooks):
    made = probe(*ALL)
    hooks.register(
        "BeforeToolExecution",
        answering(lambda d: HookOutcome("modified", {**d, "parameters": {"text": "changed"}})),
    )
    await call("probe", s="x")
    assert made.calls == [{"s": "changed", "b": False}]
    hooks.register(
        "BeforeToolExecution",
        answering(lambda d: HookOutcome("modified", {**d, "parameters": {"s": 5}})),
    )
    with pytest.raises(ValidationError, match="expected string"):
        await call("probe", s="x")


async def test_hook_may_cancel_skip_or_replace(probe, call, hooks):
    made = probe(*ALL)
    outcome = HookOutcome("cancel", reason="not today")
    hooks.register("BeforeToolExecution", answering(lambda d: outcome))
    with pytest.raises(ToolError, match="Hook cancelled tool execution: not today") as caught:
        await call("probe")
    assert caught.value.details == {"phase": "BeforeToolExecution", "reason": "not today"}
    outcome = HookOutcome("skip")
    assert (await call("probe")).metadata["skipped"] is True
    outcome = HookOutcome("replace", {"answer": 42})
    assert (await call("probe")).result == {"answer": 42}
    assert made.calls == []


async def test_hook_may_change_the_result(probe, call, hooks):
    probe(*ALL)
    outcomes = []
    hooks.register("AfterToolExecution", answering(lambda d: outcomes.pop()(d)))
    changed = {"result": {"success": True, "result": {"n": 9}}}
    outcomes.append(lambda d: HookOutcome("modified", {**d, **changed}))
    assert (await call("probe")).result == {"n": 9}
    outcomes.append(lambda d: HookOutcome("replace", "instead"))
    result = await call("probe")
    assert (result.text, "execution_time_ms" in result.metadata) == ("instead", True)
    outcomes.append(lambda d: HookOutcome("modified", {}))
    assert (await call("probe")).result == {"n": 3}
    outcomes.append(lambda d: HookOutcome("cancel", reason="too late"))
    with pytest.raises(ToolError, match="too late"):
        await call("probe")


async def test_error_hooks_see_the_error_and_may_stand_in(probe, call, hooks):
    def fail(parameters, context):
        raise ToolError("broken")

    probe(act=fail)
    hooks.register("ToolError", answering(None))
    hooks.register("custom:tool_resource_released", answering(None))
    with pytest.raises(ToolError, match="broken"):
        await call("probe")
    assert [point for point, _ in hooks.ran] == ["ToolError", "custom:tool_resource_released"]
    assert hooks.ran[0][1]["error"] == "Tool execution error: broken"
    hooks.register("ToolError", answering(HookOutcome("replace", {"rescued": True})))
    assert (await call("probe")).result == {"rescued": True}


async def test_time_out_has_a_hook_point_of_its_own(probe, call, hooks):
    probe(act=lambda p, c: asyncio.sleep(60))
    hooks.register("custom:tool_timeout", answering(None))
    with pytest.raises(LLMTimeoutError):
        await call("probe", timeout_ms=20)
    assert [point for point, _ in hooks.ran] == ["custom:tool_timeout"]


# Running -------------------------------------------------------------------------------------


async def test_time_out_cancels_the_tool_and_says_how_to_allow_more(probe, services, context):
    cancelled = []

    async def hang(parameters, context):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    probe(act=hang)
    started = time.monotonic()
    with pytest.raises(LLMTimeoutError) as caught:
        await services.tools.invoke("probe", {}, context, timeout_seconds=0.05)
    assert time.monotonic() - started < 5
    assert cancelled == [True]
    assert str(caught.value) == "Timeout error: Tool 'probe' timed out after 0.05s"
    assert "[tools.timeouts] probe" in caught.value.hint


@pytest.mark.parametrize(
    ("timeouts", "expected"),
    [
        ({"probe": 0.02, "default": 60}, 0.02),
        ({"default": 0.03}, 0.03),
        ({}, 0.04),
    ],
)
async def test_time_out_comes_from_configuration_then_tool(make_services, timeouts, expected):
    services = make_services(timeouts=timeouts)
    services.tools.register(Probe(act=lambda p, c: asyncio.sleep(60), timeout_seconds=0.04))
    with pytest.raises(LLMTimeoutError, match=f"after {expected:g}s"):
        await services.tools.invoke("probe", {}, ExecutionContext(services))


async def test_time_out_of_the_tools_own_making_is_not_ours(probe, call):
    def fail(parameters, context):
        raise TimeoutError("peer")

    probe(act=fail)
    with pytest.raises(ToolError, match="probe: TimeoutError: peer"):
        await call("probe")


async def test_cancelled_or_late_execution_does_not_begin(probe, services):
    made = probe()
    cancel = CancelSignal()
    cancel.cancel("enough")
    with pytest.raises(ExecutionCancelled):
        await services.tools.invoke("probe", {}, ExecutionContext(services, cancel=cancel))
    with pytest.raises(LLMTimeoutError):
        await services.tools.invoke("probe", {}, ExecutionContext(services, deadline=Deadline(0)))
    assert made.calls == []


async def test_cancellation_passes_through(probe, call):
    def stop(parameters, context):
        raise ExecutionCancelled("enough")

    probe(act=stop)
    with pytest.raises(ExecutionCancelled):
        await call("probe")


async def test_defect_of_a_tool_is_a_tool_error_with_the_traceback_logged(probe, call, caplog):
    def fail(parameters, context):
        raise KeyError("oops")

    probe(act=fail)
    with caplog.at_level(logging.ERROR), pytest.raises(ToolError) as caught:
        await call("probe")
    assert caught.value.message == "probe: KeyError: 'oops'"
    assert isinstance(caught.value.__cause__, KeyError)
    assert caplog.records[0].exc_info is not None


async def test_failed_assertion_is_an_internal_error(probe, call):
    def fail(parameters, context):
        raise AssertionError

    probe(act=fail)
    with pytest.raises(InternalError):
        await call("probe")


async def test_known_secrets_are_kept_out_of_messages(probe, services, call):
    services.secrets.add("sk-abcdef-123456")

    def fail(parameters, context):
        raise ToolError("the server said: sk-abcdef-123456 is wrong")

    probe(act=fail)
    with pytest.raises(ToolError) as caught:
        await call("probe")
    assert "sk-abcdef" not in str(caught.value)


async def test_calls_run_at_the_same_time(probe, services, context):
    running = 0
    most = 0
    together = asyncio.Event()

    async def meet(parameters, context):
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 20:
            together.set()
        await asyncio.wait_for(together.wait(), 10)
        running -= 1

    probe(act=meet)
    await asyncio.gather(*(services.tools.invoke("probe", {}, context) for _ in range(20)))
    assert most == 20


# Retry, circuit breaker, rate limit, cache ---------------------------------------------------


async def test_retry_repeats_what_may_pass(probe, services, context, monkeypatch):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)

    def flaky(parameters, context):
        if len(made.calls) < 3:
            raise NetworkError("away")

    made = probe(act=flaky)
    result = await services.tools.invoke("probe", {}, context, retry=3)
    assert (result.success, len(made.calls), waits) == (True, 3, [1.0, 2.0])


async def test_retry_ends_and_does_not_repeat_what_cannot_pass(
    probe, services, context, monkeypatch
):
    async def sleep(seconds):
        return None

    monkeypatch.setattr(asyncio, "sleep", sleep)
    failing = probe(act=lambda p, c: (_ for _ in ()).throw(NetworkError("away")))
    with pytest.raises(NetworkError):
        await services.tools.invoke("probe", {}, context, retry=2)
    assert len(failing.calls) == 3
    services.tools.unregister("probe")
    wrong = probe(act=lambda p, c: (_ for _ in ()).throw(ValidationError("wrong")))
    with pytest.raises(ValidationError):
        await services.tools.invoke("probe", {}, context, retry=5)
    assert len(wrong.calls) == 1


async def test_circuit_opens_after_five_failures_and_closes_after_a_success(
    probe, services, context, monkeypatch
):
    from llmspell_tools import _metrics

    clock = [1000.0]
    monkeypatch.setattr(_metrics.time, "monotonic", lambda: clock[0])
    broken = [True]

    def fail(parameters, context):
        if broken[0]:
            raise NetworkError("away")

    made = probe(act=fail)

    async def attempt():
        await services.tools.invoke("probe", {}, context)

    for _ in range(5):
        with pytest.raises(NetworkError):
            await attempt()
    with pytest.raises(ToolError, match="circuit") as caught:
        await attempt()
    assert (caught.value.code, caught.value.retry_after) == ("CIRCUIT_OPEN", 30.0)
    assert len(made.calls) == 5
    clock[0] += 31
    with pytest.raises(NetworkError):
        await attempt()
    with pytest.raises(ToolError, match="circuit"):
        await attempt()
    clock[0] += 31
    broken[0] = False
    await attempt()
    await attempt()
    assert len(made.calls) == 8


async def test_callers_mistakes_do_not_open_the_circuit(call):
    for _ in range(7):
        with pytest.raises(LLMSpellError, match="not in allowlist"):
            await call("file_operations", operation="read", path="/etc/passwd")


async def test_rate_limit_refuses_the_call_that_is_one_too_many(make_services, monkeypatch):
    from llmspell_tools import _metrics

    clock = [1000.0]
    monkeypatch.setattr(_metrics.time, "monotonic", lambda: clock[0])
    services = make_services(rate_limit_per_minute=2)
    context = ExecutionContext(services)
    for _ in range(2):
        await services.tools.invoke("calculator", {"input": "1"}, context)
    with pytest.raises(RateLimitError, match="more than 2 tool calls in a minute") as caught:
        await services.tools.invoke("uuid_generator", {}, context)
    assert caught.value.retry_after == 60
    clock[0] += 61
    assert (await services.tools.invoke("uuid_generator", {}, context)).success


async def test_cached_result_is_reused_and_marked(probe, services, context, monkeypatch):
    made = probe(*ALL)

    async def run(**parameters):
        return await services.tools.invoke("probe", parameters, context, cache_seconds=100)

    first, second, other = await run(s="x"), await run(text="x"), await run(s="y")
    assert (first.result, second.result, other.result) == ({"n": 1}, {"n": 1}, {"n": 2})
    assert "cached" not in first.metadata
    assert second.metadata["cached"] is True
    from llmspell_tools import _pipeline

    real = time.monotonic()
    monkeypatch.setattr(_pipeline.time, "monotonic", lambda: real + 1000)
    assert (await run(s="x")).result == {"n": 3}
    assert len(made.calls) == 3


async def test_cache_is_for_successful_calls_without_side_effects(probe, services, context):
    made = probe(effect_class=EffectClass.IDEMPOTENT)
    for _ in range(2):
        await services.tools.invoke("probe", {}, context, cache_seconds=100)
    assert len(made.calls) == 2
    services.tools.unregister("probe")
    made = probe(act=lambda p, c: ToolResult(success=False, error="no"))
    for _ in range(2):
        await services.tools.invoke("probe", {}, context, cache_seconds=100)
    assert len(made.calls) == 2


async def test_cache_is_bounded_and_may_be_on_for_all(make_services):
    services = make_services(cache_enabled=True)
    made = Probe(*ALL)
    services.tools.register(made)
    context = ExecutionContext(services)
    for number in range(300):
        await services.tools.invoke("probe", {"x": number}, context)
    assert len(services.tools._pipeline()._cache) == 256
    again = await services.tools.invoke("probe", {"x": 299}, context)
    assert again.metadata["cached"] is True


@pytest.mark.parametrize(
    "options",
    [{"timeout_seconds": 0}, {"timeout_seconds": -1}, {"retry": -1}, {"cache_seconds": 0}],
)
async def test_senseless_options_are_refused(services, context, options):
    with pytest.raises(ValidationError):
        await services.tools.invoke("calculator", {"input": "1"}, context, **options)


# Records -------------------------------------------------------------------------------------


async def test_one_call_is_one_effect(probe, services):
    probe(*ALL, Parameter("password", "string", sensitive=True))
    ledger = LedgerDouble()
    context = recording_context(ledger, services)
    await services.tools.invoke("probe", {"text": "x", "password": "hunter2"}, context)
    (effect,) = ledger.effects("run")
    assert effect.intent.kind == "tool.call"
    assert json.loads(effect.intent.request) == {
        "tool": "probe",
        "parameters": {"s": "x", "b": False, "password": "<REDACTED>"},
    }
    assert effect.intent.effect_class is EffectClass.PURE
    assert effect.outcome.ok


async def test_replayed_call_does_not_run_the_tool(probe, services):
    made = probe(act=lambda p, c: ToolResult(result={"b": b"\xff"}, text="t" * 500, value="v"))

    async def work(context):
        return await services.tools.invoke("probe", {}, context)

    first, second = await recorded_and_replayed(
        work, LedgerDouble(), record_with=services, replay_with=services
    )
    assert first == second
    assert len(made.calls) == 1


async def test_replayed_failure_is_the_recorded_one(services):
    ledger = LedgerDouble()
    for make in (recording_context, replaying_context):
        context = make(ledger, services)
        with pytest.raises(SecurityError, match="not in allowlist") as caught:
            await services.tools.invoke(
                "file_operations", {"operation": "read", "path": "/etc/passwd"}, context
            )
        assert caught.value.violation_type == "file_read"


async def test_content_of_a_file_is_kept_once_in_the_ledger(services, allowed):
    (allowed / "a.txt").write_text("x" * 100_000)
    ledger = LedgerDouble()

    async def work(context):
        return await services.tools.invoke("file-reader", {"path": str(allowed / "a.txt")}, context)

    first, second = await recorded_and_replayed(
        work, ledger, record_with=services, replay_with=services
    )
    assert first == second
    (effect,) = [e for e in ledger.effects("run") if e.intent.path == ""]
    assert len(effect.outcome.payload) < 102_000


async def test_span_tool_runs_again_in_replay_while_its_effects_do_not(probe, services):
    inner = Probe(name="inner")
    services.tools.register(inner)

    async def outer(parameters, context):
        return await services.tools.invoke("inner", {}, context)

    made = probe(act=outer, effect_class=EffectClass.SPAN)

    async def work(context):
        return (await services.tools.invoke("probe", {}, context)).result

    ledger = LedgerDouble()
    first, second = await recorded_and_replayed(
        work, ledger, record_with=services, replay_with=services
    )
    assert first == second == {"n": 1}
    assert (len(made.calls), len(inner.calls)) == (2, 1)
    kinds = [e.intent.kind for e in ledger.effects("run") if e.intent.kind.startswith("tool")]
    assert kinds == ["tool", "tool.call"]


async def test_events_tell_of_every_call(probe, services):
    bus = EventsDouble()
    services.provide("events", bus)
    context = ExecutionContext(services, session_id="s1", correlation_id="c1")
    probe(Parameter("input", "string"))
    await services.tools.invoke("probe", {"input": "hello"}, context)
    with pytest.raises(ValidationError):
        await services.tools.invoke("probe", {"input": 5}, context)
    assert bus.topics == ["tool.started", "tool.completed", "tool.started", "tool.failed"]
    started, completed, _, failed = (event.payload for event in bus.published)
    assert started == {
        "component_name": "probe",
        "component_version": "0.1.0",
        "input_text_length": 5,
        "parameter_keys": ["input"],
        "session_id": "s1",
        "conversation_id": None,
    }
    assert completed["success"] is True
    assert completed["duration_ms"] >= 0
    assert failed["error_type"] == "Validation"
    assert {event.correlation_id for event in bus.published} == {"c1"}


async def test_metrics_count_calls_and_failures(probe, services, context):
    assert services.tools.metrics("calculator") == {
        "invocations": 0,
        "failures": 0,
        "average_duration": 0.0,
    }
    await services.tools.invoke("calculator", {"input": "1"}, context)
    await services.tools.invoke("calculator", {"input": "1 +"}, context)
    with pytest.raises(ValidationError):
        await services.tools.invoke("calculator", {"input": 1}, context)
    found = services.tools.metrics("calculator")
    assert (found["invocations"], found["failures"]) == (3, 2)
    assert found["average_duration"] > 0
    with pytest.raises(NotFoundError):
        services.tools.metrics("nothing")


async def test_services_close_their_tools(make_services):
    services = make_services()
    closed = []
    made = Probe()
    made.close = lambda: closed.append(True)
    services.tools.register(made)
    await services.aclose()
    assert closed == [True]
