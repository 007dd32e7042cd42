"""Agents that are killed in the middle of a tool call go on where they were."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from llmspell_testing import Call, ModelServer, Reply

from .conftest import Finished, User, kill

pytestmark = pytest.mark.slow

TOOLS = '''
import asyncio
import os
from llmspell_core import EffectClass, Parameter, Tool, ToolResult, ToolSchema


class Office(Tool):
    """Does its work in a file, then hangs where the test says."""

    word = ""

    @property
    def schema(self):
        return ToolSchema(self.word, f"Can {self.word}", (Parameter("what", "string"),))

    async def run(self, parameters, context):
        with open(f"{self.word}.log", "a") as file:
            file.write("called\\n")
        self.work(parameters["what"])
        if os.environ.get("HANG") == self.word:
            open("hanging", "w").close()
            await asyncio.get_running_loop().create_future()
        return ToolResult(text=f"{self.word}: {parameters['what']}")


class Note(Office):
    word = "note"
    effect_class = EffectClass.IDEMPOTENT

    def work(self, what):
        with open("note.txt", "w") as file:
            file.write(what)


class Send(Office):
    word = "send"
    effect_class = EffectClass.IRREVERSIBLE

    def work(self, what):
        with open("sent.txt", "a") as file:
            file.write(what + "\\n")


class Book(Office):
    word = "book"
    effect_class = EffectClass.RECONCILABLE

    def work(self, what):
        with open("booked.txt", "a+") as file:
            file.seek(0)
            if what not in file.read():
                file.write(what + "\\n")
'''

SCRIPT = """
local planner = Agent.builder():name("planner"):model("openai/gpt-4o-mini")
    :tools({"calculator", "file_operations", "note"}):build()
local clerk = Agent.builder():name("clerk"):model("openai/gpt-4o-mini")
    :tools({"send", "book"}):build()

local plan = planner:execute("Plan a trip.")
print(plan.text)
local pieces = {}
local done = clerk:invokeStream("Do this: " .. plan.text, function(chunk)
    pieces[#pieces + 1] = chunk.text
end)
print(table.concat(pieces))
print(#planner:get_history(), #clerk:get_history(), done.metadata.tool_rounds)
return done.text
"""
OUTPUT = "Two nights.\nDone.\n6\t6\t2\n"

REPLIES = (
    Reply(
        tools=[
            ("calculator", {"operation": "evaluate", "input": "2 * 90"}),
            ("note", {"what": "trip"}),
            ("file_operations", {"operation": "exists", "path": "/tmp"}),
        ]
    ),
    Reply("Two nights."),
    Reply(tools=[("send", {"what": "letter"})]),
    Reply(tools=[("book", {"what": "room"})]),
    Reply("Done."),
)


@pytest.fixture
def office(user: User) -> User:
    plugins = user.home / "plugins"
    about = plugins / "office_tools-1.0.dist-info"
    about.mkdir(parents=True)
    (plugins / "office_tools.py").write_text(TOOLS)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: office-tools\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[llmspell.tools]\nnote = office_tools:Note\nsend = office_tools:Send\n"
        "book = office_tools:Book\n"
    )
    user.environment["PYTHONPATH"] = str(plugins)
    user.script(SCRIPT)
    return user


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer("openai", *REPLIES) as running:
        yield running


def killed_while(office: User, server: ModelServer, tool: str) -> str:
    """Run the script until *tool* hangs, kill it there; the id of the run."""
    office.environment |= server.environment
    process = office.start("run", "--record", "script.lua", env={"HANG": tool})
    deadline = time.monotonic() + 60
    while not (office.folder / "hanging").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    kill(process)
    listed = office.run("runs", "list", "--output", "json")
    (run,) = json.loads(listed.out)
    return run["run_id"]


def lines(office: User, name: str) -> int:
    file = office.folder / name
    return len(file.read_text().splitlines()) if file.exists() else 0


def went_on(office: User, server: ModelServer, done: Finished, run: str) -> None:
    """The resumed run ended as an undisturbed one, and asked the model nothing twice."""
    assert (done.code, done.out) == (0, OUTPUT), done
    assert len(server.calls) == len(REPLIES)
    assert server.remaining == 0
    replayed = office.run("replay", run)
    assert (replayed.code, replayed.out) == (0, OUTPUT), replayed
    assert len(server.calls) == len(REPLIES)


def answered(call: Call) -> list[str]:
    return [message.content for message in call.messages if message.role == "tool"]


def test_what_may_be_done_twice_is_done_again(office: User, server: ModelServer) -> None:
    run = killed_while(office, server, "note")
    assert len(server.calls) == 1
    done = office.run("resume", run)
    went_on(office, server, done, run)
    assert (lines(office, "note.log"), (office.folder / "note.txt").read_text()) == (2, "trip")
    assert (lines(office, "send.log"), lines(office, "book.log")) == (1, 1)
    results = answered(server.calls[1])
    assert "180" in results[0]
    assert results[1] == "note: trip"


def test_what_cannot_be_taken_back_stops_and_asks(office: User, server: ModelServer) -> None:
    run = killed_while(office, server, "send")
    assert len(server.calls) == 3
    for _ in range(2):
        stopped = office.run("resume", run)
        assert stopped.code != 0
        assert "tool.call" in stopped.err
        assert "its outcome never written; it may or may not have happened" in stopped.err
        assert "--repeat-irreversible" in stopped.err
    assert (len(server.calls), lines(office, "sent.txt"), lines(office, "send.log")) == (3, 1, 1)
    done = office.run("resume", run, "--repeat-irreversible")
    went_on(office, server, done, run)
    # The person who said so wanted it a second time.
    assert (lines(office, "sent.txt"), lines(office, "note.log")) == (2, 1)


def test_what_can_find_out_finds_out(office: User, server: ModelServer) -> None:
    run = killed_while(office, server, "book")
    assert len(server.calls) == 4
    done = office.run("resume", run)
    went_on(office, server, done, run)
    assert (lines(office, "book.log"), lines(office, "booked.txt")) == (2, 1)
    assert (lines(office, "sent.txt"), lines(office, "note.log")) == (1, 1)


def test_an_undisturbed_run_is_the_same(office: User, server: ModelServer) -> None:
    office.environment |= server.environment
    done: Any = office.run("run", "script.lua")
    assert (done.code, done.out) == (0, OUTPUT), done
    assert [call.stream for call in server.calls] == [False, False, True, True, True]
    offered = [call.tools for call in server.calls]
    assert offered[0] == ("calculator", "file_operations", "note")
    assert offered[2] == ("send", "book")
