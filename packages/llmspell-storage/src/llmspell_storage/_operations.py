"""The operations of storage: what back ends there are, what a store holds, copying one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from llmspell_core import ValidationError, operation
from llmspell_storage._copying import copy_store
from llmspell_storage._places import GROUP, open_place, shown_place

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services

PROGRESS = "operation.progress"
"""The topic on which long operations tell how far they are."""


@operation("storage.backends")
async def storage_backends(services: Services, context: ExecutionContext) -> list[dict[str, Any]]:
    """The back ends that are installed."""
    return [
        {"name": name, "distribution": plugin.distribution}
        for name in services.plugins.names(GROUP)
        if (plugin := services.plugins.find(GROUP, name)) is not None
    ]


@operation("storage.info")
async def storage_info(
    services: Services, context: ExecutionContext, *, place: str, store: str = "state"
) -> dict[str, Any]:
    """How much a store holds."""
    backend = open_place(place, services, store=store)
    try:
        stats = await backend.stats()
        return {
            "place": shown_place(backend, place),
            "store": store,
            "keys": stats.keys,
            "size_bytes": stats.size_bytes,
        }
    finally:
        await backend.aclose()


@operation("storage.copy")
async def storage_copy(
    services: Services,
    context: ExecutionContext,
    *,
    source: str,
    target: str,
    store: str = "state",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Copy a store from one back end to another, and compare the two."""
    began = time.perf_counter()
    read = open_place(source, services, store=store)
    written = open_place(target, services, store=store)
    places = shown_place(read, source), shown_place(written, target)
    try:
        if places[0] == places[1]:
            raise ValidationError(f"source and target are the same: {places[0]}", field="target")

        def tell(done: int, total: int) -> None:
            bus = services.peek("events")
            if bus is not None and bus.listening:
                facts = {"operation": "storage.copy", "done": done, "total": total, "unit": "keys"}
                bus.publish(PROGRESS, facts, context)

        report = await copy_store(read, written, overwrite=overwrite, progress=tell)
    finally:
        await read.aclose()
        await written.aclose()
    return {
        "source": places[0],
        "target": places[1],
        "store": store,
        "keys": report.keys,
        "size_bytes": report.size_bytes,
        "sha256": report.digest,
        "duration_ms": (time.perf_counter() - began) * 1000,
    }
