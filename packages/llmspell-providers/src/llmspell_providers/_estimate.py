"""What a request will take, guessed before anybody has counted it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from llmspell_core import ChatRequest, EmbeddingRequest, Media, Message

USUAL_ANSWER = 4096
"""Tokens an answer may take when nobody says how long it may be."""


def thinking_tokens(fields: Mapping[str, Any]) -> int:
    """What the fields of a request allow the model to think beside its answer, as Anthropic
    writes it: ``thinking.budget_tokens``.
    """
    thinking = fields.get("thinking")
    if not isinstance(thinking, Mapping):
        return 0
    tokens = cast("Mapping[str, Any]", thinking).get("budget_tokens")
    return tokens if isinstance(tokens, int) and tokens > 0 else 0


_PER_MESSAGE = 4
_PER_IMAGE = 1500
_PER_FILE = 3000


def prompt_tokens(request: ChatRequest | EmbeddingRequest) -> int:
    """About how many tokens *request* sends: four bytes a token, a few for each message, the
    usual size of an image. Never for bills.
    """
    if isinstance(request, EmbeddingRequest):
        return sum(_text(text) for text in request.inputs)
    tools = json.dumps([tool.to_json_schema() for tool in request.tools]) if request.tools else ""
    described = "".join(tool.name + tool.description for tool in request.tools)
    return sum(_message(m) for m in request.messages) + _text(tools) + _text(described)


def _message(message: Message) -> int:
    asked = sum(_text(r.name) + _text(r.arguments) for r in message.tool_requests)
    media = sum(_media(medium) for medium in message.media)
    return _PER_MESSAGE + _text(message.content) + asked + media


def _text(text: str) -> int:
    return (len(text.encode("utf-8", "replace")) + 3) // 4


def _media(medium: Media) -> int:
    if medium.kind == "image":
        return _PER_IMAGE
    if medium.kind == "text" and medium.data is not None:
        return (len(medium.data) + 3) // 4
    return _PER_FILE
