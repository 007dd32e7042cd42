"""OpenAI's models at Microsoft Azure.

https://learn.microsoft.com/azure/ai-foundry/openai/reference
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import unquote

from llmspell_testing._loopback import HttpRequest
from llmspell_testing._scripted import Reply
from llmspell_testing.vendors._openai import OpenAI
from llmspell_testing.vendors._vendor import Call, Fault, Frame, Refusal, sse

_DATED = re.compile(r"^/openai/(?:deployments/(?P<model>[^/]+)/)?(?P<what>[a-z/]+)$")
_CLEAN = {"hate": {"filtered": False, "severity": "safe"}}


class Azure(OpenAI):
    """Both kinds of API: ``/openai/v1/…``, and ``/openai/deployments/NAME/…?api-version=DATE``."""

    name: ClassVar[str] = "azure"
    path: ClassVar[str] = ""
    key_variable: ClassVar[str | None] = "AZURE_OPENAI_API_KEY"
    url_variable: ClassVar[str | None] = "AZURE_OPENAI_ENDPOINT"
    statuses: ClassVar[Mapping[str, int]] = {"quota": 403, "overloaded": 503}

    def read(self, request: HttpRequest) -> Call:
        if request.path.startswith("/openai/v1/"):
            path = request.path.removeprefix("/openai/v1")
            return replace(super().read(replace(request, target=path)), request=request)
        found = _DATED.match(request.path)
        if found is None:
            raise Refusal("Resource not found", "model_not_found")
        if not re.search(r"[?&]api-version=20\d\d-\d\d-\d\d(-preview)?$", request.target):
            raise Refusal("Missing required query parameter: api-version")
        named = found["what"] in {"chat/completions", "embeddings"}
        if named != (found["model"] is not None):
            raise Refusal("Resource not found", "model_not_found")
        path = f"/{found['what']}"
        call = replace(super().read(replace(request, target=path)), request=request)
        return replace(call, model=unquote(found["model"])) if named else call

    def check_key(self, request: HttpRequest) -> None:
        if request.headers.get("api-key") != self.key:
            raise Refusal(
                "Access denied due to invalid subscription key or wrong API endpoint.", "auth"
            )

    def frames(self, call: Call, reply: Reply) -> Iterator[Frame]:
        """A stream begins with what the filter thinks of the prompt."""
        if "messages" in call.body:
            checked = [{"prompt_index": 0, "content_filter_results": _CLEAN}]
            head: dict[str, Any] = {"id": "", "object": "", "created": 0, "model": ""}
            yield Frame(sse({**head, "choices": [], "prompt_filter_results": checked}), "start")
        yield from super().frames(call, reply)

    def error(self, fault: Fault, status: int) -> Any:
        if fault.kind == "auth":
            return {"error": {"code": "401", "message": fault.words}}
        made = super().error(fault, status)
        if fault.kind == "content_filter":
            made["error"] |= {
                "code": "content_filter",
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's "
                "content management policy.",
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        return made
