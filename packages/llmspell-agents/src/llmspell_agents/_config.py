"""`AgentConfig`: everything an agent is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from llmspell_core import ConfigurationError, ValidationError, nearest


@dataclass(frozen=True, slots=True)
class Limits:
    """When an agent stops and returns what it has.

    `max_execution_time` is in seconds, `max_tool_calls` counts the calls of one execution,
    `max_recursion_depth` its rounds of tool calls.
    """

    max_execution_time: float = 300.0
    max_tool_calls: int = 100
    max_recursion_depth: int = 10

    def to_dict(self) -> dict[str, Any]:
        """As scripts write them."""
        return {
            "max_execution_time_secs": self.max_execution_time,
            "max_tool_calls": self.max_tool_calls,
            "max_recursion_depth": self.max_recursion_depth,
        }


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """The configuration of an agent; what is None is left to the provider.

    `model` is ``provider/model`` or a model of `provider`. `tools` are names, ``*`` is every
    registered tool. `timeout_seconds` bounds one model call. `settings` go to the provider as
    they are. `context_window` is a budget of (estimated) tokens for history and input.
    """

    name: str
    description: str = "LLM-powered agent"
    agent_type: str = "llm"
    model: str | None = None
    provider: str | None = None
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    system_prompt: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    timeout_seconds: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tools: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    memory_enabled: bool = True
    max_conversation_length: int = 100
    context_window: int | None = None
    limits: Limits = field(default_factory=Limits)
    custom: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValidationError("An agent needs a name", field="name")
        _within("temperature", self.temperature, 0, 2)
        _within("top_p", self.top_p, 0, 1)
        for name, value in (
            ("max_tokens", self.max_tokens),
            ("timeout", self.timeout_seconds),
            ("max_conversation_length", self.max_conversation_length),
            ("context_window", self.context_window),
            ("max_execution_time", self.limits.max_execution_time),
            ("max_recursion_depth", self.limits.max_recursion_depth),
        ):
            if value is not None and value <= 0:
                raise ValidationError(f"{name} must be above zero, not {value:g}", field=name)
        if self.limits.max_tool_calls < 0:
            raise ValidationError("max_tool_calls cannot be negative", field="max_tool_calls")

    def prompt(self) -> str:
        """The system message."""
        if self.system_prompt is not None:
            return self.system_prompt
        return f"You are {self.name}, an AI assistant. {self.description}"

    def to_dict(self) -> dict[str, Any]:
        """What scripts may see; never the key."""
        return {
            "name": self.name,
            "description": self.description,
            "type": self.agent_type,
            "model": self.model,
            "provider": self.provider,
            "base_url": self.base_url,
            "system_prompt": self.prompt() if self.agent_type == "llm" else self.system_prompt,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "top_p": self.top_p,
            "stop": list(self.stop),
            "allowed_tools": list(self.tools),
            "capabilities": list(self.capabilities),
            "memory_enabled": self.memory_enabled,
            "max_conversation_length": self.max_conversation_length,
            "context_window": self.context_window,
            "resource_limits": self.limits.to_dict(),
            "custom_config": dict(self.custom),
        }


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise ValidationError(f"{name} must be from {low:g} to {high:g}, not {value:g}", field=name)


_ALIASES = {
    "type": "agent_type",
    "allowed_tools": "tools",
    "custom_config": "custom",
    "resource_limits": "limits",
    "model_settings": "settings",
    "top_p": "top_p",
}
_LIMITS = {
    "max_execution_time": "max_execution_time",
    "max_execution_time_secs": "max_execution_time",
    "max_tool_calls": "max_tool_calls",
    "max_recursion_depth": "max_recursion_depth",
}
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "name": ((str,), "text"),
    "description": ((str,), "text"),
    "agent_type": ((str,), "text"),
    "model": ((str,), "text"),
    "provider": ((str,), "text"),
    "base_url": ((str,), "text"),
    "api_key": ((str,), "text"),
    "system_prompt": ((str,), "text"),
    "temperature": ((int, float), "a number"),
    "top_p": ((int, float), "a number"),
    "timeout_seconds": ((int, float), "a number"),
    "max_tokens": ((int,), "a whole number"),
    "max_conversation_length": ((int,), "a whole number"),
    "context_window": ((int,), "a whole number"),
    "memory_enabled": ((bool,), "true or false"),
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
        if value is None:
            continue
        if key in _LIMITS:
            limits[_LIMITS[key]] = checked(_LIMITS[key], value)
        elif name == "limits":
            limits.update(_limits(value))
        elif name in _TYPES:
            fields[name] = checked(name, value)
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
    table = cast("Mapping[str, Any]", value)
    # max_memory_mb is accepted for the sake of existing scripts: the memory of one agent among
    # others in a process cannot be bounded; the script's own is, by the engine.
    return {
        _LIMITS[key]: checked(_LIMITS[key], item)
        for key, item in table.items()
        if key in _LIMITS or _refuse(key)
    }


def _refuse(key: str) -> bool:
    if key != "max_memory_mb":
        raise _unknown(key)
    return False


def _flattened(options: Mapping[str, Any]) -> dict[str, Any]:
    """With the parts of a ``model`` table as options of their own; direct options win."""
    model = options.get("model")
    if not isinstance(model, Mapping):
        return dict(options)
    parts = dict(cast("Mapping[str, Any]", model))
    settings = parts.pop("settings", None)
    inner: dict[str, Any] = {
        key: parts.pop(key)
        for key in ("provider", "temperature", "max_tokens", "top_p", "stop")
        if key in parts
    }
    inner["model"] = parts.pop("model_id", None) or parts.pop("model", None)
    if isinstance(settings, Mapping):
        rest = dict(cast("Mapping[str, Any]", settings))
        for key in ("base_url", "api_key"):
            if key in rest:
                inner[key] = rest.pop(key)
        inner["settings"] = rest
    if parts:
        raise _unknown(f"model.{next(iter(parts))}")
    return {**inner, **{k: v for k, v in options.items() if k != "model"}}


def _unknown(key: str) -> ConfigurationError:
    known = [*_TYPES, *_ALIASES, *_LIMITS]
    close = nearest(key, known)
    return ConfigurationError(
        f"an agent has no option '{key}'",
        hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(sorted(known))}",
    )
