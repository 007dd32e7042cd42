from __future__ import annotations

from typing import Any

import pytest

from llmspell_core import ExecutionContext, Plugin, Record
from llmspell_providers import ProviderGlobal, ProviderService
from llmspell_testing import (
    HostDouble,
    LedgerDouble,
    make_context,
    make_services,
    recorded_and_replayed,
)

PLUGIN = Plugin("llmspell.providers", "openai", "llmspell_providers:OpenAIProvider", "p", "1")


def face(config: dict[str, Any], context: ExecutionContext | None = None) -> ProviderGlobal:
    services = make_services({"providers": config}, plugins=[PLUGIN])
    services.provide("providers", ProviderService(services))
    return ProviderGlobal(HostDouble(context=context or make_context(services)))


CONFIG = {
    "local": {"base_url": "http://l/v1", "default_model": "m1", "context_window": 99},
    "openai": {"enabled": False},
}


def test_providers_are_listed_by_name_and_print_as_it() -> None:
    first, second = face(CONFIG).list()
    assert first == Record(
        {
            "name": "local",
            "type": "local",
            "enabled": True,
            "available": True,
            "default_model": "m1",
            "base_url": "http://l/v1",
            "capabilities": {
                "supports_streaming": True,
                "supports_multimodal": False,
                "supports_tools": True,
                "max_context_tokens": 99,
                "max_output_tokens": 4096,
                "available_models": ["m1"],
            },
        },
        "local",
    )
    assert (second.text, second.fields["enabled"]) == ("openai", False)


def test_one_provider_is_found_by_its_plain_or_internal_name() -> None:
    provider = face(CONFIG)
    for name in ("local", "LOCAL", "rig/local/m1"):
        found = provider.get(name)
        assert found is not None
        assert found.text == "local"
    assert provider.get("nobody") is None
    assert provider.get_capabilities("nobody") is None
    capabilities = provider.get_capabilities("local")
    assert capabilities is not None
    assert capabilities["available_models"] == ["m1"]


@pytest.mark.parametrize(
    ("name", "available"), [("local", True), ("openai", False), ("nobody", False)]
)
def test_available_means_configured_enabled_and_with_its_key(name: str, available: bool) -> None:
    assert face(CONFIG).is_available(name) is available


async def test_a_replay_sees_the_providers_of_the_run() -> None:
    configs = iter([CONFIG, {}])

    async def work(context: ExecutionContext) -> list[str | None]:
        services = make_services({"providers": next(configs)}, plugins=[PLUGIN])
        services.provide("providers", ProviderService(services))
        inner = ExecutionContext(services, effects=context.effects)
        return [record.text for record in ProviderGlobal(HostDouble(context=inner)).list()]

    first, second = await recorded_and_replayed(work, LedgerDouble())
    assert first == second == ["local", "openai"]
