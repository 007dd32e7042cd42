"""The tool ``file_watcher``."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import (
    EffectClass,
    LLMSpellError,
    NotFoundError,
    Parameter,
    ResourceLimitError,
    SecurityError,
    ToolResult,
    ToolSchema,
    ValidationError,
)
from llmspell_tools._operation_tool import (
    OperationTool,
    built_in,
    described,
    operation_parameter,
)
from llmspell_tools._threads import in_thread
from llmspell_tools.filesystem._answers import real_path
from llmspell_tools.filesystem._file_rules import file_rules
from llmspell_tools.filesystem._listing import moment_of

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_tools.filesystem._watching import Change, Root, Watch

MOST_EVENTS = 1000
TIMEOUT_SECONDS = 300
LONGEST_SECONDS = 3600
DEBOUNCE_MS = 100
MOST_PATHS = 100
MOST_BACKGROUND = 50
FORGOTTEN_AFTER = 3600.0
"""Seconds after which a watcher ends that nobody asks for its changes."""

_KINDS = {"Create": "create", "Modify": "modify", "Delete": "delete"}


@dataclass(slots=True)
class _Background:
    """A watcher that goes on after the call that began it."""

    id: str
    owner: tuple[str | None, str | None]
    paths: list[str]
    most: int
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    dropped: int = 0
    failure: LLMSpellError | None = None
    asked: float = field(default_factory=time.monotonic)
    task: asyncio.Task[None] | None = None

    def add(self, events: list[dict[str, Any]]) -> None:
        room = max(0, self.most - len(self.events))
        self.events.extend(events[:room])
        self.dropped += len(events[room:])


@built_in("file_watcher")
class FileWatcher(OperationTool):
    """What is created, modified, deleted and renamed below some paths.

    `watch` waits for the first events and returns once it has been quiet again; in the
    background it returns at once, and `get_changes` collects. Directories are looked at again and
    again, at most a tenth of the time; links are not followed. A background watcher belongs to
    the session (and tenant) that began it, ends with these services, and when nobody asks for an
    hour.
    """

    operations = {  # noqa: RUF012 - a ClassVar by its base
        "watch": (),
        "config": ("get_config",),
        "unwatch": ("stop",),
        "get_changes": ("changes", "get_events"),
    }
    default_operation = "watch"
    unknown_operation = "Unknown watcher operation"
    effect_class = EffectClass.IDEMPOTENT
    timeout_seconds = LONGEST_SECONDS + 60.0

    def __init__(self) -> None:
        self._background: dict[str, _Background] = {}

    @property
    def schema(self) -> ToolSchema:
        """The parameters."""
        entry = described("file_watcher")
        return ToolSchema(
            entry.name,
            entry.description,
            (
                operation_parameter(type(self), default="watch"),
                Parameter("input", "array", "Paths to watch", items="string", aliases=("paths",)),
                Parameter("path", "string", "One path; without a time-out, in the background"),
                Parameter("recursive", "boolean", "What lies below them too", default=True),
                Parameter("pattern", "string", "Only names that match this glob"),
                Parameter(
                    "debounce_ms",
                    "integer",
                    "How long it must be quiet after an event",
                    default=DEBOUNCE_MS,
                    minimum=1,
                    maximum=60_000,
                ),
                Parameter(
                    "timeout_seconds",
                    "number",
                    f"How long to wait for events; {TIMEOUT_SECONDS} without it",
                    minimum=0,
                    maximum=LONGEST_SECONDS,
                    aliases=("timeout", "duration"),
                ),
                Parameter("timeout_ms", "number", "The same in milliseconds", minimum=0),
                Parameter(
                    "max_events",
                    "integer",
                    "Return after so many",
                    default=MOST_EVENTS,
                    minimum=1,
                    maximum=MOST_EVENTS * 10,
                ),
                Parameter("background", "boolean", "Return at once", default=False),
                Parameter("watch_id", "string", "unwatch, get_changes: which watcher"),
            ),
            "object",
        )

    def effect_of(self, parameters: Mapping[str, Any]) -> EffectClass:
        """Watching may be done again, but not taken from a cache."""
        return EffectClass.PURE if parameters.get("operation") == "config" else self.effect_class

    def read_only_of(self, parameters: Mapping[str, Any]) -> bool:
        """Always: nothing is changed by being looked at."""
        return True

    async def aclose(self) -> None:
        """End the watchers in the background."""
        watchers, self._background = list(self._background.values()), {}
        tasks = [watcher.task for watcher in watchers if watcher.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Operations ----------------------------------------------------------------------------

    async def do_watch(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{events[{event_type, path, old_path, timestamp}], event_count}``, or ``{watch_id}``."""
        seconds = _seconds(parameters)
        alone = "path" in parameters and "input" not in parameters
        watch, paths = _watch(parameters, context)
        debounce = parameters.get("debounce_ms", DEBOUNCE_MS) / 1000
        most = parameters.get("max_events", MOST_EVENTS)
        await in_thread(lambda stop: watch.begin(stop.check))
        if parameters.get("background") or (alone and seconds is None):
            return self._begin(watch, paths, debounce, most, context)
        wait = float(TIMEOUT_SECONDS) if seconds is None else seconds
        events = await _events(watch, wait, debounce, most, context)
        return _answer("watch", {"events": events, "event_count": len(events)}, events)

    async def do_config(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{max_events, default_timeout, default_debounce_ms, max_paths}``."""
        return ToolResult(
            operation="config",
            message="The limits of the watcher",
            result={
                "max_events": MOST_EVENTS,
                "default_timeout": TIMEOUT_SECONDS,
                "default_debounce_ms": DEBOUNCE_MS,
                "max_paths": MOST_PATHS,
            },
        )

    async def do_get_changes(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{watch_id, changes[{path, kind}], events, dropped}`` since the last time."""
        watcher = self._found(parameters, context)
        watcher.asked = time.monotonic()
        events, watcher.events = watcher.events, []
        dropped, watcher.dropped = watcher.dropped, 0
        if watcher.failure is not None and not events:
            self._background.pop(watcher.id, None)
            raise watcher.failure
        result = {
            "watch_id": watcher.id,
            "changes": [change for event in events for change in _plain(event)],
            "events": events,
            "event_count": len(events),
            "dropped": dropped,
        }
        return _answer("get_changes", result, events)

    async def do_unwatch(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{watch_id, stopped}``."""
        watcher = self._found(parameters, context)
        self._background.pop(watcher.id, None)
        assert watcher.task is not None
        watcher.task.cancel()
        await asyncio.gather(watcher.task, return_exceptions=True)
        return ToolResult(
            operation="unwatch",
            message=f"Stopped watching {', '.join(watcher.paths)}",
            result={"watch_id": watcher.id, "stopped": True},
            value=watcher.id,
        )

    # In the background ---------------------------------------------------------------------

    def _begin(
        self, watch: Watch, paths: list[str], debounce: float, most: int, context: ExecutionContext
    ) -> ToolResult:
        if len(self._background) >= MOST_BACKGROUND:
            raise ResourceLimitError(
                "watchers in the background",
                limit=MOST_BACKGROUND,
                used=MOST_BACKGROUND,
                hint="End one with operation = 'unwatch'.",
            )
        watcher = _Background(context.new_id("watch-"), _owner(context), paths, most)
        watcher.task = asyncio.ensure_future(_go_on(watcher, watch, debounce))
        watcher.task.add_done_callback(lambda task: self._ended(watcher))
        self._background[watcher.id] = watcher
        return ToolResult(
            operation="watch",
            message=f"Watching {', '.join(paths)}",
            result={"watch_id": watcher.id, "paths": paths},
            value=watcher.id,
        )

    def _ended(self, watcher: _Background) -> None:
        if watcher.failure is None:
            self._background.pop(watcher.id, None)

    def _found(self, parameters: dict[str, Any], context: ExecutionContext) -> _Background:
        wanted, path = parameters.get("watch_id"), parameters.get("path")
        if wanted is None and path is None:
            raise ValidationError(
                "Missing required parameter 'watch_id', or 'path' of what is watched",
                field="watch_id",
                code="MISSING_REQUIRED",
            )
        for watcher in self._background.values():
            named = watcher.id == wanted if wanted is not None else path in watcher.paths
            if named and watcher.owner == _owner(context):
                return watcher
        raise NotFoundError(
            f"No watcher '{wanted if wanted is not None else path}' is at work",
            hint="Begin one with operation = 'watch' and background = true.",
        )


def _owner(context: ExecutionContext) -> tuple[str | None, str | None]:
    return context.tenant, context.session_id


async def _go_on(watcher: _Background, watch: Watch, debounce: float) -> None:
    while time.monotonic() - watcher.asked < FORGOTTEN_AFTER:
        await asyncio.sleep(max(debounce, watch.pause))
        try:
            found = await in_thread(lambda stop: watch.changes(stop.check))
        except LLMSpellError as error:
            watcher.failure = error
            return
        now = moment_of(time.time())
        watcher.add([_event(change, now) for change in found])


async def _events(
    watch: Watch, seconds: float, debounce: float, most: int, context: ExecutionContext
) -> list[dict[str, Any]]:
    """What happens, until it is quiet again after the first event, or the time is up."""
    events: list[dict[str, Any]] = []
    end = time.monotonic() + seconds
    quiet_since = end
    while True:
        now = time.monotonic()
        if now >= end or (events and now - quiet_since >= debounce):
            return events
        await asyncio.sleep(min(max(debounce / 2, watch.pause), end - now))
        found = await in_thread(lambda stop: watch.changes(stop.check))
        if not found:
            continue
        moment = moment_of(context.now())
        quiet_since = time.monotonic()
        known = {event["path"] for event in events}
        # Who writes a file for a while modifies it once.
        events.extend(
            _event(change, moment)
            for change in found
            if change.event_type != "Modify" or change.path not in known
        )
        if len(events) >= most:
            return events[:most]


def _event(change: Change, moment: str) -> dict[str, Any]:
    return {
        "event_type": change.event_type,
        "path": change.path,
        "old_path": change.old_path,
        "timestamp": moment,
    }


def _plain(event: dict[str, Any]) -> list[dict[str, str]]:
    kind = _KINDS.get(event["event_type"])
    if kind is not None:
        return [{"path": event["path"], "kind": kind}]
    return [
        {"path": event["old_path"], "kind": "delete"},
        {"path": event["path"], "kind": "create"},
    ]


def _answer(operation: str, result: dict[str, Any], events: list[dict[str, Any]]) -> ToolResult:
    return ToolResult(
        operation=operation,
        message=f"Captured {len(events)} file events",
        result=result,
        value=events,
        metadata={"count": len(events)},
    )


# Parameters ----------------------------------------------------------------------------------


def _seconds(parameters: dict[str, Any]) -> float | None:
    if "timeout_seconds" in parameters:
        return float(parameters["timeout_seconds"])
    if "timeout_ms" in parameters:
        return float(min(math.ceil(parameters["timeout_ms"] / 1000), LONGEST_SECONDS))
    return None


def _watch(parameters: dict[str, Any], context: ExecutionContext) -> tuple[Watch, list[str]]:
    from llmspell_tools.filesystem._patterns import Patterns
    from llmspell_tools.filesystem._watching import Watch

    given: Any = parameters.get("input")
    paths = cast("list[str]", given) if given is not None else [parameters.get("path")]
    if not paths or paths == [None]:
        raise ValidationError(
            "Missing required array parameter 'input': the paths to watch",
            field="input",
            code="MISSING_REQUIRED",
        )
    if len(paths) > MOST_PATHS:
        raise ValidationError(
            f"Too many paths to watch: {len(paths)}, at most {MOST_PATHS}", field="input"
        )
    pattern = parameters.get("pattern")
    patterns = Patterns([] if pattern is None else [pattern])
    roots = [_root(str(path), context) for path in paths]
    recursive = parameters.get("recursive", True)
    depth = file_rules(context).max_depth
    return Watch(roots, patterns, recursive=recursive, depth=depth), [r.shown for r in roots]


def _root(path: str, context: ExecutionContext) -> Root:
    from llmspell_tools.filesystem._watching import Root

    try:
        real = real_path(path, "read", context)
    except SecurityError as error:
        error.message = f"Path not allowed by sandbox: {error.message}"
        raise
    if not os.path.lexists(real):
        raise ValidationError(f"Path does not exist: {path}", field="input")
    return Root(path.rstrip("/") if path.strip("/") else "", real)
