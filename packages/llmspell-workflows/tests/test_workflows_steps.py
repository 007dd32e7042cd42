import asyncio
import logging

import pytest

from llmspell_core import (
    AgentInput,
    Event,
    ExecutionCancelled,
    HookOutcome,
    ValidationError,
    WorkflowError,
)
from llmspell_testing import EventsDouble, HooksDouble
from llmspell_workflows import (
    ErrorStrategy,
    Options,
    SequentialWorkflow,
    Step,
    WorkflowFailed,
    WorkflowOutput,
)

OK = {"name": "ok", "tool": "echo", "input": {"input": "fine"}}
BAD = {"name": "bad", "tool": "fail", "input": {}}
AFTER = {"name": "after", "tool": "echo", "input": {"input": "later"}}


def statuses(result):
    return [(s["name"], s["success"], s["skipped"]) for s in result["steps"].items]


async def test_fail_fast_stops_at_the_first_failed_step(world):
    result = await world.run(OK, BAD, AFTER)
    assert statuses(result) == [("ok", True, False), ("bad", False, False)]
    assert (result["success"], result["status"], result["failed_step"]) == (False, "failed", "bad")
    assert result["last_completed_step"] == "ok"
    assert result["error"] == (
        "Workflow execution error: Step 'bad' failed: Tool execution error: broken"
    )
    assert "failed" in result["text"]
    assert result["outputs"] == {"ok": "fine"}


@pytest.mark.parametrize("strategy", ["continue", "skip"])
async def test_continue_goes_on_and_ends_as_partial(world, strategy):
    result = await world.run(OK, BAD, AFTER, error_strategy=strategy)
    assert statuses(result) == [("ok", True, False), ("bad", False, False), ("after", True, False)]
    assert (result["success"], result["status"], result["partial_success"]) == (
        False,
        "partial",
        True,
    )
    assert result["failed_step"] == "bad"
    assert (result["steps_executed"], result["steps_succeeded"], result["steps_failed"]) == (
        3,
        2,
        1,
    )


async def test_a_step_may_go_on_where_the_workflow_would_not(world):
    result = await world.run({**BAD, "on_error": "skip"}, AFTER)
    assert result["status"] == "partial"
    result = await world.run({**BAD, "on_error": "fail"}, AFTER, error_strategy="continue")
    assert result["status"] == "failed"


async def test_a_step_that_is_not_required_does_not_count(world):
    result = await world.run({**BAD, "required": False}, AFTER)
    assert (result["success"], result["status"], result["steps_failed"]) == (True, "completed", 1)


class Flaky:
    def __init__(self, failures, error=WorkflowError):
        self.calls = 0
        self.failures = failures
        self.error = error

    def __call__(self, *args):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(f"attempt {self.calls}")
        return f"after {self.calls}"


async def test_a_step_is_retried_as_often_as_it_says(world):
    flaky, told = Flaky(2), []
    step = {
        "name": "it",
        "execute": flaky,
        "retry_count": 2,
        "on_error": {"type": "retry", "backoff_ms": 0},
        "on_retry": lambda attempt, error: told.append((attempt, error)),
    }
    result = await world.run(step)
    assert result["outputs"] == {"it": "after 3"}
    assert result["steps"].items[0]["retry_count"] == 2
    assert told == [
        (1, "Workflow execution error: attempt 1"),
        (2, "Workflow execution error: attempt 2"),
    ]


async def test_the_strategy_retry_gives_three_attempts_and_then_fails(world):
    flaky = Flaky(99)
    result = await world.run(
        {"name": "it", "execute": flaky}, error_strategy={"type": "retry", "backoff_ms": 0}
    )
    assert flaky.calls == 3
    assert (
        "All retries exhausted for step it: Workflow execution error: attempt 3" in result["error"]
    )


async def test_what_a_retry_cannot_help_is_not_retried(world):
    for error in (ValidationError, PermissionError):
        flaky = Flaky(99, error)
        await world.run(
            {"name": "it", "execute": flaky}, error_strategy={"type": "retry", "backoff_ms": 0}
        )
        assert flaky.calls == (1 if error is ValidationError else 3)


