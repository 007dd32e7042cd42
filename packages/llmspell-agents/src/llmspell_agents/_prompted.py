"""Tool calls for models that have no function calling: described in the prompt, read from text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from llmspell_core import ChatResponse, Message, ToolRequest, ToolSchema

_OPEN = "```tool_call"
_TAG = "<tool_call>"
_BLOCK = re.compile(
    r"```tool_call\s*\n?(.*?)(?:```|\Z)|<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL
)
_NAME = re.compile(r'"name"\s*:\s*"([^"]+)"')
_FORMAT = '```tool_call\n{"name": "NAME", "arguments": {}}\n```'


def instructions(schemas: Sequence[ToolSchema], choice: str | None) -> str:
    """What the system prompt says of the tools. *choice* as in a `ChatRequest`."""
    lines = [
        "You can call tools. To call one, end your answer with a block like this, with nothing "
        "behind it:",
        _FORMAT,
        "Several blocks call several tools. Their results come in the next message. When you "
        "need no tool, answer without such a block.",
    ]
    if choice == "required":
        lines.append("Call at least one tool now.")
    elif choice not in (None, "auto", "none"):
        lines.append(f"Call the tool {choice} now.")
    lines.append("The tools:")
    for schema in schemas:
        arguments = json.dumps(schema.to_json_schema(), ensure_ascii=False)
        lines.append(f"- {schema.name}: {schema.description}\n  arguments: {arguments}")
    return "\n".join(lines)


def flattened(messages: Sequence[Message]) -> list[Message]:
    """*messages* for such a model: calls are text, their results come from the user."""
    made: list[Message] = []
    names: dict[str | None, str] = {}
    for message in messages:
        if message.role == "tool":
            name = names.get(message.tool_request_id, "the tool")
            told = f"Result of {name}:\n{message.content}"
            if made and made[-1].role == "user":
                made[-1] = replace(made[-1], content=f"{made[-1].content}\n\n{told}")
            else:
                made.append(Message("user", told))
        elif message.tool_requests:
            names.update({request.id: request.name for request in message.tool_requests})
            blocks = [_block(request) for request in message.tool_requests]
            content = "\n".join([message.content, *blocks] if message.content else blocks)
            made.append(replace(message, content=content, tool_requests=()))
        else:
            made.append(message)
    return made


def _block(request: ToolRequest) -> str:
    name = json.dumps(request.name, ensure_ascii=False)
    return f'{_OPEN}\n{{"name": {name}, "arguments": {request.arguments or "{}"}}}\n```'


def understood(response: ChatResponse, known: Sequence[ToolSchema], first_id: int) -> ChatResponse:
    """*response* with the calls its text holds as tool requests, numbered from *first_id*.

    A call whose JSON is broken is a request all the same: the model is then told.
    """
    text = response.content
    found = [(m.group(1) or m.group(2) or "").strip() for m in _BLOCK.finditer(text)]
    names = {schema.name for schema in known}
    if not found and _bare_call(text, names):
        found, rest = [text.strip()], ""
    else:
        rest = _BLOCK.sub("", text).strip()
    if not found:
        return response
    requests = tuple(
        _request(call, f"call_{number}") for number, call in enumerate(found, first_id)
    )
    return replace(response, content=rest, tool_requests=requests, finish_reason="tool_calls")


def _bare_call(text: str, names: set[str]) -> bool:
    """Whether the whole answer is the JSON of a call, as models forget the block around it."""
    if not text.lstrip().startswith("{"):
        return False
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return set(value) == {"name", "arguments"} and value["name"] in names


def _request(text: str, request_id: str) -> ToolRequest:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    call = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    name = call.get("name")
    if not isinstance(name, str):
        written = _NAME.search(text)
        return ToolRequest(request_id, written.group(1) if written else "", text)
    arguments = call.get("arguments", call.get("parameters", {}))
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return ToolRequest(request_id, name, arguments)


class Holding:
    """Lets the text of a stream through, up to where a call may begin.

    `add` gives what may be shown; `rest` what was held back and is no call.
    """

    def __init__(self) -> None:
        self._held = ""
        self._shown = False

    def add(self, text: str) -> str:
        """Take a piece; what of it, and of what was held, is no call."""
        self._held += text
        if not self._shown and self._held.lstrip()[:1] in ("", "{"):
            return ""  # A whole answer in braces may be a call.
        end = self._safe()
        shown, self._held = self._held[:end], self._held[end:]
        self._shown = self._shown or bool(shown)
        return shown

    def _safe(self) -> int:
        """Up to where nothing looks like the beginning of a call."""
        found = [at for at in (self._held.find(_OPEN), self._held.find(_TAG)) if at >= 0]
        if found:
            return min(found)
        for mark in (_OPEN, _TAG):
            for length in range(min(len(mark) - 1, len(self._held)), 0, -1):
                if self._held.endswith(mark[:length]):
                    found.append(len(self._held) - length)
                    break
        return min(found, default=len(self._held))

    def rest(self, *, called: bool) -> str:
        """What was held back to the end, when it is no call."""
        held, self._held = self._held, ""
        return "" if called else held
