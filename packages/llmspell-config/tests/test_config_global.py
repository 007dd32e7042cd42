"""What scripts see of the configuration."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from llmspell_config import ConfigGlobal
from llmspell_core import (
    Config,
    ConfigurationError,
    ExecutionContext,
    ScriptHost,
    Services,
)


class Host(ScriptHost):
    def __init__(self, values: dict[str, Any]) -> None:
        self._services = Services(Config(values))
        self._context = ExecutionContext(self._services)

    @property
    def services(self) -> Services:
        return self._services

    @property
    def context(self) -> ExecutionContext:
        return self._context

    def write(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        raise AssertionError(text)


def config(**values: Any) -> ConfigGlobal:
    return ConfigGlobal(Host(values))


def test_values_are_read_by_dotted_path_with_defaults_in_them() -> None:
    face = config(runtime={"max_concurrent_scripts": 3}, app={"title": "x", "tags": ["a"]})

    assert face.get("runtime.max_concurrent_scripts") == 3
    assert face.get("runtime.script_timeout_seconds") == 300.0
    assert face.get("app.tags") == ["a"]
    assert face.get("app.none") is None
    assert face.get("app.title.deeper") is None
    assert face.get("app.none", "instead") == "instead"
    assert face.get()["default_engine"] == face.get_default_engine() == "lua"


def test_both_nestings_of_providers_answer_and_keys_are_hidden() -> None:
    face = config(providers={"openai": {"api_key": "sk-x", "default_model": "m"}})

    assert face.get("providers.openai.default_model") == "m"
    assert face.get("providers.providers.openai.api_key") == "<REDACTED>"
    assert face.get("providers.providers") == face.get("providers")
    assert face.list_providers() == ["openai"]
    assert face.get_provider("openai") == {
        "enabled": True,
        "provider_type": "openai",
        "type": "openai",
        "timeout_seconds": 30,
        "api_key": "<REDACTED>",
        "default_model": "m",
        "model": "m",
    }
    assert face.get_provider("nobody") is None


def test_sections_are_tables_and_an_unknown_one_raises() -> None:
    face = config()

    assert face.get_section("runtime.security") == face.get_security()
    assert face.get_section("tools") == face.get_tools()
    with pytest.raises(ConfigurationError, match="Unknown configuration section: runtme") as caught:
        face.get_section("runtme")
    assert caught.value.hint == "Did you mean 'runtime'?"
    with pytest.raises(ConfigurationError, match="Unknown configuration section: default_engine"):
        face.get_section("default_engine")


def test_security_questions_are_answered_from_the_configuration() -> None:
    strict, loose = (
        config(),
        config(
            runtime={
                "security": {
                    "allow_file_access": True,
                    "allow_network_access": False,
                    "allow_process_spawn": True,
                }
            }
        ),
    )
    answers = [
        (f.is_file_access_allowed(), f.is_network_access_allowed(), f.is_process_spawn_allowed())
        for f in (strict, loose)
    ]
    assert answers == [(False, True, False), (True, False, True)]
    assert strict.get_permissions() == {
        "read": True,
        "modify_providers": False,
        "modify_tools": True,
        "modify_runtime": False,
        "modify_security": False,
        "access_secrets": False,
    }


def test_everything_is_available_as_json() -> None:
    face = config(app={"password": "p", "n": 1})

    assert json.loads(face.to_json()) == face.get()
    assert json.loads(face.to_json(True))["app"] == {"password": "<REDACTED>", "n": 1}
    assert "\n" in face.to_json(True)
