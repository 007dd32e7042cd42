"""`StateService`: JSON values under scoped keys, kept in a storage back end."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import (
    ConfigurationError,
    EffectClass,
    ResourceLimitError,
    StateStore,
    StateUsage,
    StorageError,
    ValidationError,
    canonical,
    digest,
    from_canonical,
)
from llmspell_kernel._state_keys import address, scope_named, scope_of
from llmspell_kernel._state_settings import StatePersistenceConfig

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services, StorageBackend

_PREFIX = "state:"
_ONCE = "once:"
_EMBEDDED = {"sled", "file", "sqlite"}
_TRIES = 1000


@dataclass(slots=True)
class _Change:
    """What a read-modify-write comes to: what to write, if it is still so, and the answer."""

    answer: Any
    puts: dict[str, bytes] = field(default_factory=dict[str, bytes])
    deletes: list[str] = field(default_factory=list[str])
    expect: dict[str, bytes | None] = field(default_factory=dict[str, "bytes | None"])


class StateService(StateStore):
    """State in the back end that ``runtime.state_persistence.backend_type`` names.

    The default is a SQLite file, ``state.db`` in the data directory, made by the first write and
    shared by all processes that use the directory. Values are kept as JSON with the time they
    were written.

    Reads are recorded as ``state.read`` (pure), writes as ``state.write``: `set` and `set_many`
    are idempotent; what depends on the value that is there (`increment`, `append`,
    `compare_and_swap`, `delete`, `clear`) is reconcilable: while a run is recorded, the change
    and a note that it was made are written in one step, so that a resume after a crash neither
    loses nor repeats it.

    Raises:
        ConfigurationError: on the first use, for a back end that is not installed.
        StorageError: ``State read error: …``, ``State write error: …``.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._settings = services.config.section(
            "runtime.state_persistence", StatePersistenceConfig
        )
        self._root: StorageBackend | None = None
        self._views: dict[str, StorageBackend] = {}
        self._settled: dict[str | None, list[str]] = {}

    # -- the back end ------------------------------------------------------------------------------

    def _backend(self, tenant: str | None) -> StorageBackend:
        if self._root is None:
            self._root = self._make()
        if tenant is None:
            return self._root
        view = self._views.get(tenant)
        if view is None:
            view = self._views[tenant] = self._services.tenancy.storage(self._root, tenant)
        return view

    def _make(self) -> StorageBackend:
        settings, plugins = self._settings, self._services.plugins
        wanted = settings.backend_type.lower() if settings.enabled else "memory"
        name = "sqlite" if wanted in _EMBEDDED else wanted
        if plugins.find("llmspell.storage", name) is None:
            known = sorted({*plugins.names("llmspell.storage"), *_EMBEDDED})
            raise ConfigurationError(
                f"state back end '{wanted}' is not installed",
                hint=f"Set runtime.state_persistence.backend_type to one of: {', '.join(known)}",
            )
        folder = settings.schema_directory or self._services.config.home
        path = os.path.join(os.path.abspath(os.path.expanduser(folder)), "state.db")
        return plugins.load("llmspell.storage", name)(self._services, name="state", path=path)

    async def aclose(self) -> None:
        """Close the back end."""
        if self._root is None:
            return
        for tenant, notes in self._settled.items():
            if notes:
                await self._backend(tenant).write({}, notes)
        await self._root.aclose()

    # -- reading -----------------------------------------------------------------------------------

    async def get(self, scope: str, key: str, context: ExecutionContext) -> Any:
        flat = address(scope, key)

        async def read(backend: StorageBackend) -> Any:
            return _value(flat, await backend.get(_PREFIX + flat))

        return await self._read({"operation": "get", "key": flat}, read, context)

    async def list(self, scope: str, context: ExecutionContext, *, prefix: str = "") -> list[str]:
        start = f"{scope_named(scope)}:"

        async def read(backend: StorageBackend) -> list[str]:
            keys = await backend.list_keys(_PREFIX + start + prefix)
            return [key[len(_PREFIX) + len(start) :] for key in keys]

        return await self._read(
            {"operation": "list", "scope": start, "prefix": prefix}, read, context
        )

    async def all(self, scope: str, context: ExecutionContext) -> dict[str, Any]:
        start = f"{scope_named(scope)}:"

        async def read(backend: StorageBackend) -> dict[str, Any]:
            skip = len(_PREFIX) + len(start)
            return {
                key[skip:]: _value(key, raw) async for key, raw in backend.scan(_PREFIX + start)
            }

        return await self._read({"operation": "all", "scope": start}, read, context)

    async def scopes(self, context: ExecutionContext) -> list[str]:
        async def read(backend: StorageBackend) -> list[str]:
            keys = await backend.list_keys(_PREFIX)
            return sorted({scope_of(key[len(_PREFIX) :]) for key in keys})

        return await self._read({"operation": "scopes"}, read, context)

    async def usage(self, context: ExecutionContext) -> StateUsage:
        async def read(backend: StorageBackend) -> dict[str, Any]:
            size, counts = 0, dict[str, int]()
            async for key, raw in backend.scan(_PREFIX):
                scope = scope_of(key[len(_PREFIX) :])
                counts[scope] = counts.get(scope, 0) + 1
                size += len(raw)
            return {"size_bytes": size, "scopes": counts}

        found = await self._read({"operation": "usage"}, read, context)
        return StateUsage(sum(found["scopes"].values()), found["size_bytes"], found["scopes"])

    async def _read(
        self,
        request: Any,
        read: Callable[[StorageBackend], Awaitable[Any]],
        context: ExecutionContext,
    ) -> Any:
        async def run(inner: ExecutionContext) -> Any:
            try:
                return await read(self._backend(inner.tenant))
            except StorageError as error:
                raise _named("read", error) from error

        return await context.effect("state.read", request, run, effect_class=EffectClass.PURE)

    # -- writing -----------------------------------------------------------------------------------

    async def set(self, scope: str, key: str, value: Any, context: ExecutionContext) -> None:
        await self.set_many(scope, {key: value}, context)

    async def set_many(
        self, scope: str, values: Mapping[str, Any], context: ExecutionContext
    ) -> None:
        flat = {address(scope, key): value for key, value in values.items()}
        puts = {
            _PREFIX + key: self._packed(key, value)
            for key, value in flat.items()
            if value is not None
        }
        deletes = [_PREFIX + key for key, value in flat.items() if value is None]

        request: dict[str, Any] = {"operation": "set", "values": flat}
        if len(flat) == 1:
            [(key, value)] = flat.items()
            request = {"operation": "set", "key": key, "value": value}

        async def run(inner: ExecutionContext) -> None:
            try:
                await self._backend(inner.tenant).write(puts, deletes)
            except StorageError as error:
                raise _named("write", error) from error

        await context.effect("state.write", request, run, effect_class=EffectClass.IDEMPOTENT)

    async def delete(self, scope: str, key: str, context: ExecutionContext) -> bool:
        flat = address(scope, key)

        async def change(backend: StorageBackend) -> _Change:
            raw = await backend.get(_PREFIX + flat)
            if raw is None:
                return _Change(False)
            return _Change(True, deletes=[_PREFIX + flat], expect={_PREFIX + flat: raw})

        return await self._write({"operation": "delete", "key": flat}, change, context)

    async def clear(self, scope: str, context: ExecutionContext) -> int:
        start = f"{scope_named(scope)}:"

        async def change(backend: StorageBackend) -> _Change:
            keys = await backend.list_keys(_PREFIX + start)
            return _Change(len(keys), deletes=keys)

        return await self._write({"operation": "clear", "scope": start}, change, context)

    async def increment(
        self, scope: str, key: str, amount: float, context: ExecutionContext
    ) -> float:
        if not _is_number(amount):
            raise TypeError(f"amount must be a number, not {type(amount).__name__}")

        def add(flat: str, old: Any) -> tuple[Any, Any]:
            if old is not None and not _is_number(old):
                raise ValidationError(
                    f"State key '{flat}' holds {_kind(old)}, which cannot be incremented",
                    field=key,
                )
            total = (0 if old is None else old) + amount
            return total, total

        return await self._modify("increment", scope, key, amount, add, context)

    async def append(self, scope: str, key: str, value: Any, context: ExecutionContext) -> int:
        def extend(flat: str, old: Any) -> tuple[Any, Any]:
            # A script's empty table is kept as an object, for nothing says that it is a list.
            if old is not None and old != {} and not isinstance(old, list):
                raise ValidationError(
                    f"State key '{flat}' holds {_kind(old)}, not a list to append to", field=key
                )
            longer = [*cast("list[Any]", old or []), value]
            return longer, len(longer)

        return await self._modify("append", scope, key, value, extend, context)

    async def compare_and_swap(
        self, scope: str, key: str, old: Any, new: Any, context: ExecutionContext
    ) -> bool:
        # As it would be read back: a tuple is a list, an enum its value.
        expected = from_canonical(_json(key, old))

        def swap(flat: str, now: Any) -> tuple[Any, Any]:
            return (new, True) if _equal(now, expected) else (_KEEP, False)

        pair = {"old": old, "new": new}
        return await self._modify("compare_and_swap", scope, key, pair, swap, context)

    async def _modify(
        self,
        operation: str,
        scope: str,
        key: str,
        argument: Any,
        change: Callable[[str, Any], tuple[Any, Any]],
        context: ExecutionContext,
    ) -> Any:
        """Replace a value by what *change* makes of it: (new value or `_KEEP`, answer)."""
        flat = address(scope, key)
        place = _PREFIX + flat
        _json(flat, argument)

        async def work(backend: StorageBackend) -> _Change:
            raw = await backend.get(place)
            new, answer = change(flat, _value(flat, raw))
            if new is _KEEP:
                return _Change(answer)
            if new is None:
                return _Change(answer, deletes=[place], expect={place: raw})
            return _Change(answer, puts={place: self._packed(flat, new)}, expect={place: raw})

        request = {"operation": operation, "key": flat, "value": argument}
        return await self._write(request, work, context)

    async def _write(
        self,
        request: Any,
        work: Callable[[StorageBackend], Awaitable[_Change]],
        context: ExecutionContext,
    ) -> Any:
        async def run(inner: ExecutionContext) -> Any:
            try:
                return await self._once(work, inner)
            except StorageError as error:
                raise _named("write", error) from error

        return await context.effect(
            "state.write", request, run, effect_class=EffectClass.RECONCILABLE
        )

    async def _once(
        self, work: Callable[[StorageBackend], Awaitable[_Change]], context: ExecutionContext
    ) -> Any:
        """Make the change exactly once, also when the run is killed and resumed: the note that it
        was made, with its answer, is written in the same step.

        A note has done its service when the outcome is in the ledger. That is so as soon as any
        other coroutine runs after this one has returned, hence the next change takes it away.
        """
        backend = self._backend(context.tenant)
        note = None
        if context.effects.recording and context.effects.run_id is not None:
            from llmspell_core import Resuming

            note = f"{_ONCE}{context.effects.run_id}:{digest(context.path)}"
            if isinstance(context.effects, Resuming):
                made = await backend.get(note)
                if made is not None:
                    self._settled.setdefault(context.tenant, []).append(note)
                    return from_canonical(made.decode())
        for _ in range(_TRIES):
            change = await work(backend)
            if not change.puts and not change.deletes:
                return change.answer
            stale = list(self._settled.get(context.tenant, ())) if note is not None else []
            if note is not None:
                change.puts[note] = canonical(change.answer).encode()
            if await backend.write(
                change.puts, [*change.deletes, *stale], expect=change.expect or None
            ):
                self._note_written(context.tenant, note, stale)
                return change.answer
        raise StorageError("too many others write to the same key", operation="lock")

    def _note_written(self, tenant: str | None, note: str | None, stale: list[str]) -> None:
        if note is None:
            return
        settled = self._settled.setdefault(tenant, [])
        settled[:] = [other for other in settled if other not in stale]
        settled.append(note)

    def _packed(self, flat: str, value: Any) -> bytes:
        text = _json(flat, value)
        content = f'{{"schema_version":1,"timestamp":{time.time()!r},"value":{text}}}'.encode()
        limit = self._settings.max_state_size_bytes
        if len(content) > limit:
            raise ResourceLimitError(
                f"size of state value '{flat}'",
                limit=limit,
                used=len(content),
                hint="Keep large data in files, or raise runtime.state_persistence."
                "max_state_size_bytes.",
            )
        return content


