"""Ollama: chat, embed, show, tags.

https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

from llmspell_core import Media, Message, ToolRequest, Usage
from llmspell_testing._loopback import HttpRequest
from llmspell_testing._scripted import Reply
from llmspell_testing.vendors._shapes import Many, Range, Shape, ShapeError, check
from llmspell_testing.vendors._vendor import (
    Call,
    Fault,
    Frame,
    Limits,
    Refusal,
    Vendor,
    arguments_of,
    json_body,
    ndjson,
    pieces_of,
)

_CALL = {
    "id?": str,
    "function": {"name": str, "arguments": dict, "index?": int, "description?": str},
}


def _image_shape(value: Any, place: str) -> None:
    check(value, str, place)
    try:
        base64.b64decode(value, validate=True)
    except ValueError:
        raise ShapeError(f"'{place}': illegal base64 data") from None


_MESSAGE = {
    "role": {"system", "user", "assistant", "tool"},
    "content": str,
    "thinking?": str,
    "images?": [_image_shape],
    "tool_calls?": [_CALL],
    "tool_name?": str,
    "tool_call_id?": str,
}
_TOOL = {
    "type": {"function"},
    "function": {"name": str, "description": str, "parameters": dict},
}
_NUMBERS = {
    name: Range(low, 10**9)
    for name, low in {
        "temperature": 0,
        "top_p": 0,
        "top_k": 0,
        "min_p": 0,
        "num_ctx": 1,
        "num_predict": -2,
        "seed": -(10**9),
        "repeat_penalty": 0,
        "repeat_last_n": -1,
        "presence_penalty": -2,
        "frequency_penalty": -2,
        "num_keep": 0,
        "num_gpu": -1,
        "num_thread": 0,
        "num_batch": 1,
    }.items()
}
CHAT: Shape = {
    "model": str,
    "messages": [_MESSAGE],
    "stream?": bool,
    "tools?": [_TOOL],
    "format?": ({"json"}, dict),
    "options?": {f"{name}?": shape for name, shape in {**_NUMBERS, "stop": [str]}.items()},
    "keep_alive?": (str, float),
    "think?": (bool, {"low", "medium", "high"}),
    "truncate?": bool,
    "shift?": bool,
    "logprobs?": bool,
    "top_logprobs?": int,
}
EMBED: Shape = {
    "model": str,
    "input": (str, Many(str, 1)),
    "dimensions?": Range(1, 10**5, whole=True),
    "truncate?": bool,
    "keep_alive?": (str, float),
    "options?": dict,
}


class Ollama(Vendor):
    """Ollama as its documentation says; it needs no key, and takes none but its own.

    `context_length` is what ``/api/show`` tells of every model.
    """

    name: ClassVar[str] = "ollama"
    url_variable: ClassVar[str | None] = "OLLAMA_BASE_URL"
    stream_type: ClassVar[str] = "application/x-ndjson"
    statuses: ClassVar[Mapping[str, int]] = {"overloaded": 503}
    asides: ClassVar[frozenset[str]] = frozenset({"show"})
    context_length: int = 32_768

    def read(self, request: HttpRequest) -> Call:
        given = request.headers.get("authorization")
        if given is not None and given != f"Bearer {self.key}":
            raise Refusal("unauthorized", "auth")
        where = (request.method, request.path)
        if where == ("GET", "/api/tags"):
            return Call(request, "models")
        if where == ("POST", "/api/show"):
            body = json_body(request)
            check(body, {"model": str, "verbose?": bool})
            self.check_model(body["model"])
            return Call(request, "show", body["model"], body=body)
        if where == ("POST", "/api/embed"):
            return self._read_embed(request)
        if where == ("POST", "/api/chat"):
            return self._read_chat(request)
        raise Refusal("404 page not found", "model_not_found")

    def check_model(self, model: str) -> None:
        if self.only_models and model not in self.models:
            raise Refusal(f"model '{model}' not found", "model_not_found")

    def _read_embed(self, request: HttpRequest) -> Call:
        body = json_body(request)
        check(body, EMBED)
        self.check_model(body["model"])
        given = body["input"]
        return Call(
            request,
            "embed",
            body["model"],
            body=body,
            inputs=(given,) if isinstance(given, str) else tuple(given),
            dimensions=body.get("dimensions"),
        )

    def _read_chat(self, request: HttpRequest) -> Call:
        body = json_body(request)
        check(body, CHAT)
        self.check_model(body["model"])
        form: Any = body.get("format")
        return Call(
            request,
            "chat",
            body["model"],
            body.get("stream", True),
            body,
            tuple(_message(message) for message in body["messages"]),
            tuple(tool["function"]["name"] for tool in body.get("tools") or ()),
            None,
            cast("dict[str, Any]", form) if isinstance(form, dict) else None,
        )

    # Answering

    def headers(self, number: int) -> dict[str, str]:
        return {}

    def limit_headers(self, limits: Limits) -> dict[str, str]:
        """Ollama has no limits."""
        return {}

    def _line(self, call: Call, message: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {
            "model": call.model,
            "created_at": "2026-11-01T12:00:00.000000000Z",
            "message": {"role": "assistant", "content": "", **message},
            "done": False,
            **more,
        }

    def _calls(self, reply: Reply) -> list[dict[str, Any]]:
        return [
            {
                "id": f"call_{self.number()}",
                "function": {
                    "index": index,
                    "name": name,
                    "arguments": json.loads(arguments_of(arguments)),
                },
            }
            for index, (name, arguments) in enumerate(reply.tools)
        ]

    def _end(self, reply: Reply) -> dict[str, Any]:
        made: dict[str, Any] = {
            "done": True,
            "done_reason": "length" if reply.reason == "length" else "stop",
            "total_duration": 5_000_000,
            "load_duration": 1_000_000,
        }
        if reply.usage is not None:
            made["prompt_eval_count"] = reply.usage.prompt_tokens
            made["eval_count"] = reply.usage.completion_tokens
        return made

    def whole(self, call: Call, reply: Reply) -> Any:
        if call.operation == "show":
            info = {
                "general.architecture": "llama",
                "general.parameter_count": 8_030_261_248,
                "llama.context_length": self.context_length,
            }
            return {
                "details": {"family": "llama", "format": "gguf"},
                "model_info": info,
                "capabilities": ["completion", "tools"],
            }
        calls = self._calls(reply)
        message: dict[str, Any] = {"content": reply.words}
        if reply.reasoning:
            message["thinking"] = reply.reasoning
        if calls:
            message["tool_calls"] = calls
        return self._line(call, message, **self._end(reply))

    def frames(self, call: Call, reply: Reply) -> Iterator[Frame]:
        for piece in pieces_of(reply, reply.reasoning):
            yield Frame(ndjson(self._line(call, {"thinking": piece})), "reasoning")
        for piece in pieces_of(reply):
            yield Frame(ndjson(self._line(call, {"content": piece})), "text")
        for one in self._calls(reply):
            yield Frame(ndjson(self._line(call, {"tool_calls": [one]})), "tool")
        yield Frame(ndjson(self._line(call, {}, **self._end(reply))), "end")

    def error(self, fault: Fault, status: int) -> Any:
        words = {
            "model_not_found": "model 'x' not found",
            "context_length": "the input length exceeds the context length",
        }
        return {"error": fault.message or words.get(fault.kind, fault.words)}

    def error_frame(self, fault: Fault, status: int) -> bytes:
        return ndjson(self.error(fault, status))

    def garbled_frame(self) -> bytes:
        return ndjson('{"broken": ')

    def list_models(self, call: Call) -> Any:
        rows = [
            {
                "name": name,
                "model": name,
                "modified_at": "2026-10-01T00:00:00Z",
                "size": 4_920_753_328,
                "digest": "sha256:0",
                "details": {"family": "llama"},
            }
            for name in self.models
        ]
        return {"models": rows}

    def embed(self, call: Call, vectors: Sequence[Sequence[float]], usage: Usage) -> Any:
        return {
            "model": call.model,
            "embeddings": [list(vector) for vector in vectors],
            "prompt_eval_count": usage.prompt_tokens,
        }


def _kind(data: bytes) -> str:
    """The kind of a picture, by its first bytes: Ollama is not told."""
    kinds = {b"\x89PNG": "image/png", b"\xff\xd8": "image/jpeg", b"GIF8": "image/gif"}
    return next((kind for start, kind in kinds.items() if data.startswith(start)), "image/*")


def _message(message: dict[str, Any]) -> Message:
    """A message in our words."""
    return Message(
        message["role"],
        message["content"],
        tuple(
            ToolRequest(
                call.get("id", ""),
                call["function"]["name"],
                json.dumps(call["function"]["arguments"]),
            )
            for call in message.get("tool_calls") or ()
        ),
        message.get("tool_call_id"),
        message.get("tool_name"),
        tuple(
            Media(_kind(data), data=data)
            for data in map(base64.b64decode, message.get("images") or ())
        ),
    )
