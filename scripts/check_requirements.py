"""Holds the manifest of requirements and the tests together, both ways.

    python scripts/check_requirements.py [--manifest FILE] [TEST FILE …]

Every requirement of the manifest must have a test that is collected and not skipped, every
requirement that a test names (``@pytest.mark.requirement("id", …)``) must be in the manifest. A
requirement that waits for a global (or ``"<group>/<name>"``, another plugin) needs a test from the
day that is installed.

Without test files: all of the workspace that name a requirement. Prints what is wrong and exits
with 1, or prints how many there are.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.skipping import evaluate_skip_marks

from llmspell_core import PluginIndex

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ROOT / "packages/llmspell-bridge/tests/requirements.toml"


@dataclass(frozen=True)
class Requirement:
    """One line of the manifest."""

    id: str
    text: str
    waits_for: str | None


def read(manifest: Path) -> list[Requirement]:
    """The requirements, in the order of the file."""
    found: list[Requirement] = []
    for section in tomllib.loads(manifest.read_text(encoding="utf-8")).values():
        for name, line in section.items():
            if isinstance(line, str):
                line = {"text": line}
            found.append(Requirement(name, line["text"], line.get("waits_for")))
    return found


class Collector:
    """What pytest collects: for each requirement named the tests, and those that will run."""

    def __init__(self) -> None:
        self.named: dict[str, list[str]] = defaultdict(list)
        self.running: set[str] = set()
        self.tests = 0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            ids = [name for mark in item.iter_markers("requirement") for name in mark.args]
            self.tests += bool(ids)
            skipped = bool(ids) and evaluate_skip_marks(item) is not None
            for name in ids:
                self.named[name].append(item.nodeid)
                if not skipped:
                    self.running.add(name)


def test_files() -> list[Path]:
    """The files of tests that name requirements."""
    files = [*ROOT.glob("packages/*/tests/**/test_*.py"), *ROOT.glob("tests/test_*.py")]
    return sorted(file for file in files if "mark.requirement(" in file.read_text("utf-8"))


def collect(files: Iterable[Path]) -> Collector:
    """Let pytest collect the files, and run nothing."""
    collector = Collector()
    said = io.StringIO()
    arguments = ["--collect-only", "-q", "-p", "no:cacheprovider", *map(str, files)]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main(arguments, plugins=[collector])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        sys.exit(f"pytest cannot collect the tests:\n{said.getvalue()[-5000:]}")
    return collector


def installed() -> set[str]:
    """The globals by their names, all plugins by group and name."""
    index = PluginIndex()
    plugins = {f"{p.group.removeprefix('llmspell.')}/{p.name}" for p in index.all()}
    return plugins | set(index.names("llmspell.globals"))


def problems(requirements: list[Requirement], tests: Collector, present: set[str]) -> list[str]:
    """What is wrong, one line each."""
    known = {requirement.id for requirement in requirements}
    found = [
        f"{nodes[0]} names '{name}', which is not in the manifest"
        for name, nodes in sorted(tests.named.items())
        if name not in known
    ]
    for requirement in requirements:
        if requirement.id in tests.running:
            continue
        if requirement.id in tests.named:
            found.append(f"'{requirement.id}': every test that names it is skipped")
        elif requirement.waits_for is None:
            found.append(f"'{requirement.id}' has no test: {requirement.text}")
        elif requirement.waits_for in present:
            found.append(
                f"'{requirement.id}' waited for {requirement.waits_for}, which is there now, "
                f"and has no test: {requirement.text}"
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=Path, default=MANIFEST)
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args()
    requirements = read(options.manifest)
    tests = collect(options.files or test_files())
    wrong = problems(requirements, tests, installed())
    if wrong:
        sys.exit("\n".join([*wrong, f"\n{len(wrong)} problems with {options.manifest.name}"]))
    waiting = sum(r.waits_for is not None and r.id not in tests.running for r in requirements)
    print(
        f"{len(requirements)} requirements, {tests.tests} tests that name them, "
        f"{waiting} waiting for what is not built yet"
    )


if __name__ == "__main__":
    main()
