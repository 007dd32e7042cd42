"""Google's Gemini API: ``generateContent``, embeddings, models.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ConfigurationError,
    EmbeddingRequest,
    EmbeddingResponse,
    LLMSpellError,
    Media,
    Message,
    ModelInfo,
    RateLimitError,
    Usage,
    ValidationError,
)
from llmspell_providers._draft import (
    Call,
    Draft,
    FilteredAnswer,
    MalformedAnswer,
    arguments_object,
    as_json,
    carried,
    count,
    loose,
    table,
    tables,
    text_of,
)
from llmspell_providers._failures import Complaint, request_id_of
from llmspell_providers._schemas import in_words, wanted_schema
from llmspell_providers._vendor import Asked, VendorProvider

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_providers._http import Reply

_VERSION = re.compile(r"/v\d\w*$")
_BATCH = 100
_REASONS = {
    "STOP": "stop",
    "OTHER": "stop",
    "FUNCTION_CALL": "stop",  # not the vendor's, but of servers that play it
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
}
_GARBLED = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
    }
)
_KINDS = frozenset({"image", "audio", "video", "text"})
_OLD = re.compile(r"gemini-(?:pro|1|2)|gemma")
"""Models that cannot both be given tools and be held to a schema, and ask for no signatures."""
_UNSIGNED = "skip_thought_signature_validator"
"""Stands for the signature of a call that another model made.

https://ai.google.dev/gemini-api/docs/thought-signatures
"""
_WAIT = re.compile(r"retry in ([\d.]+)(ms|s)", re.IGNORECASE)


def _media(media: Media) -> dict[str, Any]:
    if media.kind not in _KINDS and media.media_type not in {"application/pdf", "application/json"}:
        raise ValidationError(
            f"Gemini takes no media of type '{media.media_type}'",
            field="media",
            hint="It takes pictures, sound, video, text and PDF.",
        )
    if media.url is None:
        return {"inlineData": {"mimeType": media.media_type, "data": media.base64()}}
    kind = {} if media.media_type.endswith("/*") else {"mimeType": media.media_type}
    return {"fileData": {**kind, "fileUri": media.url}}


def _parts(message: Message) -> list[dict[str, Any]]:
    made = [_media(media) for media in message.media]
    if message.content.strip():
        made.append({"text": message.content})
    return made


class _Calls:
    """The calls of a conversation: the name that belongs to an id, and whether the vendor knows
    the id. Models before Gemini 3 give none.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._unknown: set[str] = set()

    def model_parts(self, message: Message, model: str) -> list[dict[str, Any]]:
        """An answer as it was, if it was this model's; else put together again."""
        self._names |= {request.id: request.name for request in message.tool_requests}
        kept = carried(message.carry, "gemini", model)
        if kept is not None:
            calls = [part["functionCall"] for part in kept if "functionCall" in part]
            names = [call.get("name") for call in calls]
            if names == [request.name for request in message.tool_requests]:
                for call, request in zip(calls, message.tool_requests, strict=True):
                    if not call.get("id"):
                        self._unknown.add(request.id)
                return kept
        made = _parts(message)
        for place, request in enumerate(message.tool_requests):
            fields = {"id": request.id, "name": request.name, "args": arguments_object(request)}
            part: dict[str, Any] = {"functionCall": fields}
            if place == 0 and not _OLD.search(model):
                part["thoughtSignature"] = _UNSIGNED
            made.append(part)
        return made

    def response_parts(self, message: Message) -> list[dict[str, Any]]:
        """The result of a call, and the pictures it brought."""
        identity = message.tool_request_id or ""
        name = self._names.get(identity) or message.name or "unknown"
        fields: dict[str, Any] = {"name": name, "response": {"output": message.content}}
        if identity and identity not in self._unknown:
            fields["id"] = identity
        return [{"functionResponse": fields}, *(_media(media) for media in message.media)]


