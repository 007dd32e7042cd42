"""The Chat Completions protocol: a request's body, and the answer put together.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any, cast

from llmspell_core import ChatChunk, ChatRequest, Media, Message, Usage, ValidationError
from llmspell_providers._dialects import Dialect
from llmspell_providers._draft import (
    Call,
    Draft,
    FilteredAnswer,
    MalformedAnswer,
    as_json,
    carried,
    count,
    table,
    tables,
    text_of,
)
from llmspell_providers._schemas import wanted_schema

_REASONS = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
"""What servers say and what we call it; anything else is an ordinary stop."""

NEW_LIMIT = re.compile(r"^(o\d|gpt-([5-9]|\d\d))")
"""OpenAI's models that refuse ``max_tokens``."""

_SOUNDS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
_NINE = re.compile(r"^[a-zA-Z0-9]{9}$")


def data_url(media: Media) -> str:
    """Where *media* is, or what it is."""
    return media.url or f"data:{media.media_type};base64,{media.base64()}"


def _media(media: Media) -> dict[str, Any]:
    if media.kind == "image":
        return {"type": "image_url", "image_url": {"url": data_url(media)}}
    if media.media_type in _SOUNDS and media.data is not None:
        sound = {"data": media.base64(), "format": _SOUNDS[media.media_type]}
        return {"type": "input_audio", "input_audio": sound}
    if media.media_type == "application/pdf" and media.data is not None:
        file = {"filename": "document.pdf", "file_data": data_url(media)}
        return {"type": "file", "file": file}
    raise ValidationError(
        f"Chat Completions take no media of type '{media.media_type}'"
        + ("" if media.data is not None else " by URL"),
        field="media",
        hint="Pictures go as bytes or by URL; WAV, MP3 and PDF as bytes.",
    )


class Body:
    """Writes the body of a request in a dialect."""

    def __init__(self, request: ChatRequest, dialect: Dialect, vendor: str) -> None:
        self._request = request
        self._dialect = dialect
        self._vendor = vendor

    def fields(self) -> dict[str, Any]:
        """All of it but the limit and the stream.

        Raises:
            ValidationError: for what the dialect cannot say.
        """
        request, dialect = self._request, self._dialect
        body: dict[str, Any] = {"model": request.model, "messages": list(self._messages())}
        for name in ("temperature", "max_tokens", "top_p"):
            value = getattr(request, name)
            if value is not None:
                body[name] = value
        if request.seed is not None and dialect.seed is not None:
            body[dialect.seed] = request.seed
        if request.stop and dialect.stops:
            body["stop"] = list(request.stop)
        self._put_format(body)
        self._put_tools(body)
        return body

    def _put_format(self, body: dict[str, Any]) -> None:
        wanted = self._request.response_format
        if wanted is None:
            return
        dialect, schema = self._dialect, wanted_schema(wanted)
        if schema is None:
            if not dialect.objects and wanted.get("type") == "json_object":
                wanted = {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}},
                }
            body["response_format"] = wanted
        elif dialect.schemas:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", **wanted["json_schema"]},
            }
        else:
            body["response_format"] = {"type": "json_object"}
            told = (
                "Answer with one JSON object and nothing else. It must fit this JSON Schema: "
                + json.dumps(schema, ensure_ascii=False)
            )
            body["messages"] = [{"role": "system", "content": told}, *body["messages"]]

    def _put_tools(self, body: dict[str, Any]) -> None:
        request = self._request
        if not request.tools:
            return
        if not self._dialect.tools:
            raise ValidationError(
                f"{self._vendor}'s models take no tools: "
                + ", ".join(tool.name for tool in request.tools),
                field="tools",
                hint="Give the tools to an agent of another provider.",
            )
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
        choice = request.tool_choice
        if choice is None:
            return
        words = {"auto": "auto", "none": "none", "required": self._dialect.any_tool}
        body["tool_choice"] = words.get(choice) or {
            "type": "function",
            "function": {"name": choice},
        }

    def _messages(self) -> Iterator[dict[str, Any]]:
        """The messages; pictures that tools gave come in a user's message behind the results,
        because a tool's message is a text.
        """
        shown: list[dict[str, Any]] = []
        for message in self._request.messages:
            if message.role != "tool" and shown:
                yield {"role": "user", "content": shown}
                shown = []
            if message.role == "tool" and message.media:
                words = f"From the result of {self._id(message.tool_request_id or '')}:"
                shown += [{"type": "text", "text": words}, *self._parts(message.media)]
            yield self._message(message)
        if shown:
            yield {"role": "user", "content": shown}

    def _parts(self, media: Iterable[Media]) -> list[dict[str, Any]]:
        made = [_media(one) for one in media]
        if made and not self._dialect.images:
            raise ValidationError(
                f"{self._vendor}'s models take no media: "
                + ", ".join(one.media_type for one in media),
                field="media",
            )
        return made

    def _message(self, message: Message) -> dict[str, Any]:
        made: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.name is not None and self._dialect.names and message.role != "tool":
            made["name"] = message.name
        if message.role == "user" and message.media:
            words = [{"type": "text", "text": message.content}] if message.content else []
            made["content"] = [*words, *self._parts(message.media)]
        elif message.media and message.role != "tool":
            raise ValidationError(
                f"media go with a user's message, not with one of role '{message.role}'",
                field="media",
            )
        if message.tool_request_id is not None:
            made["tool_call_id"] = self._id(message.tool_request_id)
        if message.tool_requests:
            made["content"] = message.content or None
            made["tool_calls"] = [
                {
                    "id": self._id(request.id),
                    "type": "function",
                    "function": {"name": request.name, "arguments": request.arguments},
                }
                for request in message.tool_requests
            ]
        if message.role == "assistant":
            made |= self._reasoning(message)
        return made

    def _reasoning(self, message: Message) -> dict[str, Any]:
        """The reasoning of an earlier answer, where it is wanted back."""
        name = self._dialect.reasoning_back
        kept = carried(message.carry, self._vendor, self._request.model)
        if name is None or not kept:
            return {}
        return {name: kept if name == "reasoning_details" else kept[0].get("text")}

    def _id(self, text: str) -> str:
        """A tool call's id; another vendor's may not be to this one's taste."""
        if not self._dialect.call_id or _NINE.match(text):
            return text
        return sha256(text.encode("utf-8", "replace")).hexdigest()[:9]


