"""`Sample`: a script global, and the handle it gives out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from llmspell_core import Record, attribute, exposed, script_global, script_object

if TYPE_CHECKING:
    from llmspell_core import ScriptHost


class ReadingOptions(TypedDict, total=False):
    """How a text is read; editors offer these keys.

    Attributes:
        words_per_minute: The speed of the reader (200).
    """

    words_per_minute: int


@script_object("Stopwatch")
class Stopwatch:
    """Measures how long something takes."""

    def __init__(self, host: ScriptHost, name: str) -> None:
        self._host = host
        self.name = name
        self._started = self._now()
        self._laps: list[float] = []

    def _now(self) -> float:
        # Through the context, never `time`: a recorded run must measure the same in replay.
        return self._host.context.monotonic()

    @attribute
    def elapsed(self) -> float:
        """Seconds since it was started."""
        return self._now() - self._started

    @exposed()
    def lap(self) -> float:
        """Note a lap and return the seconds since the last one."""
        total = self.elapsed
        lap = total - sum(self._laps)
        self._laps.append(lap)
        return lap

    @exposed()
    def laps(self) -> list[float]:
        """All laps so far."""
        return list(self._laps)


@script_global("Sample")
class SampleGlobal:
    """Stopwatches and reading times, to show what a global can do."""

    def __init__(self, host: ScriptHost) -> None:
        self._host = host

    @exposed()
    def stopwatch(self, name: str = "stopwatch") -> Stopwatch:
        """A running stopwatch.

        Args:
            name: What it is called when it is printed.
        """
        return Stopwatch(self._host, name)

    @exposed()
    async def reading_time(self, text: str, options: ReadingOptions | None = None) -> Record:
        """How long a text takes to read.

        Args:
            text: The text.
            options: How it is read.

        Returns:
            The words, the minutes and a sentence, as the tool gives them

        Raises:
            ValidationError: For a text without a word.
        """
        # Through the registry, so policy, hooks and the run ledger see the call.
        parameters = {"text": text, **(options or {})}
        result = await self._host.services.tools.invoke(
            "reading_time", parameters, self._host.context
        )
        return Record(result.result, text=result.text)
