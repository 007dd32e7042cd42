"""The OpenAI Chat Completions protocol: JSON bodies to and from our vocabulary.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, cast

from llmspell_core import ChatRequest, ChatResponse, Message, ToolRequest, Usage

_REASONS = {
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
"""What servers say and what we call it; anything else is an ordinary stop."""

_NEW_LIMIT = re.compile(r"^(o\d|gpt-5)")


class MalformedAnswer(Exception):
    """The body is not what the protocol says; the text tells how."""


class FilteredAnswer(Exception):
    """The provider withheld the answer; the text is its reason."""


def _message(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name is not None:
        made["name"] = message.name
    if message.tool_request_id is not None:
        made["tool_call_id"] = message.tool_request_id
    if message.tool_requests:
        made["content"] = message.content or None
        made["tool_calls"] = [
            {
                "id": request.id,
                "type": "function",
                "function": {"name": request.name, "arguments": request.arguments},
            }
            for request in message.tool_requests
        ]
    return made


def request_body(
    request: ChatRequest, defaults: dict[str, Any], *, stream: bool, vendor: bool
) -> dict[str, Any]:
    """The JSON body.

    Args:
        request: What is asked; what is None in it is not sent.
        defaults: Fields the configuration sets, weaker than the request's.
        stream: Ask for server-sent events, with the usage at the end.
        vendor: The peer is OpenAI itself, whose newer models want the limit under a new name.
    """
    body: dict[str, Any] = {
        **defaults,
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
    }
    for name in ("temperature", "max_tokens", "top_p", "seed", "response_format"):
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    if request.stop:
        body["stop"] = list(request.stop)
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.to_json_schema(),
                },
            }
            for tool in request.tools
        ]
        if request.tool_choice is not None:
            body["tool_choice"] = (
                request.tool_choice
                if request.tool_choice in {"auto", "none", "required"}
                else {"type": "function", "function": {"name": request.tool_choice}}
            )
    body.update(request.extra)
    if vendor and "max_tokens" in body and _NEW_LIMIT.match(request.model):
        body["max_completion_tokens"] = body.pop("max_tokens")
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = cast("list[Any]", content)
        texts = [cast("dict[str, Any]", p).get("text") for p in parts if isinstance(p, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    raise MalformedAnswer(f"content is {type(content).__name__}, not text")


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def read_usage(value: Any) -> Usage | None:
    """The ``usage`` object; None when there is none."""
    if not isinstance(value, dict):
        return None
    table = cast("dict[str, Any]", value)
    prompt = cast("dict[str, Any]", table.get("prompt_tokens_details") or {})
    completion = cast("dict[str, Any]", table.get("completion_tokens_details") or {})
    return Usage(
        _count(table.get("prompt_tokens")),
        _count(table.get("completion_tokens")),
        _count(prompt.get("cached_tokens")),
        _count(completion.get("reasoning_tokens")),
    )


def _estimate(request: ChatRequest, content: str, calls: tuple[ToolRequest, ...]) -> Usage:
    """Four characters a token, marked as the estimate it is."""
    asked = sum(len(m.content) for m in request.messages)
    answered = len(content) + sum(len(c.name) + len(c.arguments) for c in calls)
    return Usage(asked // 4, max(1, answered // 4), estimated=True)


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


class Answer:
    """An answer while it is put together, from one whole body or from stream deltas."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._content: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._model = request.model
        self._id: str | None = None
        self._usage: Usage | None = None
        self.finish_reason: str | None = None

    def add(self, value: Any, *, part: str) -> str:
        """Take in a decoded body (*part* ``message``) or stream event (``delta``).

        Returns:
            The text it adds.

        Raises:
            MalformedAnswer: when it is neither.
        """
        if not isinstance(value, dict):
            raise MalformedAnswer(f"expected a JSON object, got {type(value).__name__}")
        table = cast("dict[str, Any]", value)
        self._usage = read_usage(table.get("usage")) or self._usage
        if isinstance(table.get("model"), str) and table["model"]:
            self._model = table["model"]
        if isinstance(table.get("id"), str) and table["id"]:
            self._id = table["id"]
        choices = table.get("choices")
        if not isinstance(choices, list):
            raise MalformedAnswer("the answer has no 'choices'")
        text = ""
        for choice in cast("list[Any]", choices):
            fields = cast("dict[str, Any]", choice) if isinstance(choice, dict) else {}
            if fields.get("index", 0) == 0:
                text += self._choice(fields, part)
        return text

    def _choice(self, fields: dict[str, Any], part: str) -> str:
        inner = fields.get(part)
        if inner is not None and not isinstance(inner, dict):
            raise MalformedAnswer(f"'{part}' is {type(inner).__name__}, not an object")
        said = cast("dict[str, Any]", inner or {})
        reason = fields.get("finish_reason")
        if isinstance(reason, str) and reason:
            self.finish_reason = _REASONS.get(reason, "stop")
        text = _text(said.get("content"))
        if text:
            self._content.append(text)
        if isinstance(said.get("refusal"), str):
            self._refusal.append(said["refusal"])
        for place, call in enumerate(cast("list[Any]", said.get("tool_calls") or [])):
            self._call(call, place if part == "message" else None)
        return text

    def _call(self, value: Any, place: int | None) -> None:
        """Take in a call: the whole one at *place*, or a fragment of the one it names."""
        if not isinstance(value, dict):
            raise MalformedAnswer("a tool call is not an object")
        table = cast("dict[str, Any]", value)
        given = table.get("id")
        index: Any = table.get("index") if place is None else place
        if not isinstance(index, int):
            index = self._index_of(given)
        call = self._calls.setdefault(index, _Call())
        function = table.get("function")
        if not isinstance(function, dict):
            raise MalformedAnswer("a tool call has no 'function'")
        fields = cast("dict[str, Any]", function)
        if isinstance(given, str) and given and not call.id:
            call.id = given
        if isinstance(fields.get("name"), str) and not call.name:
            call.name = fields["name"]
        arguments = fields.get("arguments")
        if isinstance(arguments, str):
            call.arguments.append(arguments)
        elif arguments is not None:
            # Some servers send the object instead of its text.
            call.arguments.append(json.dumps(arguments, ensure_ascii=False))

    def _index_of(self, given: Any) -> int:
        """Some servers leave the index out: a known id goes on, a new id begins a call."""
        if isinstance(given, str) and given:
            for index, call in self._calls.items():
                if call.id == given:
                    return index
            return max(self._calls, default=-1) + 1
        return max(self._calls, default=0)

    def _requests(self) -> tuple[ToolRequest, ...]:
        made: list[ToolRequest] = []
        for index in sorted(self._calls):
            call = self._calls[index]
            if not call.name:
                raise MalformedAnswer("a tool call has no name")
            made.append(
                ToolRequest(
                    call.id or f"{self._id or 'call'}_{index}",
                    call.name,
                    "".join(call.arguments).strip() or "{}",
                )
            )
        return tuple(made)

    def response(self, request_id: str | None) -> ChatResponse:
        """The whole answer.

        Raises:
            MalformedAnswer: when it is empty or has no end.
            FilteredAnswer: when the provider filtered or refused it.
        """
        content = "".join(self._content)
        calls = self._requests()
        reason = self.finish_reason
        if reason == "content_filter":
            raise FilteredAnswer("the answer was filtered")
        if self._refusal and not content and not calls:
            raise FilteredAnswer("".join(self._refusal))
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
            self._model,
            calls,
            reason or "stop",
            self._usage or _estimate(self._request, content, calls),
            request_id or self._id,
        )
