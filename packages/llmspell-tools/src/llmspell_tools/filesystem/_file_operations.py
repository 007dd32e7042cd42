"""The tool ``file_operations``."""

from __future__ import annotations

import errno
import os
import stat
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llmspell_core import (
    EffectClass,
    LLMSpellError,
    Parameter,
    SecurityError,
    StorageError,
    ToolResult,
    ToolSchema,
    ValidationError,
)
from llmspell_tools._files import (
    CHUNK,
    delete_tree,
    open_file,
    open_folder,
    open_in,
    parent_of,
    wrap_os_error,
)
from llmspell_tools._operation_tool import (
    OperationTool,
    built_in,
    described,
    operation_parameter,
)
from llmspell_tools._results import soft_failure
from llmspell_tools._threads import Stop, in_thread
from llmspell_tools.filesystem._answers import done, given, real_path
from llmspell_tools.filesystem._atomic import overwriting, replacing
from llmspell_tools.filesystem._file_rules import (
    bounded,
    check_extension,
    check_size,
    check_type,
    decoded,
    encoding_of,
    file_rules,
)
from llmspell_tools.filesystem._listing import (
    MOST_ENTRIES,
    entries_of,
    metadata_of,
)

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_tools._config import FileOperationsConfig

_EFFECTS: Mapping[str, EffectClass] = {
    "read": EffectClass.PURE,
    "list_dir": EffectClass.PURE,
    "metadata": EffectClass.PURE,
    "exists": EffectClass.PURE,
    "write": EffectClass.IDEMPOTENT,
    "create_dir": EffectClass.IDEMPOTENT,
    "copy": EffectClass.IDEMPOTENT,
    # Done twice, these fail or do more than once; nobody can tell afterwards.
    "append": EffectClass.IRREVERSIBLE,
    "delete": EffectClass.IRREVERSIBLE,
    "move": EffectClass.IRREVERSIBLE,
}
_SOURCES = ("from", "from_path", "source", "path")
_TARGETS = ("to", "to_path", "target", "destination")


