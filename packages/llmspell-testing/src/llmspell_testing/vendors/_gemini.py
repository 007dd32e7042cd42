"""Google Gemini: generateContent, batchEmbedContents, models.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

from llmspell_core import Media, Message, ToolRequest, Usage
from llmspell_testing._loopback import HttpRequest
from llmspell_testing._scripted import Reply
from llmspell_testing.vendors._shapes import Many, Range, Shape, ShapeError, check
from llmspell_testing.vendors._vendor import (
    Call,
    Fault,
    Frame,
    Limits,
    Refusal,
    Vendor,
    arguments_of,
    json_body,
    pieces_of,
    sse,
)

_NAME = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}$")
_OLD = re.compile(r"gemini-(?:pro|1|2)")
_SKIP = {"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"}


def _name_shape(value: Any, place: str) -> None:
    check(value, str, place)
    if not _NAME.match(value):
        raise ShapeError(f"Invalid function name at '{place}': {value!r}")


def _base64_shape(value: Any, place: str) -> None:
    check(value, str, place)
    try:
        base64.b64decode(value, validate=True)
    except ValueError:
        raise ShapeError(
            f"Invalid value at '{place}' (TYPE_BYTES), Base64 decoding failed"
        ) from None


_MEDIA_TYPE = re.compile(r"^[a-z]+/[a-z0-9.+-]+$")


def _media_type_shape(value: Any, place: str) -> None:
    check(value, str, place)
    if not _MEDIA_TYPE.match(value):
        raise ShapeError(f"Unsupported MIME type: {value}")


_PART = {
    "text?": str,
    "thought?": bool,
    "thoughtSignature?": str,
    "inlineData?": {"mimeType": _media_type_shape, "data": _base64_shape},
    "fileData?": {"mimeType?": _media_type_shape, "fileUri": str},
    "functionCall?": {"id?": str, "name": _name_shape, "args?": dict},
    "functionResponse?": {"id?": str, "name": _name_shape, "response": dict},
}
_CONTENT = {"role": {"user", "model"}, "parts": Many(_PART, 1)}
_DECLARATION = {
    "name": _name_shape,
    "description": str,
    "parameters?": dict,
    "parametersJsonSchema?": dict,
}
_CATEGORIES = {
    f"HARM_CATEGORY_{name}"
    for name in ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
}
CHAT: Shape = {
    "contents": Many(_CONTENT, 1),
    "systemInstruction?": {"role?": str, "parts": Many({"text": str}, 1)},
    "tools?": [{"functionDeclarations": Many(_DECLARATION, 1, 512)}],
    "toolConfig?": {
        "functionCallingConfig": {
            "mode": {"AUTO", "ANY", "NONE", "VALIDATED"},
            "allowedFunctionNames?": Many(str, 1),
        }
    },
    "safetySettings?": [
        {
            "category": _CATEGORIES,
            "threshold": {
                "BLOCK_NONE",
                "BLOCK_ONLY_HIGH",
                "BLOCK_MEDIUM_AND_ABOVE",
                "BLOCK_LOW_AND_ABOVE",
                "OFF",
            },
        }
    ],
    "generationConfig?": {
        "temperature?": Range(0, 2),
        "topP?": Range(0, 1),
        "topK?": Range(1, 1000),
        "seed?": int,
        "maxOutputTokens?": Range(1, 10**7, whole=True),
        "stopSequences?": Many(str, 1, 5),
        "responseMimeType?": {"text/plain", "application/json", "text/x.enum"},
        "responseSchema?": dict,
        "responseJsonSchema?": dict,
        "candidateCount?": Range(1, 8, whole=True),
        "presencePenalty?": Range(-2, 2),
        "frequencyPenalty?": Range(-2, 2),
        "thinkingConfig?": {
            "includeThoughts?": bool,
            "thinkingBudget?": Range(-1, 65536, whole=True),
            "thinkingLevel?": {"minimal", "low", "medium", "high", "MINIMAL", "LOW", "HIGH"},
        },
    },
    "cachedContent?": str,
}
EMBED: Shape = {
    "requests": Many(
        {
            "model": str,
            "content": {"role?": str, "parts": Many({"text": str}, 1)},
            "taskType?": {
                "RETRIEVAL_QUERY",
                "RETRIEVAL_DOCUMENT",
                "SEMANTIC_SIMILARITY",
                "CLASSIFICATION",
                "CLUSTERING",
            },
            "title?": str,
            "outputDimensionality?": Range(1, 10**5, whole=True),
        },
        1,
        100,
    )
}


class Gemini(Vendor):
    """The Gemini API as Google documents it. Calls are signed, and must come back so.

    A reply with ``finish_reason="content_filter"`` is stopped for safety; a `Fault` of that kind
    is a blocked prompt, which has status 200.
    """

    name: ClassVar[str] = "gemini"
    key_variable: ClassVar[str | None] = "GEMINI_API_KEY"
    url_variable: ClassVar[str | None] = "GEMINI_BASE_URL"
    statuses: ClassVar[Mapping[str, int]] = {
        "auth": 400,
        "quota": 429,
        "overloaded": 503,
        "timeout": 504,
        "content_filter": 200,
    }

    def read(self, request: HttpRequest) -> Call:
        if request.headers.get("x-goog-api-key") != self.key:
            raise Refusal("API key not valid. Please pass a valid API key.", "auth")
        if "key=" in request.target:
            raise Refusal("the key belongs into a header: addresses are logged")
        where = re.sub(r"^/v1(beta|alpha)?/", "", request.path)
        if (request.method, where) == ("GET", "models"):
            return Call(request, "models")
        found = re.match(r"^models/([^:/]+):(\w+)$", where)
        if request.method != "POST" or found is None or where == request.path:
            raise Refusal(f"{request.method} {request.path} was not found on this server.")
        model, method = found[1], found[2]
        if self.only_models and model not in self.models:
            raise Refusal(
                f"models/{model} is not found for API version v1beta, or is not supported for "
                f"{method}.",
                "model_not_found",
            )
        if method == "batchEmbedContents":
            return self._read_embed(request, model)
        streams = method == "streamGenerateContent"
        if streams and not request.target.endswith("?alt=sse"):
            raise Refusal("a stream that is not asked for with alt=sse is one JSON array")
        if method not in {"generateContent", "streamGenerateContent"}:
            raise Refusal(f"no method {method}")
        return self._read_chat(request, model, streams)

    def _read_chat(self, request: HttpRequest, model: str, streams: bool) -> Call:
        body = json_body(request)
        check(body, CHAT)
        config: dict[str, Any] = body.get("generationConfig") or {}
        tools = [d for t in body.get("tools") or () for d in t["functionDeclarations"]]
        self._check_rules(body, model, config, tools)
        tooling: dict[str, Any] = body.get("toolConfig") or {}
        calling: dict[str, Any] = tooling.get("functionCallingConfig") or {}
        allowed: list[str] | None = calling.get("allowedFunctionNames")
        system: dict[str, Any] = body.get("systemInstruction") or {"parts": []}
        modes = {"AUTO": "auto", "NONE": "none", "ANY": "required"}
        return Call(
            request,
            "chat",
            model,
            streams,
            body,
            (
                *(Message("system", part["text"]) for part in system["parts"]),
                *_messages(body["contents"]),
            ),
            tuple(tool["name"] for tool in tools),
            allowed[0] if allowed else modes.get(calling.get("mode", "")),
            config.get("responseJsonSchema"),
        )

    def _check_rules(
        self, body: dict[str, Any], model: str, config: dict[str, Any], tools: list[Any]
    ) -> None:
        for index, content in enumerate(body["contents"]):
            for place, part in enumerate(content["parts"]):
                kinds = set(part) - {"thought", "thoughtSignature"}
                signed = "thoughtSignature" in part and not kinds
                if len(kinds) != 1 and not signed:
                    raise ShapeError(
                        f"contents[{index}].parts[{place}].data: required oneof field 'data' "
                        "must have one initialized field"
                    )
                if part.get("text") == "" and "thoughtSignature" not in part:
                    raise ShapeError(f"contents[{index}].parts[{place}]: empty text parameter")
        form = "responseJsonSchema" in config or "responseSchema" in config
        if form and config.get("responseMimeType") != "application/json":
            raise ShapeError("responseMimeType must be application/json with a response schema")
        if tools and config.get("responseMimeType") == "application/json" and _OLD.search(model):
            raise ShapeError(
                "Function calling with a response mime type: 'application/json' is unsupported"
            )
        if body["contents"][-1]["role"] != "user":
            raise ShapeError("Please ensure that multiturn requests end with a user role")
        _check_turns(body["contents"], signed=not _OLD.search(model))

    def _read_embed(self, request: HttpRequest, model: str) -> Call:
        body = json_body(request)
        check(body, EMBED)
        for one in body["requests"]:
            if one["model"] != f"models/{model}":
                raise ShapeError("all requests of a batch must name the model of the address")
        return Call(
            request,
            "embed",
            model,
            body=body,
            inputs=tuple(one["content"]["parts"][0]["text"] for one in body["requests"]),
            dimensions=body["requests"][0].get("outputDimensionality"),
        )

    # Answering

    def headers(self, number: int) -> dict[str, str]:
        return {"server-timing": f"gfet4t7; dur={number}"}

    def limit_headers(self, limits: Limits) -> dict[str, str]:
        """Gemini tells no limits."""
        return {}

    def _calls(self, call: Call, reply: Reply) -> list[dict[str, Any]]:
        """Parallel calls: the first is signed. Models before Gemini 3 give no ids."""
        made: list[dict[str, Any]] = []
        for index, (name, arguments) in enumerate(reply.tools):
            fields = {"name": name, "args": json.loads(arguments_of(arguments))}
            if not _OLD.search(call.model):
                fields["id"] = f"fc_{self.number()}"
            signature = {"thoughtSignature": sign(name)} if index == 0 else {}
            made.append({"functionCall": fields, **signature})
        return made

    def _piece(
        self,
        call: Call,
        identity: str,
        parts: list[dict[str, Any]],
        reply: Reply,
        *,
        last: bool = False,
    ) -> dict[str, Any]:
        reasons = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS"}
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
        if last:
            candidate["finishReason"] = reasons.get(reply.reason, "SAFETY")
            if candidate["finishReason"] == "SAFETY":
                candidate["safetyRatings"] = [
                    {
                        "category": "HARM_CATEGORY_DANGEROUS_CONTENT",
                        "probability": "HIGH",
                        "blocked": True,
                    }
                ]
        made: dict[str, Any] = {
            "candidates": [candidate],
            "modelVersion": call.model,
            "responseId": identity,
        }
        if reply.usage is not None:
            made["usageMetadata"] = usage_fields(reply.usage, partial=not last)
        return made

    def whole(self, call: Call, reply: Reply) -> Any:
        parts: list[dict[str, Any]] = []
        if reply.reasoning:
            parts.append({"text": reply.reasoning, "thought": True})
        if reply.words:
            parts.append({"text": reply.words})
        parts += self._calls(call, reply)
        return self._piece(call, f"resp_{self.number()}", parts, reply, last=True)

    def frames(self, call: Call, reply: Reply) -> Iterator[Frame]:
        identity = f"resp_{self.number()}"

        def frame(part: str, parts: list[dict[str, Any]], *, last: bool = False) -> Frame:
            return Frame(sse(self._piece(call, identity, parts, reply, last=last)), part)

        for piece in pieces_of(reply, reply.reasoning):
            yield frame("reasoning", [{"text": piece, "thought": True}])
        for piece in pieces_of(reply):
            yield frame("text", [{"text": piece}])
        for part in self._calls(call, reply):
            yield frame("tool", [part])
        ending = [] if reply.tools else [{"text": "", "thoughtSignature": sign("end")}]
        yield frame("end", ending, last=True)

    def error(self, fault: Fault, status: int) -> Any:
        if fault.kind == "content_filter" and status == 200:
            feedback = {
                "blockReason": "PROHIBITED_CONTENT",
                "safetyRatings": [
                    {"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}
                ],
            }
            return {"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 4}}
        words = {
            "auth": "API key not valid. Please pass a valid API key.",
            "context_length": "The input token count (1200000) exceeds the maximum number of "
            "tokens allowed (1048576).",
            "quota": "You exceeded your current quota, please check your plan and billing details.",
            "rate_limit": "You exceeded your current quota, please check your plan and billing "
            "details.\n* Quota exceeded for metric: generate_content_free_tier_requests, "
            f"limit: 10\nPlease retry in {fault.retry_after or 7}s.",
            "model_not_found": "models/x is not found for API version v1beta.",
            "overloaded": "The model is overloaded. Please try again later.",
        }
        names = {
            400: "INVALID_ARGUMENT",
            403: "PERMISSION_DENIED",
            404: "NOT_FOUND",
            429: "RESOURCE_EXHAUSTED",
            500: "INTERNAL",
            503: "UNAVAILABLE",
            504: "DEADLINE_EXCEEDED",
        }
        message = fault.message or words.get(fault.kind, fault.words)
        return {
            "error": {"code": status, "message": message, "status": names.get(status, "ABORTED")}
        }

    def list_models(self, call: Call) -> Any:
        rows = [
            {
                "name": f"models/{name}",
                "displayName": name,
                "inputTokenLimit": 1_048_576,
                "outputTokenLimit": 65_536,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
            }
            for name in self.models
        ]
        return {"models": rows}

    def embed(self, call: Call, vectors: Sequence[Sequence[float]], usage: Usage) -> Any:
        return {
            "embeddings": [{"values": list(vector)} for vector in vectors],
            "usageMetadata": {"promptTokenCount": usage.prompt_tokens},
        }


def sign(text: str) -> str:
    """The signature of a call."""
    return base64.b64encode(f"signed {zlib.crc32(text.encode()):08x}".encode()).decode("ascii")


def usage_fields(usage: Usage, *, partial: bool) -> dict[str, int]:
    """*usage* as Gemini counts: thoughts beside the answer's tokens, zeros left out."""
    answer = usage.completion_tokens - usage.reasoning_tokens
    made = {
        "promptTokenCount": usage.prompt_tokens,
        "candidatesTokenCount": 1 if partial else answer,
        "totalTokenCount": usage.total_tokens,
        "cachedContentTokenCount": usage.cached_tokens,
        "thoughtsTokenCount": usage.reasoning_tokens,
    }
    return {name: number for name, number in made.items() if number}


