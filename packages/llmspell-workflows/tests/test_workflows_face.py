import pytest

from llmspell_core import (
    ComponentError,
    ComponentMetadata,
    Items,
    NotFoundError,
    Record,
    Returns,
    Services,
    ValidationError,
)
from llmspell_testing import EventsDouble
from llmspell_workflows import (
    ErrorStrategy,
    SequentialWorkflow,
    Step,
    WorkflowBuilder,
    WorkflowService,
    workflow_from,
)
from llmspell_workflows._face import WorkflowGlobal, WorkflowHandle

STEP = {"name": "a", "tool": "echo", "input": {"input": 1}}


def test_the_global_and_the_service_are_found_through_entry_points():
    services = Services()
    assert services.plugins.load("llmspell.globals", "Workflow") is WorkflowGlobal
    assert isinstance(services.workflows, WorkflowService)


async def test_the_result_has_every_field_scripts_rely_on(world):
    workflow = world.face.sequential({"name": "report", "description": "d", "steps": [STEP]})
    record = await workflow.execute({"q": 1})
    assert isinstance(record, Record)
    fields = dict(record.fields)
    assert record.text == fields["text"]
    assert fields["text"].startswith(
        "Sequential workflow 'report' completed successfully. 1 steps executed."
    )
    for name in ("duration_ms", "execution_time"):
        assert isinstance(fields[name], float)
    same = {
        "success": True,
        "status": "completed",
        "error": None,
        "failed_step": None,
        "last_completed_step": "a",
        "partial_success": False,
        "workflow_id": workflow.id,
        "id": workflow.id,
        "workflow_name": "report",
        "name": "report",
        "workflow_type": "sequential",
        "type": "sequential",
        "output": 1,
        "final_output": 1,
        "outputs": {"a": 1},
        "steps_executed": 1,
        "steps_succeeded": 1,
        "steps_failed": 0,
        "steps_skipped": 0,
        "data": {"steps_executed": 1, "final_output": 1},
        "media": [],
        "tool_calls": [],
    }
    assert {k: fields[k] for k in same} == same
    (step,) = fields["steps"].items
    assert fields["steps"].fields == {"a": step}
    assert fields["step_results"] is fields["steps"]
    assert fields["step_timings"] == {"a": step["duration_ms"]}
    assert {k: v for k, v in step.items() if k != "duration_ms"} == {
        "name": "a",
        "type": "tool",
        "success": True,
        "skipped": False,
        "output": 1,
        "content": "1",
        "text": "1",
        "error": None,
        "retry_count": 0,
    }
    assert fields["metadata"] is fields["_metadata"]
    assert fields["metadata"]["extra"] == {
        "workflow_type": "sequential",
        "workflow_name": "report",
        "execution_id": fields["execution_id"],
        "workflow_id": workflow.id,
        "agent_outputs": {},
        "total_steps": 1,
        "successful_steps": 1,
        "failed_steps": 0,
        "success_rate": 1.0,
    }
    failed = await world.face.sequential(
        {"name": "x", "steps": [{"name": "b", "tool": "fail"}]}
    ).execute()
    assert failed.text == failed.fields["error"]


def test_without_a_table_a_constructor_is_a_builder(world):
    face = world.face
    for made, kind in [
        (face.sequential(), "sequential"),
        (face.conditional(), "conditional"),
        (face.loop("named"), "loop"),
        (face.parallel(), "parallel"),
    ]:
        assert isinstance(made, WorkflowBuilder)
        made = made.add_step(STEP) if kind != "conditional" else made.when_false(STEP)
        assert made.build().type == kind
    assert face.loop("named").body(STEP).build().name == "named"
    for builder in (face.builder(), face.create()):
        with pytest.raises(ValidationError, match="Workflow type not specified"):
            builder.build()
    assert face.builder("x").sequential().build().name == "x"
    name = face.builder().sequential().build().name
    assert (name[:9], len(name)) == ("workflow_", 17)


