"""Vendors that speak OpenAI's protocol with differences: what each documents, and no more.

Fields that are not documented by a vendor are refused here, also where the vendor would only
overlook them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from llmspell_core import Usage
from llmspell_testing._loopback import HttpRequest
from llmspell_testing._scripted import Reply
from llmspell_testing.vendors._openai import CHAT, MESSAGE, OpenAI
from llmspell_testing.vendors._shapes import Many, Range, Shape, ShapeError, Tagged, check
from llmspell_testing.vendors._vendor import (
    Call,
    Fault,
    Frame,
    Limits,
    Refusal,
    json_body,
    sse,
    table,
)

_COMMON = (
    "model",
    "messages",
    "stream?",
    "temperature?",
    "top_p?",
    "max_tokens?",
    "stop?",
    "seed?",
    "n?",
    "presence_penalty?",
    "frequency_penalty?",
    "tools?",
    "tool_choice?",
    "parallel_tool_calls?",
    "response_format?",
    "logprobs?",
    "top_logprobs?",
    "user?",
    "metadata?",
    "reasoning_effort?",
)


def _shape(without: Sequence[str] = (), **more: Shape) -> dict[str, Shape]:
    made = {key: CHAT[key] for key in _COMMON if key.rstrip("?") not in without}
    return {**made, **{f"{key}?": shape for key, shape in more.items()}}


def _messages(*, names: bool = True, **assistant: Shape) -> Shape:
    """The shape of messages, with more fields for the assistant's."""
    shapes: dict[str, dict[str, Shape]] = {}
    for role, shape in MESSAGE.shapes.items():
        shapes[role] = {key: value for key, value in shape.items() if names or key != "name?"}
    shapes["assistant"] |= {f"{key}?": shape for key, shape in assistant.items()}
    return Many(Tagged("role", shapes), 1)


class Compatible(OpenAI):
    """A vendor whose differences are data.

    `reasoning_key` is the field its reasoning is shown in; `tells_usage` says that streams tell
    the usage without being asked.
    """

    shape: ClassVar[dict[str, Shape]] = _shape()
    reasoning_key: ClassVar[str | None] = None
    tells_usage: ClassVar[bool] = True
    responses: ClassVar[bool] = False
    embeddings: ClassVar[bool] = True

    def chat_shape(self) -> dict[str, Shape]:
        return self.shape

    def check_rules(self, body: dict[str, Any]) -> None:
        """OpenAI's own models are none of this vendor's."""
        if "stream_options" in body and not body.get("stream"):
            raise ShapeError("'stream_options' is only allowed when 'stream' is set.")
        if body.get("tool_choice") not in (None, "none", "auto") and not body.get("tools"):
            raise ShapeError("'tool_choice' needs 'tools'.")

    def reasoning(self, text: str) -> dict[str, Any]:
        return {self.reasoning_key: text} if text and self.reasoning_key else {}

    def streams_usage(self, call: Call) -> bool:
        return self.tells_usage or super().streams_usage(call)

    def read_embed(self, request: HttpRequest) -> Call:
        if not self.embeddings:
            raise Refusal(f"{self.name} has no embeddings", "model_not_found")
        return super().read_embed(request)


class Custom(Compatible):
    """A server of one's own that documents nothing: it takes what OpenAI does, without a key."""

    name: ClassVar[str] = "custom"
    key_variable: ClassVar[str | None] = None
    url_variable: ClassVar[str | None] = None
    shape: ClassVar[dict[str, Shape]] = CHAT
    tells_usage: ClassVar[bool] = False
    reasoning_key: ClassVar[str | None] = "reasoning_content"

    def check_key(self, request: HttpRequest) -> None:
        if "authorization" in request.headers:
            super().check_key(request)


