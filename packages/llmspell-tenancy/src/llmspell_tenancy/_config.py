"""The section ``[tenancy]``."""

from __future__ import annotations

from dataclasses import dataclass

from llmspell_core import setting


@dataclass(frozen=True, slots=True)
class TenancyConfig:
    """Whose data executions work on."""

    id: str | None = setting(
        None,
        help="the tenant executions are for; empty: none",
        aliases=("tenant_id",),
        env=("LLMSPELL_TENANT_ID",),
    )
