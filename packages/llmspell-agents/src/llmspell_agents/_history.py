"""The memory of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmspell_core import Message


@dataclass(frozen=True, slots=True)
class Remembered:
    """A message with its time in Unix seconds."""

    message: Message
    timestamp: float

    def to_dict(self) -> dict[str, Any]:
        """As scripts see it."""
        return {**self.message.to_dict(), "timestamp": self.timestamp}


def estimated_tokens(messages: Sequence[Message]) -> int:
    """Four characters a token: for budgets, never for bills."""
    letters = sum(
        len(m.content) + sum(len(r.name) + len(r.arguments) for r in m.tool_requests)
        for m in messages
    )
    return letters // 4


class History:
    """The messages of a conversation, whole turns at a time.

    A turn is added when it is over, complete or with its open tool calls answered: so it is
    consistent whenever anybody looks, also after a cancellation and with several executions
    of one agent at once.

    Args:
        longest: How many messages are kept at most.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._kept: list[Remembered] = []

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def entries(self) -> list[Remembered]:
        """The messages, oldest first."""
        return list(self._kept)

    def add(self, turn: Sequence[Remembered]) -> None:
        """Add a turn, and forget what no longer fits."""
        self._kept = _tail([*self._kept, *turn], self._longest)

    def clear(self) -> None:
        """Forget everything."""
        self._kept = []

    def window(self, tokens: int | None) -> list[Message]:
        """The messages to send: as many of the last turns as fit into *tokens*."""
        kept = [entry.message for entry in self._kept]
        while tokens is not None and kept and estimated_tokens(kept) > tokens:
            kept = kept[_next_turn(kept, 1) :]
        return kept


def _tail(entries: list[Remembered], longest: int) -> list[Remembered]:
    """The last *longest* entries, without a beginning that belongs to a forgotten request."""
    if len(entries) <= longest:
        return entries
    first = len(entries) - longest
    messages = [entry.message for entry in entries]
    start = _next_turn(messages, first)
    if start < len(entries):
        return entries[start:]
    # One turn fills all of it: keep its end, but no tool result without its request.
    while first < len(entries) and messages[first].role == "tool":
        first += 1
    return entries[first:]


def _next_turn(messages: Sequence[Message], start: int) -> int:
    """The first user message at or after *start*."""
    for index in range(start, len(messages)):
        if messages[index].role == "user":
            return index
    return len(messages)
