"""The vocabulary of model calls, and the base of model providers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from llmspell_core._component import ToolSchema
from llmspell_core._errors import ProviderError
from llmspell_core._values import Usage

if TYPE_CHECKING:
    from llmspell_core._context import ExecutionContext
    from llmspell_core._services import Services


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
    `tool_request_id`.
    """

    role: str
    content: str = ""
    tool_requests: tuple[ToolRequest, ...] = ()
    tool_request_id: str | None = None
    name: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields that are set."""
        made: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_requests:
            made["tool_requests"] = [r.to_dict() for r in self.tool_requests]
        if self.tool_request_id is not None:
            made["tool_request_id"] = self.tool_request_id
        if self.name is not None:
            made["name"] = self.name
        return made


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a model is asked. Sampling settings that are None are not sent.

    `extra` goes to the provider as it is.
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
    """What a model answered. `finish_reason`: ``stop, length, tool_calls, content_filter``."""

    content: str
    model: str
    tool_requests: tuple[ToolRequest, ...] = ()
    finish_reason: str = "stop"
    usage: Usage | None = None
    request_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON form, for the run ledger."""
        return {
            "content": self.content,
            "model": self.model,
            "tool_requests": [r.to_dict() for r in self.tool_requests],
            "finish_reason": self.finish_reason,
            "usage": None if self.usage is None else self.usage.to_dict(),
            "request_id": self.request_id,
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
        )


@dataclass(frozen=True, slots=True)
class ChatChunk:
    """A piece of a streamed answer: a text delta, or at the end the whole `response`."""

    text: str = ""
    response: ChatResponse | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON form, for the run ledger."""
        whole = None if self.response is None else self.response.to_dict()
        return {"text": self.text, "response": whole}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ChatChunk:
        """The inverse of `to_dict`."""
        whole = values["response"]
        return cls(values["text"], None if whole is None else ChatResponse.from_dict(whole))


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """A provider as scripts and commands list it. `available`: enabled, and its key is known."""

    name: str
    provider_type: str
    enabled: bool = True
    available: bool = True
    default_model: str | None = None
    base_url: str | None = None
    supports_streaming: bool = True
    supports_multimodal: bool = False
    supports_tools: bool = True
    max_context_tokens: int | None = None
    max_output_tokens: int | None = None
    models: tuple[str, ...] = ()


class Provider(ABC):
    """A model back end, configured: knows its URL and key, keeps its connections.

    Subclasses write `stream`; `chat` collects it, unless the back end has a better way.
    """

    name: str

    @abstractmethod
    def stream(self, request: ChatRequest, context: ExecutionContext) -> AsyncIterator[ChatChunk]:
        """Ask, and yield text deltas as they arrive, then one chunk with the whole response.

        Raises:
            ProviderError, NetworkError, RateLimitError, LLMTimeoutError, ConfigurationError:
                never an answer that only looks like one.
        """

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        """Ask and wait for the whole answer. Raises as `stream`."""
        async for chunk in self.stream(request, context):
            if chunk.response is not None:
                return chunk.response
        raise ProviderError(
            f"{self.name} ended its answer without completing it",
            provider=self.name,
            kind="protocol",
        )

    async def models(self) -> list[str]:
        """The models it offers, sorted."""
        raise ProviderError(
            f"{self.name} cannot list its models", provider=self.name, kind="unsupported"
        )

    async def aclose(self) -> None:
        """Close its connections."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """What a provider is built from. `options` are the keys nobody else understood."""

    name: str
    provider_type: str
    base_url: str | None = None
    api_key: str | None = None
    default_model: str | None = None
    timeout_seconds: float = 30.0
    max_retries: int = 3
    headers: dict[str, str] = field(default_factory=dict[str, str])
    options: dict[str, Any] = field(default_factory=dict[str, Any])


class ProviderFactory(Protocol):
    """What the entry-point group ``llmspell.providers`` holds."""

    def __call__(self, settings: ProviderSettings, services: Services) -> Provider:
        """Make the provider; no I/O."""
        ...
