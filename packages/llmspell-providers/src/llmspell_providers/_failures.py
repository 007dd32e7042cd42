"""What went wrong between us and a provider, as typed errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from llmspell_core import (
    ConfigurationError,
    LLMSpellError,
    LLMTimeoutError,
    NetworkError,
    ProviderError,
    RateLimitError,
    ValidationError,
)

_WORDS = 500


class MissingKeyError(ProviderError, ConfigurationError):
    """A provider that needs an API key was asked without one; nothing was sent."""

    code = "API_KEY_MISSING"


class ContextLengthError(ProviderError, ValidationError):
    """The messages do not fit into the model's context window.

    `details` has ``limit`` and ``size`` in tokens where the provider told them.
    """

    code = "CONTEXT_LENGTH"
    prefix = "Validation error: "
    error_type = "Validation"
    severity = ValidationError.severity
    category = ValidationError.category


@dataclass(frozen=True, slots=True)
class Peer:
    """The provider as its errors speak of it. `redact` removes known secrets from a text."""

    name: str
    label: str
    address: str
    redact: Callable[[str], str]

    def error(self, kind: str, words: str, **more: Any) -> ProviderError:
        """A `ProviderError`; kinds server, invalid_request and protocol say what failed."""
        failed = kind in {"server", "invalid_request", "protocol"}
        text = f"{self.label} completion failed: {words}" if failed else f"{self.label} {words}"
        return ProviderError(self.redact(text), provider=self.name, kind=kind, **more)

    def cut(self, words: str, request_id: str | None = None) -> ProviderError:
        """An answer that ended before it was complete."""
        return self.error("protocol", f"the answer was cut off: {words}", request_id=request_id)

    def timeout(self, seconds: float, waited_for: str) -> LLMTimeoutError:
        """A wait that took too long."""
        return LLMTimeoutError(
            f"{self.label} at {self.address} did not {waited_for} within {seconds:g}s",
            duration_ms=round(seconds * 1000),
            operation="model.chat",
            hint=f"Raise providers.{self.name}.timeout_seconds, or try again later.",
            details={"provider": self.name},
        )


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a provider says of itself in the body of an error."""

    words: str
    code: str = ""

    @property
    def lower(self) -> str:
        """Words and code, for looking things up in."""
        return f"{self.words} {self.code}".lower()


def read_complaint(body: bytes) -> Complaint:
    """The provider's own words, from any of the shapes that are in use."""
    text = body[:100_000].decode("utf-8", "replace").strip()
    if not text:
        return Complaint("no explanation given")
    if text.startswith("<"):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        said = f": {' '.join(title[1].split())}" if title else ""
        return Complaint(f"answered with a web page{said}"[:_WORDS])
    try:
        value = json.loads(text)
    except ValueError:
        return Complaint(text[:_WORDS])
    return complaint_of(value)


def complaint_of(value: Any) -> Complaint:
    """The complaint in decoded JSON: ``{error: {message, code, type}}`` and its relatives."""
    if isinstance(value, list) and value:
        value = cast("list[Any]", value)[0]
    if not isinstance(value, dict):
        return Complaint(str(cast("object", value))[:_WORDS])
    table = cast("dict[str, Any]", value)
    inner = table.get("error", table)
    if not isinstance(inner, dict):
        return Complaint(str(cast("object", inner))[:_WORDS])
    fields = cast("dict[str, Any]", inner)
    said = fields.get("message") or fields.get("detail") or table.get("message")
    words = said if isinstance(said, str) else json.dumps(fields, ensure_ascii=False)
    code = " ".join(str(fields[k]) for k in ("code", "type") if fields.get(k) is not None)
    return Complaint(words[:_WORDS], code)


def retry_after(headers: Mapping[str, str], now: Callable[[], float]) -> float | None:
    """Seconds from ``retry-after-ms`` or ``Retry-After`` (RFC 9110 §10.2.3); never negative.

    A date is compared with the answer's own ``Date``, so that a wrong clock here does not
    matter; only without one with *now* (Unix seconds).
    """
    milliseconds = headers.get("retry-after-ms")
    plain = headers.get("retry-after")
    for text, unit in ((milliseconds, 1000.0), (plain, 1.0)):
        try:
            if text is not None:
                seconds = float(text) / unit
                return seconds if 0 <= seconds < 1e9 else None
        except ValueError:
            continue
    then = _date(plain)
    if then is None:
        return None
    base = _date(headers.get("date"))
    return max(0.0, then - (now() if base is None else base))


def _date(text: str | None) -> float | None:
    if text is None:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None


