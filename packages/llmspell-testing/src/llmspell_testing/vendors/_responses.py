"""OpenAI's Responses API, as far as a stateless client uses it.

https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, cast

from llmspell_core import Message, ToolRequest, Usage
from llmspell_testing._loopback import HttpRequest
from llmspell_testing._scripted import Reply
from llmspell_testing.vendors._shapes import Many, Range, Shape, ShapeError, Tagged, check
from llmspell_testing.vendors._vendor import (
    Call,
    Frame,
    Refusal,
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
    REASONING,
    image_url_shape,
    name_shape,
    read_media,
    strict_schema,
)

_STATUS = {"in_progress", "completed", "incomplete"}
_PART = Tagged(
    "type",
    {
        "input_text": {"type": str, "text": str},
        "input_image": {
            "type": str,
            "detail": {"auto", "low", "high", "original"},
            "image_url?": image_url_shape,
            "file_id?": str,
        },
        "input_file": {
            "type": str,
            "filename?": str,
            "file_data?": str,
            "file_url?": str,
            "file_id?": str,
        },
    },
)
_OUTPUT_PART = Tagged(
    "type",
    {
        "output_text": {"type": str, "text": str, "annotations": list, "logprobs?": list},
        "refusal": {"type": str, "refusal": str},
    },
)
_EASY = {
    "type?": {"message"},
    "role": {"user", "assistant", "system", "developer"},
    "content": (str, Many(_PART, 1)),
}
_ANSWER = {
    "type": {"message"},
    "id": str,
    "role": {"assistant"},
    "status": _STATUS,
    "content": Many(_OUTPUT_PART, 1),
    "phase?": ({"commentary", "final_answer"}, None),
}
_SUMMARY = {"type": {"summary_text"}, "text": str}
_ITEMS: dict[str, Shape] = {
    "message": (_EASY, _ANSWER),
    "function_call": {
        "type": str,
        "id?": str,
        "call_id": str,
        "name": name_shape,
        "arguments": str,
        "status?": _STATUS,
    },
    "function_call_output": {
        "type": str,
        "id?": str,
        "call_id": str,
        "output": (str, Many(_PART, 1)),
        "status?": _STATUS,
    },
    "reasoning": {
        "type": str,
        "id": str,
        "summary": Many(_SUMMARY),
        "content?": list,
        "encrypted_content?": (str, None),
        "status?": _STATUS,
    },
}


def _item_shape(value: Any, place: str) -> None:
    check(value, dict, place)
    kind = cast("dict[str, Any]", value).get("type", "message")
    check(kind, set(_ITEMS), f"{place}.type")
    check(value, _ITEMS[kind], place)


RESPONSES: dict[str, Shape] = {
    "model": str,
    "input": (str, Many(_item_shape, 1)),
    "instructions?": (str, None),
    "stream?": (bool, None),
    "stream_options?": ({"include_obfuscation?": bool}, None),
    "store?": (bool, None),
    "include?": (
        Many({"reasoning.encrypted_content", "message.output_text.logprobs"}),
        None,
    ),
    "temperature?": (Range(0, 2), None),
    "top_p?": (Range(0, 1), None),
    "max_output_tokens?": (Range(16, 10**7, whole=True), None),
    "max_tool_calls?": (int, None),
    "tools?": Many(
        {
            "type": {"function"},
            "name": name_shape,
            "parameters": (dict, None),
            "strict": (bool, None),
            "description?": (str, None),
        },
        1,
        128,
    ),
    "tool_choice?": ({"none", "auto", "required"}, {"type": {"function"}, "name": name_shape}),
    "parallel_tool_calls?": (bool, None),
    "reasoning?": (
        {
            "effort?": (EFFORTS, None),
            "summary?": ({"auto", "concise", "detailed"}, None),
            "context?": ({"auto", "current_turn", "all_turns"}, None),
            "mode?": str,
        },
        None,
    ),
    "text?": {
        "verbosity?": ({"low", "medium", "high"}, None),
        "format?": Tagged(
            "type",
            {
                "text": {"type": str},
                "json_object": {"type": str},
                "json_schema": {
                    "type": str,
                    "name": name_shape,
                    "schema": dict,
                    "description?": str,
                    "strict?": (bool, None),
                },
            },
        ),
    },
    "metadata?": (dict, None),
    "prompt_cache_key?": (str, None),
    "prompt_cache_retention?": ({"in_memory", "24h"}, None),
    "safety_identifier?": (str, None),
    "service_tier?": ({"auto", "default", "flex", "scale", "priority", "fast"}, None),
    "top_logprobs?": (Range(0, 20, whole=True), None),
    "truncation?": ({"auto", "disabled"}, None),
    "user?": str,
}


class ResponsesApi:
    """Reads requests to ``/responses`` and writes the answers. *number* gives fresh numbers."""

    def __init__(self, number: Any) -> None:
        self._number = number

    def read(self, request: HttpRequest) -> Call:
        """What is asked.

        Raises:
            Refusal, ShapeError: for what OpenAI would refuse.
        """
        body = json_body(request)
        check(body, RESPONSES)
        given = body["input"]
        items: list[dict[str, Any]] = (
            [{"role": "user", "content": given}] if isinstance(given, str) else given
        )
        self._check_rules(body)
        _check_turns(items, stored=body.get("store") is not False)
        form = table(table(body.get("text")).get("format"))
        choice: Any = body.get("tool_choice")
        messages = list(_messages(items))
        if body.get("instructions"):
            messages.insert(0, Message("system", body["instructions"]))
        return Call(
            request,
            "chat",
            body["model"],
            bool(body.get("stream")),
            body,
            tuple(messages),
            tuple(tool["name"] for tool in body.get("tools") or ()),
            choice if choice is None or isinstance(choice, str) else choice["name"],
            form.get("schema"),
        )

    def _check_rules(self, body: dict[str, Any]) -> None:
        if body.get("include") and not REASONING.match(body["model"]):
            raise ShapeError("Encrypted content is not supported with this model.")
        if body.get("tool_choice") not in (None, "none", "auto") and not body.get("tools"):
            raise ShapeError("Tool choice 'required' must be specified with 'tools' parameter.")
        for index, tool in enumerate(body.get("tools") or ()):
            if tool["strict"]:
                strict_schema(tool["parameters"] or {}, f"tools[{index}]")
        form = table(table(body.get("text")).get("format"))
        if form.get("strict"):
            strict_schema(form["schema"], "schema")
        if form.get("type") == "json_object" and "json" not in str(body["input"]).lower():
            raise ShapeError("Response input messages must contain the word 'json' in some form.")
        if FIXED_SAMPLING.match(body["model"]) and body.get("temperature") not in (None, 1):
            raise ShapeError(
                "Unsupported parameter: 'temperature' is not supported with this model."
            )

    def _output(self, call: Call, reply: Reply) -> list[dict[str, Any]]:
        output: list[dict[str, Any]] = []
        if reply.reasoning:
            output.append(self._reasoning(call, reply.reasoning))
        if reply.words:
            part: dict[str, Any] = {
                "type": "output_text",
                "text": reply.words,
                "annotations": [],
                "logprobs": [],
            }
            output.append(
                {
                    "type": "message",
                    "id": f"msg_{self._number()}",
                    "role": "assistant",
                    "status": "completed",
                    "content": [part],
                }
            )
        output += [
            {
                "type": "function_call",
                "id": f"fc_{self._number()}",
                "call_id": f"call_{self._number()}",
                "name": name,
                "arguments": arguments_of(arguments),
                "status": "completed",
            }
            for name, arguments in reply.tools
        ]
        return output

    def _reasoning(self, call: Call, text: str) -> dict[str, Any]:
        identity = f"rs_{self._number()}"
        made: dict[str, Any] = {
            "type": "reasoning",
            "id": identity,
            "summary": [{"type": "summary_text", "text": text}],
        }
        if "reasoning.encrypted_content" in (call.body.get("include") or ()):
            made["encrypted_content"] = _sealed(identity)
        return made

    def whole(self, call: Call, reply: Reply) -> dict[str, Any]:
        """The response object."""
        why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(reply.reason)
        body = call.body
        return {
            "id": f"resp_{self._number()}",
            "object": "response",
            "created_at": 1_760_000_000,
            "status": "incomplete" if why else "completed",
            "error": None,
            "incomplete_details": {"reason": why} if why else None,
            "instructions": body.get("instructions"),
            "metadata": {},
            "model": call.model,
            "output": self._output(call, reply),
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "top_p": 1.0,
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": body.get("tools") or [],
            "store": body.get("store", True),
            "usage": None if reply.usage is None else _usage(reply.usage),
        }

    def frames(self, call: Call, reply: Reply) -> Iterator[Frame]:
        """The events of a streamed response."""
        whole = self.whole(call, reply)
        begun: dict[str, Any] = {**whole, "status": "in_progress", "output": [], "usage": None}
        number = iter(range(10**9))

        def frame(part: str, kind: str, /, **more: Any) -> Frame:
            event = {"type": kind, "sequence_number": next(number), **more}
            return Frame(sse(event, kind), part)

        yield frame("start", "response.created", response=begun)
        yield frame("start", "response.in_progress", response=begun)
        for index, item in enumerate(whole["output"]):
            empty: dict[str, Any] = {"summary": [], "content": [], "arguments": ""}
            first = {**item, **{k: v for k, v in empty.items() if k in item}}
            yield frame(
                "start",
                "response.output_item.added",
                output_index=index,
                item={**first, "status": "in_progress"},
            )
            place = {"item_id": item["id"], "output_index": index}
            for part, kind, more in _growth(item, reply):
                yield frame(part, kind, **place, **more)
            yield frame("start", "response.output_item.done", output_index=index, item=item)
        kind = "response.completed" if whole["status"] == "completed" else "response.incomplete"
        yield frame("end", kind, response=whole)


def _growth(item: dict[str, Any], reply: Reply) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The events between an item's beginning and its end."""
    if item["type"] == "function_call":
        for half in halves(item["arguments"]):
            yield "tool", "response.function_call_arguments.delta", {"delta": half}
        said = {"arguments": item["arguments"], "name": item["name"]}
        yield "start", "response.function_call_arguments.done", said
    elif item["type"] == "reasoning":
        head = "response.reasoning_summary"
        at = {"summary_index": 0}
        (part,) = item["summary"]
        yield "start", f"{head}_part.added", {**at, "part": {**part, "text": ""}}
        for piece in pieces_of(reply, part["text"]):
            yield "reasoning", f"{head}_text.delta", {**at, "delta": piece}
        yield "start", f"{head}_text.done", {**at, "text": part["text"]}
        yield "start", f"{head}_part.done", {**at, "part": part}
    else:
        at = {"content_index": 0}
        (part,) = item["content"]
        yield "start", "response.content_part.added", {**at, "part": {**part, "text": ""}}
        for piece in pieces_of(reply):
            more: dict[str, Any] = {**at, "delta": piece, "logprobs": []}
            yield "text", "response.output_text.delta", more
        done: dict[str, Any] = {**at, "text": part["text"], "logprobs": []}
        yield "start", "response.output_text.done", done
        yield "start", "response.content_part.done", {**at, "part": part}