class Deepseek(Compatible):
    """See https://api-docs.deepseek.com for its documentation."""

    name: ClassVar[str] = "deepseek"
    path: ClassVar[str] = ""
    key_variable: ClassVar[str | None] = "DEEPSEEK_API_KEY"
    url_variable: ClassVar[str | None] = "DEEPSEEK_BASE_URL"
    tells_usage: ClassVar[bool] = False
    reasoning_key: ClassVar[str | None] = "reasoning_content"
    embeddings: ClassVar[bool] = False
    shape: ClassVar[dict[str, Shape]] = {
        **_shape(
            ("seed", "n", "parallel_tool_calls", "user", "metadata"),
            stream_options=CHAT["stream_options?"],
            thinking={"type": {"enabled", "disabled"}},
        ),
        "messages": _messages(reasoning_content=str),
        "response_format?": {"type": {"text", "json_object"}},
    }

    def check_rules(self, body: dict[str, Any]) -> None:
        super().check_rules(body)
        form = table(body.get("response_format"))
        if form.get("type") == "json_object" and "json" not in str(body["messages"]).lower():
            raise ShapeError("Prompt must contain the word 'json' to use 'response_format'.")
        for index, message in enumerate(body["messages"]):
            if isinstance(message["content"], list):
                raise ShapeError(f"messages[{index}].content must be a string")
            # https://api-docs.deepseek.com/guides/thinking_mode: our ids say that we thought.
            calls = message.get("tool_calls") or ()
            thought = any(call["id"].startswith("call_thought") for call in calls)
            if thought and not message.get("reasoning_content"):
                raise ShapeError(
                    "The reasoning_content in the thinking mode must be passed back to the API."
                )

    def tool_calls(self, reply: Reply) -> list[dict[str, Any]]:
        made = super().tool_calls(reply)
        if reply.reasoning:
            made = [{**call, "id": f"call_thought{call['id'][5:]}"} for call in made]
        return made

    def usage(self, call: Call, usage: Usage) -> dict[str, Any]:
        return {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
            "prompt_cache_hit_tokens": usage.cached_tokens,
            "prompt_cache_miss_tokens": usage.prompt_tokens - usage.cached_tokens,
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        }


class Fireworks(Compatible):
    """See https://docs.fireworks.ai/api-reference/post-chatcompletions for its documentation."""

    name: ClassVar[str] = "fireworks"
    path: ClassVar[str] = "/inference/v1"
    key_variable: ClassVar[str | None] = "FIREWORKS_API_KEY"
    url_variable: ClassVar[str | None] = "FIREWORKS_BASE_URL"
    reasoning_key: ClassVar[str | None] = "reasoning_content"
    responses: ClassVar[bool] = True
    shape: ClassVar[dict[str, Shape]] = {
        **_shape(
            top_k=Range(0, 100, whole=True),
            min_p=Range(0, 1),
            context_length_exceeded_behavior={"truncate", "error"},
            max_completion_tokens=int,
        ),
        "messages": _messages(reasoning_content=str),
    }

    def list_models(self, call: Call) -> Any:
        made = super().list_models(call)
        for row in made["data"]:
            row["context_length"] = 131_072
        return made


class Groq(Compatible):
    """See https://console.groq.com/docs/api-reference for its documentation."""

    name: ClassVar[str] = "groq"
    path: ClassVar[str] = "/openai/v1"
    key_variable: ClassVar[str | None] = "GROQ_API_KEY"
    url_variable: ClassVar[str | None] = "GROQ_BASE_URL"
    statuses: ClassVar[Mapping[str, int]] = {"overloaded": 498}
    reasoning_key: ClassVar[str | None] = "reasoning"
    responses: ClassVar[bool] = True
    embeddings: ClassVar[bool] = False
    shape: ClassVar[dict[str, Shape]] = {
        **_shape(
            ("logprobs", "top_logprobs", "metadata", "max_tokens"),
            max_completion_tokens=Range(1, 10**7, whole=True),
            reasoning_format={"hidden", "raw", "parsed"},
            service_tier={"auto", "on_demand", "flex", "performance"},
        ),
        "messages": _messages(names=False),
    }

    def frames(self, call: Call, reply: Reply) -> Iterator[Frame]:
        """The usage is in ``x_groq`` of the last chunk, the request's id in that of the first."""
        if "input" in call.body:
            yield from super().frames(call, reply)
            return
        head = self.head(call, "chat.completion.chunk")
        ours = {"id": f"req_{self.number()}"}
        for part, delta in self.deltas(reply):
            choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": None}
            first = {"x_groq": ours} if part == "start" else {}
            yield Frame(sse({**head, "choices": [choice], **first}), part)
        choice = {"index": 0, "delta": {}, "finish_reason": reply.reason}
        told = {} if reply.usage is None else {"usage": self.usage(call, reply.usage)}
        yield Frame(sse({**head, "choices": [choice], "x_groq": {**ours, **told}}), "end")
        yield Frame(sse("[DONE]"), "end")

    def list_models(self, call: Call) -> Any:
        made = super().list_models(call)
        for row in made["data"]:
            row |= {"active": True, "context_window": 131_072, "max_completion_tokens": 32_768}
        return made


