import asyncio
import tracemalloc

import pytest

from llmspell_core import ValidationError
from llmspell_testing import EventsDouble
from llmspell_workflows import (
    Collection,
    ConditionalWorkflow,
    LoopWorkflow,
    Range,
    SequentialPlan,
    Step,
    While,
    condition_from,
)


def echo(name, value, **more):
    return {"name": name, "tool": "echo", "input": {"input": value}, **more}


BAD = {"name": "bad", "tool": "fail"}


async def choose(world, input=None, **config):
    return await world.execute(world.face.conditional({"name": "c", **config}), input)


async def loop(world, input=None, **config):
    return await world.execute(world.face.loop({"name": "l", **config}), input)


def branch(name, condition, value=None):
    return {"name": name, "condition": condition, "steps": [echo(f"in_{name}", value or name)]}


@pytest.mark.parametrize(("n", "taken"), [(1, "small"), (5, "middle"), (50, "else_branch")])
async def test_the_first_branch_whose_condition_holds_is_taken(world, n, taken):
    result = await choose(
        world,
        {"n": n},
        branches=[branch("small", "n < 3"), branch("middle", "n < 10"), branch("also", "n < 9")],
        default_branch={"steps": [echo("in_default", "default")]},
        pre_steps=[echo("pre", 0)],
        post_steps=[echo("post", "{{previous}}!")],
    )
    assert result["success"], result["error"]
    assert result["branch_taken"] == taken
    expected = "default" if taken == "else_branch" else taken
    assert result["output"] == f"{expected}!"
    assert set(result["outputs"]) == {"pre", f"in_{expected}", "post"}
    assert result["executed_branches"] == 1
    extra = result["metadata"]["extra"]
    assert (extra["total_branches"], extra["branch_names"]) == (4, [taken])


async def test_all_branches_that_hold_may_be_taken(world):
    result = await choose(
        world,
        {"n": 1},
        branches=[branch("a", "n < 3"), branch("b", "never"), branch("c", "n == 1")],
        execute_all_matching=True,
    )
    assert result["matched_branches"] == ["a", "c"]
    assert result["outputs"] == {"in_a": "a", "in_c": "c"}
    assert result["metadata"]["extra"]["short_circuit_evaluation"] is False


async def test_nothing_holds(world):
    result = await choose(world, branches=[branch("a", "never")])
    assert "No conditions matched and no default branch available" in result["error"]
    result = await choose(
        world,
        branches=[branch("a", "never")],
        default_branch=[echo("d", 1)],
        execute_default_on_no_match=False,
    )
    assert (result["success"], result["branch_taken"], result["output"]) == (True, None, None)
    result = await choose(
        world, branches=[branch("a", "never"), branch("b", "always")], max_branches_to_evaluate=1
    )
    assert not result["success"]


@pytest.mark.parametrize(
    ("answer", "taken"),
    [(True, "then_branch"), (False, "else_branch"), ("else_branch", "else_branch"), ("odd", None)],
)
async def test_the_short_form_with_a_function_that_says_yes_or_a_branch(world, answer, taken):
    result = await choose(
        world,
        condition=lambda context: answer,
        then_steps={"tool": "echo", "input": {"input": "then"}},
        else_steps=[echo("other", "else"), echo("more", "{{other.output}}")],
    )
    assert result["branch_taken"] == (taken or "else_branch")


async def test_a_function_chooses_among_branches_by_name(world):
    result = await choose(
        world,
        {"lang": "de"},
        condition=lambda context: context.input["lang"],
        branches={
            "en": [echo("e", "hello")],
            "de": {"steps": [echo("d", "hallo")]},
            "fr": echo("f", "salut"),
        },
    )
    assert (result["branch_taken"], result["output"]) == ("de", "hallo")


async def test_a_failing_step_in_a_branch_fails_the_run_and_tells_the_branch(world):
    events = EventsDouble()
    world.services.provide("events", events)
    result = await choose(world, branches=[{"name": "b", "condition": "always", "steps": [BAD]}])
    assert (result["failed_step"], result["branch_taken"]) == ("bad", "b")
    assert "workflow.branch.failed" in events.topics
    keys = await choose(world, branches=[branch("b", "always")])
    stored = await world.state.get(
        "workflow", f"{keys['execution_id']}:branch_b:in_b", world.context
    )
    assert stored["branch_name"] == "b"


