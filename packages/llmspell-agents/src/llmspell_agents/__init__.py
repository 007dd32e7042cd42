"""LLMSpell agents: builder, conversation memory, the tool-calling loop, and teams.

Names load on first use.
"""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_agents._agent_tool import AgentTool as AgentTool
    from llmspell_agents._alerts import Alert as Alert
    from llmspell_agents._alerts import Rule as Rule
    from llmspell_agents._basic import BasicAgent as BasicAgent
    from llmspell_agents._builder import AgentBuilder as AgentBuilder
    from llmspell_agents._composite import CompositeAgent as CompositeAgent
    from llmspell_agents._composite import Delegation as Delegation
    from llmspell_agents._config import AgentConfig as AgentConfig
    from llmspell_agents._config import Limits as Limits
    from llmspell_agents._config import ToolRules as ToolRules
    from llmspell_agents._contexts import AgentContext as AgentContext
    from llmspell_agents._contexts import ContextStore as ContextStore
    from llmspell_agents._face import AgentGlobal as AgentGlobal
    from llmspell_agents._handle import AgentHandle as AgentHandle
    from llmspell_agents._health import Health as Health
    from llmspell_agents._input import InputError as InputError
    from llmspell_agents._lifecycle import DestroyedError as DestroyedError
    from llmspell_agents._lifecycle import Lifecycle as Lifecycle
    from llmspell_agents._lifecycle import StateError as StateError
    from llmspell_agents._llm import LLMAgent as LLMAgent
    from llmspell_agents._managed import ManagedAgent as ManagedAgent
    from llmspell_agents._members import CapabilityError as CapabilityError
    from llmspell_agents._members import MemberError as MemberError
    from llmspell_agents._memory import Memory as Memory
    from llmspell_agents._monitor import Monitor as Monitor
    from llmspell_agents._monitor_agent import MonitorAgent as MonitorAgent
    from llmspell_agents._orchestrator import ToolOrchestrator as ToolOrchestrator
    from llmspell_agents._registry import AgentService as AgentService
    from llmspell_agents._routing import Routing as Routing
    from llmspell_agents._schema import OutputError as OutputError
    from llmspell_agents._schema import OutputSchema as OutputSchema
    from llmspell_agents._scope import CycleError as CycleError
    from llmspell_agents._scope import DepthError as DepthError
    from llmspell_agents._shared_memory import MemoryScope as MemoryScope
    from llmspell_agents._shared_memory import SharedMemory as SharedMemory
    from llmspell_agents._statistics import Statistics as Statistics
    from llmspell_agents._templates import AgentsConfig as AgentsConfig
    from llmspell_agents._templates import Template as Template
    from llmspell_agents._templates import TemplateParameter as TemplateParameter
    from llmspell_agents._tool_agent import ToolAgent as ToolAgent
    from llmspell_agents._workflow_agent import WorkflowAgent as WorkflowAgent

__all__ = [
    "AgentBuilder",
    "AgentConfig",
    "AgentContext",
    "AgentGlobal",
    "AgentHandle",
    "AgentService",
    "AgentTool",
    "AgentsConfig",
    "Alert",
    "BasicAgent",
    "CapabilityError",
    "CompositeAgent",
    "ContextStore",
    "CycleError",
    "Delegation",
    "DepthError",
    "DestroyedError",
    "Health",
    "InputError",
    "LLMAgent",
    "Lifecycle",
    "Limits",
    "ManagedAgent",
    "MemberError",
    "Memory",
    "MemoryScope",
    "Monitor",
    "MonitorAgent",
    "OutputError",
    "OutputSchema",
    "Routing",
    "Rule",
    "SharedMemory",
    "StateError",
    "Statistics",
    "Template",
    "TemplateParameter",
    "ToolAgent",
    "ToolOrchestrator",
    "ToolRules",
    "WorkflowAgent",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AgentBuilder": "_builder",
        "AgentConfig": "_config",
        "AgentContext": "_contexts",
        "AgentGlobal": "_face",
        "AgentHandle": "_handle",
        "AgentService": "_registry",
        "AgentTool": "_agent_tool",
        "AgentsConfig": "_templates",
        "Alert": "_alerts",
        "BasicAgent": "_basic",
        "CapabilityError": "_members",
        "CompositeAgent": "_composite",
        "ContextStore": "_contexts",
        "CycleError": "_scope",
        "Delegation": "_composite",
        "DepthError": "_scope",
        "DestroyedError": "_lifecycle",
        "Health": "_health",
        "InputError": "_input",
        "LLMAgent": "_llm",
        "Lifecycle": "_lifecycle",
        "Limits": "_config",
        "ManagedAgent": "_managed",
        "MemberError": "_members",
        "Memory": "_memory",
        "MemoryScope": "_shared_memory",
        "Monitor": "_monitor",
        "MonitorAgent": "_monitor_agent",
        "OutputError": "_schema",
        "OutputSchema": "_schema",
        "Routing": "_routing",
        "Rule": "_alerts",
        "SharedMemory": "_shared_memory",
        "StateError": "_lifecycle",
        "Statistics": "_statistics",
        "Template": "_templates",
        "TemplateParameter": "_templates",
        "ToolAgent": "_tool_agent",
        "ToolOrchestrator": "_orchestrator",
        "ToolRules": "_config",
        "WorkflowAgent": "_workflow_agent",
    },
)