async def test_waiting_between_attempts_grows_and_is_an_effect(world):
    from llmspell_testing import LedgerDouble, recording_context

    ledger = LedgerDouble()
    world.host.context = recording_context(ledger, world.services)
    await world.run(
        {"name": "it", "execute": Flaky(3)},
        error_strategy={
            "type": "retry",
            "max_attempts": 4,
            "backoff_ms": 1,
            "backoff_multiplier": 2,
        },
    )
    waits = [e.intent.request for e in ledger.effects("run") if e.intent.kind == "clock.sleep"]
    assert waits == ["0.001", "0.002", "0.004"]


async def test_an_error_handler_puts_an_output_in_place_of_the_failure(world):
    seen = []

    def handler(error, context):
        seen.append((error, context.step_name))
        return {"instead": True}

    result = await world.run({**BAD, "on_error": handler}, AFTER)
    assert result["success"]
    assert result["outputs"] == {"bad": {"instead": True}, "after": "later"}
    assert seen == [("Tool execution error: broken", "bad")]

    result = await world.run({**BAD, "on_error": lambda error, context: None})
    assert result["failed_step"] == "bad"

    def worse(error, context):
        raise RuntimeError("the handler itself")

    result = await world.run({**BAD, "on_error": worse})
    assert "the handler itself" in result["error"]


async def test_a_step_ends_with_its_time_out_and_the_run_with_its_own(world):
    async def hang(**_):
        await asyncio.Event().wait()

    world.tool("hang", hang)
    called = []

    async def forever(context, _):
        await asyncio.Event().wait()

    result = await world.run({"name": "it", "execute": forever, "timeout_ms": 10})
    assert result["status"] == "failed"
    assert "step 'it' timed out after 0.01s" in result["error"]

    result = await world.run(
        OK,
        {"name": "it", "tool": "hang"},
        timeout_ms=20,
        on_timeout=lambda c: called.append(c.outputs),
    )
    assert result["status"] == "timeout"
    assert "Workflow 'w' exceeded maximum execution time" in result["error"]
    assert result["outputs"] == {"ok": "fine"}
    assert called == [{"ok": "fine"}]

    result = await world.run({"name": "it", "execute": forever}, input={"timeout_ms": 10})
    assert result["status"] == "timeout"


async def test_callbacks_are_called_in_their_places(world):
    log = []

    def note(what):
        def function(*args):
            log.append((what, *[a if isinstance(a, int | str) else type(a).__name__ for a in args]))

        return function

    step = {
        **OK,
        "before_execute": note("before_execute"),
        "after_execute": note("after_execute"),
        "on_complete": note("on_complete"),
    }
    workflow = world.face.sequential(
        {
            "name": "w",
            "steps": [step],
            "on_start": note("on_start"),
            "on_complete": note("on_complete of all"),
            "on_step_start": note("on_step_start"),
            "on_step_complete": note("on_step_complete"),
        }
    )
    assert workflow.on_before_execute(note("before"))["hook_type"] == "before_execute"
    assert workflow.on_after_execute(note("after"))["hook_type"] == "after_execute"
    assert workflow.on_error(note("error"))["hook_type"] == "on_error"
    await world.execute(workflow)
    assert log == [
        ("on_start", "StepView"),
        ("before", "StepView"),
        ("on_step_start", "StepView"),
        ("before_execute", "StepView"),
        ("after_execute", "StepView", "Record"),
        ("on_complete", "Record"),
        ("on_step_complete", "Record"),
        ("on_complete of all", "Record"),
        ("after", "Record"),
    ]


async def test_a_failed_run_calls_the_error_callbacks_and_undoes_what_was_done(world):
    log = []
    steps = [
        {**OK, "name": n, "compensate": lambda c, r, n=n: log.append((n, r.fields["output"]))}
        for n in ("one", "two")
    ]
    await world.run(
        *steps,
        {**BAD, "compensate": lambda c, r: log.append("never")},
        on_error=lambda error, context: log.append(error),
    )
    assert log == [
        ("two", "fine"),
        ("one", "fine"),
        "Workflow execution error: Step 'bad' failed: Tool execution error: broken",
    ]
    log.clear()
    await world.run(*steps)
    assert log == []


