"""Which files the file tool accepts: extensions, sizes, kinds of content, encodings."""

from __future__ import annotations

import codecs
import os
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from llmspell_core import SecurityError, StorageError, ValidationError
from llmspell_tools._config import FileOperationsConfig

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext

_PROGRAMS = (
    b"\x7fELF",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
)


def file_rules(context: ExecutionContext) -> FileOperationsConfig:
    """The section ``[tools.file_operations]``."""
    return context.services.config.section("tools.file_operations", FileOperationsConfig)


def check_extension(path: str, rules: FileOperationsConfig) -> None:
    """Refuse an extension that is blocked or not among the allowed ones."""
    extension = os.path.splitext(path.rstrip("/"))[1].lower().removeprefix(".")
    blocked = _extensions(rules.blocked_extensions)
    allowed = _extensions(rules.allowed_extensions)
    if extension in blocked or (allowed and extension not in allowed):
        raise SecurityError(
            f"Extension not allowed: '.{extension}' of {path}",
            violation_type="file_extension",
            hint="See allowed_extensions and blocked_extensions in [tools.file_operations].",
        )


def _extensions(words: list[str]) -> set[str]:
    return {word.lower().removeprefix(".") for word in words if word}


def check_type(content: bytes, path: str, rules: FileOperationsConfig) -> None:
    """Refuse a program under another name."""
    program = content.startswith(_PROGRAMS)
    if content.startswith(b"MZ"):
        # Two letters that a text may begin with; the header of a program has zeros in it.
        program = b"\0" in content[:64]
    if rules.validate_file_types and program:
        raise SecurityError(
            f"File type not allowed: the content for {path} is a program",
            violation_type="file_type",
            hint="validate_file_types = false in [tools.file_operations] allows it.",
        )


def check_size(size: int, path: str, rules: FileOperationsConfig) -> None:
    """Refuse what is larger than ``max_file_size``."""
    if size > rules.max_file_size:
        raise ValidationError(
            f"File size {size} exceeds maximum allowed size {rules.max_file_size}: {path}",
            field="path",
            hint="Raise max_file_size in [tools.file_operations].",
        )


def bounded(content: bytes, path: str, rules: FileOperationsConfig) -> bytes:
    """*content*, unless it is larger than ``max_file_size``."""
    if len(content) > rules.max_file_size:
        raise ValidationError(
            f"File size exceeds maximum allowed size {rules.max_file_size}: {path}",
            field="path",
            hint="Raise max_file_size in [tools.file_operations].",
        )
    return content


def encoding_of(parameters: dict[str, Any]) -> str:
    """The canonical name of the encoding asked for; ``base64`` stands for bytes."""
    name = parameters.get("encoding", "utf-8").lower()
    if name == "base64":
        return name
    try:
        found = codecs.lookup(name)
    except LookupError:
        found = None
    # Codecs such as zlib or rot13 are no encodings of text.
    if found is None or not getattr(found, "_is_text_encoding", True):
        raise ValidationError(
            f"Invalid encoding: '{name}'",
            field="encoding",
            hint="Use utf-8, latin-1, utf-16 … or base64.",
        )
    return found.name


def decoded(content: bytes, encoding: str, path: str) -> str:
    """The text of *content*."""
    if encoding == "base64":
        return b64encode(content).decode("ascii")
    try:
        return content.decode(encoding)
    except UnicodeError:
        shown = "UTF-8" if encoding == "utf-8" else encoding
        raise StorageError(
            f"File contains invalid {shown}: {path}",
            operation="decode",
            hint='Give its encoding ("latin-1"), or encoding = "base64" for bytes.',
        ) from None
