"""What scripts reach of the machine through the standard library, and its rules.

Reads are allowed below the script's directory and the working directory; everything else is up to
the security service. All paths are resolved first, so links lead nowhere else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from llmspell_bridge._source import prepare, rewrite_then
from llmspell_core import (
    ConfigurationError,
    ExecutionContext,
    ScriptExit,
    SecurityError,
    ValidationError,
)

if TYPE_CHECKING:
    from llmspell_bridge._input import ScriptInput
    from llmspell_bridge._output import LineOutput
    from llmspell_core import Services

_LONGEST_PATH = 4096

_CLOCKS: dict[str, Callable[[], Any]] = {
    "os.time": lambda: int(time.time()),
    "os.clock": time.process_time,
}


class Sandbox:
    """The host side of ``io``, ``os`` and ``require`` of one state.

    Args:
        services: For the security service, asked at use.
        context: Gives the context of the execution in progress.
        spawn: Whether processes may be started.
        most_output: Bytes of output that are taken from one.
        ending: Whether the script must end, asked within what takes long.
    """

    def __init__(
        self,
        services: Services,
        context: Callable[[], ExecutionContext],
        *,
        spawn: bool,
        most_output: int,
        output: LineOutput,
        input: ScriptInput,
        ending: Callable[[], bool],
    ) -> None:
        self._services = services
        self._context = context
        self._spawn = spawn
        self._most_output = most_output
        self._output = output
        self._input = input
        self._ending = ending
        self.script_folder: str | None = None

    def functions(self) -> dict[str, Callable[..., Any]]:
        """What ``lua/stdlib.lua`` calls."""
        return {
            "path": self.path,
            "load_source": self.load_source,
            "find_module": self.find_module,
            "getenv": self.getenv,
            "tmpname": self.tmpname,
            "remove": self.remove,
            "rename": self.rename,
            "may_spawn": lambda: self._spawn,
            "run_process": self.run_process,
            "read": self.read,
            "observe": self.observe,
            "exit": self.exit,
            "rewrite": rewrite_then,
            "read_file": self.read_file,
            "write_file": self.write_file,
        }

    def enter(self, script: str | None) -> None:
        """An execution of the file *script* begins."""
        self.script_folder = None if script is None else os.path.dirname(os.path.abspath(script))

    # Paths --------------------------------------------------------------------------------------

    def allowed(self, raw: bytes | str, mode: Literal["read", "write"]) -> str:
        """The real path.

        Raises:
            SecurityError: ``Path not allowed: <path> not in allowlist``.
        """
        path = os.fsdecode(raw)
        if not path or "\0" in path:
            raise ValidationError("a path must not be empty or contain NUL", field="path")
        if len(path) > _LONGEST_PATH:
            raise ValidationError(
                f"a path must not have more than {_LONGEST_PATH} characters", field="path"
            )
        if mode == "read":
            real = os.path.realpath(os.path.expanduser(path))
            for folder in (self.script_folder, os.getcwd()):
                if folder is not None and _inside(real, os.path.realpath(folder)):
                    return real
        try:
            security = self._services.security
        except ConfigurationError:
            raise SecurityError(f"Path not allowed: {path} not in allowlist") from None
        return security.path(path, mode, self._context())

    def path(self, raw: Any, mode: bytes) -> tuple[Any, ...]:
        """`allowed`, as Lua's io functions report: ``nil, message`` for a refusal."""
        if not isinstance(raw, bytes):
            raise ValidationError("a path must be a string", field="path")
        try:
            return (os.fsencode(self.allowed(raw, "write" if mode == b"write" else "read")),)
        except (SecurityError, ValidationError) as error:
            return None, f"Permission denied: {error.message}".encode()

    def load_source(self, raw: Any) -> tuple[Any, ...]:
        """The text of a Lua file, ready to compile, and its name."""
        if not isinstance(raw, bytes):
            raise ValidationError("a path must be a string", field="path")
        shown = os.fsdecode(raw)
        path = self._beside(shown)
        real = self.allowed(path, "read")
        try:
            text = self._context().observe("file.read", real, lambda: _read(real))
        except OSError as error:
            return None, f"cannot open {shown}: {error.strerror}".encode()
        return prepare(text, shown), os.fsencode(shown)

    def _beside(self, path: str) -> str:
        """A relative path that does not exist here may be meant from the script's folder."""
        if self.script_folder is not None and not os.path.isabs(path) and not os.path.exists(path):
            other = os.path.join(self.script_folder, path)
            if os.path.exists(other):
                return other
        return path

    def find_module(self, name: bytes, templates: bytes) -> tuple[Any, ...]:
        """The file of a Lua module by ``package.path``, or nil and where it was looked for."""
        file = os.fsdecode(name).replace(".", os.sep)
        tried: list[str] = []
        if len(file) > _LONGEST_PATH:
            return None, f"\n\tno module has a name of {len(file)} characters".encode()
        for template in os.fsdecode(templates).split(";"):
            if self._ending():
                break
            if not template:
                continue
            candidate = template.replace("?", file)
            places = [candidate]
            if self.script_folder is not None and not os.path.isabs(candidate):
                places.insert(0, os.path.join(self.script_folder, candidate))
            for place in places:
                place = os.path.normpath(place)
                try:
                    self.allowed(place, "read")
                except (SecurityError, ValidationError):
                    # Whether there is such a file is nothing that the script may know.
                    tried.append(f"\n\tPath not allowed: {place} not in allowlist")
                    continue
                if self._is_file(place):
                    return (os.fsencode(place),)
                tried.append(f"\n\tno file '{place}'")
        return None, "".join(tried).encode()

    def _is_file(self, place: str) -> bool:
        return self._context().observe("file.exists", place, lambda: os.path.isfile(place))

    def read_file(self, real: bytes) -> tuple[Any, ...]:
        """The whole content, as recorded, or nil and why not."""
        path = os.fsdecode(real)

        def read() -> dict[str, Any]:
            try:
                return {"content": _read(path)}
            except OSError as error:
                return {"error": error.strerror, "number": error.errno}

        found = self._context().observe("file.read", path, read)
        if "error" in found:
            return None, str(found["error"]).encode(), found["number"]
        return (found["content"],)

    def write_file(self, real: bytes, content: bytes, append: bool) -> tuple[Any, ...]:
        """Write the whole content, once: a replay does not write again."""
        path = os.fsdecode(real)

        def write() -> str | None:
            try:
                with open(path, "ab" if append else "wb") as file:
                    file.write(content)
            except OSError as error:
                return error.strerror
            return None

        request = {"path": path, "content": content, "append": bool(append)}
        failure = self._context().observe("file.write", request, write)
        if failure is not None:
            return None, failure.encode()
        return (True,)

    def remove(self, real: bytes) -> tuple[Any, ...]:
        """``os.remove``."""
        path = os.fsdecode(real)

        def act() -> None:
            if os.path.isdir(path) and not os.path.islink(path):
                os.rmdir(path)
            else:
                os.remove(path)

        return self._change("file.remove", path, path, act)

    def rename(self, real_from: bytes, real_to: bytes) -> tuple[Any, ...]:
        """``os.rename``."""
        old, new = os.fsdecode(real_from), os.fsdecode(real_to)
        return self._change("file.rename", [old, new], old, lambda: os.rename(old, new))

    def _change(
        self, kind: str, request: Any, path: str, act: Callable[[], None]
    ) -> tuple[Any, ...]:
        def produce() -> dict[str, Any] | None:
            try:
                act()
            except OSError as error:
                return {"message": f"{path}: {error.strerror}", "number": error.errno}
            return None

        failure = self._context().observe(kind, request, produce)
        if failure is not None:
            return None, failure["message"].encode(), failure["number"]
        return (True,)

    def run_process(self, command: bytes, capture: bool, given: bytes | None) -> tuple[Any, ...]:
        """``os.execute`` and ``io.popen``: output (if captured), ``exit`` or ``signal``, code.

        The process ends when the execution is cancelled or its time is over.
        """
        context = self._context()
        from llmspell_bridge._process import run_process

        request = {"command": command, "input": given}
        found = context.observe(
            "process.run",
            request,
            lambda: run_process(
                command, given, context, capture=bool(capture), limit=self._most_output
            ),
        )
        return found["output"], found["how"].encode(), found["code"]

    # The rest of os and io ----------------------------------------------------------------------

    def getenv(self, name: Any) -> bytes | None:
        """``os.getenv``."""
        if not isinstance(name, bytes):
            raise ValidationError("os.getenv takes a string", field="name")
        value = self._context().environ(os.fsdecode(name))
        return None if value is None else os.fsencode(value)

    def tmpname(self) -> bytes:
        """A name in the temporary directory; nothing is created."""
        import tempfile

        name = self._context().new_id("lua_")
        return os.fsencode(os.path.join(tempfile.gettempdir(), name))

    def observe(self, kind: bytes) -> Any:
        """A clock, as recorded."""
        name = kind.decode()
        return self._context().observe(name, None, _CLOCKS[name])

    def exit(self, code: Any) -> Any:
        """``os.exit``: ends the execution."""
        if code is None or code is True:
            number = 0
        elif code is False:
            number = 1
        elif isinstance(code, int) or (isinstance(code, float) and code.is_integer()):
            number = int(code)
        else:
            raise ValidationError("os.exit takes a number or a boolean", field="code")
        raise ScriptExit(number)

    def read(self, what: Any) -> Any:
        """``io.read`` of one format, from the client's input."""
        self._output.flush()
        return self._input.read(what)


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