async def test_an_observer_that_fails_is_logged_and_harmless(world, caplog):
    def wrong(*_):
        raise RuntimeError("observer")

    with caplog.at_level(logging.WARNING, "llmspell.workflows"):
        result = await world.run({**OK, "on_complete": wrong}, on_complete=wrong)
    assert result["success"]
    assert caplog.text.count("RuntimeError: observer") == 2

    result = await world.run({**OK, "before_execute": wrong})
    assert result["failed_step"] == "ok"


async def test_functions_see_the_run_and_change_its_state(world):
    def first(context, parameters):
        context.state["count"] = 1
        context.shared["direct"] = "x"
        return {
            "input": context.input,
            "variables": context.variables,
            "previous": context.previous,
            "ids": [bool(context.workflow_id), bool(context.execution_id)],
            "names": [context.workflow_name, context.step_name, context.name, context.branch],
            "loop": [
                context.index,
                context.loop_index,
                context.current_item,
                context.current_value,
            ],
            "loop2": [context.iteration, context.loop_value, context.total_iterations],
            "got": [
                context.get("topic"),
                context.get("nothing"),
                context.get("state.count"),
                context.get("shared.direct"),
                context.get("weird name!"),
            ],
            "iterations": context.iteration_outputs,
            "parameters": parameters,
        }

    def second(context, _):
        context.state["count"] += 1
        return context.state["count"]

    outputs = await world.outputs(
        OK,
        {"name": "first", "execute": first, "parameters": {"p": "{{topic}}"}},
        {"name": "second", "execute": second},
        input={"topic": "owls"},
        variables={"v": 1},
    )
    assert outputs["first"] == {
        "input": {"topic": "owls"},
        "variables": {"v": 1},
        "previous": "fine",
        "ids": [True, True],
        "names": ["w", "first", "first", None],
        "loop": [None, None, None, None],
        "loop2": [None, None, None],
        "got": ["owls", None, 1, "x", None],
        "iterations": [],
        "parameters": {"p": "owls"},
    }
    assert outputs["second"] == 2


async def test_a_function_may_report_failure_or_hand_out_an_output(world):
    outputs = await world.outputs(
        {"name": "a", "execute": lambda c, p: {"success": True, "output": 5}},
        {"name": "b", "execute": lambda c, p: {"success": True, "x": 1}},
        {
            "name": "c",
            "function": lambda parameters, context: parameters["k"],
            "parameters": {"k": 2},
        },
        {"name": "d", "function": lambda context, parameters: context.step_name},
        {"name": "e", "handler": lambda context, parameters: (1, {"z"})},
    )
    assert outputs == {"a": 5, "b": {"success": True, "x": 1}, "c": 2, "d": "d", "e": [1, ["z"]]}
    result = await world.run(
        {"name": "a", "execute": lambda c, p: {"success": False, "error": "sorry"}}
    )
    assert "sorry" in result["error"]
    result = await world.run({"name": "a", "execute": lambda c, p: {"success": False}})
    assert "reported a failure" in result["error"]
    result = await world.run({"name": "a", "execute": lambda c, p: object()})
    assert "returned object, which has no JSON form" in result["error"]


async def test_functions_may_be_async_and_plain_ones_do_not_hold_up_the_loop(world):
    import threading

    released = threading.Event()

    async def release(parameters, context):
        released.set()
        return threading.current_thread() is threading.main_thread()

    def wait(parameters, context):
        assert released.wait(10)
        return threading.current_thread() is threading.main_thread()

    result = await world.execute(
        world.face.parallel(
            {
                "name": "p",
                "steps": [
                    {"name": "wait", "function": wait, "parameters": {"a": 1}},
                    {"name": "release", "function": release, "parameters": {"a": 1}},
                ],
            }
        )
    )
    assert result["outputs"] == {"wait": False, "release": True}


async def test_a_registered_function_is_called_by_its_name(world):
    world.workflows.register_function("double", lambda parameters, context: parameters["n"] * 2)
    outputs = await world.outputs(
        {"name": "a", "function": "double", "parameters": {"n": "{{input.n}}"}}, input={"n": 4}
    )
    assert outputs == {"a": 8}
    result = await world.run({"name": "a", "function": "unknown"})
    assert "Function 'unknown' not found in registry" in result["error"]
    for name, function in (("", print), ("x", "no function")):
        with pytest.raises(ValidationError):
            world.workflows.register_function(name, function)


