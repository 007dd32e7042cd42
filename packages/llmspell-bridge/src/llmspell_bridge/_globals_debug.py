"""The global `Debug`: logging, timing, reports. Dumps and stack traces come with the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmspell_bridge._log import (
    CAPTURED_BYTES,
    level_of,
    log_of,
    make_filter,
    rfc3339,
    weight,
)
from llmspell_core import (
    ScriptFunction,
    ScriptHost,
    attribute,
    exposed,
    script_global,
    script_object,
)


def _plain(value: Any) -> Any:
    """Data of a message: what no log can hold becomes nil."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list):
        return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, ScriptFunction):
        return f"function: {value.where}"
    if isinstance(value, dict | list):
        import json

        return json.dumps(_plain(value), ensure_ascii=False)
    return str(value)


@script_object("Timer")
class Timer:
    """Measures how long something takes, on the monotonic clock."""

    def __init__(self, host: ScriptHost, title: str, number: int) -> None:
        self._host = host
        self.title = title[:_NAME]
        self.identity = f"timer_{number}"
        self.started = host.context.monotonic()
        self.stopped: float | None = None
        self.laps: list[tuple[str, float]] = []
        self.events: list[tuple[str, float, Any]] = []
        self.heap = heap_of(host)[0]

    @attribute
    def id(self) -> str:
        """For `Debug.recordEvent`."""
        return self.identity

    @attribute
    def name(self) -> str:
        """Its name."""
        return self.title

    def milliseconds(self) -> float:
        """Until now, or until it was stopped."""
        end = self._host.context.monotonic() if self.stopped is None else self.stopped
        return (end - self.started) * 1000

    @exposed()
    def stop(self) -> float | None:
        """End it; the milliseconds, nil when it was stopped before."""
        if self.stopped is not None:
            return None
        self.stopped = self._host.context.monotonic()
        return self.milliseconds()

    @exposed()
    def lap(self, name: str) -> bool:
        """Note the time so far under *name*; false when stopped, and from the 1,001st lap on."""
        if self.stopped is not None or len(self.laps) >= _NOTES:
            return False
        self.laps.append((name[:_NAME], self.milliseconds()))
        return True

    @exposed()
    def elapsed(self) -> float | None:
        """The milliseconds so far, nil when stopped."""
        return None if self.stopped is not None else self.milliseconds()

    def to_report(self) -> dict[str, Any]:
        """For the reports."""
        return {
            "id": self.identity,
            "name": self.title,
            "duration_ms": self.milliseconds(),
            "running": self.stopped is None,
            "laps": [{"name": name, "elapsed_ms": ms} for name, ms in self.laps],
            "events": [
                {"name": name, "elapsed_ms": ms, "metadata": data} for name, ms, data in self.events
            ],
        }


_TIMERS = 1000
"""How many timers the reports remember."""
_NOTES = 1000
"""How many laps, and how many events, one keeps."""
_NAME = 200
"""Characters of a name that are kept."""


