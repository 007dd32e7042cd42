"""What commands and other doors ask about providers."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell_core import (
    ConfigurationError,
    ExecutionContext,
    Operations,
    Plugin,
    Services,
    ValidationError,
)
from llmspell_testing import Fault, ModelServer, Reply, make_services

OWN = "llmspell_providers._operations:provider_"
PLUGINS = (
    Plugin("llmspell.services", "providers", "llmspell_providers:ProviderService", "p", "1"),
    Plugin("llmspell.providers", "openai", "llmspell_providers:OpenAIProvider", "p", "1"),
    Plugin("llmspell.providers", "anthropic", "llmspell_providers:AnthropicProvider", "p", "1"),
    *(
        Plugin("llmspell.operations", f"provider.{name}", OWN + name, "p", "1")
        for name in ("info", "list", "models", "test", "types")
    ),
)


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("LLMSPELL_") or name.endswith(("_API_KEY", "_BASE_URL", "USE_MOCK")):
            monkeypatch.delenv(name)


async def call(providers: dict[str, Any], verb: str, **params: Any) -> Any:
    services: Services = make_services({"providers": providers}, plugins=PLUGINS)
    try:
        context = ExecutionContext(services)
        return await Operations(services).call(f"provider.{verb}", params, context)
    finally:
        await services.aclose()


async def test_the_list_says_who_can_be_used_and_whose_key_is_missing() -> None:
    rows = await call(
        {
            "openai": {"api_key": "k" * 9},
            "anthropic": {},
            "own": {"base_url": "http://x/v1", "enabled": False},
        },
        "list",
    )
    assert [(r["name"], r["available"], r["key"], r["enabled"]) for r in rows] == [
        ("anthropic", False, "missing", True),
        ("openai", True, "present", True),
        ("own", False, "missing", False),
    ]
    assert all("k" * 9 not in str(row) for row in rows)


async def test_the_types_name_their_keys_and_leave_out_what_only_pretends() -> None:
    rows = {row["type"]: row for row in await call({}, "types")}
    assert rows["anthropic"]["key_variable"] == "ANTHROPIC_API_KEY"
    assert rows["openai"]["category"] == "cloud"
    assert not rows.keys() & {"echo", "mock"}


async def test_one_provider_tells_its_limits_waits_and_price() -> None:
    table = {
        "api_key": "k" * 9,
        "default_model": "gpt-4o-mini",
        "timeout_seconds": 12,
        "timeouts": {"first_token": 60},
        "max_retries": 1,
        "rate_limit": {"requests_per_minute": 7, "auto_retry": False},
        "circuit_breaker": {"failure_threshold": 2},
        "fallback": ["anthropic/claude-haiku-4-5"],
    }
    found = await call({"openai": table}, "info", name="openai")
    assert {
        key: found[key]
        for key in ("timeout_seconds", "timeouts", "rate_limit", "circuit_breaker", "fallback")
    } == {
        "timeout_seconds": 12.0,
        "timeouts": {"first_token": 60},
        "rate_limit": {
            "requests_per_minute": 7,
            "tokens_per_minute": None,
            "auto_retry": False,
            "max_concurrent_requests": None,
        },
        "circuit_breaker": {
            "failure_threshold": 2,
            "success_threshold": 2,
            "timeout_seconds": 30.0,
            "state": "closed",
        },
        "fallback": ["anthropic/claude-haiku-4-5"],
    }
    assert found["price"] == {"input": 0.15, "output": 0.6, "cached_input": 0.075}
    assert found["key_variable"] == "OPENAI_API_KEY"


async def test_an_unknown_provider_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="Unsupported provider 'opnai'") as caught:
        await call({"openai": {}}, "info", name="opnai")
    assert "Did you mean 'openai'?" in (caught.value.hint or "")


async def test_models_are_those_the_provider_tells_with_prices_where_known() -> None:
    with ModelServer("openai", models=("own-2", "own-1")) as server:
        table = {**server.settings, "pricing": {"own-1": {"input": 0.001, "output": 0.002}}}
        rows = await call({"acme": table}, "models", name="acme")
    assert [(row["id"], row["price"]) for row in rows] == [
        ("own-1", {"input": 1.0, "output": 2.0}),
        ("own-2", None),
    ]


async def test_a_test_asks_every_enabled_provider_for_free() -> None:
    with ModelServer("openai") as good, ModelServer("openai") as bad:
        bad.answer(Fault("auth"), to="models")
        rows = await call(
            {"a": good.settings, "b": bad.settings, "off": {**good.settings, "enabled": False}},
            "test",
        )
        assert [(row["name"], row["ok"]) for row in rows] == [("a", True), ("b", False)]
        assert "refused the API key" in rows[1]["error"]
        assert rows[1]["hint"]
        assert [call.operation for call in good.calls] == ["models"]


async def test_a_missing_key_and_a_dead_server_fail_the_test_with_the_reason() -> None:
    rows = await call(
        {"openai": {}, "dead": {"base_url": "http://127.0.0.1:9/v1"}, "odd": {}}, "test"
    )
    assert [row["ok"] for row in rows] == [False, False, False]
    errors = {row["name"]: row["error"] for row in rows}
    assert "API key required" in errors["openai"]
    assert "cannot be reached" in errors["dead"]
    assert "Unsupported provider 'odd'" in errors["odd"]


@pytest.mark.parametrize("named", [{"name": "acme", "chat": "m-1"}, {"chat": "acme/m-1"}])
async def test_a_chat_is_paid_for_and_says_what_it_cost(named: dict[str, Any]) -> None:
    from llmspell_core import Usage

    with ModelServer("openai", Reply("ready", usage=Usage(10, 10))) as server:
        table = {**server.settings, "pricing": {"m-1": {"input": 0.1, "output": 0.2}}}
        (row,) = await call({"acme": table}, "test", **named)
    assert (row["ok"], row["answer"], row["tokens"]) == (True, "ready", 20)
    assert row["cost"] == pytest.approx(0.003)
    assert server.calls[0].model == "m-1"


async def test_a_provider_that_is_down_fails_though_another_stands_in_for_it() -> None:
    with ModelServer("openai", Fault("server")) as down, ModelServer("openai") as up:
        down_table = {**down.settings, "fallback": ["up/m"], "max_retries": 0}
        providers = {"down": down_table, "up": up.settings}
        (row,) = await call(providers, "test", name="down", chat="m-1")
    assert (row["ok"], row["name"]) == (False, "down")
    assert up.calls == []


async def test_a_model_without_a_provider_is_asked_back() -> None:
    with pytest.raises(ValidationError, match="whose model is 'm-1'"):
        await call({}, "test", chat="m-1")