_KEEP = object()


def _json(key: str, value: Any) -> str:
    try:
        text = canonical(value)
        text.encode()
    except (TypeError, ValueError) as error:
        raise ValidationError(
            f"the value of state key '{key}' cannot be kept as JSON: {error}", field=key
        ) from error
    return text


def _value(key: str, raw: bytes | None) -> Any:
    if raw is None:
        return None
    try:
        return from_canonical(raw.decode())["value"]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"the value of '{key.removeprefix(_PREFIX)}' is damaged: {error}",
            operation="decode",
            hint="Delete the key, or restore the file from a backup.",
        ) from error


def _named(verb: str, error: StorageError) -> StorageError:
    return StorageError(
        f"State {verb} error: {error.message}",
        operation=error.operation,
        hint=error.hint,
        details=error.details,
        code=error.code,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "a string"
    if isinstance(value, bool):
        return "a boolean"
    if _is_number(value):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


def _equal(one: Any, other: Any) -> bool:
    """Equality of JSON values: 1 is 1.0, but true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        left, right = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return left.keys() == right.keys() and all(_equal(left[k], right[k]) for k in left)
    if isinstance(one, list) and isinstance(other, list):
        first, second = cast("list[Any]", one), cast("list[Any]", other)
        return len(first) == len(second) and all(map(_equal, first, second))
    return isinstance(one, bool) == isinstance(other, bool) and one == other
