"""Scripts within a budget, and with models that stand in for each other, by the command."""

from __future__ import annotations

import json

import pytest

from llmspell_core import Usage
from llmspell_testing import Call, Fault, Gate, ModelServer, Reply

from .conftest import PROJECT, User

pytestmark = pytest.mark.slow

EXAMPLE = str(PROJECT / "examples/script-users/features/budget.lua")
FANOUT = """
local agent = Agent.builder():name("a"):model("acme/m"):memory_enabled(false):build()
local steps = {}
for i = 1, 4 do steps[i] = {name = "s" .. i, type = "agent", agent = "a", input = "say " .. i} end
local result = Workflow.parallel({name = "fan", steps = steps, fail_fast = false}):execute({})
print(result.success)
local answer, problem = agent:execute("once more")
print(answer and answer.text or problem)
"""


def test_the_example_spends_what_it_says(user: User) -> None:
    done = user.run("run", EXAMPLE)
    assert (done.code, done.out.splitlines()[1:3]) == (
        0,
        ["answered by echo/any", "calls so far: 1"],
    )
    done = user.run("run", "--budget", "1call", EXAMPLE)
    assert done.code == 0
    assert "no answer: Resource limit exceeded: budget calls limit of 1 exceeded" in done.out


def configured(user: User, **servers: ModelServer) -> None:
    tables = [
        f"[providers.{name}]\nprovider_type = 'openai'\nbase_url = '{server.base_url}'\n"
        f"api_key = '{server.key}'\nmax_retries = 0\n"
        "pricing = { '*' = { input = 0.001, output = 0.002 } }\n"
        for name, server in servers.items()
    ]
    if "spare" in servers:
        tables[0] += "fallback = ['spare/other']\n"
    (user.folder / "llmspell.toml").write_text("\n".join(tables))


def test_another_model_answers_and_the_script_and_the_ledger_know(user: User) -> None:
    answer = Reply("from the spare", usage=Usage(100, 50))
    with ModelServer("openai", Fault("overloaded")) as acme, ModelServer("openai", answer) as spare:
        configured(user, acme=acme, spare=spare)
        script = user.script(
            'local a = Agent.builder():model("acme/m"):build():execute("hi")\n'
            'print(a.text, a.metadata.provider .. "/" .. a.metadata.model, a.metadata.cost)'
        )
        done = user.run("run", "--record", script)
    assert (done.code, done.out) == (0, "from the spare\tspare/other\t0.0002\n")
    run = done.err.rpartition("Recorded run ")[2].strip()
    assert user.run("replay", run).out == done.out
    shown = user.run("runs", "show", run).out
    assert "Tokens   150\n" in shown
    assert "Cost     $0.000200\n" in shown


def test_a_budget_over_parallel_branches_holds_and_replays(user: User) -> None:
    with ModelServer("openai") as server:
        server.answer_always(Reply("said", usage=Usage(20, 30)))
        configured(user, acme=server)
        script = user.script(FANOUT)
        done = user.run("run", "--record", "--budget", "3calls", script)
        assert done.code == 0
        assert len(server.calls) == 3
    run = done.err.rpartition("Recorded run ")[2].split()[0]
    again = user.run("replay", run)
    assert (again.code, again.out) == (0, done.out)
    assert "budget calls limit of 3 exceeded" in again.out


TEAM = """
local steps = {}
for i = 1, 3 do
    local name = "agent" .. i
    Agent.builder():name(name):model("acme/m"):tool("calculator"):build()
    steps[i] = {name = "s" .. i, type = "agent", agent = name, input = "count " .. i}
end
local result = Workflow.parallel({name = "team", steps = steps}):execute({})
print(result.success)
"""


def test_agents_at_once_are_told_to_finish_in_a_replay_as_they_were(user: User) -> None:
    together = Gate()

    def answer(call: Call) -> Reply:
        if call.messages[-1].role == "user" and "budget" not in call.text:
            return Reply(tools=[("calculator", {"input": "1 + 1"})], after=together)
        return Reply("two")

    with ModelServer("openai") as server:
        server.answer_always(answer)
        configured(user, acme=server)
        with (user.folder / "llmspell.toml").open("a") as file:
            file.write("[runtime.budget]\ncalls = 6\nsoft = 0.5\n")
        process = user.start("run", "--record", user.script(TEAM))
        for _ in range(3):
            server.wait_for_call()
        together.open()
        out, error = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "true\n")
        # Half of the calls were made when the first of them looked.
        told = [c for c in server.calls if "budget of this task is nearly spent" in c.text]
        assert len(told) == 3
    run = error.rpartition("Recorded run ")[2].split()[0]
    again = user.run("replay", run)
    assert (again.code, again.out, again.err) == (0, out, "")


def test_a_configured_budget_needs_prices_and_says_whose_is_missing(user: User) -> None:
    with ModelServer("openai") as server:
        (user.folder / "llmspell.toml").write_text(
            f"[providers.acme]\nprovider_type = 'openai'\nbase_url = '{server.base_url}'\n"
            "[runtime.budget]\ncost = 0.5\n"
        )
        script = user.script(
            'error((select(2, Agent.builder():model("acme/m"):build():execute("x"))))'
        )
        done = user.run("run", script)
        assert done.code == 1
        assert "The budget limits money, but the price of 'acme/m' is unknown" in done.err
        assert "[providers.NAME.pricing]" in done.err
        show = user.run("config", "show", "runtime.budget", "--format", "json")
    assert json.loads(show.out)["cost"] == 0.5
    assert server.calls == []
