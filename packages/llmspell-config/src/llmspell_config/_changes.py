"""`ConfigChanges`: what scripts change in the settings, what they may, and the way back."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmspell_core import ConfigurationError, NotFoundError, SecurityError, ValidationError

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services

SNAPSHOTS = 10
AUDITED = 1000
MOST_MEMORY = 2**30
_LOCKED = {
    "allow_file_access": "File access",
    "allow_network_access": "Network access",
    "allow_process_spawn": "Process spawn",
}
_PRESETS = ("read_only", "standard", "full")


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """One change: when (Unix seconds), where, and to what; secrets are not in it."""

    timestamp: float
    path: str
    value: Any


class ConfigChanges:
    """The changes of one set of services. Nothing is written to a file.

    The preset ``runtime.security.config_permissions`` says what is allowed: ``read_only``
    nothing; ``standard`` to open folders of the working directory to tools; ``full`` all but the
    three switches that let scripts out, which are as the program was started.

    Args:
        services: Whose configuration it is.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._snapshots: dict[int, Mapping[str, Any]] = {}
        self.audit: deque[ConfigChange] = deque(maxlen=AUDITED)

    @property
    def preset(self) -> str:
        """The permissions in force.

        Raises:
            ConfigurationError: for a preset that does not exist.
        """
        name = self._services.config.get("runtime.security.config_permissions", "standard")
        if name not in _PRESETS:
            raise ConfigurationError(
                f"unknown preset of permissions '{name}'",
                hint=f"Set runtime.security.config_permissions to one of: {', '.join(_PRESETS)}",
            )
        return str(name)

    def permissions(self) -> dict[str, bool]:
        """What scripts may do, by name."""
        full = self.preset == "full"
        return {
            "read": True,
            "modify_providers": full,
            "modify_tools": full or self.preset == "standard",
            "modify_runtime": full,
            "modify_security": full,
            "access_secrets": full,
        }

    def _need(self, permission: str, sentence: str) -> None:
        if not self.permissions()[permission]:
            raise SecurityError(
                f"Permission denied: {sentence}",
                hint="Whoever starts the program may allow it: "
                'runtime.security.config_permissions = "full".',
            )

    async def set_provider(
        self, name: str, settings: Mapping[str, Any], context: ExecutionContext
    ) -> None:
        """Put the table of a provider in place of what there was.

        Raises:
            SecurityError: without permission.
        """
        self._need("modify_providers", "Cannot modify providers without permission")
        if not name or "." in name:
            raise ValidationError(f"'{name}' is no name of a provider", field="name")
        self._services.secrets.add(_text(settings.get("api_key")))
        await self._change(f"providers.{name}", dict(settings), context)

    async def set_security(self, settings: Mapping[str, Any], context: ExecutionContext) -> None:
        """Change the limits of scripts; they hold from the next execution on.

        Raises:
            SecurityError: without permission, and for the three switches.
            ValidationError: for more than 1 GB of memory, or less than a second.
        """
        self._need("modify_security", "Cannot modify security settings without permission")
        current = dict(self._services.config.get("runtime.security", {}))
        for key, value in settings.items():
            if key in _LOCKED and value != current.get(key, key == "allow_network_access"):
                raise SecurityError(
                    f"Permission denied: {_LOCKED[key]} permission is boot-locked and cannot be "
                    "changed",
                    hint=f"Set runtime.security.{key} where the program is started.",
                )
            if key == "config_permissions":
                raise SecurityError("Permission denied: a script cannot change what it may change")
        _within("max_memory_bytes", settings, 1, MOST_MEMORY)
        _within("max_execution_time_ms", settings, 1000, None)
        unknown = set(settings) - {*_LOCKED, "max_memory_bytes", "max_execution_time_ms"}
        if unknown:
            raise ValidationError(
                f"runtime.security has no setting '{min(unknown)}'", field=min(unknown)
            )
        await self._change("runtime.security", {**current, **settings}, context)

    async def add_allowed_path(self, path: str, context: ExecutionContext) -> None:
        """Let tools work in a folder.

        Raises:
            SecurityError: without permission, or for one outside the working directory.
        """
        self._need("modify_tools", "Cannot modify tools without permission")
        if not path.strip() or "\0" in path:
            raise ValidationError("a path to allow cannot be empty or hold NUL", field="path")
        real, inside = _placed(path)
        if not inside and self.preset != "full":
            raise SecurityError(
                f"Permission denied: Cannot modify tools without permission: {path} is outside "
                "the working directory",
                hint="Add it to tools.file_operations.allowed_paths in the configuration.",
            )
        place = "tools.file_operations.allowed_paths"
        current = self._services.config.get(place, ["/tmp"])  # noqa: S108 - the documented default
        folders = current.split(",") if isinstance(current, str) else list(current)
        if real not in folders:
            await self._change(place, [*folders, real], context)

    def snapshot(self, context: ExecutionContext) -> int:
        """Remember the settings; the number that `restore` takes. The last ten are kept."""
        number = max(int(context.now()), max(self._snapshots, default=0) + 1)
        self._snapshots[number] = self._services.config.values
        while len(self._snapshots) > SNAPSHOTS:
            del self._snapshots[min(self._snapshots)]
        return number

    def snapshots(self) -> list[int]:
        """The remembered ones, oldest first."""
        return sorted(self._snapshots)

    async def restore(self, number: int, context: ExecutionContext) -> None:
        """Make remembered settings those in force.

        Raises:
            NotFoundError: ``Snapshot not found: …``.
            SecurityError: without permission.
        """
        self._need("modify_tools", "Insufficient permissions to restore snapshot")
        values = self._snapshots.get(number)
        if values is None:
            raise NotFoundError(f"Snapshot not found: {number}")
        self._services.config.put_back(values)
        await self._tell("*", f"snapshot {number}", context)

    async def _change(self, path: str, value: Any, context: ExecutionContext) -> None:
        self._services.config.change(path, value)
        await self._tell(path, value, context)

    async def _tell(self, path: str, value: Any, context: ExecutionContext) -> None:
        """Note it, and tell whoever listens."""
        from llmspell_config._redaction import redacted

        shown = redacted(value)
        self.audit.append(ConfigChange(context.now(), path, shown))
        logging.getLogger("llmspell.audit").info("a script changed %s to %r", path, shown)
        facts = {"path": path, "value": shown}
        bus = self._services.peek("events")
        if bus is not None and bus.listening:
            bus.publish("config.changed", facts, context)
        hooks = self._services.peek("hooks")
        if hooks is not None and hooks.wants("ConfigurationChange"):
            await hooks.run("ConfigurationChange", facts, context)


def _placed(path: str) -> tuple[str, bool]:
    """The real path, and whether it lies in the working directory."""
    real = os.path.realpath(os.path.expanduser(path))
    working = os.path.realpath(os.getcwd())
    return real, os.path.commonpath([real, working]) == working


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _within(name: str, settings: Mapping[str, Any], least: int, most: int | None) -> None:
    value = settings.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValidationError(f"{name} must be a number", field=name)
    if value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValidationError(f"{name} must be {bounds}, not {value:g}", field=name)
