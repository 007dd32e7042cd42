"""What the test library of scripts (``lua/testing.lua``) needs of Python."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from llmspell_core import (
    SCRIPT_TESTS,
    ScriptTest,
    ScriptTests,
    ValidationError,
    find_script_tests,
)

if TYPE_CHECKING:
    from llmspell_bridge._lua_state import LuaState

_DEFAULT_PLACE = "tests"


class Testing:
    """The library's own text, a runner's wishes, the clock, files, and the exit code."""

    __test__ = False  # or pytest takes it for a class of tests

    def __init__(self, state: LuaState, folder: str) -> None:
        self._state = state
        self._folder = folder
        self._actions = {
            b"source": self._read,
            b"wishes": self._wishes,
            b"report": self._report,
            b"clock": self._clock,
            b"files": self._files,
            b"failed": self._failed,
        }

    def __call__(self, action: bytes, *args: Any) -> Any:
        """Do *action*; called by Lua, on the script's thread."""
        return self._actions[action](*args)

    def _read(self, name: bytes) -> bytes:
        with open(os.path.join(self._folder, f"{name.decode()}.lua"), "rb") as file:
            return file.read()

    def _runner(self) -> ScriptTests | None:
        return self._state.context().data.get(SCRIPT_TESTS)

    def _wishes(self) -> tuple[Any, ...]:
        """Whether somebody listens; the filter, whether to bail, whether to run only the rest."""
        runner = self._runner()
        if runner is None:
            return False, None, False, False
        words = None if runner.filter is None else runner.filter.encode("utf-8", "surrogateescape")
        return True, words, runner.bail, runner.rest

    def _report(
        self,
        number: int,
        name: bytes,
        status: bytes,
        duration_ms: float = 0.0,
        error: bytes | None = None,
        traceback: bytes | None = None,
        place: bytes | None = None,
    ) -> None:
        runner = self._runner()
        if runner is None:
            return
        # What is on the way out of a test that ends belongs to it.
        self._state.output.flush()
        words: Any = status.decode()
        runner.report(
            ScriptTest(
                number,
                _text(name) or "",
                words,
                duration_ms,
                _text(error),
                _text(traceback),
                _text(place),
            )
        )

    def _clock(self) -> float:
        return self._state.context().monotonic() * 1000

    def _files(self, given: bytes | None = None) -> tuple[Any, ...]:
        """The files of tests, joined by NUL, and the place they were looked for in."""
        place = os.fsdecode(given or _DEFAULT_PLACE.encode())
        sandbox = self._state.sandbox
        folder = sandbox.script_folder
        if folder is not None and not os.path.isabs(place) and not os.path.exists(place):
            beside = os.path.join(folder, place)
            place = beside if os.path.exists(beside) else place
        real = sandbox.allowed(place, "read")

        def look() -> list[str] | None:
            try:
                return find_script_tests(place)
            except FileNotFoundError:
                return None

        found = self._state.context().observe("file.list", real, look)
        if found is None and given is not None:
            raise ValidationError(
                f"run_all: no such file or directory: {place}",
                field="path",
                hint="Without a path, tests are looked for in ./tests.",
            )
        return os.fsencode("\0".join(found or ())), os.fsencode(place)

    def _failed(self) -> None:
        run = self._state.portal.run
        if run is not None:
            run.exit_code = 1


def _text(raw: Any) -> str | None:
    return None if raw is None else raw.decode("utf-8", "replace")
