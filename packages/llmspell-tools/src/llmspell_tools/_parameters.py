"""Parameters of a call: brought into the tool's own form, then checked against its schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from llmspell_core import Parameter, Tool, ValidationError
from llmspell_tools._operation_tool import OperationTool

LONG_TEXT = 10_000
LONG_ARRAY = 1_000

_CALL_OPTIONS = ("timeout_ms", "timeout_seconds")
_TYPE_NAMES = {bool: "boolean", str: "string", int: "integer", float: "number", bytes: "bytes"}


def type_name(value: Any) -> str:
    """The JSON name of a value's type."""
    if isinstance(value, Mapping):
        return "object"
    if isinstance(value, list | tuple):
        return "array"
    return _TYPE_NAMES.get(type(value), type(value).__name__)  # pyright: ignore[reportUnknownArgumentType]


class Signature:
    """What a tool takes, prepared once for all its calls.

    Args:
        tool: The tool.
    """

    def __init__(self, tool: Tool) -> None:
        schema = tool.schema
        self._name = schema.name
        self._operations = tool if isinstance(tool, OperationTool) else None
        self._known = {p.name: p for p in schema.parameters}
        self._aliases = {a: p.name for p in schema.parameters for a in p.aliases}
        if "operation" in self._known:
            self._aliases.setdefault("action", "operation")
        self._required = tuple(p.name for p in schema.parameters if p.required)
        self._defaults = tuple(
            (p.name, p.default) for p in schema.parameters if p.default is not None
        )
        self._options = tuple(o for o in _CALL_OPTIONS if o not in self._known)
        self._binary = self._operations.binary if self._operations else frozenset[str]()
        self.sensitive = schema.sensitive

    def bind(
        self, given: Any, *, preset: str | None = None
    ) -> tuple[dict[str, Any], list[str], float | None]:
        """The parameters in canonical form, warnings, and the time-out they asked for (seconds).

        *preset* is the operation of a call that names none.

        Raises:
            ValidationError: for what does not fit.
        """
        parameters = self._unwrapped(given)
        timeout = self._take_timeout(parameters)
        for alias in [key for key in parameters if key in self._aliases]:
            parameters.setdefault(self._aliases[alias], parameters[alias])
            if alias not in self._known:
                del parameters[alias]
        if preset is not None:
            parameters.setdefault("operation", preset)
        if self._operations is not None:
            self._name_operation(self._operations, parameters)
            self._operations.normalise(parameters)
        warnings = self._dropped(parameters) if self._known else []
        for name, default in self._defaults:
            if name not in parameters:
                parameters[name] = default
        for name in self._required:
            if name not in parameters:
                raise ValidationError(
                    f"Missing required parameter '{name}'",
                    field=name,
                    code="MISSING_REQUIRED",
                    hint=f"{self._name} takes: {', '.join(self._known)}",
                )
        for name, value in parameters.items():
            known = self._known.get(name)
            if known is not None:
                parameters[name] = self._checked(known, value, warnings)
        return parameters, warnings, timeout

    def _unwrapped(self, given: Any) -> dict[str, Any]:
        if given is None:
            raise ValidationError("Missing parameters object", field="parameters")
        if isinstance(given, list | tuple) and not given:
            given = {}
        if not isinstance(given, Mapping):
            raise ValidationError(
                f"Parameters must be an object, not {type_name(given)}", field="parameters"
            )
        table = cast("Mapping[str, Any]", given)
        if len(table) == 1 and "parameters" in table and "parameters" not in self._known:
            inner = table["parameters"]
            if isinstance(inner, Mapping):
                table = cast("Mapping[str, Any]", inner)
        return {key: value for key, value in table.items() if value is not None}

    def _take_timeout(self, parameters: dict[str, Any]) -> float | None:
        for name in self._options:
            if name not in parameters:
                continue
            value = parameters.pop(name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise ValidationError(
                    f"Invalid {name}: '{value}'. It must be a number above zero", field=name
                )
            return value / 1000 if name == "timeout_ms" else float(value)
        return None

    @staticmethod
    def _name_operation(tool: OperationTool, parameters: dict[str, Any]) -> None:
        tool.prepare_operation(parameters)
        given = parameters.get("operation")
        if given is None:
            if tool.default_operation is not None:
                parameters["operation"] = tool.default_operation
            return
        if isinstance(given, str):
            found = tool.canonical_operation(given)
            if found is None:
                raise tool.refuse_operation(given)
            parameters["operation"] = found

    def _dropped(self, parameters: dict[str, Any]) -> list[str]:
        extra = [key for key in parameters if key not in self._known]
        for key in extra:
            del parameters[key]
        return [f"Unexpected parameter '{key}' will be ignored" for key in extra]

    def _checked(self, known: Parameter, value: Any, warnings: list[str]) -> Any:
        value = self._fitted(known, value)
        if known.enum and value not in known.enum:
            allowed = ", ".join(map(str, known.enum))
            raise ValidationError(
                f"Invalid {known.name}: '{value}'. Allowed values: {allowed}", field=known.name
            )
        if isinstance(value, int | float) and not isinstance(value, bool):
            if known.minimum is not None and not value >= known.minimum:
                raise _out_of_range(known, value, "at least", known.minimum)
            if known.maximum is not None and not value <= known.maximum:
                raise _out_of_range(known, value, "at most", known.maximum)
        elif isinstance(value, str) and len(value) > LONG_TEXT:
            warnings.append(f"Parameter '{known.name}' is long: {len(value)} characters")
        elif isinstance(value, list) and len(cast("list[Any]", value)) > LONG_ARRAY:
            count = len(cast("list[Any]", value))
            warnings.append(f"Parameter '{known.name}' is long: {count} items")
        return cast("Any", value)

    def _fitted(self, known: Parameter, value: Any) -> Any:
        wanted = known.type
        kind = cast("type[Any]", type(value))
        if wanted == "any":
            return value
        if wanted == "string":
            if isinstance(value, str) or (kind is bytes and known.name in self._binary):
                return value
        elif wanted == "number":
            if kind is int or kind is float:
                return value
        elif wanted == "integer":
            if kind is int:
                return value
            if kind is float and value.is_integer():
                return int(value)
        elif wanted == "boolean":
            if kind is bool:
                return value
        elif wanted == "object":
            if isinstance(value, Mapping):
                return cast("Any", value)
            if isinstance(value, list | tuple) and not value:
                return {}
        elif wanted == "array":
            if isinstance(value, list | tuple):
                return self._items(known, list(cast("list[Any]", value)))
            if isinstance(value, Mapping) and not value:
                return []
        raise _wrong_type(known.name, wanted, value)

    def _items(self, known: Parameter, values: list[Any]) -> list[Any]:
        if known.items is None or known.items == "any":
            return values
        return [
            self._fitted(Parameter(f"{known.name}[{index}]", known.items), value)
            for index, value in enumerate(values)
        ]


def _wrong_type(name: str, wanted: str, value: Any) -> ValidationError:
    return ValidationError(
        f"Invalid type for parameter '{name}': expected {wanted}, got {type_name(value)}",
        field=name,
    )


def _out_of_range(known: Parameter, value: Any, words: str, limit: float) -> ValidationError:
    return ValidationError(
        f"Invalid {known.name}: '{value}'. It must be {words} {limit:g}", field=known.name
    )
