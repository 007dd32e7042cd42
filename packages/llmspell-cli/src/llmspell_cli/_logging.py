"""Diagnostics on stderr: ``--trace``, ``RUST_LOG``, ``LOG_FORMAT``."""

from __future__ import annotations

import logging
import os
import sys

TRACE = 5
OFF = 100
LEVELS = {
    "off": OFF,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}
_WORDS = {logging.WARNING: "WARN", logging.CRITICAL: "ERROR", TRACE: "TRACE"}


def set_up_logging(trace: str | None) -> None:
    """Send diagnostics to stderr, from level *trace* on; ``RUST_LOG`` wins over it.

    Finer levels than ``warn`` are for our own loggers, unless ``RUST_LOG`` names others.
    """
    targets = {"llmspell": LEVELS.get((trace or "warn").lower(), logging.WARNING)}
    targets[""] = max(targets["llmspell"], logging.WARNING)
    targets.update(_from_environment(os.environ.get("RUST_LOG", "")))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(os.environ.get("LOG_FORMAT", "text").lower()))
    handler.addFilter(lambda record: record.levelno >= _level(record.name, targets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(min(targets.values()))


def _from_environment(text: str) -> dict[str, int]:
    """``debug`` and ``llmspell_tools=trace,httpx=info``."""
    found: dict[str, int] = {}
    for part in text.split(","):
        target, _, level = part.strip().rpartition("=")
        number = LEVELS.get(level.strip().lower())
        if number is None:
            continue
        name = _name(target.strip())
        found[name] = number
        if not name:
            found["llmspell"] = number
            found[""] = max(number, logging.WARNING)
    return found


def _name(target: str) -> str:
    return target.replace("::", ".")


def _level(logger: str, targets: dict[str, int]) -> int:
    """The level of the longest target that *logger* lies in.

    Loggers are called by subject (``llmspell.tools``) or by module (``llmspell_tools._x``).
    """
    best, level = -1, logging.WARNING
    for target, number in targets.items():
        spelled = target.replace("llmspell_", "llmspell.")
        name = logger.replace("llmspell_", "llmspell.")
        inside = not target or name == spelled or name.startswith(spelled + ".")
        if inside and len(target) > best:
            best, level = len(target), number
    return level


def _formatter(style: str) -> logging.Formatter:
    if style == "json" or (os.environ.get("LLMSPELL_ENV") == "production" and style == "text"):
        return _Json()
    return _Text(brief=style == "compact")


class _Text(logging.Formatter):
    def __init__(self, *, brief: bool) -> None:
        super().__init__()
        self._brief = brief
        self._colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")

    def format(self, record: logging.LogRecord) -> str:
        word = _WORDS.get(record.levelno, record.levelname)
        if self._colour:
            word = f"\x1b[{31 if word == 'ERROR' else 33 if word == 'WARN' else 36}m{word}\x1b[0m"
        time = "" if self._brief else self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + " "
        text = f"{time}{word} {record.name}: {record.getMessage()}"
        if record.exc_info and logging.getLogger("llmspell").isEnabledFor(logging.DEBUG):
            text += "\n" + self.formatException(record.exc_info)
        return text


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        import json

        made = {
            "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": _WORDS.get(record.levelno, record.levelname),
            "target": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            made["exception"] = self.formatException(record.exc_info)
        return json.dumps(made, ensure_ascii=False)
