"""The question at the terminal, asked in a real one."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Run = Callable[..., "Terminal"]
pytestmark = pytest.mark.slow

SCRIPT = """
local path = ARGS[1]
local function try(what, params)
    local result, err = Tool.invoke("file_operations", params)
    print(what .. ": " .. (result.success and "done" or "refused"))
    if err then print(err) end
end
try("overwrite", {operation = "write", path = path, input = "new"})
try("create", {operation = "write", path = path .. ".2", input = "new \\27[2J"})
try("overwrite again", {operation = "write", path = path .. ".2", input = "\\27[2Jnewer"})
"""


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, *command: str, cwd: Path) -> None:
        self.master, slave = pty.openpty()
        environment = {**os.environ, "LLMSPELL_TOOLS_REQUIRE_APPROVAL": "true", "TERM": "dumb"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llmspell", "--no-config", *command],
            stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.seen = ""
        self._from = 0

    def until(self, text: str) -> None:
        """Read until *text* was written, behind what was waited for before."""
        deadline = time.monotonic() + 60
        while text not in self.seen[self._from :] and time.monotonic() < deadline:
            ready, _, _ = select.select([self.master], [], [], 1)
            if ready:
                try:
                    self.seen += os.read(self.master, 65536).decode()
                except OSError:  # the program has ended
                    break
        at = self.seen.find(text, self._from)
        assert at >= 0, self.seen
        self._from = at + len(text)

    def type(self, text: str) -> None:
        """Type *text*."""
        os.write(self.master, text.encode())

    def end(self) -> int:
        """Wait for the end."""
        return self.process.wait(60)

    def close(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "script.lua").write_text(SCRIPT)
    (tmp_path / "file").write_text("old")
    return tmp_path


@pytest.fixture
def run(place: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*options: str) -> Terminal:
        made = Terminal("run", *options, "script.lua", str(place / "file"), cwd=place)
        opened.append(made)
        return made

    yield start
    for one in opened:
        one.close()


def test_yes_lets_it_happen_and_no_does_not(place: Path, run: Run) -> None:
    terminal = run()
    terminal.until("Allow it?")
    assert "The script wants to call file_operations (write)." in terminal.seen
    assert "It overwrites or removes something." in terminal.seen
    assert f'"path": "{place / "file"}"' in terminal.seen
    terminal.type("perhaps\n")
    terminal.until("Allow it?")
    terminal.type("y\n")
    # What a model or script writes cannot clear the screen it is judged on.
    terminal.until("Allow it?")
    assert "\x1b[2J" not in terminal.seen
    assert "\\u001b[2Jnewer" in terminal.seen
    terminal.type("n\n")
    terminal.until("overwrite again: refused")
    terminal.until("was not approved: the person at the terminal said no")
    assert terminal.end() == 0
    assert (place / "file").read_text() == "new"
    assert (place / "file.2").read_text() == "new \x1b[2J"


def test_all_asks_no_more_about_that_tool(place: Path, run: Run) -> None:
    terminal = run("--record")
    terminal.until("Allow it?")
    terminal.type("a\n")
    terminal.until("overwrite again: done")
    assert terminal.end() == 0
    assert terminal.seen.count("Allow it?") == 1


def test_an_interrupt_ends_the_wait_for_an_answer(place: Path, run: Run) -> None:
    terminal = run()
    terminal.until("Allow it?")
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.end() == 130
    assert (place / "file").read_text() == "old"


def test_without_a_terminal_it_is_refused_with_the_ways_to_allow_it(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llmspell", "--no-config", "run", "script.lua", str(place / "file")],
        capture_output=True, text=True, cwd=place, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LLMSPELL_TOOLS_REQUIRE_APPROVAL": "true"},
    )  # fmt: skip
    assert "overwrite: refused" in done.stdout
    assert "nobody is there to give it" in done.stdout
    assert (place / "file").read_text() == "old"