def _sealed(identity: str) -> str:
    """Encrypted reasoning, as far as its reader is concerned."""
    digest = sha256(f"sealed {identity}".encode()).digest()
    return base64.b64encode(digest).decode("ascii")


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def _check_turns(items: list[dict[str, Any]], *, stored: bool) -> None:
    """What OpenAI says about items that belong together."""
    calls: set[str] = set()
    answered: set[str] = set()
    for index, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "function_call":
            calls.add(item["call_id"])
        elif kind == "function_call_output":
            if item["call_id"] not in calls:
                raise ShapeError(
                    f"No tool call found for function call output with call_id {item['call_id']}."
                )
            answered.add(item["call_id"])
        elif kind == "reasoning":
            _check_reasoning(item, items[index + 1 :], stored=stored)
    for missing in sorted(calls - answered):
        raise ShapeError(f"No tool output found for function call {missing}.")


def _check_reasoning(item: dict[str, Any], behind: list[dict[str, Any]], *, stored: bool) -> None:
    identity = item["id"]
    if not behind or behind[0].get("type", "message") not in {"message", "function_call"}:
        raise ShapeError(
            f"Item '{identity}' of type 'reasoning' was provided without its required following "
            "item."
        )
    sealed = item.get("encrypted_content")
    if sealed is None and not stored:
        raise Refusal(
            f"Item with id '{identity}' not found. Items are not persisted when `store` is set to "
            "false.",
            status=404,
        )
    if sealed is not None and sealed != _sealed(identity):
        raise ShapeError(f"The encrypted content for item {identity} could not be verified.")


