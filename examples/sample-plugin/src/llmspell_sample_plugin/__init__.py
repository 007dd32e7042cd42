"""A stranger's plugin: a tool, a model provider and a script global."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_sample_plugin._global import SampleGlobal as SampleGlobal
    from llmspell_sample_plugin._global import Stopwatch as Stopwatch
    from llmspell_sample_plugin._provider import ReverseProvider as ReverseProvider
    from llmspell_sample_plugin._tool import ReadingTime as ReadingTime

__all__ = ["ReadingTime", "ReverseProvider", "SampleGlobal", "Stopwatch"]

# Entry points name this package, so importing it must cost nothing until a name is used.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ReadingTime": "_tool",
        "ReverseProvider": "_provider",
        "SampleGlobal": "_global",
        "Stopwatch": "_global",
    },
)
