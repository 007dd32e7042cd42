"""``llmspell test``: which files, which tests, what is reported, with which exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from llmspell_cli import main

HEAD = "local T = require('llmspell.test')\n"
MIXED = """
T.describe('group', function()
  T.it('holds', function() print('said by holds') end)
  T.it('fails # badly', function()
    print('said by fails')
    io.stderr:write('and on stderr')
    T.expect({a = 1}):to_equal({a = 2})
  end)
  T.skip('waits')
end)
print('said outside')
"""


class Project:
    """A directory with files of tests, and the command in it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.err = ""

    def file(self, name: str, text: str, *, head: str = HEAD) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + text)
        return name

    def test(self, *arguments: str) -> tuple[int, str]:
        """The exit code and what was printed, without times."""
        code = self.raw(*arguments)
        out, self.err = self._capsys.readouterr()
        return code, re.sub(r"\d+\.\d+ (ms|s)\b", "N", out)

    def raw(self, *arguments: str) -> int:
        try:
            return main(["test", *arguments])
        except SystemExit as end:
            return int(end.code or 0)

    def json(self, *arguments: str) -> Any:
        code = self.raw(*arguments, "--format", "json")
        out, self.err = self._capsys.readouterr()
        return code, json.loads(out)

    def ended(self, *arguments: str) -> dict[str, str]:
        """How each test ended."""
        _, document = self.json(*arguments)
        return {t["name"]: t["status"] for f in document["files"] for t in f["tests"]}


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Project:
    home, folder = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    folder.mkdir()
    for name in list(os.environ):
        if name.startswith("LLMSPELL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(folder)
    return Project(folder, capsys)


# -- which files ------------------------------------------------------------------------------


def test_files_of_tests_are_found_below_tests(project: Project) -> None:
    for name in ("a_test.lua", "test_b.lua", "deep/test-c.lua", "helper.lua", ".d/d_test.lua"):
        project.file(f"tests/{name}", f"T.it('{name}', function() end)")
    project.file("e_test.lua", "T.it('beside', function() end)")
    assert project.ended() == dict.fromkeys(
        ("a_test.lua", "deep/test-c.lua", "test_b.lua"), "passed"
    )


def test_without_a_directory_tests_they_are_found_here(project: Project) -> None:
    project.file("some/where/a_test.lua", "T.it('a', function() end)")
    assert project.ended() == {"a": "passed"}


def test_paths_are_files_of_any_name_and_directories_each_once(project: Project) -> None:
    project.file("spec/x.lua", "T.it('x', function() end)")
    project.file("more/y_test.lua", "T.it('y', function() end)")
    assert project.ended("spec/x.lua", "more", "./more/y_test.lua") == {
        "x": "passed",
        "y": "passed",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "error: no such file or directory: nowhere"),
        ((), "error: no tests found in ."),
        (("empty",), "error: no tests found in empty"),
        (("--jobs", "0"), "error: invalid value for '-j'"),
        (("--timeout", "0"), "error: invalid value for '--timeout'"),
        (("--format", "xml"), "error: invalid value for '--format'"),
        (("--engine", "perl"), "error: invalid value 'perl' for '--engine'"),
    ],
)
def test_wrong_usage_ends_with_2(
    project: Project, arguments: tuple[str, ...], message: str
) -> None:
    (project.folder / "empty").mkdir()
    code, out = project.test(*arguments)
    assert (code, out) == (2, "")
    assert project.err.startswith(message)


def test_a_filter_that_nothing_matches_ends_with_2(project: Project) -> None:
    project.file("tests/a_test.lua", "T.it('a', function() end)")
    code, out = project.test("--filter", "zebra")
    assert code == 2
    assert out.startswith("✓ tests/a_test.lua (0 tests, N)\n")
    assert project.err == "error: no test matches 'zebra'\n"


# -- for people -------------------------------------------------------------------------------


