"""The Responses protocol: a request's body, and the answer put together.

Nothing is stored at the vendor: the conversation is sent each time, with the encrypted reasoning
that came with the answers. https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any, cast

from llmspell_core import ChatChunk, ChatRequest, Media, Message, Usage, ValidationError
from llmspell_providers._completions import annotated, data_url
from llmspell_providers._draft import (
    Call,
    Draft,
    FilteredAnswer,
    carried,
    count,
    table,
    tables,
    text_of,
)
from llmspell_providers._schemas import wanted_schema

_LOG = logging.getLogger("llmspell.providers.openai")

REASONING = re.compile(r"^(o\d|gpt-(5|[6-9]|\d\d)(?!.*-chat)|gpt-oss|codex)")
"""Models that think, whose thinking may be asked for in encrypted form."""

_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}
_RENAMED = {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"}
_UNKNOWN = ("stop", "seed", "presence_penalty", "frequency_penalty", "n", "logprobs")
"""What Chat Completions have and Responses have not."""


def _media(media: Media) -> dict[str, Any]:
    if media.kind == "image":
        return {"type": "input_image", "image_url": data_url(media), "detail": "auto"}
    if media.media_type == "application/pdf":
        if media.url is not None:
            return {"type": "input_file", "file_url": media.url}
        return {"type": "input_file", "filename": "document.pdf", "file_data": data_url(media)}
    raise ValidationError(
        f"Responses take no media of type '{media.media_type}'",
        field="media",
        hint="Pictures and PDF documents go as bytes or by URL.",
    )


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not message.media:
        return message.content
    words = [{"type": "input_text", "text": message.content}] if message.content else []
    return [*words, *(_media(one) for one in message.media)]


def items(request: ChatRequest, vendor: str) -> Iterator[dict[str, Any]]:
    """The conversation as input items; answers of this model as they were.

    Raises:
        ValidationError: for media that cannot be sent.
    """
    for message in request.messages:
        if message.role == "tool":
            yield {
                "type": "function_call_output",
                "call_id": message.tool_request_id,
                "output": _content(message),
            }
        elif message.role != "assistant":
            yield {"role": message.role, "content": _content(message)}
        else:
            yield from _answer(message, carried(message.carry, vendor, request.model))


def _answer(message: Message, kept: list[dict[str, Any]] | None) -> Iterator[dict[str, Any]]:
    asked = [item.get("call_id") for item in kept or () if item.get("type") == "function_call"]
    if kept and asked == [request.id for request in message.tool_requests]:
        yield from kept
        return
    if message.content:
        yield {"role": "assistant", "content": message.content}
    for request in message.tool_requests:
        yield {
            "type": "function_call",
            "call_id": request.id,
            "name": request.name,
            "arguments": request.arguments,
        }


def fields(request: ChatRequest, vendor: str) -> dict[str, Any]:
    """The body, as far as it is this request's own. Raises as `items`."""
    body: dict[str, Any] = {"input": list(items(request, vendor)), "store": False}
    for name in ("temperature", "top_p", "max_tokens", "seed"):
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    if request.stop:
        body["stop"] = list(request.stop)
    if request.response_format is not None:
        body["response_format"] = request.response_format
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.to_json_schema(),
                "strict": False,
            }
            for tool in request.tools
        ]
        choice = request.tool_choice
        if choice is not None:
            simple = choice in {"auto", "none", "required"}
            body["tool_choice"] = choice if simple else {"type": "function", "name": choice}
    return body


def translated(body: dict[str, Any], model: str, told: set[str]) -> dict[str, Any]:
    """*body* with what was said in the words of Chat Completions said in those of Responses.

    Args:
        body: Configured defaults and the request, merged.
        model: The model's name.
        told: Which fields were already warned of; grows.
    """
    made = {_RENAMED.get(key, key): value for key, value in body.items()}
    dropped = [key for key in _UNKNOWN if made.pop(key, None) is not None]
    if fresh := [key for key in dropped if key not in told]:
        told.update(fresh)
        _LOG.warning("the Responses API has no %s: asked without", ", ".join(fresh))
    effort = made.pop("reasoning_effort", None)
    if effort is not None:
        made["reasoning"] = {"effort": effort, **_inner(made, "reasoning")}
    verbosity = made.pop("verbosity", None)
    form = _form(made.pop("response_format", None))
    if verbosity is not None or form is not None:
        text = _inner(made, "text")
        text |= {} if verbosity is None else {"verbosity": verbosity}
        text |= {} if form is None else {"format": form}
        made["text"] = text
    if "reasoning" in made or REASONING.match(model):
        # Without it the reasoning of an answer with tool calls would be lost for the next one.
        made.setdefault("include", ["reasoning.encrypted_content"])
    return {"model": model, **made}


