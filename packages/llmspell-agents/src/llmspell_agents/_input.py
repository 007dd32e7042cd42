"""What scripts give an agent, as an `AgentInput`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from llmspell_core import AgentInput, ValidationError, nearest

_TEXT = ("text", "prompt", "input", "message", "query")
_MORE = ("instruction", "context")
_OVERRIDES = (
    "model",
    "fallback",
    "temperature",
    "max_tokens",
    "top_p",
    "stop",
    "seed",
    "system_prompt",
    "timeout",
    "retry",
    "timeout_ms",
    "tools",
    "tool_choice",
    "schema",
    "output_schema",
    "response_format",
    "budget",
)
_MODALITIES = ("image", "audio", "video", "binary")


class InputError(ValidationError):
    """What a script gave cannot be an input: its author must know, so it is always raised."""


def read_input(value: Any, options: Mapping[str, Any] | None) -> AgentInput:
    """A text, or a table with ``text`` (or ``prompt, input, message, query``), ``media``,
    ``parameters``, ``context`` and what it overrides for one call; *options* may hold the latter
    too and wins.

    Raises:
        InputError: for anything else, and for an input without text and media.
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
    _only_known(options or {})
    _check_modalities(table.get("output_modalities"))
    parameters: Any = table.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        raise InputError("parameters must be a table", field="parameters")
    media = _media(table)
    about: Any = table.get("context")
    return AgentInput(
        _text(table, needed=not media),
        {**cast("Mapping[str, Any]", parameters), **_in_seconds(overrides)},
        {"context": about} if isinstance(about, Mapping) and about else {},
        media,
    )


def _text(table: Mapping[str, Any], *, needed: bool) -> str:
    main = next((table[key] for key in _TEXT if table.get(key) is not None), "")
    if not isinstance(main, str | int | float) or isinstance(main, bool):
        raise InputError(f"text must be text, not {type(main).__name__}", field="text")
    more = [table[key] for key in _MORE if isinstance(table.get(key), str)]
    text = "\n\n".join(part for part in (str(main), *more) if part)
    if needed and not text.strip():
        raise InputError("Input text cannot be empty", field="text")
    return text


def _media(table: Mapping[str, Any]) -> tuple[Any, ...]:
    if not table.get("media") and not table.get("image"):
        return ()
    from llmspell_agents._media import read_media

    try:
        return read_media(table)
    except ValidationError as error:
        raise InputError(error.message, field="media") from None


def _check_modalities(wanted: Any) -> None:
    """Agents answer in text; words that nobody knows are skipped."""
    if not isinstance(wanted, list | tuple) or "text" in wanted:
        return
    other = [word for word in cast("list[Any]", wanted) if word in _MODALITIES]
    if other:
        raise InputError(
            f"agents answer in text, not in {', '.join(other)}", field="output_modalities"
        )


def _only_known(options: Mapping[str, Any]) -> None:
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
