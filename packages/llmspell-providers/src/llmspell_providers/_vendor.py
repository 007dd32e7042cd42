"""`VendorProvider`: what the providers with a protocol of their own share."""

from __future__ import annotations

import asyncio
import json
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    LLMSpellError,
    Provider,
    ProviderError,
    ProviderSettings,
    nearest,
)
from llmspell_providers._catalogue import VENDORS, known_window
from llmspell_providers._draft import Draft, FilteredAnswer, MalformedAnswer, table
from llmspell_providers._failures import (
    Complaint,
    Peer,
    address_password,
    complaint_of,
    credentials_of,
    http_failure,
    missing_key,
    read_complaint,
    request_id_of,
    shown_address,
)
from llmspell_providers._http import HttpClient, Reply, Waits
from llmspell_providers._resilience import waits
from llmspell_providers._sse import SseEvent, SseParser

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services

_LONGEST_DRAIN = 0.2
_LONGEST_LOOK = 3.0
_SETTINGS: dict[str, tuple[tuple[type, ...], str]] = {
    "temperature": ((int, float), "a number"),
    "max_tokens": ((int,), "a whole number"),
    "top_p": ((int, float), "a number"),
    "stop": ((tuple,), "a text or a list of texts"),
    "seed": ((int,), "a whole number"),
}
"""Defaults in our own words, and what they must be; all others are the vendor's."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an exchange is about, for its errors: the model, and the clock to read dates by."""

    model: str = ""
    now: Callable[[], float] = time.time