async def test_every_builder_method(world):
    built = (
        world.face.builder()
        .parallel()
        .name("p")
        .description("d")
        .error_strategy("continue")
        .timeout_ms(5000)
        .max_concurrency(2)
        .merge_strategy("all")
        .fail_fast(False)
        .variables({"v": 3})
        .branch("x", {"steps": [STEP]})
        .branch("y", STEP)
        .add_step("named", Step.tool("ignored", "echo", {"input": "{{v}}"}))
        .step("z", {"tool": "echo", "params": {"input": 4}})
        .build()
    )
    assert built.description == "d"
    result = await world.execute(built)
    assert result["output"] == [1, 1, 3, 4]
    assert list(result["branches"]) == ["x", "y", "named", "z"]

    log = []
    conditional = (
        world.face.builder()
        .conditional()
        .add_step({**STEP, "name": "first"})
        .condition("step:first:output", "> 5")
        .add_then_step({**STEP, "name": "big"})
        .when_true([{**STEP, "name": "bigger"}])
        .add_branch("first == 1", {**STEP, "name": "one"})
        .add_else_step({**STEP, "name": "other"})
        .on_start(lambda context: log.append("start"))
        .on_complete(lambda result: log.append("complete"))
        .build()
    )
    result = await world.execute(conditional)
    assert (result["branch_taken"], list(result["outputs"])) == ("branch_1", ["first", "one"])
    assert log == ["start", "complete"]

    loop = (
        world.face.builder()
        .loop()
        .with_collection([1, 2, 3])
        .body({"tool": "echo", "input": {"input": "{{loop_value}}"}})
        .initial_state({"k": 1})
        .break_condition("loop_value == 2")
        .break_condition("never")
        .aggregation_strategy("last_only")
        .build()
    )
    result = await world.execute(loop)
    assert (result["iteration_outputs"], result["final_state"]) == ([2], {"k": 1})

    errors = []
    failing = {"name": "b", "tool": "fail"}
    retrying = (
        world.face.builder()
        .sequential()
        .max_retries(2)
        .error_strategy({"type": "retry", "backoff_ms": 0})
        .on_error(lambda error, context: errors.append(error))
        .add_step(failing)
        .build()
    )
    await world.execute(retrying)
    assert len(world.tools.calls) - world.tools.calls.index(("fail", {})) == 2
    assert "All retries exhausted" in errors[0]
    skipping = world.face.builder().sequential().on_error("skip").add_step(failing).build()
    assert (await world.execute(skipping))["status"] == "partial"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: f.sequential({"steps": {}}), "Failed to get workflow name"),
        (lambda f: f.sequential({"name": "", "steps": [STEP]}), "Failed to get workflow name"),
        (lambda f: f.sequential({"name": 3, "steps": [STEP]}), "Failed to get workflow name"),
        (lambda f: f.sequential({"name": "x"}), "Failed to get workflow steps"),
        (lambda f: f.sequential(3), "described by a table, not int"),
        (lambda f: f.create({"name": "x", "type": "odd"}), "Unknown workflow type: odd"),
        (lambda f: f.conditional({"name": "x"}), "Failed to get workflow branches"),
        (
            lambda f: f.conditional({"name": "x", "then_steps": [STEP]}),
            "Failed to get workflow condition",
        ),
        (
            lambda f: f.conditional({"name": "x", "branches": {"a": [STEP]}}),
            "Failed to get workflow condition",
        ),
        (
            lambda f: f.conditional({"name": "x", "branches": [{"steps": [STEP]}]}),
            "branch 1 has no condition",
        ),
        (lambda f: f.conditional({"name": "x", "branches": ["y"]}), "branch 1 is not a table"),
        (lambda f: f.conditional().condition({"type": "odd"}), "Unknown condition type: odd"),
        (lambda f: f.parallel({"name": "x"}), "requires either 'branches' or 'steps' field"),
        (
            lambda f: f.parallel({"name": "x", "steps": [STEP], "merge_strategy": "odd"}),
            "Unknown merge strategy: odd",
        ),
        (
            lambda f: f.sequential({"name": "x", "steps": [{"name": "a"}]}),
            "Failed to parse workflow step 'a': Unknown step type: None",
        ),
        (
            lambda f: f.sequential({"name": "x", "steps": [{"name": "a", "type": "odd"}]}),
            "Unknown step type: odd",
        ),
        (
            lambda f: f.sequential({"name": "x", "steps": [{"tool": "echo"}]}),
            "Failed to parse workflow step: name is required",
        ),
        (lambda f: f.sequential({"name": "x", "steps": ["a"]}), "a step is a table, not str"),
        (
            lambda f: f.sequential({"name": "x", "steps": [{"name": "a", "type": "tool"}]}),
            "Tool name cannot be empty",
        ),
        (
            lambda f: f.sequential({"name": "x", "steps": [{"name": "a", "type": "agent"}]}),
            "Agent name cannot be empty",
        ),
        (
            lambda f: f.sequential({"name": "x", "steps": [{"name": "a", "agent": "b"}]}),
            "Agent input cannot be empty",
        ),
        (
            lambda f: f.sequential({"name": "x", "steps": [{"name": "a", "type": "workflow"}]}),
            "Workflow id cannot be empty",
        ),
        (
            lambda f: f.sequential({"name": "x", "steps": [{"name": "a", "type": "custom"}]}),
            "Custom function name cannot be empty",
        ),
        (
            lambda f: f.sequential({"name": "x", "steps": [{"name": "a", "execute": 3}]}),
            "Custom function cannot be int",
        ),
        (
            lambda f: f.sequential({"name": "x", "steps": [{**STEP, "timeout_ms": 0}]}),
            "'timeout_ms' must be positive",
        ),
        (
            lambda f: f.sequential({"name": "x", "steps": [{**STEP, "timeout_ms": "1"}]}),
            "'timeout_ms' must be a number",
        ),
        (
            lambda f: f.sequential({"name": "x", "steps": [{**STEP, "on_complete": "f"}]}),
            "'on_complete' must be a function",
        ),
        (
            lambda f: f.sequential({"name": "x", "steps": [STEP], "on_start": 1}),
            "'on_start' must be a function",
        ),
        (
            lambda f: f.sequential(
                {"name": "x", "steps": [{**STEP, "condition": {"type": "odd"}}]}
            ),
            "Unknown condition type: odd",
        ),
        (lambda f: SequentialWorkflow("", []), "Workflow name cannot be empty"),
        (lambda f: Step.tool("", "echo"), "Step name cannot be empty"),
    ],
)
def test_misuse_raises_and_names_the_field(world, make, message):
    with pytest.raises(ValidationError) as caught:
        make(world.face)
    assert message in caught.value.message