def test_what_failed_is_told_with_its_output_and_the_rest_in_a_line(project: Project) -> None:
    project.file("tests/a_test.lua", "T.it('a', function() print('quiet') end)")
    project.file("tests/b_test.lua", MIXED)
    code, out = project.test()
    assert (code, project.err) == (1, "")
    assert out == (
        "✓ tests/a_test.lua (1 test, N)\n"
        "✗ tests/b_test.lua (1 of 3 tests failed, N)\n"
        "  ✗ group > fails # badly (N)\n"
        "      tests/b_test.lua:8: expected values to be equal; "
        "the first difference is at .a\n"
        "        expected: 2\n"
        "        actual:   1\n"
        "      output:\n"
        "        | said by fails\n"
        "        | and on stderr\n"
        "  output outside of tests:\n"
        "    | said outside\n"
        "\n"
        "4 tests in 2 files: 2 passed, 1 failed, 1 skipped (N)\n"
    )


def test_verbose_names_every_test_and_shows_all_output(project: Project) -> None:
    project.file(
        "tests/a_test.lua",
        "T.it('a', function() print('loud') end) T.it('b', function() T.skip('no key') end)",
    )
    assert project.test("--verbose") == (
        0,
        "✓ tests/a_test.lua (2 tests, N)\n"
        "  ✓ a (N)\n"
        "      output:\n"
        "        | loud\n"
        "  - b\n"
        "      no key\n"
        "\n"
        "2 tests in 1 file: 1 passed, 0 failed, 1 skipped (N)\n",
    )


def test_all_passed_or_skipped_ends_with_0(project: Project) -> None:
    project.file("tests/a_test.lua", "T.it('a', function() end) T.skip('b')")
    assert project.test()[0] == 0


# -- what counts as a test ----------------------------------------------------------------------


def test_tests_run_once_whether_the_file_runs_them_or_not(project: Project) -> None:
    count = "T.it('a', function() N = (N or 0) + 1 assert(N == 1) end) "
    project.file("tests/without_test.lua", count)
    project.file("tests/with_test.lua", count + "local r = T.run_all() assert(r.total == 1)")
    project.file("tests/exits_test.lua", count + "os.exit(T.run_all().success and 0 or 1)")
    project.file(
        "tests/more_test.lua", count + "T.run_all() T.it('b', function() assert(N == 1) end)"
    )
    code, document = project.json()
    assert (code, document["total"], document["passed"]) == (0, 5, 5)


def test_a_failed_run_that_exits_with_1_is_counted_once(project: Project) -> None:
    project.file(
        "tests/a_test.lua",
        "T.it('a', error) os.exit(T.run_all().success and 0 or 1)",
    )
    code, document = project.json()
    assert (code, document["total"], document["failed"]) == (1, 1, 1)


def test_a_script_without_tests_is_a_test_itself(project: Project) -> None:
    project.file("tests/test_good.lua", "assert(1 + 1 == 2)", head="")
    project.file("tests/test_bad.lua", "local function f() error('no luck') end\nf()\n", head="")
    project.file("tests/test_exit.lua", "os.exit(3)", head="")
    project.file("tests/test_exit0.lua", "os.exit(0)", head="")
    project.file("tests/test_syntax.lua", "x = = 1", head="")
    project.file("tests/test_bytes.lua", "\x1bLua", head="")
    code, document = project.json()
    told = {f["path"]: [(t["name"], t["status"], t["error"]) for t in f["tests"]]
            for f in document["files"]}  # fmt: skip
    assert code == 1
    assert told.pop("tests/test_bytes.lua")[0][1] == "failed"
    assert told == {
        "tests/test_bad.lua": [("tests/test_bad.lua", "failed", "tests/test_bad.lua:1: no luck")],
        "tests/test_exit.lua": [("tests/test_exit.lua", "failed", "the script called os.exit(3)")],
        "tests/test_exit0.lua": [("tests/test_exit0.lua", "passed", None)],
        "tests/test_good.lua": [("tests/test_good.lua", "passed", None)],
        "tests/test_syntax.lua": [
            (
                "tests/test_syntax.lua",
                "failed",
                "tests/test_syntax.lua:1: unexpected symbol near '='",
            )
        ],
    }
    bad = next(f for f in document["files"] if f["path"] == "tests/test_bad.lua")
    assert "tests/test_bad.lua:2: in main chunk" in bad["tests"][0]["traceback"]


