import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def python() -> Program:
    """Runs Python code in a process of its own."""

    def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Callable[[str, str], subprocess.CompletedProcess[str]]:
    """Runs Python code with a file system of its own at the path it gets as its argument."""
    place = tmp_path / "disk"
    place.mkdir()

    def run(code: str, options: str) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "program.py"
        script.write_text(code)
        mount = f"mount -t tmpfs -o {options} tmpfs {place}"
        done = subprocess.run(
            [
                "unshare",
                "-rm",
                "sh",
                "-c",
                f"{mount} || exit 77; {sys.executable} {script} {place}",
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode == 77 or "unshare" in done.stderr:
            pytest.skip("this system does not let a test mount a file system")
        return done

    return run
