"""Tools from functions: of Python, with `tool`; of scripts, with ``Tool.register``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from llmspell_core import (
    EffectClass,
    Parameter,
    ScriptError,
    SecurityLevel,
    Tool,
    ToolResult,
    ToolSchema,
    ValidationError,
)
from llmspell_tools._results import as_result, soft_failure

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, ScriptFunction

_TYPES: Mapping[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    Any: "any",
}
_SCRIPT_TYPES = ("string", "number", "integer", "boolean", "array", "object", "any", "null")


class FunctionTool(Tool):
    """A Python function as a tool; made by `tool`. Calling it calls the function."""

    def __init__(
        self,
        function: Callable[..., Any],
        schema: ToolSchema,
        *,
        category: str,
        security_level: SecurityLevel,
        effect_class: EffectClass,
        destructive: bool,
        aliases: tuple[str, ...],
        timeout_seconds: float,
    ) -> None:
        self._function = function
        self._schema = schema
        self._wants_context = "context" in inspect.signature(function).parameters
        self.category = category
        self.security_level = security_level
        self.effect_class = effect_class
        self.destructive = destructive
        self.aliases = aliases
        self.timeout_seconds = timeout_seconds

    @property
    def schema(self) -> ToolSchema:
        """From the function's signature and docstring."""
        return self._schema

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """Call the function; what it returns is the result, see `as_result`."""
        extra = {"context": context} if self._wants_context else {}
        value = self._function(**parameters, **extra)
        if inspect.isawaitable(value):
            value = await value
        return as_result(value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function itself."""
        return self._function(*args, **kwargs)


def tool(
    *,
    name: str | None = None,
    category: str = "utility",
    security_level: SecurityLevel = SecurityLevel.SAFE,
    effect_class: EffectClass = EffectClass.IRREVERSIBLE,
    destructive: bool = False,
    aliases: tuple[str, ...] = (),
    timeout_seconds: float = 30.0,
) -> Callable[[Callable[..., Any]], FunctionTool]:
    """Make a tool of a typed function, plain or async.

    The parameters are the function's: ``str, int, float, bool, list, list[…], dict, Literal[…]``
    and their unions with None; a parameter called ``context`` gets the `ExecutionContext`. The
    docstring's first paragraph describes the tool, its ``Args:`` section the parameters. Text
    that is returned is the result's text, a dict its payload. A plain function must not block.

    Args:
        name: The tool's name; the function's own by default.
        category: Where it is listed.
        security_level: How much it may do.
        effect_class: What a resumed run may do when nobody knows whether a call happened. The
            default, irreversible, is the careful one: where approval is wanted, such a call is
            asked about.
        destructive: Whether it overwrites or removes what was there; then it is asked about too.
        aliases: Other names.
        timeout_seconds: How long a call may take, unless configured otherwise.

    Raises:
        TypeError: for a parameter without an annotation, or one that JSON cannot carry.
    """

    def make(function: Callable[..., Any]) -> FunctionTool:
        return FunctionTool(
            function,
            _schema_of(function, name or function.__name__),
            category=category,
            security_level=security_level,
            effect_class=effect_class,
            destructive=destructive,
            aliases=aliases,
            timeout_seconds=timeout_seconds,
        )

    return make


def _schema_of(function: Callable[..., Any], name: str) -> ToolSchema:
    text = inspect.getdoc(function) or ""
    described = _arguments_of(text)
    hints = get_type_hints(function)
    parameters: list[Parameter] = []
    for known in inspect.signature(function).parameters.values():
        if known.name == "context":
            continue
        if known.name not in hints or known.kind in (known.VAR_POSITIONAL, known.VAR_KEYWORD):
            raise TypeError(f"parameter '{known.name}' of tool '{name}' needs a JSON type")
        kind, items, allowed = _json_type(hints[known.name], known.name)
        required = known.default is known.empty
        parameters.append(
            Parameter(
                known.name,
                kind,
                described.get(known.name, ""),
                required=required,
                default=None if required else known.default,
                enum=allowed,
                items=items,
            )
        )
    summary = " ".join(text.partition("\n\n")[0].split()) or name
    return ToolSchema(name, summary, tuple(parameters))


def _json_type(hint: Any, name: str) -> tuple[str, str | None, tuple[Any, ...]]:
    import types

    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = [one for one in arguments if one is not type(None)]
        return _json_type(inner[0], name) if len(inner) == 1 else ("any", None, ())
    if origin is Literal:
        kinds = {_TYPES.get(type(value), "any") for value in arguments}
        return (kinds.pop() if len(kinds) == 1 else "any"), None, tuple(arguments)
    kind = _TYPES.get(origin or hint)
    if kind is None:
        raise TypeError(f"parameter '{name}': {hint} has no JSON type")
    items = _TYPES.get(get_origin(arguments[0]) or arguments[0]) if arguments else None
    return kind, items if kind == "array" else None, ()


def _arguments_of(docstring: str) -> dict[str, str]:
    """Parameter → description, from a Google-style ``Args:`` section."""
    found: dict[str, str] = {}
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.MULTILINE)
    last = ""
    for line in section.group(1).splitlines() if section else ():
        entry = re.match(r"\s{1,8}(\w+)(?: \([^)]*\))?: (.*)", line)
        if entry is not None:
            last = entry.group(1)
            found[last] = entry.group(2).strip()
        elif last and line.strip():
            found[last] += " " + line.strip()
    return found


class ScriptTool(Tool):
    """A function of a script as a tool.

    It runs in a span, not as an effect: what it does to the script's own values must happen
    again when the run is replayed, and its effects are recorded one by one. Where approval is
    wanted, ``destructive = true`` in the definition has it asked about.
    """

    effect_class = EffectClass.SPAN

    def __init__(self, handler: ScriptFunction, definition: Mapping[str, Any]) -> None:
        name = str(definition.get("name", "")).strip()
        if not name:
            raise ValidationError("A tool needs a name", field="name")
        self._handler = handler
        self._schema = ToolSchema(
            name,
            str(definition.get("description") or f"A tool of the script: {name}"),
            script_parameters(definition.get("parameters")),
        )
        self.category = str(definition.get("category") or "utility").lower()
        self.security_level = _level(definition.get("security_level", "safe"))
        self.destructive = definition.get("destructive") is True
        aliases = definition.get("aliases") or ()
        self.aliases = tuple(map(str, aliases))

    @property
    def schema(self) -> ToolSchema:
        """As the script declared it."""
        return self._schema

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """Call the function with the parameters; an error in it is a soft failure."""
        try:
            value = await self._handler(parameters, context=context)
        except ScriptError as error:
            return soft_failure(None, error)
        return as_result(value)


def _level(text: Any) -> SecurityLevel:
    word = str(text).lower()
    word = {"moderate": "restricted", "dangerous": "privileged"}.get(word, word)
    try:
        return SecurityLevel(word)
    except ValueError:
        known = ", ".join(level.value for level in SecurityLevel)
        raise ValidationError(
            f"Invalid security_level: '{text}'. Allowed values: {known}", field="security_level"
        ) from None


def script_parameters(declared: Any) -> tuple[Parameter, ...]:
    """The parameters that a script declared: a list of ``{name, type, …}``, a table
    ``name → {type, …}`` (or just the type), or a JSON Schema of an object.

    Raises:
        ValidationError: naming what is wrong.
    """
    if declared is None:
        return ()
    if isinstance(declared, list | tuple):
        return tuple(_parameter(None, one) for one in cast("list[Any]", declared))
    if not isinstance(declared, Mapping):
        raise ValidationError("'parameters' must be a list or a table", field="parameters")
    table = cast("Mapping[str, Any]", declared)
    properties = table.get("properties")
    if table.get("type") == "object" and isinstance(properties, Mapping):
        needed = cast("list[Any]", table.get("required") or [])
        return tuple(
            _parameter(name, {**_table(rule), "required": name in needed})
            for name, rule in cast("Mapping[str, Any]", properties).items()
        )
    return tuple(_parameter(name, rule) for name, rule in table.items())


def _table(rule: Any) -> dict[str, Any]:
    if isinstance(rule, str):
        return {"type": rule}
    if not isinstance(rule, Mapping):
        raise ValidationError("a parameter must be described by a table", field="parameters")
    return dict(cast("Mapping[str, Any]", rule))


def _parameter(name: str | None, rule: Any) -> Parameter:
    table = _table(rule)
    called = str(name or table.get("name") or "")
    if not called:
        raise ValidationError("a parameter needs a name", field="parameters")
    kind = str(table.get("type", "any")).lower()
    if kind not in _SCRIPT_TYPES:
        raise ValidationError(
            f"Invalid type of parameter '{called}': '{kind}'. "
            f"Allowed values: {', '.join(_SCRIPT_TYPES)}",
            field="parameters",
        )
    return Parameter(
        called,
        "any" if kind == "null" else kind,
        str(table.get("description") or ""),
        required=table.get("required") is True,
        default=table.get("default"),
        enum=tuple(table.get("enum") or ()),
        minimum=table.get("minimum"),
        maximum=table.get("maximum"),
        aliases=tuple(map(str, table.get("aliases") or ())),
        sensitive=table.get("sensitive") is True,
    )
