"""OpenAI, and every server that speaks one of its protocols."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from llmspell_core import (
    ChatRequest,
    ConfigurationError,
    EmbeddingRequest,
    EmbeddingResponse,
    ModelInfo,
    ProviderError,
    ProviderSettings,
    Services,
    Usage,
    ValidationError,
)
from llmspell_providers import _responses
from llmspell_providers._catalogue import VENDORS, canonical
from llmspell_providers._completions import NEW_LIMIT, Body, ChatDraft
from llmspell_providers._dialects import dialect_of
from llmspell_providers._draft import Draft, MalformedAnswer, count, tables
from llmspell_providers._http import Reply
from llmspell_providers._vendor import Asked, VendorProvider

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext

_LOG = logging.getLogger("llmspell.providers.openai")

RESPONSES = "responses/"
"""A model's name that begins so is asked over the Responses API."""

_FIXED = re.compile(r"^(o\d|gpt-5(?![.\d]|-chat))")
"""Models that refuse every ``temperature`` and ``top_p`` but the usual."""

_STATUSES = {
    "insufficient_quota": 429,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
    "invalid_request_error": 400,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "model_not_found": 404,
    "server_is_overloaded": 503,
    "overloaded_error": 503,
}


class OpenAIProvider(VendorProvider):
    """Chat Completions, Responses, Embeddings and Models, at OpenAI, at a vendor of the table in
    `_dialects` (``provider_type``), or at any other base URL.

    ``settings.options`` understood, besides those of every provider: ``api`` (``chat``, the
    default, or ``responses``; a model whose name begins with ``responses/`` is asked over the
    Responses API too), ``organization`` (or ``organization_id``) and ``project``.
    """

    vendor: ClassVar[str] = "openai"

    def __init__(self, settings: ProviderSettings, services: Services) -> None:
        kind = canonical(settings.provider_type)
        super().__init__(settings, services, vendor=kind if kind in VENDORS else "custom")
        self.dialect = dialect_of(kind)
        api = settings.options.get("api", "chat")
        if api not in {"chat", "responses"}:
            raise ConfigurationError(
                f"'providers.{self.name}.api' is {api!r}; it may be 'chat' or 'responses'"
            )
        if api == "responses" and not self.dialect.responses:
            raise ConfigurationError(f"'{self.name}' has no Responses API; leave out 'api'")
        self._responses = api == "responses"
        self._told: set[str] = set()

    def address(self, base_url: str) -> str:
        """Servers of one's own are often named without the path."""
        bare = base_url.rstrip("/")
        local = VENDORS[self.kind].category == "local"
        return f"{bare}/v1" if local and bare.count("/") == 2 else bare

    def header_fields(self) -> dict[str, str]:
        options = self.settings.options
        organization = options.get("organization") or options.get("organization_id")
        named = {"openai-organization": organization, "openai-project": options.get("project")}
        return {name: str(value) for name, value in named.items() if value is not None}

    def url_of(self, what: str, model: str) -> str:
        """The path of ``chat/completions``, ``responses``, ``embeddings`` or ``models``."""
        return f"/{what}"

    def deployed(self, model: str) -> str:
        """What the vendor calls a chat *model*."""
        return model

    def _by_responses(self, model: str) -> bool:
        return self._responses or (model.startswith(RESPONSES) and self.dialect.responses)

    def draft(self, request: ChatRequest) -> Draft:
        if self._by_responses(request.model):
            return _responses.ResponsesDraft(request, self.kind)
        return ChatDraft(request, self.dialect, self.kind)

    def chat_call(self, request: ChatRequest, *, stream: bool) -> tuple[str, dict[str, Any]]:
        if self._by_responses(request.model):
            return self._responses_call(request, stream=stream)
        body = Body(request, self.dialect, self.kind).fields()
        made = self.merged(request, body)
        made["model"] = model = self.deployed(request.model)
        if self.dialect.new_limit and NEW_LIMIT.match(request.model):
            limit = "max_completion_tokens"
        else:
            limit = self.dialect.limit
        if "max_tokens" in made and limit != "max_tokens":
            made.setdefault(limit, made["max_tokens"])
            del made["max_tokens"]
        self._drop_sampling(request.model, made)
        if stream:
            made["stream"] = True
            if self.dialect.streams_usage:
                made.setdefault("stream_options", {"include_usage": True})
        return self.url_of("chat/completions", model), made

    def _responses_call(self, request: ChatRequest, *, stream: bool) -> tuple[str, dict[str, Any]]:
        model = self.deployed(request.model.removeprefix(RESPONSES))
        body = _responses.fields(request, self.kind)
        made = _responses.translated(self.merged(request, body), model, self._told)
        self._drop_sampling(model, made)
        if stream:
            made["stream"] = True
        return self.url_of("responses", model), made

    def _drop_sampling(self, model: str, body: dict[str, Any]) -> None:
        refused = [name for name in ("temperature", "top_p") if body.get(name) not in (None, 1)]
        if not refused or not self.dialect.new_limit or not _FIXED.match(model):
            return
        for name in refused:
            del body[name]
        if model not in self._told:
            self._told.add(model)
            _LOG.warning("%s refuses %s: asked without", model, " and ".join(refused))

    def decoded(self, body: bytes | str, reply: Reply, asked: Asked) -> dict[str, Any]:
        if not asked.model and isinstance(body, bytes) and body.lstrip()[:1] == b"[":
            # Together lists its models without anything around the list.
            body = b'{"data": ' + body + b"}"
        return super().decoded(body, reply, asked)

    def streamed_status(self, value: dict[str, Any]) -> int | None:
        """An error stands at the top, in a failed response, in a choice, or in ``x_groq``."""
        error: Any = value.get("error")
        if not error and "error" in (value.get("type"), value.get("object")):
            error = dict(value)
        for key in ("response", "x_groq"):
            inner: Any = value.get(key)
            if not error and isinstance(inner, dict):
                error = cast("dict[str, Any]", inner).get("error")
        choices: Any = value.get("choices")
        if not error and isinstance(choices, list) and choices and isinstance(choices[0], dict):
            error = cast("dict[str, Any]", choices[0]).get("error")
        if not error:
            return None
        # Where the complaint is looked for.
        value["error"] = error
        if not isinstance(error, dict):
            return 500
        told = cast("dict[str, Any]", error)
        for key in ("code", "type"):
            code = told.get(key)
            if isinstance(code, int) and 400 <= code < 600:
                return code
            if code in _STATUSES:
                return _STATUSES[code]
        return 500

    async def embed(
        self, request: EmbeddingRequest, context: ExecutionContext
    ) -> EmbeddingResponse:
        """As many requests as the vendor needs for all the texts."""
        context.check()
        if not self.dialect.embeddings:
            return await super().embed(request, context)
        if any(not text for text in request.inputs):
            raise ValidationError("an empty text cannot be embedded", field="inputs")
        if request.dimensions is not None and self.dialect.dimensions is None:
            raise ValidationError(
                f"{self.peer.label} cannot shorten its vectors", field="dimensions"
            )
        vectors: list[tuple[float, ...]] = []
        usage: Usage | None = Usage(cost=None)
        model = request.model
        for start in range(0, len(request.inputs), self.dialect.batch):
            texts = request.inputs[start : start + self.dialect.batch]
            body: dict[str, Any] = {"model": request.model, "input": list(texts)}
            if request.dimensions is not None and self.dialect.dimensions is not None:
                body[self.dialect.dimensions] = request.dimensions
            asked = Asked(request.model, context.now)
            path = self.url_of("embeddings", request.model)
            value, reply = await self.fetch("POST", path, body, asked=asked)
            read = partial(_vectors, value, len(texts))
            vectors += self.reading(read, reply)
            model = str(value.get("model") or model)
            told: Any = value.get("usage")
            fields = cast("dict[str, Any]", told) if isinstance(told, dict) else None
            if usage is None or fields is None:
                usage = None
            else:
                usage += Usage(count(fields.get("prompt_tokens")))
        return EmbeddingResponse(tuple(vectors), model, usage if request.inputs else None)

    async def models(self) -> list[ModelInfo]:
        """The models of the account, with their sizes where the vendor tells them."""
        if self.dialect.models is None:
            return await super().models()
        value, reply = await self.fetch("GET", self.url_of(self.dialect.models[1:], ""))
        rows = self.reading(lambda: tables(value.get("data"), "'data'"), reply)
        return sorted((_model(row) for row in rows if row.get("id")), key=lambda model: model.id)

    async def check(self) -> None:
        """Lists the models; where there is no list that needs the key, asks what does and costs
        nothing.
        """
        if self.dialect.checked is not None:
            await self.fetch("GET", self.dialect.checked)
        elif self.dialect.models is not None:
            await self.models()
        else:
            await self._refused_check()

    async def _refused_check(self) -> None:
        """A request that can only be refused: of interest is whether for its key or its body."""
        body: dict[str, Any] = {"model": self.settings.default_model or "none", "messages": []}
        try:
            await self.fetch("POST", self.url_of("chat/completions", ""), body)
        except ProviderError as error:
            if error.kind not in {"invalid_request", "model_not_found"}:
                raise


