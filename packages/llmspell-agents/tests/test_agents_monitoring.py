"""Figures, health, alerts: what is counted, judged and told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from llmspell_agents import AgentBuilder, AgentHandle, AgentService, Rule, Statistics
from llmspell_agents._alerts import Alert, Alerts
from llmspell_agents._process import ProcessMeter
from llmspell_core import ExecutionContext, Plugin, ProviderError, Usage, ValidationError
from llmspell_testing import (
    EventsDouble,
    HooksDouble,
    HostDouble,
    ProvidersDouble,
    Reply,
    ScriptedProvider,
    ToolsDouble,
    make_context,
    make_services,
)

KINDS = [
    Plugin("llmspell.agents", "llm", "llmspell_agents:LLMAgent", "a", "1"),
    Plugin("llmspell.agents", "basic", "llmspell_agents:BasicAgent", "a", "1"),
    Plugin("llmspell.agents", "monitor", "llmspell_agents:MonitorAgent", "a", "1"),
]


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Figures:
    """What a test says."""

    def __init__(self) -> None:
        self.metrics: dict[str, float | None] = {}
        self.status = "healthy"
        self.errors: float | None = None

    def metric(self, name: str) -> float | None:
        return self.metrics.get(name)

    def health(self) -> str:
        return self.status

    def error_rate(self, seconds: float) -> float | None:
        return self.errors


def world(*script: Any) -> tuple[AgentHandle, ExecutionContext, Any]:
    services = make_services(
        plugins=KINDS,
        providers=ProvidersDouble(ScriptedProvider(*script)),
        tools=ToolsDouble(),
        events=EventsDouble(),
        hooks=HooksDouble(),
    )
    services.provide("agents", AgentService(services))
    context = make_context(services)
    kind = AgentBuilder("ada", model="scripted/m") if script else AgentBuilder.basic("ada")
    handle = AgentHandle(kind.build(services), HostDouble(context=context), lambda name: None)
    return handle, context, services


# Figures ------------------------------------------------------------------------------------------


def test_figures_are_those_of_what_happened() -> None:
    clock = Clock()
    done = Statistics(clock)
    for seconds, ok in ((1.0, True), (2.0, True), (3.0, False), (10.0, True)):
        began = done.begin()
        clock.now += seconds
        done.end(began, ok, Usage(10, 5, cost=0.5))
    began = done.begin()
    done.end(began, None)
    assert (done.total, done.failed, done.active) == (5, 1, 0)
    assert (done.tokens, done.cost) == (60, 2.0)
    found = done.performance()
    assert found == {
        "total_executions": 5,
        "avg_execution_time_ms": 4000.0,
        "success_rate": 0.75,
        "error_rate": 0.25,
        "min_ms": 1000.0,
        "max_ms": 10_000.0,
        "p50_ms": 2000.0,
        "p95_ms": 10_000.0,
        "p99_ms": 10_000.0,
        "executions_per_second": 4 / 60,
        "buckets": {
            **dict.fromkeys(("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5"), 0),
            "1.0": 1,
            "2.5": 2,
            "5.0": 3,
            "10.0": 4,
        },
    }
    clock.now += 30
    assert done.error_rate(35) == 0.0
    assert done.error_rate(41) == 0.5
    assert done.error_rate(1) is None


def test_the_score_is_success_and_how_short_ago_it_was() -> None:
    clock = Clock()
    done = Statistics(clock)
    assert done.score() == 0.5
    for ok in (True, False):
        done.end(done.begin(), ok)
    assert done.score() == pytest.approx(0.7 * 0.5 + 0.3)
    clock.now += 24 * 3600
    assert done.score() == pytest.approx(0.7 * 0.5 + 0.15)


def test_processor_and_memory_are_those_of_the_process() -> None:
    clock, used = Clock(), Clock()
    meter = ProcessMeter(None, clock, used)

    def passes(seconds: float, busy: float) -> float:
        clock.now += seconds
        used.now += seconds * busy
        return meter.cpu_percent()

    assert meter.cpu_percent() == 0.0
    assert passes(0.5, 0.5) == pytest.approx(50.0)
    assert meter.judged_cpu_percent() is None
    assert passes(0.5, 1.5) == pytest.approx(100.0)
    assert meter.judged_cpu_percent() == pytest.approx(100.0)
    # From here on nothing counts that is older than five seconds.
    for _ in range(10):
        last = passes(1.0, 2.0)
    assert last == pytest.approx(200.0)
    # A busy moment is not a busy second.
    assert passes(0.05, 0.0) == pytest.approx(200.0, abs=3)
    assert passes(100.0, 0.1) == pytest.approx(10.0, abs=0.1)
    assert meter.uptime == pytest.approx(111.05)
    before = meter.memory_bytes()
    block = b"x" * 50_000_000
    grown = meter.memory_bytes() - before
    assert 40_000_000 < grown < 80_000_000
    del block


async def test_calls_of_tools_are_counted_by_tool() -> None:
    handle, _, services = world()
    handle.agent.statistics.call("t", ok=True, milliseconds=2.0)
    handle.agent.statistics.call("t", ok=False, milliseconds=None)
    assert handle.agent.statistics.tools == {"t": [2, 1, 2.0]}
    assert handle.get_metrics()["tool_invocations"] == 2
    assert services.agents.monitor.figures(handle.agent).metric("tool_invocations") == 2


# Health -------------------------------------------------------------------------------------------


async def test_health_is_the_worst_of_what_is_looked_at() -> None:
    handle, context, _ = world(*["fine"] * 18, ProviderError("down"), "fine", "fine")
    assert handle.get_health()["status"] == "healthy"
    for _ in range(18):
        await handle.execute("x")
    with pytest.raises(ProviderError):
        await handle.execute("x")
    sick = handle.get_health()
    assert (sick["status"], sick["score"]) == ("unhealthy", 0)
    assert sick["message"] == (
        "the agent is in state Error: LLM provider error: down; 95% of the executions succeeded"
    )
    assert sick["checks"]["success"]["status"] == "degraded"
    await handle.execute("x")
    # 19 of 20 is as much as is asked for.
    assert handle.get_health()["status"] == "healthy"
    changes = [e.payload for e in context.services.events.published if "health" in e.topic]
    assert [(c["from"], c["to"]) for c in changes] == [
        ("healthy", "unhealthy"),
        ("unhealthy", "healthy"),
    ]


async def test_slow_answers_are_a_degraded_health() -> None:
    handle, _, _ = world()
    clock = Clock()
    handle.agent._figures = Statistics(clock)
    began = handle.agent.statistics.begin()
    clock.now += 6
    handle.agent.statistics.end(began, True)
    found = handle.get_health()
    assert found["status"] == "degraded"
    assert found["message"] == "executions take 6000 ms on the average"


# Alerts -------------------------------------------------------------------------------------------


def alerts(figures: Figures, clock: Clock, **rule: Any) -> tuple[Alerts, list[tuple[str, bool]]]:
    told: list[tuple[str, bool]] = []

    def deliver(alert: Alert) -> None:
        told.append((alert.rule.name, alert.resolved_at is None))

    made = Alerts(figures, deliver, clock, clock)
    made.configure(Rule.of({"name": "n", **rule}))
    return made, told


LOAD = {"type": "metric_threshold", "metric_name": "cpu_percent", "threshold": 80}


def test_a_condition_must_hold_for_its_duration_without_a_break() -> None:
    figures, clock = Figures(), Clock()
    made, told = alerts(figures, clock, condition={**LOAD, "duration_seconds": 60})
    for value, seconds in ((90, 0), (90, 59), (70, 30), (90, 30), (90, 59)):
        figures.metrics["cpu_percent"] = value
        clock.now += seconds
        made.evaluate()
    assert told == []
    clock.now += 1
    made.evaluate()
    assert told == [("n", True)]
    (alert,) = made.list()
    assert alert.to_dict() == {
        "name": "n",
        "severity": "warning",
        "message": "cpu_percent is 90; the limit is > 80",
        "timestamp": clock.now,
        "value": 90,
        "condition": "metric_threshold",
        "state": "active",
        "resolved_at": None,
    }


def test_after_an_alert_there_is_quiet_for_a_while() -> None:
    figures, clock = Figures(), Clock()
    figures.metrics["cpu_percent"] = 90
    rule = {"condition": {**LOAD, "duration_seconds": 0}, "cooldown_seconds": 100}
    made, told = alerts(figures, clock, **rule)
    made.evaluate()
    clock.now += 99
    made.evaluate()
    figures.metrics["cpu_percent"] = 10
    made.evaluate()
    assert told == [("n", True), ("n", False)]
    assert made.list()[0].to_dict()["state"] == "resolved"
    figures.metrics["cpu_percent"] = 90
    made.evaluate()
    assert len(told) == 2
    clock.now += 1
    made.evaluate()
    assert told[2:] == [("n", True)]


def test_what_is_older_than_a_day_is_forgotten() -> None:
    figures, clock = Figures(), Clock()
    figures.metrics["cpu_percent"] = 90
    made, _ = alerts(figures, clock, condition={**LOAD, "duration_seconds": 0})
    made.evaluate()
    clock.now += 86_401
    assert made.list() == []


@pytest.mark.parametrize(
    ("operator", "value", "holds"),
    [
        (">", 80, False), (">", 81, True), ("<", 80, False), ("<", 79, True), (">=", 80, True),
        ("<=", 80, True), ("==", 80, True), ("==", 81, False), ("!=", 81, True), (">", None, False),
    ],
)  # fmt: skip
def test_a_threshold_is_compared_as_it_says(operator: str, value: Any, holds: bool) -> None:
    figures, clock = Figures(), Clock()
    figures.metrics["cpu_percent"] = value
    condition = {**LOAD, "operator": operator, "duration_seconds": 0}
    made, told = alerts(figures, clock, condition=condition)
    made.evaluate()
    assert bool(told) is holds


@pytest.mark.parametrize(
    ("condition", "status", "errors", "holds"),
    [
        ({"type": "health_status", "status": "degraded"}, "degraded", None, True),
        ({"type": "health_status", "status": "degraded"}, "unhealthy", None, True),
        ({"type": "health_status", "status": "Unhealthy"}, "degraded", None, False),
        ({"type": "health_status", "status": "healthy"}, "healthy", None, True),
        ({"type": "error_rate", "rate_percent": 10}, "healthy", 0.2, True),
        ({"type": "error_rate", "rate_percent": 10}, "healthy", 0.1, False),
        ({"type": "error_rate", "rate_percent": 10}, "healthy", None, False),
    ],
)
def test_health_and_error_rates_are_conditions_too(
    condition: dict[str, Any], status: str, errors: float | None, holds: bool
) -> None:
    figures, clock = Figures(), Clock()
    figures.status, figures.errors = status, errors
    made, told = alerts(figures, clock, condition={**condition, "duration_seconds": 0})
    made.evaluate()
    assert bool(told) is holds


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (5, "an alert must be a table"),
        ({"name": "n"}, "needs 'condition'"),
        ({"condition": LOAD}, "needs 'name'"),
        ({"name": " ", "condition": LOAD}, "name of an alert must be text"),
        ({"name": "n", "condition": 5}, "condition of an alert must be a table"),
        ({"name": "n", "condition": {"type": "odd"}}, "Unknown alert condition type: odd"),
        ({"name": "n", "condition": {**LOAD, "metric_name": "cpu"}}, "metric_name must be one of"),
        ({"name": "n", "condition": {**LOAD, "operator": "~"}}, "operator must be one of"),
        ({"name": "n", "condition": {**LOAD, "threshold": "x"}}, "threshold must be a number"),
        ({"name": "n", "condition": {**LOAD, "threshold": None}}, "needs 'threshold'"),
        ({"name": "n", "condition": {**LOAD, "duration_seconds": -1}}, "must be at least 0"),
        ({"name": "n", "condition": LOAD, "severity": "bad"}, "severity must be one of"),
        ({"name": "n", "condition": LOAD, "enabled": "no"}, "enabled must be true or false"),
        ({"name": "n", "condition": LOAD, "colour": 1}, "no option 'colour'"),
        ({"name": "n", "condition": {"type": "error_rate"}}, "needs 'rate_percent'"),
        ({"name": "n", "condition": {"type": "health_status"}}, "status must be one of"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(rule: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Rule.of(rule)


async def test_an_alert_is_told_to_log_bus_and_hooks(caplog: pytest.LogCaptureFixture) -> None:
    handle, _, services = world()
    heard: list[Any] = []
    rung = asyncio.Event()

    async def hear(point: str, data: Mapping[str, Any], context: ExecutionContext) -> None:
        heard.append((point, data["metric"], data["value"], data["threshold"], data["agent_name"]))
        rung.set()

    services.hooks.register("PerformanceThresholdExceeded", hear)
    condition = {
        "type": "metric_threshold",
        "metric_name": "requests_total",
        "operator": "==",
        "threshold": 1,
        "duration_seconds": 0,
    }
    with caplog.at_level(logging.INFO, "llmspell.agents"):
        await handle.configure_alerts({"name": "n", "severity": "error", "condition": condition})
        await handle.execute("x")
        await handle.execute("y")
        await asyncio.wait_for(rung.wait(), 5)
    told = [(e.topic, e.payload["name"]) for e in services.events.published if "alert" in e.topic]
    assert told == [("agent.alert_raised", "n"), ("agent.alert_resolved", "n")]
    assert heard == [("PerformanceThresholdExceeded", "requests_total", 1, 1.0, "ada")]
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("ERROR", "alert 'n' of agent 'ada' raised: requests_total is 1; the limit is == 1"),
        ("INFO", "alert 'n' of agent 'ada' resolved: requests_total is 1; the limit is == 1"),
    ]
    assert [alert["state"] for alert in await handle.get_alerts()] == ["resolved"]


async def test_an_agent_is_watched_while_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmspell_agents._alerts._PERIOD_SECONDS", 0.001)
    handle, _, services = world()
    raised = asyncio.Event()
    services.events.subscribe("agent.alert_raised", lambda event: raised.set())
    condition = {"type": "metric_threshold", "metric_name": "requests_total", "operator": ">=",
                 "threshold": 7, "duration_seconds": 0}  # fmt: skip
    await handle.configure_alerts({"name": "n", "condition": condition})
    handle.agent.statistics.total = 7
    await asyncio.wait_for(raised.wait(), 5)
    timer = handle.agent.alerts._timer
    assert timer is not None
    await handle.destroy()
    assert handle.agent.alerts._timer is None
    assert timer.cancelled()


async def test_closing_the_services_ends_the_watch() -> None:
    handle, _, services = world()
    await handle.configure_alerts({"name": "n", "condition": LOAD})
    timer = handle.agent.alerts._timer
    assert timer is not None
    await services.aclose()
    assert timer.cancelled()


async def test_an_event_of_the_scripts_own_is_told() -> None:
    handle, _, services = world()
    assert handle.log_event("step.done", "half of it") is True
    (event,) = [e for e in services.events.published if e.topic == "agent.step.done"]
    assert event.payload == {
        "agent_id": handle.get_id(),
        "agent_name": "ada",
        "message": "half of it",
    }
    for word in ("", "two words", "a..b", "x/y"):
        with pytest.raises(ValidationError, match="words with dots"):
            handle.log_event(word, "x")


# The agent that looks after others ---------------------------------------------------------------


async def test_a_monitor_reports_and_raises_alerts() -> None:
    handle, context, services = world("fine", ProviderError("down"))
    AgentBuilder.basic("other").build(services)
    options = {"error_rate_percent": 10, "cpu_percent": 100_000, "memory_mb": 1_000_000}
    monitor = AgentBuilder("watch", "monitor", custom_config=options).build(services)
    await handle.execute("x")
    calm = await monitor.execute("how is everybody?", context)
    assert calm.data["status"] == "healthy"
    assert (sorted(calm.data["agents"]), calm.data["alerts"]) == (["ada", "other"], [])
    with pytest.raises(ProviderError):
        await handle.execute("x")
    output = await monitor.execute("and now?", context)
    assert output.data["status"] == "unhealthy"
    assert [(a["agent"], a["name"]) for a in output.data["alerts"]] == [
        ("ada", "errors"),
        ("ada", "health"),
    ]
    assert "- ada: unhealthy" in output.text
    assert "! error: health of ada: the agent is unhealthy" in output.text
    assert output.data["agents"]["ada"]["metrics"]["requests_failed"] == 1
    # Told once, then there is quiet for a while.
    assert (await monitor.execute("still?", context)).data["alerts"] == []
    told = [e.payload["name"] for e in services.events.published if e.topic == "agent.alert_raised"]
    assert told == ["errors", "health"]


async def test_a_monitor_can_look_after_some_only() -> None:
    _, context, services = world()
    options = {"agents": ["ada", "nobody"]}
    monitor = AgentBuilder("watch", "monitor", custom_config=options).build(services)
    AgentBuilder.basic("other").build(services)
    output = await monitor.execute("?", context)
    assert (list(output.data["agents"]), output.data["missing"]) == (["ada"], ["nobody"])
    assert "- nobody: there is no such agent" in output.text


async def test_usage_of_models_is_among_the_figures() -> None:
    handle, _, _ = world(Reply("a", usage=Usage(7, 3, cost=0.25)), Reply("b", usage=Usage(1, 1)))
    await handle.execute("x")
    await handle.execute("y")
    metrics = handle.get_metrics()
    assert (metrics["tokens"], metrics["cost"], metrics["requests_total"]) == (12, 0.25, 2)