def test_a_file_that_fails_to_load_runs_none_of_its_tests(project: Project) -> None:
    project.file("tests/a_test.lua", "T.it('a', function() print('ran') end) error('late')")
    code, document = project.json()
    (file,) = document["files"]
    assert (code, file["output"]) == (1, "")
    assert [(t["name"], t["error"]) for t in file["tests"]] == [
        ("tests/a_test.lua", "tests/a_test.lua:2: late")
    ]


def test_os_exit_in_a_test_fails_it(project: Project) -> None:
    project.file("tests/a_test.lua", "T.it('a', function() os.exit(0) end) T.it('b', print)")
    project.file("tests/b_test.lua", "T.it('c', function() os.exit(4) end)")
    assert project.json()[1]["failed"] == 2
    _, document = project.json()
    assert [
        (t["name"], t["status"], t["error"]) for f in document["files"] for t in f["tests"]
    ] == [
        ("a", "failed", "the script called os.exit(0)"),
        ("b", "skipped", "not run"),
        ("c", "failed", "the script called os.exit(4)"),
    ]


# -- isolation, limits ----------------------------------------------------------------------------


def test_each_file_has_a_state_and_data_of_its_own(project: Project) -> None:
    text = """
    T.it('is alone', function()
      T.assert_nil(LEFT)
      T.assert_nil(State.get('left'))
      T.assert_nil(Agent.get('left'))
      LEFT = true
      State.set('left', true)
      Agent.builder():name('left'):type('basic'):build()
    end)
    """
    project.file("tests/a_test.lua", text)
    project.file("tests/b_test.lua", text)
    main(["exec", "State.set('left', 'mine')"])
    assert project.test()[0] == 0
    project.test()
    main(["exec", "return State.get('left')"])
    assert project._capsys.readouterr().out == "mine\n"


def test_the_configuration_holds_and_files_beside_a_test_are_there(project: Project) -> None:
    (project.folder / "llmspell.toml").write_text("[engines.lua]\nmax_memory_bytes = 2000000\n")
    project.file("tests/part.lua", "return 7", head="")
    project.file(
        "tests/a_test.lua",
        "local part = require('part')\n"
        "T.it('part', function() T.expect(part):to_be(7) end)\n"
        "T.it('limit', function() T.expect(function() local s = ('x'):rep(5000000) end)"
        ":to_error('not enough memory') end)\n"
        "T.it('args', function() T.expect(ARGS[0]):to_be('a_test.lua') end)\n",
    )
    assert project.test()[0] == 0


def test_a_test_that_never_ends_fails_at_the_time_limit_and_the_next_file_runs(
    project: Project,
) -> None:
    project.file(
        "tests/a_test.lua",
        """
        T.it('before', function() end)
        T.it('loops', function()
          print('begins')
          while true do pcall(function() while true do end end) end
        end)
        T.it('after', function() end)
        """,
    )
    project.file("tests/b_test.lua", "while true do end", head="")
    project.file("tests/c_test.lua", "T.it('next', function() end)")
    code, document = project.json("--timeout", "1")
    assert code == 1
    assert [
        (t["name"], t["status"], t["error"], t["output"])
        for f in document["files"]
        for t in f["tests"]
    ] == [
        ("before", "passed", None, ""),
        ("loops", "failed", "the file took longer than 1 s", "begins\n"),
        ("after", "skipped", "not run", ""),
        ("tests/b_test.lua", "failed", "the file took longer than 1 s", ""),
        ("next", "passed", None, ""),
    ]


def test_without_a_limit_of_its_own_a_file_has_that_of_every_script(project: Project) -> None:
    (project.folder / "llmspell.toml").write_text("[runtime]\nscript_timeout_seconds = 0.5\n")
    project.file("tests/a_test.lua", "T.it('loops', function() while true do end end)")
    code, out = project.test()
    assert code == 1
    assert "Script execution timed out after 0.5 seconds: see --timeout" in out


