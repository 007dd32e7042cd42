"""`SecurityService`: the policy that scripts and tools ask before they touch anything."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

from llmspell_core import ConfigurationError, Security, SecurityError, SecurityLevel, nearest
from llmspell_security._config import RuntimeSecurityConfig
from llmspell_security._paths import absolute, real_folders, real_path, within

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services

_OLD_LEVELS = {"moderate": "restricted", "dangerous": "privileged"}
_OWN_FILES = (".db", ".db-wal", ".db-shm", ".db-journal", ".hnsw")


def level_of(text: str, where: str) -> SecurityLevel:
    """The level named *text*, in any case; ``moderate`` and ``dangerous`` are old names.

    Raises:
        ConfigurationError: for another word; *where* names the setting.
    """
    word = str(text).strip().lower()
    try:
        return SecurityLevel(_OLD_LEVELS.get(word, word))
    except ValueError:
        known = [level.value for level in SecurityLevel]
        close = nearest(word, known)
        raise ConfigurationError(
            f"'{where}' must be one of {', '.join(known)}, not '{text}'",
            hint=f"Did you mean '{close}'?" if close else None,
        ) from None


class SecurityService(Security):
    """The built-in policy, read from the configuration.

    *Paths.* Reading is allowed in ``tools.file_operations.allowed_paths`` (default ``/tmp``;
    ``*`` is everywhere), in the working directory and in the directory of the script
    (``context.data["script_dir"]``); writing in the allowed paths only. What counts is the real
    path, with every symbolic link resolved, compared by components. With
    ``runtime.security.allow_file_access`` scripts, though not tools, go anywhere. The databases
    and indexes that these services keep in their data directory are out of reach unless that
    switch is on.

    *Tools.* A tool whose level is above ``tools.security.max_level``, or above
    ``tools.permissions.<tool>``, does not run.
    """

    def __init__(self, services: Services) -> None:
        self._config = services.config
        self._folders: tuple[int, tuple[str, ...]] | None = None

    @property
    def settings(self) -> RuntimeSecurityConfig:
        """The section ``[runtime.security]``."""
        return self._config.section("runtime.security", RuntimeSecurityConfig)

    @property
    def allowed_paths(self) -> tuple[str, ...]:
        """The real paths of ``tools.file_operations.allowed_paths``."""
        version = self._config.version
        if self._folders is None or self._folders[0] != version:
            self._folders = version, self._read_folders()
        return self._folders[1]

    def _read_folders(self) -> tuple[str, ...]:
        value = self._config.get("tools.file_operations.allowed_paths")
        if value is None:
            value = ["/tmp"]  # noqa: S108 - the documented default
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        if not isinstance(value, Sequence):
            raise ConfigurationError(
                "'tools.file_operations.allowed_paths' must be a list of directories",
                hint='Write it as allowed_paths = ["/tmp"].',
            )
        return real_folders(map(str, cast("Sequence[Any]", value)))

    def path(
        self,
        path: str,
        mode: Literal["read", "write"],
        context: ExecutionContext,
        *,
        caller: Literal["script", "tool"] = "script",
    ) -> str:
        """See `Security.path`. Costs a few system calls, for the symbolic links.

        What is returned has no symbolic link in it at that moment; who opens it refuses to
        follow one that was put there since.
        """
        working = os.getcwd()
        plain = absolute(path, working)
        real = real_path(plain, path)
        if caller == "script" and self.settings.allow_file_access:
            return real
        if self._is_own(real):
            raise self._denied(path, real, mode, "it belongs to the data of LLMSpell itself")
        if within(real, self.allowed_paths):
            return real
        if mode == "read":
            script = context.data.get("script_dir")
            places = [working, script] if isinstance(script, str) and script else [working]
            if within(real, real_folders(places)):
                return real
        raise self._denied(path, real, mode, "Path not in allowed list")

    def _is_own(self, real: str) -> bool:
        return real.endswith(_OWN_FILES) and os.path.dirname(real) == self._data

    @cached_property
    def _data(self) -> str:
        return os.path.realpath(self._config.home)

    def _denied(self, path: str, real: str, mode: str, why: str) -> SecurityError:
        climbs = ".." in path.split("/")
        also = ". Path traversal detected" if climbs else ""
        allowed = ", ".join(self.allowed_paths) or "nothing"
        return SecurityError(
            f"Path not allowed: {path} not in allowlist (File access violation: {why}{also})",
            violation_type="path_traversal" if climbs else f"file_{mode}",
            permission_required=f"file:{mode}",
            hint=f"Allowed: {allowed}. Add its directory to [tools.file_operations] allowed_paths"
            " in llmspell.toml.",
            details={"path": path, "real_path": real, "mode": mode},
        )

    def tool(self, name: str, level: str) -> None:
        """See `Security.tool`."""
        if level in self._passing and not self._permissions:
            return
        limit, key = self._maximum, "tools.security.max_level"
        own = self._permissions.get(name.lower().replace("-", "_"))
        if own is not None and not own.allows(limit):
            limit, key = own, f"tools.permissions.{name}"
        if not limit.allows(level_of(level, f"level of {name}")):
            raise SecurityError(
                f"Tool '{name}' requires security level {level}, which exceeds maximum allowed "
                f"level {limit.value}",
                violation_type="security_level",
                permission_required=level,
                hint=f"Raise {key} in llmspell.toml if the tool should run.",
                details={"tool": name, "required": level, "granted": limit.value},
            )

    @cached_property
    def _maximum(self) -> SecurityLevel:
        text = self._config.get("tools.security.max_level", "privileged")
        return level_of(text, "tools.security.max_level")

    @cached_property
    def _passing(self) -> frozenset[str]:
        return frozenset(level.value for level in SecurityLevel if self._maximum.allows(level))

    @cached_property
    def _permissions(self) -> dict[str, SecurityLevel]:
        table = self._config.get("tools.permissions", {})
        if not isinstance(table, Mapping):
            raise ConfigurationError("'tools.permissions' must be a table of levels by tool")
        return {
            str(name).lower().replace("-", "_"): level_of(text, f"tools.permissions.{name}")
            for name, text in cast("Mapping[str, Any]", table).items()
        }
