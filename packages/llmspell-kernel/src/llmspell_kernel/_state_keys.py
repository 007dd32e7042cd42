"""Scopes and keys of state: one flat space of ``scope:key``."""

from __future__ import annotations

from llmspell_core import ValidationError

SCOPES = ("global", "user", "session", "agent", "tool", "workflow", "hook", "tenant", "custom")
"""The scopes that mean something; any other word is a scope of the script's own."""

_LONGEST_KEY = 256
_LONGEST_ADDRESS = 512
_FORBIDDEN = ("..", "\\", "//")
_RESERVED = ("__", "$$")


def scope_named(scope: str) -> str:
    """*scope* in the form it is kept: without a trailing ``:``, its first word in lower case.

    Raises:
        ValidationError: ``Invalid format: …``.
    """
    text = _checked("scope", scope.rstrip(":") if isinstance(scope, str) else scope)  # pyright: ignore[reportUnnecessaryIsInstance]
    word, colon, rest = text.partition(":")
    return word.lower() + colon + rest


def address(scope: str, key: str) -> str:
    """The flat key ``scope:key``.

    Raises:
        TypeError: when one is not a string.
        ValidationError: ``Invalid format: …``.
    """
    flat = f"{scope_named(scope)}:{_checked('key', key)}"
    if len(flat) > _LONGEST_ADDRESS:
        raise _invalid("key", f"scope and key are longer than {_LONGEST_ADDRESS} characters")
    return flat


def scope_of(flat: str) -> str:
    """The scope a flat key is listed under: ``workflow:ID`` where there is an id, else the
    first word.
    """
    word, _, rest = flat.partition(":")
    owner, colon, _ = rest.partition(":")
    return f"{word}:{owner}" if colon and word != "global" and word in SCOPES else word


def addresses_scope(key: str) -> bool:
    """Whether *key* begins with one of `SCOPES` and ``:``, and so names its scope itself."""
    word, colon, rest = key.partition(":")
    return bool(colon and rest) and word.lower() in SCOPES


def _checked(what: str, text: str) -> str:
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a state {what} must be str, not {type(text).__name__}")
    if not text:
        raise _invalid(what, f"{what} is empty")
    if len(text) > _LONGEST_KEY:
        raise _invalid(what, f"{what} is longer than {_LONGEST_KEY} characters")
    for part in _FORBIDDEN:
        if part in text:
            raise _invalid(what, f"{what} {text!r} contains {part!r}, which looks like a path")
    if text.startswith(_RESERVED):
        raise _invalid(what, f"{what} {text!r} begins with {text[:2]!r}, which is reserved")
    if not text.isprintable() and any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in text):
        raise _invalid(what, f"{what} {text!r} contains a control character")
    return text if text.isascii() else _normalised(what, text)


def _normalised(what: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _invalid(what, f"{what} {text!r} is not valid Unicode") from None
    from unicodedata import normalize

    return normalize("NFC", text)


def _invalid(what: str, reason: str) -> ValidationError:
    return ValidationError(f"Invalid format: {reason}", field=what, code="INVALID_STATE_KEY")
