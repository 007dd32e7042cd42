"""Replicate: predictions, created and awaited, polled, streamed, cancelled.

https://replicate.com/docs/reference/http
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from llmspell_core import Message
from llmspell_testing._loopback import HttpRequest
from llmspell_testing._scripted import Reply
from llmspell_testing.vendors._shapes import Range, Shape, ShapeError, check
from llmspell_testing.vendors._vendor import (
    Call,
    Fault,
    Frame,
    Limits,
    Refusal,
    Vendor,
    json_body,
    pieces_of,
    sse,
)
from llmspell_testing.vendors._wording import image_url_shape, read_media

_INPUT = {
    "prompt": str,
    "system_prompt?": str,
    "max_tokens?": Range(1, 10**6, whole=True),
    "temperature?": Range(0, 5),
    "top_p?": Range(0, 1),
    "seed?": int,
    "stop_sequences?": str,
    "image?": image_url_shape,
    "images?": [image_url_shape],
}
CREATE: Shape = {
    "input": _INPUT,
    "version?": str,
    "stream?": bool,
    "webhook?": str,
    "webhook_events_filter?": [str],
}
_DURATION = re.compile(r"^(\d+)(s|m|h)$")


@dataclass(slots=True)
class _Prediction:
    """A prediction as the server keeps it."""

    identity: str
    call: Call
    reply: Reply | None = None
    status: str = "starting"
    polls: int = 0


class Replicate(Vendor):
    """Predictions as Replicate documents them. A streamed answer is scripted as any other: what
    is played for ``chat`` is the stream that the created prediction names.

    `holds` is whether a request that prefers to wait gets its answer; if not, the prediction
    ends at the `polls`-th time it is asked for. `streams` is whether the model streams.
    """

    name: ClassVar[str] = "replicate"
    key_variable: ClassVar[str | None] = "REPLICATE_API_TOKEN"
    url_variable: ClassVar[str | None] = "REPLICATE_BASE_URL"
    statuses: ClassVar[Mapping[str, int]] = {"context_length": 422, "overloaded": 503}
    asides: ClassVar[frozenset[str]] = frozenset({"account", "cancel", "create", "poll"})

    def __init__(self, *, key: str) -> None:
        super().__init__(key=key)
        self.holds = True
        self.streams = True
        self.polls = 2
        self.cancelled: list[str] = []
        self._predictions: dict[str, _Prediction] = {}

    def read(self, request: HttpRequest) -> Call:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            raise Refusal("You did not pass a valid authentication token", "auth")
        where = request.path
        if request.method == "GET" and where == "/v1/account":
            return Call(request, "account")
        if request.method == "GET" and where == "/v1/collections/language-models":
            return Call(request, "models")
        found = re.match(r"^/v1/(?:models|deployments)/(.+)/predictions$", where)
        if request.method == "POST" and (found or where == "/v1/predictions"):
            return self._create(request, found[1] if found else None)
        found = re.match(r"^/v1/(predictions|stream)/([^/]+)(/cancel)?$", where)
        if found is None:
            raise Refusal(f"{request.method} {where} is not there")
        prediction = self._predictions.get(found[2])
        if prediction is None:
            raise Refusal("The requested resource could not be found.", "model_not_found")
        return self._about(request, prediction, found[1], cancel=bool(found[3]))

    def _create(self, request: HttpRequest, model: str | None) -> Call:
        body = json_body(request)
        check(body, CREATE)
        if (model is None) == ("version" not in body):
            raise ShapeError("version: is required, and only where the path names no model")
        self.check_model(model or body["version"])
        prefers = request.headers.get("prefer")
        if prefers is not None and not re.match(r"^wait(=([1-9]|[1-5]\d|60))?$", prefers):
            raise ShapeError(f"Prefer: {prefers} is not understood")
        life = request.headers.get("cancel-after")
        if life is not None and ((got := _DURATION.match(life)) is None or int(got[1]) < 5):
            raise ShapeError(f"Cancel-After: {life} must be at least 5s")
        awaited = prefers is not None
        pictures = [body["input"]["image"]] if "image" in body["input"] else []
        media = tuple(read_media(url) for url in (*pictures, *body["input"].get("images", ())))
        messages = [Message("user", body["input"]["prompt"], media=media)]
        if "system_prompt" in body["input"]:
            messages.insert(0, Message("system", body["input"]["system_prompt"]))
        call = Call(
            request,
            "chat" if awaited or not self.streams else "create",
            model or body["version"],
            body=body,
            messages=tuple(messages),
        )
        return call

    def _about(
        self, request: HttpRequest, prediction: _Prediction, what: str, *, cancel: bool
    ) -> Call:
        made = prediction.call
        if what == "stream":
            if request.headers.get("accept") != "text/event-stream":
                raise ShapeError("a stream is asked for with Accept: text/event-stream")
            return Call(request, "chat", made.model, True, prediction, made.messages)
        return Call(request, "cancel" if cancel else "poll", made.model, body=prediction)

    # Answering

    def headers(self, number: int) -> dict[str, str]:
        return {}

    def limit_headers(self, limits: Limits) -> dict[str, str]:
        made = {
            "ratelimit-remaining": limits.requests_left,
            "ratelimit-limit": limits.requests,
            "ratelimit-reset": limits.requests_reset,
        }
        return {name: f"{value:g}" for name, value in made.items() if value is not None}

    def whole(self, call: Call, reply: Reply) -> Any:
        if call.operation == "account":
            return {"type": "organization", "username": "acme", "name": "Acme"}
        if call.operation == "cancel":
            call.body.status = "canceled"
            self.cancelled.append(call.body.identity)
            return self._shown(call.body, call.request)
        if call.operation == "poll":
            prediction: _Prediction = call.body
            prediction.polls += 1
            done = prediction.reply is not None and prediction.polls >= self.polls
            if prediction.status not in {"canceled", "succeeded"} and done:
                prediction.status = "succeeded"
            return self._shown(prediction, call.request)
        made = _Prediction(f"pred{self.number()}", call)
        self._predictions[made.identity] = made
        if call.operation == "chat":
            made.reply = reply
            made.status = "succeeded" if self.holds and self.streams else "processing"
        return self._shown(made, call.request)

    def _shown(self, prediction: _Prediction, request: HttpRequest) -> dict[str, Any]:
        start = f"http://{request.headers['host']}/v1"
        own = f"{start}/predictions/{prediction.identity}"
        urls = {"get": own, "cancel": f"{own}/cancel"}
        if self.streams:
            urls["stream"] = f"{start}/stream/{prediction.identity}"
        made: dict[str, Any] = {
            "id": prediction.identity,
            "model": prediction.call.model,
            "version": prediction.call.body.get("version", "hidden"),
            "created_at": "2026-11-01T12:00:00.000Z",
            "status": prediction.status,
            "input": prediction.call.body["input"],
            "output": None,
            "error": None,
            "logs": "",
            "urls": urls,
            "metrics": {},
        }
        reply = prediction.reply
        if prediction.status == "succeeded" and reply is not None:
            if reply.reason == "content_filter":
                refused = {"status": "failed", "error": "NSFW content detected. Try another one."}
                return {**made, **refused}
            made["output"] = list(pieces_of(reply))
            made["metrics"] = {"predict_time": 0.5}
            if reply.usage is not None:
                made["metrics"] |= {
                    "input_token_count": reply.usage.prompt_tokens,
                    "output_token_count": reply.usage.completion_tokens,
                }
        return made

    def frames(self, call: Call, reply: Reply) -> Iterator[Frame]:
        prediction: _Prediction = call.body
        prediction.reply, prediction.status = reply, "processing"
        for index, piece in enumerate(pieces_of(reply)):
            lines = "\ndata: ".join(piece.split("\n"))
            head = f"event: output\nid: {index}:0\n"
            yield Frame(f"{head}data: {lines}\n\n".encode("utf-8", "surrogatepass"), "text")
        prediction.status = "succeeded"
        yield Frame(sse({}, "done"), "end")

    def error(self, fault: Fault, status: int) -> Any:
        return {"title": fault.kind, "detail": fault.words, "status": status}

    def error_frame(self, fault: Fault, status: int) -> bytes:
        return sse({"detail": fault.words}, "error")

    def list_models(self, call: Call) -> Any:
        rows: list[dict[str, Any]] = []
        for name in self.models:
            owner, _, short = name.rpartition("/")
            rows.append({"owner": owner or "acme", "name": short, "description": ""})
        return {"name": "Language models", "slug": "language-models", "models": rows}