def conversation(messages: tuple[Message, ...], model: str) -> tuple[str, list[dict[str, Any]]]:
    """The system text and the contents. The results of parallel calls are one content: there
    must be as many as there were calls.
    """
    system: list[str] = []
    contents: list[dict[str, Any]] = []
    calls = _Calls()
    before = ""
    for message in messages:
        if message.role == "system":
            system.append(message.content)
            continue
        if message.role == "assistant":
            parts = calls.model_parts(message, model)
        elif message.role == "tool":
            parts = calls.response_parts(message)
        else:
            parts = _parts(message)
        if not parts:
            continue
        if message.role == before == "tool":
            contents[-1]["parts"] += parts
        else:
            role = "model" if message.role == "assistant" else "user"
            contents.append({"role": role, "parts": list(parts)})
        before = message.role
    for content in contents:
        content["parts"].sort(key=_comes_later)
    return "\n\n".join(text for text in system if text.strip()), contents


def _comes_later(part: dict[str, Any]) -> bool:
    """Pictures that results brought stand behind all results; nothing else is moved."""
    return "functionResponse" not in part


def _tool_config(choice: str) -> dict[str, Any]:
    modes = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
    if choice in modes:
        return {"functionCallingConfig": {"mode": modes[choice]}}
    return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [choice]}}


class GeminiDraft(Draft):
    """Candidates: whole, or in pieces of the same shape."""

    def __init__(self, request: ChatRequest) -> None:
        super().__init__(request)
        self._parts: list[dict[str, Any]] = []

    def whole(self, value: dict[str, Any]) -> None:
        """The only piece."""
        self._take(value)

    def event(self, value: dict[str, Any]) -> ChatChunk | None:
        """One of several pieces."""
        text, reasoning = self._take(value)
        return ChatChunk(text, reasoning=reasoning) if text or reasoning else None

    def _take(self, value: dict[str, Any]) -> tuple[str, str]:
        self.id = text_of(value, "responseId") or self.id
        self.model = text_of(value, "modelVersion") or self.model
        self._count(value.get("usageMetadata"))
        self._blocked(loose(value.get("promptFeedback")))
        candidates = tables(value.get("candidates"), "'candidates'")
        if not candidates:
            return "", ""
        candidate = candidates[0]
        text, reasoning = "", ""
        content = candidate.get("content")
        if content is not None:
            inner = table(content, "'content'")
            for part in tables(inner.get("parts"), "'parts'"):
                more = self._part(part)
                text, reasoning = text + more.text, reasoning + more.reasoning
        self._end(candidate)
        return text, reasoning

    def _part(self, part: dict[str, Any]) -> ChatChunk:
        said = text_of(part, "text")
        thought = bool(part.get("thought"))
        last = self._parts[-1] if self._parts else {}
        if (
            set(part) <= {"text", "thought"}
            and set(last) <= {"text", "thought"}
            and last
            and bool(last.get("thought")) == thought
        ):
            last["text"] = last.get("text", "") + said
        else:
            self._parts.append(dict(part))
        call = part.get("functionCall")
        if call is not None:
            fields = table(call, "'functionCall'")
            arguments = [as_json(fields.get("args") or {})]
            name = text_of(fields, "name")
            self.calls[len(self.calls)] = Call(text_of(fields, "id"), name, arguments)
        added = self.add_reasoning(said) if thought else self.add_text(said)
        return added or ChatChunk()

    def _blocked(self, feedback: dict[str, Any]) -> None:
        reason = text_of(feedback, "blockReason")
        if reason:
            about = ", ".join(_categories(feedback.get("safetyRatings")))
            raise FilteredAnswer(f"the prompt was blocked: {reason}{f' ({about})' * bool(about)}")

    def _end(self, candidate: dict[str, Any]) -> None:
        reason = text_of(candidate, "finishReason")
        if not reason:
            return
        words = text_of(candidate, "finishMessage") or reason
        if reason in _GARBLED:
            raise MalformedAnswer(f"{reason}: {words}" if words != reason else reason)
        self.finish_reason = _REASONS.get(reason, "content_filter")
        if self.finish_reason == "content_filter":
            about = ", ".join(_categories(candidate.get("safetyRatings")))
            self.filtered = f"{words}{f' ({about})' * bool(about)}"
        if any(part.keys() & {"functionCall", "thoughtSignature"} for part in self._parts):
            self.carry = {
                "vendor": "gemini",
                "model": self.request.model,
                "content": [p for p in self._parts if p.get("text") != "" or len(p) > 1],
            }

    def _count(self, value: Any) -> None:
        """What was read from the cache is part of ``promptTokenCount``; thoughts are not part of
        ``candidatesTokenCount``.
        """
        fields = loose(value)
        if not fields:
            return
        thoughts = count(fields.get("thoughtsTokenCount"))
        self.usage = Usage(
            count(fields.get("promptTokenCount")) + count(fields.get("toolUsePromptTokenCount")),
            count(fields.get("candidatesTokenCount")) + thoughts,
            cached_tokens=count(fields.get("cachedContentTokenCount")),
            reasoning_tokens=thoughts,
        )


