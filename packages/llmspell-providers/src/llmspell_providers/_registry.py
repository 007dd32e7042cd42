"""`ProviderService`: which providers there are, and the provider behind a model text."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import (
    ConfigurationError,
    PluginIndex,
    Provider,
    ProviderFactory,
    ProviderInfo,
    ProviderRegistry,
    ProviderSettings,
    nearest,
)
from llmspell_providers._catalogue import (
    COMPATIBLE_WORDS,
    VENDORS,
    canonical,
    max_context_tokens,
    vendor_of,
)
from llmspell_providers._failures import shown_address
from llmspell_providers._fallback import Substitute
from llmspell_providers._model_text import ModelText
from llmspell_providers._pacing import Pace
from llmspell_providers._prices import PriceList, published_prices
from llmspell_providers._settings import Entry, discovered_names, provider_tables, read_entry
from llmspell_providers._wrappers import Guarded, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmspell_core import Services

GROUP = "llmspell.providers"
_MOST_KNOWN = 1_000


class ProviderService(ProviderRegistry):
    """The configured and discovered providers of one set of services.

    Configuration is read at the first question, the environment when it has changed; a provider is
    built when a model of it is first resolved, and kept by name, address and key.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = threading.Lock()
        self._tables: dict[str, dict[str, Any]] | None = None
        self._version = services.config.version
        self._built: dict[tuple[str, ...], Guarded] = {}
        self._wrapped: dict[tuple[str, ...], Provider] = {}
        self._environment: Any = None
        self._answers: dict[tuple[str | None, ...], tuple[Provider, str]] = {}

    def _configured(self) -> dict[str, dict[str, Any]]:
        config = self._services.config
        if self._tables is None or self._version != config.version:
            self._version = config.version
            self._tables = provider_tables(config)
        return self._tables

    def _plugins(self) -> PluginIndex:
        return self._services.plugins

    def _entry(self, name: str) -> Entry:
        tables = self._configured()
        key = next((k for k in (name, name.lower()) if k in tables), None)
        return read_entry(name if key is None else key, None if key is None else tables[key])

    def _type_of(self, entry: Entry, base_url: str | None = None) -> str | None:
        """The installed provider type that serves *entry*, or None."""
        kind = entry.settings.provider_type
        for name in (kind, canonical(kind)):
            if self._plugins().find(GROUP, name) is not None:
                return name
        vendor = VENDORS.get(kind)
        address = base_url or entry.settings.base_url
        compatible = kind in COMPATIBLE_WORDS or vendor is None or vendor.compatible
        return "openai" if compatible and address else None

    def _unsupported(self, entry: Entry) -> ConfigurationError:
        name, kind = entry.settings.name, entry.settings.provider_type
        supported = [n for n in self._plugins().names(GROUP) if n not in _doubles()]
        known = [*self._configured(), *self._plugins().names(GROUP)]
        close = nearest(name, known) if kind not in VENDORS else None
        advice = (
            f"Did you mean '{close}'? "
            if close
            else f"Supported here: {', '.join(supported) or 'none'}. "
        )
        typed = "" if kind == name.lower() else f" of type '{kind}'"
        return ConfigurationError(
            f"Unsupported provider '{name}'{typed}",
            hint=f"{advice}Any server that speaks the OpenAI protocol works with "
            f'[providers.{name}] provider_type = "openai" and base_url = "http://…/v1".',
            details={"provider": name, "supported": supported},
            code="PROVIDER_UNSUPPORTED",
        )

    def _info(self, entry: Entry) -> ProviderInfo:
        settings = entry.settings
        kind = self._type_of(entry)
        vendor = vendor_of(settings.provider_type)
        at_vendor = _at_vendor(kind, settings)
        window = settings.options.get("context_window")
        listed = vendor.models if at_vendor or vendor.double else ()
        own = (settings.default_model,) if settings.default_model else ()
        return ProviderInfo(
            settings.name,
            settings.provider_type,
            entry.enabled,
            entry.enabled and kind is not None and _usable(kind, settings),
            settings.default_model,
            shown_address(settings.base_url or vendor.base_url),
            supports_multimodal=vendor.multimodal,
            supports_tools=vendor.tools,
            max_context_tokens=window
            if isinstance(window, int)
            else max_context_tokens(kind or "", settings.default_model),
            max_output_tokens=4096,
            models=tuple(dict.fromkeys((*listed, *own, *entry.model_aliases))),
            circuit=self._circuit(settings.name),
        )

    def _circuit(self, name: str) -> str:
        """The worst state of the provider's breakers: it has one for each address and key."""
        states = {made.breaker.state for key, made in self._built.copy().items() if key[0] == name}
        return next((state for state in ("open", "half-open") if state in states), "closed")

    def _names(self) -> list[str]:
        """Configured in file order, then discovered in the order of the catalogue."""
        return list(dict.fromkeys([*self._configured(), *discovered_names(), *_asked_double()]))

    def list(self) -> list[ProviderInfo]:
        return sorted(
            (self._info(self._entry(name)) for name in self._names()), key=lambda info: info.name
        )

    def named(self, name: str) -> tuple[Guarded, Entry]:
        """A provider by its name alone, to look at or to try out; also one that is switched off.

        Raises:
            ConfigurationError: as `resolve`.
        """
        entry = self._entry(name.strip().removeprefix("rig/").partition("/")[0])
        kind = self._type_of(entry)
        if kind is None:
            raise self._unsupported(entry)
        return self._guarded(_key(kind, entry), entry), entry

    def entry(self, name: str) -> Entry:
        """What is configured for a provider of that name, in the file or the environment."""
        return self._entry(name)

    def info(self, name: str) -> ProviderInfo:
        """What `list` says of one, whether or not it is configured."""
        return self._info(self._entry(name))

    def default(self) -> ProviderInfo | None:
        for name in _asked_double():
            return self._info(self._entry(name))
        chosen = self._services.config.get("providers.default_provider")
        if chosen is not None:
            return self._info(self._entry(str(chosen)))
        for name in self._names():
            info = self._info(self._entry(name))
            if info.available:
                return info
        return None

    def resolve(
        self,
        model: str | None,
        *,
        provider: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        fallback: Sequence[str] = (),
    ) -> tuple[Provider, str]:
        asked = (model, provider, base_url, api_key, *fallback)
        known = self._known()
        found = known.get(asked)
        if found is None:
            found = self._resolved(model, provider, base_url, api_key, fallback)
            if len(known) < _MOST_KNOWN:
                known[asked] = found
        return found

    def _known(self) -> dict[tuple[str | None, ...], tuple[Provider, str]]:
        """What was resolved since environment and settings last changed: reading all of it anew
        takes longer than building an agent.
        """
        raw: Any = getattr(os.environ, "_data", None)
        changed = self._version != self._services.config.version
        if raw is None or changed or raw != self._environment:
            self._configured()
            self._environment = None if raw is None else dict(raw)
            self._answers = {}
        return self._answers

    def _resolved(
        self,
        model: str | None,
        provider: str | None,
        base_url: str | None,
        api_key: str | None,
        fallback: Sequence[str],
    ) -> tuple[Provider, str]:
        kind, entry, name = self._chosen(model, provider, base_url, api_key)
        key = (*_key(kind, entry), str(self._version))
        guarded = self._guarded(key, entry)
        substitutes: dict[tuple[str, ...], tuple[Guarded, Substitute]] = {}
        for text in dict.fromkeys([*fallback, *entry.resilience.fallback]):
            other_kind, other, other_name = self._chosen(text, None, None, None)
            other_key = (*_key(other_kind, other), str(self._version))
            if (other_key, other_name) != (key, name):
                own = self._guarded(other_key, other)
                substitute = Substitute(own.provider, other_name, related=other_kind == kind)
                substitutes[*other_key, other_name] = own, substitute
        whole = (*key, *(part for other in substitutes for part in other))
        with self._lock:
            made = self._wrapped.get(whole)
            if made is None:
                made = self._wrapped[whole] = wrapped(guarded, list(substitutes.values()))
        return made, name

    def _chosen(
        self, model: str | None, provider: str | None, base_url: str | None, api_key: str | None
    ) -> tuple[str, Entry, str]:
        """The type that serves it, its settings with what the caller sets, the model's name."""
        entry, name, address = self._find(model, provider, base_url)
        if not entry.enabled:
            raise ConfigurationError(
                f"provider '{entry.settings.name}' is switched off",
                hint=f"Set providers.{entry.settings.name}.enabled = true.",
            )
        kind = self._type_of(entry, address)
        if kind is None:
            raise self._unsupported(entry)
        settings = replace(
            entry.settings,
            base_url=address or entry.settings.base_url,
            api_key=api_key or entry.settings.api_key,
        )
        return kind, replace(entry, settings=settings), name

    def _find(
        self, model: str | None, provider: str | None, base_url: str | None
    ) -> tuple[Entry, str, str | None]:
        """The entry, the model's name there, and the address that was asked for."""
        given = None
        if provider is not None:
            given = self._entry(provider.strip().removeprefix("rig/").partition("/")[0])
        if model is None:
            return self._by_default(given, base_url)
        known = {*self._configured(), *VENDORS, *self._plugins().names(GROUP)}
        text = ModelText.parse(model, known)
        address = base_url or text.base_url
        if given is not None:
            prefixed = text.provider in {provider, given.settings.name}
            name = (
                text.model if prefixed or text.provider is None else f"{text.provider}/{text.model}"
            )
            return given, given.model_aliases.get(name, name), address
        if text.provider is None:
            usual = self.default()
            entry = self._entry("openai" if usual is None else usual.name)
        else:
            entry = self._entry(text.provider)
        return entry, entry.model_aliases.get(text.model, text.model), address

    def _by_default(
        self, given: Entry | None, base_url: str | None
    ) -> tuple[Entry, str, str | None]:
        if given is None:
            usual = self.default()
            given = None if usual is None else self._entry(usual.name)
        if given is None:
            raise ConfigurationError(
                "Model is required: none was named, and no provider is configured",
                hint='Name one, for example "openai/gpt-4o-mini", or set providers.'
                "default_provider, OPENAI_API_KEY or OPENAI_BASE_URL.",
                code="MODEL_REQUIRED",
            )
        settings = given.settings
        if settings.default_model is None:
            if self._type_of(given, base_url) is None:
                raise self._unsupported(given)
            raise ConfigurationError(
                f"Model is required: Model not specified for provider '{settings.name}'",
                hint=f"Name one, or set providers.{settings.name}.default_model.",
                code="MODEL_REQUIRED",
            )
        name = settings.default_model
        return given, given.model_aliases.get(name, name), base_url

    def _guarded(self, key: tuple[str, ...], entry: Entry) -> Guarded:
        """The provider within its limits, which all who ask it share."""
        with self._lock:
            built = self._built.get(key)
            if built is None:
                self._services.secrets.add(entry.settings.api_key)
                built = self._built[key] = self._build(key[1], entry)
        return built

    def _build(self, kind: str, entry: Entry) -> Guarded:
        factory = cast("ProviderFactory", self._plugins().load(GROUP, kind))
        pace = Pace(entry.settings.name, entry.resilience.rate_limit)
        provider = factory(replace(entry.settings, heard=pace.hear), self._services)
        listed = published_prices().get(kind, {}) if _at_vendor(kind, entry.settings) else {}
        return Guarded(
            provider,
            entry.resilience,
            entry.retry,
            PriceList({**listed, **entry.prices}),
            pace,
            # Without a key it is a server of the user's own, which runs or does not: waiting for
            # it would only delay the message.
            when_unreachable=entry.settings.api_key is not None,
        )

    async def aclose(self) -> None:
        """Close every provider's connections; the first failure is raised at the end."""
        with self._lock:
            built, self._built = list(self._built.values()), {}
            self._wrapped.clear()
            self._answers = {}
        first: Exception | None = None
        for guarded in built:
            try:
                await guarded.provider.aclose()
            except Exception as error:
                first = first or error
        if first is not None:
            raise first


