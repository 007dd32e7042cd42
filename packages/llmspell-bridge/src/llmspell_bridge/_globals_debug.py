"""The global `Debug`: logging, timing, dumps, stack traces, reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypedDict

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
        """The id that `Debug.record_event` takes."""
        return self.identity

    @attribute
    def name(self) -> str:
        """The name it was started with."""
        return self.title

    def milliseconds(self) -> float:
        """Until now, or until it was stopped."""
        end = self._host.context.monotonic() if self.stopped is None else self.stopped
        return (end - self.started) * 1000

    @exposed()
    def stop(self) -> float | None:
        """End it and return the milliseconds; nil when it was stopped before."""
        if self.stopped is not None:
            return None
        self.stopped = self._host.context.monotonic()
        return self.milliseconds()

    @exposed()
    def lap(self, name: str) -> bool:
        """Note the time so far; false when stopped, and from the 1,001st lap on.

        Args:
            name: What the reports call the lap.
        """
        if self.stopped is not None or len(self.laps) >= _NOTES:
            return False
        self.laps.append((name[:_NAME], self.milliseconds()))
        return True

    @exposed()
    def elapsed(self) -> float | None:
        """The milliseconds so far; nil when stopped."""
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


class DumpOptions(TypedDict, total=False):
    """How a value is described.

    Attributes:
        max_depth: Tables in tables (10).
        indent_size: Spaces for each depth (2).
        max_string_length: Characters of a text (200).
        max_array_elements: Items of a sequence (50).
        max_table_pairs: Fields of a table (50).
        show_types: Whether types are named (true).
        show_addresses: Whether addresses of tables and functions are shown (false).
        compact_mode: Whether all is on one line (false).
    """

    max_depth: int
    indent_size: int
    max_string_length: int
    max_array_elements: int
    max_table_pairs: int
    show_types: bool
    show_addresses: bool
    compact_mode: bool


class TraceOptions(TypedDict, total=False):
    """What a stack trace shows.

    Attributes:
        max_depth: Frames at most (50).
        capture_locals: Whether local variables are shown (false).
        capture_upvalues: Whether variables of enclosing functions are shown (false).
        include_source: Whether file and line are shown (true).
    """

    max_depth: int
    capture_locals: bool
    capture_upvalues: bool
    include_source: bool


@script_global("Debug")
class DebugGlobal:
    """Look at what a script does: messages, timers, dumps, stack traces, memory.

    Messages go into a log of the script, which keeps the latest 1,000, and to Python's `logging`
    as ``llmspell.script.<module>``. Logging never raises.
    """

    def __init__(self, host: ScriptHost) -> None:
        self._host = host
        self._log = log_of(host)
        self._timers: dict[str, Timer] = {}
        self._made = 0
        self._room = CAPTURED_BYTES

    # Messages -----------------------------------------------------------------------------------

    @exposed()
    def log(self, level: str, message: Any = None, module: str = "script") -> None:
        """Log a message on a level given as a word.

        Args:
            level: ``error``, ``warn``, ``info``, ``debug`` or ``trace``; another word is ignored.
            message: Any value; a table is written as JSON.
            module: Where it comes from; filters look at it.
        """
        self._log.write(level, _text(message), module)

    @exposed()
    def trace(self, message: Any = None, module: str = "script") -> None:
        """Log a message on level trace.

        Args:
            message: Any value; a table is written as JSON.
            module: Where it comes from; filters look at it.
        """
        self._log.write("trace", _text(message), module)

    @exposed()
    def debug(self, message: Any = None, module: str = "script") -> None:
        """Log a message on level debug.

        Args:
            message: Any value; a table is written as JSON.
            module: Where it comes from; filters look at it.
        """
        self._log.write("debug", _text(message), module)

    @exposed()
    def info(self, message: Any = None, module: str = "script") -> None:
        """Log a message on level info.

        Args:
            message: Any value; a table is written as JSON.
            module: Where it comes from; filters look at it.
        """
        self._log.write("info", _text(message), module)

    @exposed()
    def warn(self, message: Any = None, module: str = "script") -> None:
        """Log a message on level warn.

        Args:
            message: Any value; a table is written as JSON.
            module: Where it comes from; filters look at it.
        """
        self._log.write("warn", _text(message), module)

    @exposed()
    def error(self, message: Any = None, module: str = "script") -> None:
        """Log a message on level error; it does not raise.

        Args:
            message: Any value; a table is written as JSON.
            module: Where it comes from; filters look at it.
        """
        self._log.write("error", _text(message), module)

    @exposed()
    def log_with_data(
        self, level: str, message: Any = None, data: Any = None, module: str = "script"
    ) -> None:
        """Log a message with data, which becomes the entry's ``metadata``.

        Args:
            level: As for `log`.
            message: Any value; a table is written as JSON.
            data: Any value; functions in it become nil.
            module: Where it comes from; filters look at it.
        """
        self._log.write(level, _text(message), module, _plain(data))

    # Levels and filters -------------------------------------------------------------------------

    @exposed()
    def set_level(self, level: Any) -> bool:
        """Drop messages below a level; false for an unknown word.

        Args:
            level: ``off``, ``error``, ``warn``, ``info``, ``debug`` or ``trace``; at first
                ``info``, or ``debug.level`` of the configuration.
        """
        word = level_of(level) if isinstance(level, str) else None
        if word is None:
            return False
        self._log.level = word
        return True

    @exposed()
    def get_level(self) -> str:
        """The level as a word in upper case."""
        return self._log.level.upper()

    @exposed()
    def set_enabled(self, enabled: bool) -> None:
        """Switch the log on or off."""
        self._log.enabled = enabled

    @exposed()
    def is_enabled(self) -> bool:
        """Whether the log is on."""
        return self._log.enabled

    @exposed()
    def add_module_filter(self, pattern: str, enabled: bool = True) -> None:
        """Add a rule for modules; the latest that matches decides.

        Args:
            pattern: A module's name, in which ``*`` stands for any text.
            enabled: Whether messages of such modules are taken.
        """
        rule = make_filter(pattern, "wildcard", enabled)
        assert rule is not None
        self._log.add(rule)

    @exposed()
    def add_advanced_filter(self, pattern: str, type: str, enabled: bool = True) -> bool:
        """Add a rule for modules of a certain type; false for a bad one.

        A regular expression is searched for in the first 100 characters of a module's name. One
        that might take too long is a bad one: repeated groups, more than three repetitions.

        Args:
            pattern: What the rule's type takes; hierarchical is a module and those below it.
            type: ``exact``, ``wildcard``, ``regex`` or ``hierarchical``.
            enabled: Whether messages of such modules are taken.
        """
        rule = make_filter(pattern, type.lower(), enabled)
        if rule is not None:
            self._log.add(rule)
        return rule is not None

    @exposed()
    def remove_module_filter(self, pattern: str) -> bool:
        """Remove the rules with exactly that pattern; whether there were any."""
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
        """Say whether messages are taken that no rule matches; they are at first."""
        self._log.default_enabled = enabled

    @exposed()
    def get_filter_summary(self) -> dict[str, Any]:
        """The rules: ``{default_enabled, total_rules, rules}``."""
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
        """The latest messages, oldest first: ``{timestamp, level, message, module, metadata?}``.

        Args:
            limit: How many at most; the log keeps 1,000.
        """
        entries = [entry.to_dict() for entry in self._log.entries]
        return (
            entries if limit is None else entries[len(entries) - max(0, limit) :] if limit else []
        )

    @exposed()
    def clear_captured(self) -> None:
        """Forget the messages."""
        self._log.clear()

    # Timing -------------------------------------------------------------------------------------

    @exposed()
    def timer(self, name: str) -> Timer:
        """Start a timer.

        Args:
            name: What the reports call it.
        """
        self._made += 1
        timer = Timer(self._host, name, self._made)
        self._timers[timer.identity] = timer
        if len(self._timers) > _TIMERS:
            oldest = self._timers.pop(next(iter(self._timers)))
            self._room += sum(weight(data) for _, _, data in oldest.events)
        return timer

    @exposed()
    def record_event(self, timer_id: str, name: str, metadata: Any = None) -> bool:
        """Note an event on a timer.

        False for an unknown timer, and when there is no room: a timer keeps 1,000 events, all of
        them together some 8 MB.

        Args:
            timer_id: The timer's ``id``.
            name: What the reports call the event.
            metadata: Any value; functions in it become nil.
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
        """All timers, with laps and events, as text."""
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
        """All timers, with laps and events, as JSON."""
        import json

        report = {
            "timestamp": rfc3339(self._host.context.now()),
            "timers": [timer.to_report() for timer in self._timers.values()],
        }
        return json.dumps(report, ensure_ascii=False)

    @exposed()
    def flame_graph(self) -> str:
        """All timers as folded stacks, a line each: ``script;timer;lap microseconds``."""
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

    # The stack and tables of the language, which each engine reads itself ------------------------

    @exposed(native=True)
    def dump(self, value: Any, label: str | None = None) -> str:
        """Any value described as text, over several lines; prints nothing.

        Args:
            value: Any value; cycles are shown as such.
            label: Stands before it.
        """
        ...

    @exposed(native=True)
    def dump_compact(self, value: Any, label: str | None = None) -> str:
        """Any value described on one line, cut short.

        Args:
            value: Any value; cycles are shown as such.
            label: Stands before it.
        """
        ...

    @exposed(native=True)
    def dump_verbose(self, value: Any, label: str | None = None) -> str:
        """Any value described with more depth, and with addresses.

        Args:
            value: Any value; cycles are shown as such.
            label: Stands before it.
        """
        ...

    @exposed(native=True)
    def dump_with_options(
        self, value: Any, options: DumpOptions | None = None, label: str | None = None
    ) -> str:
        """Any value described as the options say.

        Args:
            value: Any value; cycles are shown as such.
            options: As `dump` where they say nothing.
            label: Stands before it.
        """
        ...

    @exposed(native=True)
    def stack_trace(self, options: TraceOptions | Literal["error", "trace"] | None = None) -> str:
        """The functions that are being executed, innermost first, as text.

        Args:
            options: ``"error"`` shows 20 frames, ``"trace"`` variables too.
        """
        ...

    @exposed(native=True)
    def stack_trace_json(
        self, options: TraceOptions | Literal["error", "trace"] | None = None
    ) -> str:
        """The same as JSON: ``{frames, max_depth, truncated}``.

        Args:
            options: As for `stack_trace`.
        """
        ...

    # Memory -------------------------------------------------------------------------------------

    @exposed()
    def memory_stats(self) -> dict[str, int]:
        """The memory in use: ``{used_bytes, allocated_bytes, resident_bytes, collections}``.

        These are the script's heap, its limit, the memory of the process, and the executions so
        far (each ends with a collection).
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
        """The growth of the heap since each running timer began.

        Returns:
            ``{timestamp_secs, active_trackers, total_memory_delta_bytes, tracker_memory_usage}``
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
