"""What a test runner and the test library of a script language have in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

SCRIPT_TESTS = "script_tests"
"""Where an execution's ``ExecutionContext.data`` holds its `ScriptTests`."""

TEST_FILES = ("*_test.lua", "test_*.lua", "test-*.lua")
"""What files of tests are called."""


@dataclass(frozen=True, slots=True)
class ScriptTest:
    """A test of a script, and what became of it.

    A runner is told of each test when the run is ``planned``, when it has ``started``, and when it
    has ``passed``, ``failed`` or was ``skipped``. `name` is the path of its groups and its own
    name; `error` says why it failed, or was skipped; `place` is the ``file:line`` of its
    declaration. Names are not unique, `number` is: it counts the tests of a script state.
    """

    number: int
    name: str
    status: Literal["planned", "started", "passed", "failed", "skipped"]
    duration_ms: float = 0.0
    error: str | None = None
    traceback: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True)
class ScriptTests:
    """A runner's wishes for the tests of an execution; the library then prints nothing itself.

    Args:
        report: Called on the script's thread with each `ScriptTest`.
        filter: Run only tests whose name contains this text, in upper or lower case.
        bail: Skip what comes after the first failure.
        rest: Run only what no earlier run of the script state ran.
    """

    report: Callable[[ScriptTest], None]
    filter: str | None = None
    bail: bool = False
    rest: bool = False


def find_script_tests(place: str) -> list[str]:
    """The files of tests in the directory *place* and below it, sorted; *place* itself if it is a
    file, whatever it is called. Directories whose name begins with a dot are left out.

    Raises:
        FileNotFoundError: when there is no such file or directory.
    """
    if os.path.isfile(place):
        return [place]
    if not os.path.isdir(place):
        raise FileNotFoundError(2, os.strerror(2), place)
    found: list[str] = []
    for folder, inner, files in os.walk(place):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [
            os.path.normpath(os.path.join(folder, name))
            for name in files
            if any(fnmatchcase(name, pattern) for pattern in TEST_FILES)
        ]
    return sorted(found)