def test_filter_and_bail(project: Project) -> None:
    project.file(
        "tests/a_test.lua", "T.it('red', error) T.it('red too', error) T.it('blue', error)"
    )
    project.file("tests/b_test.lua", "T.it('red', function() end)")
    assert project.ended("--filter", "RED") == {"red": "passed", "red too": "failed"}
    code, document = project.json("--bail")
    assert code == 1
    assert (document["failed"], document["skipped"], document["files_not_run"]) == (1, 2, 1)
    assert document["success"] is False
    assert project.test("--bail")[1].endswith("(N)\n1 file not run\n")


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_files_come_in_order_however_many_run_at_a_time(project: Project, jobs: str) -> None:
    for number in range(8):
        wait = 80 - 10 * number
        project.file(
            f"tests/{number}_test.lua",
            f"T.it('{number}', function() Utils.sleep({wait}) print('{number}') end)",
        )
    code, document = project.json("-j", jobs)
    assert code == 0
    assert [(f["path"], f["tests"][0]["output"]) for f in document["files"]] == [
        (f"tests/{n}_test.lua", f"{n}\n") for n in range(8)
    ]


def test_files_run_beside_each_other(project: Project) -> None:
    # Each waits for the other: one after the other, neither would end.
    meet = """
    T.it('meets', function()
      io.open(ARGS[0] .. '.here', 'w'):close()
      while not io.open('OTHER.here') do Utils.sleep(5) end
    end)
    """
    (project.folder / "llmspell.toml").write_text("[runtime.security]\nallow_file_access = true\n")
    project.file("tests/a_test.lua", meet.replace("OTHER", "b_test.lua"))
    project.file("tests/b_test.lua", meet.replace("OTHER", "a_test.lua"))
    assert project.test("-j", "2", "--timeout", "30")[0] == 0


# -- reports for programs -----------------------------------------------------------------------


NASTY = """
T.it('plain', function() end)
T.it('# name \\\\ with "everything" <&> \\27 é', function()
  print('\\27[31mred\\0 ]]> <&>\\n...\\n---\\nok 1 - not a test')
  error('first line\\n1..99\\nnot ok 7 - <&> \\255 \\1', 0)
end)
T.skip('later # TODO')
T.it('ends itself', function() T.skip('no # key') end)
"""


def tap(text: str) -> list[tuple[bool, int, str, str | None, dict[str, Any]]]:
    """A strict reader of TAP 14 as far as we write it: (ok, number, description, skip, facts)."""
    lines = text.split("\n")
    assert lines.pop() == ""
    assert lines.pop(0) == "TAP version 14"
    if lines[-1].startswith("Bail out!"):
        lines.pop()
    plan = re.fullmatch(r"1\.\.(\d+)", lines.pop())
    assert plan
    points: list[tuple[bool, int, str, str | None, dict[str, Any]]] = []
    while lines:
        point = re.fullmatch(
            r"(not )?ok (\d+) - ((?:[^#\\]|\\\\|\\#)*?)(?: # SKIP ?(.*))?", lines.pop(0)
        )
        assert point
        facts: dict[str, Any] = {}
        if lines and lines[0] == "  ---":
            lines.pop(0)
            while lines[0] != "  ...":
                key, value = re.fullmatch(r"  (\w+): (.*)", lines.pop(0)).groups()  # type: ignore[union-attr]
                facts[key] = json.loads(value)
            lines.pop(0)
        said = re.sub(r"\\(.)", r"\1", point[3])
        points.append((point[1] is None, int(point[2]), said, point[4], facts))
    assert [point[1] for point in points] == list(range(1, int(plan[1]) + 1))
    return points


def test_tap_is_read_back_as_it_was(project: Project) -> None:
    project.file("tests/a_test.lua", NASTY)
    assert project.raw("--format", "tap") == 1
    text = project._capsys.readouterr().out

    points = [(ok, said, skip) for ok, _, said, skip, _ in tap(text)]
    assert points == [
        (True, "tests/a_test.lua: plain", None),
        (False, 'tests/a_test.lua: # name \\ with "everything" <&> \\x1b é', None),
        (True, "tests/a_test.lua: later # TODO", ""),
        (True, "tests/a_test.lua: ends itself", "no \\# key"),
    ]
    facts = tap(text)[1][4]
    assert facts["message"] == "first line\n1..99\nnot ok 7 - <&> \ufffd \\x01"
    assert facts["output"] == "\\x1b[31mred\\x00 ]]> <&>\n...\n---\nok 1 - not a test\n"
    assert facts["place"] == "tests/a_test.lua:4"


