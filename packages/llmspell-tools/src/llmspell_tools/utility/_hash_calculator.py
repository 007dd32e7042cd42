"""The tool ``hash_calculator``."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from llmspell_core import Parameter, ToolResult, ToolSchema, ValidationError
from llmspell_tools._files import CHUNK, open_file, wrap_os_error
from llmspell_tools._operation_tool import (
    OperationTool,
    built_in,
    described,
    operation_parameter,
)
from llmspell_tools._results import soft_failure
from llmspell_tools._threads import Stop, in_thread

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext

LARGEST_FILE = 100 * 1024 * 1024
ON_THREAD_FROM = 1 << 20

_SHOWN = {
    "md5": "MD5",
    "sha1": "SHA-1",
    "sha256": "SHA-256",
    "sha512": "SHA-512",
    "sha3256": "SHA3-256",
    "sha3512": "SHA3-512",
    "blake2b": "BLAKE2b",
    "crc32": "CRC-32",
}
_HASHLIB = {"sha3256": "sha3_256", "sha3512": "sha3_512"}


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        from zlib import crc32

        self._value = crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def _digest(algorithm: str, pieces: Iterable[bytes]) -> bytes:
    if algorithm == "crc32":
        made: _Digest = _Crc32()
    else:
        import hashlib

        name = _HASHLIB.get(algorithm, algorithm)
        made = hashlib.new(name, usedforsecurity=False)
    for piece in pieces:
        made.update(piece)
    return made.digest()


@built_in("hash_calculator")
class HashCalculator(OperationTool):
    """Digests of text, bytes and files; files are read piece by piece."""

    operations = {  # noqa: RUF012 - a ClassVar by its base
        "hash": ("calculate", "digest"),
        "verify": ("check",),
    }
    default_operation = "hash"
    binary = frozenset({"input"})

    @property
    def schema(self) -> ToolSchema:
        """The parameters."""
        entry = described("hash_calculator")
        return ToolSchema(
            entry.name,
            entry.description,
            (
                operation_parameter(type(self), default="hash"),
                Parameter(
                    "algorithm",
                    "string",
                    "md5, sha1, sha256, sha512, sha3-256, sha3-512, blake2b or crc32",
                    default="sha256",
                ),
                Parameter(
                    "input_type",
                    "string",
                    "What is hashed",
                    default="string",
                    enum=("string", "file"),
                ),
                Parameter("input", "string", "The text", aliases=("data", "text")),
                Parameter(
                    "file",
                    "string",
                    "The path of the file",
                    aliases=("path", "file_path", "input_file"),
                ),
                Parameter(
                    "format",
                    "string",
                    "How the digest is written",
                    default="hex",
                    enum=("hex", "base64"),
                ),
                Parameter(
                    "expected_hash",
                    "string",
                    "verify: the digest to compare with",
                    aliases=("expected", "hash"),
                ),
                Parameter(
                    "expected_format",
                    "string",
                    "verify: how expected_hash is written",
                    default="hex",
                    enum=("hex", "base64"),
                ),
            ),
            "object",
        )

    def normalise(self, parameters: dict[str, Any]) -> None:
        """A file parameter implies ``input_type = "file"``."""
        if "file" in parameters and "input" not in parameters:
            parameters.setdefault("input_type", "file")
        for name in ("input_type", "format", "expected_format"):
            value = parameters.get(name)
            if isinstance(value, str):
                parameters[name] = value.lower()

    async def do_hash(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{algorithm, algorithm_id, hash, format}``."""
        algorithm = self._algorithm(parameters)
        if algorithm is None:
            return self._unsupported("hash", parameters)
        style = parameters.get("format", "hex")
        made = await self._computed(algorithm, parameters, context)
        written = made.hex() if style == "hex" else b64encode(made).decode("ascii")
        return ToolResult(
            operation="hash",
            message=f"Calculated {_SHOWN[algorithm]} hash",
            result={
                "algorithm": _SHOWN[algorithm],
                "algorithm_id": _identifier(algorithm),
                "hash": written,
                "format": style,
            },
            value=written,
        )

    async def do_verify(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{verified, algorithm}``, with expected and actual when it is false."""
        from hmac import compare_digest

        algorithm = self._algorithm(parameters)
        if algorithm is None:
            return self._unsupported("verify", parameters)
        expected = self._expected(parameters)
        made = await self._computed(algorithm, parameters, context)
        verified = compare_digest(made, expected)
        result: dict[str, Any] = {
            "verified": verified,
            "algorithm": _SHOWN[algorithm],
            "algorithm_id": _identifier(algorithm),
        }
        if not verified:
            result["expected"] = expected.hex()
            result["actual"] = made.hex()
        return ToolResult(
            operation="verify",
            message="The hash matches" if verified else "The hash does not match",
            result=result,
            value=verified,
        )

    @staticmethod
    def _algorithm(parameters: dict[str, Any]) -> str | None:
        key = parameters.get("algorithm", "sha256").lower().replace("-", "").replace("_", "")
        return key if key in _SHOWN else None

    @staticmethod
    def _unsupported(operation: str, parameters: dict[str, Any]) -> ToolResult:
        known = ", ".join(_identifier(algorithm) for algorithm in _SHOWN)
        return soft_failure(
            operation,
            ValidationError(
                f"Invalid algorithm: '{parameters['algorithm']}' is not supported. "
                f"Allowed values: {known}",
                field="algorithm",
            ),
        )

    @staticmethod
    def _expected(parameters: dict[str, Any]) -> bytes:
        text = parameters.get("expected_hash")
        if text is None:
            raise ValidationError(
                "Missing required parameter 'expected_hash'",
                field="expected_hash",
                code="MISSING_REQUIRED",
            )
        style = parameters.get("expected_format", "hex")
        try:
            if style == "hex":
                return bytes.fromhex(text.strip())
            return b64decode(text.strip(), validate=True)
        except (ValueError, Base64Error):
            raise ValidationError(
                f"Invalid {style} string in expected_hash", field="expected_hash"
            ) from None

    async def _computed(
        self, algorithm: str, parameters: dict[str, Any], context: ExecutionContext
    ) -> bytes:
        if parameters.get("input_type", "string") == "file":
            return await self._of_file(algorithm, parameters, context)
        given = parameters.get("input")
        if given is None:
            raise ValidationError(
                "Missing required parameter 'input'", field="input", code="MISSING_REQUIRED"
            )
        content = given.encode() if isinstance(given, str) else given
        if len(content) < ON_THREAD_FROM:
            return _digest(algorithm, (content,))
        return await in_thread(lambda stop: _digest(algorithm, (content,)))

    @staticmethod
    async def _of_file(
        algorithm: str, parameters: dict[str, Any], context: ExecutionContext
    ) -> bytes:
        path = parameters.get("file")
        if path is None:
            raise ValidationError(
                "Missing required parameter 'file'", field="file", code="MISSING_REQUIRED"
            )
        real = context.services.security.path(path, "read", context, caller="tool")

        def work(stop: Stop) -> bytes:
            with wrap_os_error("read", path), open_file(real, os.O_RDONLY) as file:
                size = os.fstat(file.fileno()).st_size
                if size > LARGEST_FILE:
                    raise ValidationError(
                        f"File size {size} exceeds maximum allowed size {LARGEST_FILE}: {path}",
                        field="file",
                    )

                def pieces() -> Iterable[bytes]:
                    while piece := file.read(CHUNK):
                        stop.check()
                        yield piece

                return _digest(algorithm, pieces())

        return await in_thread(work)


def _identifier(algorithm: str) -> str:
    return {"sha3256": "sha3-256", "sha3512": "sha3-512"}.get(algorithm, algorithm)
