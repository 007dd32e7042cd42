"""The script global `State`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell_core import SecurityError, ValidationError, exposed, script_global
from llmspell_kernel._state_keys import SCOPES, addresses_scope, scope_named

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, ScriptHost, StateStore


@script_global("State")
class StateGlobal:
    """Values that outlive the script: JSON under keys, in scopes.

    A key alone belongs to the current scope (``global`` until `set_scope`), unless it names one
    itself: ``workflow:ID:step``. Storing nil deletes.
    """

    def __init__(self, host: ScriptHost) -> None:
        self._host = host
        self._scope = "global"

    @property
    def _state(self) -> StateStore:
        return self._host.services.state

    @property
    def _context(self) -> ExecutionContext:
        return self._host.context

    def _place(self, key: str) -> tuple[str, str]:
        """The scope and key that a key alone means."""
        if not addresses_scope(key):
            return self._allowed(self._scope), key
        # The first word is enough: the key space is flat, `workflow:ID` is only a longer scope.
        word, _, rest = key.partition(":")
        owner = rest.partition(":")[0]
        self._allowed(f"{word}:{owner}" if word.lower() in _FENCED else word)
        return word, rest

    def _allowed(self, scope: str) -> str:
        """*scope*, unless it is another tenant's or, inside a session's scope, another's."""
        named = scope_named(scope)
        word, _, owner = named.partition(":")
        if word not in _FENCED:
            return named
        mine = {self._context.tenant} if word == "tenant" else set[str | None]()
        current, _, current_owner = self._scope.partition(":")
        if current == word:
            mine.add(current_owner.partition(":")[0])
        mine.discard(None)
        if mine and owner.partition(":")[0] not in mine:
            raise SecurityError(
                f"Permission denied: state of {named} cannot be reached from here",
                violation_type="state_isolation",
                permission_required=named,
            )
        return named

    # -- a key, or a scope and a key ---------------------------------------------------------------

    @exposed()
    async def save(self, scope: str, key: str, value: Any = None) -> None:
        """Store a value in a scope.

        Args:
            scope: ``global``, or one with an id: ``session:ID``, ``user:ID``, ``workflow:ID`` …
            key: The key.
            value: Anything JSON can hold; nil deletes.
        """
        await self._state.set(self._allowed(scope), key, value, self._context)

    @exposed()
    async def load(self, scope: str, key: str) -> Any:
        """The value in a scope, or nil.

        Args:
            scope: As for `save`.
            key: The key; in ``global`` and ``custom`` also a full one
                (``:workflow:ID:agent:A:output``).
        """
        state, context = self._state, self._context
        found = await state.get(self._allowed(scope), key, context)
        full = key.removeprefix(":")
        if found is None and scope_named(scope) in {"global", "custom"} and addresses_scope(full):
            return await state.get(*self._place(full), context)
        return found

    @exposed()
    async def get(self, key: str, default: Any = None) -> Any:
        """The value of a key: ``get(key, default?)``, or ``get(scope, key)``.

        Args:
            key: The key, or a known scope.
            default: What is given where there is no value; behind a scope, the key.
        """
        if isinstance(default, str) and _is_scope(key):
            return await self._state.get(self._allowed(key), default, self._context)
        found = await self._state.get(*self._place(key), self._context)
        return default if found is None else found

    @exposed()
    async def set(self, key: str, *rest: Any) -> bool:
        """Store a value: ``set(key, value)`` or ``set(scope, key, value)``.

        Args:
            key: The key, or the scope of three arguments.
            rest: The value, or key and value; nil deletes.

        Returns:
            True
        """
        if len(rest) < 2 or (rest[1] is None and not _is_scope(key)):
            scope, name = self._place(key)
            await self._state.set(scope, name, rest[0] if rest else None, self._context)
            return True
        name, value = rest[:2]
        if isinstance(name, bool) or not isinstance(name, str | int | float):
            raise ValidationError(
                "State.set(scope, key, value): the key must be a string", field="key"
            )
        await self._state.set(self._allowed(key), str(name), value, self._context)
        return True

    @exposed()
    async def delete(self, key: str, scoped_key: str | None = None) -> bool:
        """Delete a value: ``delete(key)`` or ``delete(scope, key)``; whether it was there.

        Args:
            key: The key, or the scope of two arguments.
            scoped_key: The key in that scope.
        """
        scope, name = self._either(key, scoped_key)
        return await self._state.delete(scope, name, self._context)

    @exposed()
    async def exists(self, key: str, scoped_key: str | None = None) -> bool:
        """Whether there is a value: ``exists(key)`` or ``exists(scope, key)``.

        Args:
            key: The key, or the scope of two arguments.
            scoped_key: The key in that scope.
        """
        scope, name = self._either(key, scoped_key)
        return await self._state.get(scope, name, self._context) is not None

    def _either(self, first: str, second: str | None) -> tuple[str, str]:
        return self._place(first) if second is None else (self._allowed(first), second)

    # -- whole scopes ------------------------------------------------------------------------------

    @exposed()
    async def list(self, prefix: str = "") -> list[str]:
        """The keys of the current scope, sorted.

        Args:
            prefix: Only keys that begin so.
        """
        return await self._state.list(self._allowed(self._scope), self._context, prefix=prefix)

    @exposed()
    async def keys(self) -> list[str]:
        """The keys of the current scope, sorted."""
        return await self._state.list(self._allowed(self._scope), self._context)

    @exposed()
    async def list_keys(self, scope: str = "") -> list[str]:
        """The keys of a scope, without the scope.

        Args:
            scope: A scope, or any beginning of keys that ends before a ``:`` (``workflow:ID``);
                without one the current scope.
        """
        return await self._state.list(self._allowed(scope or self._scope), self._context)

    @exposed()
    async def all(self) -> dict[str, Any]:
        """The keys of the current scope with their values."""
        return await self._state.all(self._allowed(self._scope), self._context)

    @exposed()
    async def clear(self, scope: str | None = None) -> int:
        """Remove all keys of a scope; returns how many.

        Args:
            scope: The scope; without one the current.
        """
        return await self._state.clear(self._allowed(scope or self._scope), self._context)

    # -- the scope said every time -----------------------------------------------------------------

    @exposed()
    async def get_scoped(self, scope: str, key: str) -> Any:
        """The value in a scope, or nil.

        Args:
            scope: As for `save`.
            key: The key.
        """
        return await self._state.get(self._allowed(scope), key, self._context)

    @exposed()
    async def set_scoped(self, scope: str, key: str, value: Any = None) -> bool:
        """Store a value in a scope.

        Args:
            scope: As for `save`.
            key: The key.
            value: Anything JSON can hold; nil deletes.

        Returns:
            True
        """
        await self._state.set(self._allowed(scope), key, value, self._context)
        return True

    @exposed()
    async def delete_scoped(self, scope: str, key: str) -> bool:
        """Delete a value from a scope; whether it was there.

        Args:
            scope: As for `save`.
            key: The key.
        """
        return await self._state.delete(self._allowed(scope), key, self._context)

    @exposed()
    async def clear_scope(self, scope: str) -> int:
        """Remove all keys of a scope; returns how many.

        Args:
            scope: As for `save`.
        """
        return await self._state.clear(self._allowed(scope), self._context)

    @exposed()
    async def list_scoped(self, scope: str) -> list[str]:
        """The keys of a scope, without the scope.

        Args:
            scope: As for `save`.
        """
        return await self._state.list(self._allowed(scope), self._context)

    @exposed()
    async def list_scopes(self) -> list[str]:
        """The scopes that hold something, and the standard ones."""
        found = await self._state.scopes(self._context)
        return sorted({*found, *SCOPES})

    @exposed()
    def set_scope(self, scope: str) -> str:
        """Make a scope the current one; returns the previous.

        Args:
            scope: As for `save`.
        """
        before, named = self._scope, scope_named(scope)
        # Leaving a session or tenant that was chosen here is free; an execution's tenant is not.
        if named.startswith("tenant:") and self._context.tenant is not None:
            self._scope = "global"
            try:
                self._allowed(named)
            finally:
                self._scope = before
        self._scope = named
        return before

    @exposed()
    def get_scope(self) -> str:
        """The current scope."""
        return self._scope

    # -- atomic changes ----------------------------------------------------------------------------

    @exposed()
    async def increment(self, key: str, amount: int | float | None = 1) -> Any:
        """Add to a number, in one step; returns the sum.

        Args:
            key: The key; where there is no value, 0 is added to.
            amount: What is added (1); negative numbers subtract.
        """
        scope, name = self._place(key)
        by = 1 if amount is None else amount
        return await self._state.increment(scope, name, by, self._context)

    @exposed()
    async def append(self, key: str, value: Any) -> int:
        """Add to the end of a list, in one step; returns its length.

        Args:
            key: The key; where there is no value, the list is empty.
            value: The new item.
        """
        scope, name = self._place(key)
        return await self._state.append(scope, name, value, self._context)

    @exposed()
    async def compare_and_swap(self, key: str, old: Any = None, new: Any = None) -> bool:
        """Store a value if the present one is still as expected; whether it was.

        Args:
            key: The key.
            old: What the value must equal; nil: there must be none.
            new: What is stored; nil deletes.
        """
        scope, name = self._place(key)
        return await self._state.compare_and_swap(scope, name, old, new, self._context)

    # -- what components keep ----------------------------------------------------------------------

    @exposed()
    async def workflow_get(self, id: str, step: str) -> Any:
        """The value at ``workflow:ID:STEP``, or nil.

        Args:
            id: Of the workflow.
            step: Its step.
        """
        return await self._state.get(f"workflow:{id}", step, self._context)

    @exposed()
    async def workflow_set(self, id: str, step: str, value: Any = None) -> bool:
        """Store a value at ``workflow:ID:STEP``.

        Args:
            id: Of the workflow.
            step: Its step.
            value: Anything JSON can hold; nil deletes.

        Returns:
            True
        """
        await self._state.set(f"workflow:{id}", step, value, self._context)
        return True

    @exposed()
    async def workflow_list(self, id: str) -> list[str]:
        """The steps stored under ``workflow:ID``.

        Args:
            id: Of the workflow.
        """
        return await self._state.list(f"workflow:{id}", self._context)

    @exposed()
    async def agent_get(self, id: str, key: str) -> Any:
        """The value at ``agent:ID:KEY``, or nil.

        Args:
            id: Of the agent.
            key: The key.
        """
        return await self._state.get(f"agent:{id}", key, self._context)

    @exposed()
    async def agent_set(self, id: str, key: str, value: Any = None) -> None:
        """Store a value at ``agent:ID:KEY``.

        Args:
            id: Of the agent.
            key: The key.
            value: Anything JSON can hold; nil deletes.
        """
        await self._state.set(f"agent:{id}", key, value, self._context)

    @exposed()
    async def tool_get(self, id: str, key: str) -> Any:
        """The value at ``tool:ID:KEY``, or nil.

        Args:
            id: Of the tool.
            key: The key.
        """
        return await self._state.get(f"tool:{id}", key, self._context)

    @exposed()
    async def tool_set(self, id: str, key: str, value: Any = None) -> None:
        """Store a value at ``tool:ID:KEY``.

        Args:
            id: Of the tool.
            key: The key.
            value: Anything JSON can hold; nil deletes.
        """
        await self._state.set(f"tool:{id}", key, value, self._context)

    @exposed()
    async def get_storage_usage(self) -> dict[str, Any]:
        """How much is stored.

        Returns:
            ``{bytes_used, entries_count, scopes}``; ``scopes`` counts entries by scope
        """
        used = await self._state.usage(self._context)
        return {
            "bytes_used": used.size_bytes,
            "entries_count": used.entries,
            "scopes": dict(used.scopes),
        }


_FENCED = ("tenant", "session")


def _is_scope(text: str) -> bool:
    """Whether *text* is a known scope, with an id or without (``user:123``)."""
    word, colon, owner = text.partition(":")
    return word.lower() in SCOPES and bool(owner or not colon)
