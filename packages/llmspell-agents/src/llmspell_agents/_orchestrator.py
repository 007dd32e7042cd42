"""`ToolOrchestrator`: an agent with a model that may use every tool."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from llmspell_agents._llm import LLMAgent

if TYPE_CHECKING:
    from llmspell_agents._config import AgentConfig
    from llmspell_core import Services

TEMPERATURE = 0.3


class ToolOrchestrator(LLMAgent):
    """Talks to a model and uses every tool.

    As the kind ``llm``, with all registered tools and a temperature of 0.3 unless told otherwise.
    """

    def __init__(self, config: AgentConfig, services: Services) -> None:
        warm = TEMPERATURE if config.temperature is None else config.temperature
        super().__init__(replace(config, tools=config.tools or ("*",), temperature=warm), services)
