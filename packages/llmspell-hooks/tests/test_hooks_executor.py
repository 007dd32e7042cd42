import asyncio
import logging

import pytest

from llmspell_core import (
    CONTINUE,
    ExecutionCancelled,
    ExecutionContext,
    HookOutcome,
    Plugin,
    PluginIndex,
    Services,
    ValidationError,
)
from llmspell_hooks import POINTS, HookInfo, HookService, resolve_point


@pytest.fixture
def context():
    return ExecutionContext(Services())


def test_the_43_standard_points_and_those_of_kernel_and_artifacts_are_known():
    standard = [
        p for group, names in POINTS.items() if group not in ("kernel", "artifact") for p in names
    ]
    assert len(standard) == len(set(standard)) == 43
    for names in POINTS.values():
        for point in names:
            assert resolve_point(point) == point


@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("before_tool_execution", "BeforeToolExecution"),
        ("BeforeToolInvocation", "BeforeToolExecution"),
        ("on_agent_error", "AgentError"),
        ("BeforeStep", "BeforeWorkflowStage"),
        ("after_workflow_step", "AfterWorkflowStage"),
        ("OnSessionCreate", "SessionStart"),
        ("artifact:before_create", "artifact:before_create"),
        ("custom:anything.at all", "custom:anything.at all"),
    ],
)
def test_a_point_goes_by_several_names(name, point):
    assert resolve_point(name) == point


@pytest.mark.parametrize("name", ["", "custom:", "BeforeToolExecutions", "nonsense"])
def test_an_unknown_point_is_refused_with_advice(name):
    with pytest.raises(ValidationError, match=f"Unknown hook point: {name}") as caught:
        HookService().register(name, _never)
    assert caught.value.hint


async def _never(point, data, context):
    raise AssertionError("must not run")


def test_something_that_cannot_be_called_is_no_hook():
    with pytest.raises(ValidationError, match="callable"):
        HookService().register("ToolError", "print")  # type: ignore[arg-type]


async def test_smaller_priorities_run_first_and_equal_ones_in_order(context):
    hooks = HookService()
    ran: list[str] = []

    def hook(name):
        async def run(point, data, context):
            ran.append(name)

        return run

    for name, priority in [("low", 100), ("first", 0), ("high", -100), ("second", 0)]:
        hooks.register("ToolError", hook(name), priority=priority, name=name)
    assert await hooks.run("ToolError", {}, context) is CONTINUE
    assert ran == ["high", "first", "second", "low"]
    assert [info.name for info in hooks.list("tool_error")] == ran


async def test_modifications_are_merged_and_seen_by_the_next_hook(context):
    hooks = HookService()

    async def add(point, data, context):
        return HookOutcome("modified", data={"b": data["a"] + 1})

    async def again(point, data, context):
        return HookOutcome("modified", data={"c": data["b"] + 1})

    async def bare(point, data, context):
        return HookOutcome("modified", data="text")

    for hook in (add, again, bare):
        hooks.register("BeforeToolExecution", hook)
    given = {"a": 1}
    outcome = await hooks.run("BeforeToolExecution", given, context)
    assert outcome == HookOutcome("modified", data={"a": 1, "b": 2, "c": 3, "value": "text"})
    assert given == {"a": 1}


@pytest.mark.parametrize(
    "decision",
    [HookOutcome("cancel", reason="no"), HookOutcome("skip"), HookOutcome("replace", data=42)],
)
async def test_a_decision_ends_the_round(context, decision):
    hooks = HookService()

    async def decide(point, data, context):
        return decision

    hooks.register("AgentError", decide)
    hooks.register("AgentError", _never, priority=1)
    assert await hooks.run("AgentError", {}, context) is decision