async def test_an_agent_gets_its_prompt_filled_and_variables_of_its_own(world):
    agent = world.agent("poet", lambda text: f"about {text}")

    class Handle:
        def __init__(self):
            self.agent = agent

    class Named:
        name = "poet"

    outputs = await world.outputs(
        {"name": "a", "agent": "shouter", "input": "say {{input.topic}}"},
        {
            "name": "b",
            "agent": "shouter",
            "prompt": "{{who}} {{topic}}",
            "variables": {"who": "you"},
        },
        {
            "name": "c",
            "agent": agent,
            "input": {"prompt": "{{a.output}}", "temperature": 0, "variables": {"v": 1}},
        },
        {"name": "d", "agent": Handle(), "input": {"text": "x"}},
        {"name": "e", "agent": Named(), "input": "y"},
        {"name": "f", "agent": agent, "input": "$input.n"},
        input={"topic": "owls", "n": 3},
    )
    assert outputs == {
        "a": "SAY OWLS",
        "b": "YOU OWLS",
        "c": "about SAY OWLS",
        "d": "about x",
        "e": "about y",
        "f": "about 3",
    }
    assert agent.asked[0] == AgentInput("SAY OWLS", {"temperature": 0, "variables": {"v": 1}})
    result = await world.run({"name": "a", "agent": "shouter", "input": "x"})
    assert result["metadata"]["extra"]["agent_outputs"] == {"shouter": "X"}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"tool": "ecko"}, "Tool 'ecko' not found in registry"),
        ({"agent": "shouterr", "input": "x"}, "Agent 'shouterr' not found in registry"),
        ({"workflow": "nobody"}, "Workflow 'nobody' not found in registry"),
        ({"agent": "shouter", "input": "{{input.blank}}"}, "Agent input cannot be empty"),
        ({"tool": "echo", "input": "{{input.blank}}"}, "must be a table, not str"),
        ({"workflow": object()}, "cannot run object as a workflow"),
    ],
)
async def test_what_a_step_needs_and_does_not_find_is_its_failure(world, step, message):
    result = await world.run({"name": "it", **step}, input={"blank": " "})
    assert result["failed_step"] == "it"
    assert message in result["error"]


async def test_workflows_run_inside_workflows_to_a_depth(world):
    inner = world.face.sequential(
        {
            "name": "inner",
            "steps": [{"name": "x", "tool": "echo", "input": {"input": "{{input.v}}!"}}],
        }
    )
    outputs = await world.outputs(
        {"name": "by name", "workflow": "inner", "input": {"v": "{{input.v}}"}},
        {"name": "by id", "workflow": inner.id, "input": {"v": 2}},
        {"name": "by handle", "workflow": inner},
        {"name": "itself", "workflow": inner.workflow, "input": {"v": 4}},
        input={"v": 1},
    )
    assert outputs == {"by name": "1!", "by id": "2!", "by handle": "1!", "itself": "4!"}

    failing = world.face.sequential({"name": "failing", "steps": [BAD]})
    result = await world.run({"name": "it", "workflow": failing})
    assert "Step 'it' failed: Workflow execution error: Step 'bad' failed" in result["error"]
    partial = world.face.sequential(
        {"name": "partial", "steps": [BAD], "error_strategy": "continue"}
    )
    assert not (await world.run({"name": "it", "workflow": partial}))["success"]

    world.face.sequential({"name": "endless", "steps": [{"name": "again", "workflow": "endless"}]})
    result = await world.execute(world.face.get("endless"), {"x": 1})
    assert "workflow nesting limit of 10 exceeded" in result["error"]


