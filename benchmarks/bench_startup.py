"""Start-up: wall time and peak memory, as multiples of `python -c pass` in the same run.

Each round runs every command once, one after the other, so that whatever else the machine does
hits all of them alike; the figure is the median of the rounds.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROUNDS = 21
PYTHON = sys.executable
LLMSPELL = str(Path(PYTHON).with_name("llmspell"))


@dataclass
class Case:
    name: str
    command: list[str]
    times_bound: float | None = None
    memory_bound_mb: float | None = None
    seconds: list[float] = field(default_factory=list)
    peak_mb: float = 0.0


CASES = [
    Case("python -c pass", [PYTHON, "-c", "pass"]),
    Case("import llmspell_core", [PYTHON, "-c", "import llmspell_core"], 2),
    Case("import typer", [PYTHON, "-c", "import typer"]),
    Case("llmspell --help", [LLMSPELL, "--help"], 13),
    Case("llmspell exec 'return 1'", [LLMSPELL, "exec", "return 1"], 16, 45),
    Case("llmspell exec, with a file", [LLMSPELL, "-c", "settings.toml", "exec", "return 1"]),
]


def once(case: Case, environment: dict[str, str]) -> None:
    """Run the command and note its time and, from the kernel's accounts, its peak memory."""
    quiet = [
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    started = time.perf_counter()
    pid = os.posix_spawn(case.command[0], case.command, environment, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    case.seconds.append(time.perf_counter() - started)
    if status != 0:
        raise SystemExit(f"{case.name} failed: {case.command}")
    kilobytes = usage.ru_maxrss if sys.platform != "darwin" else usage.ru_maxrss / 1024
    case.peak_mb = max(case.peak_mb, kilobytes / 1024)


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        os.chdir(home)
        Path("settings.toml").write_text("[runtime]\nscript_timeout_seconds = 60\n")
        kept = {k: v for k, v in os.environ.items() if not k.startswith("LLMSPELL_")}
        environment = {**kept, "HOME": home}
        for _ in range(ROUNDS):
            for case in CASES:
                once(case, environment)
    base = statistics.median(CASES[0].seconds)
    print(f"{'':28}{'median':>10}{'best':>10}{'times':>8}{'bound':>8}{'peak':>10}")
    for case in CASES:
        median = statistics.median(case.seconds)
        bound = f"{case.times_bound:g}" if case.times_bound else "-"
        late = " <-- over" if case.times_bound and median / base > case.times_bound else ""
        heavy = " <-- over" if case.memory_bound_mb and case.peak_mb > case.memory_bound_mb else ""
        print(
            f"{case.name:28}{median * 1000:8.1f}ms{min(case.seconds) * 1000:8.1f}ms"
            f"{median / base:7.1f}x{bound:>8}{case.peak_mb:8.1f}MB{late}{heavy}"
        )


if __name__ == "__main__":
    main()