class VendorProvider(Provider):
    """A provider over HTTP. Subclasses say where the key goes, what is asked and how the answer
    is read: `chat_call`, `draft`, and where they differ `frames`, `header_fields`, `status_of`.

    The vendor's own address needs an API key, if the vendor has keys at all; without one a call
    fails at once and nothing is sent. Any other address is asked without a key when there is
    none. The key may go elsewhere with ``auth_header`` and ``auth_prefix``.

    How long it waits for what: see `llmspell_providers._resilience.waits`.
    """

    vendor: ClassVar[str]
    """Its name in the catalogue."""
    key_header: ClassVar[str] = "authorization"
    key_prefix: ClassVar[str] = "Bearer"

    def __init__(
        self, settings: ProviderSettings, services: Services, *, vendor: str | None = None
    ) -> None:
        self.name = settings.name
        self.settings = settings
        self.services = services
        self.kind = vendor or self.vendor
        known = VENDORS[self.kind]
        home = self.address(known.base_url or "")
        self.base_url = self.address(settings.base_url) if settings.base_url else home
        self.at_home = self.base_url == home
        self._credentials = credentials_of(self.base_url)
        self.key = (settings.api_key or "").strip() or None
        label = known.label if settings.name == self.kind else settings.name
        services.secrets.add(self.key)
        services.secrets.add(address_password(self.base_url))
        self.base_url = shown = shown_address(self.base_url) or ""
        self.peer = Peer(self.name, label, shown, services.secrets.redact)
        self.defaults = self.table_option("defaults")
        self._usual = self._usual_settings()
        proxy, ca_file = self._text_option("proxy"), self._text_option("ca_file")
        services.secrets.add(address_password(proxy or ""))
        self._client = HttpClient(self.peer, proxy=proxy, ca_file=ca_file)

    def _usual_settings(self) -> dict[str, Any]:
        """The defaults in our own words, taken out of the vendor's."""
        made: dict[str, Any] = {}
        for name, (kinds, wanted) in _SETTINGS.items():
            if name not in self.defaults:
                continue
            value = self.defaults.pop(name)
            if name == "stop" and isinstance(value, str | list):
                texts = [value] if isinstance(value, str) else cast("list[Any]", value)
                value = tuple(str(text) for text in texts)
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise ConfigurationError(
                    f"'providers.{self.name}.defaults.{name}' must be {wanted}, "
                    f"not {type(value).__name__}"
                )
            made[name] = value
        return made

    @property
    def needs_key(self) -> bool:
        """Whether nothing is to be sent without a key, if the vendor has keys at all."""
        return self.at_home

    @abstractmethod
    def chat_call(self, request: ChatRequest, *, stream: bool) -> tuple[str, dict[str, Any]]:
        """Path and JSON body that ask *request*.

        Raises:
            ValidationError: for what this vendor's protocol cannot say.
        """

    @abstractmethod
    def draft(self, request: ChatRequest) -> Draft:
        """An empty answer to *request*."""

    def address(self, base_url: str) -> str:
        """*base_url* as paths are put behind it."""
        return base_url.rstrip("/")

    def header_fields(self) -> dict[str, str]:
        """Headers that every request of this vendor has."""
        return {}

    def status_of(self, status: int, complaint: Complaint) -> int:
        """The HTTP status that says what *complaint* means, where the vendor's own does not."""
        return status

    def streamed_status(self, value: dict[str, Any]) -> int | None:
        """The HTTP status that an error inside an answer stands for; None when it is no error.

        What the vendor says of it is looked for at ``error``; put it there if it is elsewhere.
        """
        return 500 if value.get("error") else None

    def frames(self, reply: Reply) -> AsyncGenerator[str]:
        """The JSON texts a streamed answer consists of; server-sent events."""
        return events(reply)

    def _text_option(self, key: str) -> str | None:
        value: Any = self.settings.options.get(key)
        if value is None or isinstance(value, str):
            return value or None
        raise ConfigurationError(
            f"'providers.{self.name}.{key}' must be text, not {type(value).__name__}"
        )

    def table_option(self, key: str) -> dict[str, Any]:
        """The table *key* of the provider's configuration.

        Raises:
            ConfigurationError: when it is none.
        """
        value: Any = self.settings.options.get(key) or {}
        if not isinstance(value, Mapping):
            raise ConfigurationError(
                f"'providers.{self.name}.{key}' must be a table, not {type(value).__name__}",
                hint=f"Write it as [providers.{self.name}.{key}] with keys below it.",
            )
        return dict(cast("Mapping[str, Any]", value))

    def merged(self, request: ChatRequest, body: dict[str, Any]) -> dict[str, Any]:
        """*body* over the configured defaults and under the request's `extra`. Tables that are
        in several are merged.
        """
        return _merged(_merged(self.defaults, body), request.extra)

    def settled(self, request: ChatRequest) -> ChatRequest:
        """*request* with the configured settings where it has none of its own."""
        missing: dict[str, Any] = {
            name: value
            for name, value in self._usual.items()
            if getattr(request, name) in (None, ())
        }
        return replace(request, **missing) if missing else request

    def window(self, model: str) -> int | None:
        """As configured, else as the catalogue knows it."""
        configured = self.settings.options.get("context_window")
        if isinstance(configured, int):
            return configured
        return known_window(self.kind, model)

    def _headers(self, accept: str, *, keyed: bool) -> dict[str, str]:
        made = {
            "content-type": "application/json",
            "accept": accept,
            **self.header_fields(),
            **{name.lower(): value for name, value in self.settings.headers.items()},
        }
        options = self.settings.options
        if self.key is not None and keyed:
            header = str(options.get("auth_header") or self.key_header).lower()
            prefix = str(options.get("auth_prefix", self.key_prefix)).strip()
            made[header] = f"{prefix} {self.key}" if prefix else self.key
        if self._credentials is not None:
            # Those of a gateway; a key that goes into the same header is stronger.
            made.setdefault("authorization", self._credentials)
        for name, value in made.items():
            if not value.isascii() or not value.isprintable():
                # The HTTP library would quote the value, which may be the key.
                raise ConfigurationError(
                    f"the header '{name}' for provider '{self.name}' has characters that "
                    "HTTP does not allow",
                    hint="Was the API key copied with a line break or a special character?",
                )
        return made

    def _check_key(self) -> None:
        variable = VENDORS[self.kind].key_variable
        given = {name.lower() for name in self.settings.headers}
        if (
            self.key is None
            and self.needs_key
            and variable is not None
            and not given & {self.key_header, "authorization"}
        ):
            wanted = self.settings.options.get("api_key_env")
            raise missing_key(self.peer, variable, None if wanted is None else str(wanted))

    def waits(self, asked: float | None, *, stream: bool) -> Waits:
        """The waits of a call that may last *asked* seconds."""
        return waits(self.settings, asked, stream=stream)

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        waits: Waits,
        asked: Asked,
        *,
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
        keyed: bool = True,
    ) -> AsyncGenerator[Reply]:
        """Send, and give the reply if its status says that it is an answer. Without *keyed* the
        key stays here.

        Raises:
            LLMSpellError: what the status means, or why no answer came.
        """
        self._check_key()
        content = b""
        if body is not None:
            text = json.dumps(body, ensure_ascii=False, default=str)
            content = text.encode("utf-8", "replace")
        url = path if "://" in path else f"{self.base_url}{path}"
        fields = {**self._headers(accept, keyed=keyed), **(headers or {})}
        async with self._client.send(method, url, content, fields, waits) as reply:
            if self.settings.heard is not None and asked.model:
                self.settings.heard(asked.model, reply.headers)
            if not 200 <= reply.status < 300:
                complaint = read_complaint(await reply.body())
                error = self.failure(reply.status, complaint, reply, asked)
                raise await self._with_nearest(error, asked.model)
            yield reply

    async def _with_nearest(self, error: LLMSpellError, model: str) -> LLMSpellError:
        """*error*; for a model there is not, with the nearest name, if a list can be had."""
        if not (model and isinstance(error, ProviderError) and error.kind == "model_not_found"):
            return error
        try:
            async with asyncio.timeout(_LONGEST_LOOK):
                names = [known.id for known in await self.models()]
        except (LLMSpellError, TimeoutError):
            return error
        close = nearest(model, names)
        if close is not None:
            error.hint = f"Did you mean '{close}'? "
        elif model not in names:
            error.hint = ""
        else:
            return error
        error.hint += f"List them with: llmspell provider models {self.name}"
        return error

    def failure(
        self, status: int, complaint: Complaint, reply: Reply, asked: Asked
    ) -> LLMSpellError:
        """The error that *complaint* with *status* is."""
        return http_failure(
            self.peer,
            status,
            reply.headers,
            complaint,
            model=asked.model,
            now=asked.now,
            means=self.status_of(status, complaint),
        )

    async def fetch(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        asked: Asked | None = None,
        seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[dict[str, Any], Reply]:
        """One exchange with a JSON object as its answer. Raises as `ask`."""
        about = asked or Asked()
        waits = self.waits(seconds, stream=False)
        async with self.ask(method, path, body, waits, about, headers=headers) as reply:
            return self.decoded(await reply.body(), reply, about), reply

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        """One request, one JSON answer."""
        context.check()
        request = self.settled(request)
        path, body = self.chat_call(request, stream=False)
        asked = Asked(request.model, context.now)
        value, reply = await self.fetch(
            "POST", path, body, asked=asked, seconds=request.timeout_seconds
        )
        draft = self.draft(request)
        self.reading(lambda: draft.whole(value), reply)
        return self.finished(draft, reply)

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        """One request, an answer in pieces; leaving the iterator closes the connection."""
        context.check()
        request = self.settled(request)
        path, body = self.chat_call(request, stream=True)
        asked = Asked(request.model, context.now)
        waits = self.waits(request.timeout_seconds, stream=True)
        draft = self.draft(request)
        accept = "text/event-stream"
        async with self.ask("POST", path, body, waits, asked, accept=accept) as reply:
            if reply.content_type in {"application/json", "text/html"}:
                # A server that cannot stream, or a proxy's web page: one whole body either way.
                value = self.decoded(await reply.body(), reply, asked)
                self.reading(lambda: draft.whole(value), reply)
                response = self.finished(draft, reply)
                if response.content:
                    yield ChatChunk(response.content)
                yield ChatChunk(response=response)
                return
            async with aclosing(self.frames(reply)) as frames:
                async for text in frames:
                    chunk = self._taken(draft, text, reply, asked)
                    if chunk is not None:
                        yield chunk
                    if draft.complete:
                        break
                if not draft.complete and draft.finish_reason is None:
                    raise self.peer.cut("the stream ended early", request_id_of(reply.headers))
                yield ChatChunk(response=self.finished(draft, reply))
                await drain(frames)

    def _taken(self, draft: Draft, text: str, reply: Reply, asked: Asked) -> ChatChunk | None:
        if text.strip() == "[DONE]":
            draft.complete = True
            return None
        value = self.decoded(text, reply, asked)
        return self.reading(lambda: draft.event(value), reply)

    def decoded(self, body: bytes | str, reply: Reply, asked: Asked) -> dict[str, Any]:
        """The JSON object in *body*.

        Raises:
            LLMSpellError: when it is none, or is the description of an error.
        """
        if isinstance(body, bytes) and body.lstrip()[:1] == b"<":
            raise self.peer.error(
                "protocol",
                f"{read_complaint(body).words} instead of an answer",
                hint=f"Check providers.{self.name}.base_url: {self.peer.address}",
            )
        try:
            value: Any = json.loads(body)
        except ValueError:
            text = body if isinstance(body, str) else body[:400].decode("utf-8", "replace")
            raise self.malformed(f"not JSON: {text[:200]!r}", reply) from None
        made: dict[str, Any] = self.reading(lambda: table(value, "the answer"), reply)
        status = self.streamed_status(made)
        if status is not None:
            raise self.failure(status, complaint_of(made), reply, asked)
        return made

    def reading(self, read: Callable[[], Any], reply: Reply) -> Any:
        """What *read* gives; an answer that is not what it should be becomes an error."""
        try:
            return read()
        except MalformedAnswer as error:
            raise self.malformed(str(error), reply) from None
        except FilteredAnswer as error:
            raise self.withheld(str(error), request_id_of(reply.headers)) from None

    def malformed(self, words: str, reply: Reply) -> LLMSpellError:
        """An answer that is not what the protocol says."""
        return self.peer.error("protocol", words, request_id=request_id_of(reply.headers))

    def withheld(self, words: str, identity: str | None) -> LLMSpellError:
        """An answer that the provider did not want to give."""
        return self.peer.error(
            "content_filter", f"withheld its answer: {words}", request_id=identity
        )

    def finished(self, draft: Draft, reply: Reply) -> ChatResponse:
        """The whole answer, or the error it amounts to."""
        identity = request_id_of(reply.headers)
        try:
            return draft.response(identity)
        except FilteredAnswer as error:
            raise self.withheld(str(error), identity or draft.id) from None
        except MalformedAnswer as error:
            if draft.finish_reason == "length":
                raise self.peer.error(
                    "invalid_request", str(error), request_id=identity, hint="Raise max_tokens."
                ) from None
            raise self.malformed(str(error), reply) from None

    def checked_vectors(
        self, rows: list[Any], wanted: int, reply: Reply
    ) -> list[tuple[float, ...]]:
        """*rows* as *wanted* vectors of one length.

        Raises:
            ProviderError: when they are not that.
        """
        made: list[tuple[float, ...]] = []
        for row in rows:
            numbers = cast("list[Any]", row if isinstance(row, list) else [])
            if not numbers or not all(isinstance(n, int | float) for n in numbers):
                raise self.malformed("a vector is not a list of numbers", reply)
            made.append(tuple(float(n) for n in numbers))
        if len(made) != wanted or len({len(vector) for vector in made}) > 1:
            raise self.malformed(f"{len(made)} vectors for {wanted} texts", reply)
        return made

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(lower)
    for key, value in upper.items():
        below = made.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            inner = cast("Mapping[str, Any]", below), cast("Mapping[str, Any]", value)
            made[key] = _merged(*inner)
        else:
            made[key] = value
    return made


async def events(reply: Reply) -> AsyncGenerator[SseEvent]:
    """The server-sent events of an answer."""
    parser = SseParser()
    async with aclosing(cast("AsyncGenerator[bytes]", reply.pieces())) as pieces:
        async for piece in pieces:
            for data in parser.feed(piece):
                yield data
    for data in parser.close():
        yield data


async def lines(reply: Reply) -> AsyncGenerator[str]:
    """The lines that are not blank: JSON, one object a line."""
    open_line: list[bytes] = []
    async with aclosing(cast("AsyncGenerator[bytes]", reply.pieces())) as pieces:
        async for piece in pieces:
            first, *more = piece.split(b"\n")
            open_line.append(first)
            for start in more:
                if text := b"".join(open_line).decode("utf-8", "replace").strip():
                    yield text
                open_line = [start]
    if text := b"".join(open_line).decode("utf-8", "replace").strip():
        yield text


async def drain(frames: AsyncGenerator[Any]) -> None:
    """Read to the end, so that the connection can be used again; the answer is complete."""
    try:
        async with asyncio.timeout(_LONGEST_DRAIN):
            async for _ in frames:
                pass
    except (TimeoutError, LLMSpellError):
        pass
