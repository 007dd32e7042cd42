"""Shows that the tests of the script engine notice when a feature is gone.

Ten features and more are disabled, one at a time, by a change of the source in a copy of the
package; the tests named for each must fail then, and all of them pass on the unchanged copy. A
change that no longer fits the source is an error: the list has to follow the code.

    python scripts/check_mutations.py            # all, about three minutes
    python scripts/check_mutations.py interrupt  # those whose name begins so
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "packages" / "llmspell-bridge" / "src" / "llmspell_bridge"
TESTS = ROOT / "packages" / "llmspell-bridge" / "tests"
SECONDS = 240


@dataclass(frozen=True)
class Mutation:
    """A feature, and how it is disabled: *old* stands once in *file*, *new* in its place."""

    name: str
    file: str
    old: str
    new: str
    tests: str
    chosen: str = ""
    """What ``pytest -k`` gets, so that the answer comes soon."""


MUTATIONS = (
    Mutation(
        "interrupt: endless loops end",
        "_interrupt.py",
        "            self._library.lua_sethook(address, self._hook, _MASKCOUNT, 1)",
        "            pass",
        "test_bridge_limits.py",
        "deadline or loop",
    ),
    Mutation(
        "memory: the heap is limited",
        "_conversion.py",
        "        self._runtime.set_max_memory(hard)",
        "        self._runtime.set_max_memory(0)",
        "test_bridge_limits.py",
        "memory or heap",
    ),
    Mutation(
        "sandbox: no finalizers",
        "lua/stdlib.lua",
        'rawget(meta, "__gc") ~= nil then',
        'rawget(meta, "__never") ~= nil then',
        "test_bridge_sandbox.py",
        "finalizer",
    ),
    Mutation(
        "sandbox: paths are checked",
        "_sandbox.py",
        "return security.path(path, mode, self._context())",
        "return real if mode == 'read' else security.path(path, mode, self._context())",
        "test_bridge_sandbox.py",
        "reading_elsewhere",
    ),
    Mutation(
        "sandbox: the engine's frames are hidden",
        "lua/stdlib.lua",
        "return info and OURS[info.source] or false",
        "return false",
        "test_bridge_escapes.py",
        "frames",
    ),
    Mutation(
        "portal: callbacks wait beside each other",
        "lua/core.lua",
        "  if isyieldable() then return finish(raw_yield(AWAIT, token)) end",
        "",
        "test_bridge_portal.py",
        "shortest",
    ),
    Mutation(
        "promises: handlers after one that waited",
        "_portal.py",
        "            job.waits = True",
        "            pass",
        "test_bridge_portal.py",
        "after_one_that_waited",
    ),
    Mutation(
        "sandbox: no compiled chunks",
        "_source.py",
        'if raw[:1] == b"\\x1b" or b"\\0" in raw:',
        "if False:",
        "test_bridge_sandbox.py test_bridge_execution.py",
        "bytecode or binary",
    ),
    Mutation(
        "conversion: cycles are refused",
        "lua/core.lua",
        "if queue[up] == instead then error(",
        "if false then error(",
        "test_bridge_conversion.py",
    ),
    Mutation(
        "conversion: depth is bounded",
        "_conversion.py",
        "MAX_DEPTH = 128",
        "MAX_DEPTH = 90",
        "test_bridge_conversion.py",
        "depth",
    ),
    Mutation(
        "language: promise:then() can be written",
        "_source.py",
        'pieces += (raw[done : found.start("then")], b"next")',
        'pieces += (raw[done : found.start("then")], b"then")',
        "test_bridge_portal.py test_bridge_execution.py",
        "then",
    ),
    Mutation(
        "forms: a colon call is a dot call",
        "lua/core.lua",
        "      if rawequal(a, own) then a = b end",
        "",
        "test_bridge_declaration.py",
    ),
    Mutation(
        "output: whole lines at once",
        "_output.py",
        '        self._output(stream, lines.decode("utf-8", "replace"))\n'
        "        if self._held[stream] > _MOST:",
        "        partial.insert(0, lines)\n        if self._held[stream] > _MOST:",
        "test_bridge_execution.py",
        "line or output or print",
    ),
    Mutation(
        "portal: cancel reaches what is waited for",
        "_portal.py",
        '*by_force* without their consent."""\n',
        '*by_force* without their consent."""\n        if not by_force:\n            return\n',
        "test_bridge_limits.py",
        "hanging or waits_for",
    ),
    Mutation(
        "callbacks: the caller's deadline reaches them",
        "_function.py",
        "            if remaining is not None:",
        "            if remaining is not None and remaining < 0:",
        "test_bridge_portal.py test_bridge_limits.py",
        "callback",
    ),
    Mutation(
        "errors: the message of what failed",
        "_errors.py",
        "    if isinstance(error, LLMSpellError):\n        return str(error)",
        "    if isinstance(error, LLMSpellError):\n        return error.message",
        "test_bridge_declaration.py test_bridge_errors.py test_bridge_globals.py",
    ),
    Mutation(
        "recording: pairs has a fixed order",
        "lua/execution.lua",
        "bridge.ordered_pairs = raw_ordered_pairs",
        "bridge.ordered_pairs = raw_pairs ordered_keys = function(t) local k = {} "
        "for n in raw_next, t do k[#k + 1] = n end return k end",
        "test_bridge_recording.py",
        "pairs or order",
    ),
    Mutation(
        "conversion: text is UTF-8, all else bytes",
        "_conversion.py",
        "    except UnicodeDecodeError:\n        return value\n\n\ndef lua_number",
        "    except UnicodeDecodeError:\n        return value.decode(errors='replace')\n\n\n"
        "def lua_number",
        "test_bridge_conversion.py",
    ),
)


