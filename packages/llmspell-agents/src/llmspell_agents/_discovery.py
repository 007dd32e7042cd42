"""What agents there are, what they can do, and who belongs to whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmspell_agents._managed import ManagedAgent
from llmspell_agents._members import capabilities_of, members_of

if TYPE_CHECKING:
    from llmspell_agents._registry import AgentService
    from llmspell_core import BaseAgent

_WORDS = {
    "streaming": "supports_streaming",
    "tools": "supports_tools",
    "context": "supports_context",
    "multimodal": "supports_multimodal",
    "composite": "composite",
}
_SHOWN = ("system_prompt", "temperature", "max_tokens")
_MOST_LEVELS = 20


def supports(agent: BaseAgent) -> dict[str, bool]:
    """``{supports_streaming, supports_tools, supports_context, supports_multimodal}``."""
    words = capabilities_of(agent)
    return {
        "supports_streaming": agent.supports_streaming(),
        "supports_tools": "supports_tools" in words,
        "supports_context": "supports_context" in words,
        "supports_multimodal": "supports_multimodal" in words,
    }


def has_capability(agent: BaseAgent, word: str) -> bool:
    """Whether *agent* can do what *word* says: ``streaming``, ``tools``, ``context``,
    ``multimodal``, ``composite`` (or ``supports_…``), else a part of one of its own words.
    """
    plain = word.lower()
    known = _WORDS.get(plain.removeprefix("supports_"))
    words = [own.lower() for own in capabilities_of(agent)]
    if known == "supports_streaming":
        return agent.supports_streaming()
    if known is not None:
        return known in words
    return any(plain in own for own in words)


def capability_record(agent: BaseAgent) -> dict[str, Any]:
    """``{id, name, description, config, capabilities}`` of an agent."""
    me = agent.metadata
    config: dict[str, Any] = {}
    if isinstance(agent, ManagedAgent):
        made = agent.config.to_dict()
        config = {key: made[key] for key in _SHOWN if made[key] is not None}
    return {
        "id": me.id,
        "name": me.name,
        "description": me.description,
        "config": config,
        "capabilities": supports(agent),
    }


def details(agent: BaseAgent, agents: AgentService) -> dict[str, Any]:
    """``{id, name, description, state, metrics, config, composition}`` of an agent."""
    record = capability_record(agent)
    del record["capabilities"]
    if isinstance(agent, ManagedAgent):
        record["state"] = agent.state
        record["metrics"] = agents.monitor.figures(agent).metrics()
        record["config"]["max_conversation_length"] = agent.config.max_conversation_length
    record["composition"] = {
        "can_be_wrapped": True,
        "supports_delegation": bool(children(agent, agents)),
        "supports_nesting": bool(members_of(agent)),
    }
    return record


def children(agent: BaseAgent, agents: AgentService) -> Sequence[BaseAgent]:
    """The members of *agent*, and the agents it can call as tools."""
    return list(dict.fromkeys([*members_of(agent), *agents.tools_of(agent)]))


def hierarchy(agent: BaseAgent, agents: AgentService) -> dict[str, Any]:
    """``{name, type, id, children}`` of an agent and of all that are below it.

    Agents that can call each other as tools are shown once on each way down.
    """
    return _node(agent, agents, ())


def _node(agent: BaseAgent, agents: AgentService, above: tuple[BaseAgent, ...]) -> dict[str, Any]:
    line = (*above, agent)
    me = agent.metadata
    below = children(agent, agents) if len(line) < _MOST_LEVELS else ()
    return {
        "name": me.name,
        "type": me.component_type,
        "id": me.id,
        "children": [
            _node(child, agents, line)
            for child in below
            if not any(child is other for other in line)
        ],
    }


def forest(agents: AgentService) -> dict[str, Any]:
    """A root above all agents that are not below another one."""
    everybody = list(agents.list())
    below = {id(child) for agent in everybody for child in children(agent, agents)}
    tops = [agent for agent in everybody if id(agent) not in below] or everybody
    return {
        "name": "root",
        "type": "root",
        "id": "root",
        "children": [hierarchy(agent, agents) for agent in tops],
    }