async def test_nested_plans_share_the_names_of_the_run(world):
    result = await world.run(
        OK,
        {
            "name": "fan",
            "type": "parallel",
            "branches": [
                {
                    "name": "l",
                    "steps": [
                        {"name": "inside", "tool": "echo", "input": {"input": "{{ok.output}}-l"}}
                    ],
                },
                {
                    "name": "r",
                    "steps": [
                        {"name": "inside", "tool": "echo", "input": {"input": "{{ok.output}}-r"}},
                        {
                            "name": "second",
                            "tool": "echo",
                            "input": {"input": "{{inside.output}}2"},
                        },
                    ],
                },
            ],
        },
        {
            "name": "maybe",
            "type": "conditional",
            "branches": [
                {
                    "name": "b",
                    "condition": "second == 'fine-r2'",
                    "steps": [{**OK, "name": "taken"}],
                }
            ],
        },
        {
            "name": "rounds",
            "type": "loop",
            "iterator": {"collection": "{{input.items}}"},
            "body": [
                {"name": "r", "tool": "echo", "input": {"input": "{{taken.output}}{{loop_value}}"}}
            ],
        },
        {"name": "chain", "type": "sequential", "steps": [{**OK, "name": "link"}]},
        {"name": "it", "tool": "echo", "input": {"input": "{{fan.output}}"}},
        input={"items": [1, 2]},
    )
    assert result["success"], result["error"]
    assert result["outputs"]["fan"] == {"l": "fine-l", "r": "fine-r2"}
    assert result["outputs"]["rounds"] == "fine2"
    assert result["outputs"]["chain"] == "fine"
    assert result["output"] == {"l": "fine-l", "r": "fine-r2"}
    result = await world.run({"name": "n", "type": "sequential", "steps": [BAD]}, AFTER)
    assert "Step 'n' failed: Workflow execution error: Step 'bad' failed" in result["error"]


async def test_every_step_is_written_to_state_at_once_under_three_names(world):
    writes = []
    original = world.state.set_many

    async def set_many(scope, values, context):
        writes.append(dict(values))
        await original(scope, values, context)

    world.state.set_many = set_many
    workflow = world.face.sequential(
        {
            "name": "report",
            "steps": [
                OK,
                {"name": "ask", "agent": "shouter", "input": "hi"},
                {"name": "share", "execute": lambda c, p: c.set("k", [1])},
                {"name": "../odd\\name/" + "x" * 300, "tool": "echo", "input": {"input": 1}},
            ],
        }
    )
    result = await world.execute(workflow)
    assert result["success"], result["error"]
    assert len(writes) == 5
    execution = result["execution_id"]
    for owner in (execution, workflow.id, "report"):

        async def read(key, owner=owner):
            return await world.state.get("workflow", f"{owner}:{key}", world.context)

        record = await read("ok")
        assert {k: record[k] for k in ("step_name", "output", "retry_count")} == {
            "step_name": "ok",
            "output": "fine",
            "retry_count": 0,
        }
        assert await read("ok:output") == "fine"
        assert await read("step:echo:output") == 1
        assert (await read("step:echo:metadata"))["tool"] == "echo"
        assert await read("agent:shouter:output") == "HI"
        assert (await read("agent:shouter:metadata"))["model"] == "double"
        assert await read("final_output") == 1
        assert (await read("state"))["status"] == "completed"
        assert await read("error") is None
    assert await world.state.get("workflow", f"{workflow.id}:shared:k", world.context) == [1]
    assert await workflow.get_state("ok:output") == "fine"


async def test_without_a_state_store_everything_else_is_the_same(world):
    from llmspell_testing import make_context, make_services

    services = make_services(tools=world.tools)
    result = await SequentialWorkflow(
        "w", [Step.tool("a", "echo", {"input": "{{state.x}} {{n}}"})]
    ).run({"n": 1}, make_context(services))
    assert result.outputs == {"a": "{{state.x}} 1"}


async def test_a_state_store_that_cannot_write_fails_the_run(world):
    from llmspell_core import StorageError

    calls = []

    async def set_many(scope, values, context):
        calls.append(values)
        if len(calls) == 1:
            raise StorageError("disk full", operation="write")

    world.state.set_many = set_many
    result = await world.run(OK, AFTER)
    assert result["status"] == "failed"
    assert "disk full" in result["error"]


