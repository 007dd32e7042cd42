"""Images, sounds and files as scripts give them to an agent."""

from __future__ import annotations

from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from typing import Any, cast

from llmspell_core import Media, ValidationError

_TYPES: Mapping[str, Mapping[str, str]] = {
    "image": {
        "png": "image/png",
        "jpeg": "image/jpeg",
        "jpg": "image/jpeg",
        "webp": "image/webp",
        "gif": "image/gif",
        "svg": "image/svg+xml",
        "tiff": "image/tiff",
        "tif": "image/tiff",
    },
    "audio": {
        "mp3": "audio/mpeg",
        "wav": "audio/wav",
        "flac": "audio/flac",
        "ogg": "audio/ogg",
        "oga": "audio/ogg",
        "m4a": "audio/mp4",
    },
    "video": {
        "mp4": "video/mp4",
        "webm": "video/webm",
        "avi": "video/x-msvideo",
        "mov": "video/quicktime",
        "mkv": "video/x-matroska",
    },
    "binary": {"pdf": "application/pdf", "txt": "text/plain", "csv": "text/csv"},
}
_MEGABYTE = 1_000_000
_LARGEST = {
    "image": 100 * _MEGABYTE,
    "audio": 500 * _MEGABYTE,
    "video": 5_000 * _MEGABYTE,
    "binary": 1_000 * _MEGABYTE,
}
_USUAL = {"image": "png", "audio": "mp3", "video": "mp4"}


def read_media(table: Mapping[str, Any]) -> tuple[Media, ...]:
    """The ``media`` list and the single ``image`` of an input.

    An item is ``{base64 | url, type, format}``: `type` is ``image`` (the default), ``audio``,
    ``video`` or ``binary``; `format` one of its formats, or ``media_type`` names the type itself.
    Items whose base64 cannot be read are left out.

    Raises:
        ValidationError: for an item of another form, an unknown format, or one that is too large.
    """
    given: Any = table.get("media") or []
    if isinstance(given, Mapping):
        given = [given]
    if not isinstance(given, list | tuple):
        raise _wrong(f"media must be a list, not {type(given).__name__}")
    items: list[Any] = list(cast("Sequence[Any]", given))
    if table.get("image"):
        items.append(table["image"])
    found = [_medium(item) for item in items]
    return tuple(medium for medium in found if medium is not None)


def _medium(item: Any) -> Media | None:
    if isinstance(item, Media):
        return item
    if not isinstance(item, Mapping):
        raise _wrong(f"an item of media must be a table, not {type(item).__name__}")
    table = cast("Mapping[str, Any]", item)
    kind = str(table.get("type", "image"))
    if kind not in _TYPES:
        raise _wrong(f"unknown type of media '{kind}'; known: {', '.join(_TYPES)}")
    media_type = table.get("media_type") or table.get("mime_type")
    if media_type is None:
        name = str(table.get("format") or _USUAL.get(kind, "")).lower()
        media_type = _TYPES[kind].get(name)
        if media_type is None:
            known = ", ".join(_TYPES[kind])
            raise _wrong(f"unknown format '{name}' of {kind}; known: {known}")
    url = table.get("url")
    if isinstance(url, str) and url:
        return Media(str(media_type), url=url)
    return _of_base64(table, kind, str(media_type))


def _of_base64(table: Mapping[str, Any], kind: str, media_type: str) -> Media | None:
    text = table.get("base64", table.get("data"))
    if not isinstance(text, str | bytes) or not text:
        raise _wrong(f"{kind} needs 'base64' or 'url'")
    from base64 import b64decode

    try:
        data = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        import logging

        logging.getLogger("llmspell.agents").warning(
            "an item of media is left out: its base64 cannot be read"
        )
        return None
    if len(data) > _LARGEST[kind]:
        raise _wrong(f"{kind} of {len(data)} bytes; at most {_LARGEST[kind]} are allowed")
    return Media(media_type, data=data)


def _wrong(words: str) -> ValidationError:
    return ValidationError(f"Invalid media: {words}", field="media")
