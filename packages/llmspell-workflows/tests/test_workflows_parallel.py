import asyncio

import pytest

from llmspell_core import ExecutionCancelled, ScriptExit, ValidationError
from llmspell_workflows import ParallelBranch, ParallelPlan, ParallelWorkflow, Step


def call(name, function, **more):
    return {"name": name, "execute": function, **more}


async def run(world, **config):
    return await world.execute(world.face.parallel({"name": "p", **config}))


class Gauge:
    """Counts how many are inside at once; lets them out when *enough* are."""

    def __init__(self, enough: int) -> None:
        self.inside = self.most = 0
        self.enough = enough
        self.full = asyncio.Event()

    async def __call__(self, *_):
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside >= self.enough:
            self.full.set()
        await self.full.wait()
        self.inside -= 1
        return self.most


async def test_branches_run_at_the_same_time(world):
    gauge = Gauge(3)
    async with asyncio.timeout(10):
        result = await run(world, steps=[call(n, gauge) for n in "abc"])
    assert result["success"], result["error"]
    assert gauge.most == 3
    assert list(result["outputs"]) == ["a", "b", "c"]


@pytest.mark.parametrize("most", [1, 2, 4])
async def test_no_more_than_max_concurrency_run_at_a_time(world, most):
    gauge = Gauge(most)
    async with asyncio.timeout(10):
        result = await run(
            world, steps=[call(str(n), gauge) for n in range(8)], max_concurrency=most
        )
    assert gauge.most == most
    assert result["metadata"]["extra"]["max_concurrency"] == most
    assert result["successful_branches"] == 8


async def test_the_steps_of_a_branch_run_one_after_the_other(world):
    result = await run(
        world,
        branches=[
            {
                "name": "x",
                "steps": [
                    {"name": "a", "tool": "echo", "input": {"input": 1}},
                    {"name": "b", "tool": "echo", "input": {"input": "{{a.output}}x"}},
                ],
            },
            {
                "name": "y",
                "steps": [
                    {"name": "a", "tool": "echo", "input": {"input": 2}},
                    {"name": "b", "tool": "echo", "input": {"input": "{{a.output}}y"}},
                ],
            },
        ],
        pre_steps=[{"name": "pre", "tool": "echo", "input": {"input": 0}}],
        post_steps=[{"name": "post", "tool": "echo", "input": {"input": "$step_output"}}],
    )
    assert result["output"] == {"x": "1x", "y": "2y"}
    assert result["outputs"]["post"] == {"x": "1x", "y": "2y"}
    assert {n: b["output"] for n, b in result["branches"].items()} == {"x": "1x", "y": "2y"}
    # Two branches used one name: the second is told apart.
    assert {k: v for k, v in result["outputs"].items() if k.endswith("a")} == {"a": 1, "y.a": 2}
    assert result["data"]["executed_branches"] == 2
    prefix = f"{result['execution_id']}:branch_"
    keys = await world.state.list("workflow", world.context, prefix=prefix)
    assert [k.removeprefix(prefix) for k in keys] == ["x:a", "x:b", "y:a", "y:b"]
    record = await world.state.get("workflow", f"{prefix}y:b", world.context)
    assert (record["branch_name"], record["output"]) == ("y", "2y")


async def test_the_first_failure_cancels_the_others(world):
    waiting, cleaned = asyncio.Event(), []

    async def slow(*_):
        try:
            waiting.set()
            await asyncio.Event().wait()
        finally:
            cleaned.append("slow")

    async def fails(*_):
        await waiting.wait()
        raise RuntimeError("boom")

    async with asyncio.timeout(10):
        result = await run(
            world,
            steps=[
                call("slow", slow),
                call("fails", fails),
                call("never", lambda *_: cleaned.append("never")),
            ],
            max_concurrency=2,
        )
    assert cleaned == ["slow"]
    assert (result["success"], result["failed_branches"]) == (False, 3)
    assert "1 required branches failed: fails:" in result["error"]
    assert "boom" in result["error"]
    assert result["metadata"]["extra"]["stopped_early"] is True
    assert {
        n: (b["cancelled"], b["error"]) for n, b in result["branches"].items() if n != "fails"
    } == {
        "slow": (True, "Cancelled"),
        "never": (True, "Cancelled"),
    }


@pytest.mark.parametrize("config", [{"fail_fast": False}, {"error_strategy": "continue"}])
async def test_without_fail_fast_the_others_finish(world, config):
    result = await run(
        world,
        steps=[
            {"name": "bad", "tool": "fail"},
            {"name": "good", "tool": "echo", "input": {"input": 1}},
        ],
        **config,
    )
    assert (result["success"], result["status"]) == (False, "failed")
    assert result["outputs"] == {"good": 1}
    assert result["metadata"]["extra"]["stopped_early"] is False