def test_a_foreign_reader_of_tap_agrees(project: Project) -> None:
    parser = pytest.importorskip("tap.parser").Parser()
    # It knows no escaped directives, which came with version 14.
    project.file("tests/a_test.lua", NASTY.replace("later # TODO", "later"))
    project.raw("--format", "tap")
    lines = list(parser.parse_text(project._capsys.readouterr().out))
    assert not [line for line in lines if line.category == "unknown"]
    found = [line for line in lines if line.category == "test"]
    assert [(line.number, line.ok, bool(line.skip)) for line in found] == [
        (1, True, False),
        (2, False, False),
        (3, True, True),
        (4, True, True),
    ]
    (plan,) = [line for line in lines if line.category == "plan"]
    assert plan.expected_tests == 4
    assert found[1].yaml_block["severity"] == "fail"
    assert found[1].yaml_block["message"].startswith("first line\n1..99\n")


def test_junit_is_well_formed_whatever_tests_say_and_the_sums_agree(project: Project) -> None:
    project.file("tests/a_test.lua", NASTY + "print('outside \\0')")
    project.file("tests/b_test.lua", "T.it('b', function() end)")
    project.file("tests/broken_test.lua", "x = = 1", head="")
    assert project.raw("--format", "junit") == 1
    text = project._capsys.readouterr().out

    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites"
    assert {k: root.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6",
        "failures": "2",
        "errors": "0",
        "skipped": "2",
    }
    assert [suite.get("name") for suite in root] == [
        "tests/a_test.lua",
        "tests/b_test.lua",
        "tests/broken_test.lua",
    ]
    for suite in root:
        cases = suite.findall("testcase")
        assert suite.get("tests") == str(len(cases))
        assert suite.get("failures") == str(sum(case.find("failure") is not None for case in cases))
        assert suite.get("skipped") == str(sum(case.find("skipped") is not None for case in cases))
        assert all(float(case.get("time") or "x") >= 0 for case in cases)
    failing = root[0].findall("testcase")[1]
    assert (failing.get("classname"), failing.get("file"), failing.get("line")) == (
        "tests.a_test",
        "tests/a_test.lua",
        "4",
    )
    failure = failing.find("failure")
    assert failure is not None
    assert failure.get("message") == "first line"
    assert failure.text == "first line\n1..99\nnot ok 7 - <&> \ufffd \\x01"
    assert failing.findtext("system-out") == (
        "\\x1b[31mred\\x00 ]]> <&>\n...\n---\nok 1 - not a test\n"
    )
    assert root[0].findtext("system-out") == "outside \\x00\n"


def test_a_foreign_reader_of_junit_agrees(project: Project) -> None:
    junitparser = pytest.importorskip("junitparser")
    project.file("tests/a_test.lua", NASTY)
    project.raw("--format", "junit", "--output", "report.xml")
    found = junitparser.JUnitXml.fromfile(str(project.folder / "report.xml"))
    assert (found.tests, found.failures, found.errors, found.skipped) == (4, 1, 0, 2)
    counted = (found.tests, found.failures, found.errors, found.skipped)
    found.update_statistics()
    assert (found.tests, found.failures, found.errors, found.skipped) == counted
    cases = [case for suite in found for case in suite]
    assert [case.is_passed for case in cases] == [True, False, False, False]
    assert cases[1].result[0].message == "first line"


