"""The executor: what is registered for a point, and in which order it decides."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import CONTINUE, HookExecutor, HookOutcome, ValidationError, new_id
from llmspell_hooks._points import resolve_point

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, PluginIndex, Services
    from llmspell_core._bases import Hook

GROUP = "llmspell.hooks"


@dataclass(frozen=True, slots=True)
class HookInfo:
    """A registered hook. `source` is the distribution of an installed one."""

    id: str
    point: str
    name: str
    priority: int
    source: str | None = None


@dataclass(frozen=True, slots=True)
class _Registered:
    info: HookInfo
    hook: Hook
    order: int


class HookService(HookExecutor):
    """A `HookExecutor`.

    Smaller priorities run first, equal ones in the order they were registered. A hook that says
    ``modified`` changes what the next one sees (mappings are merged); ``cancel``, ``skip`` and
    ``replace`` end the round. A hook that fails, answers something else or does not answer
    within ten times the budget is logged and counts as continue.

    Hooks that are installed (entry-point group ``llmspell.hooks``, named by their point or
    ``<point>.<anything>``) are loaded at the first question; an attribute ``priority`` on the
    function sets theirs.

    Args:
        plugins: What is installed.
        budget_seconds: A hook that takes longer is warned about.
        clock: A monotonic clock for that.
    """

    def __init__(
        self,
        plugins: PluginIndex | None = None,
        *,
        budget_seconds: float = 0.1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._plugins = plugins
        self._budget = budget_seconds
        self._clock = clock
        self._lock = threading.RLock()
        self._points: dict[str, tuple[_Registered, ...]] | None = None
        self._order = 0

    def _table(self) -> dict[str, tuple[_Registered, ...]]:
        with self._lock:
            if self._points is None:
                self._points = {}
                self._load_installed()
            return self._points

    def _load_installed(self) -> None:
        if self._plugins is None:
            return
        for plugin, hook in self._plugins.load_all(GROUP):
            point = plugin.name.partition(".")[0]
            try:
                self._add(
                    resolve_point(point),
                    hook,
                    priority=getattr(hook, "priority", 0),
                    name=plugin.name,
                    source=plugin.distribution,
                )
            except ValidationError as error:
                _log().warning(
                    "hook '%s' of %s is left out: %s",
                    plugin.name,
                    plugin.distribution,
                    error.message,
                )

    def wants(self, point: str) -> bool:
        points = self._points
        if points is None:
            points = self._table()
        return point in points

    def register(self, point: str, hook: Hook, *, priority: int = 0, name: str = "") -> str:
        """Add a hook (smaller priorities run first); returns its id.

        Raises:
            ValidationError: ``Unknown hook point: <point>``, or a hook that cannot be called.
        """
        if not callable(hook):
            raise ValidationError(
                f"a hook must be callable, not {type(hook).__name__}", field="hook"
            )
        self._table()
        return self._add(resolve_point(point), hook, priority=priority, name=name)

    def _add(
        self, point: str, hook: Hook, *, priority: int, name: str, source: str | None = None
    ) -> str:
        with self._lock:
            points = self._points
            assert points is not None
            self._order += 1
            label = name or getattr(hook, "__name__", "") or "unnamed"
            info = HookInfo(new_id(), point, label, priority, source)
            added = (*points.get(point, ()), _Registered(info, hook, self._order))
            points[point] = tuple(sorted(added, key=lambda r: (r.info.priority, r.order)))
            return info.id

    def unregister(self, hook_id: str) -> bool:
        with self._lock:
            points = self._table()
            for point, registered in points.items():
                kept = tuple(r for r in registered if r.info.id != hook_id)
                if len(kept) == len(registered):
                    continue
                if kept:
                    points[point] = kept
                else:
                    del points[point]
                return True
            return False

    def list(self, point: str | None = None) -> list[HookInfo]:
        """What is registered, for one point or for all, in the order it runs.

        Raises:
            ValidationError: for an unknown point.
        """
        points = self._table()
        wanted = sorted(points) if point is None else [resolve_point(point)]
        return [r.info for name in wanted for r in points.get(name, ())]

    async def run(
        self, point: str, data: Mapping[str, Any], context: ExecutionContext
    ) -> HookOutcome:
        current, modified = data, False
        for registered in self._table().get(point, ()):
            outcome = await self._ask(registered, current, context)
            if outcome.action == "modified":
                current, modified = _merged(current, outcome.data), True
            elif outcome.action != "continue":
                return outcome
        return HookOutcome("modified", data=current) if modified else CONTINUE

    async def _ask(
        self, registered: _Registered, data: Mapping[str, Any], context: ExecutionContext
    ) -> HookOutcome:
        import asyncio

        info = registered.info
        started = self._clock()
        limit = asyncio.timeout(self._budget * 10)
        try:
            async with limit:
                outcome = cast("object", await registered.hook(info.point, data, context))
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                _log().warning(
                    "hook '%s' at %s was cut off after %g s",
                    info.name,
                    info.point,
                    self._budget * 10,
                )
            else:
                _log().warning("hook '%s' at %s failed", info.name, info.point, exc_info=True)
            return CONTINUE
        took = self._clock() - started
        if took > self._budget:
            _log().warning(
                "hook '%s' at %s took %.0f ms; its budget is %.0f ms",
                info.name,
                info.point,
                took * 1000,
                self._budget * 1000,
            )
        if outcome is None:
            return CONTINUE
        if isinstance(outcome, HookOutcome):
            return outcome
        _log().warning(
            "hook '%s' at %s answered %s, not a HookOutcome",
            info.name,
            info.point,
            type(outcome).__name__,
        )
        return CONTINUE


def _merged(data: Mapping[str, Any], change: Any) -> Mapping[str, Any]:
    if isinstance(change, Mapping):
        return {**data, **cast("Mapping[str, Any]", change)}
    return {**data, "value": change}


def _log() -> Any:
    import logging

    return logging.getLogger("llmspell.hooks")


def hook_service(services: Services) -> HookService:
    """The factory of the service ``hooks``."""
    return HookService(services.plugins)
