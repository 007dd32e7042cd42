"""`Invocation`: what was asked for, and the doors a command needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from llmspell_core import PluginIndex

if TYPE_CHECKING:
    from llmspell_core import Config, Event, Services

Format = Literal["text", "json", "pretty"]


class Invocation:
    """One call of the program: the global options, and what is opened for them.

    Attributes:
        arguments: The arguments as they were given.
        config_path: ``--config``.
        profile: ``--profile``.
        use_files: False after ``--no-config``.
        output: The format of results.
        trace: The level of diagnostics that was asked for, or None.
        settings: Settings from options of the command, by dotted key.
        plugins: What is installed.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = list(arguments)
        self.config_path: str | None = None
        self.profile: str | None = None
        self.use_files = True
        self.output: Format = "text"
        self.trace: str | None = None
        self.settings: dict[str, Any] = {}
        self.plugins = PluginIndex()
        self._services: Services | None = None

    def config(self) -> Config:
        """The configuration in force, `settings` included.

        Raises:
            ConfigurationError: naming file, line and key.
        """
        from llmspell_cli._logging import set_up_logging
        from llmspell_config import load

        set_up_logging(self.trace)
        config = load(
            self.config_path,
            profile=self.profile,
            overrides=self.settings,
            use_files=self.use_files,
            plugins=self.plugins,
        )
        level = config.get("runtime.log_level")
        if level is not None and self.trace is None:
            set_up_logging(str(level))
        return config

    def services(self) -> Services:
        """The services, opened with the configuration on the first call and closed at the end."""
        if self._services is None:
            from llmspell_core import Services

            config = self.config()
            prefer = config.get("plugins.prefer")
            # The index knows what is installed already; preferences need another one.
            self._services = Services(config, plugins=None if prefer else self.plugins)
        return self._services

    def call(self, operation: str, **parameters: Any) -> Any:
        """Call an operation and wait for its result.

        Raises:
            LLMSpellError: as documented by the operation.
        """
        from llmspell_core import ExecutionContext, Operations, run_sync

        services = self.services()
        context = ExecutionContext(services)
        return run_sync(Operations(services).call(operation, parameters, context))

    def call_showing_progress(self, operation: str, **parameters: Any) -> Any:
        """As `call`; on a terminal, a line on stderr shows how far the operation is."""
        if not sys.stderr.isatty():
            return self.call(operation, **parameters)

        def show(event: Event) -> None:
            done, total, unit = (event.payload[key] for key in ("done", "total", "unit"))
            write(sys.stderr, f"\r{done} of {total} {unit}\x1b[K")

        bus = self.services().events
        subscription = bus.subscribe("operation.progress", show)
        try:
            return self.call(operation, **parameters)
        finally:
            bus.unsubscribe(subscription)
            write(sys.stderr, "\r\x1b[K")

    def say(self, text: str) -> None:
        """Write *text* and a newline to stdout."""
        write(sys.stdout, text + "\n")

    def note(self, text: str) -> None:
        """Write *text* and a newline to stderr: what is not a result."""
        write(sys.stderr, text + "\n")

    def say_json(self, value: Any, *, indent: int | None = None) -> None:
        """Write *value* as the one JSON document of the command."""
        import json

        compact = None if indent else (",", ":")
        self.say(json.dumps(value, ensure_ascii=False, indent=indent, separators=compact))

    def close(self) -> None:
        """Close the services if they were opened."""
        services, self._services = self._services, None
        if services is not None:
            services.close()


def write(stream: Any, text: str) -> None:
    """Write and flush. Bytes that were no text leave as they came (surrogate escapes); what the
    stream's encoding lacks is escaped.
    """
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "utf-8"
        stream.flush()
        try:
            raw = text.encode(encoding, "surrogateescape")
        except UnicodeEncodeError:
            raw = text.encode(encoding, "backslashreplace")
        stream.buffer.write(raw)
    stream.flush()
