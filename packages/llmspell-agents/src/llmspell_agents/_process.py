"""What this process uses of the machine, asked of the operating system."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

_SHORTEST = 0.05
"""Seconds between two readings of the processor, so that a figure means something."""


class ProcessMeter:
    """Memory and processor time of this process.

    Args:
        born: Clock and processor seconds at its beginning; None: now.
        clock: A monotonic clock.
        used: Processor seconds used so far.
    """

    __slots__ = ("_at", "_born", "_clock", "_percent", "_used", "_used_clock", "window")

    def __init__(
        self,
        born: tuple[float, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.process_time,
    ) -> None:
        self._clock = clock
        self._used_clock = used
        started, spent = born or (clock(), used())
        self._born = started
        self._at: float = started
        self._used: float = spent
        self._percent: float = 0.0
        self.window: float = 0.0

    @property
    def uptime(self) -> float:
        """Seconds since it was made."""
        return self._clock() - self._born

    def cpu_percent(self) -> float:
        """Processor time since the last reading, in percent of one processor: a process of many
        threads may pass 100. `window` are the seconds it was measured over.
        """
        now = self._clock()
        passed = now - self._at
        if passed >= _SHORTEST or (self.window == 0.0 and passed > 0):
            used = self._used_clock()
            self._percent = 100 * (used - self._used) / passed
            if passed >= _SHORTEST:
                self._at, self._used, self.window = now, used, passed
        return self._percent

    @staticmethod
    def memory_bytes() -> int:
        """The memory it holds (resident); where the system does not tell, the most it held."""
        try:
            with open("/proc/self/statm", "rb") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return _peak()

    @staticmethod
    def free_bytes() -> int | None:
        """Memory that processes can still get; None where the system does not tell."""
        try:
            with open("/proc/meminfo", "rb") as file:
                for line in file:
                    if line.startswith(b"MemAvailable:"):
                        return int(line.split()[1]) * 1024
        except (OSError, ValueError):
            pass
        return None


def _peak() -> int:
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows has no such module
        return 0
    most = getrusage(RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
