"""`llmspell chat`, at a terminal and in a pipe, with a model over HTTP."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli_terminal import CTRL_C, CTRL_D, Terminal, clean_environment
from llmspell_core import Usage
from llmspell_testing import Fault, Gate, ModelServer, Reply

pytestmark = pytest.mark.slow

SPENT = Usage(1000, 1000)
MODEL = "openai/gpt-4o-mini"
PRICE = "[openai/gpt-4o-mini · 2,000 tokens, $0.000750]"


@dataclass
class Place:
    """A directory with a configuration that leads to a server."""

    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "llmspell", *arguments],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback (most recent call last)" not in done.stderr
        return done

    def terminal(self, *arguments: str) -> Terminal:
        return Terminal(*arguments, folder=self.folder, environment=self.environment)

    def path(self, name: str) -> Path:
        return self.folder / name


At = Callable[[ModelServer], Place]


@pytest.fixture
def at(tmp_path: Path) -> At:
    def make(server: ModelServer) -> Place:
        folder = tmp_path / "here"
        folder.mkdir()
        (folder / "llmspell.toml").write_text(
            f"[providers.openai]\nbase_url = {json.dumps(server.base_url)}\n"
            f'api_key = "{server.key}"\ndefault_model = "gpt-4o-mini"\nmax_retries = 0\n'
            "[providers.openai.pricing]\n"
            '"gpt-4o-mini" = { input = 0.00015, output = 0.0006 }\n'
        )
        return Place(folder, clean_environment(tmp_path))

    return make


# -- without a terminal ---------------------------------------------------------------------------


def test_one_question_gets_one_answer_and_its_price(at: At) -> None:
    with ModelServer("openai", Reply("Six times nine.", usage=SPENT)) as server:
        done = at(server).run("chat", MODEL, "-m", "What is 42?", "--system", "Be short.")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Six times nine.\n", PRICE + "\n")
    (call,) = server.calls
    assert call.stream
    assert [(m.role, m.content) for m in call.messages] == [
        ("system", "Be short."),
        ("user", "What is 42?"),
    ]


def test_every_line_of_a_pipe_is_a_question_of_one_conversation(at: At) -> None:
    with ModelServer("openai", "Hello Ada.", "Ada.") as server:
        done = at(server).run("chat", "--quiet", stdin="I am Ada.\n\nWho am I?\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello Ada.\nAda.\n", "")
    assert [m.content for m in server.calls[1].messages] == [
        "I am Ada.",
        "Hello Ada.",
        "Who am I?",
    ]


@pytest.mark.parametrize("arguments", [("-",), ("-m", "-"), (MODEL, "-m", "-")])
def test_a_whole_pipe_can_be_one_question(at: At, arguments: tuple[str, ...]) -> None:
    with ModelServer("openai", "ok") as server:
        done = at(server).run("chat", *arguments, stdin="one\ntwo\n")
    assert (done.returncode, done.stdout) == (0, "ok\n")
    assert server.calls[0].text == "one\ntwo"


def test_programs_get_a_document(at: At) -> None:
    reply = Reply("Done.", usage=SPENT)
    tools = Reply(tools=[("calculator", {"input": "6 * 7"})], usage=SPENT)
    with ModelServer("openai", tools, reply) as server:
        done = at(server).run("chat", "-m", "6 * 7?", "--tool", "calculator", "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    (turn,) = document.pop("turns")
    assert document == {
        "status": "success",
        "run": None,
        "answer": "Done.",
        "tokens": 4000,
        "cost": pytest.approx(0.0015),
    }
    assert turn["tool_calls"] == [
        {"name": "calculator", "parameters": {"input": "6 * 7"}, "success": True}
    ]
    assert (turn["question"], turn["model"], turn["finish_reason"]) == ("6 * 7?", MODEL, "stop")


def test_a_failure_is_an_error_and_ends_a_pipe(at: At) -> None:
    with ModelServer("openai", "one", Fault("auth")) as server:
        done = at(server).run("chat", "--quiet", stdin="a\nb\nc\n")
    assert (done.returncode, done.stdout) == (1, "one\n")
    assert "Error: LLM provider error: OpenAI refused the API key" in done.stderr
    assert len(server.calls) == 2


def test_without_a_model_it_says_which_ways_there_are(tmp_path: Path) -> None:
    place = Place(tmp_path, clean_environment(tmp_path))
    done = place.run("chat", "-m", "hi")
    assert done.returncode == 1
    assert "Error: Configuration error: Model is required" in done.stderr
    assert "Hint: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-m", ""), "the message is empty"),
        (("-m", "-"), "there is no message on stdin"),
        (("-m", "x", "--tool", "calculatr"), "calculatr"),
        (("-m", "x", "nowhere/m"), "Unsupported provider 'nowhere'"),
    ],
)
def test_what_cannot_be_asked_is_an_error(at: At, arguments: tuple[str, ...], words: str) -> None:
    with ModelServer("openai") as server:
        done = at(server).run("chat", *arguments)
    assert done.returncode == 1
    assert words in done.stderr


def test_a_tool_that_destroys_is_refused_where_nobody_can_be_asked(at: At) -> None:
    wish = Reply(tools=[("file_operations", {"operation": "delete", "path": "precious"})])
    with ModelServer("openai", wish, "I could not.") as server:
        place = at(server)
        place.path("precious").write_text("kept")
        done = place.run("chat", "-q", "-m", "Delete it.", "--tool", "file_operations")
        assert done.stdout == "I could not.\n"
        assert place.path("precious").read_text() == "kept"
    assert server.calls[1].messages[-1].role == "tool"
    assert '"success": false' in server.calls[1].messages[-1].content


def test_a_budget_holds_for_the_whole_conversation(at: At) -> None:
    with ModelServer("openai", Reply("one", usage=SPENT)) as server:
        done = at(server).run("chat", "-q", "--budget", "1call", stdin="a\nb\n")
        assert done.returncode == 1
        assert done.stdout == "one\n"
        assert "Resource limit exceeded: budget calls limit of 1 exceeded" in done.stderr
    assert len(server.calls) == 1


def test_money_runs_out_before_it_is_overspent(at: At) -> None:
    with ModelServer("openai", Reply("one", usage=SPENT)) as server:
        done = at(server).run("chat", "-q", "--max-cost", "0.000752", stdin="a\nb\n")
    assert done.returncode == 1
    assert "budget cost limit of $0.000752 exceeded (used: $0.00075)" in done.stderr
    # That much pays for about 1,250 tokens of answer, no more.
    assert 1200 < server.calls[0].body["max_tokens"] < 1254


@pytest.mark.parametrize("value", ["5", "x", "0usd", "1.5calls", "$5tokens", "1usd,2usd", ""])
def test_a_budget_that_is_none_is_wrong_usage(at: At, value: str) -> None:
    with ModelServer("openai") as server:
        place = at(server)
        for command in (("chat", "-m", "x"), ("exec", "return 1")):
            done = place.run(command[0], "--budget", value, *command[1:])
            assert done.returncode == 2
            assert "'--budget'" in done.stderr


def test_a_conversation_is_kept_in_a_file_and_goes_on_from_there(at: At) -> None:
    with ModelServer("openai", "Hello Ada.", "Ada.") as server:
        place = at(server)
        place.run("chat", "-m", "I am Ada.", "--history", "talk.json")
        kept = json.loads(place.path("talk.json").read_text())
        assert [(m["role"], m["content"]) for m in kept["messages"]] == [
            ("user", "I am Ada."),
            ("assistant", "Hello Ada."),
        ]
        place.run("chat", "-m", "Who am I?", "--history", "talk.json")
        assert len(json.loads(place.path("talk.json").read_text())["messages"]) == 4
        place.path("talk.json").write_text("[]")
        done = place.run("chat", "-m", "x", "--history", "talk.json")
    assert [m.content for m in server.calls[1].messages] == [
        "I am Ada.",
        "Hello Ada.",
        "Who am I?",
    ]
    assert (done.returncode, "talk.json does not hold a conversation" in done.stderr) == (1, True)


def test_a_recorded_conversation_replays_offline(at: At) -> None:
    tools = Reply(tools=[("calculator", {"input": "6 * 7"})], usage=SPENT)
    with ModelServer("openai", tools, Reply("42.", usage=SPENT), Reply("Yes.", usage=SPENT)) as s:
        place = at(s)
        arguments = ("chat", "--record", "--tool", "calculator")
        done = place.run(*arguments, stdin="6 * 7?\nSure?\n")
    run = done.stderr.rpartition("Recorded run ")[2].strip()
    again = place.run("replay", run)
    assert (again.returncode, again.stdout) == (0, done.stdout) == (0, "42.\nYes.\n")
    assert again.stderr.splitlines() == [
        "> 6 * 7?",
        "[Calling tool: calculator...]",
        "[Tool call complete: calculator]",
        "[openai/gpt-4o-mini · 4,000 tokens, $0.001500]",
        "> Sure?",
        "[openai/gpt-4o-mini · 2,000 tokens, $0.000750 · total 6,000 tokens, $0.002250]",
    ]
    shown = place.run("runs", "show", run).stdout
    assert "Tokens   6000" in shown
    assert "Cost     $0.002250" in shown
    assert "chat.turn" in shown


def test_a_killed_conversation_resumes_with_the_question_that_was_being_answered(at: At) -> None:
    gate = Gate()
    stuck = Reply("never", after=gate)
    with ModelServer("openai", "Hello Ada.", stuck, "Ada.", "Bye Ada.") as server:
        place = at(server)
        process = subprocess.Popen(
            [sys.executable, "-m", "llmspell", "chat", "--record", "-q"],
            cwd=place.folder,
            env=place.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write("I am Ada.\nWho am I?\n")
        process.stdin.flush()
        server.wait_for_call()
        server.wait_for_call()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        gate.open()
        (run,) = json.loads(place.run("runs", "list", "--output", "json").stdout)
        assert run["status"] == "killed"
        done = place.run("resume", run["run_id"], stdin="Bye\n")
    assert (done.returncode, done.stdout) == (0, "Hello Ada.\nAda.\nBye Ada.\n")
    assert [m.content for m in server.calls[-1].messages] == [
        "I am Ada.",
        "Hello Ada.",
        "Who am I?",
        "Ada.",
        "Bye",
    ]


# -- at a terminal --------------------------------------------------------------------------------


def test_a_talk_at_a_terminal_streams_and_counts(at: At) -> None:
    gate = Gate()
    slow = Reply(pieces=("First", " second"), between=gate, usage=SPENT)
    with ModelServer("openai", slow, Reply("Fine.", usage=SPENT)) as server:
        place = at(server)
        with place.terminal("chat") as talk:
            talk.until("Talking to openai/gpt-4o-mini", "> ")
            talk.type("Count.\n")
            talk.until("First")
            gate.open()
            talk.until(" second", PRICE, "> ")
            talk.type("Good?\n")
            talk.until("Fine.", "total 4,000 tokens, $0.001500]", "> ")
            talk.type(CTRL_D)
            assert talk.end() == 0


def test_ctrl_c_stops_the_answer_and_not_the_program(at: At) -> None:
    gate = Gate()
    endless = Reply(pieces=("Once upon", " a time"), between=gate)
    with ModelServer("openai", endless, "The end.") as server:
        with at(server).terminal("chat", "-q") as talk:
            talk.until("> ")
            talk.type("A story!\n")
            talk.until("Once upon")
            talk.type(CTRL_C)
            talk.until("Stream interrupted by Ctrl+C", "> ")
            # The connection is closed: the vendor stops generating, and charging.
            server.calls[0].disconnected.wait_blocking(30)
            talk.type("Short!\n")
            talk.until("The end.", "> ")
            talk.type("/quit\n")
            assert talk.end() == 0
        gate.open()
    assert [(m.role, m.content) for m in server.calls[1].messages] == [
        ("user", "A story!"),
        ("assistant", "Once upon"),
        ("user", "Short!"),
    ]


def test_ctrl_c_before_the_first_word_stops_it_too_and_at_an_empty_prompt_it_leaves(at: At) -> None:
    gate = Gate()
    with ModelServer("openai", Reply("never", after=gate)) as server:
        with at(server).terminal("chat", "-q") as talk:
            talk.until("> ")
            talk.type("Hello?\n")
            server.wait_for_call()
            talk.type(CTRL_C)
            talk.until("Stream interrupted by Ctrl+C", "> ")
            talk.type("half a question")
            talk.until("half a question")
            talk.type(CTRL_C)
            talk.until("> ")
            talk.type(CTRL_C)
            assert talk.end() == 0
        gate.open()


def test_what_would_move_the_cursor_is_shown_instead(at: At) -> None:
    server = ModelServer("openai", "red\x1b[31m \u202eback\u00a0ok")
    with server, at(server).terminal("chat", "-q") as talk:
        talk.until("> ")
        talk.type("Colour!\n")
        talk.until("red\\u001b[31m \\u202eback\u00a0ok", "> ")
        talk.type(CTRL_D)
        assert talk.end() == 0


def test_ctrl_c_ends_a_pipe_and_keeps_what_was_said(at: At) -> None:
    gate = Gate()
    with ModelServer("openai", Reply(pieces=("Once upon", " a time"), between=gate)) as server:
        place = at(server)
        process = subprocess.Popen(
            [sys.executable, "-m", "llmspell", "chat", "-q", "-m", "A story!"],
            cwd=place.folder,
            env=place.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.read(9) == "Once upon"
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=30)
        gate.open()
    assert (process.returncode, out, error) == (130, "", "Interrupted: interrupted\n")


def test_a_failure_is_shown_and_the_talk_goes_on(at: At) -> None:
    server = ModelServer("openai", Fault("server"), "Back.")
    with server, at(server).terminal("chat", "-q") as talk:
        talk.until("> ")
        talk.type("Hello?\n")
        talk.until("Error: LLM provider error: OpenAI completion failed: HTTP 500", "> ")
        talk.type("Again?\n")
        talk.until("Back.", "> ")
        talk.type(CTRL_D)
        assert talk.end() == 0


@pytest.mark.parametrize(("answer", "left"), [("y\n", False), ("n\n", True)])
def test_somebody_at_the_terminal_is_asked_before_a_tool_destroys(
    at: At, answer: str, left: bool
) -> None:
    wish = Reply(tools=[("file_operations", {"operation": "delete", "path": "precious"})])
    with ModelServer("openai", wish, "So be it.") as server:
        place = at(server)
        place.path("precious").write_text("kept")
        with place.terminal("chat", "-q", "--tool", "file_operations") as talk:
            talk.until("> ")
            talk.type("Delete it.\n")
            talk.until("Calling tool: file_operations", "precious", "Allow it?")
            talk.type(answer)
            talk.until("So be it.", "> ")
            talk.type(CTRL_D)
            assert talk.end() == 0
        assert place.path("precious").exists() is left


def test_ctrl_c_at_the_question_stops_the_answer(at: At) -> None:
    wish = Reply(tools=[("file_operations", {"operation": "delete", "path": "precious"})])
    with ModelServer("openai", wish) as server:
        place = at(server)
        place.path("precious").write_text("kept")
        with place.terminal("chat", "-q", "--tool", "file_operations") as talk:
            talk.until("> ")
            talk.type("Delete it.\n")
            talk.until("Allow it?")
            talk.type(CTRL_C)
            talk.until("Stream interrupted by Ctrl+C", "> ")
            talk.type(CTRL_D)
            assert talk.end() == 0
        assert place.path("precious").exists()


def test_commands_change_the_talk(at: At) -> None:
    with ModelServer("openai", "a", "b") as server:
        place = at(server)
        with place.terminal("chat", "-q") as talk:

            def say(line: str, *answers: str) -> None:
                talk.type(line + "\n")
                talk.until(*answers, "> ")

            talk.until("> ")
            say("/help", "/model [MODEL]", "/save FILE")
            say("/mdoel", "Unknown command: /mdoel. Did you mean /model?")
            say("/model nowhere/m", "Error: Configuration error: Unsupported provider 'nowhere'")
            say("/model openai/gpt-4.1", "Talking to openai/gpt-4.1")
            say("/tools", "Tools in use: none", "calculator")
            say("/tools calculatr", "Did you mean")
            say("/tools calculator", "Tools in use: calculator")
            say("/system Be kind.", "System prompt: Be kind.")
            say("One", "a")
            say("/clear", "The conversation is forgotten")
            say("/tools none", "Tools in use: none")
            say("Two", "b")
            say("/cost", "2 answers: 30 tokens")
            say("/save talk.json", "✓ Saved to talk.json")
            say("/save /nowhere/talk.json", "Error: Storage error: the conversation cannot be")
            talk.type("/quit\n")
            assert talk.end() == 0
        assert len(json.loads(place.path("talk.json").read_text())["messages"]) == 2
    first, second = server.calls
    assert (first.model, first.tools) == ("gpt-4.1", ("calculator",))
    assert [m.content for m in second.messages] == ["Be kind.", "Two"]
    assert second.tools == ()


def test_a_question_goes_on_behind_a_backslash(at: At) -> None:
    with ModelServer("openai", "ok") as server, at(server).terminal("chat", "-q") as talk:
        talk.until("> ")
        talk.type("one\\\n")
        talk.until("... ")
        talk.type("two\n")
        talk.until("ok", "> ")
        talk.type(CTRL_D)
        assert talk.end() == 0
    assert server.calls[0].text == "one\ntwo"


def test_an_answer_that_was_stopped_replays_as_it_was(at: At) -> None:
    gate = Gate()
    endless = Reply(pieces=("Once upon", " a time"), between=gate)
    with ModelServer("openai", endless) as server:
        place = at(server)
        with place.terminal("chat", "-q", "--record") as talk:
            talk.until("> ")
            talk.type("A story!\n")
            talk.until("Once upon")
            talk.type(CTRL_C)
            talk.until("Stream interrupted", "> ")
            talk.type(CTRL_D)
            assert talk.end() == 0
        gate.open()
    run = talk.seen.rpartition("Recorded run ")[2].split()[0]
    again = place.run("replay", run)
    assert (again.returncode, again.stdout) == (0, "Once upon\n")
    assert again.stderr.endswith("> A story!\n⚠️ Stream interrupted by Ctrl+C\n")


def test_sigterm_ends_it_at_the_prompt_and_in_an_answer(at: At) -> None:
    gate = Gate()
    with ModelServer("openai", Reply("never", after=gate)) as server:
        place = at(server)
        with place.terminal("chat", "-q") as talk:
            talk.until("> ")
            talk.process.send_signal(signal.SIGTERM)
            assert talk.end() == 143
        with place.terminal("chat", "-q") as talk:
            talk.until("> ")
            talk.type("Hello?\n")
            server.wait_for_call()
            talk.process.send_signal(signal.SIGTERM)
            assert talk.end() == 143
        gate.open()


def test_importing_the_chat_is_left_to_those_who_chat(tmp_path: Path) -> None:
    code = (
        "import sys; from llmspell_cli import main; main(['exec', 'return 1']); "
        "print(sorted(m for m in sys.modules if m.startswith(('llmspell_providers', 'httpx', "
        "'llmspell_agents', 'llmspell_cli._chat', 'llmspell_cli._desk', 'llmspell_core._budget'"
        "))))"
    )
    environment = clean_environment(tmp_path)
    done: Any = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout == "1\n[]\n", done.stderr
