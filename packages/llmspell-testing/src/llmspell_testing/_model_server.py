"""`ModelServer`: a model vendor on this machine, that answers over HTTP as a test says."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from llmspell_core import Usage
from llmspell_testing._gate import Gate
from llmspell_testing._loopback import (
    RESET,
    Exchange,
    HttpRequest,
    LoopbackServer,
    Piece,
    Reset,
    http_chunk,
    http_head,
)
from llmspell_testing._scripted import Reply
from llmspell_testing.vendors._shapes import ShapeError
from llmspell_testing.vendors._vendor import (
    BROKEN,
    VECTOR_LENGTHS,
    Call,
    Fault,
    Frame,
    Limits,
    Refusal,
    Vendor,
    vector_of,
)

if TYPE_CHECKING:
    from typing import Self

VENDORS: dict[str, str] = {
    "anthropic": "_anthropic:Anthropic",
    "azure": "_azure:Azure",
    "cohere": "_cohere:Cohere",
    "custom": "_compatible:Custom",
    "deepseek": "_compatible:Deepseek",
    "fireworks": "_compatible:Fireworks",
    "gemini": "_gemini:Gemini",
    "groq": "_compatible:Groq",
    "llama_cpp": "_compatible:LlamaCpp",
    "lmstudio": "_compatible:LMStudio",
    "mistral": "_compatible:Mistral",
    "ollama": "_ollama:Ollama",
    "openai": "_openai:OpenAI",
    "openrouter": "_compatible:OpenRouter",
    "perplexity": "_compatible:Perplexity",
    "replicate": "_replicate:Replicate",
    "together": "_compatible:Together",
    "vllm": "_compatible:Vllm",
    "xai": "_compatible:Xai",
}
"""The module of `llmspell_testing.vendors` and the class that plays each vendor."""

Step: TypeAlias = "str | Reply | Fault | Callable[[Call], str | Reply | Fault]"


class ModelServer:
    """Plays a model vendor over HTTP on loopback, in a thread of its own.

    Use it with ``with`` or ``async with``; give `base_url` and `key` to the code under test, or
    `environment` to a program. Requests are checked against the vendor's documentation: one that
    the vendor would refuse is refused in the vendor's words, and leaving the ``with`` fails with
    it. So does a request for which there was no answer.

    Args:
        vendor: A name of `model_vendors()`, or a `Vendor` class of your own.
        script: Steps to begin with, see `answer`.
        key: The only API key that is accepted.
        models: The models there are; the default has one, and accepts any other.
        strict: Whether leaving fails.
        limits: Told with every answer in the vendor's rate-limit headers.
    """

    def __init__(
        self,
        vendor: str | type[Vendor] = "openai",
        *script: Step,
        key: str = "sk-test-key-0123456789",
        models: Sequence[str] | None = None,
        strict: bool = True,
        limits: Limits | None = None,
    ) -> None:
        made = _load(vendor) if isinstance(vendor, str) else vendor
        self.vendor = made(key=key)
        if models is not None:
            self.vendor.models, self.vendor.only_models = tuple(models), True
        self.limits = limits
        self.calls: list[Call] = []
        self.asides: list[Call] = []
        self.violations: list[str] = []
        self._strict = strict
        self._steps: dict[str, deque[Step]] = defaultdict(deque)
        self._usual: dict[str, Step] = {}
        self._arrived = threading.Condition()
        self._waited = 0
        self._server = LoopbackServer(self._respond)
        self._thread: threading.Thread | None = None
        self._ready = Gate()
        self._stop = Gate()
        self._failure: BaseException | None = None
        self.answer(*script)

    # What it answers

    def answer(self, *steps: Step, to: str = "chat") -> None:
        """Add answers, one a request, in the order in which they arrive.

        Args:
            steps: Texts, `Reply` and `Fault` objects, or functions of the `Call` that return
                one. For ``embed``, a `Reply` whose `data` is the list of vectors.
            to: ``chat``, ``embed`` or ``models``. Embeddings and the list of models are answered
                without a script too.
        """
        self._steps[to].extend(steps)

    def answer_always(self, step: Step, *, to: str = "chat") -> None:
        """Answer with *step* whenever nothing else is scripted."""
        self._usual[to] = step

    @property
    def remaining(self) -> int:
        """Steps that nobody asked for yet."""
        return sum(len(steps) for steps in self._steps.values())

    # What it is reached by, and what it saw

    @property
    def url(self) -> str:
        """The address without a path."""
        return self._server.url

    @property
    def base_url(self) -> str:
        """The address as a provider is configured with it."""
        return self.url + self.vendor.path

    @property
    def key(self) -> str:
        """The API key."""
        return self.vendor.key

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead a program here."""
        variables = {
            self.vendor.key_variable: self.key,
            self.vendor.url_variable: self.base_url,
        }
        return {name: value for name, value in variables.items() if name is not None}

    @property
    def settings(self) -> dict[str, Any]:
        """The table ``[providers.NAME]`` that leads here."""
        return {
            "provider_type": self.vendor.name,
            "base_url": self.base_url,
            "api_key": self.key,
        }

    @property
    def connections(self) -> int:
        """How many connections were opened."""
        return self._server.connections

    @property
    def requests(self) -> list[HttpRequest]:
        """All requests as they arrived, understood or not."""
        return self._server.requests

    def wait_for_call(self, timeout_seconds: float = 30.0) -> Call:
        """The next call nobody waited for yet; blocks this thread.

        Raises:
            TimeoutError: when none comes.
        """
        with self._arrived:
            position = self._waited
            self._waited += 1
            if not self._arrived.wait_for(lambda: len(self.calls) > position, timeout_seconds):
                raise TimeoutError(f"no call number {position + 1} in {timeout_seconds:g} s")
            return self.calls[position]

    async def next_call(self, timeout_seconds: float = 30.0) -> Call:
        """`wait_for_call` that lets the running loop go on."""
        return await asyncio.to_thread(self.wait_for_call, timeout_seconds)

    # Its life

    def start(self) -> Self:
        """Listen on a free port."""
        self._thread = threading.Thread(target=self._run, name="model-server", daemon=True)
        self._thread.start()
        self._ready.wait_blocking()
        return self

    def stop(self) -> None:
        """Close the connections and stop listening."""
        if self._thread is not None:
            self._stop.open()
            self._thread.join(30)
            self._thread = None

    def verify(self) -> None:
        """Raise an `AssertionError` if a request was wrong or not in the script."""
        if self._failure is not None:
            raise self._failure
        if self.violations:
            raise AssertionError(
                f"{len(self.violations)} wrong requests to '{self.vendor.name}'; the first: "
                f"{self.violations[0]}"
            )

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop, and verify."""
        self.stop()
        if kind is None and self._strict:
            self.verify()

    async def __aenter__(self) -> Self:
        """Start."""
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop, and verify."""
        await asyncio.to_thread(self.stop)
        if kind is None and self._strict:
            self.verify()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        async with self._server:
            self._ready.open()
            await self._stop.wait()

    # Answering

    def _respond(self, exchange: Exchange) -> Iterable[Piece]:
        try:
            call = self._read(exchange)
            step = self._next(call)
            pieces = self._fault(call, step) if isinstance(step, Fault) else self._reply(call, step)
            return self._watched(pieces)
        except Refusal as refusal:
            if refusal.mistake:
                self._violation(exchange.request, str(refusal))
            return self._refused(refusal.fault)
        except Exception as error:
            return [self._failed(error)]

    def _watched(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The same pieces; what fails while they are made fails the test."""
        try:
            yield from pieces
        except Exception as error:
            yield self._failed(error)

    def _failed(self, error: Exception) -> Reset:
        """Remember a mistake of the test's own function or of the server, for `verify`."""
        self._failure = self._failure or error
        return RESET

    def _violation(self, request: HttpRequest, words: str) -> None:
        self.violations.append(
            f"{words} — in {request.method} {request.target} {request.body[:2000]!r}"
        )

    def _read(self, exchange: Exchange) -> Call:
        try:
            call = self.vendor.read(exchange.request)
        except ShapeError as error:
            raise Refusal(str(error)) from None
        call.disconnected, call.answered = exchange.disconnected, exchange.answered
        if call.operation in self.vendor.asides:
            self.asides.append(call)
            return call
        with self._arrived:
            self.calls.append(call)
            self._arrived.notify_all()
        return call

    def _next(self, call: Call) -> Reply | Fault:
        steps = self._steps[call.operation]
        step = steps.popleft() if steps else self._usual.get(call.operation)
        if callable(step):
            step = step(call)
        if step is None:
            if call.operation == "chat":
                raise Refusal(f"the script has no answer for call {len(self.calls)}")
            return Reply()
        return Reply(step) if isinstance(step, str) else step

    def _headers(self, **more: Any) -> dict[str, str]:
        made = self.vendor.headers(self.vendor.number())
        if self.limits is not None:
            made |= self.vendor.limit_headers(self.limits)
        return made | more

    def _reply(self, call: Call, reply: Reply) -> Iterator[Piece]:
        yield from _gate(reply.after)
        if call.stream:
            yield from self._stream(self.vendor.frames(call, reply), reply)
        else:
            yield from self._whole(call, reply)

    def _whole(self, call: Call, reply: Reply) -> Iterator[Piece]:
        yield _json(self._body(call, reply), self._headers())

    def _body(self, call: Call, reply: Reply) -> Any:
        if call.operation == "models":
            return self.vendor.list_models(call)
        if call.operation == "embed":
            length = call.dimensions or VECTOR_LENGTHS.get(call.model.rpartition("/")[2], 64)
            made = reply.data or [vector_of(text, length) for text in call.inputs]
            words = sum(len(text.split()) for text in call.inputs)
            return self.vendor.embed(call, made, Usage(words))
        return self.vendor.whole(call, reply)

    def _stream(self, frames: Iterable[Frame], reply: Reply) -> Iterator[Piece]:
        yield http_head(
            200, self._headers(**{"content-type": self.vendor.stream_type}), chunked=True
        )
        for frame in frames:
            yield http_chunk(frame.data)
            if frame.part in {"text", "reasoning", "tool"}:
                yield from _gate(reply.between)
        yield http_chunk(b"")

    def _refused(self, fault: Fault) -> Iterator[Piece]:
        status = self.vendor.status_of(fault)
        more = dict(fault.headers)
        if fault.retry_after is not None:
            seconds = fault.retry_after
            more["retry-after"] = seconds if isinstance(seconds, str) else f"{seconds:g}"
        if fault.limits is not None:
            more |= self.vendor.limit_headers(fault.limits)
        yield _json(self.vendor.error(fault, status), self._headers(**more), status)

    def _fault(self, call: Call, fault: Fault) -> Iterator[Piece]:
        if fault.kind not in BROKEN:
            yield from self._refused(fault)
            return
        yield from _gate(fault.reply.after)
        if fault.kind == "web_page":
            page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body></body></html>"
            yield _sized(page, {"content-type": "text/html; charset=utf-8"}, 200)
        elif fault.kind == "hang":
            yield Gate()
        elif fault.kind == "endless":
            yield from self._endless(call)
        elif call.stream:
            yield from self._broken_stream(call, fault)
        else:
            yield from self._broken_whole(call, fault)

    def _endless(self, call: Call) -> Iterator[Piece]:
        kind = self.vendor.stream_type if call.stream else "application/json"
        yield http_head(200, self._headers(**{"content-type": kind}), chunked=True)
        while True:
            yield http_chunk(b" " * 1_000_000)

    def _broken_stream(self, call: Call, fault: Fault) -> Iterator[Piece]:
        kind = {"content-type": self.vendor.stream_type}
        yield http_head(200, self._headers(**kind), chunked=True)
        part = "tool" if fault.reply.tools else "text"
        count = 0
        for frame in self.vendor.frames(call, fault.reply) if fault.kind != "no_body" else ():
            count += frame.part == part
            if count < 2 and not (count and frame.part != part):
                yield http_chunk(frame.data)
                continue
            if fault.kind == "cut":
                yield http_chunk(frame.data[: len(frame.data) // 2])
                yield RESET
            elif fault.kind == "garbled":
                yield http_chunk(self.vendor.garbled_frame())
            elif fault.kind == "error_event":
                status = self.vendor.status_of(fault)
                yield http_chunk(self.vendor.stream_error(call, fault, status))
            break
        yield http_chunk(b"")

    def _broken_whole(self, call: Call, fault: Fault) -> Iterator[Piece]:
        if fault.kind == "no_body":
            yield _sized(b"", {"content-type": "application/json"}, 200)
            return
        if fault.kind == "error_event":
            status = self.vendor.status_of(fault)
            yield _json(self.vendor.error(fault, status), self._headers())
            return
        whole = _json(self._body(call, fault.reply), self._headers())
        head, _, body = whole.partition(b"\r\n\r\n")
        half = body[: len(body) // 2]
        if fault.kind == "cut":
            yield head + b"\r\n\r\n" + half
            yield RESET
        else:
            yield _sized(half, {"content-type": "application/json"}, 200)


def _gate(gate: Any) -> Iterator[Piece]:
    if gate is not None:
        yield gate


def _json(body: Any, headers: Mapping[str, str], status: int = 200) -> bytes:
    content = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return _sized(content, {"content-type": "application/json", **headers}, status)


def _sized(content: bytes, headers: Mapping[str, str], status: int) -> bytes:
    return http_head(status, {**headers, "content-length": str(len(content))}) + content


def _load(name: str) -> type[Vendor]:
    from importlib import import_module

    if name not in VENDORS:
        raise ValueError(f"no vendor '{name}'; there are {', '.join(sorted(VENDORS))}")
    module, _, attribute = VENDORS[name].partition(":")
    return cast(
        "type[Vendor]", getattr(import_module(f"llmspell_testing.vendors.{module}"), attribute)
    )


def model_vendors() -> list[str]:
    """The vendors a `ModelServer` can play, sorted."""
    return sorted(VENDORS)
