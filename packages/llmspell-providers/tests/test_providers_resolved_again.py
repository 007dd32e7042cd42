"""What was resolved is resolved again when the environment has changed, and not before."""

from __future__ import annotations

import pytest

from llmspell_core import ConfigurationError, Services


async def test_the_same_question_has_the_same_answer_until_the_environment_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-first-0123456789")
    async with Services() as services:
        first, _ = services.providers.resolve("openai/gpt-4o-mini")
        assert services.providers.resolve("openai/gpt-4o-mini")[0] is first
        assert services.providers.resolve("openai/gpt-4o-mini", api_key="sk-own-01")[0] is not first
        monkeypatch.setenv("OPENAI_API_KEY", "sk-second-0123456789")
        second, _ = services.providers.resolve("openai/gpt-4o-mini")
        assert second is not first
        assert services.providers.resolve("openai/gpt-4o-mini")[0] is second
        monkeypatch.setenv("OPENAI_API_KEY", "sk-first-0123456789")
        assert services.providers.resolve("openai/gpt-4o-mini")[0] is first


async def test_a_refusal_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOBODY_BASE_URL", raising=False)
    async with Services() as services:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="Unsupported provider 'nobody'"):
                services.providers.resolve("nobody/m")
        monkeypatch.setenv("LLMSPELL_NOBODY_BASE_URL", "http://127.0.0.1:1/v1")
        provider, model = services.providers.resolve("nobody/m")
        assert (provider.name, model) == ("nobody", "m")