def test_json_is_one_document_with_everything(project: Project) -> None:
    project.file("tests/b_test.lua", MIXED)
    code, document = project.json()
    (file,) = document.pop("files")
    assert code == 1
    assert document.pop("duration_ms") > 0
    assert document == {
        "total": 3,
        "passed": 1,
        "failed": 1,
        "skipped": 1,
        "success": False,
        "files_not_run": 0,
    }
    assert (file["path"], file["output"]) == ("tests/b_test.lua", "said outside\n")
    for test in file["tests"]:
        test.pop("duration_ms")
    assert file["tests"] == [
        {
            "name": "group > holds",
            "status": "passed",
            "error": None,
            "traceback": None,
            "place": "tests/b_test.lua:4",
            "output": "said by holds\n",
        },
        {
            "name": "group > fails # badly",
            "status": "failed",
            "error": "tests/b_test.lua:8: expected values to be equal; "
            "the first difference is at .a\n  expected: 2\n  actual:   1",
            "traceback": None,
            "place": "tests/b_test.lua:5",
            "output": "said by fails\nand on stderr",
        },
        {
            "name": "group > waits",
            "status": "skipped",
            "error": None,
            "traceback": None,
            "place": "tests/b_test.lua:10",
            "output": "",
        },
    ]
    assert main(["--output", "json", "test"]) == 1
    assert json.loads(project._capsys.readouterr().out)["total"] == 3


@pytest.mark.parametrize("format", ["pretty", "tap", "junit", "json"])
def test_a_report_goes_to_a_file_and_people_read_the_terminal(
    project: Project, format: str
) -> None:
    project.file("tests/a_test.lua", "T.it('é', function() end)")
    code, out = project.test("--format", format, "--output", "report")
    assert code == 0
    assert out.endswith("1 test in 1 file: 1 passed, 0 failed, 0 skipped (N)\n")
    written = (project.folder / "report").read_text(encoding="utf-8")
    beginning = {"pretty": "✓ ", "tap": "TAP version 14\n", "junit": "<?xml ", "json": "{"}
    assert written.startswith(beginning[format])


def test_a_report_that_cannot_be_written_is_told_before_anything_runs(project: Project) -> None:
    project.file("tests/a_test.lua", "T.it('a', function() print('ran') end)")
    code, out = project.test("--output", "no/such/place")
    assert (code, out) == (1, "")
    assert project.err == "Error: No such file or directory: no/such/place\n"


# -- signals ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_ends_the_run_and_what_ran_is_reported(
    project: Project, number: int, code: int, said: str
) -> None:
    project.file("tests/a_test.lua", "T.it('a', function() end)")
    project.file(
        "tests/b_test.lua",
        "T.it('b', function() end)\n"
        "T.it('hangs', function() io.open('begun', 'w'):close()"
        " while true do pcall(Utils.sleep, 10) end end)\n"
        "T.it('c', function() end)\n",
    )
    project.file("tests/c_test.lua", "T.it('d', function() end)")
    (project.folder / "llmspell.toml").write_text("[runtime.security]\nallow_file_access = true\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "llmspell", "test", "--format", "tap", "--output", "report.tap"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    begun = threading.Event()
    ticks = 0
    while not (project.folder / "begun").exists():
        ticks += 1
        assert ticks < 3000
        assert process.poll() is None
        begun.wait(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, err) == (code, "")
    assert "4 tests in 2 files: 2 passed, 1 failed, 1 skipped" in out
    assert out.endswith("1 file not run\n")
    points = tap((project.folder / "report.tap").read_text())
    assert [(ok, name, skip) for ok, _, name, skip, _ in points] == [
        (True, "tests/a_test.lua: a", None),
        (True, "tests/b_test.lua: b", None),
        (False, "tests/b_test.lua: hangs", None),
        (True, "tests/b_test.lua: c", "not run"),
    ]
    assert points[2][4]["message"] == said


@pytest.mark.slow
def test_nobody_reading_the_output_ends_it_quietly(project: Project) -> None:
    for number in range(3):
        project.file(f"tests/{number}_test.lua", "T.it('a', function() end)")
    process = subprocess.Popen(
        [sys.executable, "-m", "llmspell", "test"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(30), err) == (0, b"")


def test_other_engines_run_the_same_tests(project: Project) -> None:
    from llmspell_core import PluginIndex

    if "luajit" not in PluginIndex().names("llmspell.engines"):
        pytest.skip("the engine luajit is not installed")
    project.file(
        "tests/a_test.lua",
        "T.it('is LuaJIT', function() T.assert_type(jit, 'table') end)\n" + MIXED,
    )
    code, document = project.json("--engine", "luajit")
    assert (code, document["passed"], document["failed"], document["skipped"]) == (1, 2, 1, 1)
