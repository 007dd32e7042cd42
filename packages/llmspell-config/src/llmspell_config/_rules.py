"""What no single key can tell: rules between settings, and advice."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from llmspell_config._problems import Problem
from llmspell_config._redaction import MARK, is_sensitive
from llmspell_config._resolved import resolve
from llmspell_core import Config

if TYPE_CHECKING:
    from llmspell_config._layers import Settled

PROVIDER_TYPES = (
    "openai",
    "anthropic",
    "cohere",
    "groq",
    "perplexity",
    "together",
    "gemini",
    "mistral",
    "replicate",
    "fireworks",
    "azure",
    "ollama",
    "local",
    "llama_cpp",
    "mock",
    "candle",
    "openrouter",
    "xai",
    "huggingface",
    "custom",
)
_KEYLESS = frozenset({"ollama", "candle", "local", "llama_cpp", "mock", "echo", "scripted"})

_LIMITS: Mapping[str, tuple[float, str]] = {
    "engines.lua.max_memory_bytes": (10**9, "more than 1 GB of memory for a script"),
    "engines.lua.timeout_ms": (300_000, "a time limit of more than five minutes"),
    "tools.file_operations.max_file_size": (10**9, "files of more than 1 GB"),
    "tools.file_operations.max_depth": (50, "directories more than 50 deep"),
    "tools.web_search.max_results": (100, "more than 100 results"),
    "runtime.max_concurrent_scripts": (100, "more than 100 scripts at a time"),
    "runtime.script_timeout_seconds": (3600, "a time limit of more than an hour"),
    "runtime.security.max_memory_bytes": (2 * 10**9, "more than 2 GB of memory for a script"),
    "runtime.state_persistence.max_state_size_bytes": (10**8, "state of more than 100 MB"),
}


def broken_rules(
    config: Config,
    settled: Settled,
    sections: Mapping[str, type[Any]],
    installed: Collection[str],
) -> list[Problem]:
    """The rules that *config* breaks, and advice on what it does.

    Args:
        config: The settings.
        settled: Where each came from.
        sections: The registered sections.
        installed: The provider types that plugins bring.
    """
    values = resolve(config, sections)
    found = [
        *_engine(values),
        *_providers(config, installed),
        *_paths(config),
        *_compression(config),
        *_hnsw(values),
        *_large(values),
        *_risky(values),
    ]
    return [
        Problem(p.kind, p.key, p.message, settled.origin(tuple(p.key.split("."))), p.hint)
        for p in found
    ]


def _engine(values: Mapping[str, Any]) -> Iterator[Problem]:
    engine = values.get("default_engine")
    engines = values.get("engines", {})
    if not isinstance(engine, str):
        yield Problem("type", "default_engine", "expected text")
    elif not engine.strip():
        yield Problem("rule", "default_engine", "Default engine cannot be empty")
    elif engine.lower() not in {"lua", "javascript", "js", *engines}:
        yield Problem(
            "rule",
            "default_engine",
            f"Default engine '{engine}' is not configured",
            hint=f"Use 'lua', or add a table [engines.{engine}].",
        )


def _providers(config: Config, installed: Collection[str]) -> Iterator[Problem]:
    tables = cast("dict[str, Any]", config.get("providers", {}))
    default = tables.get("default_provider")
    named = {name for name, table in tables.items() if isinstance(table, Mapping)}
    usable = {word.lower() for word in (*named, *installed, *PROVIDER_TYPES)}
    if default is not None and str(default).lower() not in usable:
        yield Problem(
            "rule",
            "providers.default_provider",
            f"Default provider '{default}' is not configured",
            hint=f"Add a table [providers.{default}].",
        )
    for name in sorted(named):
        yield from _provider(f"providers.{name}", name, tables[name])


def _provider(path: str, name: str, table: Mapping[str, Any]) -> Iterator[Problem]:
    if table.get("provider_type") == "":
        yield Problem("rule", f"{path}.provider_type", "Provider type cannot be empty")
    limit = table.get("rate_limit")
    per_minute: Any = limit
    if isinstance(limit, Mapping):
        per_minute = cast("Mapping[str, Any]", limit).get("requests_per_minute", 1)
    if isinstance(per_minute, int) and per_minute <= 0:
        yield Problem("rule", f"{path}.rate_limit", "requests_per_minute cannot be zero or less")
    retry = table.get("retry")
    if isinstance(retry, Mapping):
        factor = cast("Mapping[str, Any]", retry).get("backoff_multiplier", 1)
        if isinstance(factor, int | float) and factor <= 0:
            yield Problem("rule", f"{path}.retry.backoff_multiplier", "must be positive")
    temperature = table.get("temperature")
    if isinstance(temperature, int | float) and not 0 <= temperature <= 2:
        yield Problem(
            "advice", f"{path}.temperature", f"temperature of '{name}' is not between 0 and 2"
        )
    if table.get("timeout_seconds", 0) > 600:
        yield Problem(
            "advice", f"{path}.timeout_seconds", f"'{name}' may take more than ten minutes"
        )
    if table.get("max_retries", 0) > 10:
        yield Problem("advice", f"{path}.max_retries", f"'{name}' is retried more than ten times")
    yield from _without_key(path, name, table)


def _without_key(path: str, name: str, table: Mapping[str, Any]) -> Iterator[Problem]:
    import os

    kind = str(table.get("provider_type", name)).lower()
    if kind not in PROVIDER_TYPES or kind in _KEYLESS or any("api_key" in key for key in table):
        return
    usual = f"{name.upper()}_API_KEY"
    if not any(os.environ.get(v) for v in (usual, f"LLMSPELL_{usual}", f"{kind.upper()}_API_KEY")):
        message = f"provider '{name}' has no key: set {usual} or 'api_key_env'"
        yield Problem("advice", path, message)


def _paths(config: Config) -> Iterator[Problem]:
    key = "tools.file_operations.allowed_paths"
    paths = config.get(key)
    enabled = config.get("tools.file_operations.enabled", True)
    if paths in ([], "") and enabled not in (False, "false"):
        yield Problem(
            "rule",
            key,
            "at least one allowed path is needed",
            hint=("List a directory, or switch the tool off with enabled = false."),
        )
    import os

    for path in cast("list[Any]", paths) if isinstance(paths, list) else []:
        if path in {"*", "/"}:
            yield Problem("advice", key, f"'{path}' allows every path")
        elif isinstance(path, str) and not os.path.exists(path):
            yield Problem("advice", key, f"allowed path '{path}' does not exist")


def _compression(config: Config) -> Iterator[Problem]:
    key = "runtime.state_persistence.backup.compression_level"
    level = config.get(key)
    if isinstance(level, int) and not 1 <= level <= 22:
        yield Problem("rule", key, "must be between 1 and 9")


def _hnsw(values: Mapping[str, Any]) -> Iterator[Problem]:
    graph = _at(values, "rag.vector_storage.hnsw")
    if not isinstance(graph, Mapping):
        return
    table = cast("Mapping[str, Any]", graph)
    least = table.get("m", 16)
    bounds: dict[str, tuple[float, float]] = {
        "m": (2, 100),
        "ef_construction": (least, float("inf")),
        "ef_search": (1, float("inf")),
        "max_elements": (1, float("inf")),
        "nb_layers": (1, 64),
        "parallel_batch_size": (1, float("inf")),
    }
    for name, (low, high) in bounds.items():
        value = table.get(name)
        if isinstance(value, int | float) and not low <= value <= high:
            limit = f"at least {low}" if high == float("inf") else f"between {low} and {high}"
            yield Problem("rule", f"rag.vector_storage.hnsw.{name}", f"{name} must be {limit}")


def _large(values: Mapping[str, Any]) -> Iterator[Problem]:
    for key, (limit, meaning) in _LIMITS.items():
        value = _at(values, key)
        if isinstance(value, int | float) and value > limit:
            yield Problem("advice", key, f"'{key}' allows {meaning}")


def _risky(values: Mapping[str, Any]) -> Iterator[Problem]:
    if _at(values, "runtime.security.allow_process_spawn") is True:
        key = "runtime.security.allow_process_spawn"
        yield Problem("advice", key, "scripts may start programs (allow_process_spawn)")
    level = _at(values, "engines.lua.security_level")
    if isinstance(level, str) and level.lower() == "unrestricted":
        yield Problem("advice", "engines.lua.security_level", "the Lua engine is unrestricted")


def _at(values: Mapping[str, Any], key: str) -> Any:
    found: Any = values
    for part in key.split("."):
        if not isinstance(found, Mapping):
            return None
        found = cast("Mapping[str, Any]", found).get(part)
    return found


def literal_secrets(path: str, values: Mapping[str, Any], above: str = "") -> list[str]:
    """The keys of the file at *path* that hold a secret as it is, when others may read it."""
    import os

    if not above and not os.stat(path).st_mode & 0o044:
        return []
    found: list[str] = []
    for name, value in values.items():
        key = f"{above}.{name}" if above else name
        if isinstance(value, Mapping):
            found += literal_secrets(path, cast("Mapping[str, Any]", value), key)
        elif (
            isinstance(value, str)
            and is_sensitive(name)
            and value not in {"", MARK}
            and not value.startswith(("env:", "${"))
        ):
            found.append(key)
    return found
