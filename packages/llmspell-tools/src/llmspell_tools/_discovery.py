"""What scripts are told about tools: entries, schemas, and finding by criteria."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import Items, Parameter, Record, SecurityLevel, ToolSchema, ValidationError
from llmspell_tools._operation_tool import OperationTool

if TYPE_CHECKING:
    from llmspell_core import Tool, ToolInfo
    from llmspell_tools._registry import ToolService

_LEVELS = {"moderate": "restricted", "dangerous": "privileged"}
_TYPES = {"integer": "number"}


def entry(info: ToolInfo) -> Record:
    """An entry of ``Tool.list()``; printed as its name."""
    return Record(
        {
            "name": info.name,
            "description": info.description,
            "version": info.version,
            "category": info.category,
            "security_level": info.security_level,
            "aliases": list(info.aliases),
        },
        text=info.name,
    )


def schema_record(schema: ToolSchema) -> dict[str, Any]:
    """``{name, description, parameters, returns?}``; parameters by position and by name."""
    entries = [_parameter(p) for p in schema.parameters]
    made: dict[str, Any] = {
        "name": schema.name,
        "description": schema.description,
        "parameters": Items(entries, {e["name"]: e for e in entries}),
    }
    if schema.returns is not None:
        made["returns"] = schema.returns
    return made


def _parameter(parameter: Parameter) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": parameter.name,
        "type": _TYPES.get(parameter.type, parameter.type),
        "description": parameter.description,
        "required": parameter.required,
    }
    if parameter.default is not None:
        made["default"] = parameter.default
    if parameter.enum:
        made["enum"] = list(parameter.enum)
    if parameter.aliases:
        made["aliases"] = list(parameter.aliases)
    return made


def about(info: ToolInfo, tool: Tool) -> Record:
    """All that is known of a tool."""
    schema = schema_record(tool.schema)
    fields = {**entry(info).fields, "schema": schema, "parameters": schema["parameters"]}
    if isinstance(tool, OperationTool):
        fields["operations"] = list(tool.operations)
    return Record(fields, text=info.name)


class Matcher:
    """The criteria of ``Tool.discover``: all that are given must hold.

    Args:
        criteria: ``category, tag, capabilities, query`` (or ``search``), ``security_level`` (or
            ``max_security_level``), ``min_security_level``.

    Raises:
        ValidationError: for an unknown level.
    """

    def __init__(self, criteria: Mapping[str, Any]) -> None:
        self._category = _lower(criteria.get("category"))
        words = [criteria.get("tag"), criteria.get("query"), criteria.get("search")]
        for name in ("capabilities", "search_terms"):
            given: Any = criteria.get(name) or []
            words.extend(cast("list[Any]", given) if isinstance(given, list) else [given])
        self._words = [str(word).lower() for word in words if word]
        most = criteria.get("max_security_level", criteria.get("security_level"))
        self._most = None if most is None else _level(most)
        least = criteria.get("min_security_level")
        self._least = None if least is None else _level(least)

    def matches(self, info: ToolInfo, service: ToolService) -> bool:
        """Whether the tool fits."""
        categories = [category.lower() for category in service.categories_of(info.name)]
        if self._category is not None and self._category not in categories:
            return False
        level = SecurityLevel(info.security_level)
        if self._most is not None and not self._most.allows(level):
            return False
        if self._least is not None and not level.allows(self._least):
            return False
        text = " ".join((info.name, info.description, *categories, *info.aliases)).lower()
        return all(word in text for word in self._words)


def _lower(value: Any) -> str | None:
    return None if value is None else str(value).lower()


def _level(text: Any) -> SecurityLevel:
    word = str(text).lower()
    try:
        return SecurityLevel(_LEVELS.get(word, word))
    except ValueError:
        known = ", ".join(level.value for level in SecurityLevel)
        raise ValidationError(
            f"Invalid security_level: '{text}'. Allowed values: {known}", field="security_level"
        ) from None
