"""What scripts do with agents, against a model over HTTP: forms, approval, budgets, images."""

from __future__ import annotations

import json
import re
from base64 import b64encode

import pytest

from llmspell_core import Usage
from llmspell_testing import ModelServer, Reply

from .conftest import User

pytestmark = pytest.mark.slow

FORM = """
local agent = Agent.builder():name("geographer"):model("openai/gpt-4o-mini")
    :output_schema({
        type = "object",
        properties = {
            name = {type = "string"},
            people = {type = "integer", minimum = 0},
            rivers = {type = "array", items = {type = "string"}},
        },
        required = {"name", "people", "rivers"},
        additionalProperties = false,
    }):build()
local result = agent:execute("Which city?")
print(result.data.name, result.data.people, #result.data.rivers, result.usage.total_tokens)
local failed, message = agent:execute("And now?")
print(failed, message)
local ok, refusal = pcall(function() Agent.builder():output_schema({type = "objekt"}) end)
print(ok, refusal)
"""


def test_an_answer_in_a_form_is_a_table(user: User) -> None:
    good = {"name": "Oslo", "people": 717_710, "rivers": []}
    with ModelServer(
        "openai",
        Reply(data={"name": "Oslo", "people": -5, "rivers": []}, usage=Usage(10, 5)),
        Reply(data=good, usage=Usage(20, 5)),
        "I do not know.",
        "I still do not know.",
    ) as server:
        done = user.run("run", user.script(FORM), env=server.environment)
    lines = done.out.splitlines()
    assert lines[0].split() == ["Oslo", "717710", "0", "40"]
    assert lines[1].startswith("nil\tOutput error: the answer of 'geographer' does not fit")
    assert "is not JSON" in lines[1]
    refused = next(line for line in lines if line.startswith("false"))
    assert "Not a JSON Schema: at $.type" in refused
    assert server.calls[0].schema is not None
    assert server.calls[0].schema["properties"]["people"]["minimum"] == 0
    assert "-5 is less than the minimum of 0" in server.calls[1].text


APPROVAL = """
local asked = 0
local agent = Agent.builder():name("cleaner"):model("openai/gpt-4o-mini")
    :tool("file_operations")
    :approval(function(request)
        asked = asked + 1
        print("may " .. request.agent .. " " .. request.operation .. "? " .. request.reason)
        if request.parameters.path:find("keep") then return false, "never" end
        if request.parameters.path:find("later") then return "not today" end
        return true
    end)
    :build()
print(agent:execute("Clean up " .. ARGS[1]).text)
print(asked)
"""


def test_a_function_of_the_script_is_asked_and_its_answers_are_recorded(user: User) -> None:
    folder = user.folder
    for name in ("keep.txt", "later.txt", "trash.txt"):
        (folder / name).write_text(name)

    def delete(name: str) -> tuple[str, dict[str, str]]:
        return "file_operations", {"operation": "delete", "path": str(folder / name)}

    read = ("file_operations", {"operation": "read", "path": str(folder / "keep.txt")})
    names = ("keep.txt", "later.txt", "trash.txt")
    with ModelServer(
        "openai", Reply(tools=[read, *map(delete, names)]), Reply("Cleaned.")
    ) as server:
        environment = {**server.environment, "LLMSPELL_TOOLS_ALLOWED_PATHS": str(folder)}
        script = user.script(APPROVAL)
        done = user.run("run", "--record", script, str(folder), env=environment)
        assert done.code == 0, done
        results = [m.content for m in server.calls[1].messages if m.role == "tool"]
    assert sorted(path.name for path in folder.glob("*.txt")) == ["keep.txt", "later.txt"]
    assert results[0] == "keep.txt"
    assert "was not approved: the answer was no" in json.loads(results[1])["error"]
    assert "was not approved: not today" in json.loads(results[2])["error"]
    assert done.out.splitlines() == [*["may cleaner delete? destructive"] * 3, "Cleaned.", "3"]
    found = re.search(r"Recorded run (\S+)", done.err)
    assert found is not None
    replayed = user.run("replay", found.group(1))
    assert (replayed.code, replayed.out) == (0, done.out), replayed


BUDGET = """
local agent = Agent.builder():name("spender"):model("openai/gpt-4o-mini")
    :tool("calculator", {timeout = 5000, retry = 1})
    :budget({calls = 4, soft = 0.5}):build()
local result = agent:execute({
    text = "What is in it?",
    media = {{base64 = ARGS[1], format = "png"}},
    temperature = 0,
})
print(result.text, result.finish_reason, result.metadata.budget.calls, #result.tool_calls)
"""


def test_a_budget_tells_the_model_to_finish_and_an_image_goes_along(user: User) -> None:
    pixel = b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
    asked = ("calculator", {"operation": "evaluate", "input": "1 + 1"})
    more = ("calculator", {"operation": "evaluate", "input": "2 + 2"})
    with ModelServer(
        "openai", Reply(tools=[asked]), Reply(tools=[more]), Reply("Two and four.")
    ) as server:
        done = user.run("run", user.script(BUDGET), pixel, env=server.environment)
    assert done.code == 0, done
    assert done.out.split("\t") == ["Two and four.", "stop", "3", "2\n"]
    (medium,) = server.calls[0].messages[-1].media
    assert (medium.media_type, medium.base64()) == ("image/png", pixel)
    assert [call.tool_choice for call in server.calls] == [None, None, "none"]
    assert "budget of this task is nearly spent" in server.calls[2].text
