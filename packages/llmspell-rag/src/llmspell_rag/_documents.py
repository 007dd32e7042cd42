"""What may be ingested, and when it happened and expires according to its metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmspell_core import Document, ValidationError

CITATION_FIELDS = ("first_line", "last_line", "start", "end", "heading", "fingerprint")
"""Metadata that retrieval writes; what a document says under these names is refused."""

_EVENT_KEYS = ("event_time", "timestamp", "created_at")
_TTL_KEYS = ("ttl", "ttl_seconds", "expires_in")


@dataclass(frozen=True, slots=True)
class Times:
    """Unix seconds, from a document's metadata."""

    event_time: float | None
    expires_at: float | None


def check_documents(documents: Sequence[Document], *, limit_kb: int | None = None) -> None:
    """Raise `ValidationError` for the first document that cannot be ingested."""
    for document in documents:
        if not isinstance(document.text, str) or not document.text.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValidationError(
                "Document requires 'content' or 'text' field with a text that is not empty",
                field="text",
            )
        if limit_kb is not None and len(document.text) > limit_kb * 1024 // 4:
            size = len(document.text.encode(errors="surrogatepass"))
            if size > limit_kb * 1024:
                raise ValidationError(
                    f"a document of {size // 1024} KB is over the limit of {limit_kb} KB",
                    field="text",
                    hint="Raise rag.security.max_input_size_kb, or split it.",
                )
        if not document.text.isascii():
            try:
                document.text.encode()
            except UnicodeEncodeError as error:
                raise ValidationError(
                    f"a document's text is not valid Unicode (at character {error.start})",
                    field="text",
                ) from error
        for key in CITATION_FIELDS:
            if key in document.metadata:
                raise ValidationError(
                    f"metadata '{key}' is written by retrieval itself",
                    field="metadata",
                    hint=f"Call it something else, for example 'my_{key}'.",
                )
        times_of(document.metadata, now=0.0)


def times_of(metadata: Mapping[str, Any], *, now: float) -> Times:
    """When it happened (`_EVENT_KEYS`, the first that is there) and when it expires: at
    ``expires_at``, or *now* plus one of `_TTL_KEYS`.

    Raises:
        ValidationError: naming the key, for a value that is no time.
    """
    event = next((key for key in _EVENT_KEYS if key in metadata), None)
    life = next((key for key in _TTL_KEYS if key in metadata), None)
    expires = None
    if "expires_at" in metadata:
        expires = _moment("expires_at", metadata["expires_at"])
    elif life is not None:
        seconds = metadata[life]
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
            raise ValidationError(
                f"metadata '{life}' must be a number of seconds above 0, not {seconds!r}",
                field="metadata",
            )
        expires = now + seconds
    return Times(None if event is None else _moment(event, metadata[event]), expires)


def _moment(key: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    from datetime import UTC, datetime

    try:
        read = datetime.fromisoformat(str(value).strip())
    except ValueError as error:
        raise ValidationError(
            f"metadata '{key}' must be Unix seconds or ISO 8601, not {value!r}", field="metadata"
        ) from error
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
