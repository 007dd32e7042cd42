"""The one module that knows httpx: opening a client, sending, reading with an end to each wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmspell_core import ConfigurationError, OpenOnce
from llmspell_providers._failures import Peer, transport_failure

if TYPE_CHECKING:
    import httpx

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
    """An answer whose headers have arrived; `pieces` reads its body."""

    def __init__(self, response: httpx.Response, peer: Peer, clock: _Clock) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
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

    Proxies and certificate authorities come from the environment (``HTTPS_PROXY``,
    ``SSL_CERT_FILE``), as httpx reads them. Redirects are not followed: they would take the key
    elsewhere.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._client: OpenOnce[httpx.AsyncClient] = OpenOnce(
            f"provider '{peer.name}'", self._open, self._close
        )

    async def _open(self) -> httpx.AsyncClient:
        def make() -> httpx.AsyncClient:
            import httpx

            return httpx.AsyncClient(limits=httpx.Limits(max_connections=None))

        # Importing httpx and reading the certificates takes a tenth of a second.
        return await asyncio.to_thread(make)

    async def _close(self, client: httpx.AsyncClient) -> None:
        await client.aclose()

    @asynccontextmanager
    async def send(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], waits: Waits
    ) -> AsyncGenerator[Reply]:
        """Send, and give the reply when its headers are there; leaving closes it.

        Raises:
            NetworkError, LLMTimeoutError, ConfigurationError: when none came.
        """
        client = await self._client.get()
        import httpx

        clock = _Clock(waits)
        timeout = httpx.Timeout(None, connect=waits.connect)
        try:
            request = client.build_request(
                method, url, content=body or None, headers=dict(headers), timeout=timeout
            )
            async with asyncio.timeout(clock.next()):
                response = await client.send(request, stream=True)
        except httpx.InvalidURL as error:
            raise ConfigurationError(
                f"{self._peer.label} cannot be asked at '{self._peer.address}': {error}",
                hint=f"Check providers.{self._peer.name}.base_url; write it as https://host/v1.",
            ) from error
        except TimeoutError:
            raise _too_slow(self._peer, clock, "answer") from None
        except httpx.HTTPError as error:
            raise transport_failure(self._peer, error, started=False) from error
        try:
            yield Reply(response, self._peer, clock)
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
