"""Where a provider's settings come from: configuration tables and the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from llmspell_core import Config, ConfigurationError, ProviderSettings
from llmspell_providers._catalogue import VENDORS, Vendor, canonical
from llmspell_providers._estimate import USUAL_ANSWER, thinking_tokens
from llmspell_providers._prices import Price, read_pricing
from llmspell_providers._resilience import Resilience, take_resilience
from llmspell_utils import RetryPolicy

_REFERENCE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_FROM_ENVIRONMENT = re.compile(r"^LLMSPELL_PROVIDER_([A-Z0-9_]+?)_(API_KEY|BASE_URL|ENDPOINT)$")
_ALIASES = {
    "provider_type": ("type",),
    "base_url": ("api_base", "endpoint"),
    "default_model": ("model",),
    "timeout_seconds": ("timeout", "timeout_secs"),
    "max_retries": ("retry_attempts",),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A provider by name: how to build it, and what is told about it."""

    settings: ProviderSettings
    enabled: bool = True
    configured: bool = False
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    resilience: Resilience = field(default_factory=Resilience)
    prices: Mapping[str, Price] = field(default_factory=dict[str, Price])
    model_aliases: Mapping[str, str] = field(default_factory=dict[str, str])


def provider_tables(config: Config) -> dict[str, dict[str, Any]]:
    """The configured tables by provider name, in file order, both nestings merged.

    Raises:
        ConfigurationError: when ``providers`` or one of them is not a table.
    """
    flat = _mapping("providers", config.get("providers", {}))
    nested = _mapping("providers.providers", flat.get("providers", {}))
    made: dict[str, dict[str, Any]] = {}
    for place, tables in (("providers", flat), ("providers.providers", nested)):
        for key, table in tables.items():
            if key in {"default_provider", "providers"}:
                continue
            values = _mapping(f"{place}.{key}", table)
            made.setdefault(key, {}).update(_plain(values))
    return {str(values.get("name", key)): values for key, values in made.items()}


def _mapping(place: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            f"'{place}' must be a table, not {type(value).__name__}",
            hint=f"Write it as [{place}] with keys below it.",
        )
    return cast("Mapping[str, Any]", value)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """With aliases replaced by the key they stand for; the key itself wins."""
    made = dict(values)
    for key, others in _ALIASES.items():
        for other in others:
            if other in made:
                made.setdefault(key, made[other])
                del made[other]
    return made


def _environment_names(name: str) -> tuple[str, str]:
    upper = re.sub(r"\W", "_", name).upper()
    return f"LLMSPELL_PROVIDER_{upper}_", f"LLMSPELL_{upper}_"


def _first(*names: str | None) -> tuple[str, str] | None:
    """The first environment variable that is set to something: its name and value."""
    for name in names:
        value = os.environ.get(name, "").strip() if name else ""
        if name and value:
            return name, value
    return None


def discovered_names() -> list[str]:
    """Providers that the environment alone announces, in the order of the catalogue."""
    found = [
        name
        for name, vendor in VENDORS.items()
        if not vendor.double
        and _first(
            vendor.key_variable,
            *vendor.other_keys,
            vendor.url_variable,
            *vendor.other_urls,
            *(start + end for start in _environment_names(name) for end in _ANNOUNCING),
        )
    ]
    for variable in sorted(os.environ):
        match = _FROM_ENVIRONMENT.match(variable)
        if match and os.environ[variable].strip():
            name = match[1].lower()
            if name not in found:
                found.append(name)
    return found


_ANNOUNCING = ("API_KEY", "BASE_URL", "ENDPOINT")


