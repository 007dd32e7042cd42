"""Documents from one format to another: JSON, YAML, TOML, CSV.

What the converter lets its worker process do. A document may announce more than it holds (YAML's
references multiply), so the answer is bounded, and so is the child.
"""

from __future__ import annotations

import json
import tomllib
from datetime import date, datetime, time
from typing import Any, cast

from llmspell_tools._worker_main import Refused

LARGEST_RESULT = 50_000_000


def convert(text: str, before: str, after: str) -> str:
    """The document *text* in another format."""
    return _WRITERS[after](_READERS[before](text))


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Refused(f"Invalid JSON: {error}") from None


def _from_yaml(text: str) -> Any:
    yaml: Any
    try:
        import yaml
    except ImportError:
        raise Refused("MISSING:pyyaml") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise Refused(f"Invalid YAML: {error}") from None


def _from_toml(text: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"Invalid TOML: {error}") from None


def _from_csv(text: str) -> Any:
    from llmspell_tools.data._csv_jobs import objects

    return objects({"text": text}, {"headers": True})


def _plain(value: Any) -> Any:
    """What JSON has no word for, as text."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, set | frozenset):
        return sorted(cast("set[Any]", value), key=str)
    raise Refused(f"A {type(value).__name__} cannot be converted")


def _bounded(value: Any, indent: int | None) -> str:
    """JSON, written piece by piece, so that what multiplies is stopped on the way."""
    pieces: list[str] = []
    size = 0
    encoder = json.JSONEncoder(ensure_ascii=False, indent=indent, default=_plain)
    try:
        for piece in encoder.iterencode(value):
            size += len(piece)
            if size > LARGEST_RESULT:
                raise Refused(f"The converted document is larger than {LARGEST_RESULT} characters")
            pieces.append(piece)
    except (TypeError, ValueError) as error:
        raise Refused(f"The document cannot be converted: {error}") from None
    return "".join(pieces)


def _to_json(value: Any) -> str:
    return _bounded(value, 2) + "\n"


def _to_yaml(value: Any) -> str:
    yaml: Any
    try:
        import yaml
    except ImportError:
        raise Refused("MISSING:pyyaml") from None
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    plain = json.loads(_bounded(value, None))
    return yaml.dump(plain, Dumper=dumper, allow_unicode=True, sort_keys=False)


def _to_toml(value: Any) -> str:
    try:
        import tomli_w
    except ImportError:
        raise Refused("MISSING:tomli-w") from None
    plain = json.loads(_bounded(value, None))
    if not isinstance(plain, dict):
        raise Refused("TOML is a table at the top; this document is none")
    return tomli_w.dumps(cast("dict[str, Any]", _without_null(plain)))


def _without_null(value: Any) -> Any:
    """TOML has no null: such a key is left out."""
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return {key: _without_null(inner) for key, inner in table.items() if inner is not None}
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [_without_null(inner) for inner in items if inner is not None]
    return value


def _to_csv(value: Any) -> str:
    from llmspell_tools.data._csv_jobs import write

    plain = json.loads(_bounded(value, None))
    if not isinstance(plain, list):
        raise Refused("CSV is a list of objects; this document is none")
    return write(cast("list[Any]", plain), {})


_READERS = {"json": _from_json, "yaml": _from_yaml, "toml": _from_toml, "csv": _from_csv}
_WRITERS = {"json": _to_json, "yaml": _to_yaml, "toml": _to_toml, "csv": _to_csv}