async def test_conditionals_from_python(world):
    workflow = ConditionalWorkflow(
        "c",
        [
            ConditionalWorkflow.branch(
                "a", lambda view: view.get("n") == 1, [Step.tool("x", "echo", {"input": 1})]
            )
        ],
    )
    result = await workflow.run({"n": 1}, world.context)
    assert result.fields["branch_taken"] == "a"
    plan = SequentialPlan((Step.nested("n", workflow.plan),))
    assert plan.steps()[0].action.kind == "conditional"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"branches": []}, "without branches"),
        (
            {"branches": [branch("a", "always"), branch("a", "never")]},
            "Branch name 'a' is used twice",
        ),
        (
            {"branches": [branch("a", "always")], "max_branches_to_evaluate": 0},
            "must be at least 1",
        ),
        (
            {"branches": [branch("a", "always")], "pre_steps": [echo("in_a", 1)]},
            "used twice in branch 'a'",
        ),
    ],
)
async def test_conditionals_that_cannot_run(world, config, message):
    with pytest.raises(ValidationError) as caught:
        await choose(world, **config)
    assert message in caught.value.message


BODY = [echo("it", "{{loop_value}}")]


@pytest.mark.parametrize(
    ("iterator", "values"),
    [
        ({"range": {"start": 1, "end": 3}}, [1, 2, 3]),
        ({"range": {"end": 2}}, [0, 1, 2]),
        ({"range": {"start": 1, "end": 3, "inclusive": False}}, [1, 2]),
        ({"range": {"start": 1, "end": 6, "step": 2}}, [1, 3, 5]),
        ({"range": [1, 6, 2]}, [1, 3, 5]),
        ({"range": {"start": 3, "end": 1, "step": -1}}, [3, 2, 1]),
        ({"range": {"start": 0.0, "end": 0.3, "step": 0.1}}, [0.0, 0.1, 0.2, pytest.approx(0.3)]),
        ({"type": "range", "start": 5, "end": 5}, [5]),
        ({"collection": ["a", "b"]}, ["a", "b"]),
        ({"collection": {"y": 2, "x": 1}}, [{"key": "x", "value": 1}, {"key": "y", "value": 2}]),
        ({"collection": "{{input.list}}"}, [7, 8]),
        ({"type": "collection", "values": [1]}, [1]),
        ({"type": "collection", "items": [1]}, [1]),
        ({"while_condition": "iteration <= 3"}, [1, 2, 3]),
        ({"while_condition": lambda context: context.iteration < 3, "max_iterations": 5}, [1, 2]),
        ({"type": "while", "condition": "never"}, []),
    ],
)
async def test_every_iterator(world, iterator, values):
    result = await loop(world, {"list": [7, 8]}, iterator=iterator, body=BODY)
    assert result["success"], result["error"]
    assert result["iteration_outputs"] == values
    assert (result["iterations"], result["data"]["completed_iterations"]) == (
        len(values),
        len(values),
    )


async def test_builder_ranges_leave_out_their_end(world):
    for builder, count in [
        (world.face.loop().with_range({"start": 1, "end": 4}), 3),
        (world.face.loop().with_range(), 9),
        (world.face.loop().with_range({"start": 1, "end": 4, "inclusive": True}), 4),
        (world.face.loop(), 9),
        (world.face.loop().max_iterations(4), 4),
        (world.face.loop().with_range().max_iterations(2), 2),
        (world.face.loop().with_while("iteration < 3"), 2),
        (world.face.loop().with_while("always"), 100),
        (world.face.loop().with_while("always").max_iterations(7), 7),
        (world.face.loop().with_while(lambda c: c.index < 4), 3),
        (world.face.loop().condition("iteration < 2"), 1),
        (world.face.loop().with_collection(["x"]), 1),
    ]:
        result = await world.execute(builder.body({"tool": "echo", "input": {"input": 1}}).build())
        assert result["iterations"] == count


async def test_loop_variables_in_all_spellings(world):
    text = (
        "{{loop:current_value}} {{loop:current_item.k}} {{loop:current_index}} "
        "{{loop:total_iterations}} {{loop_index}} {{iteration}} $iteration $loop_index"
    )
    result = await loop(
        world, iterator={"collection": [{"k": "a"}, {"k": "b"}]}, body=[echo("it", text)]
    )
    assert result["iteration_outputs"][1] == '{"k": "b"} b 2 2 1 2 2 1'


