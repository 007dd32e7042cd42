"""The main job, as the README promises it."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest

from llmspell_testing import Call, Reply

from .conftest import PROJECT, User

SCRIPT = "examples/script-users/getting-started/quickstart.lua"
OFFLINE = ("unshare", "--user", "--map-root-user", "--net")


@pytest.fixture
def reader(user: User) -> User:
    """A user in a copy of the project's documents and examples."""
    for name in ("docs", "examples"):
        shutil.copytree(PROJECT / name, user.folder / name)
    for name in ("README.md", "CONTRIBUTING.md"):
        shutil.copy(PROJECT / name, user.folder / name)
    return user


def test_the_first_run_answers_from_the_documents_with_file_and_lines(reader: User) -> None:
    done = reader.run("run", SCRIPT)

    assert (done.code, done.err) == (0, "")
    assert "No model is configured" in done.out
    assert "export OPENAI_API_KEY" in done.out
    passages = int(re.search(r"(\d+) passages in the collection", done.out)[1])  # type: ignore[index]
    assert passages >= 100
    sources = re.findall(r"Source: (\S+):(\d+)-(\d+)", done.out)
    assert len(sources) == 3
    for file, first, last in sources:
        lines = (reader.folder / file).read_text(encoding="utf-8").splitlines()
        assert 1 <= int(first) <= int(last) <= len(lines)


def test_the_quoted_passage_stands_in_the_cited_lines(reader: User) -> None:
    done = reader.run("run", SCRIPT)

    quoted = re.findall(r"“(.*?)(?: …)?”\n\s+Source: (\S+):(\d+)-(\d+)", done.out)
    assert len(quoted) == 3
    for text, file, first, last in quoted:
        lines = (reader.folder / file).read_text(encoding="utf-8").splitlines()
        cited = " ".join("\n".join(lines[int(first) - 1 : int(last)]).split())
        assert text in cited


def test_the_three_questions_are_answered_by_the_right_pages(reader: User) -> None:
    done = reader.run("run", SCRIPT)

    replay, paths, index = re.findall(r"Source: (\S+?):", done.out)
    assert replay in {
        "docs/technical/run-ledger.md",
        "docs/technical/architecture.md",
        "docs/user-guide/troubleshooting.md",
    }
    assert paths in {"docs/user-guide/security.md", "docs/user-guide/troubleshooting.md"}
    assert index == "docs/technical/vector-store.md"


def test_the_second_run_remembers_the_first_and_reads_nothing_again(reader: User) -> None:
    reader.run("run", SCRIPT)
    second = reader.run("run", SCRIPT)

    assert second.code == 0
    assert "This is run 2. The last one asked 3 questions" in second.out
    assert re.search(r"^0 documents read, \d+ unchanged", second.out, re.MULTILINE)


def test_the_agent_calls_the_tool_through_the_model_loop(reader: User) -> None:
    done = reader.run("run", SCRIPT)

    assert re.search(r"The model called calculator\(.*17 \* 23 \+ 4", done.out)
    assert re.search(r"It answered: .*395", done.out)


def test_with_a_model_the_answers_are_its_own(reader: User, model_server: Any) -> None:
    def answer(call: Call) -> Reply:
        if call.messages[-1].role == "user" and call.tools:
            return Reply(tools=[("calculator", {"input": "17 * 23 + 4"})])
        if call.messages[-1].role == "tool":
            return Reply("The calculator says 395.")
        return Reply("It stops [docs].")

    server = model_server("openai")
    server.answer_always(answer)
    done = reader.run("run", SCRIPT, env=server.environment)

    assert (done.code, done.err) == (0, "")
    assert "No model is configured" not in done.out
    assert done.out.count("It stops [docs].") == 3
    assert "It answered: The calculator says 395." in done.out
    assert "Question: What happens when a replayed script" in server.calls[0].text
    assert next(call.tools for call in server.calls if call.tools) == ("calculator",)
    question, result = server.calls[-1].messages[-2:]
    assert (result.role, result.tool_request_id) == ("tool", question.tool_requests[0].id)
    assert "395" in result.content


def test_a_replay_without_network_and_data_prints_the_same(reader: User) -> None:
    recorded = reader.run("run", "--record", SCRIPT)
    run_id = re.search(r"Recorded run (\S+)", recorded.err)[1]  # type: ignore[index]
    data = reader.home / ".llmspell"
    for name in ("state.db", "rag.db"):
        (data / name).unlink()
    shutil.rmtree(reader.folder / "docs")
    (reader.folder / SCRIPT).unlink()

    offline = reader.run("replay", run_id, prefix=_without_network())

    assert (offline.code, offline.out) == (0, recorded.out)
    assert not (data / "state.db").exists()
    assert not (data / "rag.db").exists()


def test_a_replay_with_a_model_asks_nobody(reader: User, model_server: Any) -> None:
    server = model_server("openai", key="sk-very-secret-key")
    server.answer_always("Recorded answer.")
    recorded = reader.run("run", "--record", SCRIPT, env=server.environment)
    run_id = re.search(r"Recorded run (\S+)", recorded.err)[1]  # type: ignore[index]
    asked = len(server.requests)

    replayed = reader.run("replay", run_id, prefix=_without_network())

    assert (replayed.code, replayed.out) == (0, recorded.out)
    assert len(server.requests) == asked
    for file in (reader.home / ".llmspell").glob("runs.db*"):
        assert b"sk-very-secret-key" not in file.read_bytes()


def _without_network() -> tuple[str, ...]:
    if subprocess.run([*OFFLINE, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody take the network away (unshare)")
    return OFFLINE
