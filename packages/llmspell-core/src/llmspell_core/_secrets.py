"""Known secret values, replaced wherever they would be written."""

from __future__ import annotations

import json
from typing import Any, cast

MARK = "<REDACTED>"
_SHORTEST = 6


class Secrets:
    """The secret values that this process has come to know (API keys, passwords).

    Whoever resolves a secret adds it; whoever writes text that may outlive the process
    (run ledger, logs, error messages) passes it through `redact`. Values shorter than six
    characters are not remembered: replacing them would garble ordinary text.
    """

    __slots__ = ("_forms",)

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()

    def add(self, value: str | None) -> None:
        """Remember *value*, in its plain and its JSON-escaped form."""
        if value is None or len(value) < _SHORTEST:
            return
        escaped = json.dumps(value, ensure_ascii=False)[1:-1]
        forms = {*self._forms, value, escaped}
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def redact(self, text: str) -> str:
        """*text* with every known value replaced by ``<REDACTED>``."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MARK)
        return text


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