async def test_listeners_are_told_and_hooks_may_interfere(world):
    events = EventsDouble()
    hooks = HooksDouble()
    world.services.provide("events", events)
    world.services.provide("hooks", hooks)
    seen = []

    async def before(point, data, context):
        seen.append((point, data["step_name"], data["step_type"], data["workflow_name"]))
        return {
            "cancelled": HookOutcome("cancel", reason="not today"),
            "skipped": HookOutcome("skip"),
            "replaced": HookOutcome("replace", data={"by": "hook"}),
            "modified": HookOutcome("modified", data={**data, "input": {"input": "changed"}}),
            "called": HookOutcome("modified", data={**data, "input": {"p": 1}}),
        }.get(data["step_name"])

    async def after(point, data, context):
        if data["step_name"] == "ok":
            return HookOutcome("modified", data={**data, "output": "better"})
        if data["step_name"] == "modified":
            return HookOutcome("replace", data="best")
        return None

    hooks.register("BeforeWorkflowStage", before)
    hooks.register("AfterWorkflowStage", after)
    result = await world.run(
        OK,
        {**OK, "name": "skipped"},
        {**OK, "name": "replaced"},
        {**OK, "name": "modified"},
        {"name": "called", "function": lambda parameters, context: parameters, "parameters": {}},
        {**OK, "name": "cancelled"},
    )
    assert result["outputs"] == {
        "ok": "better",
        "replaced": {"by": "hook"},
        "modified": "best",
        "called": {"p": 1},
    }
    assert world.tools.calls[1:] == [("echo", {"input": "changed"})]
    assert (
        "Step 'cancelled' failed: Workflow execution error: cancelled by a hook: not today"
        in result["error"]
    )
    assert seen[0] == ("BeforeWorkflowStage", "ok", "tool", "w")
    assert events.topics[:3] == [
        "workflow.started",
        "workflow.step.started",
        "workflow.step.completed",
    ]
    assert events.topics[-2:] == ["workflow.step.failed", "workflow.failed"]
    payload = events.published[1].payload
    assert {
        k: payload[k] for k in ("workflow_name", "step_name", "step_type", "workflow_type")
    } == {
        "workflow_name": "w",
        "step_name": "ok",
        "step_type": "tool",
        "workflow_type": "sequential",
    }
    assert isinstance(events.published[0], Event)


async def test_hooks_around_the_run(world):
    hooks = HooksDouble()
    world.services.provide("hooks", hooks)
    points = []

    async def note(point, data, context):
        points.append(point)
        return None

    for point in ("WorkflowStageTransition", "WorkflowError", "AfterWorkflowComplete"):
        hooks.register(point, note)
    await world.run(OK, AFTER, BAD)
    assert points == [
        "WorkflowStageTransition",
        "WorkflowStageTransition",
        "WorkflowError",
        "AfterWorkflowComplete",
    ]

    async def change(point, data, context):
        return HookOutcome("modified", data={**data, "input": {"n": 2}})

    first = hooks.register("BeforeWorkflowStart", change)
    outputs = await world.outputs(
        {"name": "a", "tool": "echo", "input": {"input": "{{input.n}}"}}, input={"n": 1}
    )
    assert outputs == {"a": 2}
    hooks.unregister(first)

    for outcome, status in (
        (HookOutcome("cancel", reason="closed"), "failed"),
        (HookOutcome("replace", data=9), "completed"),
    ):

        async def decide(point, data, context, outcome=outcome):
            return outcome

        made = hooks.register("BeforeWorkflowStart", decide)
        result = await world.run(OK)
        assert (result["status"], result["steps_executed"]) == (status, 0)
        hooks.unregister(made)


async def test_a_pre_condition_must_hold(world):
    result = await world.run(OK, pre_condition="input.n > 1", input={"n": 1})
    assert "the pre-condition does not hold" in result["error"]
    assert (await world.run(OK, pre_condition="input.n > 1", input={"n": 2}))["success"]


