"""`Dialogue`: the messages that one execution sends, as far as the model has room for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llmspell_agents._history import History, last_turns, next_turn
from llmspell_agents._memory import Memory, estimated_tokens, size_of
from llmspell_core import Message, ValidationError

if TYPE_CHECKING:
    from llmspell_agents._config import AgentConfig

_DROPPED = "[this result was left out to save room; call the tool again if you need it]"
_CUT = "\n[shortened to save room]"
_HOLDS_MORE = " If the model holds more, say so: providers.NAME.context_window."
_LEAST_RESULT = 200
_ANSWER = 1_024
"""Tokens kept free for an answer whose length nobody limits, at most an eighth of the window."""


class Dialogue:
    """System prompt, what is remembered, and what was said in this execution.

    Args:
        config: The agent's, with what this call overrides.
        history: What it remembers; None for an agent without memory.
        window: The model's context window in tokens, None when it is unknown.
        tools: About what the schemas of the tools take of it.
    """

    def __init__(
        self, config: AgentConfig, history: History | None, *, window: int | None, tools: int = 0
    ) -> None:
        self._agent = config.name
        self._prompt = config.prompt()
        self._memory: Memory = config.memory
        self._longest = config.max_conversation_length
        self._history = history
        self._earlier: list[Message] = [] if history is None else history.messages
        self._summary = None if history is None or history.summary is None else history.summary
        self._tools = tools
        self.limit = _limit(config, window)
        self._own_limit = self.limit is not None and self.limit == config.context_window
        self.entries: list[Message] = []
        self.notes: list[Message] = []
        """What is said to the model in this execution only, after all else."""

    @property
    def system(self) -> list[Message]:
        """The system message, with the summary of what came earlier."""
        parts = [self._prompt] if self._prompt else []
        if self._summary is not None:
            parts.append(f"Summary of the conversation so far:\n{self._summary.message.content}")
        return [Message("system", "\n\n".join(parts))] if parts else []

    def messages(self) -> list[Message]:
        """What is to be sent.

        The oldest turns are left out where there is no room; then results of tools in this
        execution are shortened, the oldest first.

        Raises:
            ValidationError: with code ``CONTEXT_LENGTH``, when even that is too much.
        """
        base, own = self.system, self.entries
        if self.limit is None:
            return [*base, *self._earlier, *own, *self.notes]
        free = 4 * (self.limit - self._tools) - size_of([*base, *self.notes])
        room = free - size_of(own)
        if room < 0:
            own = shortened_results(own, -room)
            room = free - size_of(own)
        if room < 0:
            raise self._too_long((4 * self.limit - room) // 4)
        return [*base, *_fitting(self._earlier, room), *own, *self.notes]

    def _too_long(self, tokens: int) -> ValidationError:
        more = "" if self._own_limit else _HOLDS_MORE
        return ValidationError(
            f"Input does not fit: about {tokens} tokens, the context window of agent "
            f"'{self._agent}' is {self.limit}",
            field="text",
            code="CONTEXT_LENGTH",
            hint="Shorten the input or the system prompt, offer fewer tools, or take a model with "
            f"a larger window.{more}{compaction_hint(self._memory)}",
            details={"tokens": tokens, "limit": self.limit},
        )

    def estimate(self) -> int:
        """About what all of it takes, in tokens."""
        return self._tools + estimated_tokens(
            [*self.system, *self._earlier, *self.entries, *self.notes]
        )

    def foldable(self) -> list[Message]:
        """The earlier turns that should be summed up now; empty when none should."""
        if self._memory.strategy != "summary" or not self._earlier:
            return []
        full = self.limit is not None and self.estimate() > self._memory.threshold * self.limit
        if not full and len(self._earlier) <= self._longest:
            return []
        keep = last_turns(self._earlier, self._memory.keep)
        if keep == 0 and self.limit is not None and self.estimate() > self.limit:
            # Few turns, and long ones: word for word they do not fit.
            keep = len(self._earlier)
        return self._earlier[:keep]

    def fold(self, older: Sequence[Message], summary: str, timestamp: float) -> None:
        """Put *summary* in the place of *older*, here and in the history."""
        from llmspell_agents._history import SUMMARY, Remembered

        self._earlier = self._earlier[len(older) :]
        self._summary = Remembered(Message("system", summary, name=SUMMARY), timestamp)
        if self._history is not None:
            self._history.fold(older, summary, timestamp)

    @property
    def earlier_summary(self) -> str | None:
        """What the summary says that there is."""
        return None if self._summary is None else self._summary.message.content

    def tighten(self) -> None:
        """Take the provider's word that it was too much: from here on half of it is the limit."""
        half = self.estimate() // 2
        self.limit = half if self.limit is None else min(self.limit, half)


def compaction_hint(memory: Memory) -> str:
    """How to have earlier turns summed up, for who has not."""
    if memory.strategy == "summary":
        return ""
    return ' memory = "summary" (in scripts :memory("summary")) has earlier turns summed up.'


def _limit(config: AgentConfig, window: int | None) -> int | None:
    """Tokens that may be sent: the agent's own budget, and what the model leaves beside the
    answer.
    """
    limits = [] if config.context_window is None else [config.context_window]
    if window is not None:
        answer = config.max_tokens or min(_ANSWER, window // 8)
        limits.append(max(1, window - answer))
    return min(limits, default=None)


def _fitting(messages: Sequence[Message], room: int) -> Sequence[Message]:
    """The last whole turns that fit into *room* bytes."""
    while messages and size_of(messages) > room:
        messages = messages[next_turn(messages, 1) :]
    return messages


def shortened_results(messages: Sequence[Message], excess: int) -> list[Message]:
    """*messages* with results of tools shortened until *excess* bytes are saved: first
    those of earlier rounds, the oldest first, which are left out; then those of the last round.
    """
    made = list(messages)
    results = [at for at, message in enumerate(made) if message.role == "tool"]
    last_round = next((a for a in reversed(range(len(made))) if made[a].tool_requests), -1)
    spare = excess
    for at in results:
        if spare <= 0:
            return made
        if at > last_round:
            break
        content = made[at].content
        if len(content) > len(_DROPPED):
            made[at] = replace(made[at], content=_DROPPED)
            spare -= len(content.encode("utf-8", "replace")) - len(_DROPPED)
    last = [at for at in results if at > last_round]
    if spare <= 0 or not last:
        return made
    most = _level([size_of([made[at]]) for at in last], spare)
    for at in last:
        text = made[at].content.encode("utf-8", "replace")
        if len(text) > most + len(_CUT):
            made[at] = replace(made[at], content=text[:most].decode("utf-8", "ignore") + _CUT)
    return made


def _level(lengths: list[int], spare: int) -> int:
    """The length to cut the longest to, so that *spare* bytes are saved, if that can be."""
    low, high = _LEAST_RESULT, max(lengths)
    while low < high:
        middle = (low + high + 1) // 2
        saved = sum(max(0, length - middle - len(_CUT)) for length in lengths)
        if saved >= spare:
            low = middle
        else:
            high = middle - 1
    return low