def test_tables_say_the_options_in_all_their_spellings():
    def options(**table):
        return workflow_from({"name": "x", "steps": [STEP], **table}).options

    assert options(timeout=1500).timeout_seconds == 1.5
    assert options(timeout_ms=1500).timeout_seconds == 1.5
    assert options(timeout_secs=2).timeout_seconds == 2
    assert options(default_step_timeout_ms=100).step_timeout_seconds == 0.1
    assert options().step_timeout_seconds == 30
    assert options(inputs={"a": 1}).variables == {"a": 1}
    for word, kind in [
        ("stop", "fail_fast"),
        ("fail", "fail_fast"),
        ("odd", "fail_fast"),
        ("skip", "continue"),
    ]:
        assert options(error_strategy=word).error_strategy.kind == kind
    assert options(error_strategy="retry").error_strategy == ErrorStrategy("retry", 3, 1000, 1)
    assert options(
        on_error="retry", max_retries=5, retry_delay_ms=10, exponential_backoff=True
    ).error_strategy == ErrorStrategy("retry", 5, 10, 2)
    assert options(max_retries=4).error_strategy == ErrorStrategy("retry", 4)
    assert options(continue_on_error=True).error_strategy.kind == "continue"
    assert options(
        error_strategy={"max_attempts": 2, "backoff_ms": 5, "backoff_multiplier": 3}
    ).error_strategy == ErrorStrategy("retry", 2, 5, 3)
    generated = workflow_from({"steps": [STEP]})
    assert generated.name == f"workflow_{generated.id[9:17]}"
    assert (
        workflow_from(
            {"type": "loop_workflow", "name": "l", "iterator": {"range": [1, 2]}, "body": STEP}
        ).kind
        == "loop"
    )


