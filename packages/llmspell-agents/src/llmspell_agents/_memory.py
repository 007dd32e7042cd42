"""How an agent remembers, and the estimates of how much that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from llmspell_core import Message, ToolSchema, ValidationError

MEDIUM_TOKENS = 1_000
"""What an image is taken for; vendors count from some hundred to some thousand."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What becomes of earlier turns when there is no more room for them.

    ``window`` leaves the oldest out. ``summary`` has the model sum them up, once they and the
    input take the part `threshold` of the room; the last `keep` turns stay word for word.
    """

    strategy: Literal["window", "summary"] = "window"
    threshold: float = 0.8
    keep: int = 4

    def __post_init__(self) -> None:
        if self.strategy not in ("window", "summary"):
            raise ValidationError(
                f"memory must be 'window' or 'summary', not {self.strategy!r}", field="memory"
            )
        if not 0 < self.threshold <= 1:
            raise ValidationError(
                f"memory.threshold must be above 0 and at most 1, not {self.threshold:g}",
                field="memory.threshold",
            )
        if self.keep < 1:
            raise ValidationError("memory.keep must be at least 1", field="memory.keep")

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return {"strategy": self.strategy, "threshold": self.threshold, "keep": self.keep}

    @classmethod
    def of(cls, value: Any) -> Memory:
        """From the word of a strategy, or a table of the fields.

        Raises:
            ValidationError: for anything else.
        """
        if isinstance(value, Memory):
            return value
        if isinstance(value, str):
            return cls(cast("Any", value))
        if not isinstance(value, Mapping):
            raise ValidationError(
                f"memory must be a word or a table, not {type(value).__name__}", field="memory"
            )
        made = cls()
        for key, item in cast("Mapping[str, Any]", value).items():
            whole = isinstance(item, float) and item.is_integer()
            fits = {
                "strategy": isinstance(item, str),
                "threshold": isinstance(item, int | float) and not isinstance(item, bool),
                "keep": (isinstance(item, int) and not isinstance(item, bool)) or whole,
            }
            if not fits.get(key, False):
                raise ValidationError(
                    f"memory.{key} does not fit: {item!r}",
                    field=f"memory.{key}",
                    hint="Known: strategy (window, summary), threshold (0 to 1), keep (turns).",
                )
            made = replace(made, **{key: int(item) if key == "keep" else item})
        return made


def estimated_tokens(messages: Iterable[Message]) -> int:
    """Four bytes a token: for budgets of room, never for bills."""
    return size_of(messages) // 4


def size_of(messages: Iterable[Message]) -> int:
    """Bytes of what the messages say, images counted as if they were text."""
    return sum(map(_size, messages))


def _size(message: Message) -> int:
    size = _bytes(message.content)
    for request in message.tool_requests:
        size += len(request.name) + _bytes(request.arguments)
    return size + 4 * MEDIUM_TOKENS * len(message.media)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def schema_tokens(schemas: Sequence[ToolSchema]) -> int:
    """About what the schemas of tools take."""
    size = 0
    for schema in schemas:
        size += 60 + len(schema.name) + len(schema.description)
        for parameter in schema.parameters:
            size += 40 + len(parameter.name) + len(parameter.description)
            size += sum(4 + len(str(one)) for one in parameter.enum)
    return size // 4
