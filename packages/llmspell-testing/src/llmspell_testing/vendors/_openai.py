"""OpenAI: Chat Completions, Responses, Embeddings, Models.

https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

from llmspell_core import Message, ToolRequest, Usage
from llmspell_testing._loopback import HttpRequest
from llmspell_testing._scripted import Reply
from llmspell_testing.vendors._responses import ResponsesApi
from llmspell_testing.vendors._shapes import Many, Range, Shape, ShapeError, Tagged, check
from llmspell_testing.vendors._vendor import (
    Call,
    Fault,
    Frame,
    Refusal,
    Vendor,
    arguments_of,
    halves,
    json_body,
    pieces_of,
    sse,
    table,
)
from llmspell_testing.vendors._wording import (
    EFFORTS,
    FIXED_SAMPLING,
    NEW_LIMIT,
    image_url_shape,
    name_shape,
    read_media,
    strict_schema,
)

_TEXT_PART = {"type": {"text"}, "text": str}
_USER_PART = Tagged(
    "type",
    {
        "text": _TEXT_PART,
        "image_url": {
            "type": str,
            "image_url": {"url": image_url_shape, "detail?": {"auto", "low", "high"}},
        },
        "input_audio": {"type": str, "input_audio": {"data": str, "format": {"wav", "mp3"}}},
        "file": {"type": str, "file": {"file_data?": str, "file_id?": str, "filename?": str}},
    },
)
_TEXTS = (str, Many(_TEXT_PART, 1))
_TOOL_CALL = {
    "id": str,
    "type": {"function"},
    "function": {"name": name_shape, "arguments": str},
}
MESSAGE: Shape = Tagged(
    "role",
    {
        "developer": {"role": str, "content": _TEXTS, "name?": str},
        "system": {"role": str, "content": _TEXTS, "name?": str},
        "user": {"role": str, "content": (str, Many(_USER_PART, 1)), "name?": str},
        "assistant": {
            "role": str,
            "content?": (*_TEXTS, None),
            "refusal?": (str, None),
            "name?": str,
            "audio?": ({"id": str}, None),
            "tool_calls?": Many(_TOOL_CALL, 1),
        },
        "tool": {"role": str, "content": _TEXTS, "tool_call_id": str},
    },
)


_FUNCTION = {
    "name": name_shape,
    "description?": str,
    "parameters?": dict,
    "strict?": (bool, None),
}
_TOOL = {"type": {"function"}, "function": _FUNCTION}
FORMAT: Shape = Tagged(
    "type",
    {
        "text": {"type": str},
        "json_object": {"type": str},
        "json_schema": {
            "type": str,
            "json_schema": {
                "name": name_shape,
                "description?": str,
                "schema?": dict,
                "strict?": (bool, None),
            },
        },
    },
)
_CHOICE = (
    {"none", "auto", "required"},
    {"type": {"function"}, "function": {"name": name_shape}},
)

CHAT: dict[str, Shape] = {
    "model": str,
    "messages": Many(MESSAGE, 1),
    "stream?": (bool, None),
    "stream_options?": ({"include_usage?": bool, "include_obfuscation?": bool}, None),
    "temperature?": (Range(0, 2), None),
    "top_p?": (Range(0, 1), None),
    "n?": (Range(1, 128, whole=True), None),
    "max_tokens?": (Range(1, 10**7, whole=True), None),
    "max_completion_tokens?": (Range(1, 10**7, whole=True), None),
    "stop?": (str, Many(str, 1, 4), None),
    "seed?": (int, None),
    "presence_penalty?": (Range(-2, 2), None),
    "frequency_penalty?": (Range(-2, 2), None),
    "logit_bias?": (dict, None),
    "logprobs?": (bool, None),
    "top_logprobs?": (Range(0, 20, whole=True), None),
    "tools?": Many(_TOOL, 1, 128),
    "tool_choice?": _CHOICE,
    "parallel_tool_calls?": bool,
    "response_format?": FORMAT,
    "reasoning_effort?": (EFFORTS, None),
    "verbosity?": ({"low", "medium", "high"}, None),
    "metadata?": (dict, None),
    "modalities?": (Many({"text", "audio"}, 1), None),
    "audio?": (dict, None),
    "prediction?": (dict, None),
    "prompt_cache_key?": str,
    "prompt_cache_retention?": ({"in_memory", "24h"}, None),
    "safety_identifier?": str,
    "service_tier?": ({"auto", "default", "flex", "scale", "priority", "fast"}, None),
    "store?": (bool, None),
    "user?": str,
    "web_search_options?": dict,
}

EMBED: dict[str, Shape] = {
    "model": str,
    "input": (str, Many(str, 1, 2048)),
    "dimensions?": Range(1, 10**5, whole=True),
    "encoding_format?": {"float", "base64"},
    "user?": str,
}


class OpenAI(Vendor):
    """Chat Completions and Responses as OpenAI documents them.

    A reply with ``finish_reason="content_filter"`` is a filtered answer; the reasoning of a reply
    is not shown, as at OpenAI, only counted.
    """

    name: ClassVar[str] = "openai"
    path: ClassVar[str] = "/v1"
    key_variable: ClassVar[str | None] = "OPENAI_API_KEY"
    url_variable: ClassVar[str | None] = "OPENAI_BASE_URL"
    statuses: ClassVar[Mapping[str, int]] = {"quota": 429, "overloaded": 503}
    responses: ClassVar[bool] = True
    """Whether it has ``/responses``."""

    def __init__(self, *, key: str) -> None:
        super().__init__(key=key)
        self._responses = ResponsesApi(self.number)

    # Reading

    def read(self, request: HttpRequest) -> Call:
        self.check_key(request)
        where = (request.method, request.path)
        if where == ("GET", f"{self.path}/models"):
            return Call(request, "models")
        if where == ("POST", f"{self.path}/chat/completions"):
            return self.read_chat(request)
        if where == ("POST", f"{self.path}/embeddings"):
            return self.read_embed(request)
        if where == ("POST", f"{self.path}/responses") and self.responses:
            call = self._responses.read(request)
            self.check_model(call.model)
            return call
        raise Refusal(f"Invalid URL ({request.method} {request.path})")

    def check_key(self, request: HttpRequest) -> None:
        """Refuse a request without the right key."""
        given = request.headers.get("authorization", "")
        if not given:
            raise Refusal("You didn't provide an API key.", "auth")
        if given != f"Bearer {self.key}":
            raise Refusal(f"Incorrect API key provided: {given[7:10]}***.", "auth")

    def chat_shape(self) -> dict[str, Shape]:
        """The documented fields of a chat request."""
        return CHAT

    def read_chat(self, request: HttpRequest) -> Call:
        """A chat request."""
        body = json_body(request)
        check(body, self.chat_shape())
        self.check_model(body["model"])
        self.check_rules(body)
        _check_turns(body["messages"])
        form = table(body.get("response_format"))
        choice: Any = body.get("tool_choice")
        return Call(
            request,
            "chat",
            body["model"],
            bool(body.get("stream")),
            body,
            tuple(read_message(m) for m in body["messages"]),
            tuple(tool["function"]["name"] for tool in body.get("tools") or ()),
            choice if choice is None or isinstance(choice, str) else choice["function"]["name"],
            table(form.get("json_schema")).get("schema"),
        )

    def check_rules(self, body: dict[str, Any]) -> None:
        """What is said about fields that depend on each other."""
        if "stream_options" in body and not body.get("stream"):
            raise ShapeError("The 'stream_options' parameter is only allowed when 'stream' is set.")
        choosing = body.get("tool_choice") not in (None, "none", "auto")
        if (choosing or "parallel_tool_calls" in body) and not body.get("tools"):
            raise ShapeError("'tool_choice' is only allowed when 'tools' are specified.")
        form = table(body.get("response_format"))
        if form.get("type") == "json_object" and "json" not in str(body["messages"]).lower():
            raise ShapeError(
                "'messages' must contain the word 'json' in some form, to use "
                "'response_format' of type 'json_object'."
            )
        inner = table(form.get("json_schema"))
        if inner.get("strict"):
            strict_schema(inner.get("schema") or {}, "schema")
        for index, tool in enumerate(body.get("tools") or ()):
            if tool["function"].get("strict"):
                strict_schema(tool["function"].get("parameters") or {}, f"tools[{index}]")
        if NEW_LIMIT.match(body["model"]) and "max_tokens" in body:
            raise ShapeError(
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                "'max_completion_tokens' instead."
            )
        if FIXED_SAMPLING.match(body["model"]):
            for key in ("temperature", "top_p"):
                if body.get(key) not in {None, 1}:
                    raise ShapeError(
                        f"Unsupported value: '{key}' does not support {body[key]} with this "
                        "model. Only the default (1) value is supported."
                    )

    def read_embed(self, request: HttpRequest) -> Call:
        """An embeddings request."""
        body = json_body(request)
        check(body, EMBED)
        self.check_model(body["model"])
        given = body["input"]
        inputs = (given,) if isinstance(given, str) else tuple(given)
        if "" in inputs:
            raise Refusal("'$.input' is invalid: an input must not be an empty string.")
        return Call(
            request,
            "embed",
            body["model"],
            body=body,
            inputs=inputs,
            dimensions=body.get("dimensions"),
        )

    # Answering

    def usage(self, call: Call, usage: Usage) -> dict[str, Any]:
        """The ``usage`` object."""
        return {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": usage.reasoning_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def head(self, call: Call, kind: str) -> dict[str, Any]:
        """What every answer and chunk begins with."""
        return {
            "id": f"chatcmpl-{self.number()}",
            "object": kind,
            "created": 1_760_000_000,
            "model": call.model,
            "service_tier": "default",
            "system_fingerprint": "fp_44709d6fcb",
        }

    def tool_calls(self, reply: Reply) -> list[dict[str, Any]]:
        """The calls of *reply*, each with an id of its own."""
        return [
            {
                "id": f"call_{self.number()}",
                "type": "function",
                "function": {"name": name, "arguments": arguments_of(arguments)},
            }
            for name, arguments in reply.tools
        ]

    def reasoning(self, text: str) -> dict[str, Any]:
        """The fields of a message or delta that show reasoning; OpenAI shows none here."""
        return {}

    def whole(self, call: Call, reply: Reply) -> Any:
        if "input" in call.body:
            return self._responses.whole(call, reply)
        calls = self.tool_calls(reply)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": reply.words if reply.words or not calls else None,
            "refusal": None,
            "annotations": [],
            **self.reasoning(reply.reasoning),
            **({"tool_calls": calls} if calls else {}),
        }
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": reply.reason,
        }
        usage = {} if reply.usage is None else {"usage": self.usage(call, reply.usage)}
        return {**self.head(call, "chat.completion"), "choices": [choice], **usage}

    def deltas(self, reply: Reply) -> Iterator[tuple[str, dict[str, Any]]]:
        """The deltas of *reply*, each with its part."""
        yield "start", {"role": "assistant", "content": "", "refusal": None}
        for piece in pieces_of(reply, reply.reasoning):
            if shown := self.reasoning(piece):
                yield "reasoning", shown
        for piece in pieces_of(reply):
            yield "text", {"content": piece}
        for index, call in enumerate(self.tool_calls(reply)):
            function: dict[str, Any] = {"name": call["function"]["name"], "arguments": ""}
            yield "tool", {"tool_calls": [{"index": index, **call, "function": function}]}
            for half in halves(call["function"]["arguments"]):
                inner = {"index": index, "function": {"arguments": half}}
                yield "tool", {"tool_calls": [inner]}

    def frames(self, call: Call, reply: Reply) -> Iterator[Frame]:
        if "input" in call.body:
            yield from self._responses.frames(call, reply)
            return
        head = self.head(call, "chat.completion.chunk")
        wanted = self.streams_usage(call) and reply.usage is not None
        more = {"usage": None} if wanted else {}

        def frame(part: str, delta: dict[str, Any], reason: str | None = None) -> Frame:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            return Frame(sse({**head, "choices": [choice], **more}), part)

        for part, delta in self.deltas(reply):
            yield frame(part, delta)
        yield frame("end", {}, reply.reason)
        if wanted and reply.usage is not None:
            yield Frame(sse({**head, "choices": [], "usage": self.usage(call, reply.usage)}), "end")
        yield Frame(sse("[DONE]"), "end")

    def streams_usage(self, call: Call) -> bool:
        """Whether this stream tells the usage: where it was asked for."""
        return bool(table(call.body.get("stream_options")).get("include_usage"))

    def error(self, fault: Fault, status: int) -> Any:
        codes = {
            "auth": ("invalid_request_error", "invalid_api_key"),
            "quota": ("insufficient_quota", "insufficient_quota"),
            "model_not_found": ("invalid_request_error", "model_not_found"),
            "context_length": ("invalid_request_error", "context_length_exceeded"),
            "content_filter": ("invalid_request_error", "content_policy_violation"),
            "rate_limit": ("requests", "rate_limit_exceeded"),
        }
        usual = ("invalid_request_error" if status < 500 else "server_error", None)
        kind, code = codes.get(fault.kind, usual)
        words = fault.words
        if fault.message is None and fault.kind == "context_length":
            words = (
                "This model's maximum context length is 8192 tokens. However, your messages "
                "resulted in 9000 tokens. Please reduce the length of the messages."
            )
        return {"error": {"message": words, "type": kind, "param": None, "code": code}}

    def stream_error(self, call: Call, fault: Fault, status: int) -> bytes:
        if "input" not in call.body:
            return self.error_frame(fault, status)
        inner = self.error(fault, status)["error"]
        told = {"code": inner["code"] or inner["type"], "message": inner["message"], "param": None}
        return sse({"type": "error", "sequence_number": 9, **told}, "error")

    def list_models(self, call: Call) -> Any:
        rows = [
            {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "system"}
            for name in self.models
        ]
        return {"object": "list", "data": rows}

    def embed(self, call: Call, vectors: Sequence[Sequence[float]], usage: Usage) -> Any:
        packed = call.body.get("encoding_format") == "base64"
        rows = [
            {"object": "embedding", "index": index, "embedding": _packed(v) if packed else list(v)}
            for index, v in enumerate(vectors)
        ]
        return {
            "object": "list",
            "data": rows,
            "model": call.model,
            "usage": {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens},
        }


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def read_message(message: dict[str, Any]) -> Message:
    """A message in our words."""
    content = message.get("content")
    parts = cast("list[dict[str, Any]]", content if isinstance(content, list) else [])
    role = message["role"]
    return Message(
        "system" if role == "developer" else role,
        content if isinstance(content, str) else "".join(p.get("text", "") for p in parts),
        tuple(
            ToolRequest(c["id"], c["function"]["name"], c["function"]["arguments"])
            for c in message.get("tool_calls") or ()
        ),
        message.get("tool_call_id"),
        message.get("name"),
        tuple(read_media(p["image_url"]["url"]) for p in parts if p["type"] == "image_url"),
    )


def _check_turns(messages: list[dict[str, Any]]) -> None:
    """Every tool call is answered at once, and every tool message answers one."""
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                raise ShapeError(
                    f"Invalid parameter: messages[{index}] with role 'tool' must be a response "
                    "to a preceding message with 'tool_calls'."
                )
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            break
        open_calls = {call["id"] for call in message.get("tool_calls") or ()}
        if message["role"] == "assistant" and not open_calls and message.get("content") is None:
            raise ShapeError(f"messages[{index}] has neither 'content' nor 'tool_calls'")
    if open_calls:
        raise ShapeError(
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            f"to each 'tool_call_id'. These did not have response messages: {sorted(open_calls)}"
        )
