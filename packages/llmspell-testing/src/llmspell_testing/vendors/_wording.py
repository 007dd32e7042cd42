"""What requests to OpenAI's several protocols have in common."""

from __future__ import annotations

import base64
import re
from typing import Any, cast

from llmspell_core import Media
from llmspell_testing.vendors._shapes import ShapeError, check

REASONING = re.compile(r"^(o\d|gpt-([5-9]|\d\d)(?!.*-chat)|gpt-oss)")
"""Models that think before they answer."""

FIXED_SAMPLING = re.compile(r"^(o\d|gpt-5(?![.\d]|-chat))")
"""Models that refuse every ``temperature`` and ``top_p`` but the usual."""

NEW_LIMIT = re.compile(r"^(o\d|gpt-([5-9]|\d\d))")
"""Models that refuse ``max_tokens``."""

EFFORTS = {"none", "minimal", "low", "medium", "high", "xhigh", "max"}

_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")


def name_shape(value: Any, place: str) -> None:
    """A function's name."""
    check(value, str, place)
    if not _NAME.match(value):
        raise ShapeError(f"'{place}' is {value!r}; expected a name that matches {_NAME.pattern}")


def image_url_shape(value: Any, place: str) -> None:
    """A URL, or a data URL of a picture."""
    check(value, str, place)
    if not re.match(r"^(https?://|data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+$)", value):
        raise ShapeError(f"'{place}' is neither a URL nor a base64 image: {value[:60]!r}")


def strict_schema(schema: Any, place: str) -> None:
    """What structured outputs ask of a schema: every object closed, every property required."""
    if isinstance(schema, list):
        for index, one in enumerate(cast("list[Any]", schema)):
            strict_schema(one, f"{place}[{index}]")
    if not isinstance(schema, dict):
        return
    table = cast("dict[str, Any]", schema)
    if table.get("type") == "object" or "properties" in table:
        if table.get("additionalProperties") is not False:
            raise ShapeError(
                f"Invalid schema: In context={place}, 'additionalProperties' is required to be "
                "supplied and to be false."
            )
        names: dict[str, Any] = table.get("properties") or {}
        if set(cast("list[str]", table.get("required") or [])) != set(names):
            raise ShapeError(
                f"Invalid schema: In context={place}, 'required' is required to be supplied and "
                "to be an array including every key in properties."
            )
    for key, value in table.items():
        if key not in {"enum", "const", "default", "examples", "required"}:
            strict_schema(value, f"{place}.{key}")


def read_media(url: str) -> Media:
    """The picture of an ``image_url``."""
    found = re.match(r"^data:([^;]+);base64,(.*)$", url, re.DOTALL)
    if found is None:
        return Media("image/*", url=url)
    return Media(found[1], data=base64.b64decode(found[2], validate=True))
