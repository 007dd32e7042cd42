"""JSON Schemas as vendors with a narrow taste accept them."""

from __future__ import annotations

import json
from typing import Any, cast

_FORMATS = frozenset(
    {
        "date-time",
        "time",
        "date",
        "duration",
        "email",
        "hostname",
        "uri",
        "ipv4",
        "ipv6",
        "uuid",
    }
)
_KEPT = ("title", "default", "enum", "const", "$ref")


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """*schema* for constrained decoding: objects take no other properties than the named ones,
    and what the decoder cannot enforce (``minimum``, ``pattern``, ``maxItems`` …) is told to the
    model in the description instead. Whoever validates the answer uses the original.
    """
    made: dict[str, Any] = {key: schema[key] for key in _KEPT if key in schema}
    told = {
        key: value for key, value in schema.items() if key not in {*_KEPT, "description", "$schema"}
    }
    for key in ("$defs", "definitions", "properties"):
        if isinstance(told.get(key), dict):
            inner = cast("dict[str, Any]", told.pop(key))
            made[key] = {name: _inside(value) for name, value in inner.items()}
    for key, at in (("anyOf", "anyOf"), ("oneOf", "anyOf"), ("allOf", "allOf")):
        if isinstance(told.get(key), list):
            made[at] = [_inside(value) for value in cast("list[Any]", told.pop(key))]
    kind: Any = told.pop("type", None)
    if isinstance(kind, list):
        kinds = cast("list[str]", kind)
        return _any_of(schema, kinds)
    if kind is not None:
        made["type"] = kind
    _by_kind(kind, made, told)
    words = [schema.get("description"), json.dumps(told, ensure_ascii=False) if told else None]
    description = "\n".join(word for word in words if word)
    if description:
        made["description"] = description
    return made


def _by_kind(kind: Any, made: dict[str, Any], told: dict[str, Any]) -> None:
    """Move what the decoder can enforce for a *kind* from *told* to *made*."""
    if kind == "object" or "properties" in made:
        if isinstance(told.get("additionalProperties"), bool):
            del told["additionalProperties"]
        made["additionalProperties"] = False
        if "required" in told:
            made["required"] = told.pop("required")
    if "items" in told:
        made["items"] = _inside(told.pop("items"))
    if told.get("minItems") in {0, 1}:
        made["minItems"] = told.pop("minItems")
    if told.get("format") in _FORMATS:
        made["format"] = told.pop("format")


def _any_of(schema: dict[str, Any], kinds: list[str]) -> dict[str, Any]:
    """``type: [a, b]`` written as alternatives."""
    rest = {key: value for key, value in schema.items() if key not in {"type", "description"}}
    if "null" in kinds and isinstance(rest.get("enum"), list):
        rest["enum"] = [one for one in cast("list[Any]", rest["enum"]) if one is not None]
    made: dict[str, Any] = {
        "anyOf": [
            {"type": "null"} if kind == "null" else closed({**rest, "type": kind}) for kind in kinds
        ]
    }
    if schema.get("description"):
        made["description"] = schema["description"]
    return made


def _inside(value: Any) -> Any:
    return closed(cast("dict[str, Any]", value)) if isinstance(value, dict) else value


def wanted_schema(response_format: dict[str, Any] | None) -> dict[str, Any] | None:
    """The schema of a ``json_schema`` response format; None for any other."""
    if response_format is None or response_format.get("type") != "json_schema":
        return None
    inner: Any = response_format.get("json_schema")
    found: Any = cast("dict[str, Any]", inner).get("schema") if isinstance(inner, dict) else None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {"type": "object"}


def in_words(schema: dict[str, Any] | None) -> str:
    """What a model is told that cannot be held to *schema* (None for any JSON object)."""
    if schema is None:
        return "Answer with one JSON object and nothing else."
    text = json.dumps(schema, ensure_ascii=False)
    return f"Answer with JSON that fits this JSON Schema, and with nothing else:\n{text}"
