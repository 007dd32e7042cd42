"""Known secret values, replaced wherever they would be written."""

from __future__ import annotations

import json
import threading
from typing import Any, cast

MARK = "<REDACTED>"
_SHORTEST = 6


class Secrets:
    """The secret values that this process has come to know (API keys, passwords).

    Whoever resolves a secret adds it; whoever writes text that may outlive the process
    (run ledger, logs, error messages) passes it through `redact`. Values shorter than six
    characters are not remembered: replacing them would garble ordinary text.
    """

    __slots__ = ("_forms", "_lock")

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def add(self, value: str | None) -> None:
        """Remember *value*, in its plain and its JSON-escaped form."""
        if value is None or len(value) < _SHORTEST:
            return
        escaped = json.dumps(value, ensure_ascii=False)[1:-1]
        with self._lock:
            # The longest first: a secret may be part of another.
            self._forms = tuple(sorted({*self._forms, value, escaped}, key=len, reverse=True))

    def redact(self, text: str) -> str:
        """*text* with every known value replaced by ``<REDACTED>``."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MARK)
        return text

    def redact_json(self, text: str) -> str:
        """As `redact` for a JSON text, which stays one: a secret that looks like a number or like
        punctuation is only replaced where it is a whole value or stands in a string.
        """
        if not any(form in text for form in self._forms):
            return text
        value = self._redacted(json.loads(text))
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def _redacted(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, dict):
            table = cast("dict[str, Any]", value)
            return {self.redact(key): self._redacted(item) for key, item in table.items()}
        if isinstance(value, list):
            return [self._redacted(item) for item in cast("list[Any]", value)]
        if isinstance(value, int | float) and repr(value) in self._forms:
            return MARK
        return value


def redact_fields(value: Any, names: frozenset[str]) -> Any:
    """A copy of a JSON value in which fields called one of *names* (lower case) are marked."""
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return {
            key: MARK if str(key).lower() in names else redact_fields(item, names)
            for key, item in table.items()
        }
    if isinstance(value, list | tuple):
        return [redact_fields(item, names) for item in cast("list[Any]", value)]
    return value
