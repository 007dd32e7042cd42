"""`ChatSetup`: what a conversation is begun with; the "script" of the engine `chat`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, cast

from llmspell_core import ConfigurationError, Source


@dataclass(frozen=True, slots=True)
class ChatSetup:
    """A conversation before it begins.

    Attributes:
        model: Who answers; None is the default model of the default provider.
        system: The system prompt.
        tools: What the model may use.
        stream: Show the answer while it comes.
        interactive: Somebody sits there: a failure is shown and the conversation goes on.
        message: The only question; None reads them line by line.
        history: A file to go on from, and to keep the conversation in.
        temperature: Sent with each question, if it is set.
        max_tokens: The longest answer, if it is set.
        quiet: Say nothing of tokens and cost.
        ask: Before which tool calls somebody is asked.
    """

    model: str | None = None
    system: str | None = None
    tools: tuple[str, ...] = ()
    stream: bool = True
    interactive: bool = False
    message: str | None = None
    history: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    quiet: bool = False
    ask: Literal["destructive", "always", "never"] = "destructive"

    def source(self) -> Source:
        """As a script."""
        set_ = {key: value for key, value in asdict(self).items() if value not in (None, ())}
        return Source(json.dumps(set_, ensure_ascii=False, sort_keys=True), "<chat>")

    @classmethod
    def read(cls, source: Source) -> ChatSetup:
        """The inverse of `source`.

        Raises:
            ConfigurationError: for a text that is no setup.
        """
        try:
            values: Any = json.loads(source.text)
        except ValueError as error:
            raise ConfigurationError(
                f"{source.name} does not describe a conversation: {error}",
                hint='It is a JSON object like {"model": "openai/gpt-4o-mini", "system": "…"}',
            ) from error
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or not known.issuperset(cast("dict[str, Any]", values)):
            raise ConfigurationError(
                f"{source.name} does not describe a conversation",
                hint=f"It is a JSON object with some of these keys: {', '.join(sorted(known))}",
            )
        table = cast("dict[str, Any]", values)
        return replace(cls(**table), tools=tuple(table.get("tools", ())))

    def options(self) -> dict[str, Any]:
        """The options of the agent that answers."""
        given = {
            "name": "chat",
            "model": self.model,
            # Without one, none is sent: this is no agent with a task of its own.
            "system_prompt": self.system or "",
            "tools": list(self.tools) or None,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        return {key: value for key, value in given.items() if value is not None}