async def test_an_optional_branch_may_fail(world):
    bad = [{"name": "bad", "tool": "fail"}]
    good = [{"name": "good", "tool": "echo", "input": {"input": 1}}]
    result = await run(
        world,
        branches=[
            {"name": "o", "optional": True, "steps": bad},
            {"name": "r", "required": False, "steps": [{**bad[0], "name": "bad2"}]},
            {"name": "g", "steps": good},
        ],
    )
    assert (result["success"], result["failed_branches"]) == (True, 2)
    assert result["output"] == {"g": 1}


@pytest.mark.parametrize(
    ("criteria", "success"),
    [
        ({"min_successful": 2}, True),
        ({"min_successful": 3}, False),
        ({"percentage": 66}, True),
        ({"percentage": 67}, False),
    ],
)
async def test_success_may_be_a_number_of_branches(world, criteria, success):
    result = await run(
        world,
        steps=[
            {"name": "bad", "tool": "fail"},
            {"name": "a", "tool": "echo", "input": {"input": 1}},
            {"name": "b", "tool": "echo", "input": {"input": 2}},
        ],
        success_criteria=criteria,
    )
    assert result["success"] is success
    assert result["outputs"] == {"a": 1, "b": 2}


async def test_merging_takes_all_or_votes(world):
    steps = [
        {"name": n, "tool": "echo", "input": {"input": v}}
        for n, v in [("a", 1), ("b", 2), ("c", 2)]
    ]
    assert (await run(world, steps=steps, merge_strategy="all"))["output"] == [1, 2, 2]
    assert (await run(world, steps=steps, merge_strategy="vote"))["output"] == 2
    assert (await run(world, steps=steps[:2], merge_strategy="vote"))["output"] == 1
    assert (await run(world, steps=steps))["metadata"]["extra"]["merged"] == {
        "a": 1,
        "b": 2,
        "c": 2,
    }
    failed = await run(world, steps=[{"name": "a", "tool": "fail"}], merge_strategy="vote")
    assert (failed["success"], failed["output"]) == (False, None)


async def test_the_first_success_wins_and_ends_the_rest(world):
    ended = []

    async def slow(*_):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("slow")

    async def second(*_):
        return "won"

    async with asyncio.timeout(10):
        result = await run(
            world,
            steps=[{"name": "bad", "tool": "fail"}, call("slow", slow), call("quick", second)],
            merge_strategy="first",
        )
    assert (result["success"], result["output"], ended) == (True, "won", ["slow"])


async def test_a_branch_has_a_time_out_of_its_own(world):
    async def slow(*_):
        await asyncio.Event().wait()

    result = await run(
        world,
        branches=[{"name": "slow", "timeout_ms": 10, "steps": [call("s", slow)]}],
    )
    assert "branch 'slow' timed out after 0.01s" in result["error"]


async def test_cancelling_ends_every_running_branch(world):
    both, ended = asyncio.Event(), []
    inside = []

    async def hang(context, _):
        inside.append(context.branch)
        if len(inside) == 2:
            both.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(context.branch)

    task = asyncio.create_task(run(world, steps=[call("a", hang), call("b", hang)]))
    async with asyncio.timeout(10):
        await both.wait()
        world.context.cancel.cancel("enough")
        with pytest.raises(ExecutionCancelled, match="enough"):
            await task
    assert sorted(ended) == ["a", "b"]


async def test_the_end_of_the_program_in_a_branch_ends_all(world):
    ended = []

    async def leave(*_):
        raise ScriptExit(3)

    async def hang(*_):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async with asyncio.timeout(10):
        with pytest.raises(ScriptExit):
            await run(world, steps=[call("hang", hang), call("leave", leave)])
    assert ended == [True]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"steps": []}, "Cannot execute parallel workflow without branches"),
        (
            {"steps": [{"name": "a", "tool": "echo"}], "max_concurrency": 0},
            "Max concurrency must be at least 1",
        ),
        ({"branches": [{"name": "a", "steps": []}]}, "Branch 'a' has no steps"),
        (
            {"steps": [{"name": "a", "tool": "echo"}, {"name": "a", "tool": "echo"}]},
            "Branch name 'a' is used twice",
        ),
    ],
)
async def test_what_cannot_run_in_parallel_raises(world, config, message):
    with pytest.raises(ValidationError) as caught:
        await run(world, **config)
    assert message in caught.value.message


async def test_from_python_too(world):
    workflow = ParallelWorkflow(
        "p",
        [
            ParallelBranch("x", (Step.tool("a", "echo", {"input": 1}),)),
            Step.tool("b", "echo", {"input": 2}),
        ],
        max_concurrency=1,
        merge="all",
    )
    result = await workflow.run({"x": 1}, world.context)
    assert (result.output, workflow.kind) == ([1, 2], "parallel")
    assert isinstance(workflow.plan, ParallelPlan)


async def test_branches_by_name(world):
    result = await run(
        world,
        branches={
            "b": [{"tool": "echo", "input": {"input": 2}}],
            "a": {"tool": "echo", "input": {"input": 1}},
        },
    )
    assert result["output"] == {"a": 1, "b": 2}
