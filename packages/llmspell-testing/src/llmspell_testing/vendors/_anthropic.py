"""Anthropic: Messages and Models.

https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, cast

from llmspell_core import Media, Message, ToolRequest, Usage
from llmspell_testing._loopback import HttpRequest
from llmspell_testing._scripted import Reply
from llmspell_testing.vendors._shapes import Many, Range, Shape, ShapeError, Tagged, check
from llmspell_testing.vendors._vendor import (
    Call,
    Fault,
    Frame,
    Limits,
    Refusal,
    Vendor,
    arguments_of,
    halves,
    json_body,
    pieces_of,
    sse,
)

_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
_NO_SAMPLING = re.compile(r"^claude-(opus-4-[78]|(opus|sonnet|haiku|fable|mythos)-[5-9])")
_CACHE = {"type": {"ephemeral"}, "ttl?": {"5m", "1h"}}


def name_shape(value: Any, place: str) -> None:
    """The name of a tool, or the id of a call."""
    check(value, str, place)
    if not _NAME.match(value):
        raise ShapeError(f"{place}: String should match pattern '{_NAME.pattern}'")


def text_shape(value: Any, place: str) -> None:
    """A text with something in it."""
    check(value, str, place)
    if not value.strip():
        raise ShapeError(f"{place}: text content blocks must contain non-whitespace text")


def base64_shape(value: Any, place: str) -> None:
    """Bytes in base64."""
    check(value, str, place)
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ShapeError(f"{place}: invalid base64 data") from None


def closed_schema(schema: Any, place: str = "output_config.format.schema") -> None:
    """What structured outputs accept of JSON Schema."""
    table = cast("dict[str, Any]", schema)
    if isinstance(table.get("type"), list):
        raise ShapeError(f"{place}: 'type' must be a string")
    if table.get("type") == "object" and table.get("additionalProperties") is not False:
        raise ShapeError(
            f"{place}: For 'object' type, 'additionalProperties' must be explicitly set to false"
        )
    refused = {
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
        "maxLength", "pattern", "maxItems", "uniqueItems", "oneOf", "not", "if", "$schema",
        "patternProperties", "minProperties", "maxProperties",
    }  # fmt: skip
    for key in table:
        if key in refused or (key == "minItems" and table[key] > 1):
            kind = table.get("type", "any")
            raise ShapeError(f"{place}: For '{kind}' type, property '{key}' is not supported")
    for key in ("properties", "$defs", "definitions"):
        below: dict[str, Any] = table.get(key) or {}
        for name, inner in below.items():
            closed_schema(inner, f"{place}.{key}.{name}")
    for key in ("anyOf", "allOf"):
        for index, inner in enumerate(table.get(key) or ()):
            closed_schema(inner, f"{place}.{key}[{index}]")
    if isinstance(table.get("items"), dict):
        closed_schema(table["items"], f"{place}.items")


def _schema_shape(value: Any, place: str) -> None:
    check(value, dict, place)
    closed_schema(value, place)


_TEXT = {"type": {"text"}, "text": text_shape, "cache_control?": _CACHE}
_IMAGE_SOURCE = Tagged(
    "type",
    {
        "base64": {
            "type": str,
            "media_type": {"image/jpeg", "image/png", "image/gif", "image/webp"},
            "data": base64_shape,
        },
        "url": {"type": str, "url": str},
    },
)
_IMAGE = {"type": {"image"}, "source": _IMAGE_SOURCE, "cache_control?": _CACHE}
_DOCUMENT = {
    "type": {"document"},
    "source": Tagged(
        "type",
        {
            "base64": {"type": str, "media_type": {"application/pdf"}, "data": base64_shape},
            "url": {"type": str, "url": str},
            "text": {"type": str, "media_type": {"text/plain"}, "data": str},
        },
    ),
    "title?": str,
    "context?": str,
    "citations?": dict,
    "cache_control?": _CACHE,
}
_RESULT = {
    "type": {"tool_result"},
    "tool_use_id": name_shape,
    "content?": (str, [Tagged("type", {"text": _TEXT, "image": _IMAGE, "document": _DOCUMENT})]),
    "is_error?": bool,
    "cache_control?": _CACHE,
}
_USER = Tagged(
    "type", {"text": _TEXT, "image": _IMAGE, "document": _DOCUMENT, "tool_result": _RESULT}
)
_ASSISTANT = Tagged(
    "type",
    {
        "text": _TEXT,
        "thinking": {"type": str, "thinking": str, "signature": str},
        "redacted_thinking": {"type": str, "data": str},
        "tool_use": {
            "type": str,
            "id": name_shape,
            "name": name_shape,
            "input": dict,
            "cache_control?": _CACHE,
        },
    },
)
_MESSAGE = Tagged(
    "role",
    {
        "user": {"role": str, "content": (text_shape, Many(_USER, 1))},
        "assistant": {"role": str, "content": (text_shape, Many(_ASSISTANT, 1))},
    },
)
_TOOL = {
    "name": name_shape,
    "description?": str,
    "input_schema": dict,
    "type?": {"custom"},
    "strict?": bool,
    "cache_control?": _CACHE,
}
_PARALLEL = {"type": str, "disable_parallel_tool_use?": bool}

CHAT: Shape = {
    "model": str,
    "max_tokens": Range(1, 10**7, whole=True),
    "messages": Many(_MESSAGE, 1, 100_000),
    "system?": (text_shape, [_TEXT]),
    "stream?": bool,
    "temperature?": Range(0, 1),
    "top_p?": Range(0, 1),
    "top_k?": Range(0, 500, whole=True),
    "stop_sequences?": [text_shape],
    "tools?": [_TOOL],
    "tool_choice?": Tagged(
        "type",
        {
            "auto": _PARALLEL,
            "any": _PARALLEL,
            "none": {"type": str},
            "tool": {**_PARALLEL, "name": name_shape},
        },
    ),
    "thinking?": Tagged(
        "type",
        {
            "enabled": {
                "type": str,
                "budget_tokens": Range(1024, 10**7, whole=True),
                "display?": {"summarized", "omitted"},
            },
            "adaptive": {"type": str, "display?": {"summarized", "omitted"}},
            "between_tools": {"type": str},
            "disabled": {"type": str},
        },
    ),
    "output_config?": {
        "effort?": {"low", "medium", "high", "xhigh", "max"},
        "format?": {"type": {"json_schema"}, "schema": _schema_shape},
    },
    "cache_control?": _CACHE,
    "metadata?": {"user_id?": str},
    "service_tier?": {"auto", "standard_only"},
    "inference_geo?": str,
    "container?": object,
}


class Anthropic(Vendor):
    """Messages as Anthropic documents them, with signed reasoning that must come back unchanged.

    A reply with ``finish_reason="content_filter"`` is a refusal.
    """

    name: ClassVar[str] = "anthropic"
    key_variable: ClassVar[str | None] = "ANTHROPIC_API_KEY"
    url_variable: ClassVar[str | None] = "ANTHROPIC_BASE_URL"
    statuses: ClassVar[Mapping[str, int]] = {"quota": 400}

    def read(self, request: HttpRequest) -> Call:
        self._check_head(request)
        where = (request.method, request.path)
        if where == ("GET", "/v1/models"):
            return Call(request, "models")
        if where == ("POST", "/v1/messages"):
            return self._read_chat(request)
        raise Refusal(f"{request.method} {request.path} is not there")

    def _check_head(self, request: HttpRequest) -> None:
        bearer = request.headers.get("authorization")
        given = request.headers.get("x-api-key") or (bearer or "").removeprefix("Bearer ")
        if not given:
            raise Refusal("x-api-key header is required", "auth")
        if given != self.key:
            raise Refusal("invalid x-api-key", "auth")
        if request.headers.get("anthropic-version") not in {"2023-06-01", "2026-10-21"}:
            raise Refusal("anthropic-version: header is required")

    def _read_chat(self, request: HttpRequest) -> Call:
        body = json_body(request)
        check(body, CHAT)
        self.check_model(body["model"])
        version = request.headers["anthropic-version"]
        self._check_rules(body, version)
        _check_turns(body["messages"])
        self._check_signatures(body["messages"])
        choice: dict[str, Any] = body.get("tool_choice") or {}
        system = body.get("system") or ()
        texts = [system] if isinstance(system, str) else [block["text"] for block in system]
        output: dict[str, Any] = body.get("output_config") or {}
        form: dict[str, Any] = output.get("format") or {}
        kind: str | None = choice.get("type")
        words: dict[str | None, str | None] = {"any": "required", "tool": choice.get("name")}
        return Call(
            request,
            "chat",
            body["model"],
            bool(body.get("stream")),
            body,
            (
                *(Message("system", text) for text in texts),
                *(message for turn in body["messages"] for message in read_turn(turn)),
            ),
            tuple(tool["name"] for tool in body.get("tools") or ()),
            words.get(kind, kind),
            form.get("schema"),
        )

    def _check_rules(self, body: dict[str, Any], version: str) -> None:
        refused = [key for key in ("temperature", "top_p", "top_k") if key in body]
        if refused and (version >= "2026-10-21" or _NO_SAMPLING.match(body["model"])):
            raise ShapeError(f"`{refused[0]}` is deprecated for this model.")
        thinking: dict[str, Any] = body.get("thinking") or {}
        if thinking.get("budget_tokens", 0) >= body["max_tokens"]:
            raise ShapeError("`max_tokens` must be greater than `thinking.budget_tokens`.")
        choice: dict[str, Any] = body.get("tool_choice") or {}
        forced = choice.get("type") in {"any", "tool"}
        if thinking.get("type") == "enabled" and forced:
            raise ShapeError("Thinking may not be enabled when tool_choice forces tool use.")
        if "tool_choice" in body and not body.get("tools"):
            raise ShapeError("tool_choice may only be specified while providing tools.")
        marks = json.dumps(body).count('"cache_control"')
        if marks > 4:
            raise ShapeError(
                f"A maximum of 4 blocks with cache_control may be provided. Found {marks}."
            )
        last = body["messages"][-1]
        if last["role"] == "assistant":
            content = last["content"]
            text = content if isinstance(content, str) else content[-1].get("text", "")
            if text != text.rstrip():
                raise ShapeError(
                    "messages: final assistant content cannot end with trailing whitespace"
                )

    def _check_signatures(self, messages: list[dict[str, Any]]) -> None:
        for index, message in enumerate(messages):
            content = message["content"]
            blocks = cast("list[dict[str, Any]]", content if isinstance(content, list) else [])
            for place, block in enumerate(blocks):
                if block["type"] == "thinking" and block["signature"] != sign(block["thinking"]):
                    raise ShapeError(
                        f"messages.{index}.content.{place}: Invalid `signature` in `thinking` block"
                    )

    # Answering

    def headers(self, number: int) -> dict[str, str]:
        return {"request-id": f"req_{number}"}

    def limit_headers(self, limits: Limits) -> dict[str, str]:
        made = {
            "anthropic-ratelimit-requests-limit": limits.requests,
            "anthropic-ratelimit-requests-remaining": limits.requests_left,
            "anthropic-ratelimit-requests-reset": _moment(limits.requests_reset),
            "anthropic-ratelimit-tokens-limit": limits.tokens,
            "anthropic-ratelimit-tokens-remaining": limits.tokens_left,
            "anthropic-ratelimit-tokens-reset": _moment(limits.tokens_reset),
        }
        return {name: str(value) for name, value in made.items() if value is not None}

    def _blocks(self, reply: Reply) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        if reply.reasoning:
            signed = {"thinking": reply.reasoning, "signature": sign(reply.reasoning)}
            made.append({"type": "thinking", **signed})
        if reply.words:
            made.append({"type": "text", "text": reply.words})
        for name, arguments in reply.tools:
            text = arguments_of(arguments)
            made.append(
                {"type": "tool_use", "id": f"toolu_{self.number()}", "name": name, "input": text}
            )
        return made

    def _end(self, reply: Reply) -> dict[str, Any]:
        reasons = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
        reason = reasons.get(reply.reason, "refusal")
        details = None
        if reason == "refusal":
            details = {"type": "refusal", "category": "cyber", "explanation": "not allowed"}
        return {"stop_reason": reason, "stop_sequence": None, "stop_details": details}

    def whole(self, call: Call, reply: Reply) -> Any:
        blocks = [
            {**block, "input": json.loads(block["input"])} if "input" in block else block
            for block in self._blocks(reply)
        ]
        made = {
            "id": f"msg_{self.number()}",
            "type": "message",
            "role": "assistant",
            "model": call.model,
            "content": blocks,
            **self._end(reply),
        }
        return made if reply.usage is None else {**made, "usage": usage_fields(reply.usage)}

    def frames(self, call: Call, reply: Reply) -> Iterator[Frame]:
        def frame(part: str, kind: str, **fields: Any) -> Frame:
            return Frame(sse({"type": kind, **fields}, kind), part)

        told = None if reply.usage is None else usage_fields(reply.usage)
        message: dict[str, Any] = {
            "id": f"msg_{self.number()}",
            "type": "message",
            "role": "assistant",
            "model": call.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }
        if told is not None:
            message["usage"] = {**told, "output_tokens": 1, "output_tokens_details": None}
        yield frame("start", "message_start", message=message)
        yield frame("start", "ping")
        for index, block in enumerate(self._blocks(reply)):
            part, empty, deltas = _grown(block, reply)
            yield frame("start", "content_block_start", index=index, content_block=empty)
            for delta in deltas:
                yield frame(part, "content_block_delta", index=index, delta=delta)
            yield frame("end", "content_block_stop", index=index)
        last = {"delta": self._end(reply)}
        if told is not None and reply.usage is not None:
            last["usage"] = {
                "output_tokens": reply.usage.completion_tokens,
                "output_tokens_details": told["output_tokens_details"],
            }
        yield frame("end", "message_delta", **last)
        yield frame("end", "message_stop")

    def error(self, fault: Fault, status: int) -> Any:
        kinds = {
            400: "invalid_request_error",
            401: "authentication_error",
            402: "billing_error",
            403: "permission_error",
            404: "not_found_error",
            413: "request_too_large",
            429: "rate_limit_error",
            504: "timeout_error",
            529: "overloaded_error",
        }
        usual = {
            "model_not_found": f"model: {fault.words}",
            "context_length": "prompt is too long: 215000 tokens > 200000 maximum",
            "quota": "Your credit balance is too low to access the Anthropic API.",
        }
        words = fault.message or usual.get(fault.kind, fault.words)
        kind = kinds.get(status, "invalid_request_error" if status < 500 else "api_error")
        number = f"req_{self.number()}"
        return {"type": "error", "error": {"type": kind, "message": words}, "request_id": number}

    def error_frame(self, fault: Fault, status: int) -> bytes:
        return sse(self.error(fault, status), "error")

    def list_models(self, call: Call) -> Any:
        rows = [
            {
                "id": name,
                "type": "model",
                "display_name": name,
                "created_at": "2026-02-19T00:00:00Z",
                "lifecycle": "active",
                "max_input_tokens": 200_000,
                "max_tokens": 64_000,
            }
            for name in self.models
        ]
        ends = {"first_id": self.models[0], "last_id": self.models[-1]}
        return {"data": rows, "has_more": False, **ends}


def sign(thinking: str) -> str:
    """The signature of a piece of reasoning; it fits no other."""
    import zlib

    return f"sig-{zlib.crc32(thinking.encode('utf-8', 'replace')):08x}"


def usage_fields(usage: Usage) -> dict[str, Any]:
    """*usage* as Anthropic counts: without what the cache had or got."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        "service_tier": "standard",
    }