_TOO_LONG = re.compile(
    r"context[ _-]length|context[ _-]window|maximum context|context_length_exceeded"
    r"|prompt is too long|too many tokens|exceeds? the (?:available )?context"
    r"|token count.{0,40}exceeds the maximum",
)
_COMPARED = re.compile(r"(\d{3,})(?: tokens)?(?: \+ (\d+))? ?>=? ?(\d{3,})")
"""``215000 tokens > 200000 maximum`` or ``190000 + 20000 > 200000``."""
_LIMIT = re.compile(r"(?:maximum|limit|window|cannot exceed)\D{0,60}?(\d{3,})")
_SIZE = re.compile(
    r"(?:resulted in|requested|received|used|prompt(?!.*received)|token count)\D{0,40}?(\d{3,})"
)
_SPENT = re.compile(r"insufficient_quota|billing|exceeded your current quota|credit balance")
_FILTERED = re.compile(r"content_filter|content_policy|content management policy|safety system")


_IDENTITIES = ("x-request-id", "request-id", "x-debug-trace-id")


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """What the vendor calls this exchange, for its support."""
    return next((headers[name] for name in _IDENTITIES if name in headers), None)


def http_failure(
    peer: Peer,
    status: int,
    headers: Mapping[str, str],
    complaint: Complaint,
    *,
    model: str,
    now: Callable[[], float],
    means: int | None = None,
) -> LLMSpellError:
    """The error for an answer with an error status (or an error inside a stream).

    *means* is the status that says what happened, where the vendor's own does not.
    """
    request_id = request_id_of(headers)
    said = f"HTTP {status}: {complaint.words}"
    more: dict[str, Any] = {"status_code": status, "request_id": request_id}
    status = means or status
    if status == 402 or (status in (403, 429) and _SPENT.search(complaint.lower)):
        return peer.error(
            "quota",
            f"has no quota left for this account ({said})",
            hint="Check plan and billing at the provider, or choose another provider.",
            **more,
        )
    if status in (401, 403):
        return peer.error(
            "auth",
            f"refused the API key or the access ({said})",
            hint=f"Check the key of provider '{peer.name}' and what it may use.",
            **more,
        )
    if status == 429:
        return RateLimitError(
            peer.redact(f"{peer.label} asks to slow down ({said})"),
            provider=peer.name,
            retry_after=retry_after(headers, now),
            details={"status_code": status, "request_id": request_id},
        )
    if status == 408:
        return LLMTimeoutError(
            peer.redact(f"{peer.label} gave up waiting ({said})"), operation="model.chat"
        )
    if status == 404:
        return _not_found(peer, model, said, complaint, more)
    if status in (409, 498) or status >= 500:  # 498: Groq has no capacity
        return peer.error("server", said, retry_after=retry_after(headers, now), **more)
    return _refused(peer, model, said, complaint, more)


def _not_found(
    peer: Peer, model: str, said: str, complaint: Complaint, more: dict[str, Any]
) -> LLMSpellError:
    if "model" in complaint.lower:
        return peer.error(
            "model_not_found",
            f"has no model '{model}' for this account ({said})",
            hint="Check the model's name.",
            **more,
        )
    return peer.error(
        "model_not_found",
        f"at {peer.address} does not know the path or the model '{model}' ({said})",
        hint=f"Check providers.{peer.name}.base_url; most end in /v1.",
        **more,
    )


def _sizes(words: str) -> tuple[int | None, int | None]:
    """The size of the messages and the limit, as far as *words* tell them."""
    compared = _COMPARED.search(words)
    if compared is not None:
        return int(compared[1]) + int(compared[2] or 0), int(compared[3])
    size, limit = _SIZE.search(words), _LIMIT.search(words)
    return int(size[1]) if size else None, int(limit[1]) if limit else None


def _refused(
    peer: Peer, model: str, said: str, complaint: Complaint, more: dict[str, Any]
) -> LLMSpellError:
    if _TOO_LONG.search(complaint.lower):
        size, limit = _sizes(complaint.words)
        return ContextLengthError(
            peer.redact(f"{peer.label}: the messages do not fit into '{model}' ({said})"),
            provider=peer.name,
            kind="context_length",
            field="input",
            hint="Shorten the input, or lower max_conversation_length or context_window.",
            details={"limit": limit, "size": size},
            **more,
        )
    if _FILTERED.search(complaint.lower):
        return peer.error("content_filter", f"filtered the content ({said})", **more)
    if 300 <= int(more["status_code"]) < 400:
        return peer.error(
            "invalid_request",
            f"{said} (a redirect, which is not followed)",
            hint=f"Set providers.{peer.name}.base_url to the final address.",
            **more,
        )
    return peer.error("invalid_request", said, **more)


