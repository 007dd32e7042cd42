"""Several processes on the same data, and processes that die."""

from __future__ import annotations

import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from llmspell_testing import Call, Fault

from .conftest import User, kill


def test_two_processes_count_without_losing_one(user: User) -> None:
    script = user.script("for i = 1, 200 do State.increment('n') end")
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: user.run("run", script), range(2)))

    assert [d.code for d in done] == [0, 0], done
    assert user.run("exec", "return State.get('n')").out == "400\n"


def test_two_processes_ingest_into_the_same_index(user: User) -> None:
    for name in ("a", "b"):
        (user.folder / name).mkdir()
        for i in range(15):
            text = f"# Note {name}{i}\n\nThe word marker{name}{i} stands here.\n"
            (user.folder / name / f"{i}.md").write_text(text)
    script = user.script("RAG.ingest({path = ARGS[1], glob = '*.md', collection = ARGS[1]})")
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda n: user.run("run", script, "--", n), ("a", "b")))

    assert [d.code for d in done] == [0, 0], done
    for name in ("a", "b"):
        found = user.run(
            "exec", f"return RAG.search('marker{name}7', {{k = 1, hybrid = true}})[1].source"
        )
        assert found.out == f"{name}/7.md\n", found


@pytest.mark.parametrize("documents_before_death", [1, 4, 9])
def test_killed_during_ingest_every_document_is_whole_or_absent(
    user: User, documents_before_death: int
) -> None:
    notes = user.folder / "notes"
    notes.mkdir()
    for i in range(12):
        parts = "\n\n".join(
            f"## Part {p}\n\nunit{i}x{p} is in this part.\n" + "word " * 60 for p in range(8)
        )
        (notes / f"{i:02}.md").write_text(f"# Note {i}\n\n{parts}\n")
    script = user.script(
        """
        for i = 0, 11 do
          RAG.ingest({path = 'notes', glob = ('%02d.md'):format(i), collection = 'n'})
          print(i)
        end
        """
    )
    process = user.start("run", script)
    assert process.stdout is not None
    for _ in range(documents_before_death):
        process.stdout.readline()
    kill(process)

    counts = _chunks_by_document(user.home / ".llmspell" / "rag.db")
    assert len(counts) >= documents_before_death
    assert len(set(counts.values())) == 1, counts

    assert user.run("run", script).code == 0
    whole = _chunks_by_document(user.home / ".llmspell" / "rag.db")
    assert len(whole) == 12
    assert len(set(whole.values())) == 1
    found = user.run("exec", "return RAG.search('unit11x7', {k = 1, hybrid = true})[1].source")
    assert found.out == "notes/11.md\n", found


def _chunks_by_document(file: Path) -> dict[Any, int]:
    with sqlite3.connect(file) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        tables = {row[0] for row in database.execute("select name from sqlite_master")}
        assert "entries" in tables
        return dict(database.execute("select document, count(*) from entries group by document"))


def test_a_killed_workflow_is_resumed_without_repeating_a_step(
    user: User, model_server: Any
) -> None:
    killed: list[bool] = []

    def answer(call: Call) -> str:
        if "third" in call.text and not killed:
            killed.append(True)
            kill(process)
        return f"done: {call.text}"

    server = model_server("openai")
    server.answer_always(answer)
    script = user.script(
        """
        local agent = Agent.builder():name('w'):model('openai/m'):build()
        local steps = {}
        for i, name in ipairs({'first', 'second', 'third', 'fourth'}) do
          steps[i] = {name = name, type = 'agent', agent = agent, input = 'do the ' .. name}
        end
        local result = Workflow.sequential({name = 'chain', steps = steps}):execute({})
        if not result.success then error(result.error, 0) end
        print(result.outputs.fourth)
        """
    )
    process = user.start("run", "--record", script, env=server.environment)
    process.wait(timeout=60)
    assert process.returncode == -9
    process.communicate(timeout=30)

    listed = user.run("runs", "list")
    run_id = re.search(r"([0-9a-f-]{8,})", listed.out)[1]  # type: ignore[index]
    resumed = user.run("resume", run_id, env=server.environment)

    assert (resumed.code, resumed.out) == (0, "done: do the fourth\n"), resumed
    assert [call.text.split()[-1] for call in server.calls] == [
        "first",
        "second",
        "third",
        "third",
        "fourth",
    ]


def test_a_failed_recorded_run_prints_its_id_and_can_be_resumed(
    user: User, model_server: Any
) -> None:
    broken = [True]

    def answer(call: Call) -> str | Fault:
        return Fault("auth") if broken[0] and "second" in call.text else f"ok {call.text}"

    server = model_server("openai")
    server.answer_always(answer)
    script = user.script(
        """
        local agent = Agent.builder():name('w'):model('openai/m'):build()
        for _, word in ipairs({'first', 'second'}) do
          local reply, err = agent:execute(word)
          if not reply then error(err, 0) end
          print(reply.text)
        end
        """
    )
    failed = user.run("run", "--record", script, env=server.environment)
    assert failed.code == 1
    run_id = re.search(r"llmspell resume (\S+)", failed.err)[1]  # type: ignore[index]

    broken[0] = False
    resumed = user.run("resume", run_id, env=server.environment)

    assert (resumed.code, resumed.out) == (0, "ok first\nok second\n")
    assert [call.text for call in server.calls] == ["first", "second", "second"]
