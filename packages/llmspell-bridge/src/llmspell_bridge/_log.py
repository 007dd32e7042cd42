"""The log of a script: levels, filters, a ring of the latest entries. `Debug` and `Logger`
write to it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from llmspell_core import ScriptHost

LEVELS = ("off", "error", "warn", "info", "debug", "trace")
_WORDS = {"warning": "warn", "none": "off"}
_PYTHON_LEVELS = {"error": 40, "warn": 30, "info": 20, "debug": 10, "trace": 5}
CAPTURED = 1000
"""How many entries are kept."""


def level_of(word: str) -> str | None:
    """The canonical level word, None for an unknown one."""
    word = word.strip().lower()
    word = _WORDS.get(word, word)
    return word if word in LEVELS else None


@dataclass(frozen=True, slots=True)
class Entry:
    """A captured message; `time` is Unix seconds."""

    time: float
    level: str
    message: str
    module: str | None
    metadata: Any

    def to_dict(self) -> dict[str, Any]:
        """As scripts read it."""
        made = {"timestamp": rfc3339(self.time), "level": self.level, "message": self.message}
        if self.module is not None:
            made["module"] = self.module
        return made if self.metadata is None else {**made, "metadata": self.metadata}


def rfc3339(seconds: float) -> str:
    """The time in UTC, with milliseconds."""
    import time

    whole = int(seconds // 1)
    base = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{base}.{int((seconds - whole) * 1000):03d}Z"


@dataclass(frozen=True, slots=True)
class Filter:
    """A rule for modules."""

    pattern: str
    kind: str
    enabled: bool
    matches: Callable[[str], bool] = field(repr=False)


def _matcher(expression: re.Pattern[str], whole: bool) -> Callable[[str], bool]:
    find = expression.fullmatch if whole else expression.search
    return lambda module: find(module) is not None


def make_filter(pattern: str, kind: str, enabled: bool) -> Filter | None:
    """The rule, or None for an unknown kind or a bad regular expression."""
    if kind == "exact":
        return Filter(pattern, kind, enabled, lambda module: module == pattern)
    if kind == "hierarchical":
        inner = pattern + "."
        return Filter(
            pattern, kind, enabled, lambda module: module == pattern or module.startswith(inner)
        )
    if kind == "wildcard":
        text = ".*".join(re.escape(part) for part in pattern.split("*"))
        return Filter(pattern, kind, enabled, _matcher(re.compile(text, re.DOTALL), True))
    if kind == "regex":
        try:
            return Filter(pattern, kind, enabled, _matcher(re.compile(pattern), False))
        except re.error:
            return None
    return None


class ScriptLog:
    """The log of one script state."""

    def __init__(self, host: ScriptHost) -> None:
        self._host = host
        config = host.services.config
        self.level = level_of(str(config.get("debug.level", "info"))) or "info"
        self.enabled = config.get("debug.enabled") is not False
        self.filters: list[Filter] = []
        self.default_enabled = True
        self.entries: deque[Entry] = deque(maxlen=CAPTURED)
        self.correlation_id: str | None = None

    def wants(self, level: str, module: str) -> bool:
        """Whether a message of that level and module is taken."""
        if not self.enabled or level == "off":
            return False
        if LEVELS.index(level) > LEVELS.index(self.level):
            return False
        for rule in reversed(self.filters):
            if rule.matches(module):
                return rule.enabled
        return self.default_enabled

    def write(self, word: str, message: str, module: str, metadata: Any = None) -> None:
        """Take a message; an unknown level is ignored."""
        level = level_of(word)
        if level is None or not self.wants(level, module):
            return
        if self.correlation_id is not None:
            known = cast("dict[str, Any]", metadata) if isinstance(metadata, dict) else {}
            metadata = {**known, "correlation_id": self.correlation_id}
        self.entries.append(Entry(self._host.context.now(), level, message, module, metadata))
        import logging

        logger = logging.getLogger(f"llmspell.script.{module}")
        number = _PYTHON_LEVELS[level]
        if logger.isEnabledFor(number):
            logger.log(number, "%s", message, extra={"fields": metadata})


def log_of(host: ScriptHost) -> ScriptLog:
    """The log of the state that *host* belongs to; `Debug` and `Logger` share it."""
    found: ScriptLog | None = getattr(host, "log", None)
    if found is None:
        found = ScriptLog(host)
        host.log = found  # type: ignore[attr-defined]
    return found
