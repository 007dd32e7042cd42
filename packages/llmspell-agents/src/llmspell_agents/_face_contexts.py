"""The part of the global `Agent` that is about contexts and shared memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

from llmspell_agents._contexts import policy_named
from llmspell_agents._members import kind_of
from llmspell_agents._registry import AgentService
from llmspell_agents._script_options import ContextOptions
from llmspell_agents._shared_memory import MemoryScope
from llmspell_core import ScriptHost, ValidationError, exposed


class ContextsFace:
    """Contexts and shared memory."""

    _host: ScriptHost

    @property
    def _agents(self) -> AgentService:
        return cast("AgentService", self._host.services.agents)

    @exposed()
    def create_context(
        self,
        config: Annotated[Any, ContextOptions] = None,
        data: dict[str, Any] | None = None,
    ) -> str:
        """Make a context: ``create_context{…}``, or ``create_context(NAME, DATA)``.

        Args:
            config: The table, or the name of the context, which is its id then.
            data: Its values, behind a name.

        Returns:
            The context's id, for `execute_with_context`.
        """
        if isinstance(config, str):
            config = {"id": config, "data": data}
        return self._agents.contexts.create(_table(config or {}, "config"), self._host.context)

    @exposed()
    def create_child_context(self, parent: str, scope: Any, inheritance: Any = None) -> str:
        """Make a context inside another: ``(PARENT, SCOPE, INHERITANCE)``, or ``(PARENT, NAME,
        DATA)``.

        Args:
            parent: The id of the other.
            scope: ``"global"`` or ``{type, id}``; or the name of the new context.
            inheritance: ``inherit`` sees the values of the other and keeps its own, ``copy`` has
                what the other has now, ``share`` has the same values, ``isolate`` none of them;
                or the data behind a name.

        Returns:
            The new context's id.
        """
        contexts, context = self._agents.contexts, self._host.context
        if isinstance(scope, str) and not isinstance(inheritance, str):
            data = None if inheritance is None else _table(inheritance, "data")
            return contexts.create_child(parent, context, id=scope, data=data)
        return contexts.create_child(parent, context, scope=scope, policy=policy_named(inheritance))

    @exposed()
    def update_context(self, id: str, key: Any, value: Any = None) -> bool:
        """Set a value of a context, or several: ``(ID, KEY, VALUE)``, ``(ID, {KEY = VALUE})``.

        Args:
            id: The context.
            key: The name of the value; or a table of several.
            value: The value.
        """
        values = _table(key, "data") if isinstance(key, Mapping) else {_key(key): value}
        self._agents.contexts.update(id, values)
        return True

    @exposed()
    def get_context_data(self, id: str, key: str | None = None) -> Any:
        """What a context knows: one value, or a table of all.

        Args:
            id: The context.
            key: The name of a value; it is looked for in the context itself, in the shared
                memory of its scope, then in the context it inherits from.
        """
        return self._agents.contexts.read(id, key, self._host.context)

    @exposed()
    def remove_context(self, id: str) -> bool:
        """Remove a context.

        Args:
            id: The context.
        """
        self._agents.contexts.remove(id)
        return True

    @exposed()
    def set_shared_memory(self, scope: Any, key: Any = None, value: Any = None) -> bool:
        """Keep a value that all agents and scripts of this kernel can read: ``(SCOPE, KEY,
        VALUE)``, or ``(KEY, VALUE)`` for everybody. nil deletes.

        Args:
            scope: ``"global"``, or ``{type, id}`` with the type ``session``, ``workflow``,
                ``agent`` or ``user``; or the key.
            key: The name of the value; or the value.
            value: The value.
        """
        if scope is None:
            raise ValidationError("a scope or a key must be given", field="scope")
        if isinstance(scope, str) and scope != "global" and value is None:
            place, name, kept = MemoryScope(), scope, key
        elif value is None and scope == "global" and not isinstance(key, str):
            place, name, kept = MemoryScope(), "global", key
        else:
            place, name, kept = MemoryScope.of(scope), key, value
        self._agents.memory.set(place, _key(name), kept, self._host.context)
        return True

    @exposed()
    def get_shared_memory(self, scope: Any, key: str | None = None) -> Any:
        """A value that was kept with `set_shared_memory`, or nil: ``(SCOPE, KEY)``, ``(KEY)``.

        Args:
            scope: As for `set_shared_memory`; or the key.
            key: The name of the value.
        """
        place, name = (MemoryScope(), scope) if key is None else (MemoryScope.of(scope), key)
        return self._agents.memory.read(place, _key(name), self._host.context)


def _key(value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValidationError(f"a key must be text, not {kind_of(value)}", field="key")


def _table(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValidationError(f"{field} must be a table, not {kind_of(value)}", field=field)
    return dict(cast("Mapping[str, Any]", value))
