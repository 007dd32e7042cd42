"""`ReadingTime`: a tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell_core import Parameter, Tool, ToolResult, ToolSchema, ValidationError

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext


class ReadingTime(Tool):
    """Counts words and sentences and says how long a text takes to read."""

    category = "text"
    aliases = ("word_count",)

    @property
    def schema(self) -> ToolSchema:
        """What it takes: models, scripts and the documentation read this."""
        return ToolSchema(
            "reading_time",
            "Count the words and sentences of a text and say how long it takes to read",
            (
                Parameter("text", "string", "The text", required=True),
                Parameter(
                    "words_per_minute",
                    "integer",
                    "How fast the reader is",
                    default=200,
                    minimum=1,
                    maximum=2000,
                ),
            ),
            returns="words, sentences, seconds",
        )

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """Count. The parameters were checked against the schema, so only meaning is checked here.

        Raises:
            ValidationError: for a text without a word.
        """
        text = parameters["text"]
        words = len(text.split())
        if words == 0:
            raise ValidationError("There is no word in the text", field="text")
        speed = parameters.get("words_per_minute", 200)
        seconds = round(words * 60 / speed)
        counted = {"words": words, "sentences": _sentences(text), "seconds": seconds}
        return ToolResult(
            operation="reading_time",
            result=counted,
            text=f"{words} words, {seconds} seconds to read",
            value=seconds,
        )


def _sentences(text: str) -> int:
    """Words that end a sentence; a text that ends without a mark ends one too."""
    words = text.split()
    ends = sum(word.rstrip("\"')]»”").endswith((".", "!", "?", "…")) for word in words)
    unfinished = not words[-1].rstrip("\"')]»”").endswith((".", "!", "?", "…"))
    return ends + unfinished