async def test_actions_may_stand_in_a_table_of_their_own(world):
    made = world.face.create(
        {
            "name": "x",
            "steps": [
                {"id": "a", "action": {"tool": "echo", "params": {"input": 7}}, "when": "always"}
            ],
        }
    )
    assert (await world.execute(made))["outputs"] == {"a": 7}


def test_workflows_are_found_listed_and_forgotten(world):
    face = world.face
    assert [t["type"] for t in face.list().items] == [
        "sequential",
        "conditional",
        "loop",
        "parallel",
    ]
    assert face.types() == Items(("sequential", "conditional", "loop", "parallel"))
    assert {
        k: len(v["features"])
        for k, v in zip(face.types().items, face.discover_types(), strict=True)
    } == {"sequential": 3, "conditional": 3, "loop": 5, "parallel": 5}
    first = face.sequential({"name": "one", "description": "d", "steps": [STEP]})
    second = face.sequential({"name": "one", "steps": [STEP]})
    (a, b) = face.list().items
    assert (a.text, a.fields["description"], b.fields["step_count"]) == ("one", "d", 1)
    assert face.get("one").id == second.id
    assert face.get(first.id).id == first.id
    assert face.get(first.id.removeprefix("workflow_")).workflow is first.workflow
    with pytest.raises(NotFoundError, match="Workflow not found: onn") as caught:
        face.get("onn")
    assert caught.value.hint == "Did you mean 'one'?"
    assert face.remove(second.id) is True
    with pytest.raises(NotFoundError):
        face.remove(second.id)
    assert face.clear() == 1
    assert isinstance(face.list().items[0], dict)


async def test_register_makes_a_workflow_of_a_type(world):
    id = world.face.register("sequential", {"name": "r", "steps": [STEP]})
    assert (await world.face.execute(id)).fields["outputs"] == {"a": 1}
    assert (await world.face.execute(world.face.get("r"), {"x": 1})).fields["success"]
    assert world.face.get(world.face.register("sequential", {})).name == "sequential_workflow"
    with pytest.raises(ValidationError):
        world.face.register("odd", {})
    with pytest.raises(ValidationError, match="needs a workflow"):
        await world.face.execute(3)
    with pytest.raises(NotFoundError):
        await world.face.execute("nobody")


async def test_a_handle_tells_about_its_workflow(world):
    workflow = world.face.sequential({"name": "w", "description": "d", "steps": [STEP]})
    assert isinstance(workflow, WorkflowHandle)
    assert (workflow.id, workflow.name, workflow.type, workflow.description, workflow.steps) == (
        workflow.get_id(),
        "w",
        "sequential",
        "d",
        ["a"],
    )
    assert workflow.get_info() == {
        "id": workflow.id,
        "name": "w",
        "type": "sequential",
        "kind": "instance",
        "step_count": 1,
        "description": "d",
    }
    assert workflow.get_status() == {"state": "ready"}
    assert workflow.workflow.metadata == ComponentMetadata(
        "w", "d", "workflow", tags=("sequential",)
    )
    for call in (
        workflow.get_all_outputs,
        workflow.list_outputs,
        workflow.get_execution_id,
        lambda: workflow.get_output("a"),
    ):
        with pytest.raises(
            ComponentError, match=r"No workflow execution found. Run execute\(\) first."
        ):
            call()
    with pytest.raises(ComponentError):
        await workflow.clear_outputs()
    assert workflow.get_metrics()["execution"] == {
        "total_executions": 0,
        "successful_executions": 0,
        "failed_executions": 0,
        "average_duration_ms": 0.0,
        "last_execution_time": None,
    }

    result = await world.execute(workflow)
    assert workflow.get_execution_id() == result["execution_id"]
    assert (
        workflow.get_output("a"),
        workflow.get_output("b"),
        workflow.get_all_outputs(),
        workflow.list_outputs(),
    ) == (1, None, {"a": 1}, ["a"])
    status = workflow.get_status()
    assert (status["state"], status["progress"]) == ("completed", 1.0)
    assert status["started_at"] <= status["finished_at"]
    debug = await workflow.debug()
    assert (debug["name"], debug["runtime"]["state_keys"][0]) == ("w", f"{workflow.id}:a")
    metrics = workflow.get_metrics()["execution"]
    assert (metrics["total_executions"], metrics["successful_executions"]) == (1, 1)
    assert metrics["average_duration_ms"] == pytest.approx(result["duration_ms"])

    assert await workflow.clear_outputs() == {"deleted": 1}
    assert workflow.get_all_outputs() == {}
    assert (
        await world.state.list("workflow", world.context, prefix=f"{result['execution_id']}:") == []
    )
    await workflow.execute()
    assert workflow.get_all_outputs() == {"a": 1}

    bad = world.face.sequential({"name": "bad", "steps": [{"name": "b", "tool": "fail"}]})
    await bad.execute()
    assert bad.get_status()["state"] == "failed"
    assert bad.get_metrics()["execution"]["failed_executions"] == 1


