r"""Stopping Lua code from outside, at no cost until it is asked for.

A hook that counts instructions would make every loop more than twice as slow, so there is none
while a script runs. To stop it, ``lua_sethook`` (which the Lua manual allows to be called
asynchronously, §4.7) installs one that fires before the very next instruction.

*Lua 5.4* has hooks per coroutine. The hook function is ``luaL_error`` itself: called as
``hook(L, ar)`` it raises an error whose text is what *ar* begins with, the event number 3 as one
byte. It needs no registration per coroutine, raises again after every ``pcall``, and its message
ends in the mark ``"\3"`` that the Lua side knows. Which coroutine runs is read from the Lua heap:
slot 1 of the table ``running`` holds it. The layout of a table is checked with a known value in
slot 2 before the address is believed. A coroutine seen there may have ended a moment later; it is
still memory of a coroutine, because Lua keeps the last few alive and calls `settled` before it
forgets them.

*LuaJIT* has one hook for all coroutines of a state, the engine's own code included. It is a Lua
function that asks the host whether the running task must end, see ``lua/core.lua``. The compiler
has to be off for it: compiled traces look at no hook.

Where the module does not export ``lua_sethook``, Lua looks every few thousand instructions.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Literal

_MASKCOUNT = 8

Hooks = Literal["thread", "state", "poll"]


class Interrupter:
    """The interrupt of one Lua state."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._library: Any = None
        self._hook = 0
        self._table = 0
        self._probe = 0
        self._busy = threading.Lock()
        major, minor = module.LUA_VERSION
        self._per_thread = (major, minor) > (5, 1)

    @property
    def hooks(self) -> Hooks:
        """How scripts are interrupted.

        On Linux a module exports what is needed, which is not worth importing ctypes to see.
        """
        if self._per_thread:
            known = sys.platform == "linux"
            return "thread" if known or self._available() else "poll"
        return "state" if self._available() else "poll"

    def _available(self) -> bool:
        if self._library is None:
            import ctypes

            try:
                library = ctypes.PyDLL(self._module.__file__)
                self._hook = ctypes.cast(library.luaL_error, ctypes.c_void_p).value or 0
                pointer, number = ctypes.c_void_p, ctypes.c_int
                library.lua_sethook.argtypes = [pointer, pointer, number, number]
                library.lua_sethook.restype = None
                library.lua_gethook.argtypes = [pointer]
                library.lua_gethook.restype = pointer
            except (OSError, AttributeError):
                self._library = False
                return False
            self._library = library
        return self._library is not False

    def attach(self, table: int, probe: int) -> None:
        """The addresses of the table ``running`` and of the coroutine in its slot 2.

        Where hooks are per state, the hook of the engine is installed; it is put away here.
        """
        self._table, self._probe = table, probe
        if not self._per_thread and self._available():
            self._hook = self._library.lua_gethook(probe)
            self.disarm()

    def detach(self) -> None:
        """Before the state is freed."""
        with self._busy:
            self._table = self._probe = 0

    def settled(self) -> None:
        """Return when no coroutine that was seen running is about to be armed."""
        with self._busy:
            pass

    def arm(self, address: int) -> None:
        """Make the coroutine at *address* raise before its next instruction, and ever again."""
        if not self._table or not self._available():
            return
        if self._per_thread:
            self._library.lua_sethook(address, self._hook, _MASKCOUNT, 1)
        elif self._library.lua_gethook(self._probe) != self._hook:
            # Not while it is there: the mask of events has bits that Lua changes itself.
            self._library.lua_sethook(self._probe, self._hook, _MASKCOUNT, 1)

    def strike(self, task: int, runs: Callable[[], bool]) -> None:
        """Arm the *task* and the coroutine that runs in it, unless it no longer *runs*; from
        any thread.
        """
        with self._busy:
            inner = self._running() if self._per_thread else self._probe
            if not runs():
                return
            for address in (inner, task):
                if address:
                    self.arm(address)

    def disarm(self) -> None:
        """Where one hook serves all coroutines: what ends is over, others may go on."""
        if not self._per_thread and self._table and self._library:
            self._library.lua_sethook(self._probe, None, 0, 0)

    def _running(self) -> int:
        """The coroutine in slot 1 of the table, 0 when there is none."""
        if not self._table or not self._available():
            return 0
        import ctypes

        array = ctypes.c_uint64.from_address(self._table + 16).value
        if not array or ctypes.c_uint64.from_address(array + 16).value != self._probe:
            return 0
        if ctypes.c_uint8.from_address(array + 8).value & 0x0F != 8:
            return 0
        return ctypes.c_uint64.from_address(array).value


class Watch:
    """A thread that waits for a deadline, and then insists.

    *strike* is called at the deadline and then again and again until `rest`; the argument is
    the number of the call, from 0.
    """

    def __init__(self, strike: Callable[[int], bool]) -> None:
        self._strike = strike
        self._condition = threading.Condition(threading.Lock())
        self._at: float | None = None
        self._active = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def until(self, at: float | None) -> None:
        """Strike at *at* (monotonic seconds); None waits for `now`."""
        with self._condition:
            self._at, self._active = at, True
            if at is not None:
                self._wake()

    def now(self) -> None:
        """Strike from now on."""
        with self._condition:
            if self._active:
                self._at = 0.0
                self._wake()

    def rest(self) -> None:
        """No more strikes."""
        with self._condition:
            self._active = False

    def close(self) -> None:
        """End the thread."""
        with self._condition:
            self._closed, self._active = True, False
            self._condition.notify()

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="llmspell-watch", daemon=True)
            self._thread.start()
        else:
            self._condition.notify()

    def _run(self) -> None:
        import time

        strikes = 0
        with self._condition:
            while not self._closed:
                at = self._at if self._active else None
                if at is None:
                    strikes = 0
                    self._condition.wait()
                    continue
                remaining = at - time.monotonic()
                if remaining > 0:
                    strikes = 0
                    self._condition.wait(remaining)
                    continue
                self._condition.release()
                try:
                    going_on = self._strike(strikes)
                finally:
                    self._condition.acquire()
                if not going_on:
                    self._active = False
                    continue
                strikes += 1
                self._condition.wait(0.001 if strikes < 50 else 0.01)
