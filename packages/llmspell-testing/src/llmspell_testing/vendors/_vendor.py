"""What every vendor's protocol module gives the server, and the words scripts are written in."""

from __future__ import annotations

import itertools
import json
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

from llmspell_core import Message, Usage
from llmspell_testing._gate import Gate
from llmspell_testing._loopback import HttpRequest
from llmspell_testing._scripted import Reply

REFUSED: Mapping[str, int] = {
    "auth": 401,
    "forbidden": 403,
    "quota": 402,
    "model_not_found": 404,
    "timeout": 408,
    "conflict": 409,
    "invalid_request": 400,
    "context_length": 400,
    "content_filter": 400,
    "rate_limit": 429,
    "server": 500,
    "unavailable": 503,
    "overloaded": 529,
}
"""Faults that are an HTTP status and the vendor's error body, with the usual status."""

BROKEN = frozenset(
    {"cut", "ended", "garbled", "error_event", "web_page", "no_body", "hang", "endless"}
)
"""Faults of an answer that began well, see `Fault`."""


VECTOR_LENGTHS: Mapping[str, int] = {
    "codestral-embed": 1536,
    "embed-v4.0": 1536,
    "gemini-embedding-001": 3072,
    "mistral-embed": 1024,
    "multilingual-e5-large-instruct": 1024,
    "nomic-embed-text": 768,
    "text-embedding-3-large": 3072,
    "text-embedding-3-small": 1536,
    "text-embedding-ada-002": 1536,
}
"""How long the vectors of real models are; a model of any other name makes 64 numbers."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A rate limit as the vendor tells it in headers; what is None is not told."""

    requests: int | None = None
    requests_left: int | None = None
    requests_reset: float | None = None
    tokens: int | None = None
    tokens_left: int | None = None
    tokens_reset: float | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer that goes wrong.

    Args:
        kind: A refusal: ``auth, forbidden, quota, model_not_found, timeout, conflict,
            invalid_request, context_length, content_filter, rate_limit, server, unavailable,
            overloaded``. Or what breaks `reply`, in the middle of its tool call if it has one,
            else of its text: ``cut`` (the connection breaks), ``ended`` (the answer just ends),
            ``garbled`` (not JSON), ``error_event`` (the vendor's error after a good beginning),
            ``web_page`` (a proxy's page with status 200), ``no_body``, ``hang`` (nothing comes
            until the client leaves), ``endless`` (bytes until the client leaves).
        reply: The answer that breaks.
        status: In the place of the kind's usual status.
        message: The vendor's words.
        retry_after: Seconds, or a date as text, for the header ``Retry-After``.
        headers: More headers.
        limits: Told in the vendor's rate-limit headers.
    """

    kind: str
    reply: Reply = field(default_factory=lambda: Reply("The quick brown fox jumps"))
    status: int | None = None
    message: str | None = None
    retry_after: float | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    limits: Limits | None = None

    def __post_init__(self) -> None:
        """See that there is such a fault."""
        if self.kind not in REFUSED and self.kind not in BROKEN:
            known = ", ".join(sorted({*REFUSED, *BROKEN}))
            raise ValueError(f"no fault '{self.kind}'; there are {known}")

    @property
    def words(self) -> str:
        """The message."""
        return self.message or f"the server was told to fail: {self.kind}"


class Refusal(Exception):
    """A request that the vendor would refuse.

    A `mistake` of the code under test makes the test fail; that is what ``invalid_request`` is
    unless it says otherwise. What is none (``auth``, ``model_not_found``) is only answered.
    """

    def __init__(
        self,
        message: str,
        kind: str = "invalid_request",
        status: int | None = None,
        *,
        mistake: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.fault = Fault(kind, message=message, status=status)
        self.mistake = kind == "invalid_request" if mistake is None else mistake


@dataclass(slots=True)
class Call:
    """A request that was understood, in the words all vendors share.

    `operation` is ``chat``, ``embed`` or ``models``; `messages` have their tool calls, media and
    system texts as `llmspell_core.Message` writes them; `tools` are the names that were offered;
    `schema` is the JSON Schema the answer must fit; `inputs` are the texts to embed.
    """

    request: HttpRequest
    operation: str
    model: str = ""
    stream: bool = False
    body: Any = None
    messages: tuple[Message, ...] = ()
    tools: tuple[str, ...] = ()
    tool_choice: str | None = None
    schema: dict[str, Any] | None = None
    inputs: tuple[str, ...] = ()
    dimensions: int | None = None
    disconnected: Gate = field(default_factory=Gate)
    """Opens when the client left before the answer was complete."""
    answered: Gate = field(default_factory=Gate)
    """Opens when the whole answer was written."""

    @property
    def text(self) -> str:
        """The text of the last message."""
        return self.messages[-1].content if self.messages else ""


@dataclass(frozen=True, slots=True)
class Frame:
    """A piece of a streamed answer, framed as it goes out. `part` is ``start``, ``reasoning``,
    ``text``, ``tool`` or ``end``: pauses and breaks are placed by it. A tool call's arguments
    come in at least two frames where the vendor can cut them.
    """

    data: bytes
    part: str


class Vendor(ABC):
    """A vendor's protocol: reads and checks requests, writes answers. One object per server."""

    name: ClassVar[str]
    path: ClassVar[str] = ""
    """What a configured base URL has after the server's own address, ``/v1``."""
    key_variable: ClassVar[str | None] = None
    url_variable: ClassVar[str | None] = None
    stream_type: ClassVar[str] = "text/event-stream"
    asides: ClassVar[frozenset[str]] = frozenset()
    """Operations that a protocol needs beside those a test asks about."""
    statuses: ClassVar[Mapping[str, int]] = {}
    """Where the vendor's status differs from the usual one of `REFUSED`."""

    def __init__(self, *, key: str) -> None:
        self.key = key
        self.models: Sequence[str] = ("test-model",)
        self.only_models = False
        self._numbers = itertools.count(1)

    def number(self) -> int:
        """A number this server has not used yet, for ids."""
        return next(self._numbers)

    @abstractmethod
    def read(self, request: HttpRequest) -> Call:
        """What the request asks, checked as strictly as the vendor's documentation allows.

        Raises:
            Refusal, ShapeError: for what the vendor would refuse.
        """

    @abstractmethod
    def whole(self, call: Call, reply: Reply) -> Any:
        """The JSON body of an answer in one piece."""

    @abstractmethod
    def frames(self, call: Call, reply: Reply) -> Iterable[Frame]:
        """The answer as a stream."""

    @abstractmethod
    def error(self, fault: Fault, status: int) -> Any:
        """The JSON body of a refusal."""

    @abstractmethod
    def list_models(self, call: Call) -> Any:
        """The JSON body that lists `models`."""

    def embed(self, call: Call, vectors: Sequence[Sequence[float]], usage: Usage) -> Any:
        """The JSON body with *vectors* for the inputs of *call*."""
        raise Refusal(f"{self.name} has no embeddings", "model_not_found")

    def error_frame(self, fault: Fault, status: int) -> bytes:
        """The error inside a stream that began well."""
        return sse(self.error(fault, status))

    def stream_error(self, call: Call, fault: Fault, status: int) -> bytes:
        """`error_frame`, for vendors whose protocols differ in it."""
        return self.error_frame(fault, status)

    def garbled_frame(self) -> bytes:
        """A frame whose JSON is broken."""
        return sse('{"broken": ')

    def status_of(self, fault: Fault) -> int:
        """The status of a refusal; of a fault in the middle, what its error stands for."""
        if fault.status is not None:
            return fault.status
        return {**REFUSED, **self.statuses}.get(fault.kind, 500)

    def headers(self, number: int) -> dict[str, str]:
        """Headers of every answer."""
        return {"x-request-id": f"req_{number}"}

    def limit_headers(self, limits: Limits) -> dict[str, str]:
        """*limits* as the vendor tells them."""
        made = {
            "x-ratelimit-limit-requests": limits.requests,
            "x-ratelimit-remaining-requests": limits.requests_left,
            "x-ratelimit-reset-requests": _duration(limits.requests_reset),
            "x-ratelimit-limit-tokens": limits.tokens,
            "x-ratelimit-remaining-tokens": limits.tokens_left,
            "x-ratelimit-reset-tokens": _duration(limits.tokens_reset),
        }
        return {name: str(value) for name, value in made.items() if value is not None}

    def check_model(self, model: str) -> None:
        """Refuse a model that the server was told it does not have."""
        if self.only_models and model not in self.models:
            raise Refusal(
                f"The model `{model}` does not exist or you do not have access to it.",
                "model_not_found",
            )


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:g}s"