def _moment(seconds: float | None) -> str | None:
    """A reset *seconds* from now, as a date."""
    from datetime import UTC, datetime, timedelta

    if seconds is None:
        return None
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def _grown(block: dict[str, Any], reply: Reply) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    """The part a block belongs to, how it begins, and the deltas that make it whole."""
    if block["type"] == "thinking":
        deltas = [
            {"type": "thinking_delta", "thinking": piece}
            for piece in pieces_of(reply, block["thinking"])
        ]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return "reasoning", {"type": "thinking", "thinking": "", "signature": ""}, deltas
    if block["type"] == "text":
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces_of(reply)]
        return "text", {"type": "text", "text": ""}, deltas
    pieces = ("", *(half for half in halves(block["input"]) if half))
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return "tool", {**block, "input": {}}, deltas


def read_turn(turn: dict[str, Any]) -> list[Message]:
    """The messages that a turn holds, in our words."""
    content = turn["content"]
    if isinstance(content, str):
        return [Message(turn["role"], content)]
    blocks = cast("list[dict[str, Any]]", content)
    made = [
        Message("tool", _words(b.get("content")), (), b["tool_use_id"], None, _pictures(b))
        for b in blocks
        if b["type"] == "tool_result"
    ]
    texts = [b["text"] for b in blocks if b["type"] == "text"]
    calls = tuple(
        ToolRequest(b["id"], b["name"], json.dumps(b["input"]))
        for b in blocks
        if b["type"] == "tool_use"
    )
    media = _pictures(turn)
    if texts or calls or media or not made:
        made.append(Message(turn["role"], "".join(texts), calls, media=media))
    return made


