"""`Desk`: reads lines on the main thread while an execution runs on another.

Only there does Ctrl-C arrive while a line is edited.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING

from llmspell_cli._invocation import write

if TYPE_CHECKING:
    from llmspell_kernel import Execution

_Job = tuple[str, "Future[str | None]"]


class Desk:
    """Reads lines, one at a time, for whoever needs them.

    With `conversation`, Ctrl-C stops the answer that is being given, and at the prompt drops
    what was typed, or leaves when there is nothing to drop. Otherwise it ends the execution.
    """

    def __init__(self) -> None:
        self.conversation = False
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        self._reading = False
        self._dropped = False
        self._stop: Callable[[], None] | None = None

    # -- for other threads -----------------------------------------------------------------------

    def read(self, prompt: str) -> str | None:
        """A line of stdin, without its end; None when there is no more."""
        done: Future[str | None] = Future()
        if self._closed:
            return None
        self._jobs.put((prompt, done))
        return done.result()

    @contextmanager
    def stoppable(self, stop: Callable[[], None]) -> Generator[None]:
        """While this lasts, the first Ctrl-C calls *stop*."""
        self._stop = stop
        try:
            yield
        finally:
            self._stop = None

    # -- on the main thread ----------------------------------------------------------------------

    def serve(self, execution: Execution) -> None:
        """Read what is asked for, until *execution* is over."""
        execution.when_done(lambda: self._jobs.put(None))
        with _signals_are_seen():
            while (job := self._jobs.get()) is not None:
                prompt, done = job
                try:
                    done.set_result(self._read(prompt))
                except BaseException as error:
                    done.set_exception(error)
        self._closed = True
        while not self._jobs.empty():
            left = self._jobs.get()
            if left is not None:
                left[1].set_result(None)

    def interrupted(self) -> bool:
        """Ctrl-C came: whether it is dealt with. Called by the signal handler.

        Raises:
            KeyboardInterrupt: in place of the line that is being read.
        """
        if self._reading and self.conversation and sys.stdin.isatty():
            self._dropped = _typed_something()
            raise KeyboardInterrupt
        stop, self._stop = self._stop, None
        if stop is None:
            return False
        stop()
        return True

    def give_up_reading(self) -> None:
        """Raise `KeyboardInterrupt` if a line is being read: nobody wants it any more."""
        if self._reading:
            self._dropped = False
            raise KeyboardInterrupt

    def _read(self, prompt: str) -> str | None:
        while True:
            line = self._line(prompt)
            if line is not None or not self._dropped:
                return line
            self._dropped = False

    def _line(self, prompt: str) -> str | None:
        self._dropped = False
        self._reading = True
        try:
            line = _edited(prompt) if _editable() else _plain(prompt)
        except KeyboardInterrupt:
            self._reading = False
            write(sys.stderr, "\n")
            return None
        finally:
            self._reading = False
        return line


def interactive() -> bool:
    """Whether somebody sits there who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _editable() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _edited(prompt: str) -> str | None:
    with suppress(ImportError):
        # Being imported is enough: input() then edits with it.
        import readline  # noqa: F401  # pyright: ignore[reportUnusedImport]
    try:
        return input(prompt)
    except EOFError:
        write(sys.stderr, "\n")
        return None


def _plain(prompt: str) -> str | None:
    if prompt and sys.stdin.isatty():
        write(sys.stderr, prompt)
    line = sys.stdin.readline()
    return line.removesuffix("\n") if line else None


@contextmanager
def _signals_are_seen() -> Generator[None]:
    """See to it that no signal stays unnoticed until the next key.

    Readline waits for keys in a `select`, which a signal breaks off; one that comes just before
    it is noticed by nobody. So a thread is told of each signal, and a moment later breaks the
    wait off with another one that means nothing.
    """
    if not _editable():
        yield
        return
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    main = threading.get_ident()
    handler = signal.signal(signal.SIGURG, _nothing)
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)

    def watch() -> None:
        while (number := os.read(told, 1)) not in (b"", b"\0"):
            if number != bytes([signal.SIGURG]):
                for seconds in (0.05, 0.5):
                    time.sleep(seconds)
                    signal.pthread_kill(main, signal.SIGURG)

    watching = threading.Thread(target=watch, name="llmspell-signals", daemon=True)
    watching.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(tell, b"\0")
        watching.join()
        os.close(told)
        os.close(tell)
        signal.signal(signal.SIGURG, handler)


def _nothing(_: int, __: object) -> None:
    """A handler that lets a signal break off what waits."""


def _typed_something() -> bool:
    readline = sys.modules.get("readline")
    return readline is not None and bool(readline.get_line_buffer())