def sse(data: Any, event: str | None = None) -> bytes:
    """A server-sent event; what is not text is sent as JSON."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    name = "" if event is None else f"event: {event}\n"
    return f"{name}data: {text}\n\n".encode()


def ndjson(data: Any) -> bytes:
    """A line of newline-delimited JSON."""
    return (
        data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    ).encode() + b"\n"


def json_body(request: HttpRequest) -> Any:
    """The body of a request that must be JSON.

    Raises:
        Refusal: when it is something else, or does not say so.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(f"the content type is '{kind}', not application/json")
    try:
        return json.loads(request.body.decode("utf-8"))
    except ValueError as error:
        raise Refusal(f"We could not parse the JSON body of your request: {error}") from None


def pieces_of(reply: Reply, text: str | None = None) -> Iterator[str]:
    """The deltas of *reply*: its pieces, else a word each; of a long text larger ones.

    With *text*, the deltas of that.
    """
    if text is None and reply.pieces and reply.data is None:
        yield from reply.pieces
        return
    whole = reply.words if text is None else text
    if len(whole) > 100_000:
        yield from (whole[n : n + 65_536] for n in range(0, len(whole), 65_536))
        return
    yield from re.findall(r"\s*\S+\s*$|\s*\S+|\s+", whole)


def table(value: Any) -> dict[str, Any]:
    """*value* where it is an object; else one without anything in it."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def arguments_of(arguments: Mapping[str, Any] | str) -> str:
    """The JSON text of a tool call's arguments."""
    return arguments if isinstance(arguments, str) else json.dumps(dict(arguments))


def halves(text: str) -> tuple[str, str]:
    """A text in two, both with something in them where that is possible."""
    middle = max(1, len(text) // 2)
    return text[:middle], text[middle:]


def vector_of(text: str, dimensions: int) -> list[float]:
    """A vector for *text*, the same in every process; texts that share words are near."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        vector[zlib.crc32(word.encode()) % dimensions] += 1.0
    return vector if any(vector) else [1.0, *vector[1:]]