@built_in("file_operations")
class FileOperations(OperationTool):
    """Files and directories in the allowed places.

    Paths go through ``services.security``; what it approved is opened component by component,
    without following links. Writes are atomic (``tools.file_operations.atomic_writes``). Sizes
    are bounded by ``max_file_size``, names by the extension lists.
    """

    operations = {  # noqa: RUF012 - a ClassVar by its base
        "read": ("read_file", "get"),
        "write": ("write_file", "save"),
        "append": (),
        "delete": ("remove", "rm"),
        "create_dir": ("mkdir", "create_directory"),
        "list_dir": ("list", "ls", "dir", "list_directory"),
        "copy": ("cp",),
        "move": ("mv", "rename"),
        "metadata": ("stat", "info"),
        "exists": (),
    }
    unknown_operation = "Unknown file operation"
    effect_class = EffectClass.IRREVERSIBLE

    @property
    def schema(self) -> ToolSchema:
        """The parameters."""
        entry = described("file_operations")
        return ToolSchema(
            entry.name,
            entry.description,
            (
                operation_parameter(type(self)),
                Parameter(
                    "path",
                    "string",
                    "The file or directory, for all but copy and move",
                    aliases=("file", "file_path", "filename"),
                ),
                Parameter(
                    "input",
                    "any",
                    "write, append: the content; tables are written as JSON",
                    aliases=("content", "data", "text"),
                ),
                Parameter("source_path", "string", "copy, move: what"),
                Parameter("target_path", "string", "copy, move: to where"),
                Parameter(
                    "recursive",
                    "boolean",
                    "create_dir: missing parents too; list_dir: what is below; "
                    "delete: a directory with all that is in it",
                    default=False,
                ),
                Parameter(
                    "mode",
                    "string",
                    "write: replace the content or add to it",
                    default="overwrite",
                    enum=("overwrite", "append"),
                ),
                Parameter(
                    "encoding",
                    "string",
                    "The text's encoding, or base64 for bytes",
                    default="utf-8",
                ),
            ),
            "object",
        )

    def effect_of(self, parameters: Mapping[str, Any]) -> EffectClass:
        """By the operation."""
        if parameters.get("operation") == "write" and parameters.get("mode") == "append":
            return EffectClass.IRREVERSIBLE
        return _EFFECTS.get(str(parameters.get("operation")), EffectClass.IRREVERSIBLE)

    def destructive_of(self, parameters: Mapping[str, Any]) -> bool:
        """Deleting and moving; writing and copying where something is already."""
        operation = parameters.get("operation")
        if operation in ("delete", "move"):
            return True
        if operation == "write":
            adds = parameters.get("mode") == "append"
            return not adds and _is_there(parameters.get("path"))
        if operation == "copy":
            target, source = parameters.get("target_path"), parameters.get("source_path")
            if isinstance(target, str) and isinstance(source, str):
                target = _into(target, source)
            return _is_there(target)
        return False

    def normalise(self, parameters: dict[str, Any]) -> None:
        """The other names of source and target, which mean something else elsewhere."""
        if parameters.get("operation") in ("copy", "move"):
            for name, others in (("source_path", _SOURCES), ("target_path", _TARGETS)):
                for other in others:
                    if other in parameters:
                        value = parameters.pop(other)
                        parameters.setdefault(name, value)

    # Reading -------------------------------------------------------------------------------

    async def do_read(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """The content is the text; ``{input, content, text, path, size}``."""
        path = _path_of(parameters, "read")
        rules = file_rules(context)
        check_extension(path, rules)
        real = real_path(path, "read", context)
        encoding = encoding_of(parameters)

        def work(stop: Stop) -> tuple[str, int]:
            with wrap_os_error("read", path), open_file(real, os.O_RDONLY) as file:
                content = bounded(file.read(rules.max_file_size + 1), path, rules)
            return decoded(content, encoding, path), len(content)

        content, size = await in_thread(work)
        return ToolResult(
            operation="read",
            message=f"Read {size} bytes from {path}",
            result={
                "input": content,
                "content": content,
                "text": content,
                "path": path,
                "size": size,
            },
            text=content,
            value=content,
            metadata={"file_path": path, "file_size": size},
        )

    async def do_list_dir(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{entries, count}``, at most 1000."""
        path = _path_of(parameters, "list_dir")
        real = real_path(path, "read", context)
        depth = file_rules(context).max_depth if parameters.get("recursive") else 1

        def work(stop: Stop) -> tuple[list[dict[str, Any]], bool]:
            with wrap_os_error("read", path):
                return entries_of(real, path, stop, depth=depth)

        entries, more = await in_thread(work)
        metadata: dict[str, Any] = {"file_path": path, "count": len(entries)}
        if more:
            metadata["truncated"] = True
            metadata["warnings"] = [f"Only the first {MOST_ENTRIES} entries are listed"]
        return done(
            "list_dir",
            f"Found {len(entries)} entries in {path}",
            {"entries": entries, "count": len(entries), "path": path},
            entries,
            metadata,
        )

    async def do_metadata(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{path, type, size, readonly, created, modified, accessed}``."""
        path = _path_of(parameters, "metadata")
        real = real_path(path, "read", context)

        def work(stop: Stop) -> dict[str, Any]:
            with wrap_os_error("read", path), parent_of(real) as (folder, name):
                status = os.stat(name or ".", dir_fd=folder, follow_symlinks=False)
            return metadata_of(status, path)

        found = await in_thread(work)
        about = {"file_path": path, "file_size": found["size"]}
        return done("metadata", f"Retrieved metadata for {path}", found, None, about)

    async def do_exists(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{exists}``."""
        path = _path_of(parameters, "exists")
        real = real_path(path, "read", context)
        exists = await in_thread(lambda stop: os.path.lexists(real))
        words = "exists" if exists else "does not exist"
        return done(
            "exists",
            f"Path {path} {words}",
            {"exists": exists, "path": path},
            exists,
            {"file_path": path},
        )

    # Writing -------------------------------------------------------------------------------

    async def do_write(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{path, size}``; whatever goes wrong is a soft failure with ``error_type``."""
        if parameters.get("mode") == "append":
            return await self.do_append(parameters, context)
        path = _path_of(parameters, "write")
        try:
            content = _content(parameters, "write")
            return await self._written(path, content, context)
        except LLMSpellError as error:
            kind = _soft_kind(error)
            result = {"path": path, "error_type": kind}
            return soft_failure("write", error, result=result, file_path=path)

    async def _written(self, path: str, content: bytes, context: ExecutionContext) -> ToolResult:
        rules = file_rules(context)
        check_extension(path, rules)
        bounded(content, path, rules)
        check_type(content, path, rules)
        real = real_path(path, "write", context)
        opened = replacing if rules.atomic_writes else overwriting

        def work(stop: Stop) -> None:
            with wrap_os_error("write", path), opened(real) as file:
                for start in range(0, len(content), CHUNK):
                    stop.check()
                    file.write(content[start : start + CHUNK])

        await in_thread(work)
        return done(
            "write",
            f"Wrote {len(content)} bytes to {path}",
            {"path": path, "size": len(content)},
            path,
            {"file_path": path, "file_size": len(content)},
        )

    async def do_append(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{appended_size, path}``."""
        path = _path_of(parameters, "append")
        content = _content(parameters, "append")
        rules = file_rules(context)
        check_extension(path, rules)
        real = real_path(path, "write", context)

        def work(stop: Stop) -> int:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            with (
                wrap_os_error("write", path),
                parent_of(real, create=True) as (folder, name),
                open_in(folder, name, flags, path) as file,
            ):
                size = os.fstat(file.fileno()).st_size
                if size == 0:
                    check_type(content, path, rules)
                check_size(size + len(content), path, rules)
                file.write(content)
            return size + len(content)

        size = await in_thread(work)
        return done(
            "append",
            f"Appended {len(content)} bytes to {path}",
            {"appended_size": len(content), "path": path, "size": size},
            path,
            {"file_path": path, "file_size": size},
        )

    async def do_create_dir(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{recursive, path}``; an existing directory is fine."""
        path = _path_of(parameters, "create_dir")
        recursive = bool(parameters.get("recursive", False))
        real = real_path(path, "write", context)

        def work(stop: Stop) -> None:
            with wrap_os_error("write", path):
                if not recursive and not os.path.isdir(os.path.dirname(real)):
                    raise StorageError(
                        f"Parent directory does not exist: {os.path.dirname(path) or '.'}",
                        operation="access",
                        hint="Say recursive = true to make it too.",
                    )
                os.close(open_folder(real, create=True))

        await in_thread(work)
        return done(
            "create_dir",
            f"Created directory: {path}",
            {"recursive": recursive, "path": path},
            path,
            {"file_path": path},
        )

    async def do_delete(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{path}``; directories only with ``recursive``. A link is deleted, not its target."""
        path = _path_of(parameters, "delete")
        real = _real_entry(path, context)
        recursive = bool(parameters.get("recursive", False))

        def work(stop: Stop) -> bool:
            with wrap_os_error("write", path), parent_of(real) as (folder, name):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode):
                    os.unlink(name, dir_fd=folder)
                    return False
                if not recursive:
                    raise ValidationError(
                        f"Cannot delete directory: {path}",
                        field="path",
                        hint="Say recursive = true to delete it with all that is in it.",
                    )
                delete_tree(folder, name, stop.check)
                return True

        was_folder = await in_thread(work)
        kind = "directory" if was_folder else "file"
        return done("delete", f"Deleted {kind}: {path}", {"path": path}, path, {"file_path": path})

    # Moving --------------------------------------------------------------------------------

    async def do_copy(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{source, target, size}``."""
        source, target = _two_paths(parameters, "copy")
        rules = file_rules(context)
        for path in (source, target):
            check_extension(path, rules)
        real = real_path(source, "read", context)
        there = _into(real_path(target, "write", context), source)
        size = await in_thread(lambda stop: _copied(real, there, source, rules, stop))
        return done(
            "copy",
            f"Copied {source} to {target}",
            {"source": source, "target": target, "size": size},
            target,
            {"file_path": target, "file_size": size},
        )

    async def do_move(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{source, target}``; between devices the file is copied, then deleted."""
        source, target = _two_paths(parameters, "move")
        rules = file_rules(context)
        for path in (source, target):
            check_extension(path, rules)
        real = _real_entry(source, context)
        there = _into(real_path(target, "write", context), source)
        await in_thread(lambda stop: _moved(real, there, source, rules, stop))
        return done(
            "move",
            f"Moved {source} to {target}",
            {"source": source, "target": target},
            target,
            {"file_path": target},
        )


# Paths and rules -----------------------------------------------------------------------------


def _real_entry(path: str, context: ExecutionContext) -> str:
    """As `_real` for writing, but a link at the end stands for itself, not for its target."""
    plain = os.path.normpath(path)
    if not os.path.islink(plain):
        return real_path(path, "write", context)
    above, name = os.path.split(plain)
    try:
        return os.path.join(real_path(above or ".", "write", context), name)
    except SecurityError:
        return real_path(path, "write", context)


def _path_of(parameters: dict[str, Any], operation: str) -> str:
    return given(parameters, "path", operation)


def _two_paths(parameters: dict[str, Any], operation: str) -> tuple[str, str]:
    return (
        given(parameters, "source_path", operation),
        given(parameters, "target_path", operation),
    )


def _soft_kind(error: LLMSpellError) -> str:
    if isinstance(error, SecurityError):
        return "security_violation"
    return "validation_error" if isinstance(error, ValidationError) else "execution_error"


# Content -------------------------------------------------------------------------------------


def _content(parameters: dict[str, Any], operation: str) -> bytes:
    content = given(parameters, "input", operation)
    encoding = encoding_of(parameters)
    if isinstance(content, bytes):
        return content
    if not isinstance(content, str):
        import json

        content = json.dumps(content, ensure_ascii=False, indent=2)
    try:
        if encoding == "base64":
            return b64decode(content, validate=True)
        return content.encode(encoding)
    except (UnicodeError, Base64Error) as error:
        raise ValidationError(
            f"The content cannot be written as {encoding}: {error}", field="input"
        ) from None


# Work on threads -----------------------------------------------------------------------------


def _is_there(path: Any) -> bool:
    return isinstance(path, str) and "\0" not in path and os.path.lexists(path)


def _into(real: str, source: str) -> str:
    """A target that is a directory means a file of the same name in it."""
    if not os.path.isdir(real):
        return real
    return os.path.join(real, os.path.basename(source.rstrip("/")))


def _copied(real: str, there: str, source: str, rules: FileOperationsConfig, stop: Stop) -> int:
    opened: Callable[[str], Any] = replacing if rules.atomic_writes else overwriting
    with wrap_os_error("read", source), open_file(real, os.O_RDONLY) as file:
        if real == there:
            return os.fstat(file.fileno()).st_size
        check_size(os.fstat(file.fileno()).st_size, source, rules)
        size = 0
        with wrap_os_error("write", there), opened(there) as copy:
            while piece := file.read(CHUNK):
                stop.check()
                if size == 0:
                    check_type(piece, there, rules)
                size += len(piece)
                copy.write(piece)
    return size


def _moved(real: str, there: str, source: str, rules: FileOperationsConfig, stop: Stop) -> None:
    with wrap_os_error("write", source), parent_of(real) as (folder, name):
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        with parent_of(there, create=True) as (target_folder, target):
            try:
                os.rename(name, target, src_dir_fd=folder, dst_dir_fd=target_folder)
                return
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
        _copied(real, there, source, rules, stop)
        os.unlink(name, dir_fd=folder)
