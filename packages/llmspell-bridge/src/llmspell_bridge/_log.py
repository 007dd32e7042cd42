"""The log of a script: levels, filters, a ring of the latest entries. `Debug` and `Logger`
write to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import ValidationError

if TYPE_CHECKING:
    from llmspell_core import ScriptHost

LEVELS = ("off", "error", "warn", "info", "debug", "trace")
_WORDS = {"warning": "warn", "none": "off"}
_PYTHON_LEVELS = {"error": 40, "warn": 30, "info": 20, "debug": 10, "trace": 5}
CAPTURED = 1000
"""How many entries are kept."""
CAPTURED_BYTES = 8_000_000
"""How much they hold together, about: they lie outside the heap whose limit the script has."""
MESSAGE = 100_000
"""Characters of a message that are kept."""
FILTERS, PATTERN = 1000, 1000
"""How many filters there may be, and how long the pattern of one."""
_NAME = 100
"""Characters of a module's name that a regular expression is shown."""
_STEPS = 4_000_000
"""Steps that matching one name may take: nothing stops a regular expression once it runs."""


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


def _wildcard(pattern: str) -> Callable[[str], bool]:
    """``*`` stands for any text."""
    first, *inner = pattern.split("*")
    if not inner:
        return lambda module: module == pattern
    last = inner.pop()

    def matches(module: str) -> bool:
        if not module.startswith(first):
            return False
        at, end = len(first), len(module) - len(last)
        for part in inner:
            found = module.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return at <= end and module.endswith(last)

    return matches


def _expression(pattern: str) -> Callable[[str], bool] | None:
    """A search for a regular expression; None for one that is wrong or might take too long.

    Bounded by what it is made of: a search tries the places where its repetitions end, and the
    alternatives; a group that is repeated multiplies without bound, so there may be none.
    """
    import math
    import re

    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return None
    if re.search(r"\\[1-9]|\(\?P=", pattern):
        return None
    bare = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*+\]", "x", pattern, flags=re.DOTALL)
    bare = re.sub(r"\(\?[^:=!<>)]*[:=!<>)]?", "(", bare)
    if re.search(r"\)[*+?{]", bare):
        return None
    repetitions = len(re.findall(r"[*+?{]+", bare))
    if math.comb(_NAME, repetitions + 1) << bare.count("|") > _STEPS:
        return None
    return lambda module: expression.search(module[:_NAME]) is not None


def make_filter(pattern: str, kind: str, enabled: bool) -> Filter | None:
    """The rule, or None for an unknown kind or a regular expression that is wrong or too costly.

    Raises:
        ValidationError: for a pattern of more than 1,000 characters.
    """
    if len(pattern) > PATTERN:
        raise ValidationError(f"a pattern has at most {PATTERN} characters", field="pattern")
    if kind == "exact":
        return Filter(pattern, kind, enabled, lambda module: module == pattern)
    if kind == "hierarchical":
        inner = pattern + "."
        return Filter(
            pattern, kind, enabled, lambda module: module == pattern or module.startswith(inner)
        )
    if kind == "wildcard":
        return Filter(pattern, kind, enabled, _wildcard(pattern))
    if kind == "regex":
        matches = _expression(pattern)
        return None if matches is None else Filter(pattern, kind, enabled, matches)
    return None


def weight(value: Any) -> int:
    """About how many bytes *value* takes."""
    if isinstance(value, str | bytes):
        return 50 + len(value)
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return 100 + sum(weight(key) + weight(item) for key, item in items)
    if isinstance(value, list):
        return 100 + sum(map(weight, cast("list[Any]", value)))
    return 30


class ScriptLog:
    """The log of one script state."""

    def __init__(self, host: ScriptHost) -> None:
        self._host = host
        config = host.services.config
        self.level = level_of(str(config.get("debug.level", "info"))) or "info"
        self.enabled = config.get("debug.enabled") is not False
        self.filters: list[Filter] = []
        self.default_enabled = True
        self.entries: deque[Entry] = deque()
        self._weights: deque[int] = deque()
        self._weight = 0
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
        if len(message) > MESSAGE:
            message = f"{message[:MESSAGE]}... ({len(message) - MESSAGE} more)"
        self._keep(Entry(self._host.context.now(), level, message, module[:MESSAGE], metadata))
        import logging

        logger = logging.getLogger(f"llmspell.script.{module}")
        number = _PYTHON_LEVELS[level]
        if logger.isEnabledFor(number):
            logger.log(number, "%s", message, extra={"fields": metadata})

    def _keep(self, entry: Entry) -> None:
        taken = weight(entry.message) + weight(entry.module) + weight(entry.metadata)
        if taken > CAPTURED_BYTES:
            entry = replace(entry, metadata=None)
            taken = weight(entry.message) + weight(entry.module)
        self.entries.append(entry)
        self._weights.append(taken)
        self._weight += taken
        while len(self.entries) > CAPTURED or self._weight > CAPTURED_BYTES:
            self.entries.popleft()
            self._weight -= self._weights.popleft()

    def clear(self) -> None:
        """Forget the entries."""
        self.entries.clear()
        self._weights.clear()
        self._weight = 0

    def add(self, rule: Filter) -> None:
        """One more filter.

        Raises:
            ValidationError: for the 1,001st.
        """
        if len(self.filters) >= FILTERS:
            raise ValidationError(f"there are {FILTERS} module filters already")
        self.filters.append(rule)


def log_of(host: ScriptHost) -> ScriptLog:
    """The log of the state that *host* belongs to; `Debug` and `Logger` share it."""
    found: ScriptLog | None = getattr(host, "log", None)
    if found is None:
        found = ScriptLog(host)
        host.log = found  # type: ignore[attr-defined]
    return found
