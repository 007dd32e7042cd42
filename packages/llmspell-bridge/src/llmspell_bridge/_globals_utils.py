"""The global `Utils`."""

from __future__ import annotations

from binascii import Error as Base64Error
from typing import Any

from llmspell_bridge._log import rfc3339
from llmspell_core import ScriptHost, ValidationError, exposed, script_global

_SECRET = ("KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL", "AUTH")
_ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "blake2s")


@script_global("Utils")
class UtilsGlobal:
    """Small helpers: ids, time, hashes, text, copies."""

    def __init__(self, host: ScriptHost) -> None:
        self._host = host

    @exposed()
    def uuid(self) -> str:
        """A random UUID."""
        return self._host.context.new_id()

    @exposed()
    def timestamp(self) -> float:
        """The time in seconds since 1970, with a fraction."""
        return self._host.context.now()

    @exposed()
    def now(self) -> str:
        """The time in UTC as text: ``2026-11-21T14:47:00.000Z``."""
        return rfc3339(self._host.context.now())

    @exposed()
    async def sleep(self, milliseconds: float) -> None:
        """Wait; callbacks and promises are served meanwhile.

        Args:
            milliseconds: How long.

        Raises:
            ValidationError: For a negative or endless time.
        """
        import asyncio

        if not 0 <= milliseconds < float("inf"):
            raise ValidationError("milliseconds must not be negative", field="milliseconds")
        await asyncio.sleep(milliseconds / 1000)

    @exposed()
    def hash(self, text: bytes, algorithm: str = "sha256") -> str:
        """The digest of a text, in hex.

        Args:
            text: The bytes.
            algorithm: ``md5``, ``sha1``, ``sha224``, ``sha256``, ``sha384``, ``sha512``,
                ``blake2b`` or ``blake2s``.

        Raises:
            ValidationError: For an unknown algorithm.
        """
        import hashlib

        name = algorithm.lower().replace("-", "")
        if name not in _ALGORITHMS:
            raise ValidationError(
                f"Unsupported algorithm: {algorithm}",
                field="algorithm",
                hint=f"One of {', '.join(_ALGORITHMS)}.",
            )
        return hashlib.new(name, text, usedforsecurity=False).hexdigest()

    @exposed(names=("base64encode",))
    def base64_encode(self, text: bytes) -> bytes:
        """A text in Base64.

        Args:
            text: The bytes.
        """
        from base64 import b64encode

        return b64encode(text)

    @exposed(names=("base64decode",))
    def base64_decode(self, text: bytes) -> bytes:
        """The bytes that Base64 text stands for.

        Args:
            text: Base64.

        Raises:
            ValidationError: For anything else.
        """
        from base64 import b64decode

        try:
            return b64decode(text, validate=True)
        except (Base64Error, ValueError) as error:
            raise ValidationError(f"not Base64: {error}", field="text") from None

    @exposed()
    def trim(self, text: bytes) -> bytes:
        """A text without the white space at both ends."""
        return text.strip()

    @exposed()
    def split(self, text: bytes, separator: bytes = b",") -> list[bytes]:
        """The pieces of a text between its separators.

        Args:
            text: The text.
            separator: Plain text, not a pattern.

        Raises:
            ValidationError: For an empty separator.
        """
        if not separator:
            raise ValidationError("separator must not be empty", field="separator")
        return text.split(separator)

    @exposed(native=True)
    def deep_copy(self, value: Any) -> Any:
        """A copy of a table and of the tables in it; cycles and sharing stay as they are.

        Args:
            value: Any value; handles are not copied.
        """
        ...

    @exposed()
    def env(self, name: str) -> Any:
        """An environment variable, or nil.

        In the strict profile (``stdlib`` None or Basic) names that speak of keys, tokens, secrets
        or passwords are nil.
        """
        if getattr(self._host, "strict", False) and any(word in name.upper() for word in _SECRET):
            return None
        return self._host.context.environ(name)
