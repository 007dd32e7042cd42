"""What this process uses of the machine, asked of the operating system."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable

_SHORTEST = 0.05
"""Seconds between two readings of the processor that are kept."""
_LONGEST = 5.0
"""Seconds that a figure of the processor looks back at most."""
_ENOUGH = 1.0
"""Seconds that it looks back at least, once they have passed."""


class ProcessMeter:
    """Memory and processor time of this process.

    Args:
        born: Clock and processor seconds at its beginning; None: now.
        clock: A monotonic clock.
        used: Processor seconds used so far.
    """

    __slots__ = ("_born", "_clock", "_readings", "_used_clock")

    def __init__(
        self,
        born: tuple[float, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.process_time,
    ) -> None:
        self._clock = clock
        self._used_clock = used
        first = born or (clock(), used())
        self._born = first[0]
        self._readings: deque[tuple[float, float]] = deque([first])

    @property
    def uptime(self) -> float:
        """Seconds since its beginning."""
        return self._clock() - self._born

    def cpu(self) -> tuple[float, float]:
        """Processor time in percent of one processor, so that a process of many threads may pass
        100; and the seconds that this is the figure of: from one to five, as soon as so many
        have passed.
        """
        now, used = self._clock(), self._used_clock()
        readings = self._readings
        if now - readings[-1][0] >= _SHORTEST:
            readings.append((now, used))
        while len(readings) > 2 and now - readings[0][0] > _LONGEST:
            if now - readings[1][0] < _ENOUGH:
                break
            readings.popleft()
        since, before = readings[0]
        passed = now - since
        return (100 * (used - before) / passed if passed > 0 else 0.0), passed

    def cpu_percent(self) -> float:
        """The percentage that `cpu` gives."""
        return self.cpu()[0]

    def judged_cpu_percent(self) -> float | None:
        """The same; None until it is the figure of a whole second."""
        percent, seconds = self.cpu()
        return percent if seconds >= _ENOUGH else None

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
