"""Summing up the earlier turns of a conversation, by the model itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from llmspell_core import Message

Ask = Callable[[list[Message]], Awaitable[str]]

_INSTRUCTION = (
    "You sum up the earlier part of a conversation between a user and an assistant, so that the "
    "assistant can go on from your summary alone. Keep facts, names, numbers, decisions, what "
    "was promised, what tools found, and what is still open. Leave out pleasantries. Write plain "
    "sentences, at most 400 words. Answer with the summary only."
)
_LONGEST_MESSAGE = 4_000
_PIECE = 60_000
"""Characters of transcript that are summed up at once."""


async def summed_up(
    older: Sequence[Message], before: str | None, ask: Ask, *, limit: int | None
) -> str:
    """The summary of *older* and of what was summed up *before*.

    Args:
        older: Messages, whole turns.
        before: An earlier summary, which goes into the new one.
        ask: Has the model answer messages.
        limit: Tokens that fit; a longer transcript is summed up piece by piece.
    """
    width = _PIECE if limit is None else max(1_000, min(_PIECE, limit * 2))
    summary = before
    for piece in _pieces(older, width):
        known = "" if summary is None else f"The summary so far:\n{summary}\n\n"
        question = f"{known}The conversation:\n{piece}"
        summary = await ask([Message("system", _INSTRUCTION), Message("user", question)])
    return (summary or "").strip()


def _pieces(messages: Sequence[Message], width: int) -> list[str]:
    """The transcript in pieces of at most about *width* characters."""
    pieces: list[str] = []
    current: list[str] = []
    size = 0
    longest = min(_LONGEST_MESSAGE, width)
    for message in messages:
        line = _line(message, longest)
        if current and size + len(line) > width:
            pieces.append("\n\n".join(current))
            current, size = [], 0
        current.append(line)
        size += len(line)
    if current:
        pieces.append("\n\n".join(current))
    return pieces


def _line(message: Message, longest: int) -> str:
    parts = [_cut(message.content, longest)] if message.content else []
    parts += [f"[{medium.media_type}]" for medium in message.media]
    parts += [
        f"[calls {request.name} with {_cut(request.arguments, 500)}]"
        for request in message.tool_requests
    ]
    who = {"user": "User", "assistant": "Assistant", "tool": "Tool result"}[message.role]
    return f"{who}: {' '.join(parts)}"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]} […{len(text) - longest} more]"