class _Table:
    """A provider's table while it is read: typed takes, and at the end what nobody took."""

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self.name = name
        self.rest = dict(values)

    def _wrong(self, key: str, wanted: str, value: Any) -> ConfigurationError:
        return ConfigurationError(
            f"'providers.{self.name}.{key}' must be {wanted}, not {type(value).__name__}"
        )

    def text(self, key: str) -> str | None:
        value = self.rest.pop(key, None)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._wrong(key, "text", value)
        return expand(value) or None

    def number(self, key: str, default: float, *, above: float = 0.0) -> float:
        value = self.rest.pop(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, "a number", value)
        if value < above:
            raise ConfigurationError(
                f"'providers.{self.name}.{key}' is {value:g}; it must be at least {above:g}"
            )
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.rest.pop(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def table(self, key: str) -> dict[str, Any]:
        value = self.rest.pop(key, None)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self._wrong(key, "a table", value)
        return dict(cast("Mapping[str, Any]", value))


def expand(text: str) -> str:
    """``env:NAME`` and ``${NAME}`` or ``${NAME:-default}`` by the environment; unset is empty."""
    if text.startswith("env:"):
        return os.environ.get(text[4:].strip(), "")
    return _REFERENCE.sub(lambda m: os.environ.get(m[1]) or m[2] or "", text)


def read_entry(name: str, values: Mapping[str, Any] | None) -> Entry:
    """The provider *name*: its table, if it has one, and the environment.

    Raises:
        ConfigurationError: naming the key or variable that does not fit.
    """
    table = _Table(name, values or {})
    table.rest.pop("name", None)
    strong, weak = _environment_names(name)
    kind = table.text("provider_type") or _value(_first(strong + "PROVIDER_TYPE"))
    kind = (kind or _value(_first(weak + "PROVIDER_TYPE")) or name).lower()
    vendor = VENDORS.get(canonical(kind))
    own = vendor if canonical(kind) == canonical(name.lower()) else None
    entry_retry = _read_retry(table, strong, weak)
    resilience = take_resilience(name, table.rest)
    timeout = _read_number(strong + "TIMEOUT") or table.number(
        "timeout_seconds", _read_number(weak + "TIMEOUT") or 30.0, above=0.001
    )
    enabled = table.flag("enabled", True)
    prices = table.rest.pop("pricing", None)
    aliases = {k: str(v) for k, v in table.table("model_aliases").items()}
    headers = {k: expand(str(v)) for k, v in table.table("headers").items()}
    model = _value(_first(strong + "MODEL")) or table.text("default_model")
    model = model or _value(_first(weak + "MODEL"))
    base_url = _read_url(table, strong, weak, own)
    if canonical(kind) == "azure":
        # There the model is the deployment.
        model = model or _text_or_none(table.rest.get("deployment_name"))
    # A vendor's own key does not go to somebody else's server.
    at_home = own is not None or base_url is None
    api_key = _read_key(table, strong, weak, vendor if at_home else None)
    defaults = table.table("defaults")
    for key in ("proxy", "ca_file"):
        if (text := table.text(key)) is not None:
            table.rest[key] = text
    for key in ("temperature", "max_tokens"):
        if key in table.rest:
            defaults[key] = table.rest.pop(key)
    options = {**table.rest, **({"defaults": defaults} if defaults else {})}
    return Entry(
        ProviderSettings(
            name,
            kind,
            base_url,
            api_key,
            model or (vendor.default_model if vendor else None),
            timeout,
            entry_retry.max_retries,
            headers,
            options,
        ),
        enabled,
        values is not None,
        entry_retry,
        replace(resilience, usual_answer=_usual_answer(defaults)),
        {} if prices is None else read_pricing(name, prices),
        aliases,
    )


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _usual_answer(defaults: Mapping[str, Any]) -> int | None:
    most = defaults.get("max_tokens")
    if isinstance(most, int) and most > 0:
        return most
    thinking = thinking_tokens(defaults)
    return USUAL_ANSWER + thinking if thinking else None


def _value(found: tuple[str, str] | None) -> str | None:
    return None if found is None else found[1]


def _read_number(variable: str) -> float | None:
    found = _first(variable)
    if found is None:
        return None
    try:
        value = float(found[1])
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise ConfigurationError(
            f"Environment variable parsing error: {variable}: '{found[1]}' is not a number"
        )
    return value


def _read_retry(table: _Table, strong: str, weak: str) -> RetryPolicy:
    inner = _Table(f"{table.name}.retry", table.table("retry"))
    weakest = _read_number(weak + "MAX_RETRIES")
    inner_max = inner.number("max_retries", 3.0 if weakest is None else weakest)
    usual = table.number("max_retries", inner_max)
    strongest = _read_number(strong + "MAX_RETRIES")
    first = inner.number("initial_delay_ms", table.number("retry_delay", 1000.0)) / 1000
    return RetryPolicy(
        int(usual if strongest is None else strongest),
        first,
        max(first, inner.number("max_delay_ms", 30000.0) / 1000),
        inner.number("backoff_multiplier", 2.0, above=1.0),
    )


def _read_url(table: _Table, strong: str, weak: str, vendor: Vendor | None) -> str | None:
    written = table.text("base_url")
    named = table.text("api_base_env")
    return (
        _value(_first(strong + "BASE_URL", strong + "ENDPOINT"))
        or written
        or _value(
            _first(
                named,
                weak + "ENDPOINT",
                weak + "BASE_URL",
                *((vendor.url_variable, *vendor.other_urls) if vendor else ()),
            )
        )
    )


def _read_key(table: _Table, strong: str, weak: str, vendor: Vendor | None) -> str | None:
    written = table.text("api_key")
    named = table.text("api_key_env")
    if named is not None:
        # Named again in the message when it turns out to be missing.
        table.rest["api_key_env"] = named
    return (
        _value(_first(strong + "API_KEY"))
        or written
        or _value(
            _first(
                named,
                weak + "API_KEY",
                *((vendor.key_variable, *vendor.other_keys) if vendor else ()),
            )
        )
    )