def _categories(ratings: Any) -> Iterator[str]:
    """The categories that a content was blocked for."""
    for rating in cast("list[Any]", ratings if isinstance(ratings, list) else []):
        fields = loose(rating)
        if fields.get("blocked") or fields.get("probability") == "HIGH":
            yield str(fields.get("category", "")).removeprefix("HARM_CATEGORY_").lower()


class GeminiProvider(VendorProvider):
    """Gemini models over the Gemini API. The key travels in a header, never in the URL.

    ``settings.options`` understood, besides those of every provider: ``safety``, a table of
    category to threshold (``harassment = "BLOCK_ONLY_HIGH"``); ``task_type`` for embeddings
    (``RETRIEVAL_DOCUMENT``).

    Models before Gemini 3 cannot be held to a schema while they are given tools: they are told
    it in words.
    """

    vendor: ClassVar[str] = "gemini"
    key_header: ClassVar[str] = "x-goog-api-key"
    key_prefix: ClassVar[str] = ""

    def address(self, base_url: str) -> str:
        """With or without the version."""
        plain = base_url.rstrip("/")
        return plain if _VERSION.search(plain) else f"{plain}/v1beta"

    def draft(self, request: ChatRequest) -> Draft:
        return GeminiDraft(request)

    def streamed_status(self, value: dict[str, Any]) -> int | None:
        """``{error: {code, message, status}}``."""
        error: Any = value.get("error")
        if not error:
            return None
        code = loose(error).get("code")
        return code if isinstance(code, int) and 400 <= code < 600 else 500

    def status_of(self, status: int, complaint: Complaint) -> int:
        """A wrong key is answered with 400, a deadline that passed with 504."""
        if status == 400 and "api key" in complaint.lower:
            return 401
        return 408 if status == 504 else status

    def failure(
        self, status: int, complaint: Complaint, reply: Reply, asked: Asked
    ) -> LLMSpellError:
        """Every limit is called a quota; one that passes says when."""
        found = _WAIT.search(complaint.words) if status == 429 else None
        if found is None:
            return super().failure(status, complaint, reply, asked)
        return RateLimitError(
            self.peer.redact(f"{self.peer.label} asks to slow down (HTTP 429: {complaint.words})"),
            provider=self.name,
            retry_after=float(found[1]) / (1000 if found[2].lower() == "ms" else 1),
            details={"status_code": status, "request_id": request_id_of(reply.headers)},
        )

    def chat_call(self, request: ChatRequest, *, stream: bool) -> tuple[str, dict[str, Any]]:
        system, contents = conversation(request.messages, request.model)
        if not contents:
            raise ValidationError(
                "Gemini wants a message with a text in it, besides the system prompt",
                field="input",
            )
        config = self._generation(request)
        if config.get("responseMimeType") and request.tools and _OLD.search(request.model):
            system = f"{system}\n\n{in_words(wanted_schema(request.response_format))}".strip()
            del config["responseMimeType"]
            config.pop("responseJsonSchema", None)
        body: dict[str, Any] = {"contents": contents}
        if system:
            body["systemInstruction"] = {"parts": [{"text": system}]}
        if request.tools:
            body["tools"] = [{"functionDeclarations": [_declared(tool) for tool in request.tools]}]
            if request.tool_choice is not None:
                body["toolConfig"] = _tool_config(request.tool_choice)
        if config:
            body["generationConfig"] = config
        if safety := self._safety():
            body["safetySettings"] = safety
        what = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/{_resource(request.model)}:{what}", self.merged(request, body)

    def _generation(self, request: ChatRequest) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "temperature": request.temperature,
            "topP": request.top_p,
            "seed": request.seed,
            "maxOutputTokens": request.max_tokens,
            "stopSequences": list(request.stop) or None,
        }
        made = {name: value for name, value in fields.items() if value is not None}
        if (request.response_format or {}).get("type") in {"json_object", "json_schema"}:
            made["responseMimeType"] = "application/json"
        schema = wanted_schema(request.response_format)
        if schema is not None:
            made["responseJsonSchema"] = schema
        return made

    def _safety(self) -> list[dict[str, str]]:
        made: list[dict[str, str]] = []
        for name, threshold in self.table_option("safety").items():
            if not isinstance(threshold, str):
                raise ConfigurationError(
                    f"'providers.{self.name}.safety.{name}' must be text, "
                    f"not {type(threshold).__name__}",
                    hint='Write it as: harassment = "BLOCK_ONLY_HIGH"',
                )
            category = f"HARM_CATEGORY_{name.upper().removeprefix('HARM_CATEGORY_')}"
            made.append({"category": category, "threshold": threshold.upper()})
        return made

    async def embed(
        self, request: EmbeddingRequest, context: ExecutionContext
    ) -> EmbeddingResponse:
        """Vectors for texts, a hundred in a request."""
        context.check()
        vectors: list[tuple[float, ...]] = []
        usage: Usage | None = None
        path = f"/{_resource(request.model)}:batchEmbedContents"
        one: dict[str, Any] = {"model": _resource(request.model)}
        if request.dimensions is not None:
            one["outputDimensionality"] = request.dimensions
        if task := self.settings.options.get("task_type"):
            one["taskType"] = task
        asked = Asked(request.model, context.now)
        for start in range(0, len(request.inputs), _BATCH):
            texts = request.inputs[start : start + _BATCH]
            rows = [{**one, "content": {"parts": [{"text": text}]}} for text in texts]
            value, reply = await self.fetch("POST", path, {"requests": rows}, asked=asked)
            vectors += self.vectors(value, len(texts), reply)
            if told := loose(value.get("usageMetadata")):
                more = Usage(count(told.get("promptTokenCount")))
                usage = more if usage is None else usage + more
        return EmbeddingResponse(tuple(vectors), request.model, usage)

    def vectors(self, value: dict[str, Any], wanted: int, reply: Reply) -> list[tuple[float, ...]]:
        """The vectors of one answer."""

        def read() -> list[Any]:
            return [row.get("values") for row in tables(value.get("embeddings"), "'embeddings'")]

        return self.checked_vectors(self.reading(read, reply), wanted, reply)

    async def models(self) -> list[ModelInfo]:
        """The models there are, with their sizes."""
        found: list[ModelInfo] = []
        token = ""
        for _ in range(50):
            value, reply = await self.fetch("GET", f"/models?pageSize=1000{token}")
            rows = self.reading(lambda value=value: tables(value.get("models"), "'models'"), reply)
            found += [_model(row) for row in rows if row.get("name")]
            following: Any = value.get("nextPageToken")
            if not following:
                break
            token = f"&pageToken={following}"
        return sorted(found, key=lambda model: model.id)


def _resource(model: str) -> str:
    return model if "/" in model else f"models/{model}"


def _declared(tool: Any) -> Mapping[str, Any]:
    made: dict[str, Any] = {"name": tool.name, "description": tool.description}
    schema: dict[str, Any] = tool.to_json_schema()
    if schema.get("properties"):
        made["parametersJsonSchema"] = schema
    return made


def _model(row: dict[str, Any]) -> ModelInfo:
    return ModelInfo(
        str(row["name"]).removeprefix("models/"),
        count(row.get("inputTokenLimit")) or None,
        count(row.get("outputTokenLimit")) or None,
        "google",
    )