async def test_state_and_shared_data_of_a_workflow(world):
    workflow = world.face.sequential(
        {"name": "w", "steps": [{"name": "a", "tool": "echo", "input": {"input": "{{topic}}"}}]}
    )
    assert await workflow.get_state("k") is None
    assert await workflow.set_state("k", {"v": 1}) is True
    assert await workflow.get_state("k") == {"v": 1}
    assert await world.state.get("workflow", f"{workflow.id}:k", world.context) == {"v": 1}
    await workflow.set_shared_data("topic", "owls")
    assert workflow.get_shared_data("topic") == "owls"
    assert workflow.get_shared_data("nothing") is None
    assert await workflow.get_state("shared:topic") == "owls"
    assert (await world.execute(workflow))["outputs"] == {"a": "owls"}


def test_validate_says_what_is_wrong(world):
    good = world.face.sequential({"name": "w", "steps": [STEP]})
    assert good.validate() == Returns(
        ({"valid": True, "workflow_id": good.id, "warnings": [], "errors": []}, None)
    )
    empty = world.face.sequential({"name": "w", "steps": []})
    table, errors = empty.validate()
    assert (table["valid"], errors) == (False, ["Cannot execute workflow without steps"])
    unknown = world.face.sequential({"name": "w", "steps": [{"name": "a", "tool": "nope"}]})
    assert unknown.validate()[0]["warnings"] == ["Step 'a': tool 'nope' not found"]


async def test_an_empty_workflow_can_be_made_but_not_run(world):
    empty = world.face.sequential({"name": "w", "steps": {}})
    with pytest.raises(ValidationError, match="Cannot execute workflow without steps"):
        await empty.execute({})


def test_emit_publishes_in_the_name_of_the_workflow(world):
    events = EventsDouble()
    world.services.provide("events", events)
    workflow = world.face.sequential({"name": "w", "steps": [STEP]})
    assert workflow.emit("report.ready", {"n": 1}) == {
        "success": True,
        "workflow_id": workflow.id,
        "event_name": "report.ready",
    }
    (event,) = events.published
    assert (event.topic, event.payload) == (
        "report.ready",
        {
            "workflow_id": workflow.id,
            "workflow_name": "w",
            "workflow_type": "sequential",
            "data": {"n": 1},
        },
    )


async def test_the_python_builder_makes_workflows_that_nobody_registered(world):
    built = WorkflowBuilder("w").sequential().step("a", tool="echo", input={"input": 5}).build()
    result = await built.run({"x": 1}, world.context)
    assert result.outputs == {"a": 5}
    assert world.workflows.list() == []
    assert world.workflows.add(built) == built.id
    assert world.workflows.get("w") is built
