"""The sections that belong to no other package."""

from __future__ import annotations

from dataclasses import dataclass

from llmspell_core import setting


@dataclass(frozen=True, slots=True)
class PluginsConfig:
    """``[plugins]``: what is installed, and which of two is meant."""

    prefer: dict[str, str] = setting(  # noqa: RUF009 - it makes a field
        factory=dict[str, str],
        help='the distribution that owns a contested name: "tools.calculator" = "my-tools"',
    )


@dataclass(frozen=True, slots=True)
class GeneralConfig:
    """The keys outside all tables."""

    default_engine: str = setting(
        "lua", help="script language where none is named", env=("LLMSPELL_DEFAULT_ENGINE",)
    )
    version: str | None = setting(None, help="of the application, free text")
    name: str | None = setting(None, help="of the application, free text")
    description: str | None = setting(None, help="of the application, free text")
