r"""Stopping Lua code from outside, at no cost until it is asked for.

A hook that counts instructions would make every loop more than twice as slow, so there is none
while a script runs. To stop it, ``lua_sethook`` (which the Lua manual allows to be called
asynchronously, §4.7) installs one that fires before the very next instruction. The hook function
is ``luaL_error`` itself: called as ``hook(L, ar)`` it raises an error whose text is what *ar*
begins with, the event number 3 as one byte. It needs no registration per coroutine, raises again
after every ``pcall``, and its message ends in the mark ``"\3"`` that the Lua side knows.

Which coroutine runs is read from the Lua heap: slot 1 of the table ``running`` holds it. The
layout of a table is checked with a known value in slot 2 before the address is believed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_MASKCOUNT = 8


class Interrupter:
    """Arms the interrupt in the states of one lupa module; imports ctypes when first used."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._library: Any = None
        self._hook = 0
        self._version: tuple[int, int] = module.LUA_VERSION

    @property
    def global_hooks(self) -> bool:
        """Whether one hook serves all coroutines of a state, as in LuaJIT."""
        return self._version[1] == 1

    def available(self) -> bool:
        """Whether the module exports what is needed."""
        if self._library is None:
            import ctypes

            try:
                library = ctypes.PyDLL(self._module.__file__)
                hook = ctypes.cast(library.luaL_error, ctypes.c_void_p).value
                sethook = library.lua_sethook
            except (OSError, AttributeError):
                self._library = False
                return False
            sethook.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
            sethook.restype = None
            self._library, self._hook = library, hook or 0
        return self._library is not False

    def arm(self, address: int) -> bool:
        """Make the coroutine at *address* raise before its next instruction, and ever again."""
        if not self.available():
            return False
        self._library.lua_sethook(address, self._hook, _MASKCOUNT, 1)
        return True

    def running(self, table: int, probe: int) -> int:
        """The address of the coroutine in slot 1 of the Lua *table*, 0 when there is none.

        *probe* is the address of the coroutine in slot 2.
        """
        if not self.available() or self.global_hooks:
            return 0
        import ctypes

        array = ctypes.c_uint64.from_address(table + 16).value
        if not array or ctypes.c_uint64.from_address(array + 16).value != probe:
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
