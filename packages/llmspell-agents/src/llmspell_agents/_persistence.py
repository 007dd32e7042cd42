"""Agents that outlive their process: what is kept of them, and how it is taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmspell_agents._lifecycle import Lifecycle
from llmspell_agents._options import changed
from llmspell_agents._statistics import Statistics
from llmspell_core import ComponentError, ConfigurationError, ValidationError

if TYPE_CHECKING:
    from llmspell_agents._managed import ManagedAgent
    from llmspell_core import ExecutionContext, Services, StateStore

KEPT = ("metadata", "conversation", "config", "lifecycle", "statistics")
"""The keys under ``agent:<name>`` that `save` writes; the others are the script's own."""

_TAKEN_UP = (
    "description",
    "system_prompt",
    "temperature",
    "max_tokens",
    "top_p",
    "stop",
    "seed",
    "capabilities",
    "memory_enabled",
    "memory",
    "max_conversation_length",
    "context_window",
    "on_error",
    "resource_limits",
    "custom_config",
)
"""How an agent behaves. What it may reach (model, address, tools, members) and who approves stay
as it was built: a store must not give an agent rights.
"""


async def save(agent: ManagedAgent, services: Services, context: ExecutionContext) -> None:
    """Keep conversation, configuration, state and figures of *agent*, at once.

    Raises:
        ComponentError: ``State manager not configured``.
        StorageError, ResourceLimitError, ValidationError: as the store raises.
    """
    me = agent.metadata
    about = {
        "agent_id": me.id,
        "name": me.name,
        "agent_type": agent.config.agent_type,
        "version": str(me.version),
        "saved_at": context.now(),
        "schema_version": 1,
    }
    config = {key: value for key, value in agent.config.to_dict().items() if value is not None}
    figures = context.observe("agent.statistics", me.name, agent.statistics.to_dict)
    life = context.observe("agent.lifecycle", me.name, agent.lifecycle.to_dict)
    values: dict[str, Any] = {
        "metadata": about,
        "conversation": [dict(message) for message in agent.conversation],
        "config": config,
        "lifecycle": life,
        "statistics": figures,
    }
    await _store(services).set_many(_scope(agent), values, context)


async def load(agent: ManagedAgent, services: Services, context: ExecutionContext) -> bool:
    """Take up what `save` kept of an agent of that name; False when there is nothing.

    Raises:
        ComponentError: ``State manager not configured``.
        ValidationError: when what is there was not written by `save`.
    """
    found = await _store(services).all(_scope(agent), context)
    if "metadata" not in found:
        return False
    try:
        _take_up(agent, found)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ValidationError(
            f"What is kept of agent '{agent.metadata.name}' is damaged: {error}",
            field="state",
            hint="Something else than save_state() wrote it; delete_state() removes it.",
        ) from error
    return True


def _take_up(agent: ManagedAgent, found: Mapping[str, Any]) -> None:
    config: Mapping[str, Any] = found.get("config") or {}
    life: Mapping[str, Any] = found.get("lifecycle") or {}
    figures: Mapping[str, Any] = found.get("statistics") or {}
    options = {key: config[key] for key in _TAKEN_UP if config.get(key) is not None}
    # Tried on others first: what is damaged must change nothing.
    Lifecycle(agent.metadata, 0.0).restore(life)
    Statistics().restore(figures)
    agent.take_up(changed(agent.config, options), list(found.get("conversation") or []))
    agent.lifecycle.restore(life)
    agent.statistics.restore(figures)


async def delete(agent: ManagedAgent, services: Services, context: ExecutionContext) -> None:
    """Remove what is kept of *agent*, what `merge` added included. Raises as `save`."""
    await _store(services).clear(_scope(agent), context)


async def merge(
    agent: ManagedAgent, values: Mapping[str, Any], services: Services, context: ExecutionContext
) -> None:
    """Add *values* to what is kept under ``agent:<name>``, key by key.

    Raises:
        ValidationError: for a key that `save` uses.
    """
    for key in values:
        if key in KEPT:
            raise ValidationError(
                f"'{key}' is where save_state() keeps something of the agent's",
                field=key,
                hint=f"Take another key than {', '.join(KEPT)}.",
            )
    if values:
        await _store(services).set_many(_scope(agent), values, context)


def _scope(agent: ManagedAgent) -> str:
    return f"agent:{agent.metadata.name}"


def _store(services: Services) -> StateStore:
    try:
        return services.state
    except ConfigurationError as error:
        raise ComponentError(
            "State manager not configured",
            code="STATE_MISSING",
            hint=error.hint,
            source=error,
        ) from error
