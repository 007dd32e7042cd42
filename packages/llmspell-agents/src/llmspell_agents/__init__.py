"""LLMSpell agents: builder, conversation memory and the tool-calling loop.

Names load on first use.
"""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_agents._basic import BasicAgent as BasicAgent
    from llmspell_agents._builder import AgentBuilder as AgentBuilder
    from llmspell_agents._config import AgentConfig as AgentConfig
    from llmspell_agents._config import Limits as Limits
    from llmspell_agents._config import ToolRules as ToolRules
    from llmspell_agents._face import AgentGlobal as AgentGlobal
    from llmspell_agents._handle import AgentHandle as AgentHandle
    from llmspell_agents._input import InputError as InputError
    from llmspell_agents._llm import LLMAgent as LLMAgent
    from llmspell_agents._managed import DestroyedError as DestroyedError
    from llmspell_agents._managed import ManagedAgent as ManagedAgent
    from llmspell_agents._memory import Memory as Memory
    from llmspell_agents._registry import AgentService as AgentService
    from llmspell_agents._schema import OutputError as OutputError
    from llmspell_agents._schema import OutputSchema as OutputSchema

__all__ = [
    "AgentBuilder",
    "AgentConfig",
    "AgentGlobal",
    "AgentHandle",
    "AgentService",
    "BasicAgent",
    "DestroyedError",
    "InputError",
    "LLMAgent",
    "Limits",
    "ManagedAgent",
    "Memory",
    "OutputError",
    "OutputSchema",
    "ToolRules",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AgentBuilder": "_builder",
        "AgentConfig": "_config",
        "AgentGlobal": "_face",
        "AgentHandle": "_handle",
        "AgentService": "_registry",
        "BasicAgent": "_basic",
        "DestroyedError": "_managed",
        "InputError": "_input",
        "LLMAgent": "_llm",
        "Limits": "_config",
        "ManagedAgent": "_managed",
        "Memory": "_memory",
        "OutputError": "_schema",
        "OutputSchema": "_schema",
        "ToolRules": "_config",
    },
)