def _words(content: Any) -> str:
    if isinstance(content, list):
        blocks = cast("list[dict[str, Any]]", content)
        return "".join(block.get("text", "") for block in blocks)
    return content or ""


def _pictures(holder: dict[str, Any]) -> tuple[Media, ...]:
    content = holder.get("content")
    blocks = cast("list[dict[str, Any]]", content if isinstance(content, list) else [])
    return tuple(
        _read_media(block["source"]) for block in blocks if block["type"] in {"image", "document"}
    )


def _read_media(source: dict[str, Any]) -> Media:
    if source["type"] == "url":
        return Media("image/*", url=source["url"])
    if source["type"] == "text":
        return Media(source["media_type"], data=source["data"].encode())
    return Media(source["media_type"], data=base64.b64decode(source["data"]))


def _check_turns(messages: list[dict[str, Any]]) -> None:
    """Every tool_use is answered at the beginning of the next message, and nothing else is."""
    asked: set[str] = set()
    for index, message in enumerate(messages):
        content = message["content"]
        blocks = cast("list[dict[str, Any]]", content if isinstance(content, list) else [])
        answered = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
        if [b["type"] for b in blocks[: len(answered)]] != ["tool_result"] * len(answered):
            raise ShapeError(f"messages.{index}: tool_result blocks must come first")
        if len(set(answered)) != len(answered):
            raise ShapeError(
                f"messages.{index}: each tool_use must have a single result. "
                "Found multiple `tool_result` blocks with one id"
            )
        if set(answered) - asked:
            raise ShapeError(
                f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{sorted(set(answered) - asked)}"
            )
        if asked - set(answered):
            raise ShapeError(
                f"messages.{index}: `tool_use` ids were found without `tool_result` blocks "
                f"immediately after: {sorted(asked - set(answered))}"
            )
        asked = {b["id"] for b in blocks if b["type"] == "tool_use"}
    if asked:
        raise ShapeError(
            f"messages.{len(messages) - 1}: `tool_use` ids were found without `tool_result` "
            f"blocks immediately after: {sorted(asked)}"
        )