def _key(kind: str, entry: Entry) -> tuple[str, ...]:
    """What makes a provider another one; its key only as a digest."""
    settings = entry.settings
    digest = sha256((settings.api_key or "").encode()).hexdigest()
    return settings.name, kind, settings.base_url or "", digest


def _at_vendor(kind: str | None, settings: ProviderSettings) -> bool:
    vendor = VENDORS.get(kind or "")
    if vendor is None or vendor.base_url is None:
        return False
    return settings.base_url in {None, vendor.base_url}


def _usable(kind: str, settings: ProviderSettings) -> bool:
    """Whether it has an address, and the key it needs there."""
    vendor = vendor_of(settings.provider_type)
    if vendor.double or (vendor.base_url is None and canonical(kind) not in VENDORS):
        return True
    if vendor.base_url is None and settings.base_url is None:
        return False
    needed = kind == "azure" or _at_vendor(kind, settings)
    return not (needed and vendor.key_variable and settings.api_key is None)


def _doubles() -> set[str]:
    return {name for name, vendor in VENDORS.items() if vendor.double}


def _asked_double() -> tuple[str, ...]:
    """``mock`` where the environment asks for it, for whole runs without a model."""
    wanted = os.environ.get("USE_MOCK", "").strip().lower() in {"1", "true", "yes", "on"}
    return ("mock",) if wanted else ()
