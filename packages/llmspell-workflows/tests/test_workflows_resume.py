"""A recorded workflow that is killed in the middle, and resumed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmspell_core import EffectClass, Replaying
from llmspell_testing import LedgerDouble, make_context, recorded_and_replayed
from llmspell_workflows import SequentialWorkflow, Step

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("killed_workflow.py")


def run_program(mode, home, **more):
    environment = {**os.environ, "LLMSPELL_HOME": str(home), **more}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), mode, str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.mark.parametrize("kind", ["sequential", "parallel", "loop"])
def test_a_killed_run_goes_on_after_its_last_finished_step(tmp_path, kind):
    first = run_program("record", tmp_path, KIND=kind)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "inside three\n", first.stderr.read()
    finally:
        first.kill()
        first.communicate(timeout=30)
    assert (tmp_path / "log").read_text().split() == ["one", "two", "three-begun"]

    second = run_program("resume", tmp_path, KIND=kind)
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    result = json.loads(out.splitlines()[-1])
    assert (tmp_path / "log").read_text().split() == [
        "one",
        "two",
        "three-begun",
        "three-begun",
        "three",
        "four",
    ]
    assert result["status"] == "completed"
    assert result["outputs"]["two"] == ["two", "one"]
    assert result["outputs"]["four"] == "four after three"
    assert result["shared"] == "set by two"

    third = run_program("replay", tmp_path, KIND=kind)
    out, err = third.communicate(timeout=60)
    assert third.returncode == 0, err
    assert json.loads(out.splitlines()[-1]) == result
    assert len((tmp_path / "log").read_text().split()) == 6


async def test_a_python_function_is_not_called_again_in_a_replay_but_what_it_changed_is(world):
    calls = []

    def change(parameters, context):
        calls.append(parameters)
        context.set("shared", "yes")
        context.state["n"] = 5
        return {"done": True}

    workflow = SequentialWorkflow(
        "w",
        [
            Step.custom("it", change, {"p": 1}),
            Step.tool("see", "echo", {"input": "{{shared}} {{it.done}}"}),
            Step.custom("state", lambda parameters, context: dict(context.state)),
        ],
    )

    async def work(context):
        return (await workflow.run({"x": 1}, context)).outputs

    first, second = await recorded_and_replayed(
        work, LedgerDouble(), record_with=world.services, replay_with=world.services
    )
    assert (
        first
        == second
        == {"it": {"done": True}, "see": "yes True".replace("T", "t"), "state": {"n": 5}}
    )
    assert calls == [{"p": 1}]


async def test_a_changed_workflow_stops_the_replay_and_no_strategy_hides_it(world):
    from llmspell_core import ReplayError
    from llmspell_testing import recording_context, replaying_context

    ledger = LedgerDouble()
    table = {
        "name": "w",
        "error_strategy": "continue",
        "steps": [{"name": "a", "tool": "echo", "input": {"input": 1}, "retry_count": 3}],
    }
    world.host.context = recording_context(ledger, world.services)
    assert (await world.execute(world.face.sequential(table)))["success"]
    world.host.context = replaying_context(ledger, world.services)
    table["steps"][0]["input"] = {"input": 2}
    with pytest.raises(ReplayError, match="differs from the recording"):
        await world.execute(world.face.sequential(table))
    assert isinstance(world.host.context.effects, Replaying)
    assert world.host.context.effects.mismatch is not None


async def test_parallel_results_are_the_same_in_a_replay(world):
    import asyncio

    gate = asyncio.Event()

    async def late(input=None):
        await gate.wait()
        return "late"

    def early(input=None):
        gate.set()
        return "early"

    world.tool("late", late)
    world.tool("early", early)
    workflow = {
        "name": "p",
        "steps": [{"name": "a", "tool": "late"}, {"name": "b", "tool": "early"}],
    }

    async def work(context):
        world.host.context = context
        return await world.execute(world.face.parallel(workflow))

    first, second = await recorded_and_replayed(
        work, LedgerDouble(), record_with=world.services, replay_with=world.services
    )
    assert first["outputs"] == {"a": "late", "b": "early"}
    assert first == second


async def test_an_irreversible_function_is_declared_so(world):
    from llmspell_testing import recording_context

    ledger = LedgerDouble()
    step = Step.custom("pay", lambda p, c: 1, effect_class=EffectClass.IRREVERSIBLE)
    await SequentialWorkflow("w", [step]).run("go", recording_context(ledger, world.services))
    (effect,) = [e for e in ledger.effects("run") if e.intent.kind == "workflow.function"]
    assert effect.intent.effect_class is EffectClass.IRREVERSIBLE
    assert make_context(world.services).effects.recording is False


async def test_a_decided_race_is_decided_the_same_way_in_a_replay(world):
    import asyncio

    reached = asyncio.Event()
    ran = []

    async def slow(input=None):
        ran.append("slow")
        reached.set()
        await asyncio.Event().wait()

    async def breaks(input=None):
        await reached.wait()
        raise RuntimeError("boom")

    async def wins(input=None):
        await reached.wait()
        return "won"

    for name, function in (("slow", slow), ("breaks", breaks), ("wins", wins)):
        world.tool(name, function)

    def steps(*tools):
        return [{"name": tool, "tool": tool} for tool in tools]

    async def work(context):
        world.host.context = context
        tables = [
            {"name": "fail fast", "steps": steps("slow", "breaks")},
            {"name": "first", "steps": steps("slow", "wins"), "merge_strategy": "first"},
            {"name": "late", "steps": [{**steps("slow")[0], "timeout_ms": 10}]},
            {"name": "too long", "steps": steps("slow"), "timeout_ms": 10},
        ]
        kinds = [world.face.parallel] * 2 + [world.face.sequential] * 2
        results = [
            await world.execute(make(table)) for make, table in zip(kinds, tables, strict=True)
        ]
        return [(r["status"], r["output"], r["error"], r["outputs"]) for r in results]

    async with asyncio.timeout(30):
        first, second = await recorded_and_replayed(
            work, LedgerDouble(), record_with=world.services, replay_with=world.services
        )
    assert [status for status, *_ in first] == ["failed", "completed", "failed", "timeout"]
    assert first == second
    assert ran == ["slow"] * 4
