"""Run by test_workflows_resume.py: a workflow of four steps that is killed in the third."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from llmspell_core import (
    Config,
    ExecutionContext,
    Parameter,
    Recording,
    Replaying,
    Resuming,
    RunRecord,
    RunStatus,
    Services,
    Tool,
    ToolResult,
    ToolSchema,
)
from llmspell_kernel import SqliteLedger
from llmspell_testing import ToolsDouble
from llmspell_workflows._parsing import workflow_from

MODE, HOME = sys.argv[1], Path(sys.argv[2])


def log(word: str) -> None:
    with (HOME / "log").open("a") as file:
        file.write(word + "\n")


class Work(Tool):
    @property
    def schema(self) -> ToolSchema:
        return ToolSchema("work", "Work.", (Parameter("word", "string", "The word."),))

    async def run(self, parameters: dict, context: ExecutionContext) -> ToolResult:
        word = parameters["word"]
        if word == "three":
            log("three-begun")
            if MODE == "record":
                print("inside three", flush=True)
                await asyncio.Event().wait()
        log(word.partition(" ")[0])
        return ToolResult(value=word)


def two(parameters, context):
    log("two")
    context.set("note", "set by two")
    return ["two", parameters["before"]]


STEPS = [
    {"name": "one", "tool": "work", "input": {"word": "one"}},
    {"name": "two", "function": two, "parameters": {"before": "{{one.output}}"}},
    {"name": "three", "tool": "work", "input": {"word": "three"}},
    {"name": "four", "tool": "work", "input": {"word": "four after {{three.output}}"}},
]
TABLES = {
    "sequential": {"steps": STEPS},
    "parallel": {"branches": [{"name": "only", "steps": STEPS}]},
    "loop": {"iterator": {"range": [1, 1]}, "body": STEPS},
}


def effects(ledger: SqliteLedger):
    if MODE == "replay":
        return Replaying(ledger, "run")
    ledger.open_run(RunRecord("run", "killed_workflow", started_at=time.time(), pid=os.getpid()))
    return Recording(ledger, "run") if MODE == "record" else Resuming(ledger, "run")


async def main() -> None:
    ledger = SqliteLedger(str(HOME / "runs.db"))
    async with Services(Config(home=str(HOME))) as services:
        services.provide("tools", ToolsDouble(Work()))
        context = ExecutionContext(services, effects=effects(ledger), execution_id="e")
        kind = os.environ["KIND"]
        workflow = workflow_from({"name": "killed", **TABLES[kind]}, kind, id="workflow_1")
        result = await workflow.run({"x": 1}, context)
        shared = await services.state.get("workflow", "workflow_1:shared:note", context)
        if MODE != "replay":
            ledger.close_run("run", RunStatus.COMPLETED, finished_at=time.time())
    ledger.close()
    answer = {
        "status": result.status,
        "outputs": dict(result.outputs),
        "error": result.error,
        "id": result.execution_id,
        "duration": result.duration_ms,
        "shared": shared,
    }
    print(json.dumps(answer))


asyncio.run(main())
