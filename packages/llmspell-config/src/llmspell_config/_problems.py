"""What can be wrong with a configuration, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmspell_core import ConfigurationError


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding; `where` is ``file, line n`` or the name of the variable.

    `kind` is ``unknown`` (a key nobody knows), ``type``, ``rule``, ``environment`` (a variable
    that does not fit), ``unset`` (a reference to a variable that is not set) or ``advice``.
    """

    kind: str
    key: str
    message: str
    where: str | None = None
    hint: str | None = None

    @property
    def text(self) -> str:
        """One line for people."""
        place = f" ({self.where})" if self.where else ""
        if self.kind == "environment":
            return f"Environment variable parsing error: {self.where}: {self.message}"
        if self.kind == "type":
            return f"TOML parsing error: {self.key}: {self.message}{place}"
        if self.kind == "rule":
            return f"Configuration validation failed in field '{self.key}': {self.message}{place}"
        if self.kind == "unknown":
            near = f"; {self.hint}" if self.hint else ""
            return f"unknown key '{self.key}'{place}{near}"
        return f"{self.message}{place}"

    def error(self) -> ConfigurationError:
        """The exception for it."""
        details: dict[str, Any] = {"key": self.key, "where": self.where, "kind": self.kind}
        return ConfigurationError(self.text, hint=self.hint, details=details)