class LlamaCpp(Custom):
    """See https://github.com/ggml-org/llama.cpp/tree/master/tools/server for its documentation."""

    name: ClassVar[str] = "llama_cpp"
    url_variable: ClassVar[str | None] = "LLAMA_CPP_URL"
    responses: ClassVar[bool] = True

    def list_models(self, call: Call) -> Any:
        made = super().list_models(call)
        for row in made["data"]:
            row |= {"owned_by": "llamacpp", "meta": {"n_ctx_train": 32_768, "n_embd": 4096}}
        return made

    def error(self, fault: Fault, status: int) -> Any:
        made = super().error(fault, status)["error"]
        kind = "exceed_context_size_error" if fault.kind == "context_length" else made["type"]
        return {"error": {"code": status, "message": made["message"], "type": kind}}


class LMStudio(Custom):
    """See https://lmstudio.ai/docs/developer/openai-compat for its documentation."""

    name: ClassVar[str] = "lmstudio"
    url_variable: ClassVar[str | None] = "LMSTUDIO_BASE_URL"
    responses: ClassVar[bool] = True

    def check_rules(self, body: dict[str, Any]) -> None:
        super().check_rules(body)
        form = table(body.get("response_format"))
        if form.get("type") == "json_object":
            raise ShapeError("'response_format.type' must be 'json_schema' or 'text'")


class Mistral(Compatible):
    """See https://docs.mistral.ai/api/endpoint/chat for its documentation."""

    name: ClassVar[str] = "mistral"
    key_variable: ClassVar[str | None] = "MISTRAL_API_KEY"
    url_variable: ClassVar[str | None] = "MISTRAL_BASE_URL"
    statuses: ClassVar[Mapping[str, int]] = {"invalid_request": 422}
    shape: ClassVar[dict[str, Shape]] = {
        **_shape(
            ("seed", "logprobs", "top_logprobs", "user"),
            random_seed=int,
            safe_prompt=bool,
            prompt_mode={"reasoning"},
            prediction=dict,
            prompt_cache_key=str,
        ),
        "messages": _messages(names=False, prefix=bool),
        "tool_choice?": (
            {"none", "auto", "any", "required"},
            {"type": {"function"}, "function": {"name": str}},
        ),
    }

    def check_rules(self, body: dict[str, Any]) -> None:
        super().check_rules(body)
        for message in body["messages"]:
            ids = [call["id"] for call in message.get("tool_calls") or ()]
            for identity in [*ids, *filter(None, [message.get("tool_call_id")])]:
                if not re.match(r"^[a-zA-Z0-9]{9}$", identity):
                    raise ShapeError(
                        f"Tool call id was {identity} but must be a-z, A-Z, 0-9, with a length "
                        "of 9."
                    )

    def tool_calls(self, reply: Reply) -> list[dict[str, Any]]:
        made = super().tool_calls(reply)
        return [{**call, "id": f"T{self.number():08d}"} for call in made]

    def reasoning(self, text: str) -> dict[str, Any]:
        """A part of the content; the text then is another."""
        thinking = [{"type": "text", "text": text}]
        return {"content": [{"type": "thinking", "thinking": thinking}]} if text else {}

    def whole(self, call: Call, reply: Reply) -> Any:
        made = super().whole(call, reply)
        if reply.reasoning:
            message = made["choices"][0]["message"]
            text = [{"type": "text", "text": reply.words}] if reply.words else []
            message["content"] = [*self.reasoning(reply.reasoning)["content"], *text]
        return made

    def read_embed(self, request: HttpRequest) -> Call:
        body = json_body(request)
        check(
            body,
            {
                "model": str,
                "input": (str, Many(str, 1)),
                "output_dimension?": int,
                "output_dtype?": {"float", "int8", "uint8", "binary", "ubinary"},
                "encoding_format?": {"float", "base64"},
            },
        )
        self.check_model(body["model"])
        given = body["input"]
        inputs = (given,) if isinstance(given, str) else tuple(given)
        return Call(
            request,
            "embed",
            body["model"],
            body=body,
            inputs=inputs,
            dimensions=body.get("output_dimension"),
        )

    def error(self, fault: Fault, status: int) -> Any:
        words = super().error(fault, status)["error"]["message"]
        return {
            "object": "error",
            "message": words,
            "type": fault.kind,
            "param": None,
            "code": None,
        }

    def list_models(self, call: Call) -> Any:
        made = super().list_models(call)
        for row in made["data"]:
            row |= {"max_context_length": 131_072, "owned_by": "mistralai"}
        return made

    def limit_headers(self, limits: Limits) -> dict[str, str]:
        made = {
            "x-ratelimit-limit-req-minute": limits.requests,
            "x-ratelimit-remaining-req-minute": limits.requests_left,
            "x-ratelimit-limit-tokens-minute": limits.tokens,
            "x-ratelimit-remaining-tokens-minute": limits.tokens_left,
        }
        return {name: str(value) for name, value in made.items() if value is not None}


