"""The tool ``file_converter``."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from llmspell_core import (
    ConfigurationError,
    EffectClass,
    Parameter,
    ToolResult,
    ToolSchema,
    ValidationError,
)
from llmspell_tools._files import CHUNK, open_file, wrap_os_error
from llmspell_tools._operation_tool import (
    OperationTool,
    built_in,
    described,
    operation_parameter,
)
from llmspell_tools._threads import Stop, in_thread
from llmspell_tools.filesystem._answers import done, given, validated_path
from llmspell_tools.filesystem._atomic import replacing
from llmspell_tools.filesystem._file_rules import check_extension, check_type, file_rules
from llmspell_tools.filesystem._settings import ConverterConfig

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_tools._config import FileOperationsConfig
    from llmspell_tools._worker import WorkerPool
    from llmspell_tools.filesystem._converting import Change

LARGEST_DOCUMENT = 10 * 1024**2
"""Bytes of a document that is converted from one format to another: it is held in memory."""

FORMATS = ("json", "yaml", "toml", "csv")

Make = Callable[[IO[bytes], Stop], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a conversion reads and writes: as given, and the real paths."""

    source: str
    real: str
    target: str
    real_target: str
    backup: str | None
    real_backup: str | None


@built_in("file_converter")
class FileConverter(OperationTool):
    """Encodings, line ends, indentation and formats of text files.

    All but the formats are converted piece by piece, so a file may be larger than memory
    (``max_file_size`` in ``[tools.file_converter]``). A file that is converted in place is kept
    as ``<name>.backup``; what was written keeps the time stamp of its source.
    """

    operations = {  # noqa: RUF012 - a ClassVar by its base
        "encoding": ("convert_encoding",),
        "line_endings": ("convert_line_endings", "line_ending"),
        "indentation": ("convert_indentation", "indent"),
        "detect_encoding": ("detect",),
        "convert_format": ("format", "convert"),
    }
    unknown_operation = "Invalid operation"
    binary = frozenset({"data"})
    effect_class = EffectClass.IDEMPOTENT
    timeout_seconds = 120.0

    def __init__(self) -> None:
        self._workers: WorkerPool | None = None

    @property
    def schema(self) -> ToolSchema:
        """The parameters."""
        entry = described("file_converter")
        return ToolSchema(
            entry.name,
            entry.description,
            (
                operation_parameter(type(self)),
                Parameter(
                    "path",
                    "string",
                    "The file to convert",
                    aliases=("input", "source_path", "file", "file_path"),
                ),
                Parameter(
                    "data", "string", "detect_encoding: the content itself", aliases=("content",)
                ),
                Parameter(
                    "target_path",
                    "string",
                    "Where the result goes; without it the file itself is converted",
                    aliases=("output_path", "destination"),
                ),
                Parameter("from_encoding", "string", "encoding: as it is; else it is detected"),
                Parameter("to_encoding", "string", "encoding: as it shall be"),
                Parameter("line_ending", "string", "line_endings: lf, crlf or cr"),
                Parameter(
                    "convert_to_spaces",
                    "boolean",
                    "indentation: tabs to spaces; false: spaces to tabs",
                    default=True,
                ),
                Parameter(
                    "tab_size",
                    "integer",
                    "indentation: columns of a tab",
                    default=4,
                    minimum=1,
                    maximum=64,
                ),
                Parameter(
                    "from_format", "string", "convert_format: json, yaml, toml or csv; else by name"
                ),
                Parameter(
                    "to_format", "string", "convert_format: json, yaml, toml or csv; else by name"
                ),
            ),
            "object",
        )

    def close(self) -> None:
        """End the worker processes."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def effect_of(self, parameters: Mapping[str, Any]) -> EffectClass:
        """Converting an encoding in place twice garbles the file."""
        operation = parameters.get("operation")
        if operation == "detect_encoding":
            return EffectClass.PURE
        in_place = "target_path" not in parameters
        again = operation == "convert_format" or "from_encoding" in parameters
        return EffectClass.IRREVERSIBLE if in_place and again else self.effect_class

    def destructive_of(self, parameters: Mapping[str, Any]) -> bool:
        """Whether a file is replaced; the one converted in place is kept as a backup."""
        if parameters.get("operation") == "detect_encoding":
            return False
        target = parameters.get("target_path", parameters.get("path"))
        return isinstance(target, str) and "\0" not in target and os.path.lexists(target)

    async def do_encoding(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{input_path, output_path, operation, backup_path, from_encoding, to_encoding}``."""
        from llmspell_tools.filesystem import _converting as converting
        from llmspell_tools.filesystem._encodings import detect, encoding_named, shown

        wanted = encoding_named(given(parameters, "to_encoding", "encoding"))
        asked = parameters.get("from_encoding", "auto")
        known = None if asked.lower() == "auto" else encoding_named(asked)
        used: list[str] = []

        def make(file: IO[bytes], stop: Stop) -> Iterator[bytes]:
            name = known or detect(file, stop.check).name
            used.append(name)
            return converting.encoded(converting.decoded(file, name, stop), wanted)

        result = await self._convert("encoding", parameters, context, make)
        result.result.update({"from_encoding": shown(used[0]), "to_encoding": shown(wanted)})
        return result

    async def do_line_endings(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{input_path, output_path, operation, backup_path}``."""
        from llmspell_tools.filesystem._converting import LINE_ENDINGS, line_endings

        asked = given(parameters, "line_ending", "line_endings")
        ending = LINE_ENDINGS.get(asked.lower())
        if ending is None:
            raise ValidationError(
                f"Invalid line ending: '{asked}'. Allowed values: lf, crlf, cr",
                field="line_ending",
            )
        change = line_endings(ending)
        return await self._convert("line_endings", parameters, context, _changed(change))

    async def do_indentation(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{input_path, output_path, operation, backup_path}``."""
        from llmspell_tools.filesystem._converting import indentation

        to_spaces = parameters.get("convert_to_spaces", True)
        change = indentation(parameters.get("tab_size", 4), to_spaces=to_spaces)
        return await self._convert("indentation", parameters, context, _changed(change))

    async def do_detect_encoding(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{encoding, confidence, line_ending, has_bom}`` of a file or of `data`."""
        data = parameters.get("data")
        if data is None:
            path = given(parameters, "path", "detect_encoding")
            real = validated_path(path, "read", context)
            limits = _limits(context)

            def work(stop: Stop) -> dict[str, Any]:
                with _opened(path, real, limits) as file:
                    return _detected(file, stop)

            found = await in_thread(work)
        else:
            path = None
            content = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
            found = await in_thread(lambda stop: _detected(io.BytesIO(content), stop))
        message = f"The encoding is {found['encoding']}"
        metadata = {} if path is None else {"file_path": path}
        return done("detect_encoding", message, found, found["encoding"], metadata)

    async def do_convert_format(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{input_path, output_path, operation, backup_path, from_format, to_format}``."""
        source = given(parameters, "path", "convert_format")
        target = parameters.get("target_path", "")
        before = _format_of(parameters.get("from_format"), source, "from_format")
        after = _format_of(parameters.get("to_format"), target, "to_format")
        limits = _limits(context)
        real = validated_path(source, "read", context)

        def read(stop: Stop) -> str:
            with _opened(source, real, limits) as file:
                if os.fstat(file.fileno()).st_size > LARGEST_DOCUMENT:
                    raise ValidationError(
                        f"File too large: {source}: formats are converted up to "
                        f"{LARGEST_DOCUMENT} bytes",
                        field="path",
                    )
                from llmspell_tools.filesystem._converting import decoded
                from llmspell_tools.filesystem._encodings import detect

                return "".join(decoded(file, detect(file, stop.check).name, stop))

        text = await self._reformatted(await in_thread(read), before, after)
        result = await self._convert(
            "convert_format", parameters, context, lambda file, stop: iter([text.encode()])
        )
        result.result.update({"from_format": before, "to_format": after})
        return result

    async def _reformatted(self, text: str, before: str, after: str) -> str:
        if self._workers is None:
            from llmspell_tools._worker import WorkerPool

            self._workers = WorkerPool()
        try:
            return await self._workers.run(
                "llmspell_tools.filesystem._formats:convert", text, before, after
            )
        except ValidationError as error:
            missing = error.message.removeprefix("MISSING:")
            if missing == error.message:
                raise
            raise ConfigurationError(
                f"This format needs the package '{missing}', which is not installed",
                hint="pip install 'llmspell-tools[formats]'",
                code="MISSING_DEPENDENCY",
            ) from None

    # Writing -------------------------------------------------------------------------------

    async def _convert(
        self, operation: str, parameters: dict[str, Any], context: ExecutionContext, make: Make
    ) -> ToolResult:
        rules, limits = file_rules(context), _limits(context)
        paths = _paths(operation, parameters, context, limits)
        for path in (paths.source, paths.target):
            check_extension(path, rules)
        size = await in_thread(lambda stop: _written(paths, make, rules, limits, stop))
        message = "File conversion completed successfully"
        return done(
            operation,
            message,
            {
                "input_path": paths.source,
                "output_path": paths.target,
                "operation": operation,
                "backup_path": paths.backup,
            },
            paths.target,
            {"file_path": paths.target, "file_size": size},
        )


def _format_of(asked: str | None, path: str, name: str) -> str:
    word = (asked or os.path.splitext(path)[1]).lower().removeprefix(".")
    word = "yaml" if word == "yml" else word
    if word not in FORMATS:
        shown = f"'{word}'" if word else "none is named"
        raise ValidationError(
            f"Invalid {name}: {shown}. Allowed values: {', '.join(FORMATS)}",
            field=name,
            hint=f"Give {name}, or a path that ends in one of them.",
        )
    return word


def _limits(context: ExecutionContext) -> ConverterConfig:
    return context.services.config.section("tools.file_converter", ConverterConfig)


def _paths(
    operation: str,
    parameters: dict[str, Any],
    context: ExecutionContext,
    limits: ConverterConfig,
) -> Paths:
    source = given(parameters, "path", operation)
    target = parameters.get("target_path")
    if target is None and limits.output_dir:
        stem, extension = os.path.splitext(os.path.basename(source))
        target = os.path.join(limits.output_dir, f"{stem}_{operation}{extension}")
    in_place = target is None
    real = validated_path(source, "write" if in_place else "read", context)
    if target is None:
        backup = source + ".backup"
        real_backup = validated_path(backup, "write", context)
        return Paths(source, real, source, real, backup, real_backup)
    return Paths(source, real, target, validated_path(target, "write", context), None, None)


@contextmanager
def _opened(path: str, real: str, limits: ConverterConfig) -> Generator[IO[bytes]]:
    """The file, unless it is missing or too large."""
    if not os.path.exists(real):
        raise ValidationError(f"Input file does not exist: {path}", field="path")
    with wrap_os_error("read", path), open_file(real, os.O_RDONLY) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limits.max_file_size:
            raise ValidationError(
                f"File too large: {path} has {size} bytes, at most {limits.max_file_size}",
                field="path",
                hint="Raise max_file_size in [tools.file_converter].",
            )
        yield file


def _written(
    paths: Paths, make: Make, rules: FileOperationsConfig, limits: ConverterConfig, stop: Stop
) -> int:
    with _opened(paths.source, paths.real, limits) as file:
        status = os.fstat(file.fileno())
        if paths.real_backup is not None:
            with wrap_os_error("write", f"{paths.backup}"), replacing(paths.real_backup) as backup:
                while piece := file.read(CHUNK):
                    stop.check()
                    backup.write(piece)
            file.seek(0)
        size = 0
        with wrap_os_error("write", paths.target), replacing(paths.real_target) as target:
            for piece in make(file, stop):
                if size == 0:
                    check_type(piece, paths.target, rules)
                size += len(piece)
                target.write(piece)
            target.flush()
            with suppress(OSError):
                os.utime(target.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
    return size


def _changed(change: Change) -> Make:
    """Everything stays as it is, byte for byte, but what *change* changes."""
    from llmspell_tools.filesystem import _converting as converting
    from llmspell_tools.filesystem._encodings import detect

    def make(file: IO[bytes], stop: Stop) -> Iterator[bytes]:
        detected = detect(file, stop.check)
        name = converting.kept(detected)
        file.seek(len(detected.bom))
        if detected.bom:
            yield detected.bom
        yield from converting.encoded(change(converting.decoded(file, name, stop)), name)

    return make


def _detected(file: IO[bytes], stop: Stop) -> dict[str, Any]:
    from llmspell_tools.filesystem._encodings import detect, line_ending_of

    found = detect(file, stop.check)
    return {
        "encoding": found.shown,
        "confidence": found.confidence,
        "line_ending": line_ending_of(file, found, stop.check),
        "has_bom": bool(found.bom),
    }
