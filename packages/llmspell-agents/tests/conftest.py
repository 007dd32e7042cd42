"""An agent with a scripted model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmspell_agents import AgentBuilder, AgentService, LLMAgent
from llmspell_core import Plugin, Services, Tool
from llmspell_testing import ProvidersDouble, ScriptedProvider, ToolsDouble, make_services

Made = tuple[LLMAgent, ScriptedProvider, Services]


@pytest.fixture
def make_agent() -> Callable[..., Made]:
    """``make_agent("an answer", Reply(...), tools=(…,), services={…}, **options)``."""

    def make(
        *script: Any,
        tools: tuple[Tool, ...] = (),
        services: dict[str, Any] | None = None,
        provider: ScriptedProvider | None = None,
        **options: Any,
    ) -> Made:
        model = provider or ScriptedProvider(*script)
        doubles: dict[str, Any] = {
            "providers": ProvidersDouble(model),
            "tools": ToolsDouble(*tools),
            **(services or {}),
        }
        made = make_services(
            plugins=[Plugin("llmspell.agents", "llm", "llmspell_agents:LLMAgent", "a", "1")],
            **doubles,
        )
        made.provide("agents", AgentService(made))
        options = {"allowed_tools": [tool.schema.name for tool in tools], **options}
        builder = AgentBuilder("ada", model="scripted/m", **{"system_prompt": "Be ada.", **options})
        agent = builder.build(made)
        assert isinstance(agent, LLMAgent)
        return agent, model, made

    return make