class OpenRouter(Compatible):
    """See https://openrouter.ai/docs/api-reference for its documentation."""

    name: ClassVar[str] = "openrouter"
    path: ClassVar[str] = "/api/v1"
    key_variable: ClassVar[str | None] = "OPENROUTER_API_KEY"
    url_variable: ClassVar[str | None] = "OPENROUTER_BASE_URL"
    statuses: ClassVar[Mapping[str, int]] = {"overloaded": 502}
    responses: ClassVar[bool] = True
    shape: ClassVar[dict[str, Shape]] = {
        **_shape(
            stream_options=CHAT["stream_options?"],
            max_completion_tokens=int,
            models=[str],
            provider=dict,
            plugins=list,
            reasoning=dict,
            usage={"include": bool},
            top_k=int,
            min_p=Range(0, 1),
            transforms=[str],
        ),
        "messages": _messages(reasoning=str, reasoning_details=[dict]),
    }

    def read(self, request: HttpRequest) -> Call:
        if request.method == "GET" and request.path == f"{self.path}/models":
            return Call(request, "models")  # Anybody may.
        if request.method == "GET" and request.path == f"{self.path}/key":
            self.check_key(request)
            return Call(request, "models")
        return super().read(request)

    def check_rules(self, body: dict[str, Any]) -> None:
        super().check_rules(body)
        for message in body["messages"]:
            for detail in message.get("reasoning_details") or ():
                if detail.get("signature") != f"signed {len(detail.get('text', ''))}":
                    raise ShapeError("reasoning_details must be passed back unmodified")

    def reasoning(self, text: str) -> dict[str, Any]:
        if not text:
            return {}
        detail = {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}
        return {"reasoning": text, "reasoning_details": [detail]}

    def whole(self, call: Call, reply: Reply) -> Any:
        made = super().whole(call, reply)
        if reply.reasoning and "choices" in made:
            (detail,) = made["choices"][0]["message"]["reasoning_details"]
            detail["signature"] = f"signed {len(reply.reasoning)}"
        return made

    def deltas(self, reply: Reply) -> Iterator[tuple[str, dict[str, Any]]]:
        signed = False
        for part, delta in super().deltas(reply):
            if part not in {"start", "reasoning"} and reply.reasoning and not signed:
                signed = True
                detail = {"type": "reasoning.text", "index": 0, "format": "unknown"}
                detail |= {"signature": f"signed {len(reply.reasoning)}"}
                yield "reasoning", {"reasoning_details": [detail]}
            yield part, delta

    def frames(self, call: Call, reply: Reply) -> Iterator[Frame]:
        yield Frame(b": OPENROUTER PROCESSING\n\n", "start")
        yield from super().frames(call, reply)

    def usage(self, call: Call, usage: Usage) -> dict[str, Any]:
        return {**super().usage(call, usage), "cost": usage.cost, "is_byok": False}

    def error(self, fault: Fault, status: int) -> Any:
        return {
            "error": {"code": status, "message": super().error(fault, status)["error"]["message"]}
        }

    def list_models(self, call: Call) -> Any:
        if call.request.path.endswith("/key"):
            return {"data": {"label": "sk-or-…", "limit": None, "usage": 0.5}}
        made = super().list_models(call)
        for row in made["data"]:
            row |= {"context_length": 200_000, "top_provider": {"max_completion_tokens": 64_000}}
        return made


