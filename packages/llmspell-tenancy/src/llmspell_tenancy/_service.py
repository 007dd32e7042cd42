"""Who an execution belongs to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llmspell_core import StorageBackend, Tenancy, ValidationError
from llmspell_tenancy._config import TenancyConfig
from llmspell_tenancy._storage import TenantStorage

if TYPE_CHECKING:
    from llmspell_core import Services

ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def checked_tenant(tenant: str) -> str:
    """*tenant*, if it may be the id of one: ids become parts of keys and directory names.

    Raises:
        ValidationError: unless it is 1 to 128 letters, digits, ``-``, ``_`` or ``.``, and not
            only dots.
    """
    if not ID.fullmatch(tenant) or not tenant.strip("."):
        raise ValidationError(
            f"Invalid tenant ID: {tenant!r}",
            field="tenant_id",
            hint="Use 1 to 128 letters, digits, '-', '_' and '.'.",
        )
    return tenant


class TenancyService(Tenancy):
    """Keeps tenants apart by the keys and namespaces their data lies under.

    Args:
        services: For the section ``[tenancy]``.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def current(self) -> str | None:
        """The tenant of ``[tenancy] id``, else of ``LLMSPELL_TENANT_ID``; None for neither.

        Raises:
            ValidationError: for an id that cannot be one.
        """
        configured = self._services.config.section("tenancy", TenancyConfig).id
        if not configured:
            from os import environ

            configured = environ.get("LLMSPELL_TENANT_ID")
        return checked_tenant(configured) if configured else None

    def storage(self, backend: StorageBackend, tenant: str | None) -> StorageBackend:
        """A view of *backend* that sees the tenant's keys and no others.

        With None, the view of executions that have no tenant: it sees no tenant's keys either.
        Closing a view leaves *backend* open.
        """
        return TenantStorage(backend, None if tenant is None else checked_tenant(tenant))

    def namespace(self, namespace: str, tenant: str | None) -> str:
        """The tenant's form of a retrieval namespace.

        ``global`` (or nothing) becomes ``tenant:<id>``, any other ``tenant:<id>:<namespace>``,
        so that naming another tenant's namespace only names one's own. Without a tenant it
        stays as it is.
        """
        if tenant is None:
            return namespace
        own = f"tenant:{checked_tenant(tenant)}"
        if namespace in ("", "global", own):
            return own
        return f"{own}:{namespace}"


def tenancy_service(services: Services) -> TenancyService:
    """The factory of the service ``tenancy``."""
    return TenancyService(services)
