"""What a script reads from its user: ``io.read`` and ``io.lines`` without a file."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from llmspell_core import ExecutionCancelled, ExecutionContext, ResourceLimitError

if TYPE_CHECKING:
    from llmspell_core import Input

_LOOK_SECONDS = 0.05
_SPACE = b" \t\n\v\f\r"
_LONGEST_NUMERAL = 200
_DECIMAL = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d*)(?:[eE][+-]?\d*)?")
_HEXADECIMAL = re.compile(rb"[+-]?0[xX][\da-fA-F]*\.?[\da-fA-F]*(?:[pP][+-]?\d*)?")


class ScriptInput:
    """The lines of the user, cut into what ``io.read`` asks for.

    A line is waited for in a thread of its own, so that a deadline or Ctrl-C ends the wait; the
    line that comes after all is the next one read.

    Args:
        ask: Gives a line, None at the end; None for a script without input.
        context: Gives the context of the execution in progress, which records the lines.
        ending: Whether the script must end.
        most: The bytes to hold at most.
    """

    def __init__(
        self,
        ask: Input | None,
        context: Callable[[], ExecutionContext],
        ending: Callable[[], bool],
        most: int,
    ) -> None:
        self._ask = ask
        self._context = context
        self._ending = ending
        self._most = most
        self._unread = b""
        self._questions: SimpleQueue[bool] = SimpleQueue()
        self._answers: SimpleQueue[tuple[str | None, Exception | None]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._asked = False

    # Lines --------------------------------------------------------------------------------------

    def _serve(self, ask: Input) -> None:
        while self._questions.get():
            try:
                answer = ask(""), None
            except Exception as error:
                answer = None, error
            self._answers.put(answer)

    def _wait(self) -> str | None:
        if self._ask is None:
            return None
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._serve, args=(self._ask,), name="llmspell-input", daemon=True
            )
            self._thread.start()
        if not self._asked:
            self._asked = True
            self._questions.put(True)
        while True:
            try:
                line, error = self._answers.get(timeout=_LOOK_SECONDS)
            except Empty:
                if self._ending():
                    raise ExecutionCancelled("the script ended while it read") from None
                continue
            self._asked = False
            if error is not None:
                raise error
            return line

    def _more(self) -> bool:
        line = self._context().observe("stdin", None, self._wait)
        if line is None:
            return False
        self._unread += line.encode("utf-8", "surrogateescape")
        if not line.endswith("\n"):
            self._unread += b"\n"
        if len(self._unread) > self._most:
            held, self._unread = len(self._unread), b""
            raise ResourceLimitError("input", limit=self._most, used=held)
        return True

    def close(self) -> None:
        """No more questions."""
        self._questions.put(False)

    # Formats ------------------------------------------------------------------------------------

    def read(self, what: Any) -> bytes | int | float | None:
        """``io.read`` of one format (``l``, ``L``, ``n``, ``a`` or a number of bytes)."""
        if isinstance(what, int | float):
            return self._bytes(int(what))
        if what == b"a":
            while self._more():
                pass
            found, self._unread = self._unread, b""
            return found
        if what == b"n":
            return self._number()
        line = self._line()
        return line if line is None or what == b"L" else line.removesuffix(b"\n")

    def _line(self) -> bytes | None:
        if not self._unread and not self._more():
            return None
        end = self._unread.find(b"\n") + 1 or len(self._unread)
        line, self._unread = self._unread[:end], self._unread[end:]
        return line

    def _bytes(self, count: int) -> bytes | None:
        while len(self._unread) < max(count, 1) and self._more():
            pass
        if not self._unread:
            return None
        found, self._unread = self._unread[:count], self._unread[count:]
        return found

    def _number(self) -> int | float | None:
        while not self._unread.strip(_SPACE):
            self._unread = b""
            if not self._more():
                return None
        self._unread = self._unread.lstrip(_SPACE)
        head = self._unread[:_LONGEST_NUMERAL]
        found = _HEXADECIMAL.match(head) or _DECIMAL.match(head)
        if found is None:
            return None
        self._unread = self._unread[found.end() :]
        return _numeral(found[0].decode())


def _numeral(text: str) -> int | float | None:
    hexadecimal = "x" in text.lower()
    try:
        number = int(text, 16 if hexadecimal else 10)
    except ValueError:
        try:
            return float.fromhex(text) if hexadecimal else float(text)
        except (ValueError, OverflowError):
            return None
    if hexadecimal:  # wraps around, as in Lua's own text
        number &= 2**64 - 1
        return number - 2**64 if number >= 2**63 else number
    return number if -(2**63) <= number < 2**63 else float(number)
