"""Each distribution imports only what it declares, and declares only what it imports (deptry)."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Declared and not imported, for a reason.
UNIMPORTED = {
    "llmspell-cli": "the extra `all` is the umbrella of the distributions a user installs",
    "llmspell-storage": "SQLAlchemy imports the drivers of its extras by the name in the URL",
    "llmspell-tools": "SQLAlchemy imports the drivers of the extra `sql` by the name in the URL",
    "llmspell-testing": "the suites need the pytest-asyncio plugin, which pytest imports",
}


def check(package: Path) -> tuple[str, int, str]:
    """Run deptry over one distribution."""
    name = tomllib.loads((package / "pyproject.toml").read_text())["project"]["name"]
    command = [sys.executable, "-m", "deptry", "src", "--no-ansi"]
    command += ["--known-first-party", name.replace("-", "_")]
    if name in UNIMPORTED:
        command += ["--ignore", "DEP002"]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, check=False)
    return name, done.returncode, done.stdout + done.stderr


def main() -> int:
    """Check all; the exit code."""
    packages = sorted(ROOT.glob("packages/*/pyproject.toml"))
    packages += sorted(ROOT.glob("examples/*/pyproject.toml"))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(check, [path.parent for path in packages]))
    broken = [(name, output) for name, code, output in results if code != 0]
    for name, output in broken:
        print(f"{name}:\n{output}")
    print(f"{len(results)} distributions, {len(broken)} broken")
    return 1 if broken or not results else 0


if __name__ == "__main__":
    sys.exit(main())
