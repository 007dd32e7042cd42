"""Build every wheel; install each alone, with what it declares, and use what it offers.

A wheel passes when its package and every public name import in an environment that holds nothing
but the wheel and its declared dependencies, and when each of its entry points loads. At the end the
umbrella and the sample plugin are installed together, as a user would, and used from a script.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = "llmspell-sample-plugin"

# What a public name may miss in a bare installation: the modules of the distribution's extras.
OF_EXTRAS = {"llmspell-testing": ("pytest", "pytest_asyncio"), "llmspell-storage": ("hnswlib",)}

ALONE = """\
import importlib, sys
package, distribution, extras = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
module = importlib.import_module(package)
names = getattr(module, "__all__", [])
assert module.__doc__, f"{package} has no docstring"
for name in names:
    try:
        getattr(module, name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in extras:
            raise SystemExit(f"{package}.{name} needs {error.name}, which is not declared")
from llmspell_core import PluginIndex
own = [p for p in PluginIndex().all() if p.distribution == distribution]
for plugin in own:
    plugin.load()
strangers = {name.partition(".")[0] for name in sys.modules if name.startswith("llmspell_")}
print(f"{len(names)} names, {len(own)} entry points, imported {sorted(strangers)}")
"""

USED = """\
local counted = Sample.reading_time("One two three. Four!", { words_per_minute = 60 })
assert(counted.words == 4 and counted.seconds == 4, tostring(counted))
assert(Sample.stopwatch("race"):lap() >= 0)
local agent = Agent.builder():name("mirror"):model("reverse/words"):build()
assert(agent:execute("one two three").text == "three two one")
print("sample plugin used")
"""


class Broken(Exception):
    """A check failed; the message is for the one who reads the log."""


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Run a command; its standard output."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        shown = " ".join(str(part) for part in command)[:300]
        raise Broken(f"{shown}\nexit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def distributions() -> dict[str, Path]:
    """Name → folder of every distribution of the workspace."""
    found: dict[str, Path] = {}
    for file in [*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("examples/*/pyproject.toml")]:
        found[tomllib.loads(file.read_text())["project"]["name"]] = file.parent
    return dict(sorted(found.items()))


def build(folder: Path, wheels: Path) -> Path:
    """The wheel of one distribution, built where nobody else's is."""
    with tempfile.TemporaryDirectory(dir=wheels.parent) as own:
        run("uv", "build", "--quiet", "--wheel", "--out-dir", own, folder)
        (wheel,) = Path(own).glob("*.whl")
        return wheel.rename(wheels / wheel.name)


def constraints(wheels: dict[str, Path], place: Path) -> Path:
    """The locked versions of strangers, and our own wheels by their files."""
    locked = run(
        "uv",
        "export",
        *("--quiet", "--frozen", "--all-packages", "--all-extras", "--no-dev"),
        *("--no-emit-workspace", "--no-hashes", "--no-header", "--no-annotate"),
    )
    ours = [f"{name} @ {wheel.as_uri()}" for name, wheel in wheels.items()]
    file = place / "constraints.txt"
    file.write_text("\n".join([locked, *ours]) + "\n")
    return file


def environment(place: Path, constraint: Path, *wanted: str) -> Path:
    """A fresh environment with *wanted* in it; its Python."""
    run("uv", "venv", "--quiet", "--python", sys.executable, place)
    python = place / "bin" / "python"
    run("uv", "pip", "install", "--quiet", "--python", python, "--constraint", constraint, *wanted)
    return python


def alone(name: str, wheel: Path, place: Path, constraint: Path) -> str:
    """Install one wheel with what it declares, and import all of it."""
    python = environment(place / name, constraint, f"{name} @ {wheel.as_uri()}")
    extras = ",".join(OF_EXTRAS.get(name, ()))
    package = name.replace("-", "_")
    # -I: neither the working directory nor the variables of this process may help.
    return run(python, "-I", "-c", ALONE, package, name, extras, cwd=place).strip()


def together(wheels: dict[str, Path], place: Path, constraint: Path) -> str:
    """Install the umbrella and the sample plugin, and use the plugin from a script."""
    python = environment(
        place / "together",
        constraint,
        f"llmspell-cli[all] @ {wheels['llmspell-cli'].as_uri()}",
        f"{SAMPLE} @ {wheels[SAMPLE].as_uri()}",
    )
    program = python.with_name("llmspell")
    home = {"LLMSPELL_HOME": str(place / "home")}
    listed = run(program, "plugins", "--check", cwd=place, env=home)
    for name in ("reading_time", "reverse", "Sample", "calculator"):
        if f" {name} " not in listed:
            raise Broken(f"llmspell plugins does not list {name}:\n{listed}")
    script = place / "use_sample.lua"
    script.write_text(USED)
    return run(program, "run", script, cwd=place, env=home).strip()


def attempt(name: str, work: object, *arguments: object) -> bool:
    """Run one check and print what came of it; whether it passed."""
    try:
        print(f"{name}: {work(*arguments)}", flush=True)  # type: ignore[operator]
    except Broken as error:
        print(f"{name}: BROKEN\n{error}", flush=True)
        return False
    return True


def main() -> int:
    """Check all; the exit code."""
    found = distributions()
    many = len([name for name in found if name != SAMPLE])
    if many != 17:
        print(f"{many} distributions in packages/, not 17")
        return 1
    with tempfile.TemporaryDirectory() as made, ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        place = Path(made)
        (place / "wheels").mkdir()
        try:
            built = pool.map(lambda folder: build(folder, place / "wheels"), found.values())
            wheels = dict(zip(found, built, strict=True))
            constraint = constraints(wheels, place)
        except Broken as error:
            print(error)
            return 1
        results = list(
            pool.map(
                lambda name: attempt(name, alone, name, wheels[name], place, constraint), found
            )
        )
        results.append(attempt("together", together, wheels, place, constraint))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
