"""The operations on state: what the commands, the kernel's messages and tools call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import NotFoundError, ValidationError, operation
from llmspell_kernel._state_keys import addresses_scope, scope_named

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services

EXPORT_VERSION = 1
"""The version of the document that `state.export` makes and `state.import` reads."""


def _place(key: str, scope: str | None) -> tuple[str, str]:
    if scope is not None:
        return scope, key
    if addresses_scope(key):
        word, _, rest = key.partition(":")
        return word, rest
    return "global", key


@operation("state.get")
async def state_get(
    services: Services, context: ExecutionContext, *, key: str, scope: str | None = None
) -> dict[str, Any]:
    """A value of state; a key may name its scope itself (``workflow:ID:step``)."""
    where, name = _place(key, scope)
    value = await services.state.get(where, name, context)
    if value is None:
        raise NotFoundError(f"Key '{key}' not found", code="STATE_KEY_NOT_FOUND")
    return {"key": name, "value": value, "scope": where}


@operation("state.set")
async def state_set(
    services: Services,
    context: ExecutionContext,
    *,
    key: str,
    value: Any,
    scope: str | None = None,
) -> dict[str, Any]:
    """Store a value of state; null deletes it."""
    where, name = _place(key, scope)
    await services.state.set(where, name, value, context)
    return {"key": name, "value": value, "scope": where}


@operation("state.delete")
async def state_delete(
    services: Services, context: ExecutionContext, *, key: str, scope: str | None = None
) -> dict[str, Any]:
    """Remove a value of state."""
    where, name = _place(key, scope)
    deleted = await services.state.delete(where, name, context)
    return {"key": name, "deleted": deleted, "scope": where}


@operation("state.list")
async def state_list(
    services: Services,
    context: ExecutionContext,
    *,
    scope: str | None = None,
    prefix: str = "",
    values: bool = False,
) -> dict[str, Any]:
    """The keys by scope, of one scope or of all; with values, their values too."""
    found: dict[str, Any] = {}
    for name in [scope] if scope is not None else _apart(await services.state.scopes(context)):
        if values:
            table = await services.state.all(name, context)
            found[name] = {k: v for k, v in table.items() if k.startswith(prefix)}
        else:
            found[name] = await services.state.list(name, context, prefix=prefix)
    return {"scopes": found}


def _apart(scopes: list[str]) -> list[str]:
    """The scopes without those that lie within another (``user:1`` within ``user``)."""
    return [s for s in scopes if s.partition(":")[0] == s or s.partition(":")[0] not in scopes]


@operation("state.clear")
async def state_clear(
    services: Services,
    context: ExecutionContext,
    *,
    scope: str | None = None,
    key: str | None = None,
) -> dict[str, Any]:
    """Remove a key, a scope, or without both everything; how many keys were removed."""
    if key is not None:
        done = await state_delete.function(services, context, key=key, scope=scope)
        return {"cleared": int(done["deleted"])}
    names = [scope] if scope is not None else _apart(await services.state.scopes(context))
    cleared = 0
    for name in names:
        cleared += await services.state.clear(name, context)
    return {"cleared": cleared}


@operation("state.export")
async def state_export(
    services: Services, context: ExecutionContext, *, scope: str | None = None
) -> dict[str, Any]:
    """All values by scope, as a document that `state.import` reads."""
    from datetime import UTC, datetime

    found = await state_list.function(services, context, scope=scope, values=True)
    moment = datetime.fromtimestamp(context.now(), UTC)
    return {
        "version": EXPORT_VERSION,
        "exported_at": moment.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "scopes": {name: values for name, values in found["scopes"].items() if values},
    }


@operation("state.import")
async def state_import(
    services: Services,
    context: ExecutionContext,
    *,
    document: Any,
    merge: bool = False,
    scope: str | None = None,
) -> dict[str, Any]:
    """Store the values of a document; without merge, each scope in it holds just those then."""
    scopes = _scopes_of(document)
    if scope is not None:
        wanted = scope_named(scope)
        scopes = {name: values for name, values in scopes.items() if scope_named(name) == wanted}
    counted = 0
    for name, values in scopes.items():
        stale = [] if merge else await services.state.list(name, context)
        # One atomic write for each scope: what is not in the document is deleted with it.
        await services.state.set_many(name, {**dict.fromkeys(stale), **values}, context)
        counted += len(values)
    return {"imported": counted, "scopes": sorted(scopes), "merge": merge}


def _scopes_of(document: Any) -> dict[str, dict[str, Any]]:
    """The values by scope: of an export, or of a flat object, which is for ``global``."""
    if not isinstance(document, Mapping):
        raise ValidationError(
            f"a state document must be an object, not {type(document).__name__}", field="document"
        )
    table = cast("Mapping[str, Any]", document)
    if "scopes" not in table:
        return {"global": dict(table)}
    version = table.get("version")
    if version != EXPORT_VERSION:
        raise ValidationError(
            f"this state document has version {version!r}; version {EXPORT_VERSION} is known",
            field="version",
        )
    scopes = table["scopes"]
    if not isinstance(scopes, Mapping):
        raise ValidationError("'scopes' must be an object of scopes", field="scopes")
    made: dict[str, dict[str, Any]] = {}
    for name, values in cast("Mapping[str, Any]", scopes).items():
        if not isinstance(values, Mapping):
            raise ValidationError(f"scope '{name}' must be an object", field="scopes")
        made[name] = dict(cast("Mapping[str, Any]", values))
    return made
