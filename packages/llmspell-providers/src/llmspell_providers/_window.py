"""`Window`: how much was taken in the last minute."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_MARGIN = 0.005
"""Part of a window by which it is kept longer, for clocks that differ."""
_JOURNEY = 2.0
"""Seconds that a call may take to arrive, while nothing is heard of it."""


@dataclass(slots=True)
class Taken:
    at: float
    amount: float


class Window:
    """A sliding window: in any stretch of *seconds*, at most *most* is taken.

    What counts is when a call arrives at the vendor. That is known to be over when the answer
    begins; until then a slow journey is assumed, or calls that left a minute apart could arrive
    closer together than that.
    """

    def __init__(self, what: str, most: float, seconds: float) -> None:
        self.what = what
        self.most = most
        self._seconds = seconds * (1 + _MARGIN)
        self._taken: deque[Taken] = deque()
        self._sum = 0.0

    def delay(self, amount: float, now: float) -> float:
        """Seconds until *amount* fits. What is more than the whole window waits until it is
        empty, or it would wait forever.
        """
        self._forget(now)
        missing = self._sum + min(amount, self.most) - self.most
        if missing <= 0:
            return 0.0
        for taken in sorted(self._taken, key=lambda one: one.at):
            missing -= taken.amount
            if missing <= 0:
                return max(0.001, taken.at + self._seconds - now)
        return 0.0

    def take(self, amount: float, now: float) -> Taken:
        """Count *amount* from now on."""
        taken = Taken(now + _JOURNEY, amount)
        self._taken.append(taken)
        self._sum += amount
        return taken

    def correct(self, taken: Taken, amount: float) -> None:
        """It turned out to be *amount*."""
        if taken in self._taken:
            self._sum += amount - taken.amount
        taken.amount = amount

    def _forget(self, now: float) -> None:
        while self._taken and self._taken[0].at + self._seconds <= now:
            self._sum -= self._taken.popleft().amount
