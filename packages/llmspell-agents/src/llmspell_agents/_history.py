"""The memory of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmspell_core import Message, ValidationError

SUMMARY = "summary"
"""The name of the system message that stands for what was summed up."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A message with its time in Unix seconds."""

    message: Message
    timestamp: float

    def to_dict(self) -> dict[str, Any]:
        """As scripts see it."""
        return {**self.message.to_dict(), "timestamp": self.timestamp}


class History:
    """The messages of a conversation, whole turns at a time.

    A turn is added when it is over, complete or with its open tool calls answered: so it is
    consistent whenever anybody looks, also after a cancellation and with several executions
    of one agent at once.

    Args:
        longest: How many messages are kept at most; None: all, for an agent that sums them up.
    """

    def __init__(self, longest: int | None) -> None:
        self._longest = longest
        self._kept: list[Remembered] = []
        self.summary: Remembered | None = None

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def entries(self) -> list[Remembered]:
        """The messages, oldest first; before them the summary of what came earlier."""
        return [*([] if self.summary is None else [self.summary]), *self._kept]

    @property
    def messages(self) -> list[Message]:
        """The messages without the summary."""
        return [entry.message for entry in self._kept]

    def add(self, turn: Sequence[Remembered]) -> None:
        """Add a turn, and forget what no longer fits."""
        kept = [*self._kept, *turn]
        self._kept = kept if self._longest is None else _tail(kept, self._longest)

    def clear(self) -> None:
        """Forget everything."""
        self._kept = []
        self.summary = None

    def fold(self, older: Sequence[Message], summary: str, timestamp: float) -> None:
        """Put *summary* in the place of the messages *older*, if they are still the first ones:
        another execution may have been quicker.
        """
        first = self._kept[: len(older)]
        if len(first) == len(older) and all(
            entry.message is message for entry, message in zip(first, older, strict=True)
        ):
            self._kept = self._kept[len(older) :]
            self.summary = Remembered(Message("system", summary, name=SUMMARY), timestamp)

    def restore(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Take over *messages*, as `Remembered.to_dict` gave them.

        Raises:
            ValidationError: for what is no conversation: a tool result without its request, or a
                request without its result.
        """
        kept: list[Remembered] = []
        summary: Remembered | None = None
        for values in messages:
            try:
                message = Message.from_dict(values)
            except (KeyError, TypeError, ValueError) as error:
                raise _broken(f"message {len(kept) + 1} cannot be read: {error}") from None
            entry = Remembered(message, float(values.get("timestamp") or 0.0))
            if message.role == "system":
                summary = entry if message.name == SUMMARY else summary
            else:
                kept.append(entry)
        problem = orphan([entry.message for entry in kept])
        if problem is not None:
            raise _broken(problem)
        self._kept = kept if self._longest is None else _tail(kept, self._longest)
        self.summary = summary


def orphan(messages: Sequence[Message]) -> str | None:
    """The first tool result without its request or request without its result, in words."""
    open_calls: set[str | None] = set()
    for message in messages:
        if message.role == "tool":
            if message.tool_request_id not in open_calls:
                return f"tool result '{message.tool_request_id}' has no request before it"
            open_calls.discard(message.tool_request_id)
        elif open_calls:
            break
        else:
            open_calls = {request.id for request in message.tool_requests}
    return f"tool request '{min(map(str, open_calls))}' has no result" if open_calls else None


def _broken(words: str) -> ValidationError:
    return ValidationError(f"Not a conversation: {words}", field="messages")


def last_turns(messages: Sequence[Message], number: int) -> int:
    """Where the last *number* turns begin; a turn begins with what the user said."""
    at = len(messages)
    for _ in range(number):
        at = next((i for i in range(at - 1, -1, -1) if messages[i].role == "user"), 0)
    return at


def next_turn(messages: Sequence[Message], start: int) -> int:
    """The first user message at or after *start*."""
    for index in range(start, len(messages)):
        if messages[index].role == "user":
            return index
    return len(messages)


def _tail(entries: list[Remembered], longest: int) -> list[Remembered]:
    """The last *longest* entries, without a beginning that belongs to a forgotten request."""
    if len(entries) <= longest:
        return entries
    first = len(entries) - longest
    messages = [entry.message for entry in entries]
    start = next_turn(messages, first)
    if start < len(entries):
        return entries[start:]
    # One turn fills all of it: keep the question and the end, but no result without its request.
    asked = [] if longest < 2 else entries[last_turns(messages, 1) :][:1]
    first += len(asked)
    while first < len(entries) and messages[first].role == "tool":
        first += 1
    return [*asked, *entries[first:]]