def _messages(items: list[dict[str, Any]]) -> Iterator[Message]:
    """The conversation in our words: what an answer consists of is one message again."""
    text, calls, open_answer = "", list[ToolRequest](), False
    for item in [*items, {"type": "end"}]:
        kind = item.get("type", "message")
        if kind == "reasoning":
            continue
        if kind == "function_call":
            calls.append(ToolRequest(item["call_id"], item["name"], item["arguments"]))
            open_answer = True
            continue
        if open_answer:
            yield Message("assistant", text, tuple(calls))
            text, calls, open_answer = "", [], False
        if kind == "function_call_output":
            yield _spoken("tool", item["output"], item["call_id"])
        elif kind == "message" and item["role"] == "assistant":
            text, open_answer = _spoken("assistant", item["content"]).content, True
        elif kind == "message":
            role = "system" if item["role"] == "developer" else item["role"]
            yield _spoken(role, item["content"])


def _spoken(role: str, content: Any, answers: str | None = None) -> Message:
    parts = cast("list[dict[str, Any]]", content if isinstance(content, list) else [])
    return Message(
        role,
        content if isinstance(content, str) else "".join(p.get("text", "") for p in parts),
        tool_request_id=answers,
        media=tuple(read_media(p["image_url"]) for p in parts if p["type"] == "input_image"),
    )
