"""`llmspell state` and `llmspell storage`: what scripts keep, from outside the scripts."""

from __future__ import annotations

import json

import pytest

SCRIPT = """
State.set("count", 3)
State.set("list", {1, 2, {x = "ü"}})
State.set("user:1:name", "Ada")
"""


def test_commands_and_scripts_see_the_same_values(user) -> None:
    assert user.run("run", user.script(SCRIPT)).code == 0
    shown = user.run("state", "show")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == (
        "State keys (3 total):\n"
        "  global/count = 3\n"
        '  global/list = [1, 2, {"x": "ü"}]\n'
        "  user:1/name = Ada\n"
    )
    assert user.run("state", "set", "count", "4").out == "✓ Set global:count\n"
    assert user.run("state", "set", "word", "not json").code == 0
    one = user.run("state", "get", "user:1:name", "--json")
    assert json.loads(one.out) == {"key": "1:name", "value": "Ada", "scope": "user"}
    read = user.run("exec", 'print(State.get("count"), State.get("word"))')
    assert read.out == "4\tnot json\n"
    assert user.run("state", "list", "--scope", "global").out == (
        "global:count\nglobal:list\nglobal:word\n"
    )


@pytest.mark.parametrize("name", ["state.json", "state.toml"])
def test_an_export_is_imported_as_it_was(user, name: str) -> None:
    user.run("run", user.script(SCRIPT))
    kind = name.rpartition(".")[2]
    before = user.run("state", "show", "--json").out
    assert (
        user.run("state", "export", name, "--format", kind).out == f"✓ Exported state to {name}\n"
    )
    user.run("state", "set", "later", "1")
    assert user.run("state", "import", name, "--merge").code == 0
    assert "global/later" in user.run("state", "show").out
    assert user.run("state", "import", name).out == f"✓ Imported state from {name} (3 values)\n"
    assert user.run("state", "show", "--json").out == before
    assert user.run("state", "clear", "--scope", "user").out == "✓ Cleared scope user (1 key)\n"
    assert user.run("state", "clear", "--yes").out == "✓ Cleared all state (2 keys)\n"
    assert user.run("state", "show").out == "No state keys found\n"
    assert user.run("state", "import", name).code == 0
    assert user.run("state", "show", "--json").out == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("get", "nothing"), "Key 'nothing' not found"),
        (("delete", "nothing"), "Key 'nothing' not found"),
        (("import", "nowhere.json"), "Import file does not exist: nowhere.json"),
        (("import", "list.json"), "must be an object, not list"),
        (("import", "newer.json"), "version 2; version 1 is known"),
        (("import", "broken.json"), "is not valid JSON"),
        (("export", "--format", "xml"), "unknown format 'xml'"),
        (("set", "__reserved", "1"), "Invalid format"),
        (("set", "../up", "1"), "looks like a path"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(user, arguments, words) -> None:
    user.run("state", "set", "kept", "1")
    (user.folder / "list.json").write_text("[1]")
    (user.folder / "newer.json").write_text('{"version": 2, "scopes": {"global": {"a": 1}}}')
    (user.folder / "broken.json").write_text('{"a": ')
    done = user.run("state", *arguments)
    assert done.code == 1
    assert words in done.err
    assert user.run("state", "show", "--json").out == '{\n  "global/kept": 1\n}\n'


def test_null_is_not_lost_in_toml(user) -> None:
    user.run("state", "set", "a", '{"x": [1, null]}')
    done = user.run("state", "export", "--format", "toml")
    assert (done.code, done.out) == (1, "")
    assert "'global:a' holds null" in done.err


def test_a_store_is_copied_to_another_file_and_compared(user) -> None:
    user.run("run", user.script(SCRIPT))
    done = json.loads(user.run("storage", "copy", "sqlite", "sqlite:copy.db", "--json").out)
    assert (done["keys"], done["target"]) == (3, str(user.folder / "copy.db"))
    again = user.run("storage", "copy", "sqlite", "sqlite:copy.db")
    assert again.code == 1
    assert "the target holds 3 keys already" in again.err
    assert "--overwrite" in again.err
    shown = json.loads(user.run("storage", "info", "sqlite:copy.db", "--json").out)
    assert shown["keys"] == 3
    names = [row["name"] for row in json.loads(user.run("storage", "backends", "--json").out)]
    assert names == ["mariadb", "memory", "postgres", "sqlite"]
