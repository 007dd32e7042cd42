"""Contexts of agents: named values that are told to an agent, handed down from one to another."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from llmspell_agents._shared_memory import MemoryScope, SharedMemory, copied
from llmspell_core import NotFoundError, ValidationError, nearest

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext

POLICIES = ("isolate", "copy", "share", "inherit")
MAX_DEPTH = 10
PRIVATE = frozenset({"agent_private_state", "temporary_data"})
"""What a context never hands down."""

_FIELDS = ("conversation_id", "user_id", "session_id")


@dataclass(slots=True)
class AgentContext:
    """A context. `values` are its own; a context that shares has those of its parent."""

    id: str
    parent: AgentContext | None = None
    policy: str = "inherit"
    scope: MemoryScope = field(default_factory=MemoryScope)
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    identity: dict[str, str] = field(default_factory=dict[str, str])
    security: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def depth(self) -> int:
        """How many contexts it lies in."""
        return 0 if self.parent is None else 1 + self.parent.depth

    def visible(self) -> dict[str, Any]:
        """All values it has or is handed down, its own in front of those of its parents."""
        if self.parent is not None and self.policy == "share":
            return self.parent.visible()
        if self.parent is not None and self.policy == "inherit":
            return {**_handed_down(self.parent), **self.values}
        return dict(self.values)

    def lookup(self, key: str, memory: SharedMemory) -> Any:
        """Its own value, else the shared memory of its scope, else what it is handed down."""
        if self.parent is not None and self.policy == "share":
            return self.parent.lookup(key, memory)
        if key in self.values:
            return self.values[key]
        found = memory.get(self.scope, key)
        if found is not None or self.policy != "inherit" or self.parent is None:
            return found
        return None if key in PRIVATE else self.parent.lookup(key, memory)


def _handed_down(parent: AgentContext) -> dict[str, Any]:
    return {key: value for key, value in parent.visible().items() if key not in PRIVATE}


class ContextStore:
    """The contexts of one set of services, by id.

    What is read of them is an observation of the run that reads: they live longer than a run.

    Args:
        memory: The shared memory that contexts look into.
    """

    def __init__(self, memory: SharedMemory) -> None:
        self._memory = memory
        self._lock = threading.RLock()
        self._contexts: dict[str, AgentContext] = {}

    def create(self, config: Mapping[str, Any], context: ExecutionContext) -> str:
        """From ``{id, conversation_id, user_id, session_id, scope, inheritance, data,
        security = {permissions, level}}``; gives the id. One with the same id is replaced.

        Raises:
            ValidationError: for an unknown key or a value of the wrong type.
        """
        known = ("id", *_FIELDS, "scope", "inheritance", "data", "security")
        for key in config:
            if key not in known:
                close = nearest(key, known)
                raise ValidationError(
                    f"a context has no field '{key}'",
                    field=key,
                    hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(known)}",
                )
        made = AgentContext(
            _text(config, "id") or context.new_id("context_"),
            policy=policy_named(config.get("inheritance")),
            scope=MemoryScope.of(config.get("scope")),
            values=_values(config.get("data")),
            identity={
                name: value for name in _FIELDS if (value := _text(config, name)) is not None
            },
            security=_security(config.get("security")),
        )
        with self._lock:
            self._contexts[made.id] = made
        return made.id

    def create_child(
        self,
        parent: str,
        context: ExecutionContext,
        *,
        id: str | None = None,
        scope: Any = None,
        policy: str = "inherit",
        data: Any = None,
    ) -> str:
        """A context inside *parent*: ``isolate`` sees nothing of it, ``copy`` what it has now,
        ``share`` has the same values, ``inherit`` sees what it has and keeps its own.

        Raises:
            NotFoundError: ``Parent context '<parent>' not found``.
            ValidationError: for an unknown scope, or contexts nested more than ten deep.
        """
        with self._lock:
            above = self._contexts.get(parent)
            if above is None:
                raise self._missing(f"Parent context '{parent}' not found", parent)
            if above.depth + 1 > MAX_DEPTH:
                raise ValidationError(
                    f"contexts are nested more than {MAX_DEPTH} deep", field="parent"
                )
            own = _values(data)
            if policy == "share":
                values = above.values
                values.update(own)
            elif policy == "copy":
                values = {**copied(_handed_down(above), "data"), **own}
            else:
                values = own
            made = AgentContext(
                id or context.new_id("context_"),
                above,
                policy,
                MemoryScope.of(scope) if scope is not None else above.scope,
                values,
                dict(above.identity),
                dict(above.security),
            )
            self._contexts[made.id] = made
            return made.id

    def get(self, id: str) -> AgentContext:
        """The context.

        Raises:
            NotFoundError: ``Context '<id>' not found``.
        """
        found = self._contexts.get(id)
        if found is None:
            raise self._missing(f"Context '{id}' not found", id)
        return found

    def update(self, id: str, values: Any) -> None:
        """Merge *values* into it. Raises as `get`, and `ValidationError` for what is no table."""
        own = _values(values)
        with self._lock:
            self.get(id).values.update(own)

    def read(self, id: str, key: str | None, context: ExecutionContext) -> Any:
        """The value of *key*, or all that it sees. Raises as `get`."""
        found = self.get(id)

        def look() -> Any:
            with self._lock:
                if key is None:
                    return copied(found.visible(), "data")
                return copied(found.lookup(key, self._memory), key)

        return context.observe("agent.context", {"id": id, "key": key}, look)

    def remove(self, id: str) -> None:
        """Remove it; contexts inside it go on with what it handed down. Raises as `get`."""
        with self._lock:
            self.get(id)
            del self._contexts[id]

    def _missing(self, words: str, id: str) -> NotFoundError:
        close = nearest(id, list(self._contexts))
        return NotFoundError(words, hint=f"Did you mean '{close}'?" if close else None)


def inside_context(found: AgentContext, context: ExecutionContext) -> ExecutionContext:
    """*context* for an execution with the context *found*.

    It takes over whom the context is for where the execution does not say so itself; tools and
    hooks find the rest in ``context.data["agent_context"]``.
    """
    about = {"id": found.id, "security": dict(found.security), "scope": found.scope.to_dict()}
    inner = context.child(data={"agent_context": about})
    for name in _FIELDS:
        if getattr(inner, name) is None and name in found.identity:
            setattr(inner, name, found.identity[name])
    return inner


def policy_named(value: Any) -> str:
    """The inheritance that *value* means; ``inherit`` for unknown words."""
    word = value.lower() if isinstance(value, str) else ""
    return word if word in POLICIES else "inherit"


def _text(table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is None or isinstance(value, str):
        return value
    raise ValidationError(f"{key} must be text, not {type(value).__name__}", field=key)


def _values(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValidationError(
            f"the data of a context must be a table, not {type(value).__name__}", field="data"
        )
    return copied(
        {str(key): item for key, item in cast("Mapping[Any, Any]", value).items()}, "data"
    )


def _security(value: Any) -> dict[str, Any]:
    table = _values(value)
    permissions: Any = table.get("permissions") or []
    if not isinstance(permissions, list):
        raise ValidationError("permissions must be a list", field="security.permissions")
    return {**table, "permissions": permissions, "level": table.get("level") or "default"}
