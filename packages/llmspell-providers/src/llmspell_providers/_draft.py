"""`Draft`: an answer while it is put together, whatever protocol its pieces come in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from llmspell_core import ChatChunk, ChatRequest, ChatResponse, ToolRequest, Usage


class MalformedAnswer(Exception):
    """The body is not what the protocol says; the text tells how."""


class FilteredAnswer(Exception):
    """The provider withheld the answer; the text is its reason."""


@dataclass(slots=True)
class Call:
    """A tool call that is still growing."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


class Draft:
    """The base of each protocol's answer: subclasses write `whole` and `event`.

    `complete` is set when the protocol said that nothing follows; `finish_reason` when it said
    why the model stopped.
    """

    def __init__(self, request: ChatRequest) -> None:
        self.request = request
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.calls: dict[int, Call] = {}
        self.model = request.model
        self.id: str | None = None
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.filtered = ""
        self.carry: dict[str, Any] | None = None
        self.complete = False
        self._citations: dict[str, None] = {}

    def whole(self, value: dict[str, Any]) -> None:
        """Take in the body of an answer that was not streamed.

        Raises:
            MalformedAnswer, FilteredAnswer: when it is none.
        """
        raise NotImplementedError

    def event(self, value: dict[str, Any]) -> ChatChunk | None:
        """Take in one event of a stream; what it adds for the reader. Raises as `whole`."""
        raise NotImplementedError

    def add_text(self, text: str) -> ChatChunk | None:
        """More of the text."""
        if not text:
            return None
        self.text.append(text)
        return ChatChunk(text)

    def add_reasoning(self, text: str) -> ChatChunk | None:
        """More of the reasoning that may be seen."""
        if not text:
            return None
        self.reasoning.append(text)
        return ChatChunk(reasoning=text)

    def cite(self, addresses: Iterable[str]) -> None:
        """More sources; each is named once."""
        self._citations.update(dict.fromkeys(addresses))

    def finish(self) -> None:
        """Called before the answer is made of what is there. Raises as `response`."""

    def tool_request(self, index: int) -> ToolRequest:
        """The call at *index*, as far as it came. Raises as `whole`."""
        call = self.calls[index]
        if not call.name:
            raise MalformedAnswer("a tool call has no name")
        name = call.id or f"{self.id or 'call'}_{index}"
        return ToolRequest(name, call.name, "".join(call.arguments).strip() or "{}")

    def response(self, request_id: str | None) -> ChatResponse:
        """The whole answer.

        Raises:
            MalformedAnswer: when it is empty.
            FilteredAnswer: when the provider withheld it.
        """
        self.finish()
        if self.finish_reason == "content_filter":
            raise FilteredAnswer(self.filtered or "the answer was filtered")
        content = "".join(self.text)
        calls = tuple(self.tool_request(index) for index in sorted(self.calls))
        reason = self.finish_reason
        if not content.strip() and not calls:
            if reason == "length":
                raise MalformedAnswer(
                    "the answer is empty: the token limit was used up before any text came"
                )
            raise MalformedAnswer("the answer is empty")
        if calls and reason in {None, "stop"}:
            reason = "tool_calls"
        return ChatResponse(
            content,
            self.model,
            calls,
            reason or "stop",
            self.usage or self._estimate(content, calls),
            request_id or self.id,
            "".join(self.reasoning),
            self.carry,
            citations=tuple(self._citations),
        )

    def _estimate(self, content: str, calls: tuple[ToolRequest, ...]) -> Usage:
        """Four characters a token, marked as the estimate it is."""
        asked = sum(len(m.content) for m in self.request.messages)
        answered = len(content) + sum(len(c.name) + len(c.arguments) for c in calls)
        return Usage(asked // 4, max(1, answered // 4), estimated=True)


def table(value: Any, what: str) -> dict[str, Any]:
    """*value* as a JSON object.

    Raises:
        MalformedAnswer: when it is none, naming *what*.
    """
    if not isinstance(value, dict):
        raise MalformedAnswer(f"{what} is {type(value).__name__}, not an object")
    return cast("dict[str, Any]", value)


def loose(value: Any) -> dict[str, Any]:
    """*value* if it is a JSON object, else an empty one: for what may be left out."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def tables(value: Any, what: str) -> list[dict[str, Any]]:
    """*value* as a list of JSON objects; none for None. Raises as `table`."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedAnswer(f"{what} is {type(value).__name__}, not a list")
    return [table(item, f"an entry of {what}") for item in cast("list[Any]", value)]


def text_of(fields: dict[str, Any], key: str) -> str:
    """The text at *key*; empty when there is none. Raises as `table`."""
    value = fields.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedAnswer(f"'{key}' is {type(value).__name__}, not text")
    return value


def count(value: Any) -> int:
    """A number of tokens; zero for whatever is none. Some vendors write whole floats."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if value > 0 else 0


def as_json(value: Any) -> str:
    """*value* as the JSON text a `ToolRequest` holds."""
    return json.dumps(value, ensure_ascii=False)


def arguments_object(call: ToolRequest, key: str = "INVALID_JSON") -> dict[str, Any]:
    """The arguments of *call* for a protocol that wants an object.

    What the model wrote may be no JSON; it is sent back below *key*, so that the model sees
    what its answer to the complaint refers to.
    """
    try:
        value: Any = json.loads(call.arguments or "{}")
    except ValueError:
        return {key: call.arguments}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {key: call.arguments}


def carried(carry: dict[str, Any] | None, vendor: str, model: str) -> list[dict[str, Any]] | None:
    """What an earlier answer of *model* at *vendor* left to be sent back, if it is there.

    Another vendor's, or another model's, is of no use: its signatures would be refused.
    """
    if not carry or carry.get("vendor") != vendor or carry.get("model") != model:
        return None
    parts: Any = carry.get("content")
    return cast("list[dict[str, Any]]", parts) if isinstance(parts, list) else None
