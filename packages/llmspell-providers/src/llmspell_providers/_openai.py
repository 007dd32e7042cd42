"""The OpenAI Chat Completions provider, and every server that speaks its protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    LLMSpellError,
    Provider,
    ProviderSettings,
)
from llmspell_providers._catalogue import VENDORS
from llmspell_providers._failures import (
    Peer,
    address_password,
    complaint_of,
    http_failure,
    missing_key,
    read_complaint,
    shown_address,
)
from llmspell_providers._http import HttpClient, Reply, Waits
from llmspell_providers._sse import SseParser
from llmspell_providers._wire import Answer, FilteredAnswer, MalformedAnswer, request_body

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services

_LONGEST_CONNECT = 10.0
_LONGEST_DRAIN = 0.2


class OpenAIProvider(Provider):
    """Chat Completions over HTTP, at OpenAI or at any other base URL.

    The vendor's own address needs an API key; without one a call fails at once and nothing is
    sent. Any other address is asked without a key when there is none.

    ``settings.options`` understood: ``organization`` (or ``organization_id``), ``auth_header``
    and ``auth_prefix`` (default ``Authorization: Bearer KEY``), ``defaults`` (fields for every
    request), ``api_key_env`` (named when the key is missing).

    Waits: a connection, at most ten seconds; the whole of `chat`, and in `stream` each silence,
    ``settings.timeout_seconds``; the request's own ``timeout_seconds`` bounds all of either.
    """

    def __init__(self, settings: ProviderSettings, services: Services) -> None:
        self.name = settings.name
        self._settings = settings
        vendor = VENDORS["openai"]
        self._base_url = (settings.base_url or cast("str", vendor.base_url)).rstrip("/")
        self._at_vendor = self._base_url == vendor.base_url
        key = (settings.api_key or "").strip() or None
        self._key = key
        services.secrets.add(key)
        label = vendor.label if settings.name == "openai" else settings.name
        services.secrets.add(address_password(self._base_url))
        address = shown_address(self._base_url) or ""
        self._peer = Peer(self.name, label, address, services.secrets.redact)
        self._client = HttpClient(self._peer)
        self._defaults = _table(settings, "defaults")

    def _headers(self, *, stream: bool) -> dict[str, str]:
        made = {
            "content-type": "application/json",
            "accept": "text/event-stream" if stream else "application/json",
            **{name.lower(): value for name, value in self._settings.headers.items()},
        }
        options = self._settings.options
        organization = options.get("organization") or options.get("organization_id")
        if organization is not None:
            made["openai-organization"] = str(organization)
        if self._key is not None:
            header = str(options.get("auth_header") or "authorization").lower()
            prefix = str(options.get("auth_prefix", "Bearer")).strip()
            made[header] = f"{prefix} {self._key}" if prefix else self._key
        for name, value in made.items():
            if not value.isascii() or not value.isprintable():
                # httpx would quote the value, which may be the key.
                raise ConfigurationError(
                    f"the header '{name}' for provider '{self.name}' has characters that "
                    "HTTP does not allow",
                    hint="Was the API key copied with a line break or a special character?",
                )
        return made

    def _check_key(self) -> None:
        if (
            self._key is None
            and self._at_vendor
            and "authorization" not in {name.lower() for name in self._settings.headers}
        ):
            wanted = self._settings.options.get("api_key_env")
            raise missing_key(
                self._peer, VENDORS["openai"].key_variable, None if wanted is None else str(wanted)
            )

    def _waits(self, request: ChatRequest, *, stream: bool) -> Waits:
        usual, asked = self._settings.timeout_seconds, request.timeout_seconds
        if stream:
            return Waits(min(usual, _LONGEST_CONNECT), usual, asked)
        whole = usual if asked is None else asked
        return Waits(min(whole, _LONGEST_CONNECT), whole, whole)

    @asynccontextmanager
    async def _ask(
        self, request: ChatRequest, context: ExecutionContext, *, stream: bool
    ) -> AsyncGenerator[Reply]:
        """The reply of the server, if its status says that it is an answer."""
        context.check()
        self._check_key()
        body = request_body(request, self._defaults, stream=stream, vendor=self._at_vendor)
        text = json.dumps(body, ensure_ascii=False, default=str)
        url = f"{self._base_url}/chat/completions"
        headers = self._headers(stream=stream)
        content = text.encode("utf-8", "replace")
        waits = self._waits(request, stream=stream)
        async with self._client.send("POST", url, content, headers, waits) as reply:
            if not 200 <= reply.status < 300:
                raise http_failure(
                    self._peer,
                    reply.status,
                    reply.headers,
                    read_complaint(await reply.body()),
                    model=request.model,
                    now=context.now,
                )
            yield reply

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        """One request, one JSON answer."""
        async with self._ask(request, context, stream=False) as reply:
            return self._whole(request, context, reply, await reply.body())

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        """One request, server-sent events; leaving the iterator closes the connection."""
        async with self._ask(request, context, stream=True) as reply:
            if reply.content_type in {"application/json", "text/html"}:
                # A server that cannot stream, or a proxy's web page: one whole body either way.
                response = self._whole(request, context, reply, await reply.body())
                if response.content:
                    yield ChatChunk(response.content)
                yield ChatChunk(response=response)
                return
            answer = Answer(request)
            complete = False
            async with aclosing(_events(reply)) as events:
                async for data in events:
                    if data.strip() == "[DONE]":
                        complete = True
                        break
                    text = self._delta(request, context, reply, answer, data)
                    if text:
                        yield ChatChunk(text)
                if not complete and answer.finish_reason is None:
                    raise self._peer.cut("the stream ended early", _request_id(reply))
                yield ChatChunk(response=self._finished(answer, reply))
                if complete:
                    await _drain(events)

    def _whole(
        self, request: ChatRequest, context: ExecutionContext, reply: Reply, body: bytes
    ) -> ChatResponse:
        if body.lstrip()[:1] == b"<":
            raise self._peer.error(
                "protocol",
                f"{read_complaint(body).words} instead of an answer",
                hint=f"Check providers.{self.name}.base_url: {self._peer.address}",
            )
        value = self._decoded(body, reply)
        if _is_complaint(value):
            raise self._complained(request, context, reply, value)
        answer = Answer(request)
        try:
            answer.add(value, part="message")
        except MalformedAnswer as error:
            raise self._malformed(str(error), reply) from None
        return self._finished(answer, reply)

    def _delta(
        self,
        request: ChatRequest,
        context: ExecutionContext,
        reply: Reply,
        answer: Answer,
        data: str,
    ) -> str:
        value = self._decoded(data, reply)
        if _is_complaint(value):
            raise self._complained(request, context, reply, value)
        try:
            return answer.add(value, part="delta")
        except MalformedAnswer as error:
            raise self._malformed(str(error), reply) from None

    def _decoded(self, body: bytes | str, reply: Reply) -> Any:
        try:
            return json.loads(body)
        except ValueError:
            text = body if isinstance(body, str) else body[:400].decode("utf-8", "replace")
            raise self._malformed(f"not JSON: {text[:200]!r}", reply) from None

    def _malformed(self, words: str, reply: Reply) -> LLMSpellError:
        return self._peer.error("protocol", words, request_id=_request_id(reply))

    def _complained(
        self, request: ChatRequest, context: ExecutionContext, reply: Reply, value: Any
    ) -> LLMSpellError:
        """An error object where an answer should be; its code tells which status it stands for."""
        inner = cast("dict[str, Any]", value)["error"]
        code = cast("dict[str, Any]", inner).get("code") if isinstance(inner, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        return http_failure(
            self._peer,
            status,
            reply.headers,
            complaint_of(value),
            model=request.model,
            now=context.now,
        )

    def _finished(self, answer: Answer, reply: Reply) -> ChatResponse:
        try:
            return answer.response(_request_id(reply))
        except FilteredAnswer as error:
            raise self._peer.error(
                "content_filter",
                f"withheld its answer: {error}",
                request_id=_request_id(reply),
            ) from None
        except MalformedAnswer as error:
            if answer.finish_reason == "length":
                raise self._peer.error(
                    "invalid_request",
                    str(error),
                    request_id=_request_id(reply),
                    hint="Raise max_tokens.",
                ) from None
            raise self._malformed(str(error), reply) from None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def _events(reply: Reply) -> AsyncGenerator[str]:
    parser = SseParser()
    async with aclosing(cast("AsyncGenerator[bytes]", reply.pieces())) as pieces:
        async for piece in pieces:
            for data in parser.feed(piece):
                yield data
    for data in parser.close():
        yield data


async def _drain(events: AsyncGenerator[str]) -> None:
    """Read to the end, so that the connection can be used again; the answer is complete."""
    try:
        async with asyncio.timeout(_LONGEST_DRAIN):
            async for _ in events:
                pass
    except (TimeoutError, LLMSpellError):
        pass


def _request_id(reply: Reply) -> str | None:
    return reply.headers.get("x-request-id")


def _is_complaint(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    table = cast("dict[str, Any]", value)
    return bool(table.get("error")) and not table.get("choices")


def _table(settings: ProviderSettings, key: str) -> dict[str, Any]:
    value: Any = settings.options.get(key) or {}
    if not isinstance(value, dict):
        raise ConfigurationError(
            f"'providers.{settings.name}.{key}' must be a table, not {type(value).__name__}",
            hint=f"Write it as [providers.{settings.name}.{key}] with keys below it.",
        )
    return dict(cast("dict[str, Any]", value))
