"""Memory that agents share: values by scope, for as long as the services live."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import ResourceLimitError, ValidationError, canonical, from_canonical

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services

SCOPES = ("global", "session", "workflow", "agent", "user")
MAX_REGIONS = 1_000
MAX_REGION_BYTES = 10_000_000
MAX_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class MemoryScope:
    """Who a value is for: everybody, or one session, workflow, agent or user."""

    type: str = "global"
    id: str | None = None

    @classmethod
    def of(cls, value: Any) -> MemoryScope:
        """From ``"global"``, or ``{type, id}``.

        Raises:
            ValidationError: ``Unknown scope type: <type>``, ``Session scope requires an ID``.
        """
        if value is None or isinstance(value, MemoryScope):
            return value or cls()
        kind: Any = value
        id: Any = None
        if isinstance(value, Mapping):
            table = cast("Mapping[str, Any]", value)
            kind, id = table.get("type"), table.get("id")
        if not isinstance(kind, str) or kind.lower() not in SCOPES:
            raise ValidationError(
                f"Unknown scope type: {kind}", field="scope", hint=f"Known: {', '.join(SCOPES)}"
            )
        kind = kind.lower()
        if kind == "global":
            return cls()
        if id is None or id == "":
            raise ValidationError(f"{kind.capitalize()} scope requires an ID", field="scope.id")
        return cls(kind, str(id))

    def __str__(self) -> str:
        """``global``, or ``type:id``."""
        return self.type if self.id is None else f"{self.type}:{self.id}"

    def to_dict(self) -> dict[str, Any]:
        """``{type, id}``."""
        return {"type": self.type, "id": self.id}


def copied(value: Any, field: str) -> Any:
    """A copy of a JSON value.

    Raises:
        ValidationError: for anything else.
    """
    try:
        return from_canonical(canonical(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError(f"'{field}' cannot be kept: {error}", field=field) from error


class SharedMemory:
    """JSON values by scope and key; at most 10 MB a scope, 100 MB and a thousand scopes in all.

    Values are copied in and out, so that nobody changes what another one holds. A change is told
    on the event bus: ``agent.memory_created``, ``agent.memory_updated``, ``agent.memory_deleted``.

    Args:
        services: Whose bus is told.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = threading.Lock()
        self._regions: dict[MemoryScope, dict[str, str]] = {}
        self._bytes: dict[MemoryScope, int] = {}

    def get(self, scope: MemoryScope, key: str) -> Any:
        """The value, or None."""
        text = self._regions.get(scope, {}).get(key)
        return None if text is None else from_canonical(text)

    def read(self, scope: MemoryScope, key: str, context: ExecutionContext) -> Any:
        """As `get`; an observation of the run that reads, for the memory lives longer."""
        request = {"scope": str(scope), "key": key}
        return context.observe("agent.memory", request, lambda: self.get(scope, key))

    def set(self, scope: MemoryScope, key: str, value: Any, context: ExecutionContext) -> None:
        """Insert or overwrite; None deletes.

        Raises:
            ValidationError: for what is no JSON value.
            ResourceLimitError: when it is too much.
        """
        try:
            text = None if value is None else canonical(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValidationError(f"'{key}' cannot be kept: {error}", field=key) from error
        with self._lock:
            region = self._regions.get(scope, {})
            before = region.get(key)
            size = self._bytes.get(scope, 0) - _size(key, before) + _size(key, text)
            if text is not None:
                self._check(scope, size)
                self._regions.setdefault(scope, region)[key] = text
            elif before is not None:
                del region[key]
            self._bytes[scope] = size
            if not region:
                self._regions.pop(scope, None)
                self._bytes.pop(scope, None)
        if text is not None or before is not None:
            what = "deleted" if text is None else "created" if before is None else "updated"
            self._tell(what, scope, key, context)

    def _check(self, scope: MemoryScope, size: int) -> None:
        if scope not in self._regions and len(self._regions) >= MAX_REGIONS:
            raise ResourceLimitError(
                "shared memory scopes", limit=MAX_REGIONS, used=len(self._regions) + 1
            )
        if size > MAX_REGION_BYTES:
            raise ResourceLimitError(
                f"shared memory of scope '{scope}'", limit=MAX_REGION_BYTES, used=size
            )
        total = sum(self._bytes.values()) - self._bytes.get(scope, 0) + size
        if total > MAX_BYTES:
            raise ResourceLimitError("shared memory", limit=MAX_BYTES, used=total)

    def _tell(self, what: str, scope: MemoryScope, key: str, context: ExecutionContext) -> None:
        bus = self._services.peek("events")
        if bus is not None and bus.listening:
            bus.publish(f"agent.memory_{what}", {"scope": str(scope), "key": key}, context)


def _size(key: str, text: str | None) -> int:
    return 0 if text is None else len(key) + len(text)
