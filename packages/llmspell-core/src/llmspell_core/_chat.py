"""The vocabulary of model calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmspell_core._component import ToolSchema
from llmspell_core._values import Media, Usage


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A tool call that a model asks for. `arguments` is the JSON text the model wrote."""

    id: str
    name: str
    arguments: str

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return {"id": self.id, "name": self.name, "arguments": self.arguments}


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `role` is ``system``, ``user``, ``assistant`` or ``tool``.

    An assistant message may hold `tool_requests`; a tool message answers the one whose id is
    `tool_request_id`. `carry` is what the vendor wants back with an assistant message, as
    `ChatResponse.carry` gave it: signed reasoning and the like.
    """

    role: str
    content: str = ""
    tool_requests: tuple[ToolRequest, ...] = ()
    tool_request_id: str | None = None
    name: str | None = None
    media: tuple[Media, ...] = ()
    carry: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields that are set."""
        made: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_requests:
            made["tool_requests"] = [r.to_dict() for r in self.tool_requests]
        if self.tool_request_id is not None:
            made["tool_request_id"] = self.tool_request_id
        if self.name is not None:
            made["name"] = self.name
        if self.media:
            made["media"] = [m.to_dict() for m in self.media]
        if self.carry is not None:
            made["carry"] = self.carry
        return made

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Message:
        """The inverse of `to_dict`; other keys are left alone."""
        return cls(
            values["role"],
            values.get("content") or "",
            tuple(ToolRequest(**request) for request in values.get("tool_requests") or ()),
            values.get("tool_request_id"),
            values.get("name"),
            tuple(Media.from_dict(medium) for medium in values.get("media") or ()),
            values.get("carry"),
        )


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a model is asked. Sampling settings that are None are not sent.

    `tool_choice` is ``auto``, ``none``, ``required`` or the name of a tool. `response_format`
    is ``{"type": "json_object"}`` or ``{"type": "json_schema", "json_schema": {"name", "schema",
    "strict"?}}``; each provider writes it as its vendor wants it. `extra` goes into the
    vendor's request as it is. `timeout_seconds` bounds the whole call;
    `retries` says how often it may be made again after a failure that may pass, None leaves that
    to the provider's configuration.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSchema, ...] = ()
    tool_choice: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    response_format: dict[str, Any] | None = None
    timeout_seconds: float | None = None
    retries: int | None = None
    extra: dict[str, Any] = field(default_factory=dict[str, Any])

    def to_dict(self) -> dict[str, Any]:
        """The canonical request: what identifies the call in the run ledger."""
        made: dict[str, Any] = {
            "model": self.model,
            "messages": [m.to_dict() for m in self.messages],
        }
        if self.tools:
            made["tools"] = [{"name": t.name, "parameters": t.to_json_schema()} for t in self.tools]
        for name in ("tool_choice", "temperature", "max_tokens", "top_p", "seed"):
            value = getattr(self, name)
            if value is not None:
                made[name] = value
        if self.stop:
            made["stop"] = list(self.stop)
        if self.response_format is not None:
            made["response_format"] = self.response_format
        if self.extra:
            made["extra"] = self.extra
        return made


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """What a model answered. `finish_reason`: ``stop, length, tool_calls, content_filter``.

    `reasoning` is what it let be seen of its thinking; `carry` see `Message`. `provider` is the
    name of the provider that answered: another than was asked, when a fallback had to.
    `citations` are the addresses it names as its sources.
    """

    content: str
    model: str
    tool_requests: tuple[ToolRequest, ...] = ()
    finish_reason: str = "stop"
    usage: Usage | None = None
    request_id: str | None = None
    reasoning: str = ""
    carry: dict[str, Any] | None = None
    provider: str | None = None
    citations: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON form, for the run ledger."""
        return {
            "content": self.content,
            "model": self.model,
            "tool_requests": [r.to_dict() for r in self.tool_requests],
            "finish_reason": self.finish_reason,
            "usage": None if self.usage is None else self.usage.to_dict(),
            "request_id": self.request_id,
            "reasoning": self.reasoning,
            "carry": self.carry,
            "provider": self.provider,
            "citations": list(self.citations),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ChatResponse:
        """The inverse of `to_dict`."""
        usage = values["usage"]
        return cls(
            values["content"],
            values["model"],
            tuple(ToolRequest(**r) for r in values["tool_requests"]),
            values["finish_reason"],
            None if usage is None else Usage.from_dict(usage),
            values["request_id"],
            values["reasoning"],
            values["carry"],
            values.get("provider"),
            tuple(values.get("citations") or ()),
        )


@dataclass(frozen=True, slots=True)
class ChatChunk:
    """A piece of a streamed answer: a delta of the text or of the reasoning, or at the end the
    whole `response`.
    """

    text: str = ""
    response: ChatResponse | None = None
    reasoning: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON form, for the run ledger."""
        whole = None if self.response is None else self.response.to_dict()
        return {"text": self.text, "response": whole, "reasoning": self.reasoning}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ChatChunk:
        """The inverse of `to_dict`."""
        whole = values["response"]
        return cls(
            values["text"],
            None if whole is None else ChatResponse.from_dict(whole),
            values["reasoning"],
        )


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts to turn into vectors; `dimensions` asks for shorter ones where the model can."""

    model: str
    inputs: tuple[str, ...]
    dimensions: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The canonical request."""
        return {"model": self.model, "inputs": list(self.inputs), "dimensions": self.dimensions}


@dataclass(frozen=True, slots=True)
class EmbeddingResponse:
    """One vector for each input, in order, as the vendor gave them (not normalised)."""

    vectors: tuple[tuple[float, ...], ...]
    model: str
    usage: Usage | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON form, for the run ledger."""
        return {
            "vectors": [list(v) for v in self.vectors],
            "model": self.model,
            "usage": None if self.usage is None else self.usage.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EmbeddingResponse:
        """The inverse of `to_dict`."""
        usage = values["usage"]
        return cls(
            tuple(tuple(v) for v in values["vectors"]),
            values["model"],
            None if usage is None else Usage.from_dict(usage),
        )
