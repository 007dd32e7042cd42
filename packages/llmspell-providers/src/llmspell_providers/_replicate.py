"""Replicate: predictions that are created, waited for or streamed, and cancelled.

https://replicate.com/docs/reference/http
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import urlsplit

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    LLMSpellError,
    Media,
    Message,
    ModelInfo,
    ProviderSettings,
    Services,
    Usage,
    ValidationError,
)
from llmspell_providers._draft import Draft, as_json, count, loose, tables, text_of
from llmspell_providers._schemas import in_words, wanted_schema
from llmspell_providers._vendor import Asked, VendorProvider, events

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_providers._http import Reply

_LOG = logging.getLogger("llmspell.providers.replicate")

_HELD = 10
"""Seconds a request may be held open until the prediction is there."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_LONGEST_CANCEL = 5.0
_SHORTEST_LIFE = 5
_ENDED = frozenset({"succeeded", "failed", "canceled", "aborted"})
_LISTS = frozenset({"image_input", "images"})
_FILTERED = re.compile(r"nsfw|flagged as sensitive|safety|content polic", re.IGNORECASE)
_VERSION = re.compile(r"^[0-9a-f]{64}$")


def _creation(model: str) -> tuple[str, dict[str, Any]]:
    """Where a prediction of *model* is created: ``owner/name`` (an official model),
    ``owner/name:version`` or a version, ``deployments/owner/name``.
    """
    if model.startswith("deployments/"):
        return f"/v1/{model}/predictions", {}
    name, _, version = model.partition(":")
    if version or _VERSION.match(name):
        return "/v1/predictions", {"version": version or name}
    return f"/v1/models/{name}/predictions", {}


def _address(media: Media) -> str:
    if media.kind != "image":
        raise ValidationError(
            f"Replicate's language models take no media of type '{media.media_type}', "
            "only pictures",
            field="media",
        )
    return media.url or f"data:{media.media_type};base64,{media.base64()}"


_WHO = {"assistant": "Assistant", "tool": "Tool"}


def prompt(messages: tuple[Message, ...]) -> str:
    """The conversation as one text: a question as it is, several turns as a dialogue."""
    said = [m for m in messages if m.role != "system" and m.content.strip()]
    if len(said) == 1 and said[0].role == "user":
        return said[0].content
    turns = [f"{_WHO.get(m.role, 'User')}: {m.content}" for m in said]
    return "\n\n".join([*turns, "Assistant:"])


class ReplicateDraft(Draft):
    """A prediction."""

    def whole(self, value: dict[str, Any]) -> None:
        """A prediction that ended; the text of one that was streamed is there already."""
        self.id = text_of(value, "id") or None
        self.finish_reason = "stop"
        self.complete = True
        if not self.text:
            self.add_text(_text(value.get("output")))
        metrics = loose(value.get("metrics"))
        if "output_token_count" in metrics:
            self.usage = Usage(
                count(metrics.get("input_token_count")), count(metrics.get("output_token_count"))
            )


def _text(output: Any) -> str:
    """What language models put out: texts in pieces, or one; anything else as JSON."""
    if output is None or isinstance(output, str):
        return output or ""
    pieces = cast("list[Any]", output) if isinstance(output, list) else None
    if pieces is not None and all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    return as_json(output)