async def test_a_failing_hook_is_logged_and_the_round_goes_on(context, caplog):
    hooks = HookService()

    async def broken(point, data, context):
        raise RuntimeError("boom")

    async def wrong(point, data, context):
        return {"action": "cancel"}

    async def slow_error(point, data, context):
        raise TimeoutError("its own")

    async def good(point, data, context):
        return HookOutcome("replace", data=1)

    for hook in (broken, wrong, slow_error, good):
        hooks.register("custom:mine", hook)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING, "llmspell.hooks"):
        outcome = await hooks.run("custom:mine", {}, context)
    assert outcome == HookOutcome("replace", data=1)
    assert [r.message for r in caplog.records] == [
        "hook 'broken' at custom:mine failed",
        "hook 'wrong' at custom:mine answered dict, not a HookOutcome",
        "hook 'slow_error' at custom:mine failed",
    ]


async def test_cancellation_is_not_swallowed(context):
    hooks = HookService()

    async def cancelled(point, data, context):
        raise ExecutionCancelled("stop")

    hooks.register("ToolError", cancelled)
    with pytest.raises(ExecutionCancelled):
        await hooks.run("ToolError", {}, context)


async def test_a_hook_over_its_budget_is_warned_about_and_a_hanging_one_cut_off(context, caplog):
    ticks = iter([0.0, 0.2, 1.0, 1.01])
    hooks = HookService(budget_seconds=0.1, clock=lambda: next(ticks))

    async def slow(point, data, context):
        return None

    hooks.register("ToolError", slow)
    with caplog.at_level(logging.WARNING, "llmspell.hooks"):
        await hooks.run("ToolError", {}, context)
        await hooks.run("ToolError", {}, context)
    assert [r.message for r in caplog.records] == [
        "hook 'slow' at ToolError took 200 ms; its budget is 100 ms"
    ]

    caplog.clear()
    hanging = HookService(budget_seconds=0.001)

    async def hang(point, data, context):
        await asyncio.Event().wait()

    hanging.register("ToolError", hang)
    with caplog.at_level(logging.WARNING, "llmspell.hooks"):
        assert await hanging.run("ToolError", {}, context) is CONTINUE
    assert [r.message for r in caplog.records] == [
        "hook 'hang' at ToolError was cut off after 0.01 s"
    ]


async def test_an_unregistered_hook_is_gone(context):
    hooks = HookService()
    first = hooks.register("before_tool_execution", _never, name="a")
    second = hooks.register("BeforeToolExecution", _never, name="b")
    assert hooks.wants("BeforeToolExecution")
    assert hooks.unregister(first)
    assert [i.id for i in hooks.list()] == [second]
    assert hooks.unregister(second)
    assert not hooks.unregister(second)
    assert not hooks.wants("BeforeToolExecution")
    assert await hooks.run("BeforeToolExecution", {}, context) is CONTINUE


async def installed(point, data, context):
    return HookOutcome("cancel", reason=f"installed at {point}")


installed.priority = -5  # type: ignore[attr-defined]


async def test_installed_hooks_are_loaded_at_the_first_question(context, monkeypatch, caplog):
    import sys
    import types

    module = types.ModuleType("hooks_of_a_stranger")
    module.installed = installed  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hooks_of_a_stranger", module)
    plugins = [
        Plugin("llmspell.hooks", name, f"hooks_of_a_stranger:{attribute}", "stranger", "1.0")
        for name, attribute in [
            ("ToolError.audit", "installed"),
            ("before_tool_execution", "installed"),
            ("Nonsense.audit", "installed"),
            ("AgentError", "missing"),
        ]
    ]
    hooks = Services(plugins=PluginIndex(plugins + list(_services()))).hooks
    with caplog.at_level(logging.WARNING):
        assert hooks.wants("ToolError")
    assert hooks.wants("BeforeToolExecution")
    assert not hooks.wants("AgentError")
    assert await hooks.run("ToolError", {}, context) == HookOutcome(
        "cancel", reason="installed at ToolError"
    )
    assert isinstance(hooks, HookService)
    (info,) = hooks.list("ToolError")
    assert info == HookInfo(info.id, "ToolError", "ToolError.audit", -5, "stranger")
    assert "'Nonsense.audit' of stranger is left out: Unknown hook point: Nonsense" in caplog.text
    assert "'AgentError' (llmspell.hooks) of stranger 1.0 cannot be loaded" in caplog.text


def _services():
    plugin = PluginIndex().find("llmspell.services", "hooks")
    assert plugin is not None
    yield plugin
