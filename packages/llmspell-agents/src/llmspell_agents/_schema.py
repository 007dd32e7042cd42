"""`OutputSchema`: the form an agent's answer must have, and `OutputError` for one without it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, cast

from llmspell_core import Category, ConfigurationError, LLMSpellError, ValidationError
from llmspell_utils import JsonSchema, Problem

_WRAPPED = "result"
_NO_SCHEMA = (bool, int, float, list, tuple, type(None))
_MOST_PROBLEMS = 10
_FENCE = re.compile(r"```[\w-]*\s*\n(.*?)```", re.DOTALL)
_NAME = re.compile(r"[^A-Za-z0-9_-]")


class OutputError(LLMSpellError):
    """A model's answer does not have the form that was asked for, not even when told so.

    `text` is what the model said, `problems` are what is wrong with it. Both are in `details`.
    """

    code = "OUTPUT_INVALID"
    prefix = "Output error: "
    error_type = "Output"
    category: ClassVar[Category] = Category.EXTERNAL

    def __init__(
        self, message: str, *, text: str, problems: list[dict[str, str]], **common: Any
    ) -> None:
        super().__init__(message, details={"text": text, "problems": problems}, **common)
        self.text = text
        self.problems = problems


class OutputSchema:
    """What an answer must look like.

    The provider gets it as ``response_format``, in which the outermost value must be an object:
    any other is wrapped into one, ``{"result": …}``, and taken out of it again.

    Args:
        schema: A JSON Schema; ``{name, schema, strict}`` or a whole ``response_format``;
            ``"json"`` for any JSON object; or, in Python, a class that pydantic understands
            (its models, dataclasses, ``TypedDict``, ``list[…]`` …): then the value of an answer
            is an instance of it.

    Raises:
        ValidationError: for what is none of these.
        ConfigurationError: for a class, without pydantic.
    """

    def __init__(self, schema: Any) -> None:
        self.name = "answer"
        self.strict: bool | None = None
        self._adapter: Any = None
        if isinstance(schema, str):
            if schema not in ("json", "json_object"):
                raise _unusable(f'{schema!r} is a text; write a schema, or "json" for any object')
            schema = {"type": "json_object"}
        if isinstance(schema, Mapping):
            inner = self._unpacked(cast("Mapping[str, Any]", schema))
        elif isinstance(schema, _NO_SCHEMA):
            kind = type(cast("object", schema)).__name__
            raise _unusable(f"it must be a table or a class, not {kind}")
        else:
            inner = self._from_class(schema)
        self._checked = JsonSchema(inner)
        self.schema: dict[str, Any] = self._checked.schema
        self.wrapped = _needs_wrapping(self.schema)

    def _unpacked(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """The schema itself, out of the forms it may be written in."""
        if table.get("type") == "json_object":
            return {"type": "object"}
        found = table.get("json_schema") if table.get("type") == "json_schema" else table
        if isinstance(found, Mapping):
            form = cast("Mapping[str, Any]", found)
            inner = form.get("schema")
            if isinstance(inner, Mapping) and form.keys() <= {
                "name", "schema", "strict", "description",
            }:  # fmt: skip
                self.name = _NAME.sub("_", str(form.get("name") or self.name))[:64]
                strict = form.get("strict")
                self.strict = strict if isinstance(strict, bool) else None
                return dict(cast("Mapping[str, Any]", inner))
            if found is table:
                return dict(table)
        raise _unusable("'json_schema' must be a table with 'schema' in it")

    def _from_class(self, cls: Any) -> dict[str, Any]:
        try:
            from pydantic import TypeAdapter
            from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
        except ImportError:
            raise ConfigurationError(
                "A class as output schema needs the package 'pydantic', which is not installed",
                hint="pip install 'llmspell-agents[pydantic]', or write a JSON Schema.",
                code="MISSING_DEPENDENCY",
            ) from None
        try:
            self._adapter = TypeAdapter(cls)
            made = self._adapter.json_schema()
        except (PydanticSchemaGenerationError, PydanticUserError) as error:
            first = str(error).partition("\n")[0]
            raise _unusable(f"pydantic cannot make one of {cls!r}: {first}") from None
        self.name = _NAME.sub("_", getattr(cls, "__name__", self.name))[:64]
        return made

    @property
    def sent(self) -> dict[str, Any]:
        """The schema as the model gets it: that of an object."""
        if not self.wrapped:
            return self.schema
        inner = dict(self.schema)
        made: dict[str, Any] = {
            "type": "object",
            "properties": {_WRAPPED: inner},
            "required": [_WRAPPED],
            "additionalProperties": False,
        }
        for name in ("$defs", "definitions", "$schema"):
            if name in inner:
                made[name] = inner.pop(name)
        return made

    @property
    def response_format(self) -> dict[str, Any]:
        """As a `ChatRequest` wants it."""
        if self.schema == {"type": "object"}:
            return {"type": "json_object"}
        form: dict[str, Any] = {"name": self.name, "schema": self.sent}
        if self.strict is not None:
            form["strict"] = self.strict
        return {"type": "json_schema", "json_schema": form}

    def told(self) -> str:
        """The schema in words, for a model that cannot be given it otherwise."""
        return (
            "Answer with one JSON value and nothing else: no words around it, no code fence. It "
            f"must fit this JSON Schema:\n{json.dumps(self.sent, ensure_ascii=False)}"
        )

    def read(self, text: str) -> tuple[Any, list[Problem]]:
        """The value of an answer, and what is wrong with it; the value counts only when nothing
        is.
        """
        try:
            value: Any = _json_in(text)
        except ValueError as error:
            words = "is empty" if not text.strip() else f"is not JSON: {error}"
            return None, [Problem("$", words, "json")]
        if self.wrapped and isinstance(value, dict):
            table = cast("dict[str, Any]", value)
            value = table[_WRAPPED] if table.keys() == {_WRAPPED} else table
        if self._adapter is not None:
            return self._instance(value)
        return value, self._checked.problems(value, most=_MOST_PROBLEMS)

    def _instance(self, value: Any) -> tuple[Any, list[Problem]]:
        from pydantic import ValidationError as Refused

        try:
            return self._adapter.validate_json(json.dumps(value)), []
        except Refused as error:
            return None, [
                Problem(
                    "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in one["loc"]),
                    one["msg"],
                    one["type"],
                )
                for one in error.errors(include_url=False, include_input=False)[:_MOST_PROBLEMS]
            ]

    def complaint(self, problems: list[Problem]) -> str:
        """What the model is told so that it can do better."""
        listed = "\n".join(f"- {problem}" for problem in problems)
        return f"Your answer does not fit:\n{listed}\n\n{self.told()}"


def _unusable(words: str) -> ValidationError:
    return ValidationError(
        f"Not an output schema: {words}", field="output_schema", code="INVALID_SCHEMA"
    )


def _needs_wrapping(schema: dict[str, Any]) -> bool:
    if schema.get("type") == "object" or "properties" in schema:
        return False
    # What refers to its own root cannot be put below another one.
    return '"$ref": "#"' not in json.dumps(schema) and "type" in schema


def _json_in(text: str) -> Any:
    """The JSON value that *text* is, or that stands in it.

    Raises:
        ValueError: when there is none.
    """
    plain = text.strip()
    try:
        return json.loads(plain, parse_constant=_not_json)
    except ValueError as error:
        first = error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    fenced = _FENCE.search(plain)
    starts = [at for at in (plain.find("{"), plain.find("[")) if at >= 0]
    candidates = [fenced.group(1)] if fenced else []
    candidates += [plain[min(starts) :]] if starts else []
    for candidate in candidates:
        try:
            value, _ = json.JSONDecoder(parse_constant=_not_json).raw_decode(candidate.strip())
        except (ValueError, RecursionError):
            continue
        return value
    raise first


def _not_json(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")
