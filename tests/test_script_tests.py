"""Tests of scripts, through the installed command and the examples as they are shipped."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from .conftest import PROJECT, User

EXAMPLE = PROJECT / "examples/script-users/features/testing"


@pytest.fixture
def example(user: User) -> User:
    """A user in a copy of the example."""
    shutil.copytree(EXAMPLE, user.folder, dirs_exist_ok=True)
    return user


@pytest.mark.parametrize("engine", ["lua", "luajit"])
def test_the_example_is_green(example: User, engine: str) -> None:
    done = example.run("test", "--format", "json", "--engine", engine)
    assert done.code == 0, done.out + done.err
    report = json.loads(done.out)
    assert (report["passed"], report["failed"], report["skipped"]) == (7, 0, 1)
    (skipped,) = [t for f in report["files"] for t in f["tests"] if t["status"] == "skipped"]
    assert skipped["error"] == "needs OPENAI_API_KEY"


def test_the_example_notices_when_its_module_is_wrong(example: User) -> None:
    module = example.folder / "triage.lua"
    module.write_text(module.read_text().replace('by = "rules"', 'by = "luck"'))
    done = example.run("test")
    assert done.code == 1
    assert re.sub(r"\d+\.\d+ (ms|s)\b", "N", done.out) == (
        "✗ triage_test.lua (1 of 8 tests failed, N)\n"
        "  ✗ sort > asks no model where a rule holds (N)\n"
        "      triage_test.lua:21: expected values to be equal; "
        "the first difference is at .by\n"
        '        expected: "rules"\n'
        '        actual:   "luck"\n'
        "\n"
        "8 tests in 1 file: 6 passed, 1 failed, 1 skipped (N)\n"
    )


def test_the_command_and_run_agree_on_the_exit_code(user: User) -> None:
    test = (
        "local T = require('llmspell.test')\n"
        "T.it('is %s', function() T.assert_true(%s) end)\nT.run_all()\n"
    )
    user.script(test % ("red", "false"), "red_test.lua")
    user.script(test % ("green", "true"), "green_test.lua")
    for name, code in (("red_test.lua", 1), ("green_test.lua", 0)):
        assert user.run("run", name).code == code
        assert user.run("test", name).code == code


def test_what_tests_write_is_gone_and_what_was_there_is_not_seen(user: User) -> None:
    user.run("exec", "State.set('visits', 41) RAG.ingest({text = 'the blue whale', id = 'w'})")
    user.script(
        """
        local T = require("llmspell.test")
        T.it("begins with nothing", function()
          T.expect(State.get("visits")):to_be_nil()
          T.expect(#RAG.search("blue whale")):to_be(0)
          State.set("visits", 1)
          RAG.ingest({ text = "another", id = "o" })
        end)
        """,
        "a_test.lua",
    )
    done = user.run("test")
    assert done.code == 0, done.out + done.err
    assert user.run("exec", "return State.get('visits')").out == "41\n"
    assert user.run("exec", "return #RAG.search('blue whale')").out == "1\n"


def test_a_profile_gives_tests_other_settings(user: User) -> None:
    (user.folder / "llmspell.toml").write_text(
        "[providers]\ndefault_provider = 'openai'\n"
        "[profiles.test.providers]\ndefault_provider = 'echo'\n"
    )
    user.script(
        """
        local T = require("llmspell.test")
        T.it("answers", function()
          local answer, why = Agent.builder():model("any"):build():execute("hi")
          T.expect(answer, why):to_be_truthy()
          T.expect(answer.text):to_be("Echo: hi")
        end)
        """,
        "a_test.lua",
    )
    assert user.run("test", "--profile", "test").code == 0
    failed = user.run("test")
    assert failed.code == 1
    assert "API key required" in failed.out