async def test_as_a_component_it_raises_what_a_script_gets_as_a_result(world):
    workflow = SequentialWorkflow("w", [Step.tool("bad", "fail")])
    with pytest.raises(WorkflowFailed) as caught:
        await workflow.execute("go", world.context)
    assert (
        str(caught.value)
        == "Workflow execution error: Step 'bad' failed: Tool execution error: broken"
    )
    assert (caught.value.step, caught.value.result.status) == ("bad", "failed")

    tolerant = SequentialWorkflow(
        "w", [Step.tool("bad", "fail")], Options(error_strategy=ErrorStrategy("continue"))
    )
    output = await tolerant.execute("go", world.context)
    assert isinstance(output, WorkflowOutput)
    assert output.result is not None
    assert output.result.status == "partial"

    output = await SequentialWorkflow("w", [Step.tool("a", "echo", {"input": [1]})]).execute(
        "go", world.context
    )
    assert (output.data, output.metadata["extra"]["total_steps"]) == ([1], 1)
    assert "completed successfully. 1 steps executed" in output.text


@pytest.mark.parametrize(
    ("workflow", "input", "message"),
    [
        (
            SequentialWorkflow("w", [Step.tool("a", "echo")]),
            AgentInput(),
            "Workflow input text cannot be empty",
        ),
        (SequentialWorkflow("w", []), "x", "Cannot execute workflow without steps"),
        (
            SequentialWorkflow("w", [Step.tool("a", "echo"), Step.tool("a", "echo")]),
            "x",
            "used twice",
        ),
        (
            SequentialWorkflow("w", [Step.tool("a", "echo")]),
            3,
            "must be a table or a text, not int",
        ),
    ],
)
async def test_what_cannot_run_raises(world, workflow, input, message):
    with pytest.raises(ValidationError) as caught:
        await workflow.run(input, world.context)
    assert message in caught.value.message


async def test_inputs_of_every_form(world):
    step = {"name": "a", "tool": "echo", "input": {"input": ["$$", "{{input.text}}"]}}
    assert await world.outputs(step, input="hello") == {"a": ["hello", "hello"]}
    assert await world.outputs(step, input={"text": "t", "n": 1}) == {
        "a": [{"text": "t", "n": 1}, "t"]
    }
    assert await world.outputs(step, input=[1, 2]) == {"a": [{"input": [1, 2]}, "[1,2]"]}
    assert (await world.outputs(step, input=None))["a"][1] == "{}"
    shared = {"name": "a", "tool": "echo", "input": {"input": "{{topic}}"}}
    assert await world.outputs(shared, input={"context_topic": "from context"}) == {
        "a": "from context"
    }


async def test_cancelling_the_execution_ends_the_running_step(world):
    started, ended = asyncio.Event(), []

    async def hang(context, _):
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    task = asyncio.create_task(world.run({"name": "it", "execute": hang}, AFTER))
    async with asyncio.timeout(10):
        await started.wait()
        world.context.cancel.cancel("stop")
        with pytest.raises(ExecutionCancelled, match="stop"):
            await task
    assert ended == ["cleaned up"]
    with pytest.raises(ExecutionCancelled):
        await world.run(OK)


async def test_cancelling_the_task_is_not_taken_for_a_failure(world):
    started = asyncio.Event()

    async def hang(context, _):
        started.set()
        await asyncio.Event().wait()

    workflow = world.face.sequential(
        {"name": "w", "steps": [{"name": "it", "execute": hang, "on_error": lambda e, c: "no"}]}
    )
    task = asyncio.create_task(world.execute(workflow))
    async with asyncio.timeout(10):
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert workflow.get_status() == {"state": "ready"}


async def test_a_workflow_may_be_cancelled_by_itself(world):
    started = asyncio.Event()

    async def hang(context, _):
        started.set()
        await asyncio.Event().wait()

    workflow = world.face.sequential({"name": "w", "steps": [OK, {"name": "it", "execute": hang}]})
    assert workflow.cancel() is False
    task = asyncio.create_task(world.execute(workflow))
    async with asyncio.timeout(10):
        await started.wait()
        status = workflow.get_status()
        assert (status["state"], status["current_step"], status["steps_executed"]) == (
            "running",
            "it",
            1,
        )
        assert workflow.cancel() is True
        result = await task
    assert (result["status"], result["success"], result["outputs"]) == (
        "cancelled",
        False,
        {"ok": "fine"},
    )
    assert workflow.get_status()["state"] == "cancelled"