class ReplicateProvider(VendorProvider):
    """Language models on Replicate. A conversation is sent as one prompt: models there know
    neither tools nor turns.

    ``settings.options`` understood, besides those of every provider: ``image_field`` (default
    ``image``), the model's name for its picture. Other names of a model's inputs go into
    ``defaults``, or into ``input`` of a request's `extra`.

    A prediction whose caller is cancelled, or gives up, is cancelled too; one whose caller died
    ends by itself when the call's time is over.
    """

    vendor: ClassVar[str] = "replicate"

    def __init__(self, settings: ProviderSettings, services: Services) -> None:
        super().__init__(settings, services)
        self.defaults = {"input": self.defaults} if self.defaults else {}
        self._image_field = str(settings.options.get("image_field") or "image")
        self._ending: set[asyncio.Task[None]] = set()

    def address(self, base_url: str) -> str:
        """With or without ``/v1``."""
        return base_url.rstrip("/").removesuffix("/v1")

    def draft(self, request: ChatRequest) -> Draft:
        return ReplicateDraft(request)

    def streamed_status(self, value: dict[str, Any]) -> int | None:
        """A problem has a number for its ``status``; a prediction has a word, and its ``error``
        is read where it is waited for.
        """
        status = value.get("status")
        return status if isinstance(status, int) and status >= 400 else None

    def chat_call(self, request: ChatRequest, *, stream: bool) -> tuple[str, dict[str, Any]]:
        if request.tools:
            raise ValidationError(
                f"{self.peer.label}'s models take no tools: "
                + ", ".join(tool.name for tool in request.tools),
                field="tools",
                hint="Give the tools to an agent of another provider.",
            )
        system = [m.content for m in request.messages if m.role == "system"]
        if (request.response_format or {}).get("type") in {"json_object", "json_schema"}:
            system.append(in_words(wanted_schema(request.response_format)))
        pictures = [_address(media) for m in request.messages for media in m.media]
        fields: dict[str, Any] = {
            "prompt": prompt(request.messages),
            "system_prompt": "\n\n".join(system) or None,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "stop_sequences": ",".join(request.stop) or None,
        }
        if pictures:
            listed = self._image_field in _LISTS or len(pictures) > 1
            fields[self._image_field] = pictures if listed else pictures[0]
        path, body = _creation(request.model)
        body["input"] = {name: value for name, value in fields.items() if value is not None}
        return path, self.merged(request, body)

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        """Create a prediction, and wait until it ended."""
        context.check()
        request = self.settled(request)
        seconds = request.timeout_seconds or self.settings.timeout_seconds
        held = max(1, min(_HELD, int(seconds)))
        try:
            async with asyncio.timeout(seconds):
                prediction, reply = await self._created(
                    request, context, {"prefer": f"wait={held}"}
                )
                identity = self._identity(prediction, reply)
                ended = _has_ended(prediction)
                try:
                    if not ended:
                        prediction, reply = await self._ended(identity, request, context)
                    ended = True
                finally:
                    if not ended:
                        await self._abandoned(identity)
        except TimeoutError:
            raise self.peer.timeout(seconds, "complete its answer") from None
        return self._response(self.draft(request), prediction, reply)

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        """Create a prediction, and read its output while it grows."""
        context.check()
        request = self.settled(request)
        draft = self.draft(request)
        prediction, reply = await self._created(request, context, {})
        identity = self._identity(prediction, reply)
        url = _stream_address(prediction)
        ended = _has_ended(prediction)
        try:
            if url is not None and not ended:
                async with aclosing(self._output(url, request, context)) as output:
                    async for text in output:
                        if chunk := draft.add_text(text):
                            yield chunk
                # The stream tells neither why it ended nor what it took.
                prediction, reply = await self._polled(identity, request, context)
            if not _has_ended(prediction):
                prediction, reply = await self._ended(identity, request, context)
            ended = True
        finally:
            if not ended:
                await self._abandoned(identity)
        streamed = bool(draft.text)
        response = self._response(draft, prediction, reply)
        if not streamed and response.content:
            yield ChatChunk(response.content)
        yield ChatChunk(response=response)

    async def _created(
        self, request: ChatRequest, context: ExecutionContext, headers: dict[str, str]
    ) -> tuple[dict[str, Any], Reply]:
        path, body = self.chat_call(request, stream=not headers)
        if not headers:
            body["stream"] = True
        seconds = request.timeout_seconds or self.settings.timeout_seconds
        life = max(_SHORTEST_LIFE, math.ceil(seconds))
        asked = Asked(request.model, context.now)
        return await self.fetch(
            "POST",
            path,
            body,
            asked=asked,
            seconds=seconds,
            headers={**headers, "cancel-after": f"{life}s"} if headers else None,
        )

    def _identity(self, prediction: dict[str, Any], reply: Reply) -> str:
        identity = self.reading(lambda: text_of(prediction, "id"), reply)
        if not identity:
            raise self.malformed("a prediction without an 'id'", reply)
        return identity

    async def _output(
        self, url: str, request: ChatRequest, context: ExecutionContext
    ) -> AsyncGenerator[str]:
        """The pieces of the output.

        Raises:
            ProviderError: when the model failed, or the stream broke.
        """
        asked = Asked(request.model, context.now)
        waits = self.waits(request.timeout_seconds, stream=True)
        async with self.ask(
            "GET",
            url,
            None,
            waits,
            asked,
            accept="text/event-stream",
            headers={"cache-control": "no-store"},
            keyed=self._trusted(url),
        ) as reply:
            async with aclosing(events(reply)) as flow:
                async for event in flow:
                    if event.name == "output":
                        yield str(event)
                    elif event.name == "error":
                        raise self._failed(_said(event), reply, None)
                    elif event.name == "done":
                        return
            raise self.peer.cut("the stream ended early")

    def _trusted(self, url: str) -> bool:
        """Whether *url*, which the server named, may have the key."""
        host = urlsplit(url).hostname or ""
        if self.at_home:
            return host == "replicate.com" or host.endswith(".replicate.com")
        return host == urlsplit(self.base_url).hostname

    async def _ended(
        self, identity: str, request: ChatRequest, context: ExecutionContext
    ) -> tuple[dict[str, Any], Reply]:
        """Ask for a prediction, with growing pauses, until it ended."""
        pause = _FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            prediction, reply = await self._polled(identity, request, context)
            if _has_ended(prediction):
                return prediction, reply

    async def _polled(
        self, identity: str, request: ChatRequest, context: ExecutionContext
    ) -> tuple[dict[str, Any], Reply]:
        asked = Asked(request.model, context.now)
        return await self.fetch("GET", f"/v1/predictions/{identity}", asked=asked)

    async def _abandoned(self, identity: str) -> None:
        """Cancel the prediction, even while this call is being cancelled itself."""
        task = asyncio.ensure_future(self._cancelled(identity))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        await asyncio.shield(task)

    async def _cancelled(self, identity: str) -> None:
        try:
            await self.fetch(
                "POST", f"/v1/predictions/{identity}/cancel", {}, seconds=_LONGEST_CANCEL
            )
        except LLMSpellError as error:
            _LOG.warning("prediction %s could not be cancelled: %s", identity, error)

    def _response(self, draft: Draft, prediction: dict[str, Any], reply: Reply) -> ChatResponse:
        status = prediction.get("status")
        if status != "succeeded":
            words = str(prediction.get("error") or f"the prediction was {status}")
            raise self._failed(words, reply, str(prediction.get("id") or "") or None)
        self.reading(lambda: draft.whole(prediction), reply)
        return self.finished(draft, reply)

    def _failed(self, words: str, reply: Reply, identity: str | None) -> LLMSpellError:
        if _FILTERED.search(words):
            return self.withheld(words, identity)
        return self.peer.error("server", words[:500], request_id=identity)

    async def models(self) -> list[ModelInfo]:
        """The language models of Replicate's own collection; there are thousands of others."""
        value, reply = await self.fetch("GET", "/v1/collections/language-models")
        rows = self.reading(lambda: tables(value.get("models"), "'models'"), reply)
        names = {f"{row['owner']}/{row['name']}" for row in rows if row.get("name")}
        return [ModelInfo(name, owner=name.partition("/")[0]) for name in sorted(names)]

    async def check(self) -> None:
        """See that the token is accepted."""
        await self.fetch("GET", "/v1/account")

    async def aclose(self) -> None:
        """Finish cancelling, and close the connections."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=_LONGEST_CANCEL)
        await super().aclose()


def _has_ended(prediction: dict[str, Any]) -> bool:
    return str(prediction.get("status")) in _ENDED


def _stream_address(prediction: dict[str, Any]) -> str | None:
    """Where the output can be read while it grows, if the model streams."""
    found = loose(prediction.get("urls")).get("stream")
    return found if isinstance(found, str) and found else None


def _said(data: str) -> str:
    """The words of an error event: a text, or JSON with ``detail``."""
    try:
        value: Any = json.loads(data)
    except ValueError:
        return data
    return str(loose(value).get("detail") or data)
