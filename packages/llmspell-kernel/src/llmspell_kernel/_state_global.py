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
        """Store *value* in *scope*."""
        await self._state.set(self._allowed(scope), key, value, self._context)

    @exposed()
    async def load(self, scope: str, key: str) -> Any:
        """The value in *scope*. In ``global`` and ``custom``, *key* may also be a full key
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
        """``get(key, default?)``, or ``get(scope, key)`` where the first is a known scope."""
        if isinstance(default, str) and _is_scope(key):
            return await self._state.get(self._allowed(key), default, self._context)
        found = await self._state.get(*self._place(key), self._context)
        return default if found is None else found

    @exposed()
    async def set(self, key: str, *rest: Any) -> bool:
        """``set(key, value)`` or ``set(scope, key, value)``; returns true."""
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
        """``delete(key)`` or ``delete(scope, key)``; whether it was there."""
        scope, name = self._either(key, scoped_key)
        return await self._state.delete(scope, name, self._context)

    @exposed()
    async def exists(self, key: str, scoped_key: str | None = None) -> bool:
        """``exists(key)`` or ``exists(scope, key)``."""
        scope, name = self._either(key, scoped_key)
        return await self._state.get(scope, name, self._context) is not None

    def _either(self, first: str, second: str | None) -> tuple[str, str]:
        return self._place(first) if second is None else (self._allowed(first), second)

    # -- whole scopes ------------------------------------------------------------------------------

    @exposed()
    async def list(self, prefix: str = "") -> list[str]:
        """The keys of the current scope that begin with *prefix*."""
        return await self._state.list(self._allowed(self._scope), self._context, prefix=prefix)

    @exposed()
    async def keys(self) -> list[str]:
        """The keys of the current scope."""
        return await self._state.list(self._allowed(self._scope), self._context)

    @exposed()
    async def list_keys(self, scope: str = "") -> list[str]:
        """The keys of *scope*, without it. Any beginning of keys that ends before a ``:`` will
        do (``workflow:ID``).
        """
        return await self._state.list(self._allowed(scope or self._scope), self._context)

    @exposed()
    async def all(self) -> dict[str, Any]:
        """The keys of the current scope with their values."""
        return await self._state.all(self._allowed(self._scope), self._context)

    @exposed()
    async def clear(self, scope: str | None = None) -> int:
        """Remove the keys of *scope*, or of the current one; returns how many."""
        return await self._state.clear(self._allowed(scope or self._scope), self._context)

    # -- the scope said every time -----------------------------------------------------------------

    @exposed()
    async def get_scoped(self, scope: str, key: str) -> Any:
        """The value in *scope*."""
        return await self._state.get(self._allowed(scope), key, self._context)

    @exposed()
    async def set_scoped(self, scope: str, key: str, value: Any = None) -> bool:
        """Store in *scope*; returns true."""
        await self._state.set(self._allowed(scope), key, value, self._context)
        return True

    @exposed()
    async def delete_scoped(self, scope: str, key: str) -> bool:
        """Remove from *scope*; whether it was there."""
        return await self._state.delete(self._allowed(scope), key, self._context)

    @exposed()
    async def clear_scope(self, scope: str) -> int:
        """Remove the keys of *scope*; returns how many."""
        return await self._state.clear(self._allowed(scope), self._context)

    @exposed()
    async def list_scoped(self, scope: str) -> list[str]:
        """The keys of *scope*, without it."""
        return await self._state.list(self._allowed(scope), self._context)

    @exposed()
    async def list_scopes(self) -> list[str]:
        """The scopes that hold something, and the standard ones."""
        found = await self._state.scopes(self._context)
        return sorted({*found, *SCOPES})

    @exposed()
    def set_scope(self, scope: str) -> str:
        """Make *scope* the current one; returns the previous."""
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
    async def increment(self, key: str, amount: Any = 1) -> Any:
        """Add to a number (missing: 0); returns the sum."""
        scope, name = self._place(key)
        by = 1 if amount is None else amount
        return await self._state.increment(scope, name, by, self._context)

    @exposed()
    async def append(self, key: str, value: Any) -> int:
        """Add to the end of a list (missing: empty); returns its length."""
        scope, name = self._place(key)
        return await self._state.append(scope, name, value, self._context)

    @exposed()
    async def compare_and_swap(self, key: str, old: Any = None, new: Any = None) -> bool:
        """Store *new* if the value still equals *old* (nil: is missing); whether it did."""
        scope, name = self._place(key)
        return await self._state.compare_and_swap(scope, name, old, new, self._context)

    # -- what components keep ----------------------------------------------------------------------

    @exposed()
    async def workflow_get(self, id: str, step: str) -> Any:
        """The value at ``workflow:{id}:{step}``."""
        return await self._state.get(f"workflow:{id}", step, self._context)

    @exposed()
    async def workflow_set(self, id: str, step: str, value: Any = None) -> bool:
        """Store at ``workflow:{id}:{step}``; returns true."""
        await self._state.set(f"workflow:{id}", step, value, self._context)
        return True

    @exposed()
    async def workflow_list(self, id: str) -> list[str]:
        """The steps stored under ``workflow:{id}``."""
        return await self._state.list(f"workflow:{id}", self._context)

    @exposed()
    async def agent_get(self, id: str, key: str) -> Any:
        """The value at ``agent:{id}:{key}``."""
        return await self._state.get(f"agent:{id}", key, self._context)

    @exposed()
    async def agent_set(self, id: str, key: str, value: Any = None) -> None:
        """Store at ``agent:{id}:{key}``."""
        await self._state.set(f"agent:{id}", key, value, self._context)

    @exposed()
    async def tool_get(self, id: str, key: str) -> Any:
        """The value at ``tool:{id}:{key}``."""
        return await self._state.get(f"tool:{id}", key, self._context)

    @exposed()
    async def tool_set(self, id: str, key: str, value: Any = None) -> None:
        """Store at ``tool:{id}:{key}``."""
        await self._state.set(f"tool:{id}", key, value, self._context)

    @exposed()
    async def get_storage_usage(self) -> dict[str, Any]:
        """``{bytes_used, entries_count, scopes}``; `scopes` counts entries by scope."""
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
