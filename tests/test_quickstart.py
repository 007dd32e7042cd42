"""The main job, as the README promises it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest

from .conftest import PROJECT, User, answering

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
    def answer(request: dict[str, Any]) -> tuple[int, str, bytes]:
        asked = request["messages"][-1]
        if asked["role"] == "user" and request.get("tools"):
            call = ("call_1", "calculator", json.dumps({"input": "17 * 23 + 4"}))
            return answering(calls=[call])(request)
        if asked["role"] == "tool":
            return answering("The calculator says 395.")(request)
        return answering("It stops [docs].")(request)

    server = model_server(answer)
    done = reader.run("run", SCRIPT, env={"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-x"})

    assert (done.code, done.err) == (0, "")
    assert "No model is configured" not in done.out
    assert done.out.count("It stops [docs].") == 3
    assert "It answered: The calculator says 395." in done.out
    first = server.requests[0]
    assert "Question: What happens when a replayed script" in first["messages"][-1]["content"]
    tool = next(r for r in server.requests if r.get("tools"))["tools"][0]["function"]
    assert tool["name"] == "calculator"
    result = server.requests[-1]["messages"][-1]
    assert (result["role"], result["tool_call_id"]) == ("tool", "call_1")
    assert "395" in result["content"]


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
    server = model_server(answering("Recorded answer."))
    environment = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-very-secret-key"}
    recorded = reader.run("run", "--record", SCRIPT, env=environment)
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
