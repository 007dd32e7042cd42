"""What the end-to-end tests share: the installed command, run as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest_plugins = ["llmspell_testing.fixtures"]

PROJECT = Path(__file__).parent.parent
COMMAND = Path(sys.executable).with_name("llmspell")


@dataclass(frozen=True)
class Finished:
    """A finished command."""

    code: int
    out: str
    err: str


@dataclass
class User:
    """Somebody with a home directory of their own, a working directory and the command."""

    home: Path
    folder: Path
    environment: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        return [str(COMMAND), *arguments]

    def run(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        timeout: float = 60,
        prefix: tuple[str, ...] = (),
    ) -> Finished:
        done = subprocess.run(
            [*prefix, *self.command(*arguments)],
            cwd=folder or self.folder,
            env={**self.environment, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env={**self.environment, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def script(self, text: str, name: str = "script.lua") -> str:
        (self.folder / name).write_text(text, encoding="utf-8")
        return name


@pytest.fixture
def user(tmp_path: Path) -> User:
    home = tmp_path / "home"
    folder = tmp_path / "project"
    home.mkdir()
    folder.mkdir()
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("LLMSPELL_", "OPENAI_", "ANTHROPIC_")) and key != "RUST_LOG"
    }
    environment = {**kept, "HOME": str(home), "NO_COLOR": "1", "PYTHONWARNINGS": "error"}
    return User(home, folder, environment)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL, and wait until it is gone."""
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
