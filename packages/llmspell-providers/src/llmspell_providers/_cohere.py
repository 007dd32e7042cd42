"""Cohere's API, version 2: chat, embeddings, models.

https://docs.cohere.com/reference/chat
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, cast

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    EmbeddingRequest,
    EmbeddingResponse,
    LLMSpellError,
    Media,
    Message,
    ModelInfo,
    Usage,
    ValidationError,
)
from llmspell_providers._draft import (
    Call,
    Draft,
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

_VERSION = re.compile(r"/v[12]$")
_BATCH = 96
_STOPS = 5
_REASONS = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}
_FAILED = {"ERROR": 500, "TIMEOUT": 504}


def _image(media: Media) -> dict[str, Any]:
    if media.kind != "image":
        raise ValidationError(
            f"Cohere takes no media of type '{media.media_type}', only pictures", field="media"
        )
    url = media.url or f"data:{media.media_type};base64,{media.base64()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _message(message: Message, model: str) -> dict[str, Any] | None:
    """A message, or None for one without anything in it."""
    made: dict[str, Any] = {"role": message.role}
    if message.media:
        words = [{"type": "text", "text": message.content}] if message.content else []
        made["content"] = [*words, *(_image(media) for media in message.media)]
    elif message.content or message.role == "tool":
        made["content"] = message.content
    if message.role == "tool":
        made["tool_call_id"] = message.tool_request_id or ""
    if message.tool_requests:
        made["tool_calls"] = [
            {
                "id": request.id,
                "type": "function",
                "function": {"name": request.name, "arguments": request.arguments or "{}"},
            }
            for request in message.tool_requests
        ]
        for kept in carried(message.carry, "cohere", model) or ():
            made |= kept
    return made if len(made) > 1 else None


class CohereDraft(Draft):
    """A message: whole, or growing by events."""

    def __init__(self, request: ChatRequest) -> None:
        super().__init__(request)
        self._plan: list[str] = []

    def whole(self, value: dict[str, Any]) -> None:
        """A message and why it ended."""
        self.id = text_of(value, "id") or None
        message = table(value.get("message"), "'message'")
        self._planned(text_of(message, "tool_plan"))
        for block in tables(message.get("content"), "'content'"):
            self._grown(block)
        for index, call in enumerate(tables(message.get("tool_calls"), "'tool_calls'")):
            self._begin(index, call)
        self._end(value)

    def event(self, value: dict[str, Any]) -> ChatChunk | None:
        """An event of a stream."""
        kind = text_of(value, "type")
        if kind == "message-start":
            self.id = text_of(value, "id") or None
            return None
        delta = table(value.get("delta") or {}, "'delta'")
        if kind == "message-end":
            self._end(delta)
            self.complete = True
            return None
        message = table(delta.get("message") or {}, "'message'")
        if kind in {"content-start", "content-delta"}:
            return self._grown(table(message.get("content") or {}, "'content'"))
        if kind == "tool-plan-delta":
            return self._planned(text_of(message, "tool_plan"))
        if kind in {"tool-call-start", "tool-call-delta"}:
            index = value.get("index")
            calls = table(message.get("tool_calls") or {}, "'tool_calls'")
            self._begin(index if isinstance(index, int) else 0, calls)
        return None

    def _grown(self, block: dict[str, Any]) -> ChatChunk | None:
        return self.add_reasoning(text_of(block, "thinking")) or self.add_text(
            text_of(block, "text")
        )

    def _planned(self, text: str) -> ChatChunk | None:
        """What the model says of the calls it is about to make is its reasoning."""
        self._plan.append(text)
        return self.add_reasoning(text)

    def _begin(self, index: int, value: dict[str, Any]) -> None:
        call = self.calls.setdefault(index, Call())
        call.id = call.id or text_of(value, "id")
        function = table(value.get("function") or {}, "'function'")
        call.name = call.name or text_of(function, "name")
        call.arguments.append(text_of(function, "arguments"))

    def _end(self, fields: dict[str, Any]) -> None:
        self.finish_reason = _REASONS.get(text_of(fields, "finish_reason"), "stop")
        usage = loose(fields.get("usage"))
        numbers = loose(usage.get("tokens")) or loose(usage.get("billed_units"))
        if numbers:
            self.usage = Usage(
                count(numbers.get("input_tokens")),
                count(numbers.get("output_tokens")),
                cached_tokens=count(usage.get("cached_tokens")),
            )
        plan = "".join(self._plan)
        if plan and self.calls:
            self.carry = {
                "vendor": "cohere",
                "model": self.request.model,
                "content": [{"tool_plan": plan}],
            }


class CohereProvider(VendorProvider):
    """Command models over Cohere's API, version 2.

    ``settings.options`` understood, besides those of every provider: ``input_type`` for
    embeddings (default ``search_document``).

    Of more than five stop texts the first five are sent. A tool's name as ``tool_choice`` leaves
    the other tools out. While there are tools, a schema is told in words, because the vendor
    takes only one of the two.
    """

    vendor: ClassVar[str] = "cohere"

    def address(self, base_url: str) -> str:
        """With or without the version."""
        return _VERSION.sub("", base_url.rstrip("/"))

    def draft(self, request: ChatRequest) -> Draft:
        return CohereDraft(request)

    def streamed_status(self, value: dict[str, Any]) -> int | None:
        """An answer that failed on the way says so where it says why it ended."""
        end = loose(value.get("delta")) or value
        reason = str(end.get("finish_reason"))
        if reason in _FAILED:
            value["error"] = end.get("error") or f"it ended with {reason}"
            return _FAILED[reason]
        if "message" in value and not isinstance(value["message"], dict):
            return 500
        return super().streamed_status(value)

    def failure(
        self, status: int, complaint: Complaint, reply: Reply, asked: Asked
    ) -> LLMSpellError:
        """498 is a text on the vendor's list of denied ones; a limit for a month is a quota."""
        if status == 498:
            return self.peer.error(
                "content_filter",
                f"filtered the content (HTTP 498: {complaint.words})",
                status_code=status,
                request_id=request_id_of(reply.headers),
            )
        return super().failure(status, complaint, reply, asked)

    def status_of(self, status: int, complaint: Complaint) -> int:
        """A limit for a month does not pass by waiting; 504 is a wait that was too long."""
        if status == 429 and "/ month" in complaint.words:
            return 402
        return 408 if status == 504 else status

    def chat_call(self, request: ChatRequest, *, stream: bool) -> tuple[str, dict[str, Any]]:
        made = [_message(message, request.model) for message in request.messages]
        messages = [message for message in made if message is not None]
        choice = request.tool_choice
        named = choice not in {None, "auto", "none", "required"}
        tools = [tool for tool in request.tools if not named or tool.name == choice]
        fields = {
            "temperature": request.temperature,
            "p": request.top_p,
            "seed": request.seed,
            "max_tokens": request.max_tokens,
            "stop_sequences": list(request.stop[:_STOPS]) or None,
        }
        body: dict[str, Any] = {
            "model": request.model,
            "messages": messages,
            "stream": stream,
            **{name: value for name, value in fields.items() if value is not None},
        }
        self._put_format(request, body)
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
            ]
            if choice == "none":
                body["tool_choice"] = "NONE"
            elif choice == "required" or named:
                body["tool_choice"] = "REQUIRED"
        return "/v2/chat", self.merged(request, body)

    def _put_format(self, request: ChatRequest, body: dict[str, Any]) -> None:
        if (request.response_format or {}).get("type") not in {"json_object", "json_schema"}:
            return
        schema = wanted_schema(request.response_format)
        if request.tools or schema is None:
            told = {"role": "system", "content": in_words(schema)}
            body["messages"] = [told, *body["messages"]]
        if not request.tools:
            held = {} if schema is None else {"json_schema": schema}
            body["response_format"] = {"type": "json_object", **held}

    async def embed(
        self, request: EmbeddingRequest, context: ExecutionContext
    ) -> EmbeddingResponse:
        """Vectors for texts, ninety-six in a request."""
        context.check()
        vectors: list[tuple[float, ...]] = []
        usage: Usage | None = None
        asked = Asked(request.model, context.now)
        body: dict[str, Any] = {
            "model": request.model,
            "input_type": str(self.settings.options.get("input_type") or "search_document"),
            "embedding_types": ["float"],
        }
        if request.dimensions is not None:
            body["output_dimension"] = request.dimensions
        for start in range(0, len(request.inputs), _BATCH):
            texts = list(request.inputs[start : start + _BATCH])
            value, reply = await self.fetch(
                "POST", "/v2/embed", {**body, "texts": texts}, asked=asked
            )
            kinds = self.reading(
                lambda value=value: table(value.get("embeddings"), "'embeddings'"), reply
            )
            rows = kinds.get("float")
            vectors += self.checked_vectors(
                cast("list[Any]", rows if isinstance(rows, list) else []), len(texts), reply
            )
            more = _billed(value.get("meta"))
            usage = more if usage is None or more is None else usage + more
        return EmbeddingResponse(tuple(vectors), request.model, usage)

    async def models(self) -> list[ModelInfo]:
        """The models there are, with their sizes."""
        found: list[ModelInfo] = []
        token = ""
        for _ in range(50):
            value, reply = await self.fetch("GET", f"/v1/models?page_size=1000{token}")
            rows = self.reading(lambda value=value: tables(value.get("models"), "'models'"), reply)
            found += [
                ModelInfo(
                    str(row["name"]), count(row.get("context_length")) or None, owner="cohere"
                )
                for row in rows
                if row.get("name")
            ]
            following: Any = value.get("next_page_token")
            if not following:
                break
            token = f"&page_token={following}"
        return sorted(found, key=lambda model: model.id)


def _billed(meta: Any) -> Usage | None:
    units = loose(loose(meta).get("billed_units"))
    return Usage(count(units.get("input_tokens"))) if units else None
