"""The options of an agent as programs and scripts write them, checked one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from llmspell_agents._config import AgentConfig, Limits, ToolRules
from llmspell_agents._memory import Memory
from llmspell_core import BudgetLimits, ConfigurationError, ValidationError, nearest

_ALIASES = {
    "type": "agent_type",
    "allowed_tools": "tools",
    "custom_config": "custom",
    "resource_limits": "limits",
    "model_settings": "settings",
    "schema": "output_schema",
    "response_format": "output_schema",
    "agents": "members",
    "strategy": "routing",
    "retry": "retries",
}
_LIMITS = {
    "max_execution_time": "max_execution_time",
    "max_execution_time_secs": "max_execution_time",
    "max_tool_calls": "max_tool_calls",
    "max_recursion_depth": "max_recursion_depth",
}
_IGNORED = "max_memory_mb"
"""Accepted for the sake of existing scripts: the memory of one agent among others in a process
cannot be bounded; the script's own is, by the engine.
"""
_REQUEST = ("temperature", "max_tokens", "top_p", "stop", "seed")
"""Settings of a model that have a field of their own, which every provider understands."""
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "name": ((str,), "text"),
    "description": ((str,), "text"),
    "agent_type": ((str,), "text"),
    "model": ((str,), "text"),
    "provider": ((str,), "text"),
    "base_url": ((str,), "text"),
    "api_key": ((str,), "text"),
    "fallback": ((list, tuple), "a list of models"),
    "system_prompt": ((str,), "text"),
    "temperature": ((int, float), "a number"),
    "top_p": ((int, float), "a number"),
    "timeout_seconds": ((int, float), "a number"),
    "max_tokens": ((int,), "a whole number"),
    "retries": ((int,), "a whole number"),
    "seed": ((int,), "a whole number"),
    "max_conversation_length": ((int,), "a whole number"),
    "context_window": ((int,), "a whole number"),
    "memory_enabled": ((bool,), "true or false"),
    "parallel_tools": ((bool,), "true or false"),
    "tool_choice": ((str,), "auto, none, required or the name of a tool"),
    "tool_calling": ((str,), "native or prompt"),
    "on_error": ((str,), "raise or text"),
    "settings": ((Mapping,), "a table"),
    "custom": ((Mapping,), "a table"),
    "tools": ((list, tuple), "a list of names"),
    "capabilities": ((list, tuple), "a list of words"),
    "stop": ((list, tuple), "a list of texts"),
    "max_execution_time": ((int, float), "a number of seconds"),
    "max_tool_calls": ((int,), "a whole number"),
    "max_recursion_depth": ((int,), "a whole number"),
}


def checked(name: str, value: Any) -> Any:
    """*value* for the option *name*, in the form `AgentConfig` keeps it.

    Raises:
        ValidationError: when it has the wrong type.
    """
    kinds, wanted = _TYPES[name]
    if kinds == (int,) and isinstance(value, float) and value.is_integer():
        value = int(value)
    if kinds == (list, tuple) and value == {}:
        value = ()  # An empty table of a script may be either.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ValidationError(f"{name} must be {wanted}, not {type(value).__name__}", field=name)
    if kinds == (list, tuple):
        items = cast("list[Any]", value)
        for item in items:
            if not isinstance(item, str):
                raise ValidationError(
                    f"{name} must be {wanted}; it holds a {type(item).__name__}", field=name
                )
        return tuple(dict.fromkeys(cast("list[str]", items)))
    return value


def changed(config: AgentConfig, options: Mapping[str, Any]) -> AgentConfig:
    """*config* with *options*, under their own names or those that scripts use.

    ``model`` may be a table ``{provider, model_id, temperature, max_tokens, settings}``;
    ``resource_limits`` groups the limits; ``system_prompt`` and ``max_conversation_length`` are
    also found in ``custom_config``.

    Raises:
        ValidationError: for a value of the wrong type or out of its range.
        ConfigurationError: for an unknown option; suggests the nearest.
    """
    flat = _flattened(options)
    fields: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for key, value in flat.items():
        name = _ALIASES.get(key, key)
        if value is None or key == _IGNORED:
            continue
        if key in _LIMITS:
            limits[_LIMITS[key]] = checked(_LIMITS[key], value)
        elif name == "limits":
            limits.update(_limits(value))
        elif name in _TYPES:
            fields[name] = checked(name, value)
        elif name in _READERS:
            fields[name] = _READERS[name](value)
        else:
            raise _unknown(key)
    custom = cast("Mapping[str, Any]", fields.get("custom", {}))
    for name in ("system_prompt", "max_conversation_length"):
        if name in custom and name not in fields:
            fields[name] = checked(name, custom[name])
    return replace(config, **fields, limits=replace(config.limits, **limits))


def _limits(value: Any) -> dict[str, Any]:
    if isinstance(value, Limits):
        return {name: getattr(value, name) for name in Limits.__slots__}
    if not isinstance(value, Mapping):
        raise ValidationError("resource_limits must be a table", field="resource_limits")
    made: dict[str, Any] = {}
    for key, item in cast("Mapping[str, Any]", value).items():
        if key == _IGNORED:
            continue
        if key not in _LIMITS:
            raise _unknown(key)
        made[_LIMITS[key]] = checked(_LIMITS[key], item)
    return made


def _flattened(options: Mapping[str, Any]) -> dict[str, Any]:
    """With the parts of a ``model`` table, and the settings that have a field, as options of
    their own; direct options win.
    """
    flat = dict(options)
    model = flat.get("model")
    if isinstance(model, Mapping):
        flat = {**_of_model(cast("Mapping[str, Any]", model)), **flat}
        flat["model"] = flat.pop("model_id", None)
    for key in ("settings", "model_settings"):
        settings = flat.get(key)
        if isinstance(settings, Mapping):
            table = dict(cast("Mapping[str, Any]", settings))
            own = {name: table.pop(name) for name in _REQUEST if name in table}
            flat = {**own, **flat, key: table}
    return flat


def _of_model(model: Mapping[str, Any]) -> dict[str, Any]:
    parts = dict(model)
    settings = parts.pop("settings", None)
    inner: dict[str, Any] = {
        key: parts.pop(key)
        for key in ("provider", "temperature", "max_tokens", "top_p", "stop", "seed")
        if key in parts
    }
    inner["model_id"] = parts.pop("model_id", None) or parts.pop("model", None)
    if isinstance(settings, Mapping):
        rest = dict(cast("Mapping[str, Any]", settings))
        for key in ("base_url", "api_key"):
            if key in rest:
                inner[key] = rest.pop(key)
        inner["settings"] = rest
    if parts:
        raise _unknown(f"model.{next(iter(parts))}")
    return inner


def _schema(value: Any) -> Any:
    from llmspell_agents._schema import OutputSchema

    return value if isinstance(value, OutputSchema) else OutputSchema(value)


def _approval(value: Any) -> Any:
    from llmspell_agents._approvals import read_approval

    return read_approval(value)


def _budget(value: Any) -> BudgetLimits:
    if isinstance(value, BudgetLimits):
        return value
    known = ("tokens", "cost", "calls", "seconds", "soft")
    if not isinstance(value, Mapping):
        raise ValidationError(
            f"budget must be a table of {', '.join(known)}, not {type(value).__name__}",
            field="budget",
        )
    made: dict[str, Any] = {}
    for key, item in cast("Mapping[str, Any]", value).items():
        if key not in known:
            close = nearest(key, known)
            raise ValidationError(
                f"budget has no limit '{key}'",
                field=f"budget.{key}",
                hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(known)}",
            )
        whole = key in ("tokens", "calls")
        if isinstance(item, bool) or not isinstance(item, int | float) or item != item:
            raise ValidationError(f"budget.{key} must be a number", field=f"budget.{key}")
        made[key] = int(item) if whole and float(item).is_integer() else item
    return BudgetLimits(**made)


def _tool_options(value: Any) -> dict[str, ToolRules]:
    if not isinstance(value, Mapping):
        raise ValidationError(
            "tool_options must be a table of tools with {timeout, retry}", field="tool_options"
        )
    table = cast("Mapping[str, Any]", value)
    return {name: tool_rules(options) for name, options in table.items()}


def tool_rules(options: Any) -> ToolRules:
    """From ``{timeout, timeout_ms (milliseconds), timeout_seconds, retry}``.

    Raises:
        ValidationError: for anything else.
    """
    if isinstance(options, ToolRules):
        return options
    if not isinstance(options, Mapping):
        raise ValidationError("options of a tool must be a table", field="tool_options")
    made: dict[str, Any] = {}
    for key, item in cast("Mapping[str, Any]", options).items():
        if key not in ("timeout", "timeout_ms", "timeout_seconds", "retry"):
            raise ValidationError(
                f"a tool has no option '{key}'",
                field="tool_options",
                hint="Known: timeout (milliseconds), timeout_seconds, retry.",
            )
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise ValidationError(f"{key} of a tool must be a number", field="tool_options")
        if key == "retry":
            made["retry"] = int(item)
        else:
            made["timeout_seconds"] = item if key == "timeout_seconds" else item / 1000
    return ToolRules(**made)


def _members(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise ValidationError(
            f"members must be a list of agents or their names, not {type(value).__name__}",
            field="members",
        )
    return tuple(cast("list[Any]", value))


def _routing(value: Any) -> Any:
    from llmspell_agents._routing import Routing

    return Routing.of(value)


def _as_it_is(value: Any) -> Any:
    return value


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "members": _members,
    "routing": _routing,
    "workflow": _as_it_is,
    "output_schema": _schema,
    "approval": _approval,
    "budget": _budget,
    "memory": Memory.of,
    "tool_options": _tool_options,
}


def _unknown(key: str) -> ConfigurationError:
    known = [*_TYPES, *_ALIASES, *_LIMITS, *_READERS]
    close = nearest(key, known)
    return ConfigurationError(
        f"an agent has no option '{key}'",
        hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(sorted(known))}",
    )
