"""Tables of settings as pydantic models, and what the file may say as JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from functools import partial
from keyword import iskeyword
from typing import Any, Literal, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model

from llmspell_config._convert import FALSE_WORDS, SECONDS, SIZES, TRUE_WORDS
from llmspell_config._known import PROVIDER_KEYS, provider_key
from llmspell_config._redaction import is_sensitive, redacted
from llmspell_config._schema import Key, Path, Table

_REFERENCE = {"type": "string", "pattern": r"^env:|\$\{", "description": "env:NAME or ${NAME}"}
_NUMBER = r"[+-]?\d[\d_]*(\.\d+)?"

Schema = dict[str, Any]


class TableModel(BaseModel):
    """A table of the configuration. Unknown keys are kept, secrets are not shown."""

    model_config = ConfigDict(
        extra="allow", frozen=True, protected_namespaces=(), arbitrary_types_allowed=True
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return hidden(super().__repr_args__())


def hidden(pairs: Any) -> Iterator[tuple[str | None, Any]]:
    """The arguments of a `repr` without their secrets."""
    for name, value in pairs:
        yield name, redacted(value, name or "")


def fields_of(table: Table, base: type[BaseModel], path: Path = ()) -> dict[str, Any]:
    """Definitions for `pydantic.create_model` of everything in *table*.

    A name that *base* needs itself, or that is none in Python, gets another attribute
    (``copy_``) and stays the alias.
    """
    made: dict[str, Any] = {}
    for name, key in table.keys.items():
        hidden_value = key.sensitive or is_sensitive(name)
        made[_attribute(name, base)] = (
            key.wanted,
            Field(
                key.default,
                alias=_alias(name, base),
                description=key.help or None,
                gt=0 if key.above_zero else None,
                repr=not hidden_value,
                json_schema_extra=partial(_describe, key, hidden_value),
            ),
        )
    for name, inner in table.tables.items():
        alias = _alias(name, base)
        if inner.keys or inner.tables:
            model = _model(inner, (*path, name))
            made[_attribute(name, base)] = (model, Field(default_factory=model, alias=alias))
        else:
            extra = _describe_providers if (*path, name) == ("providers",) else None
            made[_attribute(name, base)] = (
                dict[str, Any],
                Field(default_factory=dict, alias=alias, json_schema_extra=extra),
            )
    return made


def _model(table: Table, path: Path) -> type[BaseModel]:
    words = re.split(r"\W|_", "_".join(path))
    name = "".join(word.capitalize() for word in words)
    about = table.cls.__doc__ if table.cls is not None else None
    # A dataclass without a docstring gets its signature for one.
    if about is not None and table.cls is not None and about.startswith(f"{table.cls.__name__}("):
        about = None
    fields = fields_of(table, TableModel, path)
    return create_model(
        name, __base__=TableModel, __doc__=about or f"The table [{'.'.join(path)}].", **fields
    )


def _attribute(name: str, base: type[BaseModel]) -> str:
    plain = name.isidentifier() and not iskeyword(name) and not name.startswith("_")
    if plain and not hasattr(base, name):
        return name
    return re.sub(r"\W", "_", name).lstrip("_") + ("_" if plain or iskeyword(name) else "")


def _alias(name: str, base: type[BaseModel]) -> str | None:
    return None if _attribute(name, base) == name else name


# -- JSON Schema ----------------------------------------------------------------------------------


def _describe(key: Key, secret: bool, schema: Schema) -> None:
    """Widen *schema* by everything else that `convert` takes."""
    about = {name: schema.pop(name) for name in ("description", "default") if name in schema}
    if about.get("default", "") is None:
        del about["default"]
    core = dict(schema)
    schema.clear()
    schema.update(about)
    options = _options(core, key.wanted, key.unit)
    if len(options) == 1:
        schema.update(options[0])
    elif options:
        schema["anyOf"] = options
    if secret:
        schema["writeOnly"] = True


def _options(core: Schema, wanted: Any, unit: str) -> list[Schema]:
    """The alternatives for a value whose strict form is *core*; none if everything fits."""
    if not core:
        return []
    found: list[Schema] = []
    words = list(_words(wanted))
    for option in core.get("anyOf", [core]):
        # TOML has no null.
        if option == {"type": "null"}:
            continue
        if "$ref" in option and not words:
            # A dataclass in a list or mapping: its strict form would refuse loose values.
            option = {"type": "object"}
        for accepted in (option, *_loose(option, wanted, unit)):
            if accepted not in found:
                found.append(accepted)
        if words and not option.keys().isdisjoint({"$ref", "enum", "const"}):
            found.append(_spelled(words))
    if {} in found:
        return []
    if {"type": "string"} not in found:
        found.append(_REFERENCE)
    return found


def _loose(option: Schema, wanted: Any, unit: str) -> Iterator[Schema]:
    kind = option.get("type")
    if "enum" in option or "const" in option:
        return
    if kind in ("number", "integer"):
        yield {"type": "string", "pattern": rf"^\s*{_NUMBER}\s*{_suffix(unit)}\s*$"}
    elif kind == "boolean":
        yield _spelled([*sorted(TRUE_WORDS), *sorted(FALSE_WORDS)])
    elif kind == "string":
        yield {"type": "array", "items": {"type": "string"}}
    elif kind == "array":
        # A set that names something twice is a set.
        option.pop("uniqueItems", None)
        _widen(option, "items", wanted, unit)
        yield {"type": "string"}
    elif kind == "object":
        _widen(option, "additionalProperties", wanted, "")


def _widen(schema: Schema, name: str, wanted: Any, unit: str) -> None:
    inner = schema.get(name)
    if isinstance(inner, dict):
        options = _options(cast("Schema", inner), wanted, unit)
        schema[name] = {"anyOf": options} if options else {}


def _suffix(unit: str) -> str:
    names: list[str] = []
    if unit in ("bytes", "megabytes"):
        names = [name for name in SIZES if name]
    elif unit in ("seconds", "milliseconds"):
        names = list(SECONDS)
    return f"({'|'.join(map(_any_case, names))})?" if names else ""


def _spelled(words: list[str]) -> Schema:
    """One of *words*, whatever its case, ``-`` and ``_`` alike."""
    return {"type": "string", "pattern": rf"^\s*({'|'.join(map(_any_case, words))})\s*$"}


def _any_case(word: str) -> str:
    def either(letter: str) -> str:
        if letter in "-_":
            return "[-_]"
        low, high = letter.lower(), letter.upper()
        return re.escape(letter) if low == high else f"[{low}{high}]"

    return "".join(map(either, word))


def _words(wanted: Any) -> Iterator[str]:
    """The words that *wanted*, or what it is made of, chooses from."""
    if get_origin(wanted) is Literal:
        yield from (str(choice) for choice in get_args(wanted))
    elif isinstance(wanted, type) and issubclass(wanted, Enum):
        names = [word for member in wanted for word in (str(member.value), member.name)]
        yield from dict.fromkeys(name.lower() for name in names)
    else:
        for part in get_args(wanted):
            yield from _words(part)


def _describe_providers(schema: Schema) -> None:
    keys: dict[str, Any] = {}
    for name in PROVIDER_KEYS:
        key = provider_key(name)
        core: Schema = {"type": _JSON_TYPES[key.wanted]}
        if key.above_zero:
            core["exclusiveMinimum"] = 0
        keys[name] = core
        _describe(key, key.sensitive, core)
    # Of what is no table, nothing is said: such keys are kept with a warning.
    provider: Schema = {"properties": keys, "additionalProperties": True}
    schema.clear()
    schema.update(
        {
            "type": "object",
            "description": "The model providers: [providers.NAME].",
            "properties": {
                "default_provider": {"type": "string", "description": "used where none is named"},
                "providers": {"additionalProperties": provider},
            },
            "additionalProperties": provider,
        }
    )


_JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}
