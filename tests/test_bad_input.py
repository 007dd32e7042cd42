"""What a user sees when something is wrong: one clear message, the right code, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from llmspell_testing import Fault, ModelServer

from .conftest import User

ASK = """
local agent = Agent.builder():name("a"):model("openai/test-model"):build()
local reply, err = agent:execute("hello")
if not reply then error(err, 0) end
print(reply.text)
"""


def complains(done: Any, *phrases: str, code: int = 1) -> None:
    assert done.code == code, (done.out, done.err)
    for phrase in phrases:
        assert phrase in done.err, done.err
    assert "Traceback (most recent call last)" not in done.err


def test_an_unknown_command_is_a_usage_error(user: User) -> None:
    complains(user.run("frobnicate"), "frobnicate", code=2)


def test_a_missing_script_is_named(user: User) -> None:
    complains(user.run("run", "nowhere.lua"), "Error: Script file not found: nowhere.lua")


def test_a_syntax_error_names_file_and_line(user: User) -> None:
    script = user.script("local a = 1\nlocal b = = 2\n")
    complains(user.run("run", script), "Error: Script execution failed", "script.lua:2:")


def test_a_runtime_error_names_file_and_line_and_has_a_lua_traceback(user: User) -> None:
    script = user.script("local function inner()\n  error('no luck')\nend\ninner()\n")

    complains(user.run("run", script), "script.lua:2: no luck")
    traced = user.run("run", script, "--trace", "debug")
    assert "stack traceback" in traced.err
    assert "script.lua:4:" in traced.err


def test_an_endless_loop_ends_at_the_limit(user: User) -> None:
    (user.folder / "llmspell.toml").write_text("[runtime]\nscript_timeout_seconds = 1\n")
    script = user.script("while true do pcall(function() while true do end end) end")
    complains(user.run("run", script), "Error: Script execution timed out after 1 seconds")


def test_the_policy_bounds_the_time_whatever_the_script_limit_says(user: User) -> None:
    (user.folder / "llmspell.toml").write_text(
        "[runtime]\nscript_timeout_seconds = 60\n[runtime.security]\nmax_execution_time_ms = 500\n"
    )
    done = user.run("exec", "while true do end")
    complains(done, "Error: Script execution timed out after 0.5 seconds")


def test_ctrl_c_ends_an_endless_loop(user: User) -> None:
    script = user.script(
        "print('ready')\nwhile true do pcall(function() while true do end end) end"
    )
    process = user.start("run", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_script_that_eats_memory_is_stopped(user: User) -> None:
    script = user.script("local t = {}\nwhile true do t[#t + 1] = string.rep('x', 100000) end")
    complains(user.run("run", script), "Resource limit exceeded: memory")


def test_a_binary_file_is_not_a_script(user: User) -> None:
    (user.folder / "a.lua").write_bytes(bytes(range(256)) * 10)
    complains(user.run("run", "a.lua"), "a.lua")
    (user.folder / "b.lua").write_bytes(b"\x1bLua\x54\x00" + bytes(100))
    complains(user.run("run", "b.lua"), "b.lua")


def test_invalid_configuration_names_key_line_and_nearest_key(user: User) -> None:
    file = user.folder / "llmspell.toml"
    file.write_text("[runtime]\n\nscript_timeout_seconds = 'soon'\n")
    complains(user.run("exec", "return 1"), "runtime.script_timeout_seconds", "line 3")

    file.write_text("[runtime]\nscript_timeout_secnds = 3\n")
    complains(
        user.run("config", "validate"),
        "script_timeout_secnds",
        "line 2",
        "script_timeout_seconds",
    )
    assert user.run("exec", "return 1").out == "1\n"

    file.write_text("[runtime\n")
    complains(user.run("exec", "return 1"), "TOML", "line 1")


def test_an_unreadable_configuration_is_named(user: User) -> None:
    complains(
        user.run("-c", "none.toml", "exec", "return 1"),
        "Configuration error: Configuration file not found: none.toml",
    )
    (user.folder / "llmspell.toml").mkdir()
    (user.folder / "bad.toml").write_bytes(b"\xff\xfe\x00")
    complains(user.run("-c", "bad.toml", "exec", "return 1"), "bad.toml")


def test_an_unreachable_provider_is_named(user: User) -> None:
    done = user.run(
        "run",
        user.script(ASK),
        env={"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "LLMSPELL_OPENAI_MAX_RETRIES": "0"},
    )
    complains(done, "Network error", "127.0.0.1:9")


def test_without_a_key_the_call_fails_at_once_and_says_how_to_set_one(user: User) -> None:
    complains(user.run("run", user.script(ASK)), "API key", "OPENAI_API_KEY")


@pytest.mark.parametrize(
    ("fault", "phrases"),
    [
        (Fault("auth", message="bad key"), ("401", "bad key")),
        (Fault("server", message="oops"), ("500", "oops")),
        (Fault("web_page"), ("LLM provider error", "web page")),
        (Fault("cut"), ("LLM provider error", "cut off")),
    ],
    ids=["wrong key", "HTTP 500", "web page", "cut in the middle"],
)
def test_a_provider_that_fails_is_an_error_not_an_answer(
    user: User,
    model_server: Callable[..., ModelServer],
    fault: Fault,
    phrases: tuple[str, ...],
) -> None:
    server = model_server("openai", fault, key="sk-hidden-key")
    environment = {**server.environment, "LLMSPELL_OPENAI_MAX_RETRIES": "0"}
    done = user.run("run", user.script(ASK), env=environment)
    complains(done, *phrases)
    assert done.out == ""
    assert "sk-hidden-key" not in done.err


def test_a_provider_that_recovers_is_asked_again(
    user: User, model_server: Callable[..., ModelServer]
) -> None:
    server = model_server("openai", Fault("unavailable"), "Hello there.")
    done = user.run("run", user.script(ASK), env=server.environment)
    assert (done.code, done.out) == (0, "Hello there.\n")
    assert len(server.calls) == 2


def test_a_full_disk_is_named_and_loses_nothing_acknowledged(user: User) -> None:
    user.run("exec", "State.set('kept', 'yes')")
    grow = "for i = 1, 400 do State.set('k' .. i, string.rep('x', 20000)) end"

    limited = ["bash", "-c", 'ulimit -f 600; exec "$@"', "-", *user.command("exec", grow)]
    done = subprocess.run(
        limited,
        cwd=user.folder,
        env=user.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "Storage error" in done.stderr
    assert "Traceback" not in done.stderr
    assert user.run("exec", "return State.get('kept')").out == "yes\n"


def test_a_read_only_state_directory_is_named(user: User) -> None:
    data = user.home / ".llmspell"
    data.mkdir()
    if os.geteuid() == 0:
        # Root may write anywhere; a file in the directory's place stops it just as well.
        data.rmdir()
        data.write_text("in the way")
    else:
        data.chmod(0o500)
    complains(user.run("exec", "State.set('a', 1)"), "Storage error", ".llmspell")


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("state.db", ("exec", "return State.get('k')")),
        ("rag.db", ("exec", "return RAG.search('hello')")),
        ("runs.db", ("runs", "list")),
        ("runs.db", ("exec", "--record", "return 1")),
    ],
)
def test_a_damaged_database_is_named_and_left_alone(
    user: User, file: str, code: tuple[str, ...]
) -> None:
    data = user.home / ".llmspell"
    data.mkdir()
    (data / file).write_bytes(b"this is not a database" * 300)

    done = user.run(*code)

    complains(done, "Storage error", file)
    assert "Recorded run" not in done.err
    assert (data / file).read_bytes() == b"this is not a database" * 300


def test_exec_creates_nothing(user: User) -> None:
    assert user.run("exec", "return 1").out == "1\n"
    assert list(user.home.iterdir()) == []
    assert list(user.folder.iterdir()) == []
