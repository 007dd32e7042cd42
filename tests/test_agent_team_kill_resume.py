"""A team that is killed while one of its members uses a tool goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmspell_testing import ModelServer, Reply

from .conftest import User
from .test_agent_kill_resume import TOOLS, killed_while, lines

pytestmark = pytest.mark.slow

SCRIPT = """
local function agent(name, tools)
  return Agent.builder():name(name):model("openai/gpt-4o-mini"):tools(tools):build()
end
local researcher = agent("researcher", {"note"})
local writer = agent("writer", {})
local editor = agent("editor", {})
local clerk = agent("clerk", {"book"})
Agent.wrap_as_tool(clerk, {tool_name = "ask_clerk"})
local draft = Agent.create_composite("draft", {researcher, writer}, "sequential")
local boss = agent("boss", {"ask_clerk"})
local office = Agent.create_composite("office", {draft, editor, boss}, "sequential")

local r = office:execute("Write to Ulm.")
print(r.text)
for _, done in ipairs(r.metadata.agent_results) do print(done.agent, done.text) end
print(#r.tool_calls, r.usage.total_tokens > 0, office:get_metrics().requests_total)
return r.text
"""
OUTPUT = """Sent and booked.
draft	Dear Ulm
editor	Dear Ulm!
boss	Sent and booked.
2	true	1
"""
REPLIES = (
    Reply(tools=[("note", {"what": "facts"})]),
    Reply("Facts"),
    Reply("Dear Ulm"),
    Reply("Dear Ulm!"),
    Reply(tools=[("ask_clerk", {"text": "Book it."})]),
    Reply(tools=[("book", {"what": "room"})]),
    Reply("Booked."),
    Reply("Sent and booked."),
)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer("openai", *REPLIES) as running:
        yield running


@pytest.fixture
def office(user: User) -> User:
    plugins = user.home / "plugins"
    about = plugins / "office_tools-1.0.dist-info"
    about.mkdir(parents=True)
    (plugins / "office_tools.py").write_text(TOOLS)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: office-tools\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[llmspell.tools]\nnote = office_tools:Note\nbook = office_tools:Book\n"
    )
    user.environment["PYTHONPATH"] = str(plugins)
    user.script(SCRIPT)
    return user


@pytest.mark.parametrize(
    ("tool", "asked", "notes", "bookings"), [("note", 1, 2, 1), ("book", 6, 1, 2)]
)
def test_members_that_were_done_are_not_asked_again(
    office: User, server: ModelServer, tool: str, asked: int, notes: int, bookings: int
) -> None:
    run = killed_while(office, server, tool)
    assert len(server.calls) == asked
    done = office.run("resume", run)
    assert (done.code, done.out) == (0, OUTPUT), done
    assert (len(server.calls), server.remaining) == (len(REPLIES), 0)
    assert (lines(office, "note.log"), lines(office, "book.log")) == (notes, bookings)
    assert lines(office, "booked.txt") == 1
    replayed = office.run("replay", run)
    assert (replayed.code, replayed.out) == (0, OUTPUT), replayed
    assert len(server.calls) == len(REPLIES)
