"""Anthropic's Messages API, and every server that speaks it.

https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import logging
import re
from datetime import datetime
from typing import Any, ClassVar

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ConfigurationError,
    Media,
    Message,
    ModelInfo,
    ProviderSettings,
    Services,
    Usage,
    ValidationError,
)
from llmspell_providers._draft import (
    Call,
    Draft,
    arguments_object,
    as_json,
    carried,
    count,
    loose,
    table,
    tables,
    text_of,
)
from llmspell_providers._failures import Complaint
from llmspell_providers._schemas import closed, in_words, wanted_schema
from llmspell_providers._vendor import VendorProvider

_LOG = logging.getLogger("llmspell.providers.anthropic")

_VERSION = "2023-06-01"
_MAX_TOKENS = 4096
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_SPENT = re.compile(r"credit balance|spend limit|specified api usage limits|_spend_limit_reached")
_NO_SAMPLING = re.compile(r"^claude-(?:opus-4-[7-9]|[a-z]+-(?:[5-9]|\d\d))(?!\d{4})")
"""Models that refuse ``temperature`` and ``top_p``: Opus since 4.7, the others since 5."""
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")
_EPHEMERAL = {"cache_control": {"type": "ephemeral"}}


def _id(text: str) -> str:
    """A tool call's id as Anthropic takes it; another vendor's may have other characters."""
    return _FOREIGN.sub("_", text)


def _media(media: Media) -> dict[str, Any]:
    if media.url is not None:
        source: dict[str, Any] = {"type": "url", "url": media.url}
    elif media.media_type == "text/plain":
        text = (media.data or b"").decode("utf-8", "replace")
        source = {"type": "text", "media_type": media.media_type, "data": text}
    else:
        source = {"type": "base64", "media_type": media.media_type, "data": media.base64()}
    if media.media_type in _IMAGES or (media.kind == "image" and media.url is not None):
        return {"type": "image", "source": source}
    if media.media_type in {"application/pdf", "text/plain"}:
        return {"type": "document", "source": source}
    raise ValidationError(
        f"Anthropic takes no media of type '{media.media_type}'",
        field="media",
        hint="Pictures may be JPEG, PNG, GIF or WebP, documents PDF or plain text.",
    )


def _blocks(message: Message) -> list[dict[str, Any]]:
    """Pictures before the text, as the vendor advises; an empty text is refused, so left out."""
    made = [_media(media) for media in message.media]
    if message.content.strip():
        made.append({"type": "text", "text": message.content})
    return made


def _tool_result(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "tool_result",
        "tool_use_id": _id(message.tool_request_id or ""),
    }
    blocks = _blocks(message)
    if message.media:
        made["content"] = blocks
    elif blocks:
        made["content"] = message.content
    return made


def _assistant(message: Message, model: str) -> list[dict[str, Any]]:
    """An answer as it was, if it was this model's, because signed reasoning may not be changed;
    else put together again.
    """
    kept = carried(message.carry, "anthropic", model)
    if kept is not None:
        asked = [block.get("id") for block in kept if block.get("type") == "tool_use"]
        if asked == [request.id for request in message.tool_requests]:
            return list(kept)
    made = _blocks(message)
    made += [
        {
            "type": "tool_use",
            "id": _id(request.id),
            "name": request.name,
            "input": arguments_object(request),
        }
        for request in message.tool_requests
    ]
    return made


def conversation(messages: tuple[Message, ...], model: str) -> tuple[str, list[dict[str, Any]]]:
    """The system text, and turns that alternate: neighbours of one role are one turn, and the
    results of parallel calls stand together at the beginning of the user's.

    https://platform.claude.com/docs/en/agents-and-tools/tool-use/parallel-tool-use
    """
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            system.append(message.content)
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if message.role == "tool":
            blocks = [_tool_result(message)]
        elif role == "assistant":
            blocks = _assistant(message, model)
        else:
            blocks = _blocks(message)
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        turn["content"].sort(key=_comes_later)
    if turns and turns[-1]["role"] == "assistant":
        _end_without_blanks(turns[-1]["content"])
    return "\n\n".join(text for text in system if text.strip()), turns


def _comes_later(block: dict[str, Any]) -> bool:
    return block["type"] != "tool_result"


def _end_without_blanks(blocks: list[dict[str, Any]]) -> None:
    """A beginning that the model is to continue may not end with blanks."""
    if blocks[-1]["type"] == "text":
        blocks[-1] = {**blocks[-1], "text": blocks[-1]["text"].rstrip()}


def _mark(turns: list[dict[str, Any]]) -> None:
    """Let the vendor keep the conversation so far for the next call.

    Up to its end, and up to where the previous call ended, which is where its copy is found
    however many blocks came since: it is looked for only twenty blocks back. A first question
    without an answer is not kept, for nobody may come back to it.
    """
    places = [len(turns) - 1]
    places += [at - 1 for at, turn in enumerate(turns) if turn["role"] == "assistant" and at][-1:]
    for at in places:
        last = turns[at]["content"][-1]
        if last["type"] not in _THOUGHTS:
            turns[at]["content"][-1] = {**last, **_EPHEMERAL}


def _choice(choice: str) -> dict[str, Any]:
    simple = {"auto": "auto", "none": "none", "required": "any"}
    return {"type": simple[choice]} if choice in simple else {"type": "tool", "name": choice}


class AnthropicDraft(Draft):
    """A message: content blocks, whole or growing."""

    def __init__(self, request: ChatRequest) -> None:
        super().__init__(request)
        self._blocks: dict[int, dict[str, Any]] = {}
        self._counts: dict[str, int] = {}

    def whole(self, value: dict[str, Any]) -> None:
        """A message."""
        self._head(value)
        for index, block in enumerate(tables(value.get("content"), "'content'")):
            self._begin(index, block)
            if index in self.calls:
                self.calls[index].arguments.append(as_json(block.get("input") or {}))
        self._end(value, value.get("usage"))
        self.complete = True

    def event(self, value: dict[str, Any]) -> ChatChunk | None:
        """An event of a stream."""
        kind = value.get("type")
        if kind == "message_start":
            self._head(table(value.get("message"), "'message'"))
        elif kind == "content_block_start":
            return self._begin(_index(value), table(value.get("content_block"), "'content_block'"))
        elif kind == "content_block_delta":
            return self._grow(_index(value), table(value.get("delta"), "'delta'"))
        elif kind == "message_delta":
            self._end(table(value.get("delta"), "'delta'"), value.get("usage"))
        elif kind == "message_stop":
            self.complete = True
        return None

    def _head(self, message: dict[str, Any]) -> None:
        self.id = text_of(message, "id") or None
        self.model = text_of(message, "model") or self.model
        self._count(message.get("usage"))

    def _begin(self, index: int, block: dict[str, Any]) -> ChatChunk | None:
        kind = text_of(block, "type")
        self._blocks[index] = {**block, "type": kind}
        if kind == "text":
            return self.add_text(text_of(block, "text"))
        if kind == "thinking":
            return self.add_reasoning(text_of(block, "thinking"))
        if kind == "tool_use":
            self.calls[index] = Call(text_of(block, "id"), text_of(block, "name"))
        return None

    def _grow(self, index: int, delta: dict[str, Any]) -> ChatChunk | None:
        block = self._blocks.setdefault(index, {"type": "text", "text": ""})
        kind = text_of(delta, "type")
        if kind == "text_delta":
            text = text_of(delta, "text")
            block["text"] = text_of(block, "text") + text
            return self.add_text(text)
        if kind == "thinking_delta":
            text = text_of(delta, "thinking")
            block["thinking"] = text_of(block, "thinking") + text
            return self.add_reasoning(text)
        if kind == "signature_delta":
            block["signature"] = text_of(delta, "signature")
        elif kind == "input_json_delta" and index in self.calls:
            self.calls[index].arguments.append(text_of(delta, "partial_json"))
        return None

    def _end(self, fields: dict[str, Any], usage: Any) -> None:
        self._count(usage)
        reason = text_of(fields, "stop_reason")
        if not reason:
            return
        self.finish_reason = _REASONS.get(reason, "stop")
        if reason == "refusal":
            why = loose(fields.get("stop_details"))
            words = (why.get("explanation"), why.get("category"))
            self.filtered = ": ".join(str(word) for word in words if word) or "refused"
        if any(b["type"] in _THOUGHTS for b in self._blocks.values()):
            self.carry = {
                "vendor": "anthropic",
                "model": self.request.model,
                "content": [
                    self._block(index)
                    for index, block in sorted(self._blocks.items())
                    if block["type"] != "text" or text_of(block, "text").strip()
                ],
            }

    def _block(self, index: int) -> dict[str, Any]:
        """A block as it wants to be sent back."""
        block = self._blocks[index]
        if block["type"] == "text":
            return {"type": "text", "text": text_of(block, "text")}
        if index not in self.calls:
            return block
        request = self.tool_request(index)
        return {
            "type": "tool_use",
            "id": request.id,
            "name": request.name,
            "input": arguments_object(request),
        }

    def _count(self, usage: Any) -> None:
        """A stream tells its counts at the beginning and, as far as they changed, at the end.

        What was read from the vendor's cache and written to it is not part of its
        ``input_tokens``.
        """
        fields = loose(usage)
        if not fields:
            return
        details = loose(fields.get("output_tokens_details"))
        told = {**fields, "thinking_tokens": details.get("thinking_tokens")}
        for key, number in told.items():
            if isinstance(number, int):
                self._counts[key] = count(number)
        read = self._counts.get("cache_read_input_tokens", 0)
        written = self._counts.get("cache_creation_input_tokens", 0)
        self.usage = Usage(
            self._counts.get("input_tokens", 0) + read + written,
            self._counts.get("output_tokens", 0),
            cached_tokens=read,
            cache_write_tokens=written,
            reasoning_tokens=self._counts.get("thinking_tokens", 0),
        )


def _index(value: dict[str, Any]) -> int:
    index = value.get("index")
    return index if isinstance(index, int) else 0


class AnthropicProvider(VendorProvider):
    """Claude models over the Messages API.

    ``settings.options`` understood, besides those of every provider: ``version`` (of the
    protocol, default ``2023-06-01``), ``prompt_caching`` (default true: what stays the same
    from call to call is marked for the vendor's cache).

    The answer's length is limited to 4,096 tokens when nobody says otherwise, because the vendor
    wants a limit; a thinking budget comes on top. There is no ``seed``; models that refuse
    ``temperature`` and ``top_p`` are asked without.
    """

    vendor: ClassVar[str] = "anthropic"
    key_header: ClassVar[str] = "x-api-key"
    key_prefix: ClassVar[str] = ""

    def __init__(self, settings: ProviderSettings, services: Services) -> None:
        super().__init__(settings, services)
        self._version = str(settings.options.get("version") or _VERSION)
        caching: Any = settings.options.get("prompt_caching", True)
        if not isinstance(caching, bool):
            raise ConfigurationError(
                f"'providers.{self.name}.prompt_caching' must be true or false, "
                f"not {type(caching).__name__}"
            )
        self._caching = caching
        self._told: set[str] = set()

    def address(self, base_url: str) -> str:
        """With or without ``/v1``."""
        return base_url.rstrip("/").removesuffix("/v1")

    def header_fields(self) -> dict[str, str]:
        """The protocol's version."""
        return {"anthropic-version": self._version}

    def status_of(self, status: int, complaint: Complaint) -> int:
        """Spent credit comes as 400, a reached spending limit as 429."""
        return 402 if status in {400, 429} and _SPENT.search(complaint.lower) else status

    def streamed_status(self, value: dict[str, Any]) -> int | None:
        """``{type: error, error: {type, message}}``."""
        if value.get("type") != "error" and not value.get("error"):
            return None
        return _STATUSES.get(str(loose(value.get("error")).get("type")), 500)

    def draft(self, request: ChatRequest) -> Draft:
        return AnthropicDraft(request)

    def chat_call(self, request: ChatRequest, *, stream: bool) -> tuple[str, dict[str, Any]]:
        system, turns = conversation(request.messages, request.model)
        if not turns:
            raise ValidationError(
                "Anthropic wants a message with a text in it, besides the system prompt",
                field="input",
            )
        form = request.response_format or {}
        schema = wanted_schema(request.response_format)
        if form.get("type") == "json_object":
            system = f"{system}\n\n{in_words(None)}".strip()
        body: dict[str, Any] = {"model": request.model, "messages": turns}
        if system:
            body["system"] = [{"type": "text", "text": system}]
        if schema is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": closed(schema)}}
        self._put_tools(request, body)
        if self._caching and "cache_control" not in {*self.defaults, *request.extra}:
            for blocks in (body.get("tools"), body.get("system")):
                if blocks:
                    blocks[-1] = {**blocks[-1], **_EPHEMERAL}
            if len(turns) > 1 or request.tools:
                _mark(turns)
        self._put_sampling(request, body)
        made = self.merged(request, body)
        self._put_limit(made)
        self._drop_sampling(request.model, made)
        if stream:
            made["stream"] = True
        return "/v1/messages", made

    def _put_tools(self, request: ChatRequest, body: dict[str, Any]) -> None:
        if not request.tools:
            return
        body["tools"] = [
            {
                "name": tool.name,
                **({"description": tool.description} if tool.description else {}),
                "input_schema": tool.to_json_schema(),
            }
            for tool in request.tools
        ]
        if request.tool_choice is not None:
            body["tool_choice"] = _choice(request.tool_choice)

    def _put_sampling(self, request: ChatRequest, body: dict[str, Any]) -> None:
        for name in ("max_tokens", "temperature", "top_p"):
            value = getattr(request, name)
            if value is not None:
                body[name] = value
        # A stop that is only blanks is refused.
        if stops := [text for text in request.stop if text.strip()]:
            body["stop_sequences"] = stops

    def _put_limit(self, body: dict[str, Any]) -> None:
        if "max_tokens" in body:
            return
        body["max_tokens"] = _MAX_TOKENS + count(loose(body.get("thinking")).get("budget_tokens"))

    def _drop_sampling(self, model: str, body: dict[str, Any]) -> None:
        refused = [name for name in ("temperature", "top_p") if name in body]
        if not refused or (self._version < "2026-10-21" and not _NO_SAMPLING.match(model)):
            return
        for name in refused:
            del body[name]
        if model not in self._told:
            self._told.add(model)
            _LOG.warning("%s refuses %s: asked without", model, " and ".join(refused))

    async def models(self) -> list[ModelInfo]:
        """The models of the account, with their sizes."""
        found: list[ModelInfo] = []
        after = ""
        for _ in range(50):
            value, reply = await self.fetch("GET", f"/v1/models?limit=1000{after}")
            rows = self.reading(lambda value=value: tables(value.get("data"), "'data'"), reply)
            found += [_model(row) for row in rows if row.get("id")]
            last: Any = value.get("last_id")
            if not value.get("has_more") or not isinstance(last, str):
                break
            after = f"&after_id={last}"
        return sorted(found, key=lambda model: model.id)


def _model(row: dict[str, Any]) -> ModelInfo:
    return ModelInfo(
        str(row["id"]),
        count(row.get("max_input_tokens")) or None,
        count(row.get("max_tokens")) or None,
        "anthropic",
        _seconds(row.get("created_at")),
    )


def _seconds(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