@pytest.mark.parametrize(
    ("config", "count", "reason"),
    [
        ({"break_conditions": [{"expression": "$iteration == 3", "message": "three"}]}, 3, "three"),
        ({"break_conditions": [{"expression": "$loop_index >= 1"}]}, 2, "$loop_index >= 1"),
        ({"break_condition": "loop_value > 3"}, 4, "loop_value > 3"),
        ({"break_condition": lambda context: context.previous == 2}, 2, "break_condition"),
        (
            {"break_condition": {"type": "step_output_equals", "step": "it", "expected": "5"}},
            5,
            "break_condition",
        ),
        ({"continue_condition": "loop_value < 4"}, 4, "continue_condition"),
        ({"max_iterations": 2}, 2, "max_iterations (2) reached"),
        ({"max_iterations": 99}, 9, None),
    ],
)
async def test_every_way_to_end_a_loop_early(world, config, count, reason):
    result = await loop(world, iterator={"range": {"start": 1, "end": 9}}, body=BODY, **config)
    assert (result["iterations"], result["break_reason"]) == (count, reason)
    assert result["metadata"]["extra"]["break_reason"] == reason


@pytest.mark.parametrize(
    ("strategy", "outputs", "key", "aggregated"),
    [
        ("collect_all", [1, 2, 3], "all_iterations", [{"it": 1}, {"it": 2}, {"it": 3}]),
        ("collect_outputs", [1, 2, 3], "all_iterations", [1, 2, 3]),
        ("last_only", [3], "last_iteration", {"it": 3}),
        ({"type": "first_n", "n": 2}, [1, 2], "iterations", [{"it": 1}, {"it": 2}]),
        ("first_n", [1], "iterations", [{"it": 1}]),
        ("last_n:2", [2, 3], "iterations", [{"it": 2}, {"it": 3}]),
        ("none", [], None, None),
    ],
)
async def test_every_aggregation(world, strategy, outputs, key, aggregated):
    result = await loop(world, iterator={"range": [1, 3]}, body=BODY, aggregation_strategy=strategy)
    assert result["iteration_outputs"] == outputs
    stored = await world.state.get(
        "workflow", f"{result['execution_id']}:aggregated", world.context
    )
    assert stored.pop("loop_metadata")["completed_iterations"] == 3
    assert stored == ({} if key is None else {key: aggregated})
    keys = await world.state.list(
        "workflow", world.context, prefix=f"{result['execution_id']}:iteration_"
    )
    assert [k.rpartition("iteration_")[2] for k in keys] == ["1:it", "2:it", "3:it"]


async def test_the_state_of_a_loop_is_updated_by_functions(world):
    told = []

    def state_update(context, outputs):
        context.state["sum"] += outputs["it"]

    result = await loop(
        world,
        iterator={"collection": [1, 2, 3]},
        body=[{**BODY[0], "update": lambda context, output: {"last": output}}],
        initial_state={"sum": 10},
        state_update=state_update,
        on_iteration_complete=lambda number, outputs: told.append((number, outputs)),
    )
    assert result["final_state"] == {"sum": 16, "last": 3}
    assert told == [(1, {"it": 1}), (2, {"it": 2}), (3, {"it": 3})]


async def test_an_iteration_sees_the_outputs_of_the_one_before(world):
    result = await loop(
        world,
        iterator={"range": [1, 3]},
        body=[echo("seen", "{{it.output | nothing}}"), echo("it", "{{loop_value}}")],
    )
    stored = await world.state.get(
        "workflow", f"{result['execution_id']}:aggregated", world.context
    )
    assert [i["seen"] for i in stored["all_iterations"]] == ["nothing", 1, 2]
    result = await loop(
        world,
        iterator={"range": [1, 3]},
        body=[{"name": "it", "execute": lambda c, p: [c.index, *c.iteration_outputs]}],
    )
    assert result["iteration_outputs"][2] == [3, [1], [2, [1]]]


async def test_a_failing_iteration_ends_the_loop_or_is_counted(world):
    def odd(context, _):
        if context.index % 2:
            return context.index
        raise RuntimeError("even")

    body = [{"name": "it", "execute": odd}]
    result = await loop(world, iterator={"range": [1, 4]}, body=body)
    assert (result["success"], result["failed_step"], result["iterations"]) == (False, "it", 2)
    assert result["data"]["completed_iterations"] == 1

    result = await loop(world, iterator={"range": [1, 4]}, body=body, continue_on_error=True)
    assert result["data"]["completed_iterations"] == 2
    assert (result["iterations"], result["status"], result["steps_failed"]) == (4, "partial", 2)


