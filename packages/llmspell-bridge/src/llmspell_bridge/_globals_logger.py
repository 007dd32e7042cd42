"""The global `Logger`."""

from __future__ import annotations

from typing import Any

from llmspell_bridge._log import ScriptLog, level_of, log_of
from llmspell_core import (
    ScriptHost,
    ValidationError,
    attribute,
    exposed,
    script_global,
    script_object,
)


class _Methods:
    """What `Logger` and the named loggers share."""

    _log: ScriptLog
    _module: str

    def _write(self, level: str, message: Any, fields: Any) -> None:
        text = message if isinstance(message, str) else _text(message)
        self._log.write(level, text, self._module, fields)

    @exposed()
    def trace(self, message: Any = None, fields: Any = None) -> None:
        """Log a message on level trace.

        Args:
            message: Any value; a table is written as JSON.
            fields: A table that is kept with the message.
        """
        self._write("trace", message, fields)

    @exposed()
    def debug(self, message: Any = None, fields: Any = None) -> None:
        """Log a message on level debug.

        Args:
            message: Any value; a table is written as JSON.
            fields: A table that is kept with the message.
        """
        self._write("debug", message, fields)

    @exposed()
    def info(self, message: Any = None, fields: Any = None) -> None:
        """Log a message on level info.

        Args:
            message: Any value; a table is written as JSON.
            fields: A table that is kept with the message.
        """
        self._write("info", message, fields)

    @exposed()
    def warn(self, message: Any = None, fields: Any = None) -> None:
        """Log a message on level warn.

        Args:
            message: Any value; a table is written as JSON.
            fields: A table that is kept with the message.
        """
        self._write("warn", message, fields)

    @exposed()
    def error(self, message: Any = None, fields: Any = None) -> None:
        """Log a message on level error; it does not raise.

        Args:
            message: Any value; a table is written as JSON.
            fields: A table that is kept with the message.
        """
        self._write("error", message, fields)

    @exposed()
    def log(self, level: str, message: Any = None, fields: Any = None) -> None:
        """Log a message on a level given as a word.

        Args:
            level: ``error``, ``warn``, ``info``, ``debug`` or ``trace``; another word is ignored.
            message: Any value; a table is written as JSON.
            fields: A table that is kept with the message.
        """
        self._write(level, message, fields)

    @exposed()
    def set_level(self, level: str) -> None:
        """Drop messages below a level, in the log of the whole script.

        Args:
            level: ``off``, ``error``, ``warn``, ``info``, ``debug`` or ``trace``.

        Raises:
            ValidationError: For an unknown word.
        """
        word = level_of(level)
        if word is None:
            raise ValidationError(f"unknown log level '{level}'", field="level")
        self._log.level = word

    @exposed()
    def get_level(self) -> str:
        """The level as a word in lower case."""
        return self._log.level


def _text(value: Any) -> str:
    import json

    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=_text)
    return {None: "nil", True: "true", False: "false"}.get(value, str(value))


@script_object("Logger")
class NamedLogger(_Methods):
    """A logger for one module, made by `Logger.new`."""

    def __init__(self, log: ScriptLog, name: str) -> None:
        self._log = log
        self._module = name

    @attribute
    def name(self) -> str:
        """The module."""
        return self._module


@script_global("Logger")
class LoggerGlobal(_Methods):
    """Structured log messages, in the same log as `Debug`."""

    def __init__(self, host: ScriptHost) -> None:
        self._log = log_of(host)
        self._module = "script"

    @exposed()
    def new(self, name: str) -> NamedLogger:
        """A logger whose messages carry a module's name.

        Args:
            name: The module.
        """
        return NamedLogger(self._log, name)

    @exposed()
    def set_correlation_id(self, id: str | None = None) -> None:
        """Put an id into the fields of every later message.

        Args:
            id: The id; nil ends that.
        """
        self._log.correlation_id = id