def _vectors(value: dict[str, Any], wanted: int) -> list[tuple[float, ...]]:
    rows = tables(value.get("data"), "'data'")
    rows.sort(key=lambda row: row["index"] if isinstance(row.get("index"), int) else 0)
    made = [tuple(cast("list[float]", row.get("embedding") or ())) for row in rows]
    if len(made) != wanted or not all(made):
        raise MalformedAnswer(f"{len([v for v in made if v])} vectors for {wanted} texts")
    if not all(isinstance(number, int | float) for v in made for number in cast("Any", v)):
        raise MalformedAnswer("a vector has something that is no number")
    return made


_SIZES = ("context_length", "context_window", "max_context_length", "max_model_len")


def _model(row: dict[str, Any]) -> ModelInfo:
    """A row of the list: the vendors have different words for the size."""
    inner: Any = row.get("top_provider") or {}
    provider = cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}
    meta: Any = row.get("meta") or {}
    sizes = [row.get(name) for name in _SIZES]
    if isinstance(meta, dict):
        sizes.append(cast("dict[str, Any]", meta).get("n_ctx_train"))
    output = row.get("max_completion_tokens") or provider.get("max_completion_tokens")
    owner = row.get("owned_by") or row.get("organization")
    created = row.get("created")
    return ModelInfo(
        str(row["id"]),
        next((count(size) for size in sizes if count(size)), None),
        count(output) or None,
        owner if isinstance(owner, str) else None,
        float(created) if isinstance(created, int | float) and created > 0 else None,
    )
