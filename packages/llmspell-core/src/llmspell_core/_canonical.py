"""Canonical JSON: one text for one value, whatever the key order.

The rules follow RFC 8785 where it matters for identity (sorted keys, no insignificant white
space, UTF-8); bytes, which JSON lacks, become ``{"$bytes": base64}``, and the floats that JSON
cannot hold become ``{"$float": "nan" | "inf" | "-inf"}``. A mapping that looks like one of these
marks gets one more ``$`` before its key.
"""

from __future__ import annotations

import json
from binascii import Error as Base64Error
from typing import Any, cast

UNSUPPORTED = "Unsupported Lua type for JSON conversion"
"""What scripts are told of values that have no JSON form."""


def _plain(value: Any) -> Any:
    to_dict = getattr(value, "to_dict", None)
    if to_dict is not None:
        return to_dict()
    if isinstance(value, bytes | bytearray | memoryview):
        from base64 import b64encode

        return {"$bytes": b64encode(bytes(cast("bytes", value))).decode("ascii")}
    if isinstance(value, set | frozenset):
        return sorted(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    isoformat = getattr(value, "isoformat", None)
    if isoformat is not None:
        return isoformat()
    if hasattr(value, "__fspath__"):
        return str(value)
    if hasattr(value, "keys"):
        return dict(value)
    if hasattr(value, "value"):
        return value.value
    name = handle_name(value)
    if name is not None:
        return name
    from llmspell_core._script import ScriptFunction

    if isinstance(value, ScriptFunction):
        raise TypeError(f"{UNSUPPORTED}: function")
    raise TypeError(f"{type(value).__name__} has no canonical JSON form")


def handle_name(value: Any) -> str | None:
    """What stands in data for a script handle (an agent, a tool, a workflow): its name, or its id.

    None for everything else, and for a handle that has neither.
    """
    if getattr(cast("type[Any]", type(value)), "__script_kind__", None) != "object":
        return None
    for key in ("name", "id"):
        found = getattr(value, key, None)
        if isinstance(found, str) and found:
            return found
    return None


_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
).encode


def canonical(value: Any) -> str:
    """The canonical JSON text of *value*.

    Accepts JSON values, bytes, sets, dates, paths, enums and anything with ``to_dict()``; a script
    handle is written as its name.

    Raises:
        TypeError: for a value that has no JSON form.
    """
    try:
        try:
            text = _encode(value)
        except (ValueError, TypeError):
            # A NaN or infinity, or keys of mixed types: both rare, so the walk is paid here.
            return _encode(_walk(value))
        # Bytes, or a mapping that looks like a mark: rare too.
        return text if '"$' not in text else _encode(_walk(value))
    except RecursionError:
        raise TypeError("it is nested too deeply, or holds itself") from None


def _walk(value: Any) -> Any:
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return {"$float": repr(value)}
        return value
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return _plain(value)
    if isinstance(value, dict):
        walked = {_key(k): _walk(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        if len(walked) == 1:
            key = next(iter(walked))
            if key[:1] == "$" and key.lstrip("$") in ("bytes", "float"):
                return {"$" + key: walked[key]}
        return walked
    if isinstance(value, list | tuple):
        return [_walk(item) for item in value]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return _walk(_plain(value))


def _key(key: Any) -> str:
    """As the encoder writes keys that are no text."""
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, bool | float):
        return json.dumps(key)
    return str(int(key)) if isinstance(key, int) else str(key)


def from_canonical(text: str) -> Any:
    """The value that `canonical` wrote; bytes and special floats come back as they were."""
    if '"$' in text:
        return json.loads(text, object_hook=_revive)
    return json.loads(text)


def _revive(mapping: dict[str, Any]) -> Any:
    if len(mapping) == 1:
        if "$bytes" in mapping:
            from base64 import b64decode

            try:
                return b64decode(mapping["$bytes"], validate=True)
            except (Base64Error, TypeError, ValueError):
                return mapping
        if mapping.get("$float") in ("nan", "inf", "-inf"):
            return float(mapping["$float"])
        key = next(iter(mapping))
        if key[:2] == "$$" and key.lstrip("$") in ("bytes", "float"):
            return {key[1:]: mapping[key]}
    return mapping


_blake2b: Any = None


def digest(text: str) -> str:
    """A 128-bit BLAKE2b digest of *text* in hex: the identity of a canonical request."""
    global _blake2b
    if _blake2b is None:
        # Late: hashlib brings OpenSSL along.
        from hashlib import blake2b as _blake2b
    return _blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