def read_usage(value: Any, dialect: Dialect) -> Usage | None:
    """The ``usage`` object with the vendors' additions; None when there is none."""
    if not isinstance(value, dict):
        return None
    fields = cast("dict[str, Any]", value)
    prompt = cast("dict[str, Any]", fields.get("prompt_tokens_details") or {})
    completion = cast("dict[str, Any]", fields.get("completion_tokens_details") or {})
    reasoning = count(completion.get("reasoning_tokens") or fields.get("reasoning_tokens"))
    cached = (
        prompt.get("cached_tokens")
        or fields.get("cached_tokens")
        or fields.get("prompt_cache_hit_tokens")
    )
    return Usage(
        count(fields.get("prompt_tokens")),
        count(fields.get("completion_tokens")) + (reasoning if dialect.reasoning_on_top else 0),
        cached_tokens=count(cached),
        cache_write_tokens=count(prompt.get("cache_write_tokens")),
        reasoning_tokens=reasoning,
        cost=_cost(fields),
    )


def _cost(fields: dict[str, Any]) -> float | None:
    """Dollars, where the vendor tells them: OpenRouter ``cost``, Perplexity ``cost.total_cost``,
    xAI ``cost_in_usd_ticks`` of which ten thousand million are a dollar.
    """
    told: Any = fields.get("cost")
    if isinstance(told, dict):
        told = cast("dict[str, Any]", told).get("total_cost")
    ticks: Any = fields.get("cost_in_usd_ticks")
    if told is None and isinstance(ticks, int):
        told = ticks / 1e10
    if isinstance(told, bool) or not isinstance(told, int | float) or told < 0:
        return None
    return float(told)


def _text(content: Any) -> tuple[str, str]:
    """The text and the reasoning in a ``content``: a text, or a list of typed parts."""
    if content is None:
        return "", ""
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, list):
        raise MalformedAnswer(f"content is {type(content).__name__}, not text")
    said, thought = "", ""
    for part in cast("list[Any]", content):
        fields = cast("dict[str, Any]", part) if isinstance(part, dict) else {}
        if fields.get("type") == "thinking":
            # Mistral's reasoning models: a list of texts, or a text.
            inner: Any = fields.get("thinking")
            thought += inner if isinstance(inner, str) else _text(inner)[0]
        elif isinstance(fields.get("text"), str):
            said += fields["text"]
    return said, thought


