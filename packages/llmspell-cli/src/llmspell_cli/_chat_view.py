"""What a conversation looks like: answers on stdout, all else on stderr."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmspell_cli._tables import money

if TYPE_CHECKING:
    from llmspell_core import LLMSpellError, Output, Usage


_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def _shown(found: re.Match[str]) -> str:
    return "" if found[0] == "\r" else f"\\u{ord(found[0]):04x}"


class View:
    """Shows a conversation as it goes.

    Args:
        output: Where to.
        quiet: Say nothing of tokens and cost.
        harmless: Show what would move the cursor or turn the writing round, instead of doing it:
            models, and whatever they read, wrote it.
    """

    def __init__(self, output: Output, *, quiet: bool, harmless: bool) -> None:
        self._output = output
        self._quiet = quiet
        self._harmless = harmless
        self._open = False

    def note(self, text: str) -> None:
        """A line that is no part of the conversation."""
        self._output("stderr", text + "\n")

    def piece(self, kind: str, text: str) -> None:
        """A part of an answer: ``text``, or the name of a tool that was called (``tool``), is
        ``done``, or ``failed``.
        """
        if kind == "text":
            if text:
                self._output("stdout", _CONTROL.sub(_shown, text) if self._harmless else text)
                self._open = not text.endswith("\n")
            return
        self.end_answer()
        words = {"tool": "Calling tool: {}...", "done": "Tool call complete: {}"}
        name = _CONTROL.sub(_shown, text)
        self.note(f"[{words.get(kind, 'Tool call failed: {}').format(name)}]")

    def show_again(self, pieces: Sequence[Sequence[str]]) -> None:
        """An answer from a record."""
        for kind, text in pieces:
            self.piece(kind, text)

    def show_line(self, prompt: str, line: str) -> None:
        """A question from a record."""
        self.note(f"{prompt}{line}")

    def end_answer(self) -> None:
        """Begin a new line, if the last one is not over."""
        if self._open:
            self._output("stdout", "\n")
            self._open = False

    def stopped(self) -> None:
        """The answer was stopped."""
        self.end_answer()
        self.note("⚠️ Stream interrupted by Ctrl+C")

    def failure(self, error: LLMSpellError) -> None:
        """An answer that did not come."""
        self.end_answer()
        self.note(f"Error: {error}")
        if error.hint:
            self.note(f"Hint: {error.hint}")

    def cost(self, model: str, usage: Usage | None, total: Usage | None, reason: str) -> None:
        """What an answer took, and all of them so far."""
        if self._quiet:
            return
        parts = [model, spent(usage)]
        if total is not None and usage is not None and total != usage:
            parts.append(f"total {spent(total)}")
        if reason not in {"stop", "stopped"}:
            parts.append(f"ended by {reason}")
        self.note(f"[{' · '.join(parts)}]")

    def finish(self) -> None:
        """Nothing follows."""
        self.end_answer()


def spent(usage: Usage | None) -> str:
    """``1,234 tokens, $0.0012``."""
    if usage is None:
        return "tokens unknown"
    about = "about " if usage.estimated else ""
    cost = "price unknown" if usage.cost is None else money(usage.cost)
    return f"{about}{usage.total_tokens:,} tokens, {cost}"