class Perplexity(Compatible):
    """See https://docs.perplexity.ai/api-reference/sonar-post for its documentation."""

    name: ClassVar[str] = "perplexity"
    path: ClassVar[str] = ""
    key_variable: ClassVar[str | None] = "PERPLEXITY_API_KEY"
    url_variable: ClassVar[str | None] = "PERPLEXITY_BASE_URL"
    embeddings: ClassVar[bool] = False
    sources: ClassVar[tuple[str, ...]] = ("https://example.org/a", "https://example.org/b")
    shape: ClassVar[dict[str, Shape]] = {
        **_shape(
            (
                "seed",
                "stop",
                "n",
                "tools",
                "tool_choice",
                "parallel_tool_calls",
                "logprobs",
                "top_logprobs",
                "user",
                "metadata",
            ),
            search_mode={"web", "academic", "sec"},
            search_domain_filter=[str],
            search_recency_filter=str,
            web_search_options=dict,
            return_images=bool,
            return_related_questions=bool,
            disable_search=bool,
        ),
        "messages": _messages(names=False),
        "response_format?": Tagged(
            "type",
            {
                "text": {"type": str},
                "json_schema": {
                    "type": str,
                    "json_schema": {"schema": dict, "name?": str, "strict?": bool},
                },
            },
        ),
    }

    def read(self, request: HttpRequest) -> Call:
        if request.path == "/models":
            raise Refusal("Not Found", "model_not_found")
        return super().read(request)

    def read_chat(self, request: HttpRequest) -> Call:
        if not request.json().get("messages"):
            # Asked on purpose, to see whether the key is good.
            raise Refusal("messages: at least one message is required", mistake=False)
        return super().read_chat(request)

    def head(self, call: Call, kind: str) -> dict[str, Any]:
        results = [{"title": url[-1], "url": url, "date": None} for url in self.sources]
        return {
            **super().head(call, kind),
            "citations": list(self.sources),
            "search_results": results,
        }

    def usage(self, call: Call, usage: Usage) -> dict[str, Any]:
        return {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
            "search_context_size": "low",
            "cost": {"total_cost": usage.cost, "request_cost": 0.005},
        }


class Together(Compatible):
    """See https://docs.together.ai/reference/chat-completions for its documentation."""

    name: ClassVar[str] = "together"
    key_variable: ClassVar[str | None] = "TOGETHER_API_KEY"
    url_variable: ClassVar[str | None] = "TOGETHER_BASE_URL"
    reasoning_key: ClassVar[str | None] = "reasoning"
    responses: ClassVar[bool] = True
    shape: ClassVar[dict[str, Shape]] = {
        **_shape(
            ("user", "metadata", "parallel_tool_calls", "top_logprobs"),
            top_k=int,
            min_p=Range(0, 1),
            repetition_penalty=float,
            safety_model=str,
            reasoning={"enabled": bool},
            echo=bool,
        ),
        "stop?": Many(str, 1),
    }

    def usage(self, call: Call, usage: Usage) -> dict[str, Any]:
        return {**super().usage(call, usage), "cached_tokens": usage.cached_tokens}

    def embed(self, call: Call, vectors: Sequence[Sequence[float]], usage: Usage) -> Any:
        made = super().embed(call, vectors, usage)
        del made["usage"]
        return made

    def list_models(self, call: Call) -> Any:
        rows = super().list_models(call)["data"]
        return [{**row, "context_length": 131_072, "organization": "Meta"} for row in rows]


class Vllm(Custom):
    """See https://docs.vllm.ai/en/latest/serving/ for its documentation."""

    name: ClassVar[str] = "vllm"
    url_variable: ClassVar[str | None] = "VLLM_BASE_URL"
    responses: ClassVar[bool] = True

    def list_models(self, call: Call) -> Any:
        made = super().list_models(call)
        for row in made["data"]:
            row |= {"owned_by": "vllm", "max_model_len": 40_960}
        return made


class Xai(Compatible):
    """See https://docs.x.ai/docs/api-reference for its documentation."""

    name: ClassVar[str] = "xai"
    key_variable: ClassVar[str | None] = "XAI_API_KEY"
    url_variable: ClassVar[str | None] = "XAI_BASE_URL"
    reasoning_key: ClassVar[str | None] = "reasoning_content"
    tells_usage: ClassVar[bool] = False
    responses: ClassVar[bool] = True
    embeddings: ClassVar[bool] = False
    shape: ClassVar[dict[str, Shape]] = _shape(
        ("max_tokens", "metadata"),
        stream_options=CHAT["stream_options?"],
        max_completion_tokens=Range(1, 10**7, whole=True),
        search_parameters=dict,
        deferred=bool,
    )

    def usage(self, call: Call, usage: Usage) -> dict[str, Any]:
        """Reasoning tokens are no part of the completion's; the cost is told in ticks."""
        made = super().usage(call, usage)
        made["completion_tokens"] = usage.completion_tokens - usage.reasoning_tokens
        if usage.cost is not None:
            made["cost_in_usd_ticks"] = round(usage.cost * 1e10)
        return made