def missing_key(peer: Peer, variable: str | None, wanted: str | None) -> MissingKeyError:
    """No key for a provider that needs one.

    Args:
        peer: The provider.
        variable: The environment variable that usually holds its key.
        wanted: The variable that its configuration names, which is not set.
    """
    why = f": Environment variable '{wanted}' not found for provider '{peer.name}'"
    ways = f"providers.{peer.name}.api_key in llmspell.toml"
    if variable is not None:
        ways = f"the environment variable {variable} or {ways}"
    return MissingKeyError(
        f"{peer.label} API key required{why if wanted else ''}",
        provider=peer.name,
        kind="auth",
        hint=f"Set {ways}; or use a local server that needs no key with "
        f"providers.{peer.name}.base_url.",
    )


_TIMEOUTS = {"ServerTimeoutError", "ConnectionTimeoutError", "SocketTimeoutError"}
_PROXIES = {"ClientProxyConnectionError", "ClientHttpProxyError"}
_NOT_HTTP = {"ClientResponseError", "BadHttpMessage", "BadStatusLine", "LineTooLong"}
_HUNG_UP = {"ServerDisconnectedError", "ClientOSError", "ConnectionResetError"}


def transport_failure(peer: Peer, error: BaseException, *, started: bool) -> LLMSpellError:
    """The error for an `httpx.HTTPError` or an `aiohttp.ClientError`. *started*: the answer's
    headers had arrived.

    What happened is told by the causes: httpx's words for what aiohttp met are not always right.
    """
    import httpx

    for cause in _chain(error):
        _forget_headers(cause)
    words = peer.redact(str(error) or type(error).__name__)
    if started:
        return peer.cut(words).with_source(error)
    causes = {type(cause).__name__: cause for cause in _chain(error)}
    where = f"{peer.label} at {peer.address}"
    hint = "Is the server running, and the address right?"
    retryable = True
    if cause := causes.get("SSLCertVerificationError"):
        words = f"{where}: the certificate cannot be trusted: {cause}"
        hint = (
            f"For a private authority set SSL_CERT_FILE or providers.{peer.name}.ca_file to its "
            "certificate."
        )
        retryable = False
    elif cause := causes.get("gaierror"):
        words = f"{peer.label}: the host of {peer.address} cannot be found: {cause}"
        hint = "Check the address and the network connection."
    elif causes.keys() & _PROXIES:
        words = f"{where}: the proxy does not let the call through: {words}"
        hint = f"Check HTTP_PROXY, HTTPS_PROXY, NO_PROXY and providers.{peer.name}.proxy."
    elif causes.keys() & _TIMEOUTS:
        return LLMTimeoutError(
            f"{where} could not be reached in time",
            operation="connect",
            details={"provider": peer.name},
        )
    elif isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return ConfigurationError(
            peer.redact(f"{peer.label} cannot be asked at '{peer.address}': {error}"),
            hint=f"Check providers.{peer.name}.base_url; write it as https://host/v1.",
        )
    elif causes.keys() & _NOT_HTTP:
        words = f"{where} does not speak HTTP: {words}"
    elif causes.keys() & _HUNG_UP:
        words = f"{where} hung up without an answer: {words}"
    else:
        words = f"{where} cannot be reached: {words}"
    return NetworkError(words, retryable=retryable, hint=hint, source=error)


def _forget_headers(error: BaseException) -> None:
    """Aiohttp keeps the request with some of its errors, and shows the key in their repr."""
    import aiohttp

    if isinstance(error, aiohttp.ClientResponseError):
        told = cast("Any", error.request_info)._replace(headers={})
        error.request_info = told
        error.args = (told, error.history)


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found and len(found) < 10:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def shown_address(url: str | None) -> str | None:
    """*url* without the credentials that may be in it."""
    if url is None or "@" not in url:
        return url
    head, slashes, rest = url.partition("//")
    host, slash, path = rest.partition("/")
    return f"{head}{slashes}{host.rpartition('@')[2]}{slash}{path}"


def address_password(url: str) -> str | None:
    """The password in *url*, if there is one."""
    host = url.partition("//")[2].partition("/")[0]
    return host.rpartition("@")[0].partition(":")[2] or None


def credentials_of(url: str) -> str | None:
    """The value of ``Authorization`` for the credentials in *url*, if there are any."""
    from base64 import b64encode
    from urllib.parse import unquote

    host = url.partition("//")[2].partition("/")[0]
    told, at, _ = host.rpartition("@")
    if not at:
        return None
    user, _, password = told.partition(":")
    pair = f"{unquote(user)}:{unquote(password)}".encode()
    return f"Basic {b64encode(pair).decode('ascii')}"
