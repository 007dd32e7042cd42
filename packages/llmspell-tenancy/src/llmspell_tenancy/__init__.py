"""Tenant isolation for LLMSpell."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_tenancy._config import TenancyConfig as TenancyConfig
    from llmspell_tenancy._service import TenancyService as TenancyService
    from llmspell_tenancy._service import checked_tenant as checked_tenant
    from llmspell_tenancy._storage import TenantStorage as TenantStorage

__all__ = ["TenancyConfig", "TenancyService", "TenantStorage", "checked_tenant"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "TenancyConfig": "_config",
        "TenancyService": "_service",
        "TenantStorage": "_storage",
        "checked_tenant": "_service",
    },
)
