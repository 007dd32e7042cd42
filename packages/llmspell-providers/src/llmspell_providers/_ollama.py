"""Ollama's own API: chat, embeddings, the models that are there.

https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import urlsplit

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    EmbeddingRequest,
    EmbeddingResponse,
    LLMSpellError,
    Media,
    Message,
    ModelInfo,
    ProviderError,
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
from llmspell_providers._estimate import prompt_tokens
from llmspell_providers._failures import Complaint
from llmspell_providers._schemas import in_words, wanted_schema
from llmspell_providers._vendor import Asked, VendorProvider, lines

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_providers._http import Reply

_LOG = logging.getLogger("llmspell.providers.ollama")

_PORT = 11434
_LEAST = 8192
"""Ollama's own default may be less, and what does not fit is cut off without a word."""
_ANSWER = 2048
_MARGIN = 1.25
_OUTSIDE = frozenset({"format", "keep_alive", "logprobs", "options", "think", "top_logprobs"})
"""Fields beside ``options``; all other defaults go into it."""


def server_address(text: str) -> str:
    """The forms that ``OLLAMA_HOST`` may have, as a URL: ``host``, ``:port``, ``0.0.0.0`` (an
    address to listen at, reached at this machine's own), with or without a scheme.
    """
    scheme, found, rest = text.strip().rstrip("/").partition("://")
    if not found:
        scheme, rest = "http", scheme
    port = {"https": 443, "http": 80}.get(scheme, _PORT) if found else _PORT
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        host, port = parts.hostname or "127.0.0.1", parts.port or port
    except ValueError as error:
        raise ConfigurationError(
            f"'{text}' is no address of an Ollama server: {error}",
            hint="Write OLLAMA_HOST or base_url as http://localhost:11434.",
        ) from error
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - recognised, not bound
    shown = f"[{host}]" if ":" in host else host
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    path = parts.path.rstrip("/").removesuffix("/v1").removesuffix("/api")
    return f"{scheme}://{user}{shown}:{port}{path}"


def _image(media: Media) -> str:
    if media.kind != "image":
        raise ValidationError(
            f"Ollama takes no media of type '{media.media_type}', only pictures", field="media"
        )
    if media.data is None:
        raise ValidationError(
            "Ollama takes pictures as bytes, not by URL",
            field="media",
            hint="Fetch the picture first, and give its bytes.",
        )
    return media.base64()


def conversation(messages: tuple[Message, ...], model: str) -> list[dict[str, Any]]:
    """The messages as Ollama writes them."""
    made: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for message in messages:
        names |= {request.id: request.name for request in message.tool_requests}
        fields: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.media:
            fields["images"] = [_image(media) for media in message.media]
        if message.tool_requests:
            fields["tool_calls"] = [
                {
                    "id": request.id,
                    "function": {"name": request.name, "arguments": arguments_object(request)},
                }
                for request in message.tool_requests
            ]
        for kept in carried(message.carry, "ollama", model) or ():
            fields |= kept
        if message.role == "tool":
            identity = message.tool_request_id or ""
            fields["tool_call_id"] = identity
            fields["tool_name"] = names.get(identity) or message.name or ""
        made.append(fields)
    return made


class OllamaDraft(Draft):
    """A message: whole, or a line for each piece."""

    def whole(self, value: dict[str, Any]) -> None:
        """The only object."""
        self.event(value)

    def event(self, value: dict[str, Any]) -> ChatChunk | None:
        """One line of several."""
        self.model = text_of(value, "model") or self.model
        message = table(value.get("message") or {}, "'message'")
        text, thinking = text_of(message, "content"), text_of(message, "thinking")
        self.add_text(text)
        self.add_reasoning(thinking)
        for call in tables(message.get("tool_calls"), "'tool_calls'"):
            function = table(call.get("function"), "'function'")
            arguments = function.get("arguments")
            words = arguments if isinstance(arguments, str) else as_json(arguments or {})
            # Neither the model's place for a call nor its id is there in all versions.
            self.calls[len(self.calls)] = Call(
                text_of(call, "id"), text_of(function, "name"), [words]
            )
        if value.get("done"):
            self._end(value)
        return ChatChunk(text, reasoning=thinking) if text or thinking else None

    def _end(self, value: dict[str, Any]) -> None:
        self.complete = True
        self.finish_reason = "length" if value.get("done_reason") == "length" else "stop"
        if "eval_count" in value or "prompt_eval_count" in value:
            self.usage = Usage(
                count(value.get("prompt_eval_count")), count(value.get("eval_count"))
            )
        if self.reasoning and self.calls:
            self.carry = {
                "vendor": "ollama",
                "model": self.request.model,
                "content": [{"thinking": "".join(self.reasoning)}],
            }