class ChatDraft(Draft):
    """A completion: one whole body, or stream chunks."""

    def __init__(self, request: ChatRequest, dialect: Dialect, vendor: str) -> None:
        super().__init__(request)
        self._dialect = dialect
        self._vendor = vendor
        self._refusal: list[str] = []
        self._details: list[dict[str, Any]] = []

    def whole(self, value: dict[str, Any]) -> None:
        """A completion."""
        self._take(value, "message")
        self.complete = True

    def event(self, value: dict[str, Any]) -> ChatChunk | None:
        """A chunk."""
        return self._take(value, "delta")

    def _take(self, value: dict[str, Any], part: str) -> ChatChunk | None:
        extra: Any = value.get("x_groq")
        usage: Any = value.get("usage")
        if usage is None and isinstance(extra, dict):
            usage = cast("dict[str, Any]", extra).get("usage")
        self.usage = read_usage(usage, self._dialect) or self.usage
        self.model = text_of(value, "model") or self.model
        self.id = text_of(value, "id") or self.id
        self.cite(sources(value))
        choices = value.get("choices")
        if not isinstance(choices, list):
            raise MalformedAnswer("the answer has no 'choices'")
        chunk: ChatChunk | None = None
        for choice in cast("list[Any]", choices):
            fields = cast("dict[str, Any]", choice) if isinstance(choice, dict) else {}
            if fields.get("index", 0) == 0:
                chunk = self._choice(fields, part) or chunk
        return chunk

    def _choice(self, fields: dict[str, Any], part: str) -> ChatChunk | None:
        inner = fields.get(part)
        said = {} if inner is None else table(inner, f"'{part}'")
        reason = fields.get("finish_reason")
        if isinstance(reason, str) and reason:
            self.finish_reason = _REASONS.get(reason, "stop")
        text, thought = _text(said.get("content"))
        thought += _reasoning(said)
        self._keep(said)
        refusal = said.get("refusal")
        if isinstance(refusal, str):
            self._refusal.append(refusal)
        self.cite(annotated(said.get("annotations")))
        for place, call in enumerate(tables(said.get("tool_calls"), "'tool_calls'")):
            self._call(call, place if part == "message" else None)
        if not text and not thought:
            return None
        self.add_text(text)
        self.add_reasoning(thought)
        return ChatChunk(text, reasoning=thought)

    def _keep(self, said: dict[str, Any]) -> None:
        """OpenRouter's reasoning blocks; in a stream they come in fragments, by index."""
        for detail in tables(said.get("reasoning_details"), "'reasoning_details'"):
            last = self._details[-1] if self._details else None
            same = last is not None and "index" in detail and last.get("index") == detail["index"]
            if last is None or not same or last.get("type") != detail.get("type"):
                self._details.append(dict(detail))
                continue
            for key, piece in detail.items():
                grows = key in {"text", "summary", "data"} and isinstance(last.get(key), str)
                last[key] = last[key] + piece if grows and isinstance(piece, str) else piece

    def _call(self, fields: dict[str, Any], place: int | None) -> None:
        """Take in a call: the whole one at *place*, or a fragment of the one it names."""
        given = fields.get("id")
        index: Any = fields.get("index") if place is None else place
        if not isinstance(index, int):
            index = self._index_of(given)
        call = self.calls.setdefault(index, Call())
        function = fields.get("function")
        if not isinstance(function, dict):
            raise MalformedAnswer("a tool call has no 'function'")
        inner = cast("dict[str, Any]", function)
        if isinstance(given, str) and given and not call.id:
            call.id = given
        if isinstance(inner.get("name"), str) and not call.name:
            call.name = inner["name"]
        arguments = inner.get("arguments")
        if isinstance(arguments, str):
            call.arguments.append(arguments)
        elif arguments is not None:
            # Some servers send the object instead of its text.
            call.arguments.append(as_json(arguments))

    def _index_of(self, given: Any) -> int:
        """Some servers leave the index out: a known id goes on, a new id begins a call."""
        if isinstance(given, str) and given:
            for index, call in self.calls.items():
                if call.id == given:
                    return index
            return max(self.calls, default=-1) + 1
        return max(self.calls, default=0)

    def finish(self) -> None:
        """A refusal in the place of a text is a filtered answer; what wants to come back."""
        if self._refusal and not "".join(self.text).strip() and not self.calls:
            raise FilteredAnswer("".join(self._refusal))
        kept: list[dict[str, Any]] = []
        if self._dialect.reasoning_back == "reasoning_details":
            kept = self._details
        elif self._dialect.reasoning_back is not None and self.reasoning:
            kept = [{"text": "".join(self.reasoning)}]
        if kept:
            self.carry = {"vendor": self._vendor, "model": self.request.model, "content": kept}


def _reasoning(said: dict[str, Any]) -> str:
    """What is shown of the thinking, under either name."""
    for name in ("reasoning_content", "reasoning"):
        value = said.get(name)
        if isinstance(value, str):
            return value
    return ""


def sources(value: dict[str, Any]) -> list[str]:
    """The addresses an answer names as its sources: Perplexity, xAI."""
    found: list[str] = []
    for key in ("citations", "search_results"):
        rows: Any = value.get(key)
        for row in cast("list[Any]", rows) if isinstance(rows, list) else []:
            url: Any = cast("dict[str, Any]", row).get("url") if isinstance(row, dict) else row
            if isinstance(url, str):
                found.append(url)
    return found


def annotated(value: Any) -> list[str]:
    """The addresses in ``annotations``: ``{type: url_citation, url_citation: {url}}``, or flat."""
    found: list[str] = []
    for row in cast("list[Any]", value) if isinstance(value, list) else []:
        fields = cast("dict[str, Any]", row) if isinstance(row, dict) else {}
        inner: Any = fields.get("url_citation") or fields
        url: Any = cast("dict[str, Any]", inner).get("url") if isinstance(inner, dict) else None
        if isinstance(url, str):
            found.append(url)
    return found
