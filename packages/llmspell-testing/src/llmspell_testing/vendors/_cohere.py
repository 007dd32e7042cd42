"""Cohere, version 2 of its API: chat, embed, models.

https://docs.cohere.com/reference/chat
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

from llmspell_core import Message, ToolRequest, Usage
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
from llmspell_testing.vendors._wording import image_url_shape, read_media

_TEXT = {"type": {"text"}, "text": str}
_USER_PART = Tagged(
    "type",
    {
        "text": _TEXT,
        "image_url": {
            "type": str,
            "image_url": {"url": image_url_shape, "detail?": {"auto", "low", "high"}},
        },
    },
)
_ANSWER_PART = Tagged("type", {"text": _TEXT, "thinking": {"type": str, "thinking": str}})
_CALL = {"id": str, "type": {"function"}, "function": {"name": str, "arguments": str}}
_MESSAGE = Tagged(
    "role",
    {
        "system": {"role": str, "content": (str, Many(_TEXT, 1))},
        "user": {"role": str, "content": (str, Many(_USER_PART, 1))},
        "assistant": {
            "role": str,
            "content?": (str, Many(_ANSWER_PART, 1)),
            "tool_calls?": Many(_CALL, 1),
            "tool_plan?": str,
            "citations?": list,
        },
        "tool": {"role": str, "tool_call_id": str, "content": (str, Many(_TEXT, 1))},
    },
)
_TOOL = {
    "type": {"function"},
    "function": {"name": str, "description?": str, "parameters": dict},
}
CHAT: Shape = {
    "model": str,
    "messages": Many(_MESSAGE, 1),
    "stream": bool,
    "tools?": Many(_TOOL, 1),
    "strict_tools?": bool,
    "documents?": list,
    "citation_options?": dict,
    "response_format?": Tagged(
        "type", {"text": {"type": str}, "json_object": {"type": str, "json_schema?": dict}}
    ),
    "safety_mode?": {"CONTEXTUAL", "STRICT", "OFF"},
    "max_tokens?": Range(1, 10**7, whole=True),
    "stop_sequences?": Many(str, 1, 5),
    "temperature?": Range(0, 100),
    "seed?": Range(0, 2**64, whole=True),
    "frequency_penalty?": Range(0, 1),
    "presence_penalty?": Range(0, 1),
    "k?": Range(0, 500),
    "p?": Range(0.01, 0.99),
    "logprobs?": bool,
    "tool_choice?": {"REQUIRED", "NONE"},
    "thinking?": {"type": {"enabled", "disabled"}, "token_budget?": int},
    "priority?": int,
}
EMBED: Shape = {
    "model": str,
    "input_type": {"search_document", "search_query", "classification", "clustering", "image"},
    "texts": Many(str, 1, 96),
    "embedding_types?": Many({"float", "int8", "uint8", "binary", "ubinary", "base64"}, 1),
    "output_dimension?": {256, 512, 1024, 1536},
    "truncate?": {"NONE", "START", "END"},
    "max_tokens?": int,
}


class Cohere(Vendor):
    """The second version of Cohere's API as it is documented.

    A reply with ``finish_reason="content_filter"`` ends with ``ERROR_TOXIC``; the reasoning of a
    reply with tools is its plan. Being made to call the only tool there is reads as being made to
    call it by name.
    """

    name: ClassVar[str] = "cohere"
    key_variable: ClassVar[str | None] = "COHERE_API_KEY"
    url_variable: ClassVar[str | None] = "COHERE_BASE_URL"
    statuses: ClassVar[Mapping[str, int]] = {
        "quota": 429,
        "content_filter": 498,
        "overloaded": 503,
        "timeout": 504,
    }

    def read(self, request: HttpRequest) -> Call:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            raise Refusal("invalid api token", "auth")
        where = (request.method, request.path)
        if where == ("GET", "/v1/models"):
            return Call(request, "models")
        if where == ("POST", "/v2/embed"):
            return self._read_embed(request)
        if where == ("POST", "/v2/chat"):
            return self._read_chat(request)
        raise Refusal(f"{request.method} {request.path} is not there")

    def check_model(self, model: str) -> None:
        if self.only_models and model not in self.models:
            raise Refusal(
                f"model '{model}' not found, make sure the correct model ID was used and that "
                "you have access to the model.",
                "model_not_found",
            )

    def _read_embed(self, request: HttpRequest) -> Call:
        body = json_body(request)
        check(body, EMBED)
        self.check_model(body["model"])
        return Call(
            request,
            "embed",
            body["model"],
            body=body,
            inputs=tuple(body["texts"]),
            dimensions=body.get("output_dimension"),
        )

    def _read_chat(self, request: HttpRequest) -> Call:
        body = json_body(request)
        check(body, CHAT)
        self.check_model(body["model"])
        form: dict[str, Any] = body.get("response_format") or {}
        if form.get("type") == "json_object" and (body.get("tools") or body.get("documents")):
            raise ShapeError("JSON mode is not supported in combination with tools or documents")
        if "tool_choice" in body and not body.get("tools"):
            raise ShapeError("tool_choice is only allowed with tools")
        _check_turns(body["messages"])
        names = tuple(tool["function"]["name"] for tool in body.get("tools") or ())
        choice = "auto" if names else None
        if "tool_choice" in body:
            forced = names[0] if len(names) == 1 else "required"
            choice = {"REQUIRED": forced, "NONE": "none"}[body["tool_choice"]]
        return Call(
            request,
            "chat",
            body["model"],
            body["stream"],
            body,
            tuple(_message(message) for message in body["messages"]),
            names,
            choice,
            form.get("json_schema"),
        )

    # Answering

    def headers(self, number: int) -> dict[str, str]:
        return {"x-debug-trace-id": f"trace_{number}"}

    def limit_headers(self, limits: Limits) -> dict[str, str]:
        made = {
            "x-endpoint-monthly-call-limit": limits.requests,
            "x-trial-endpoint-call-remaining": limits.requests_left,
        }
        return {name: str(value) for name, value in made.items() if value is not None}

    def _calls(self, reply: Reply) -> list[dict[str, Any]]:
        return [
            {
                "id": f"{name}_{self.number()}",
                "type": "function",
                "function": {"name": name, "arguments": arguments_of(arguments)},
            }
            for name, arguments in reply.tools
        ]

    def _end(self, reply: Reply) -> dict[str, Any]:
        reasons = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL"}
        made: dict[str, Any] = {"finish_reason": reasons.get(reply.reason, "ERROR_TOXIC")}
        if reply.usage is not None:
            numbers = {
                "input_tokens": float(reply.usage.prompt_tokens),
                "output_tokens": float(reply.usage.completion_tokens),
            }
            made["usage"] = {
                "billed_units": {**numbers, "input_tokens": 1.0},
                "tokens": numbers,
                "cached_tokens": float(reply.usage.cached_tokens),
            }
        return made

    def whole(self, call: Call, reply: Reply) -> Any:
        message: dict[str, Any] = {"role": "assistant"}
        calls = self._calls(reply)
        content: list[dict[str, Any]] = []
        if reply.reasoning and calls:
            message["tool_plan"] = reply.reasoning
        elif reply.reasoning:
            content.append({"type": "thinking", "thinking": reply.reasoning})
        if reply.words:
            content.append({"type": "text", "text": reply.words})
        if content:
            message["content"] = content
        if calls:
            message["tool_calls"] = calls
        return {"id": f"chat_{self.number()}", "message": message, **self._end(reply)}

    def frames(self, call: Call, reply: Reply) -> Iterator[Frame]:
        def frame(part: str, kind: str, **fields: Any) -> Frame:
            return Frame(sse({"type": kind, **fields}, kind), part)

        empty: list[Any] = []
        start = {"role": "assistant", "content": empty, "tool_plan": "", "tool_calls": empty}
        identity = f"chat_{self.number()}"
        yield frame("start", "message-start", id=identity, delta={"message": start})
        calls = self._calls(reply)
        index = 0
        for piece in pieces_of(reply, reply.reasoning) if calls else ():
            yield frame("reasoning", "tool-plan-delta", delta={"message": {"tool_plan": piece}})
        shown = (("reasoning", "thinking", pieces_of(reply, reply.reasoning)),) if not calls else ()
        for part, key, pieces in (*shown, ("text", "text", pieces_of(reply))):
            began = False
            for piece in pieces:
                if not began:
                    first = {"message": {"content": {"type": key, key: ""}}}
                    yield frame("start", "content-start", index=index, delta=first)
                    began = True
                grown = {"message": {"content": {key: piece}}}
                yield frame(part, "content-delta", index=index, delta=grown)
            if began:
                yield frame("end", "content-end", index=index)
                index += 1
        for place, one in enumerate(calls):
            function = {**one["function"], "arguments": ""}
            delta = {"message": {"tool_calls": {**one, "function": function}}}
            yield frame("tool", "tool-call-start", index=place, delta=delta)
            for half in halves(one["function"]["arguments"]):
                grown = {"message": {"tool_calls": {"function": {"arguments": half}}}}
                yield frame("tool", "tool-call-delta", index=place, delta=grown)
            yield frame("end", "tool-call-end", index=place)
        yield frame("end", "message-end", delta=self._end(reply))

    def error(self, fault: Fault, status: int) -> Any:
        words = {
            "auth": "invalid api token",
            "model_not_found": "model 'x' not found, make sure the correct model ID was used.",
            "context_length": "too many tokens: total number of tokens in the prompt cannot "
            "exceed 132096 - received 140000. Try using a shorter prompt.",
            "quota": "You are using a Trial key, which is limited to 1000 API calls / month.",
            "rate_limit": "You are using a Trial key, which is limited to 20 API calls / minute.",
        }
        number = f"err_{self.number()}"
        return {"id": number, "message": fault.message or words.get(fault.kind, fault.words)}

    def error_frame(self, fault: Fault, status: int) -> bytes:
        delta = {"finish_reason": "ERROR", "error": fault.words}
        return sse({"type": "message-end", "delta": delta}, "message-end")

    def list_models(self, call: Call) -> Any:
        rows = [
            {"name": name, "endpoints": ["chat"], "finetuned": False, "context_length": 256_000.0}
            for name in self.models
        ]
        return {"models": rows}

    def embed(self, call: Call, vectors: Sequence[Sequence[float]], usage: Usage) -> Any:
        return {
            "id": f"emb_{self.number()}",
            "response_type": "embeddings_by_type",
            "embeddings": {"float": [list(vector) for vector in vectors]},
            "texts": list(call.inputs),
            "meta": {"billed_units": {"input_tokens": float(usage.prompt_tokens)}},
        }


def _message(message: dict[str, Any]) -> Message:
    content = message.get("content")
    parts = cast("list[dict[str, Any]]", content if isinstance(content, list) else [])
    return Message(
        message["role"],
        content if isinstance(content, str) else "".join(p.get("text", "") for p in parts),
        tuple(
            ToolRequest(c["id"], c["function"]["name"], c["function"]["arguments"])
            for c in message.get("tool_calls") or ()
        ),
        message.get("tool_call_id"),
        None,
        tuple(read_media(p["image_url"]["url"]) for p in parts if p["type"] == "image_url"),
    )


def _check_turns(messages: list[dict[str, Any]]) -> None:
    """Every call is answered by a tool message of its own directly behind."""
    asked: list[str] = []
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in asked:
                raise ShapeError(f"messages[{index}]: no tool call '{message['tool_call_id']}'")
            asked.remove(message["tool_call_id"])
            continue
        if asked:
            raise ShapeError(f"messages[{index}]: tool calls without results: {asked}")
        asked = [call["id"] for call in message.get("tool_calls") or ()]
        if message["role"] == "assistant" and not asked and not message.get("content"):
            raise ShapeError(f"messages[{index}]: must have content or tool_calls")
    if asked:
        raise ShapeError(f"tool calls without results: {asked}")