@script_global("Debug")
class DebugGlobal:
    """Look at what a script does."""

    def __init__(self, host: ScriptHost) -> None:
        self._host = host
        self._log = log_of(host)
        self._timers: dict[str, Timer] = {}
        self._made = 0
        self._room = CAPTURED_BYTES

    # Messages -----------------------------------------------------------------------------------

    @exposed()
    def log(self, level: str, message: Any = None, module: str = "script") -> None:
        """Log on a level given as a word; an unknown word is ignored."""
        self._log.write(level, _text(message), module)

    @exposed()
    def trace(self, message: Any = None, module: str = "script") -> None:
        """Log on level trace."""
        self._log.write("trace", _text(message), module)

    @exposed()
    def debug(self, message: Any = None, module: str = "script") -> None:
        """Log on level debug."""
        self._log.write("debug", _text(message), module)

    @exposed()
    def info(self, message: Any = None, module: str = "script") -> None:
        """Log on level info."""
        self._log.write("info", _text(message), module)

    @exposed()
    def warn(self, message: Any = None, module: str = "script") -> None:
        """Log on level warn."""
        self._log.write("warn", _text(message), module)

    @exposed()
    def error(self, message: Any = None, module: str = "script") -> None:
        """Log on level error; does not raise."""
        self._log.write("error", _text(message), module)

    @exposed()
    def log_with_data(
        self, level: str, message: Any = None, data: Any = None, module: str = "script"
    ) -> None:
        """Log with *data* as the entry's metadata."""
        self._log.write(level, _text(message), module, _plain(data))

    # Levels and filters -------------------------------------------------------------------------

    @exposed()
    def set_level(self, level: Any) -> bool:
        """Drop messages below *level*; false for an unknown word."""
        word = level_of(level) if isinstance(level, str) else None
        if word is None:
            return False
        self._log.level = word
        return True

    @exposed()
    def get_level(self) -> str:
        """The level word, upper case."""
        return self._log.level.upper()

    @exposed()
    def set_enabled(self, enabled: bool) -> None:
        """Switch the log on or off."""
        self._log.enabled = enabled

    @exposed()
    def is_enabled(self) -> bool:
        """Whether it is on."""
        return self._log.enabled

    @exposed()
    def add_module_filter(self, pattern: str, enabled: bool = True) -> None:
        """A rule for modules, ``*`` for any text; the latest that matches decides."""
        rule = make_filter(pattern, "wildcard", enabled)
        assert rule is not None
        self._log.add(rule)

    @exposed()
    def add_advanced_filter(self, pattern: str, type: str, enabled: bool = True) -> bool:
        """A rule of type exact, wildcard, regex or hierarchical; false for a bad one.

        A regular expression is searched for in the first 100 characters of a module's name. One
        that might take too long is a bad one: repeated groups, more than three repetitions.
        """
        rule = make_filter(pattern, type.lower(), enabled)
        if rule is not None:
            self._log.add(rule)
        return rule is not None

    @exposed()
    def remove_module_filter(self, pattern: str) -> bool:
        """Remove the rules with that pattern; whether there were any."""
        kept = [rule for rule in self._log.filters if rule.pattern != pattern]
        removed = len(kept) < len(self._log.filters)
        self._log.filters = kept
        return removed

    @exposed()
    def clear_module_filters(self) -> None:
        """Remove all rules."""
        self._log.filters = []

    @exposed()
    def set_default_filter_enabled(self, enabled: bool) -> None:
        """Whether messages that no rule matches are taken."""
        self._log.default_enabled = enabled

    @exposed()
    def get_filter_summary(self) -> dict[str, Any]:
        """``{default_enabled, total_rules, rules}``."""
        return {
            "default_enabled": self._log.default_enabled,
            "total_rules": len(self._log.filters),
            "rules": [
                {"pattern": rule.pattern, "pattern_type": rule.kind, "enabled": rule.enabled}
                for rule in self._log.filters
            ],
        }

    @exposed()
    def get_captured_entries(self, limit: int | None = None) -> list[dict[str, Any]]:
        """The latest entries, oldest first; the log keeps 1,000."""
        entries = [entry.to_dict() for entry in self._log.entries]
        return (
            entries if limit is None else entries[len(entries) - max(0, limit) :] if limit else []
        )

    @exposed()
    def clear_captured(self) -> None:
        """Forget the entries."""
        self._log.clear()

    # Timing -------------------------------------------------------------------------------------

    @exposed()
    def timer(self, name: str) -> Timer:
        """Start a timer."""
        self._made += 1
        timer = Timer(self._host, name, self._made)
        self._timers[timer.identity] = timer
        if len(self._timers) > _TIMERS:
            oldest = self._timers.pop(next(iter(self._timers)))
            self._room += sum(weight(data) for _, _, data in oldest.events)
        return timer

    @exposed()
    def record_event(self, timer_id: str, name: str, metadata: Any = None) -> bool:
        """Note an event on a timer; false for an unknown timer, and when there is no room: a timer
        keeps 1,000 events, all of them together some 8 MB.
        """
        timer = self._timers.get(timer_id)
        data = _plain(metadata)
        room = self._room - weight(data)
        if timer is None or len(timer.events) >= _NOTES or room < 0:
            return False
        self._room = room
        timer.events.append((name[:_NAME], timer.milliseconds(), data))
        return True

    @exposed()
    def performance_report(self) -> str:
        """The timers as text."""
        lines = ["Performance report:"]
        for timer in self._timers.values():
            running = " (running)" if timer.stopped is None else ""
            lines.append(f"  {timer.title}: {timer.milliseconds():.3f} ms{running}")
            lines += [f"    lap {name}: {ms:.3f} ms" for name, ms in timer.laps]
            lines += [f"    event {name}: {ms:.3f} ms" for name, ms, _ in timer.events]
        if len(lines) == 1:
            lines.append("  no timers")
        return "\n".join(lines)

    @exposed()
    def json_report(self) -> str:
        """The timers with laps and events as JSON."""
        import json

        report = {
            "timestamp": rfc3339(self._host.context.now()),
            "timers": [timer.to_report() for timer in self._timers.values()],
        }
        return json.dumps(report, ensure_ascii=False)

    @exposed()
    def flame_graph(self) -> str:
        """The timers as folded stacks: ``script;timer;lap microseconds``."""
        lines: list[str] = []
        for timer in self._timers.values():
            frame = f"script;{timer.title.replace(';', ':').replace(' ', '_')}"
            before = 0.0
            for name, ms in timer.laps:
                label = name.replace(";", ":").replace(" ", "_")
                lines.append(f"{frame};{label} {round((ms - before) * 1000)}")
                before = ms
            lines.append(f"{frame} {round((timer.milliseconds() - before) * 1000)}")
        return "\n".join(lines)

    # Memory -------------------------------------------------------------------------------------

    @exposed()
    def memory_stats(self) -> dict[str, int]:
        """``{used_bytes, allocated_bytes, resident_bytes, collections}``: the script's heap, its
        limit, the memory of the process, executions so far (each ends with a collection).
        """
        used, limit, collections = heap_of(self._host)
        return {
            "used_bytes": used,
            "allocated_bytes": limit,
            "resident_bytes": _resident_bytes(),
            "collections": collections,
        }

    @exposed()
    def memory_snapshot(self) -> dict[str, Any]:
        """``{timestamp_secs, active_trackers, total_memory_delta_bytes,
        tracker_memory_usage}``: the heap's growth since each running timer began.
        """
        used = heap_of(self._host)[0]
        usage = {
            timer.title: {
                "start_bytes": timer.heap,
                "end_bytes": used,
                "delta_bytes": used - timer.heap,
            }
            for timer in self._timers.values()
            if timer.stopped is None
        }
        return {
            "timestamp_secs": int(self._host.context.now()),
            "active_trackers": len(usage),
            "total_memory_delta_bytes": sum(item["delta_bytes"] for item in usage.values()),
            "tracker_memory_usage": usage,
        }


def heap_of(host: ScriptHost) -> tuple[int, int, int]:
    """Bytes used, limit, collections of the engine's heap; zeros where it cannot tell."""
    heap: Callable[[], tuple[int, int, int]] | None = getattr(host, "heap", None)
    return (0, 0, 0) if heap is None else heap()


def _resident_bytes() -> int:
    import os

    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
