"""The global `Streaming`, and what it hands out."""

from __future__ import annotations

from typing import Any, Self

from llmspell_core import ScriptFunction, ScriptHost, exposed, script_global, script_object


@script_object("Stream")
class Stream:
    """Values one after the other, made when they are read.

    Of a generator, or without one filled with `push`.
    """

    @exposed(names=("try_next",), native=True)
    def next(self) -> Any:
        """The next value; nil at the end, or when nothing was pushed yet."""
        ...

    @exposed(names=("is_closed",), native=True)
    def is_done(self) -> bool:
        """Whether nothing more can come."""
        ...

    @exposed(native=True)
    def collect(self, max: int | None = None) -> list[Any]:
        """The values that are left, as a list.

        Args:
            max: How many at most.
        """
        ...

    @exposed(native=True)
    def map(self, function: ScriptFunction) -> Self:
        """A stream of what a function makes of each value."""
        ...

    @exposed(native=True)
    def filter(self, function: ScriptFunction) -> Self:
        """A stream of the values for which a function returns true."""
        ...

    @exposed(native=True)
    def take(self, count: int) -> Self:
        """A stream of the first values."""
        ...

    @exposed(native=True)
    def each(self, function: ScriptFunction) -> None:
        """Call a function with every value that is left."""
        ...

    @exposed(native=True)
    def push(self, value: Any) -> bool:
        """Add a value to a stream without a generator; false for nil.

        Raises:
            ValidationError: when the stream has a generator or is closed.
        """
        ...

    @exposed(native=True)
    def close(self) -> None:
        """End it; values that were pushed can still be read."""
        ...


@script_global("Streaming")
class StreamingGlobal:
    """Streams of values: from a generator, or filled by hand."""

    def __init__(self, host: ScriptHost) -> None:
        self._host = host

    # A generator is a coroutine of the script language, so each engine brings these itself.

    @exposed(native=True)
    def create(self, generator: ScriptFunction | None = None) -> Stream:
        """A stream of what a generator yields; without one, a stream to push values to.

        Args:
            generator: A function that hands out each value with `Streaming.yield`. It runs
                only as far as values are read.
        """
        ...

    @exposed(native=True)
    def yield_(self, value: Any) -> Any:
        """Hand out a value; inside a generator of `Streaming.create` only."""
        ...
