"""What scripts give an agent, as an `AgentInput`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from llmspell_core import AgentInput, ValidationError, nearest

_TEXT = ("text", "prompt", "input", "message", "query")
_MORE = ("instruction", "context")
_OVERRIDES = (
    "model",
    "temperature",
    "max_tokens",
    "top_p",
    "stop",
    "system_prompt",
    "timeout",
    "timeout_ms",
    "tools",
)
_MEDIA = ("media", "image", "output_modalities")


class InputError(ValidationError):
    """What a script gave cannot be an input: its author must know, so it is always raised."""


def read_input(value: Any, options: Mapping[str, Any] | None) -> AgentInput:
    """A text, or a table with ``text`` (or ``prompt, input, message, query``), ``parameters``
    and what it overrides for one call; *options* may hold the latter too and wins.

    Raises:
        InputError: for anything else, for an empty text, for media.
    """
    if isinstance(value, Mapping):
        table = dict(cast("Mapping[str, Any]", value))
    elif isinstance(value, str):
        table: dict[str, Any] = {"text": value}
    elif isinstance(value, int | float) and not isinstance(value, bool):
        table = {"text": str(value)}
    else:
        given = "nothing" if value is None else type(value).__name__
        raise InputError(f"Input must be text or a table, not {given}", field="input")
    overrides = {
        key: given[key] for given in (table, options or {}) for key in _OVERRIDES if key in given
    }
    _only_known(table, options or {})
    parameters: Any = table.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        raise InputError("parameters must be a table", field="parameters")
    return AgentInput(
        _text(table), {**cast("Mapping[str, Any]", parameters), **_in_seconds(overrides)}
    )


def _text(table: Mapping[str, Any]) -> str:
    main = next((table[key] for key in _TEXT if table.get(key) is not None), "")
    if not isinstance(main, str | int | float) or isinstance(main, bool):
        raise InputError(f"text must be text, not {type(main).__name__}", field="text")
    more = [table[key] for key in _MORE if isinstance(table.get(key), str)]
    text = "\n\n".join(part for part in (str(main), *more) if part)
    if not text.strip():
        raise InputError("Input text cannot be empty", field="text")
    return text


def _only_known(table: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    for key in table:
        if key in _MEDIA and table[key]:
            raise InputError(f"'{key}' cannot be given to an agent yet: it takes text", field=key)
    for key in options:
        if key not in _OVERRIDES and key != "stream":
            close = nearest(key, _OVERRIDES)
            raise InputError(
                f"execute has no option '{key}'",
                field=key,
                hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(_OVERRIDES)}",
            )


def _in_seconds(overrides: dict[str, Any]) -> dict[str, Any]:
    """With ``timeout`` and ``timeout_ms`` (both milliseconds) as ``timeout_seconds``."""
    made = {k: v for k, v in overrides.items() if k not in {"timeout", "timeout_ms"}}
    milliseconds = overrides.get("timeout_ms", overrides.get("timeout"))
    if milliseconds is not None:
        if not isinstance(milliseconds, int | float) or isinstance(milliseconds, bool):
            raise InputError("timeout must be a number of milliseconds", field="timeout")
        made["timeout_seconds"] = milliseconds / 1000
    return made
