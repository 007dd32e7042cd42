"""The one module that knows httpx: opening a client, sending, reading with an end to each wait.

httpx sends over aiohttp: its own pool looks at every connection for every request, and with two
hundred calls at once takes a hundred times as long as they need.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from llmspell_core import ConfigurationError, OpenOnce
from llmspell_providers._failures import (
    Peer,
    credentials_of,
    shown_address,
    transport_failure,
)

if TYPE_CHECKING:
    import ssl

    import httpx
    from httpx_aiohttp import AiohttpTransport

_KEPT_SECONDS = 30.0
_OURS = (("accept-encoding", "gzip, deflate"), ("user-agent", "llmspell"))

MOST_BYTES = 64_000_000
"""An answer longer than this is not one."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long to wait, in seconds: for a connection, between bytes, for all of it, and for the
    first bytes of the body (None: as between bytes).
    """

    connect: float
    silence: float
    total: float | None
    first: float | None = None


class _Clock:
    """The time left of a call. `begun` is to be set when the first bytes of the body came."""

    def __init__(self, waits: Waits) -> None:
        self.waits = waits
        self.begun = False
        self._start = asyncio.get_running_loop().time()
        self._end = None if waits.total is None else self._start + waits.total

    def next(self) -> float:
        """Seconds for the next wait."""
        now = asyncio.get_running_loop().time()
        left = self.patience
        if not self.begun:
            left = self._start + left - now
        if self._end is not None:
            left = min(left, self._end - now)
        return max(0.0, left)

    @property
    def patience(self) -> float:
        """Seconds of silence that are borne now."""
        first = self.waits.first
        return self.waits.silence if self.begun or first is None else first

    @property
    def over(self) -> bool:
        return self._end is not None and asyncio.get_running_loop().time() >= self._end - 1e-3


class Reply:
    """An answer whose headers (names in lower case) have arrived; `pieces` reads its body."""

    def __init__(self, response: httpx.Response, peer: Peer, clock: _Clock) -> None:
        self.status = response.status_code
        # Looked through for limits in every answer; httpx's own mapping decodes at every look.
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in response.headers.raw
        }
        self._response = response
        self._peer = peer
        self._clock = clock

    @property
    def content_type(self) -> str:
        """The media type, lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives.

        Raises:
            ProviderError: for a body that is cut off or does not end.
            LLMTimeoutError: when it pauses or lasts too long.
        """
        import httpx

        source = self._response.aiter_bytes()
        read = 0
        while True:
            seconds = self._clock.next()
            try:
                async with asyncio.timeout(seconds):
                    piece = await anext(source, None)
            except TimeoutError:
                raise _too_slow(self._peer, self._clock, "continue its answer") from None
            except httpx.HTTPError as error:
                raise transport_failure(self._peer, error, started=True) from error
            if piece is None:
                return
            self._clock.begun = True
            read += len(piece)
            if read > MOST_BYTES:
                raise self._peer.error("protocol", f"the answer exceeds {MOST_BYTES} bytes")
            yield piece

    async def body(self) -> bytes:
        """The whole body. Raises as `pieces`."""
        return b"".join([piece async for piece in self.pieces()])


def _too_slow(peer: Peer, clock: _Clock, waited_for: str) -> Exception:
    if clock.over and clock.waits.total is not None:
        return peer.timeout(clock.waits.total, "complete its answer")
    return peer.timeout(clock.patience, waited_for)


class HttpClient:
    """Connections to one provider, opened at the first call and kept.

    Proxies come from *proxy*, else from ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and
    ``NO_PROXY``; certificate authorities are the usual ones, or those of ``SSL_CERT_FILE`` and
    ``SSL_CERT_DIR``, and those in *ca_file* besides. Redirects are not followed: they would take
    the key elsewhere.
    """

    def __init__(self, peer: Peer, *, proxy: str | None = None, ca_file: str | None = None) -> None:
        self._peer = peer
        self._proxy = proxy
        self._ca_file = ca_file
        self._client: OpenOnce[_Transports] = OpenOnce(
            f"provider '{peer.name}'", self._open, self._close
        )

    async def _open(self) -> _Transports:
        # Importing httpx and aiohttp and reading the certificates takes a fifth of a second.
        return await asyncio.to_thread(self._make)

    def _make(self) -> _Transports:
        place = f"providers.{self._peer.name}"
        environment = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        try:
            return _Transports(_authorities(self._ca_file, environment), self._proxy)
        except OSError as error:
            source = f"{place}.ca_file '{self._ca_file}'" if self._ca_file else "SSL_CERT_FILE"
            raise ConfigurationError(
                f"the certificate authorities in {source} cannot be read: {error}",
                hint="It must be a file of certificates in PEM form.",
            ) from error

    async def _close(self, transports: _Transports) -> None:
        await transports.aclose()

    @asynccontextmanager
    async def send(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], waits: Waits
    ) -> AsyncGenerator[Reply]:
        """Send, and give the reply when its headers are there; leaving closes it.

        Raises:
            NetworkError, LLMTimeoutError, ConfigurationError: when none came.
        """
        transports = await self._client.get()
        import aiohttp
        import httpx

        clock = _Clock(waits)
        try:
            request = httpx.Request(
                method,
                _parsed(url),
                headers=[*headers.items(), *_OURS],
                content=body or None,
                extensions={"timeout": {"connect": waits.connect}},
            )
            transport = transports.find(request.url)
            if transport.proxy is not None and request.url.scheme == "http":
                # aiohttp sends these to a proxy with CONNECT only.
                request.headers.update(transport.proxy.headers)
            async with asyncio.timeout(clock.next()):
                response = await transport.handle_async_request(request)
        except httpx.InvalidURL as error:
            raise ConfigurationError(
                f"{self._peer.label} cannot be asked at '{self._peer.address}': {error}",
                hint=f"Check providers.{self._peer.name}.base_url; write it as https://host/v1.",
            ) from error
        except TimeoutError:
            raise _too_slow(self._peer, clock, "answer") from None
        except (httpx.HTTPError, aiohttp.ClientError) as error:
            raise transport_failure(self._peer, error, started=False) from error
        except _BadProxy as error:
            raise self._bad_proxy() from error
        try:
            yield Reply(response, self._peer, clock)
        finally:
            await response.aclose()

    def _bad_proxy(self) -> ConfigurationError:
        own = f"'providers.{self._peer.name}.proxy'"
        return ConfigurationError(
            f"the proxy in {own if self._proxy else 'HTTP_PROXY, HTTPS_PROXY or ALL_PROXY'} cannot "
            "be used",
            hint="Write it as http://host:port or https://host:port; SOCKS is not supported.",
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class _BadProxy(Exception):
    """Not the address of a proxy that can be spoken to."""


class _Transports:
    """Connections, by the proxy they go through. They are used without httpx's client, whose
    redirects, cookies and mounts nobody needs here and which costs as much as all the rest.
    """

    def __init__(self, authorities: ssl.SSLContext, proxy: str | None) -> None:
        self._authorities = authorities
        self._proxy = proxy
        self._ways: dict[tuple[str, str], str | None] = {}
        self._by_proxy: dict[str | None, AiohttpTransport] = {}

    def find(self, url: httpx.URL) -> AiohttpTransport:
        """The connections for *url*.

        Raises:
            _BadProxy: for a proxy that cannot be used.
        """
        place = (url.scheme, url.host)
        if place not in self._ways:
            self._ways[place] = self._proxy or _proxy_of(*place)
        proxy = self._ways[place]
        found = self._by_proxy.get(proxy)
        if found is None:
            found = self._by_proxy[proxy] = self._open(proxy)
        return found

    def _open(self, proxy: str | None) -> AiohttpTransport:
        import httpx
        from httpx_aiohttp import AiohttpTransport

        told = None
        if proxy is not None:
            address = proxy if "://" in proxy else f"http://{proxy}"
            credentials = credentials_of(address)
            headers = {"proxy-authorization": credentials} if credentials else {}
            try:
                told = httpx.Proxy(shown_address(address) or "", headers=headers)
            except (ValueError, httpx.InvalidURL) as error:
                raise _BadProxy from error
            if told.url.scheme not in {"http", "https"} or not told.url.host:
                raise _BadProxy
        return AiohttpTransport(
            verify=self._authorities,
            # Zero is aiohttp's word for "as many as there are calls".
            limits=httpx.Limits(max_connections=0, keepalive_expiry=_KEPT_SECONDS),
            proxy=told,
        )

    async def aclose(self) -> None:
        """Close them all."""
        while self._by_proxy:
            _, transport = self._by_proxy.popitem()
            await transport.aclose()


def _proxy_of(scheme: str, host: str) -> str | None:
    """The proxy the environment names for *host*."""
    from urllib.request import getproxies, proxy_bypass

    told = getproxies()
    proxy = told.get(scheme) or told.get("all")
    return None if proxy is None or proxy_bypass(host) else proxy


@lru_cache(maxsize=64)
def _parsed(url: str) -> httpx.URL:
    import httpx

    made = httpx.URL(url)
    if made.scheme not in {"http", "https"} or not made.host:
        raise httpx.InvalidURL(f"no address of a server: {url!r}")
    return made


@lru_cache(maxsize=8)
def _authorities(ca_file: str | None, environment: tuple[str | None, str | None]) -> ssl.SSLContext:
    """Whom to trust. Reading the authorities takes tens of milliseconds, so that providers share
    them; *environment* is what httpx reads itself.
    """
    import httpx

    made = httpx.create_ssl_context()
    if ca_file is not None:
        made.load_verify_locations(cafile=os.path.expanduser(ca_file))
    return made
