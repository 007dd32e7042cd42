"""What scripts and tools may reach: paths, tool levels, the runtime's switches."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_security._config import RuntimeSecurityConfig as RuntimeSecurityConfig
    from llmspell_security._service import SecurityService as SecurityService

__all__ = ["RuntimeSecurityConfig", "SecurityService"]

_HOMES = {
    "RuntimeSecurityConfig": "_config",
    "SecurityService": "_service",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
