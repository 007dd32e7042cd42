"""The tree of all keys: what packages registered, and what is accepted beyond it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmspell_config._schema import GROUP, Key, Table, table_of
from llmspell_config._sections import GeneralConfig

if TYPE_CHECKING:
    from llmspell_core import PluginIndex

PROVIDER_ALIASES: Mapping[str, str] = {
    "type": "provider_type",
    "api_base": "base_url",
    "endpoint": "base_url",
    "model": "default_model",
    "timeout": "timeout_seconds",
    "timeout_secs": "timeout_seconds",
    "retry_attempts": "max_retries",
    "organization": "organization_id",
}

PROVIDER_KEYS: Mapping[str, tuple[object, bool]] = {
    "name": (str, False),
    "provider_type": (str, False),
    "enabled": (bool, False),
    "base_url": (str, False),
    "api_key": (str, False),
    "api_key_env": (str, False),
    "default_model": (str, False),
    "temperature": (float, False),
    "max_tokens": (int, True),
    "timeout_seconds": (float, True),
    "max_retries": (int, False),
    "retry_delay": (int, False),
    "max_concurrent_requests": (int, True),
    "organization_id": (str, False),
    "version": (str, False),
    "auth_header": (str, False),
    "auth_prefix": (str, False),
    "api_version": (str, False),
    "deployment_name": (str, False),
}
"""Keys of a provider → their type, and whether they must be above zero. Others are options of
that provider and pass as they are.
"""

FREE_TABLES = frozenset(
    {
        "apis",
        "app",
        "app_settings",
        "applications",
        "business_rules",
        "business_settings",
        "clients",
        "components",
        "cost_management",
        "daemon",
        "debug",
        "events",
        "example",
        "fleet",
        "general",
        "global",
        "hooks",
        "ide",
        "kernel",
        "llm",
        "logging",
        "memory",
        "monitoring",
        "orchestration",
        "parameters",
        "profiles",
        "profiling",
        "protocols",
        "resources",
        "security",
        "service",
        "session",
        "sessions",
        "signals",
        "sla",
        "state",
        "storage",
        "templates",
        "testing",
        "utils",
        "web",
        "webhooks",
        "workflows",
    }
)
"""Tables that files may hold and scripts may read, whether or not a package declares them."""

FREE_INSIDE: Mapping[str, str] = {
    "runtime": "debug description enable_streaming events hooks log_level memory name "
    "performance_monitoring sessions strict_validation use_global_io_runtime",
    "runtime.state_persistence": "backup backup_enabled backup_on_migration backup_retention "
    "compression encryption flush_interval migration_enabled performance postgres sled sqlite",
    "engines": "javascript",
    "engines.lua": "enable_debug max_instructions sandbox_mode",
    "tools": "auto_discover cache_metadata cache_size_mb rate_limit_per_minute reload_on_change "
    "tool_directories",
    "rag": "backup cache debug embeddings monitoring multi_tenant_settings performance profiles "
    "sessions storage temporal",
    "rag.security": "audit_log_path enable_audit_logging enable_input_validation "
    "enable_rate_limiting rate_limit_per_user",
}
"""The same below known tables, where nobody declares them."""


def registered(plugins: PluginIndex) -> dict[str, type[Any]]:
    """The sections that packages registered, by name."""
    return {plugin.name: cls for plugin, cls in plugins.load_all(GROUP)}


def known_keys(registered: Mapping[str, type[Any]]) -> Table:
    """The tree of all keys, with the *registered* sections in it."""
    root = table_of(GeneralConfig)
    for name in sorted(registered, key=lambda name: name.count(".")):
        section = table_of(registered[name])
        *above, last = name.split(".")
        place = root.at(tuple(above))
        old = place.tables.get(last)
        if old is not None:
            # The section above declares this table too: both know keys of it.
            section.tables = {**old.tables, **section.tables}
            section.keys = {**old.keys, **section.keys}
        place.tables[last] = section
    for free in ("providers", "tools", "engines"):
        root.at((free,)).free = True
    return root


def provider_key(name: str) -> Key:
    """What is known of the key *name* of a provider; nothing for an option of its own."""
    wanted, above_zero = PROVIDER_KEYS.get(name, (None, False))
    if wanted is None:
        return Key(name, Any)
    unit = "seconds" if name == "timeout_seconds" else ""
    return Key(name, wanted, unit=unit, above_zero=above_zero, sensitive=name == "api_key")


def is_free(path: tuple[str, ...]) -> bool:
    """Whether a table or key nobody declares is welcome at *path*, or around it."""
    if path[0] in FREE_TABLES:
        return True
    return any(
        path[depth] in FREE_INSIDE.get(".".join(path[:depth]), "").split()
        for depth in range(1, len(path))
    )
