"""Which provider a text means, where its settings come from, and what is put around it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from llmspell_core import (
    ChatRequest,
    ConfigurationError,
    Message,
    Plugin,
    PluginIndex,
    Provider,
    ProviderError,
    ProviderSettings,
    Services,
)
from llmspell_providers import ModelText, ProviderService
from llmspell_testing import (
    LedgerDouble,
    LoopbackServer,
    make_services,
    recording_context,
)

PLUGINS = (
    Plugin("llmspell.providers", "openai", "llmspell_providers:OpenAIProvider", "p", "1"),
    Plugin("llmspell.providers", "echo", "llmspell_testing:EchoProvider", "t", "1"),
    Plugin("llmspell.providers", "mock", "llmspell_testing:EchoProvider", "t", "1"),
)


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("LLMSPELL_") or name.endswith(("_API_KEY", "_BASE_URL", "USE_MOCK")):
            monkeypatch.delenv(name)


def service(providers: Any = None) -> ProviderService:
    config = {} if providers is None else {"providers": providers}
    return ProviderService(make_services(config, plugins=PLUGINS))


def settings_of(provider: Provider) -> ProviderSettings:
    while hasattr(provider, "inner"):
        provider = provider.inner
    return provider.settings  # type: ignore[attr-defined]


def resolved(providers: ProviderService, model: str | None, **more: Any) -> tuple[str, str, str]:
    provider, name = providers.resolve(model, **more)
    settings = settings_of(provider)
    return settings.name, name, settings.base_url or ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m", ModelText("m")),
        (" openai/m ", ModelText("m", "openai")),
        ("together/meta-llama/Llama-3", ModelText("meta-llama/Llama-3", "together")),
        ("a/b/c", ModelText("c", "a/b")),
        ("rig/openai/gpt-4", ModelText("gpt-4", "openai")),
        ("openai/m@http://h:1/v1", ModelText("m", "openai", "http://h:1/v1")),
        ("m@https://user:pw@h/v1", ModelText("m", None, "https://user:pw@h/v1")),
        ("llama3:8b", ModelText("llama3:8b")),
        ("x@y", ModelText("x@y")),
    ],
)
def test_a_model_text_is_read(text: str, expected: ModelText) -> None:
    made = ModelText.parse(text, {"together", "openai"})
    assert made == expected
    assert ModelText.parse(str(made), {"together", "openai"}) == expected


@pytest.mark.parametrize(
    "text", ["", "   ", "openai/", "/m", "@http://h", "openai/@http://h", "a/b/"]
)
def test_an_empty_part_of_a_model_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"empty"):
        ModelText.parse(text)


def test_both_nestings_are_one_and_the_deeper_wins() -> None:
    providers = service(
        {
            "default_provider": "b",
            "a": {"type": "openai", "api_base": "http://a/v1", "model": "flat", "api_key": "k" * 9},
            "providers": {
                "a": {"default_model": "deep"},
                "b": {"provider_type": "custom", "endpoint": "http://b/v1", "default_model": "bm"},
            },
        }
    )
    assert resolved(providers, None) == ("b", "bm", "http://b/v1")
    assert resolved(providers, None, provider="a") == ("a", "deep", "http://a/v1")
    assert resolved(providers, "a/x/y") == ("a", "x/y", "http://a/v1")
    assert resolved(providers, "x/y", provider="a") == ("a", "x/y", "http://a/v1")
    assert resolved(providers, "z") == ("b", "z", "http://b/v1")
    assert [info.name for info in providers.list()] == ["a", "b"]


def test_an_address_of_the_text_beats_configuration_and_one_given_beats_both() -> None:
    providers = service({"a": {"base_url": "http://a/v1"}})
    assert resolved(providers, "a/m@http://t/v1")[2] == "http://t/v1"
    assert resolved(providers, "a/m@http://t/v1", base_url="http://g/v1")[2] == "http://g/v1"


def test_every_key_of_a_table_has_its_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "key-from-variable")
    monkeypatch.setenv("MY_HOST", "http://h/v1")
    providers = service(
        {
            "x": {
                "name": "named",
                "type": "openai",
                "api_base_env": "MY_HOST",
                "api_key_env": "MY_KEY",
                "default_model": "short",
                "model_aliases": {"short": "very-long-model-name"},
                "timeout": 5,
                "retry": {"max_retries": 7, "initial_delay_ms": 10},
                "headers": {"X-A": "${MY_KEY}"},
                "temperature": 0.3,
                "max_tokens": 11,
                "defaults": {"seed": 1},
                "context_window": 5000,
                "something": "else",
            }
        }
    )
    provider, model = providers.resolve(None, provider="named")
    assert model == "very-long-model-name"
    assert settings_of(provider) == ProviderSettings(
        "named",
        "openai",
        "http://h/v1",
        "key-from-variable",
        "short",
        5.0,
        7,
        {"X-A": "key-from-variable"},
        {
            "defaults": {"seed": 1, "temperature": 0.3, "max_tokens": 11},
            "context_window": 5000,
            "something": "else",
            "api_key_env": "MY_KEY",
        },
    )
    info = providers.list()[0]
    assert (info.name, info.max_context_tokens, info.available) == ("named", 5000, True)
    assert info.models == ("short",)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"openai": 5}, r"'providers\.openai' must be a table"),
        ({"openai": {"timeout_seconds": "long"}}, r"'providers\.openai\.timeout_seconds'"),
        ({"openai": {"timeout_seconds": 0}}, r"at least"),
        ({"openai": {"max_retries": True}}, r"max_retries' must be a number"),
        ({"openai": {"enabled": "yes"}}, r"enabled' must be true or false"),
        ({"openai": {"base_url": 5}}, r"base_url' must be text"),
        ({"openai": {"headers": []}}, r"headers' must be a table"),
        ({"openai": {"retry": {"backoff_multiplier": 0.1}}}, r"backoff_multiplier"),
        ({"openai": {"pricing": 1}}, r"pricing' must be a table"),
        ({"openai": {"pricing": {"m": {"input": -1, "output": 1}}}}, r"pricing\.m' needs"),
        ({"openai": {"defaults": 1}}, r"defaults' must be a table"),
        ([], r"'providers' must be a table"),
    ],
)
def test_a_wrong_table_names_its_key(table: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        service(table).resolve("openai/m")


def test_keys_come_from_the_strongest_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(**table: Any) -> str | None:
        return settings_of(service({"openai": table}).resolve("openai/m")[0]).api_key

    assert key() is None
    monkeypatch.setenv("OPENAI_API_KEY", "conventional")
    assert key() == "conventional"
    monkeypatch.setenv("LLMSPELL_OPENAI_API_KEY", "ours")
    assert key() == "ours"
    monkeypatch.setenv("NAMED", "named")
    assert key(api_key_env="NAMED") == "named"
    assert key(api_key="written", api_key_env="NAMED") == "written"
    assert key(api_key="env:NAMED") == "named"
    assert key(api_key="${NOT_SET:-fallback}") == "fallback"
    assert key(api_key="${NOT_SET}") == "ours"
    monkeypatch.setenv("LLMSPELL_PROVIDER_OPENAI_API_KEY", "strongest")
    assert key(api_key="written") == "strongest"


def test_a_vendors_key_does_not_go_to_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-vendor-key")
    providers = service({"local": {"type": "openai", "base_url": "http://localhost:1/v1"}})
    assert settings_of(providers.resolve("local/m")[0]).api_key is None
    assert settings_of(providers.resolve("openai/m")[0]).api_key == "sk-vendor-key"


def test_the_environment_alone_makes_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    assert service().list() == []
    assert service().default() is None
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:9/v1")
    monkeypatch.setenv("LLMSPELL_OPENAI_MODEL", "llama")
    monkeypatch.setenv("LLMSPELL_PROVIDER_VLLM_BASE_URL", "http://v/v1")
    monkeypatch.setenv("LLMSPELL_VLLM_TIMEOUT", "7.5")
    monkeypatch.setenv("LLMSPELL_VLLM_MAX_RETRIES", "1")
    providers = service()
    assert [info.name for info in providers.list()] == ["openai", "vllm"]
    default = providers.default()
    assert default is not None
    assert (default.name, default.available, default.default_model) == ("openai", True, "llama")
    assert resolved(providers, None) == ("openai", "llama", "http://localhost:9/v1")
    made = settings_of(providers.resolve("vllm/x")[0])
    assert (made.timeout_seconds, made.max_retries) == (7.5, 1)


@pytest.mark.parametrize("start", ["LLMSPELL_PROVIDER_VLLM_", "LLMSPELL_VLLM_"])
def test_no_retries_at_all_may_be_asked_for(monkeypatch: pytest.MonkeyPatch, start: str) -> None:
    monkeypatch.setenv(f"{start}MAX_RETRIES", "0")
    assert (
        settings_of(service({"vllm": {"base_url": "http://v"}}).resolve("vllm/x")[0]).max_retries
        == 0
    )


def test_a_variable_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMSPELL_OPENAI_TIMEOUT", "soon")
    with pytest.raises(ConfigurationError, match="LLMSPELL_OPENAI_TIMEOUT: 'soon'"):
        service().resolve("openai/m")


def test_a_vendor_that_is_not_built_says_what_is() -> None:
    for text in ("anthropic/claude", "groq/llama", "anthropic/c@http://h/v1"):
        name = text.partition("/")[0]
        with pytest.raises(ConfigurationError, match=f"Unsupported provider '{name}'") as caught:
            service().resolve(text)
        assert "openai" in (caught.value.hint or "")
        assert caught.value.code == "PROVIDER_UNSUPPORTED"


def test_a_misspelt_provider_gets_a_suggestion() -> None:
    with pytest.raises(ConfigurationError, match="Unsupported provider 'opnai'") as caught:
        service().resolve("opnai/m")
    assert "Did you mean 'openai'?" in (caught.value.hint or "")


def test_a_compatible_vendor_works_at_a_configured_address() -> None:
    assert resolved(service(), "groq/l@http://h/v1") == ("groq", "l", "http://h/v1")


@pytest.mark.parametrize("model", [None, ""])
def test_no_model_at_all_is_told(model: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"Model is required|cannot be empty"):
        service().resolve(model)
    with pytest.raises(ConfigurationError, match="Model not specified for provider 'x'"):
        service({"x": {"base_url": "http://h"}}).resolve(None, provider="x")


def test_doubles_are_never_chosen_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert service().default() is None
    assert resolved_name(service(), "echo/anything") == ("echo", "anything")
    configured = service({"echo": {}}).default()
    assert configured is not None
    assert configured.name == "echo"
    monkeypatch.setenv("USE_MOCK", "1")
    providers = service({"openai": {"api_key": "k" * 10}})
    default = providers.default()
    assert default is not None
    assert default.name == "mock"
    assert resolved_name(providers, None) == ("mock", "mock-model")


def resolved_name(providers: ProviderService, model: str | None) -> tuple[str, str]:
    provider, name = providers.resolve(model)
    return provider.name, name


def test_the_first_available_of_the_file_is_the_default() -> None:
    providers = service(
        {
            "anthropic": {"api_key": "x" * 9},
            "off": {"base_url": "http://off", "enabled": False},
            "openai": {},
            "b": {"base_url": "http://b"},
            "a": {"base_url": "http://a"},
        }
    )
    default = providers.default()
    assert default is not None
    assert default.name == "b"
    assert [(i.name, i.available) for i in providers.list()] == [
        ("a", True),
        ("anthropic", False),
        ("b", True),
        ("off", False),
        ("openai", False),
    ]
    with pytest.raises(ConfigurationError, match="switched off"):
        providers.resolve("off/m")


def test_instances_are_shared_by_name_address_and_key() -> None:
    providers = service({"a": {"base_url": "http://a"}})
    first, _ = providers.resolve("a/m")
    assert providers.resolve("a/other")[0] is first
    assert providers.resolve("a/m", base_url="http://b")[0] is not first
    assert providers.resolve("a/m", api_key="another-key")[0] is not first


def test_a_key_is_known_as_a_secret_once_it_is_used() -> None:
    services = make_services({}, plugins=PLUGINS)
    ProviderService(services).resolve("openai/m", api_key="sk-very-secret")
    assert services.secrets.redact("x sk-very-secret y") == "x <REDACTED> y"


def test_a_foreign_provider_type_is_used_like_ours() -> None:
    own = Plugin("llmspell.providers", "mine", "llmspell_testing:EchoProvider", "m", "1")
    services = Services({}, plugins=PluginIndex([own]))
    provider, model = ProviderService(services).resolve("mine/x")
    assert (provider.name, model) == ("mine", "x")


REQUEST = ChatRequest("gpt-4o-2024-08-06", (Message("user", "hi"),))


async def test_a_key_never_reaches_the_ledger() -> None:
    async with LoopbackServer() as server:
        server.answer_json({"error": {"message": "bad key sk-topsecret"}}, status=401)
        services = make_services({}, plugins=PLUGINS)
        providers = ProviderService(services)
        provider, model = providers.resolve(f"openai/m@{server.url}", api_key="sk-topsecret")
        ledger = LedgerDouble()
        request = ChatRequest(model, (Message("user", "the key is sk-topsecret"),))
        with pytest.raises(ProviderError):
            await provider.chat(request, recording_context(ledger, services))
        await providers.aclose()
    written = "".join(
        f"{e.intent.request}{e.outcome.payload if e.outcome else ''}" for e in ledger.effects("run")
    )
    assert "sk-topsecret" not in written
    assert "<REDACTED>" in written