def _inner(body: dict[str, Any], key: str) -> dict[str, Any]:
    value: Any = body.get(key)
    return dict(cast("dict[str, Any]", value)) if isinstance(value, dict) else {}


def _form(wanted: Any) -> dict[str, Any] | None:
    if not isinstance(wanted, dict):
        return None
    told = cast("dict[str, Any]", wanted)
    schema = wanted_schema(told)
    if schema is None:
        return told
    inner = cast("dict[str, Any]", told.get("json_schema") or {})
    return {"name": "answer", "strict": False, **inner, "type": "json_schema", "schema": schema}


class ResponsesDraft(Draft):
    """A response: one whole body, or the events that describe how it grows."""

    def __init__(self, request: ChatRequest, vendor: str) -> None:
        super().__init__(request)
        self._vendor = vendor
        self._refusal: list[str] = []

    def whole(self, value: dict[str, Any]) -> None:
        """A response."""
        self.model = text_of(value, "model") or self.model
        self.id = text_of(value, "id") or self.id
        self.usage = _usage(value.get("usage")) or self.usage
        rows = tables(value.get("output"), "'output'")
        self.text, self.reasoning, self._refusal = [], [], []
        self.calls.clear()
        for index, row in enumerate(rows):
            self._item(index, row)
        status = text_of(value, "status")
        if status == "incomplete":
            why = cast("dict[str, Any]", value.get("incomplete_details") or {})
            self.finish_reason = _REASONS.get(str(why.get("reason")), "stop")
        else:
            self.finish_reason = "stop"
        thoughts = [row for row in rows if row.get("type") == "reasoning"]
        # What is not stored there and did not come encrypted is lost; to name it is an error.
        if thoughts and all(row.get("encrypted_content") for row in thoughts):
            self.carry = {
                "vendor": self._vendor,
                "model": self.request.model,
                "content": [_sent_back(row) for row in rows],
            }
        self.complete = True

    def event(self, value: dict[str, Any]) -> ChatChunk | None:
        """An event. What it says of the end replaces what was put together before."""
        kind = text_of(value, "type")
        if kind == "response.output_text.delta":
            return self.add_text(text_of(value, "delta"))
        if kind in {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}:
            return self.add_reasoning(text_of(value, "delta"))
        if kind == "response.reasoning_summary_part.added" and self.reasoning:
            return self.add_reasoning("\n\n")
        if kind in {"response.completed", "response.incomplete"}:
            said = self.text
            self.whole(table(value.get("response"), "'response'"))
            # Some servers leave the output out of the last event.
            self.text = self.text or said
        elif kind == "response.output_item.done":
            index = value.get("output_index")
            row = table(value.get("item"), "'item'")
            if row.get("type") == "function_call":
                self._item(index if isinstance(index, int) else len(self.calls), row)
        return None

    def _item(self, index: int, row: dict[str, Any]) -> None:
        kind = row.get("type")
        if kind == "message":
            for part in tables(row.get("content"), "'content'"):
                self.add_text(text_of(part, "text"))
                self.cite(annotated(part.get("annotations")))
                if part.get("type") == "refusal":
                    self._refusal.append(text_of(part, "refusal"))
        elif kind == "reasoning":
            parts = tables(row.get("summary"), "'summary'") or tables(
                row.get("content"), "'content'"
            )
            thoughts = [text_of(part, "text") for part in parts]
            if thoughts:
                self.add_reasoning("\n\n".join(thoughts))
        elif kind == "function_call":
            arguments = [text_of(row, "arguments")]
            self.calls[index] = Call(
                text_of(row, "call_id") or text_of(row, "id"), text_of(row, "name"), arguments
            )

    def finish(self) -> None:
        """A refusal in the place of a text is a filtered answer."""
        if self._refusal and not "".join(self.text).strip() and not self.calls:
            raise FilteredAnswer("".join(self._refusal))


def _sent_back(row: dict[str, Any]) -> dict[str, Any]:
    """An output item as it is taken for an input; one of another kind goes as it is."""
    if row.get("type") == "reasoning":
        keys = ("type", "id", "summary", "content", "encrypted_content")
    elif row.get("type") == "function_call":
        keys = ("type", "id", "call_id", "name", "arguments")
    else:
        return row
    return {key: row[key] for key in keys if row.get(key) is not None}


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, dict):
        return None
    told = cast("dict[str, Any]", value)
    prompt = cast("dict[str, Any]", told.get("input_tokens_details") or {})
    completion = cast("dict[str, Any]", told.get("output_tokens_details") or {})
    return Usage(
        count(told.get("input_tokens")),
        count(told.get("output_tokens")),
        cached_tokens=count(prompt.get("cached_tokens")),
        cache_write_tokens=count(prompt.get("cache_write_tokens")),
        reasoning_tokens=count(completion.get("reasoning_tokens")),
    )