class OllamaProvider(VendorProvider):
    """Models that an Ollama server runs, over its own API, where the length of the context can
    be set: it grows with the conversation (8,192 tokens, then twice as many, and so on) up to
    what the model can hold, unless ``context_window`` fixes it. A prompt that will be cut off
    is told by a warning of the logger ``llmspell.providers.ollama`` and an event
    ``provider.prompt_cut`` with ``{provider, model, prompt_tokens, context_tokens}``.

    ``settings.options`` understood, besides those of every provider: ``context_window``,
    ``keep_alive`` (how long the server keeps the model loaded, ``"10m"``, seconds, or -1),
    ``think`` (true, false, or a level). Defaults the API does not know by themselves go into its
    ``options``.

    There is no ``tool_choice``: ``none`` leaves the tools out, a tool's name leaves the others
    out. While there are tools, a schema is told in words, because it would keep the model from
    calling them.
    """

    vendor: ClassVar[str] = "ollama"

    def __init__(self, settings: ProviderSettings, services: Services) -> None:
        super().__init__(settings, services)
        options = settings.options
        for name in ("keep_alive", "think"):
            if name in options:
                self.defaults.setdefault(name, options[name])
        inner: dict[str, Any] = dict(self.defaults.get("options") or {})
        inner |= {key: self.defaults.pop(key) for key in {*self.defaults} - _OUTSIDE}
        self._own_options = inner
        self._lengths: dict[str, int | None] = {}
        self._grown: dict[str, int] = {}

    def address(self, base_url: str) -> str:
        return server_address(base_url)

    def draft(self, request: ChatRequest) -> Draft:
        return OllamaDraft(request)

    def frames(self, reply: Reply) -> AsyncGenerator[str]:
        """A line each."""
        return lines(reply)

    def failure(
        self, status: int, complaint: Complaint, reply: Reply, asked: Asked
    ) -> LLMSpellError:
        """There are no accounts."""
        if status == 404 and asked.model and "not found" in complaint.lower:
            return self.peer.error(
                "model_not_found",
                f"has no model '{asked.model}' (HTTP 404: {complaint.words})",
                status_code=404,
            )
        return super().failure(status, complaint, reply, asked)

    async def _with_nearest(self, error: LLMSpellError, model: str) -> LLMSpellError:
        made = await super()._with_nearest(error, model)
        if isinstance(made, ProviderError) and made.kind == "model_not_found":
            made.hint = f"Fetch it with: ollama pull {model}. {made.hint or ''}".strip()
        return made

    def window(self, model: str) -> int | None:
        """As configured, else the model's own length once a longer prompt made it known."""
        configured = self.settings.options.get("context_window")
        return configured if isinstance(configured, int) else self._lengths.get(model)

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        """One request, one JSON answer."""
        await self._measured(request, context)
        return await super().chat(request, context)

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        """One request, an answer in lines; leaving the iterator closes the connection."""
        await self._measured(request, context)
        flow = cast("AsyncGenerator[ChatChunk]", super().stream(request, context))
        async with aclosing(flow):
            async for chunk in flow:
                yield chunk

    def chat_call(self, request: ChatRequest, *, stream: bool) -> tuple[str, dict[str, Any]]:
        messages = conversation(request.messages, request.model)
        choice = request.tool_choice
        named = choice not in {None, "auto", "none", "required"}
        tools = () if choice == "none" else request.tools
        schema = wanted_schema(request.response_format)
        form: Any = schema
        if (request.response_format or {}).get("type") == "json_object":
            form = "json"
        if form is not None and tools:
            messages.insert(0, {"role": "system", "content": in_words(schema)})
            form = None
        fields = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "num_predict": request.max_tokens,
            "num_ctx": self._context(request),
            "stop": list(request.stop) or None,
        }
        options = {name: value for name, value in fields.items() if value is not None}
        body: dict[str, Any] = {
            "model": request.model,
            "messages": messages,
            "stream": stream,
            "options": {**self._own_options, **options},
        }
        if tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": tool.to_json_schema(),
                    },
                }
                for tool in tools
                if not named or tool.name == choice
            ]
        if form is not None:
            body["format"] = form
        return "/api/chat", self.merged(request, body)

    def _context(self, request: ChatRequest) -> int | None:
        """How many tokens the context is to have; None where the configuration says it."""
        configured = self.settings.options.get("context_window")
        if isinstance(configured, int):
            return configured
        if not self._sized_by_need:
            return None
        model, own = request.model, self._lengths.get(request.model)
        need = int(prompt_tokens(request) * _MARGIN) + (request.max_tokens or _ANSWER)
        size = self._grown.get(model, _LEAST)
        while size < need:
            size *= 2
        # Never less than before: another length makes the server load the model again.
        self._grown[model] = size
        return size if own is None else min(size, own)

    async def _measured(self, request: ChatRequest, context: ExecutionContext) -> None:
        """See whether the prompt fits; how much the model can hold is asked once, and only when
        it matters.
        """
        context.check()
        asked = self.settled(request)
        size = self._context(asked) or count(self._own_options.get("num_ctx"))
        if size > _LEAST and self._sized_by_need and request.model not in self._lengths:
            self._lengths[request.model] = await self._asked_length(request.model, context)
            size = self._context(asked) or size
        need = prompt_tokens(asked)
        if not size or need <= size:
            return
        _LOG.warning(
            "the prompt for %s has about %d tokens, its context only %d: "
            "Ollama will cut off the beginning",
            request.model,
            need,
            size,
        )
        bus = context.services.peek("events")
        if bus is not None and bus.listening:
            told = {
                "provider": self.name,
                "model": request.model,
                "prompt_tokens": need,
                "context_tokens": size,
            }
            bus.publish("provider.prompt_cut", told, context)

    @property
    def _sized_by_need(self) -> bool:
        """Whether the configuration leaves the length to us."""
        fixed = isinstance(self.settings.options.get("context_window"), int)
        return not fixed and "num_ctx" not in self._own_options

    async def _asked_length(self, model: str, context: ExecutionContext) -> int | None:
        asked = Asked(now=context.now)
        try:
            value, _ = await self.fetch("POST", "/api/show", {"model": model}, asked=asked)
        except ProviderError as error:
            # An old server, or a stand-in that has no such path: the chat may work all the same.
            _LOG.debug("no length of %s: %s", model, error)
            return None
        facts = loose(value.get("model_info"))
        kind = facts.get("general.architecture")
        return count(facts.get(f"{kind}.context_length")) or None

    async def embed(
        self, request: EmbeddingRequest, context: ExecutionContext
    ) -> EmbeddingResponse:
        """Vectors for texts, in one request."""
        context.check()
        body: dict[str, Any] = {"model": request.model, "input": list(request.inputs)}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        if "keep_alive" in self.defaults:
            body["keep_alive"] = self.defaults["keep_alive"]
        asked = Asked(request.model, context.now)
        value, reply = await self.fetch("POST", "/api/embed", body, asked=asked)
        rows: Any = value.get("embeddings")
        vectors = self.checked_vectors(
            cast("list[Any]", rows if isinstance(rows, list) else []), len(request.inputs), reply
        )
        told = value.get("prompt_eval_count")
        usage = None if told is None else Usage(count(told))
        return EmbeddingResponse(tuple(vectors), request.model, usage)

    async def models(self) -> list[ModelInfo]:
        """The models the server has, with the lengths that are known so far."""
        value, reply = await self.fetch("GET", "/api/tags")
        rows = self.reading(lambda: tables(value.get("models"), "'models'"), reply)
        names = [str(row.get("model") or row.get("name")) for row in rows]
        return [ModelInfo(name, self._lengths.get(name), owner="ollama") for name in sorted(names)]