def _messages(contents: list[dict[str, Any]]) -> list[Message]:
    made: list[Message] = []
    for content in contents:
        parts = content["parts"]
        responses = [part["functionResponse"] for part in parts if "functionResponse" in part]
        made += [
            Message(
                "tool", str(r["response"].get("output", r["response"])), (), r.get("id"), r["name"]
            )
            for r in responses
        ]
        calls = tuple(
            ToolRequest(c.get("id", ""), c["name"], json.dumps(c.get("args", {})))
            for c in (part["functionCall"] for part in parts if "functionCall" in part)
        )
        text = "".join(p.get("text", "") for p in parts if not p.get("thought"))
        media = tuple(_media(p) for p in parts if "inlineData" in p or "fileData" in p)
        if not responses or text or media:
            role = "assistant" if content["role"] == "model" else "user"
            made.append(Message(role, text, calls, media=media))
    return made


def _media(part: dict[str, Any]) -> Media:
    if "fileData" in part:
        return Media(part["fileData"].get("mimeType", "image/*"), url=part["fileData"]["fileUri"])
    inline = part["inlineData"]
    return Media(inline["mimeType"], data=base64.b64decode(inline["data"]))


def _check_turns(contents: list[dict[str, Any]], *, signed: bool) -> None:
    """As many responses as calls, directly behind them; the calls of the current turn signed."""
    calls: list[dict[str, Any]] = []
    for index, content in enumerate(contents):
        parts = cast("list[dict[str, Any]]", content["parts"])
        responses = [part["functionResponse"] for part in parts if "functionResponse" in part]
        if len(responses) != len(calls):
            raise ShapeError(
                "Please ensure that the number of function response parts is equal to the number "
                "of function call parts of the function call turn."
            )
        for call, response in zip(calls, responses, strict=True):
            if call["name"] != response["name"] or call.get("id") != response.get("id"):
                raise ShapeError(f"contents[{index}]: {response} does not answer {call}")
        asking = [part for part in parts if "functionCall" in part]
        calls = [part["functionCall"] for part in asking]
        if asking and signed:
            first = asking[0]
            right = {sign(first["functionCall"]["name"]), *_SKIP}
            if first.get("thoughtSignature") not in right:
                raise ShapeError(
                    f"Function call `{first['functionCall']['name']}` in the {index}. content "
                    "block is missing a `thought_signature`."
                )
