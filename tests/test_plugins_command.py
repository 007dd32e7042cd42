"""`llmspell plugins`: what is installed, ours and everybody else's alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def installed(tmp_path: Path):
    """Put a distribution where Python finds it; returns what the environment must say."""
    site = tmp_path / "site"

    def install(distribution: str, entry_points: str, module: str = "") -> dict[str, str]:
        folder = site / f"{distribution}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Name: {distribution}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(entry_points)
        (site / f"{distribution}_module.py").write_text(module)
        return {"PYTHONPATH": str(site)}

    return install


def test_built_ins_and_the_sample_plugin_are_listed_alike(user) -> None:
    done = user.run("plugins", "--json")
    assert (done.code, done.err) == (0, "")
    rows = {(row["group"], row["name"]): row for row in json.loads(done.out)}
    calculator, sample = (
        rows["llmspell.tools", "calculator"],
        rows["llmspell.tools", "reading_time"],
    )
    assert calculator.keys() == sample.keys()
    assert (calculator["distribution"], sample["distribution"]) == (
        "llmspell-tools",
        "llmspell-sample-plugin",
    )
    for group, name in (("providers", "reverse"), ("providers", "echo"), ("globals", "Sample")):
        assert (f"llmspell.{group}", name) in rows
    text = user.run("plugins").out
    for name in ("calculator", "reading_time", "reverse", "echo", "Sample"):
        assert f" {name} " in text


def test_every_installed_plugin_works(user) -> None:
    done = user.run("plugins", "--check")
    assert done.code == 0, done.out + done.err


def test_the_sample_plugin_works_from_a_script(user) -> None:
    script = user.script(
        'local counted = Sample.reading_time("One two three. Four!", {words_per_minute = 60})\n'
        "print(counted.words, counted.seconds, counted)\n"
        'local watch = Sample.stopwatch("race")\n'
        "print(watch:lap() >= 0, watch.elapsed > 0, #watch:laps())\n"
        'print(Tool.invoke("word-count", {text = "a b"}).words)\n'
        'local agent = Agent.builder():name("m"):model("reverse/words"):build()\n'
        'print(agent:execute("one two three").text)\n'
    )
    done = user.run("run", script)
    assert (done.code, done.err) == (0, "")
    assert done.out == ("4\t4\t4 words, 4 seconds to read\ntrue\ttrue\t1\n2\nthree two one\n")


def test_a_recorded_run_with_the_sample_plugin_is_the_same_in_replay(user) -> None:
    script = user.script(
        'local watch = Sample.stopwatch("race")\n'
        'print(watch:lap(), Sample.reading_time("a b c").seconds, watch.elapsed)\n'
    )
    recorded = user.run("run", "--record", script)
    assert recorded.code == 0, recorded.err
    listed = json.loads(user.run("runs", "list", "--output", "json").out)
    rows = listed if isinstance(listed, list) else listed["runs"]
    replayed = user.run("replay", rows[0]["run_id"])
    assert (replayed.code, replayed.out) == (0, recorded.out)


def test_a_broken_plugin_is_named_and_harms_nobody(user, installed) -> None:
    environment = installed(
        "acme", "[llmspell.tools]\nacme_tool = acme_module:Tool\n", "raise ZeroDivisionError"
    )
    listed = user.run("plugins", env=environment)
    assert " acme_tool " in listed.out
    checked = user.run("plugins", "--check", env=environment)
    assert checked.code == 1
    assert "acme 1.0" in checked.out + checked.err
    assert "ZeroDivisionError" in checked.out + checked.err
    script = user.script('print(Tool.invoke("calculator", {input = "6*7"}).result.result)')
    done = user.run("run", script, env=environment)
    assert (done.code, "42" in done.out) == (0, True), done.out + done.err


def test_two_owners_of_a_name_are_both_named_until_one_is_preferred(user, installed) -> None:
    environment = installed(
        "acme",
        "[llmspell.globals]\nSample = acme_module:SampleGlobal\n",
        "from llmspell_core import exposed, script_global\n"
        "@script_global('Sample')\nclass SampleGlobal:\n"
        "    def __init__(self, host): pass\n"
        "    @exposed()\n    def who(self) -> str:\n        return 'acme'\n",
    )
    script = user.script("print(Sample.who())")
    listed = user.run("plugins", env=environment)
    assert listed.code == 1
    contested = user.run("run", script, env=environment)
    assert contested.code != 0
    assert "acme" in contested.err
    assert "llmspell-sample-plugin" in contested.err
    (user.folder / "llmspell.toml").write_text('[plugins.prefer]\n"globals.Sample" = "acme"\n')
    preferred = user.run("run", script, env=environment)
    assert (preferred.code, preferred.out) == (0, "acme\n"), preferred.err
    assert user.run("plugins", env=environment).code == 0
