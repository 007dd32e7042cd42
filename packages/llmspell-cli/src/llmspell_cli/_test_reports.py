"""What a run of tests looks like: for people, and in the formats that other programs read."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmspell_cli._test_runner import Status, TestCase, TestFile

_MARKS: Mapping[Status, str] = {"passed": "✓", "failed": "✗", "skipped": "-"}
_CONTROL = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What neither XML 1.0 nor YAML 1.2 can hold."""


class Report(ABC):
    """Text that grows with the files."""

    def begin(self) -> str:
        """Before the first file."""
        return ""

    @abstractmethod
    def file(self, done: TestFile) -> str:
        """After a file."""

    @abstractmethod
    def end(self, files: Sequence[TestFile], *, left_out: int, seconds: float) -> str:
        """After the last file; *left_out* were not begun."""


def totals(files: Iterable[TestFile]) -> dict[Status, int]:
    """How many tests ended how."""
    made: dict[Status, int] = {"passed": 0, "failed": 0, "skipped": 0}
    for done in files:
        for case in done.cases:
            made[case.status] += 1
    return made


class Pretty(Report):
    """For people: a line for each file, and all about what failed; *verbose* tells the rest too."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose

    def file(self, done: TestFile) -> str:
        """A line, and the tests that failed."""
        number, failed = len(done.cases), done.count("failed")
        what = f"{failed} of {_tests(number)} failed" if failed else _tests(number)
        lines = [f"{_MARKS['failed' if failed else 'passed']} {done.path} ({what}, "]
        lines[0] += f"{_time(done.duration_ms)})"
        for case in done.cases:
            if self._verbose or case.status == "failed":
                lines += self._case(case, done)
        if done.output and (failed or self._verbose):
            lines += ["  output outside of tests:", *_quoted(done.output, "    ")]
        return "\n".join(lines) + "\n"

    def _case(self, case: TestCase, done: TestFile) -> list[str]:
        lines: list[str] = []
        if case.name != done.path:
            took = "" if case.status == "skipped" else f" ({_time(case.duration_ms)})"
            lines.append(f"  {_MARKS[case.status]} {' '.join(case.name.split())}{took}")
        lines += [f"      {line}" for line in (case.error or "").splitlines()]
        lines += [f"        {line.strip()}" for line in (case.traceback or "").splitlines()]
        if case.output:
            lines += ["      output:", *_quoted(case.output, "        ")]
        return lines

    def end(self, files: Sequence[TestFile], *, left_out: int, seconds: float) -> str:
        """The sums."""
        counted = totals(files)
        told = ", ".join(f"{number} {status}" for status, number in counted.items())
        text = (
            f"\n{_tests(sum(counted.values()))} in {_files(len(files))}: {told} ({seconds:.2f} s)\n"
        )
        return text + (f"{_files(left_out)} not run\n" if left_out else "")


def _tests(number: int) -> str:
    return f"{number} test{'' if number == 1 else 's'}"


def _files(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.1f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.2f} s"


def _quoted(text: str, margin: str) -> list[str]:
    return [f"{margin}| {line}" for line in text.removesuffix("\n").split("\n")]


class Tap(Report):
    """Test Anything Protocol, version 14 (https://testanything.org/tap-version-14-specification)."""

    def __init__(self) -> None:
        self._number = 0

    def begin(self) -> str:
        """The version."""
        return "TAP version 14\n"

    def file(self, done: TestFile) -> str:
        """A test point for each test."""
        return "".join(self._point(done, case) for case in done.cases)

    def _point(self, done: TestFile, case: TestCase) -> str:
        self._number += 1
        name = done.path if case.name == done.path else f"{done.path}: {case.name}"
        word = "not ok" if case.status == "failed" else "ok"
        line = f"{word} {self._number} - {_tap_text(name)}"
        if case.status == "skipped":
            reason = _tap_text(case.error or "")
            return f"{line} # SKIP {reason}".rstrip() + "\n"
        facts: dict[str, Any] = {"duration_ms": round(case.duration_ms, 3)}
        if case.status == "failed":
            facts |= {"severity": "fail", "message": case.error or ""}
            for key in ("traceback", "place", "output"):
                if getattr(case, key):
                    facts[key] = getattr(case, key)
        return f"{line}\n  ---\n{''.join(map(_yaml, facts.items()))}  ...\n"

    def end(self, files: Sequence[TestFile], *, left_out: int, seconds: float) -> str:
        """The plan."""
        gone = f"Bail out! {_files(left_out)} not run\n" if left_out else ""
        return f"1..{self._number}\n{gone}"


def _tap_text(text: str) -> str:
    one_line = " ".join(_legal(text).split())
    return one_line.replace("\\", "\\\\").replace("#", "\\#")


def _yaml(fact: tuple[str, Any]) -> str:
    # JSON is YAML.
    key, value = fact
    return f"  {key}: {json.dumps(_legal(value) if isinstance(value, str) else value)}\n"


def _legal(text: str) -> str:
    """*text* with what no XML and no YAML can hold written as an escape."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class Junit(Report):
    """JUnit's XML as continuous integration servers read it: a suite for each file."""

    def file(self, done: TestFile) -> str:
        """Nothing yet: the sums stand in front."""
        return ""

    def end(self, files: Sequence[TestFile], *, left_out: int, seconds: float) -> str:
        """The document."""
        from xml.etree import ElementTree

        counted = totals(files)
        root = ElementTree.Element(
            "testsuites",
            {
                "name": "llmspell test",
                "tests": str(sum(counted.values())),
                "failures": str(counted["failed"]),
                "errors": "0",
                "skipped": str(counted["skipped"]),
                "time": f"{seconds:.3f}",
            },
        )
        for done in files:
            root.append(self._suite(ElementTree, done))
        ElementTree.indent(root)
        text = ElementTree.tostring(root, encoding="unicode")
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'

    def _suite(self, tree: Any, done: TestFile) -> Any:
        suite = tree.Element(
            "testsuite",
            {
                "name": _legal(done.path),
                "tests": str(len(done.cases)),
                "failures": str(done.count("failed")),
                "errors": "0",
                "skipped": str(done.count("skipped")),
                "time": f"{done.duration_ms / 1000:.3f}",
            },
        )
        for case in done.cases:
            suite.append(self._case(tree, done, case))
        if done.output:
            tree.SubElement(suite, "system-out").text = _legal(done.output)
        return suite

    def _case(self, tree: Any, done: TestFile, case: TestCase) -> Any:
        place, _, line = (case.place or "").rpartition(":")
        made = tree.Element(
            "testcase",
            {
                "name": _legal(case.name),
                "classname": _legal(done.path.removesuffix(".lua").replace("/", ".")),
                "file": _legal(place or done.path),
                **({"line": line} if line else {}),
                "time": f"{case.duration_ms / 1000:.6f}",
            },
        )
        error = _legal(case.error or "")
        if case.status == "failed":
            found = tree.SubElement(
                made, "failure", {"message": error.partition("\n")[0], "type": "failed"}
            )
            found.text = "\n".join(filter(None, (error, _legal(case.traceback or ""))))
        elif case.status == "skipped":
            tree.SubElement(made, "skipped", {"message": error} if error else {})
        if case.output:
            tree.SubElement(made, "system-out").text = _legal(case.output)
        return made


class Json(Report):
    """One document with everything."""

    def file(self, done: TestFile) -> str:
        """Nothing yet."""
        return ""

    def end(self, files: Sequence[TestFile], *, left_out: int, seconds: float) -> str:
        """The document."""
        counted = totals(files)
        document = {
            "total": sum(counted.values()),
            **counted,
            "success": not counted["failed"] and not left_out,
            "duration_ms": round(seconds * 1000, 3),
            "files_not_run": left_out,
            "files": [
                {
                    "path": done.path,
                    "duration_ms": round(done.duration_ms, 3),
                    "output": done.output,
                    "tests": [asdict(case) for case in done.cases],
                }
                for done in files
            ],
        }
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


def report_for(format: str, *, verbose: bool) -> Report:
    """The report called *format*."""
    if format == "pretty":
        return Pretty(verbose=verbose)
    return {"tap": Tap, "junit": Junit, "json": Json}[format]()