async def test_waiting_between_iterations(world):
    from llmspell_testing import LedgerDouble, recording_context

    ledger = LedgerDouble()
    world.host.context = recording_context(ledger, world.services)
    await loop(world, iterator={"range": [1, 3]}, body=BODY, iteration_delay_ms=1)
    waits = [e.intent.request for e in ledger.effects("run") if e.intent.kind == "clock.sleep"]
    assert waits == ["0.001", "0.001"]


async def test_a_loop_ends_with_the_time_of_the_run(world):
    async def hang(context, _):
        if context.index == 2:
            await asyncio.Event().wait()
        return context.index

    result = await loop(
        world, iterator={"range": [1, 3]}, body=[{"name": "it", "execute": hang}], timeout_ms=50
    )
    assert (result["status"], result["outputs"]) == ("timeout", {"it": 1})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"iterator": {"range": {"start": 1, "end": 5, "step": 0}}, "body": BODY},
            "Range step cannot be zero",
        ),
        (
            {"iterator": {"range": {"start": 5, "end": 1}}, "body": BODY},
            "Range configuration will not iterate",
        ),
        ({"iterator": {"range": {"start": 1}}, "body": BODY}, "a range needs 'end'"),
        ({"iterator": {"range": {"end": float("inf")}}, "body": BODY}, "finite"),
        ({"iterator": {"range": {"end": "9"}}, "body": BODY}, "'end' must be a number"),
        ({"iterator": {"range": {"end": True}}, "body": BODY}, "'end' must be a number"),
        ({"iterator": {"collection": []}, "body": BODY}, "Collection iterator cannot be empty"),
        ({"iterator": {"collection": {}}, "body": BODY}, "Collection iterator cannot be empty"),
        ({"iterator": {"collection": 3}, "body": BODY}, "must be a list or a table, not int"),
        ({"iterator": {"while_condition": ""}, "body": BODY}, "While condition cannot be empty"),
        ({"iterator": {"type": "while"}, "body": BODY}, "While condition cannot be empty"),
        (
            {"iterator": {"while_condition": "always", "max_iterations": 0}, "body": BODY},
            "Max iterations must be at least 1",
        ),
        (
            {"iterator": {"range": [1, 2]}, "body": BODY, "max_iterations": 0},
            "Max iterations must be at least 1",
        ),
        (
            {"iterator": {}, "body": BODY},
            "Iterator must contain 'range', 'collection', or 'while_condition'",
        ),
        ({"iterator": {"range": [1, 2]}, "body": []}, "Loop body cannot be empty"),
        ({"iterator": {"range": [1, 2]}}, "Failed to get loop body"),
        ({"body": BODY}, "Failed to get iterator configuration"),
        (
            {"iterator": {"range": [1, 2]}, "body": BODY, "aggregation_strategy": "odd"},
            "Unknown aggregation strategy: odd",
        ),
        (
            {"iterator": {"range": [1, 2]}, "body": BODY, "break_conditions": [{"message": "x"}]},
            "needs 'expression'",
        ),
    ],
)
async def test_loops_that_cannot_run(world, config, message):
    with pytest.raises(ValidationError) as caught:
        await loop(world, **config)
    assert message in caught.value.message


async def test_a_placeholder_for_a_collection_must_bring_one(world):
    with pytest.raises(ValidationError, match="must be a list or a table, not str"):
        await loop(world, iterator={"collection": "{{nothing}}"}, body=BODY)


async def test_loops_from_python(world):
    for iterator, count in [
        (Range(1, 4), 3),
        (Collection(("a",)), 1),
        (While(condition_from("iteration < 3")), 2),
    ]:
        workflow = LoopWorkflow("l", iterator, [Step.tool("it", "echo", {"input": "$iteration"})])
        result = await workflow.run("go", world.context)
        assert result.fields["iterations"] == count


@pytest.mark.slow
async def test_ten_thousand_iterations_keep_only_what_was_asked_for(world):
    seen = 0

    def count(context, _):
        nonlocal seen
        seen += 1
        return "x" * 1000

    from llmspell_testing import make_context, make_services

    world.host.context = make_context(make_services(workflows=world.workflows))

    async def peak(iterations):
        tracemalloc.start()
        result = await loop(
            world,
            iterator={"range": {"start": 1, "end": iterations}},
            body=[{"name": "it", "execute": count_async}],
            aggregation_strategy="last_only",
        )
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert result["success"], result["error"]
        assert result["data"]["completed_iterations"] == iterations
        return most

    async def count_async(context, _):
        return count(context, _)

    short, long = await peak(200), await peak(10_000)
    assert seen == 10_200
    assert long < short + 400_000
