"""What may be a key and a value."""

from __future__ import annotations

from llmspell_core import ValidationError


def checked_key(key: str) -> str:
    """*key*, if it is text that every back end can hold.

    Raises:
        TypeError: when it is not a string.
        ValidationError: when it holds half a surrogate pair, which no file can hold.
    """
    if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a key must be str, not {type(key).__name__}")
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError as error:
            raise ValidationError(f"key {key!r} is not valid Unicode text", field="key") from error
    return key


def checked_value(value: bytes) -> bytes:
    """*value* as bytes.

    Raises:
        TypeError: when it is not bytes.
    """
    if type(value) is bytes:
        return value
    if isinstance(value, bytes | bytearray | memoryview):  # pyright: ignore[reportUnnecessaryIsInstance]
        return bytes(value)
    raise TypeError(f"a value must be bytes, not {type(value).__name__}")
