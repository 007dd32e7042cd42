"""The operations on providers: what there is, what it can do, whether it answers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import (
    ChatRequest,
    ExecutionContext,
    LLMSpellError,
    LLMTimeoutError,
    Message,
    ModelInfo,
    Provider,
    ProviderInfo,
    Services,
    ValidationError,
    operation,
)
from llmspell_providers._catalogue import VENDORS

if TYPE_CHECKING:
    from llmspell_providers._prices import Price
    from llmspell_providers._registry import ProviderService
    from llmspell_providers._settings import Entry
    from llmspell_providers._wrappers import Guarded

_PATIENCE = 30.0
"""Seconds a check may take."""
_LONGEST_SAMPLE = 256
"""Tokens of the answer that a test pays for at most; some models think first."""


def _service(services: Services) -> ProviderService:
    return cast("ProviderService", services.providers)


def _row(info: ProviderInfo, entry: Entry) -> dict[str, Any]:
    vendor = VENDORS.get(info.provider_type)
    needs = vendor is None or vendor.key_variable is not None
    return {
        "name": info.name,
        "type": info.provider_type,
        "enabled": info.enabled,
        "available": info.available,
        "default_model": info.default_model,
        "base_url": info.base_url,
        "key": "present" if entry.settings.api_key else "missing" if needs else "not needed",
        "configured": entry.configured,
        "circuit": info.circuit,
    }


@operation("provider.list")
async def provider_list(services: Services, context: ExecutionContext) -> list[dict[str, Any]]:
    """The configured and discovered providers; makes no connection."""
    service = _service(services)
    return [_row(info, service.entry(info.name)) for info in service.list()]


@operation("provider.types")
async def provider_types(services: Services, context: ExecutionContext) -> list[dict[str, Any]]:
    """The provider types there are, with the variable each takes its key from."""
    installed = services.plugins.names("llmspell.providers")
    return [
        {
            "type": name,
            "description": vendor.description,
            "category": vendor.category,
            "key_variable": vendor.key_variable,
            "base_url": vendor.base_url,
            "features": list(vendor.features),
            "common_models": list(vendor.models),
            "supports_streaming": True,
            "supports_multimodal": vendor.multimodal,
        }
        for name, vendor in VENDORS.items()
        if not vendor.double and (name in installed or vendor.compatible)
    ]


@operation("provider.info")
async def provider_info(
    services: Services, context: ExecutionContext, *, name: str
) -> dict[str, Any]:
    """One provider: address, key, limits, waits, and how it is; makes no connection."""
    service = _service(services)
    guarded, entry = service.named(name)
    info = service.info(entry.settings.name)
    settings, resilience = entry.settings, entry.resilience
    limit, breaker = resilience.rate_limit, resilience.breaker
    vendor = VENDORS.get(info.provider_type)
    return {
        **_row(info, entry),
        "key_variable": settings.options.get("api_key_env")
        or (vendor.key_variable if vendor else None),
        "supports_streaming": info.supports_streaming,
        "supports_tools": info.supports_tools,
        "supports_multimodal": info.supports_multimodal,
        "max_context_tokens": info.max_context_tokens,
        "models": list(info.models),
        "features": list(vendor.features) if vendor else [],
        "timeout_seconds": settings.timeout_seconds,
        "timeouts": dict(settings.options.get("timeouts") or {}),
        "retries": {
            "max_retries": entry.retry.max_retries,
            "initial_delay_seconds": entry.retry.initial_delay,
            "max_delay_seconds": entry.retry.max_delay,
        },
        "rate_limit": {
            "requests_per_minute": limit.requests_per_minute,
            "tokens_per_minute": limit.tokens_per_minute,
            "auto_retry": limit.auto_retry,
            "max_concurrent_requests": limit.max_concurrent_requests,
        },
        "circuit_breaker": None
        if not breaker.failures
        else {
            "failure_threshold": breaker.failures,
            "success_threshold": breaker.successes,
            "timeout_seconds": breaker.seconds,
            "state": guarded.breaker.state,
        },
        "fallback": list(resilience.fallback),
        "price": _price(guarded, info.default_model),
    }


def _price(guarded: Guarded, model: str | None) -> dict[str, float] | None:
    """Dollars for a million tokens."""
    price = None if model is None else guarded.prices.of(model)
    return None if price is None else _million(price)


def _million(price: Price) -> dict[str, float]:
    made = {"input": round(price.prompt * 1000, 6), "output": round(price.completion * 1000, 6)}
    if price.cached is not None:
        made["cached_input"] = round(price.cached * 1000, 6)
    return made


@operation("provider.models")
async def provider_models(
    services: Services, context: ExecutionContext, *, name: str
) -> list[dict[str, Any]]:
    """The models that a provider offers, as it says itself; costs nothing."""
    guarded, entry = _service(services).named(name)
    found = await _timely(guarded.provider, entry)
    return [
        {
            "id": model.id,
            "context_tokens": model.context_tokens,
            "output_tokens": model.output_tokens,
            "owner": model.owner,
            "created": model.created,
            "price": _price(guarded, model.id),
        }
        for model in sorted(found, key=lambda model: model.id)
    ]


async def _timely(provider: Provider, entry: Entry) -> list[ModelInfo]:
    seconds = max(_PATIENCE, entry.settings.timeout_seconds)
    try:
        async with asyncio.timeout(seconds):
            return await provider.models()
    except TimeoutError as error:
        if isinstance(error, LLMSpellError):
            raise
        raise LLMTimeoutError(
            f"{provider.name} did not list its models within {seconds:g}s",
            duration_ms=round(seconds * 1000),
            operation="model.list",
        ) from None


@operation("provider.test")
async def provider_test(
    services: Services,
    context: ExecutionContext,
    *,
    name: str | None = None,
    chat: str | None = None,
) -> list[dict[str, Any]]:
    """See whether providers can be reached and accept their keys; with chat, pay for one answer."""
    service = _service(services)
    if chat is not None and name is None:
        if "/" not in chat:
            raise ValidationError(
                f"whose model is '{chat}'?",
                field="chat",
                hint="Name the provider too: llmspell provider test NAME --chat MODEL",
            )
        name = chat.partition("/")[0]
    if name is not None:
        return [await _tested(service, name, chat, context)]
    enabled = [info.name for info in service.list() if info.enabled]
    return list(await asyncio.gather(*(_tested(service, one, None, context) for one in enabled)))


async def _tested(
    service: ProviderService, name: str, chat: str | None, context: ExecutionContext
) -> dict[str, Any]:
    started = time.perf_counter()
    made: dict[str, Any] = {"name": name, "ok": False, "error": None, "hint": None}
    try:
        guarded, entry = service.named(name)
        made["name"] = entry.settings.name
        if chat is None:
            async with asyncio.timeout(_PATIENCE):
                await guarded.provider.check()
        else:
            made.update(await _sample(service, guarded, chat, context))
        made["ok"] = True
    except LLMSpellError as error:
        made["error"], made["hint"] = str(error), error.hint
    except TimeoutError:
        made["error"] = f"no answer within {_PATIENCE:g}s"
    made["duration_ms"] = round((time.perf_counter() - started) * 1000, 1)
    return made


async def _sample(
    service: ProviderService, guarded: Guarded, chat: str, context: ExecutionContext
) -> dict[str, Any]:
    """One tiny answer, paid for; by this provider, not by one that stands in for it."""
    provider = guarded.provider
    _, model = service.resolve(chat, provider=provider.name)
    question = "Answer with the one word: ready"
    request = ChatRequest(model, (Message("user", question),), max_tokens=_LONGEST_SAMPLE)
    response = await provider.chat(request, context)
    usage = response.usage
    return {
        "model": response.model,
        "answer": response.content.strip(),
        "tokens": None if usage is None else usage.total_tokens,
        "cost": None if usage is None else usage.cost,
    }
