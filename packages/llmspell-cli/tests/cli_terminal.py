"""The command in a terminal of its own, where Ctrl-C is what it is for a user."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path

CTRL_C, CTRL_D = "\x03", "\x04"


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Without settings and keys of whoever runs the tests."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("LLMSPELL_", "RUST_LOG"))
        and not key.endswith(("_API_KEY", "_API_TOKEN", "_BASE_URL", "USE_MOCK"))
    }
    return {
        **kept,
        "HOME": str(home),
        "LLMSPELL_HOME": str(home / "data"),
        "PYTHONWARNINGS": "error",
        "TERM": "xterm",
        **more,
    }


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """Somebody sits at the command: types, waits for what appears, presses keys."""

    def __init__(self, *arguments: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llmspell", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=dict(environment),
            preexec_fn=_own_terminal,
        )
        os.close(slave)
        self.seen = ""
        self._from = 0
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def until(self, *texts: str) -> str:
        """Wait until each of *texts* appeared, behind what was waited for before; what stands
        in between.
        """
        before = self._from
        deadline = time.monotonic() + 60
        for text in texts:
            while text not in self.seen[self._from :]:
                assert time.monotonic() < deadline, f"no {text!r} in {self.seen!r}"
                ready, _, _ = select.select([self._master], [], [], 1)
                if ready:
                    try:
                        self.seen += self._decode(os.read(self._master, 65536))
                    except OSError:  # the program has ended
                        assert text in self.seen[self._from :], f"no {text!r} in {self.seen!r}"
            self._from = self.seen.index(text, self._from) + len(text)
        return self.seen[before : self._from]

    def type(self, text: str) -> None:
        """Type *text*; ``\\n`` is the enter key."""
        os.write(self._master, text.replace("\n", "\r").encode())

    def end(self) -> int:
        """Wait for the end; the exit code."""
        while self.process.poll() is None:
            ready, _, _ = select.select([self._master], [], [], 0.1)
            if ready:
                try:
                    self.seen += self._decode(os.read(self._master, 65536))
                except OSError:
                    break
        return self.process.wait(60)

    def close(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def __enter__(self) -> Terminal:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()
