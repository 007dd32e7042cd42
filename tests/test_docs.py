"""What the documentation shows is what the code does.

Fences marked ``python run`` or ``lua run`` are executed, those of one page and language as one
program; a fence ``text output`` behind one of them is what that one prints, and a fence
``LANGUAGE file NAME`` is a file beside the program. Fences marked ``LANGUAGE from PATH`` stand in
that file. All others are shown only.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    page
    for place in ("*.md", "docs/**/*.md", "examples/**/*.md", "packages/*/README.md")
    for page in ROOT.glob(place)
)
MARK = "=== a fence ==="
FENCE = re.compile(r"^([ ]*)```([^\n`]*)\n(.*?)^\1```[ ]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    marks: tuple[str, ...]
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        indent, info, body = match.groups()
        language, *marks = info.split() or [""]
        lines = [line.removeprefix(indent) for line in body.splitlines()]
        line = text.count("\n", 0, match.start(3)) + 1
        found.append(Block(page, line, language, tuple(marks), "\n".join(lines)))
    return found


ALL = [block for page in PAGES for block in blocks(page)]
QUOTED = [block for block in ALL if block.marks[:1] == ("from",)]
RUN = [block for block in ALL if block.marks == ("run",)]
OUTPUT = {
    before: block
    for before, block in pairwise(ALL)
    if block.marks == ("output",) and before.page == block.page and before in RUN
}
FILES = [block for block in ALL if block.marks[:1] == ("file",)]
PROGRAMS = sorted({(block.page, block.language) for block in RUN})


def program(page: Path, language: str) -> str:
    """The blocks as one program in which every line has the number it has on the page. In the
    places of the fences it prints marks, where what is printed between them is to be compared.
    """
    lines: list[str] = []
    for block in RUN:
        if (block.page, block.language) == (page, language):
            lines += [""] * (block.line - 1 - len(lines)) + block.text.split("\n")
            if block in OUTPUT:
                lines[block.line - 2] = f'print("{MARK}")'
                lines.append(f'print("{MARK}")')
    return "\n".join(lines) + "\n"


def check_output(page: Path, language: str, printed: str) -> None:
    """Compare what was printed between the marks with what the page shows."""
    shown = [block for block in OUTPUT if (block.page, block.language) == (page, language)]
    between = printed.split(f"{MARK}\n")[1::2]
    assert len(between) == len(shown)
    for block, found in zip(shown, between, strict=True):
        assert found.rstrip("\n") == OUTPUT[block].text.rstrip("\n"), OUTPUT[block].where


def test_there_is_something_to_run_and_to_compare() -> None:
    assert {language for _, language in PROGRAMS} == {"lua", "python"}
    assert len(QUOTED) > 5


def test_every_mark_is_known() -> None:
    odd = [
        block.where
        for block in ALL
        if block.marks
        and block.marks != ("run",)
        and block.marks[:1] != ("from",)
        and block not in OUTPUT.values()
        and not (block in FILES and block.page in {page for page, _ in PROGRAMS})
    ]
    assert odd == []


@pytest.mark.parametrize("block", QUOTED, ids=lambda block: block.where)
def test_a_quotation_is_true(block: Block) -> None:
    (path,) = block.marks[1:]
    source = (ROOT / path).read_text(encoding="utf-8")
    assert block.text.strip()
    assert f"\n{block.text}\n" in f"\n{source}\n", f"{block.where} is not in {path}"


@pytest.mark.parametrize(
    ("page", "language"),
    PROGRAMS,
    ids=lambda value: str(value.relative_to(ROOT)) if isinstance(value, Path) else value,
)
def test_an_example_runs(user, page: Path, language: str) -> None:
    text = program(page, language)
    for block in FILES:
        if block.page == page:
            user.script(block.text + "\n", block.marks[1])
    name = page.stem.replace("-", "_").lower()
    if language == "lua":
        done = user.run("run", user.script(text, f"{name}.lua"))
        assert (done.code, done.err) == (0, ""), done.out + done.err
        check_output(page, language, done.out)
        return
    assert language == "python", f"nobody knows how to run {language}"
    script = user.script(text, f"{name}.py")
    ran = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=user.folder,
        env=user.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    check_output(page, language, ran.stdout)


def test_the_links_lead_somewhere() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "check_links.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