def _mutated(source: str, mutation: Mutation) -> str:
    found = source.count(mutation.old)
    if found != 1:
        raise SystemExit(
            f"'{mutation.name}': what it replaces stands {found} times in {mutation.file}; "
            f"bring scripts/check_mutations.py up to date"
        )
    return source.replace(mutation.old, mutation.new)


def _run(source: Path, tests: str, chosen: str, *more: str) -> tuple[int, str]:
    """Pytest on *tests* with the package in *source*; the exit code and the output."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=60"]
    command += [str(TESTS / name) for name in tests.split()] + list(more)
    command += ["-k", chosen] if chosen else []
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1, f"no end after {SECONDS} s"
    return done.returncode, done.stdout + done.stderr


def _used(source: Path) -> None:
    """See that the copy is what the tests import."""
    code = "import llmspell_bridge; print(llmspell_bridge.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    if not done.stdout.startswith(str(source)):
        raise SystemExit(f"the copy in {source} is not what is imported: {done.stdout.strip()}")


def _first_failure(output: str) -> str:
    found = re.search(r"^(?:FAILED|ERROR) \S*?::(\S+)", output, re.MULTILINE)
    return found[1] if found else "the run did not end"


def main() -> int:
    """Run them; 0 when every change was noticed, and nothing failed without one."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [mutation for mutation in MUTATIONS if mutation.name.startswith(wanted)]
    unnoticed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        copy = source / PACKAGE.name
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        _used(source)
        files = sorted({name for mutation in chosen for name in mutation.tests.split()})
        code, output = _run(source, " ".join(files), "", "-n", "2")
        if code != 0:
            raise SystemExit(f"they fail without a change:\n{output[-3000:]}")
        for mutation in chosen:
            text = (copy / mutation.file).read_text()
            changed = _mutated(text, mutation)
            began = time.monotonic()
            (copy / mutation.file).write_text(changed)
            code, output = _run(source, mutation.tests, mutation.chosen, "-x")
            (copy / mutation.file).write_text(text)
            if code not in (0, 1, -1):
                raise SystemExit(f"'{mutation.name}': pytest could not run:\n{output[-3000:]}")
            noticed = code != 0
            if not noticed:
                unnoticed.append(mutation.name)
            mark = f"✓ {_first_failure(output)}" if noticed else "✗ NOBODY NOTICED"
            print(f"{mutation.name:48} {mark}  ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{len(chosen)} features disabled, {len(chosen) - len(unnoticed)} noticed")
    return 1 if unnoticed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
