"""The star: who may import whom, and what importing costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = sorted(path.name for path in ROOT.glob("packages/*/src/llmspell_*") if path.is_dir())

# Costs more to import than a package may cost before a name of it is used. Those that a package
# could pull without noticing: its dependencies, and the heavy part of the standard library.
HEAVY = {
    "aiosqlite",
    "asyncio",
    "click",
    "email",
    "hnswlib",
    "http",
    "httpx",
    "importlib.metadata",
    "lupa",
    "numpy",
    "pydantic",
    "pytest",
    "rich",
    "socket",
    "sqlalchemy",
    "sqlite3",
    "ssl",
    "tempfile",
    "typer",
    "unittest",
    "urllib.request",
    "uuid",
}


def test_there_are_seventeen_packages() -> None:
    assert len(PACKAGES) == 17


def test_the_layers_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_costs_nothing_until_a_name_is_used(package: str) -> None:
    code = (
        f"import sys\nbefore = set(sys.modules)\nimport {package}\n"
        "loaded = sorted(set(sys.modules) - before)\nimport json\nprint(json.dumps(loaded))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert loaded & HEAVY == set()
    others = {name.partition(".")[0] for name in loaded if name.startswith("llmspell_")}
    assert others <= {package, "llmspell_core"}


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_offers_is_listed_and_there(package: str) -> None:
    code = (
        f"import json, sys, {package} as package\n"
        "names = list(package.__all__)\n"
        "assert len(names) == len(set(names)) > 0, names\n"
        "for name in names: getattr(package, name)\n"
        "assert set(names) <= set(dir(package))\n"
        "assert package.__doc__\n"
        "print(json.dumps(names))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not [name for name in json.loads(done.stdout) if name.startswith("_")]


def test_the_command_does_not_import_what_a_short_script_does_not_need() -> None:
    code = (
        "import sys\nfrom llmspell_cli import main\n"
        "code = main(['exec', 'return 1'])\n"
        "print(code, sorted({'pydantic', 'rich', 'httpx', 'numpy', 'sqlalchemy', 'hnswlib'}"
        " & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "1"
    assert done.stderr.strip() in {"0 []", "None []"}
