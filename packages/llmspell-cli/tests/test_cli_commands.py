"""The installed command, as its users call it."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

COMMAND = str(Path(sys.executable).with_name("llmspell"))


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Shell:
    """A directory, a home, and the command."""

    folder: Path
    environment: dict[str, str]

    def __call__(
        self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> Done:
        done = subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            env={**self.environment, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback (most recent call last)" not in done.stderr or "--trace" in arguments
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def file(self, text: str, name: str = "s.lua") -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return name


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LLMSPELL_")}
    kept.pop("RUST_LOG", None)
    environment = {
        **kept,
        "HOME": str(tmp_path / "home"),
        "NO_COLOR": "1",
        "PYTHONWARNINGS": "error",
        "COLUMNS": "100",
    }
    return Shell(tmp_path / "here", environment)


def last_run(done: Done) -> str:
    found = re.search(r"Recorded run (\S+)", done.err)
    assert found, done
    return found[1]


# -- help, version, usage ---------------------------------------------------------------------


def test_help_lists_every_command_and_long_help_has_examples(shell: Shell) -> None:
    long, short = shell("--help"), shell("-h")

    assert (long.code, long.err) == (0, "")
    assert "LLMSpell provides scriptable LLM interactions" in long.out
    for name in ("config", "exec", "plugins", "replay", "resume", "run", "runs", "test", "version"):
        assert re.search(rf"^  {name} ", long.out, re.MULTILINE)
    assert "EXAMPLES:\n  llmspell run" in long.out
    assert short.out == long.out[: long.out.index("\nEXAMPLES")]
    assert "Execute a script file" in shell("run", "--help").out
    assert "EXAMPLES:" in shell("runs", "--help").out
    assert "EXAMPLES:" not in shell("runs", "list", "-h").out


def test_without_a_command_help_goes_to_stderr(shell: Shell) -> None:
    for arguments in ((), ("runs",), ("config",)):
        done = shell(*arguments)
        assert (done.code, done.out) == (2, "")
        assert "Usage: llmspell" in done.err
        assert "Commands:" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rn",), "error: unknown command 'rn'. Did you mean 'run'?"),
        (("qqq",), "error: unknown command 'qqq'."),
        (("exec",), "error: missing argument 'CODE'"),
        (("exec", "1", "2"), "error: got unexpected extra argument(s) (2)"),
        (("exec", "1", "--bogus"), "error: no such option: --bogus"),
        (("run", "--bogus", "s.lua"), "error: no such option: --bogus"),
        (("--output", "xml", "exec", "1"), "error: invalid value for"),
        (("runs", "list", "--limit", "0"), "error: invalid value for"),
        (("runs", "list", "--limit", "many"), "error: invalid value for"),
        (("runs", "prune"), "error: say which runs"),
        (("exec", "1", "--engine", "perl"), "error: invalid value 'perl' for '--engine'"),
    ],
)
def test_wrong_usage_is_explained_with_exit_code_2(
    shell: Shell, arguments: tuple[str, ...], message: str
) -> None:
    done = shell(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(message)
    assert "Usage: llmspell" in done.err


def test_version_is_told_everywhere(shell: Shell) -> None:
    number = shell("version", "--short").out.strip()
    assert re.fullmatch(r"\d+\.\d+\.\d+", number)
    for arguments in (("--version",), ("exec", "--version"), ("version",), ("runs", "list", "-V")):
        assert shell(*arguments) == Done(0, f"llmspell {number}\n", "")
    assert re.fullmatch(
        rf"llmspell {number} \(\w+(-modified)? [\w-]+\)\n", shell("-V", "exec", "1").out
    )
    assert shell("version", "--client").out == f"Client Version: {number}\n"
    facts = shell("version", "--output", "json").json
    assert facts["version"] == number
    assert set(facts["git"]) == {"commit", "commit_short", "branch", "commit_date", "dirty"}
    assert "lua" in facts["build"]["features"]
    client = shell("--output", "json", "version", "--client").json["clientVersion"]
    assert client["version"] == number
    verbose = shell("version", "-v").out
    assert "\nworking-tree: " in verbose
    assert "\n  llmspell-kernel" not in verbose
    assert f"\n  kernel: {number}" in verbose


def test_python_can_run_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llmspell", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("llmspell ")


def test_the_catalogue_says_what_the_commands_say(shell: Shell) -> None:
    from llmspell_cli._catalogue import SUMMARIES
    from llmspell_core import PluginIndex

    plugins = PluginIndex()
    own = [
        plugin.name
        for plugin in plugins.all()
        if plugin.group == "llmspell.commands" and plugin.distribution == "llmspell-cli"
    ]
    assert own == sorted(SUMMARIES)
    for name, summary in SUMMARIES.items():
        assert f"  {summary}" in shell(name, "-h").out


# -- run and exec -----------------------------------------------------------------------------


def test_exec_prints_what_comes_back(shell: Shell) -> None:
    cases = {
        "return 'text'": "text\n",
        "6 * 7": "42\n",
        "return {a = {1, 2}}": '{"a": [1, 2]}\n',
        "print('x', 1.5) return true": "x\t1.5\ntrue\n",
        "local x = 1": "",
        "local _ = io.write('raw')": "raw",
    }
    for code, out in cases.items():
        assert shell("exec", code) == Done(0, out, "")


def test_bytes_that_are_no_text_leave_as_they_came(shell: Shell) -> None:
    for locale, code, out in (
        ("C.UTF-8", r"return '\xff\xc3\xbc'", b"\xff\xc3\xbc\n"),
        ("C.UTF-8", r"return 'ü'", "ü\n".encode()),
        ("POSIX", "return 'ü'", b"\\xfc\n"),
    ):
        done = subprocess.run(
            [COMMAND, "exec", code],
            cwd=shell.folder,
            env={**shell.environment, "LC_ALL": locale, "PYTHONCOERCECLOCALE": "0"}
            | ({"PYTHONIOENCODING": "ascii"} if locale == "POSIX" else {}),
            capture_output=True,
            timeout=60,
            check=True,
        )
        assert done.stdout == out


def test_code_and_scripts_come_from_stdin_too(shell: Shell) -> None:
    assert shell("exec", "-", stdin="return 5").out == "5\n"
    assert shell("run", "-", "a", stdin="print(ARGS[0], ARGS[1])").out == "<stdin>\ta\n"
    assert shell("exec", "return io.read()", stdin="a line\n").out == "a line\n"
    assert shell("exec", "return io.read() == nil").out == "true\n"


def test_arguments_reach_the_script_with_and_without_two_dashes(shell: Shell) -> None:
    script = shell.file(
        """
        local keys = {}
        for k, v in pairs(ARGS) do
          if type(k) == 'string' then keys[#keys + 1] = k .. '=' .. v end
        end
        table.sort(keys)
        print(ARGS[0], table.concat(ARGS, ','), table.concat(keys, ','))
        """,
        "deep/s.lua",
    )
    given = ("a", "--name", "Ada", "--k=v=w", "-x", "-7", "-5", "--flag", "--", "--pos")
    expected = "s.lua\ta,-5,--pos\tflag=true,k=v=w,name=Ada,x=-7\n"
    assert shell("run", script, "--", *given).out == expected
    assert shell("run", script, *given[:-2]).out == expected.replace(",--pos", "")
    own = shell("run", script, "--record", "b", "--", "-c", "none.toml", "--record")
    assert own.out == "s.lua\tb\tc=none.toml,record=true\n"
    assert "Recorded run" in own.err


def test_global_options_stand_anywhere(shell: Shell) -> None:
    shell.file("[app]\nname = 'mine'\n[profiles.p.app]\nname = 'other'\n", "mine.toml")
    code = "return Config.get('app.name')"
    assert shell("-c", "mine.toml", "exec", code).out == "mine\n"
    assert shell("exec", "--config=mine.toml", code).out == "mine\n"
    assert shell("exec", code, "-cmine.toml", "--profile", "p").out == "other\n"
    assert shell("exec", code, env={"LLMSPELL_CONFIG": "mine.toml"}).out == "mine\n"
    assert shell("exec", code, "--no-config", env={"LLMSPELL_CONFIG": "none.toml"}).out == ""


def test_json_output_is_one_document(shell: Shell) -> None:
    text = "print('é', ARGS[1]) print(2) return {x = 1}"
    script = shell.file(text)
    run = shell("run", script, "a", "--output", "json")
    assert run.out.count("\n") == 1
    assert run.json == {
        "status": "success",
        "mode": "embedded",
        "engine": "lua",
        "script_length": len(text.encode()),
        "args_count": 1,
        "streaming": False,
        "result": 'é\ta\n2\n{"x":1}',
    }
    executed = shell("--output", "json", "exec", "print(1)")
    assert '"status":"executed"' in executed.out
    assert executed.json["result"] == "1"
    assert shell("exec", "x = 1", "--output", "json").json["result"] is None
    failed = shell("exec", "error('no', 0)", "--output", "json")
    assert failed.code == 1
    assert failed.json == {"status": "error", "error": "Script execution failed: no"}
    assert failed.err == "Error: Script execution failed: no\n"


def test_pretty_output_has_sections(shell: Shell) -> None:
    out = shell("exec", "print('hello') return {a = 1}", "--output", "pretty").out
    assert re.fullmatch(
        r"Console Output:\nhello\n\nOutput:\n\{\n  \"a\": 1\n\}\n\n"
        r"Engine: lua\nExecution time: \d+ms\n",
        out,
    )


def test_the_exit_code_of_the_script_is_that_of_the_program(shell: Shell) -> None:
    assert shell("exec", "print('bye') os.exit(7)") == Done(7, "bye\n", "")
    assert shell("exec", "os.exit(true)").code == 0
    assert shell("run", shell.file("os.exit(false)")).code == 1


def test_engines_that_are_planned_say_so_before_anything_else(shell: Shell) -> None:
    done = shell("run", "none.lua", "--engine", "js")
    assert done.code == 1
    assert "Script engine 'javascript' is not available yet. Coming in Phase 15" in done.err
    assert "not available yet" in shell("exec", "1", env={"LLMSPELL_ENGINE": "python"}).err
    assert shell("exec", "1", "--engine", "LUA").out == "1\n"


def test_a_reader_that_goes_away_ends_the_program_quietly(shell: Shell) -> None:
    for line in ("exec 'for i = 1, 1e7 do print(i) end'", "--help", "config show"):
        done = subprocess.run(
            ["bash", "-c", f"{COMMAND} {line} | head -1; echo ${{PIPESTATUS[0]}}"],
            cwd=shell.folder,
            env=shell.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout.endswith("\n0\n"), done
        assert done.stderr == ""


def test_calls_without_options_mean_the_same_with_and_without_the_parser(shell: Shell) -> None:
    script = shell.file("print(ARGS[0], table.concat(ARGS, ','), ARGS.k, ARGS.flag)")
    calls = [
        ("exec", "return 1"),
        ("exec", "x ="),
        ("exec", ""),
        ("exec", "1", "2"),
        ("exec", "--", "-1"),
        ("run", script),
        ("run", script, "a", "b=c"),
        ("run", script, "a", "--", "b", "--k", "v", "--", "-c"),
        ("run", script, "--", "--flag"),
        ("run", "none.lua", "a"),
        ("run",),
        ("run", "--", script),
    ]
    for call in calls:
        # A global option in front sends the same call through the parser.
        assert shell(*call) == shell("--output", "text", *call), call


def test_retrieval_is_set_up_by_options(shell: Shell) -> None:
    shell.file("[rag]\nenabled = false\n[rag.vector_storage]\ndimensions = 99\n", "rag.toml")
    shell.file("[rag.profiles.mine]\ndimensions = 7\nconfig_file = 'rag.toml'\n", "llmspell.toml")
    script = shell.file(
        "print(RAG ~= nil, Config.get('rag.enabled'), Config.get('rag.vector_storage.dimensions'))"
    )
    cases = {
        (): "true",
        ("--no-rag",): "false\tfalse\t384",
        ("--rag",): "true\ttrue\t384",
        ("--rag-dims", "12"): "12",
        ("--rag-config", "rag.toml"): "false\tfalse\t99",
        ("--rag-config", "rag.toml", "--rag"): "true\ttrue\t99",
        ("--rag-profile", "production"): "true\ttrue\t768",
        ("--rag-profile", "mine"): "false\tfalse\t7",
        ("--rag-profile", "unheard-of"): "true\ttrue\t384",
    }
    for options, expected in cases.items():
        done = shell("run", script, *options)
        assert expected in done.out, (options, done)
    assert "Unknown RAG profile 'unheard-of'" in done.err


# -- failures ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("local x = = 1", ("Script execution failed: s.lua:1:",)),
        ("\nerror('no luck')", ("Script execution failed: s.lua:2: no luck",)),
        ("local t = {} t.x.y = 1", ("s.lua:1:", "attempt to index")),
        ("error({code = 1})", ("Script execution failed",)),
        ("local s = 'x' while true do s = s .. s end", ("Resource limit exceeded: memory",)),
        ("Tool.invoke('calculatr', {})", ("'calculatr' not found", "calculator")),
    ],
)
def test_a_failing_script_is_one_clear_message(
    shell: Shell, text: str, phrases: tuple[str, ...]
) -> None:
    done = shell("run", shell.file(text))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Error: ")
    for phrase in phrases:
        assert phrase in done.err
    assert "stack traceback" not in done.err


def test_the_lua_traceback_is_shown_at_debug_level(shell: Shell) -> None:
    script = shell.file("local function f()\n  error('x')\nend\nf()\n")
    for option in (("--trace", "debug"), ("--trace", "TRACE"), ("--debug",)):
        err = shell(*option, "run", script).err
        assert "stack traceback:" in err
        assert "s.lua:4:" in err


def test_files_that_are_no_scripts_are_named(shell: Shell) -> None:
    (shell.folder / "b.lua").write_bytes(bytes(range(256)))
    (shell.folder / "c.lua").write_bytes(b"\x1bLua\x54" + bytes(9))
    (shell.folder / "d.lua").mkdir()
    assert shell("run", "none.lua").err == "Error: Script file not found: none.lua\n"
    assert "Script file cannot be read: d.lua" in shell("run", "d.lua").err
    for name in ("b.lua", "c.lua"):
        done = shell("run", name)
        assert done.code == 1
        assert name in done.err
        assert "not a script" in done.err
    (shell.folder / "latin.lua").write_bytes(b"-- caf\xe9\nprint(#'\xe9')\n")
    assert shell("run", "latin.lua") == Done(0, "1\n", "")


def test_an_endless_script_ends_at_its_limit_or_by_a_signal(shell: Shell) -> None:
    loop = "print('ready') while true do pcall(function() while true do end end) end"
    limited = shell("exec", loop, env={"LLMSPELL_SCRIPT_TIMEOUT_SECONDS": "0.3"})
    assert limited.code == 1
    assert limited.err.startswith("Error: Script execution timed out after 0.3 seconds\n")
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = shell.start("exec", loop)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
        assert process.returncode == code
        assert err.startswith("Interrupted")


def test_a_recorded_run_that_is_interrupted_says_how_to_go_on(shell: Shell) -> None:
    process = shell.start("run", "--record", shell.file("print(1) while true do end"))
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    run = re.search(r"llmspell resume (\S+)", err)
    assert run, err
    assert process.returncode == 130
    assert shell("runs", "list", "--output", "json").json[0]["status"] == "cancelled"


def test_wrong_configuration_is_explained_with_key_line_and_nearest_key(shell: Shell) -> None:
    shell.file("[runtime]\n\nscript_timeout_seconds = 'soon'\n", "llmspell.toml")
    done = shell("exec", "1")
    assert done.code == 1
    assert done.err.startswith(
        "Error: Configuration error: TOML parsing error: runtime.script_timeout_seconds: expected"
    )
    assert "llmspell.toml, line 3" in done.err

    shell.file("[runtime]\nscript_timeout_secnds = 3\n", "llmspell.toml")
    unknown = shell("exec", "1")
    assert (unknown.code, unknown.out) == (0, "1\n")
    assert re.fullmatch(
        r"\S+ WARN llmspell\.config: unknown key 'runtime\.script_timeout_secnds' "
        r"\(llmspell\.toml, line 2\); did you mean 'runtime\.script_timeout_seconds'\?\n",
        unknown.err,
    )
    assert shell("exec", "1", "--trace", "off").err == ""

    assert (
        "Environment variable parsing error: LLMSPELL_STATE_ENABLED"
        in shell("exec", "1", "--no-config", env={"LLMSPELL_STATE_ENABLED": "perhaps"}).err
    )
    missing = shell("-c", "none.toml", "exec", "1")
    assert "Configuration error: Configuration file not found: none.toml" in missing.err
    profile = shell("--profile", "none", "exec", "1")
    assert "profile 'none' not found; available: default" in profile.err


def test_a_state_directory_that_cannot_be_written_is_named(shell: Shell) -> None:
    (shell.folder.parent / "home" / ".llmspell").write_text("in the way")
    done = shell("exec", "State.set('a', 1)")
    assert done.code == 1
    assert "Storage error" in done.err
    assert ".llmspell" in done.err
    recorded = shell("exec", "1", "--record")
    assert recorded.code == 1
    assert "Storage error" in recorded.err
    assert shell("exec", "1").out == "1\n"


# -- diagnostics ------------------------------------------------------------------------------


def test_diagnostics_have_levels_targets_and_formats(shell: Shell) -> None:
    info = shell("exec", "1", "--trace", "info")
    assert info.out == "1\n"
    assert re.fullmatch(r"\d{4}-\S+ INFO llmspell\.run: <inline> starts.*\n", info.err)
    assert shell("--verbose", "exec", "1").err.count("INFO") == 1
    assert shell("exec", "1").err == ""
    strong = {"RUST_LOG": "error"}
    assert shell("exec", "1", "--trace", "info", env=strong).err == ""
    named = shell("exec", "1", env={"RUST_LOG": "warn,llmspell::run=info", "LOG_FORMAT": "compact"})
    assert named.err.startswith("INFO llmspell.run:")
    other = shell("exec", "1", env={"RUST_LOG": "llmspell_kernel=trace,nobody=info"})
    assert other.err == ""
    line = json.loads(shell("--debug", "exec", "1", env={"LOG_FORMAT": "json"}).err)
    assert {k: line[k] for k in ("level", "target")} == {"level": "INFO", "target": "llmspell.run"}
    shell.file("[runtime]\nlog_level = 'info'\n", "llmspell.toml")
    assert "INFO" in shell("exec", "1").err
    assert shell("exec", "1", "--trace", "warn").err == ""


# -- recorded runs ----------------------------------------------------------------------------


def test_a_recorded_run_is_listed_shown_replayed_and_erased(shell: Shell) -> None:
    script = shell.file(
        """
        print(os.time(), math.random(), Tool.invoke('calculator', {input = ARGS[1]}).value)
        State.set('n', (State.get('n') or 0) + 1)
        print(State.get('n'))
        """
    )
    recorded = shell("run", "--record", script, "6*7")
    run = last_run(recorded)
    shell("exec", "State.set('n', 100)")
    (shell.folder / script).unlink()

    assert shell("replay", run) == Done(0, recorded.out, "")
    assert shell("replay", run[:8]).out == recorded.out
    assert shell("replay", run, "--output", "json").json == {
        "status": "replayed",
        "run": run,
        "engine": "lua",
        "result": recorded.out.rstrip("\n"),
        "unused": 0,
    }
    assert "Console Output:" in shell("replay", run, "--output", "pretty").out

    listed = shell("runs", "list").out.splitlines()
    assert listed[0].split() == [
        "RUN", "STATUS", "STARTED", "TOOK", "EFFECTS", "TOKENS", "COST", "SCRIPT",
    ]  # fmt: skip
    assert listed[1].startswith(f"{run}  completed  ")
    assert listed[1].endswith("s.lua")
    assert shell("runs", "list", "--output", "json").json[0]["run_id"] == run

    shown = shell("runs", "show", run[:8]).out
    assert f"Run      {run}\n" in shown
    assert re.search(r"^ +\d+  tool\.call calculator  [\d.]+ m?s$", shown, re.MULTILINE)
    document = shell("runs", "show", run, "--json").json
    assert [e["request"]["tool"] for e in document["effect_list"] if e["kind"] == "tool.call"] == [
        "calculator"
    ]

    assert re.search(r"Erased \d+ payloads", shell("runs", "erase", run).out)
    gone = shell("replay", run)
    assert gone.code == 1
    assert "erased" in gone.err
    assert shell("runs", "prune", "--keep", "0").out == "✓ Erased 1 run\n"
    assert "No recorded runs" in shell("runs", "list").out
    assert shell("runs", "prune", "--older-than", "1", "--output", "json").json == {"pruned": 0}


def test_a_replay_that_differs_stops_and_one_that_does_less_warns(shell: Shell) -> None:
    run = last_run(shell("exec", "--record", "Tool.invoke('calculator', {input = '6*7'})"))
    ledger = shell.folder.parent / "home" / ".llmspell" / "runs.db"

    with closing(sqlite3.connect(ledger)) as database:
        sequence = database.execute(
            "SELECT sequence FROM intents WHERE kind = 'tool.call'"
        ).fetchone()
        database.execute(
            "INSERT INTO intents SELECT run, 900, path, kind, 7, request_hash, request,"
            " effect_class, started_at FROM intents WHERE sequence = ?",
            sequence,
        )
        database.execute(
            "INSERT INTO outcomes SELECT run, 900, attempt, ok, payload, duration_ms, tokens, cost"
            " FROM outcomes WHERE sequence = ?",
            sequence,
        )
        database.commit()
    less = shell("replay", run)
    assert less.code == 0
    assert less.err == "Warning: recorded and not asked for this time: tool.call (1)\n"

    with closing(sqlite3.connect(ledger)) as database:
        database.execute("UPDATE intents SET request_hash = 'other' WHERE kind = 'tool.call'")
        database.execute(
            "UPDATE payloads SET content = CAST(replace(content, '6*7', '6*8') AS BLOB)"
            " WHERE number IN (SELECT request FROM intents WHERE kind = 'tool.call')"
        )
        database.commit()
    differs = shell("replay", run)
    assert differs.code == 1
    assert differs.err.startswith("Error: Replay error: tool.call in the script differs")
    assert "recorded 6*8, now 6*7" in differs.err.replace('"', "")


def test_durations_and_money_are_short_words() -> None:
    from llmspell_cli._tables import moment, money, span

    given = [None, 0.04, 9.96, 340.4, 2100, 185_000]
    assert [span(value) for value in given] == [
        "-", "0.0 ms", "10.0 ms", "340 ms", "2.1 s", "3 min 5 s",
    ]  # fmt: skip
    assert [money(None), money(None, tokens=5), money(0.25)] == ["-", "unknown", "$0.2500"]
    assert [money(0.0), money(0.00002)] == ["$0.0000", "$0.000020"]
    assert moment(None) == "-"


def test_what_a_run_did_is_shown_as_a_tree(shell: Shell) -> None:
    code = """
    Workflow.sequential({name = 'w', steps = {
      {name = 'one', type = 'tool', tool = 'calculator', input = {input = '1+1'}},
      {name = 'two', type = 'tool', tool = 'calculator', input = {input = '2+2'}},
    }}):execute({})
    """
    run = last_run(shell("exec", "--record", code))
    shown = shell("runs", "show", run).out
    depth = {
        match[2].strip(): len(match[1])
        for match in re.finditer(r"^( *\d+)  (workflow w|step one|step two)", shown, re.MULTILINE)
    }
    calls = [len(m[1]) for m in re.finditer(r"^( *\d+)  tool\.call", shown, re.MULTILINE)]
    assert depth["workflow w"] < depth["step one"] == depth["step two"] < calls[0] == calls[1], (
        shown
    )


def test_a_failed_recorded_run_can_be_resumed(shell: Shell) -> None:
    script = shell.file(
        """
        local n = State.increment('tries')
        print('did it', n)
        if not State.get('allowed') then error('not yet', 0) end
        print('done')
        """
    )
    failed = shell("run", "--record", script)
    assert failed.code == 1
    assert failed.out == "did it\t1\n"
    run = last_run(failed)
    assert f"llmspell resume {run}\n" in failed.err
    assert shell("replay", run).err.startswith("Error: Script execution failed: not yet")

    again = shell("resume", run)
    assert (again.code, again.out) == (1, "did it\t1\n")
    assert shell("exec", "return State.get('tries')").out == "1\n"
    assert shell("resume", run, "--output", "json").json["status"] == "error"
    for command in ("resume", "replay", "runs show", "runs erase"):
        unknown = shell(*command.split(), "ffffffff")
        assert unknown.code == 1
        assert "run 'ffffffff' not found" in unknown.err


# -- configuration and plugins ----------------------------------------------------------------


def test_config_show_tells_values_and_origins(shell: Shell) -> None:
    shell.file(
        "[runtime]\nscript_timeout_seconds = '2m'\n[providers.openai]\napi_key = 'sk-secret'\n",
        "llmspell.toml",
    )
    out = shell("config", "show", env={"LLMSPELL_STATE_BACKEND": "memory"}).out
    assert out.startswith("# Full configuration:\n")
    assert "script_timeout_seconds = 120.0  # llmspell.toml, line 2\n" in out
    assert 'backend_type = "memory"  # LLMSPELL_STATE_BACKEND\n' in out
    assert "max_concurrent_scripts = 10  # default\n" in out
    assert 'api_key = "<REDACTED>"' in out
    revealed = shell("config", "show", "providers", "--reveal-secrets").out
    assert 'api_key = "sk-secret"' in revealed
    section = shell("config", "show", "--section", "runtime.security").out
    assert section.startswith("# Configuration section: runtime.security\n[runtime.security]\n")
    one = shell("config", "show", "runtime.script_timeout_seconds").out
    assert one.endswith("[runtime]\nscript_timeout_seconds = 120.0  # llmspell.toml, line 2\n")
    as_json = shell("config", "show", "runtime", "--output", "json").json
    assert as_json["script_timeout_seconds"] == 120.0
    assert shell("config", "show", "--format", "json").json["runtime"] == as_json
    unknown = shell("config", "show", "runtime.securty")
    assert unknown.code == 1
    assert "Unknown config section 'runtime.securty'" in unknown.err
    assert "Did you mean 'runtime.security'?" in unknown.err


def test_config_validate_reports_all_that_is_wrong(shell: Shell) -> None:
    fine = shell("config", "validate")
    assert fine.code == 0
    assert fine.out.startswith(
        "Configuration validation:\n  File: (no config file found - using defaults)\n"
        "  Status: ✓ Valid\n  Warnings:\n"
    )
    assert "No providers configured" in fine.out

    shell.file("[runtime]\nscript_timeout_secnds = 3\nmax_concurrent_scripts = 0\n", "bad.toml")
    wrong = shell("config", "validate", "-f", "bad.toml")
    assert wrong.code == 1
    assert "  Status: ✗ Invalid" in wrong.out
    assert wrong.err.startswith("Error: Configuration validation failed\n")
    assert "bad.toml, line 2" in wrong.err
    assert "runtime.script_timeout_seconds" in wrong.err
    assert "bad.toml, line 3" in wrong.err
    document = shell("config", "validate", "-c", "bad.toml", "--output", "json")
    assert document.code == 1
    assert document.json["valid"] is False
    assert len(document.json["errors"]) == 2
    missing = shell("config", "validate", "--file", "none.toml")
    assert missing.code == 1
    assert "not found" in missing.err


def test_config_schema_describes_the_file_for_editors(shell: Shell) -> None:
    done = shell("config", "schema")
    assert (done.code, done.err) == (0, "")
    schema = done.json
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {"default_engine", "engines", "profiles", "providers", "rag", "runtime"} <= set(
        schema["properties"]
    )
    timeout = schema["$defs"]["Runtime"]["properties"]["script_timeout_seconds"]
    assert (timeout["default"], timeout["anyOf"][0]) == (
        300.0,
        {"type": "number", "exclusiveMinimum": 0},
    )
    assert timeout["description"]
    # What is wrong in the file does not keep anybody from the schema that would tell.
    shell.file("[runtime]\nscript_timeout_seconds = 'soon'\n", "llmspell.toml")
    assert shell("config", "schema").json == schema


def test_config_paths_and_profiles(shell: Shell) -> None:
    assert "No file found" in shell("config", "paths").out
    shell.file("[profiles.a]\nextends = 'b'\n[profiles.b.app]\nx = 1\n", ".llmspell.toml")
    assert "✓ used    .llmspell.toml\n" in shell("config", "paths").out
    assert shell("config", "path").out == shell("config", "paths").out
    places = shell("config", "paths", "--output", "json").json
    assert [place["used"] for place in places].count(True) == 1
    assert shell("config", "profiles").out == "a (extends b)\nb\ndefault\n"
    assert shell("config", "profiles", "--output", "json").json == ["a", "b", "default"]


def test_plugins_of_all_distributions_are_listed_alike(shell: Shell) -> None:
    done = shell("plugins", "--group", "commands")
    assert done.code == 0
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[0] == ["GROUP", "NAME", "DISTRIBUTION", "VERSION"]
    assert ["commands", "run", "llmspell-cli", "0.1.0"] in rows
    everything = shell("plugins", "--json").json
    assert {"llmspell.tools", "llmspell.globals", "llmspell.engines"} <= {
        plugin["group"] for plugin in everything
    }
    wrong = shell("plugins", "--group", "tols")
    assert wrong.code == 1
    assert "unknown plugin group 'tols'" in wrong.err


def test_a_strangers_command_works_and_a_broken_one_is_told(shell: Shell) -> None:
    site = shell.folder / "site"
    info = site / "stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[llmspell.commands]\nhello = stranger:hello\nbroken = stranger:nothing\n"
        "run = stranger:hello\n"
    )
    (site / "stranger.py").write_text(
        "import typer\n"
        "def hello(ctx: typer.Context, name: str, times: int = 1) -> int:\n"
        "    '''Greet somebody.'''\n"
        "    for _ in range(times):\n"
        "        ctx.obj.say(f'{ctx.obj.output}: hello {name}')\n"
        "    return 3\n"
    )
    environment = {"PYTHONPATH": str(site)}

    done = shell("hello", "Ada", "--times", "2", "--output", "json", env=environment)
    assert done == Done(3, "json: hello Ada\njson: hello Ada\n", "")
    help_ = shell("--help", env=environment).out
    assert re.search(r"^  hello +Greet somebody\.$", help_, re.MULTILINE)
    assert "broken: plugin 'broken'" in help_
    broken = shell("broken", env=environment)
    assert broken.code == 1
    assert "stranger 1.0" in broken.err
    contested = shell("run", "x.lua", env=environment)
    assert contested.code == 1
    assert "registered by" in contested.err
    checked = shell("plugins", "--check", "--group", "commands", env=environment)
    assert checked.code == 1
    assert "✗ broken" in checked.out
    assert "registered twice" in checked.out
    assert shell("plugins", "--group", "commands", env=environment).code == 1
    assert shell("version", env=environment).code == 0


def test_short_commands_start_without_the_heavy_imports(shell: Shell) -> None:
    heavy = ("pydantic", "rich", "asyncio", "importlib.metadata", "httpx", "numpy", "sqlite3")
    for line, more in (["--help"], ()), (["exec", "return 1"], ("typer",)):
        script = (
            "import sys; from llmspell_cli import main; code = main(sys.argv[1:]);"
            f"seen = [name for name in {heavy + more!r} if name in sys.modules];"
            "print(seen, code, file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, *line],
            cwd=shell.folder,
            env=shell.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == "[] 0\n"
    assert list((shell.folder.parent / "home").iterdir()) == []
