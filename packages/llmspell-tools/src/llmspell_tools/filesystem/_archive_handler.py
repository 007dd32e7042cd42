"""The tool ``archive_handler``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import EffectClass, Parameter, ToolResult, ToolSchema, ValidationError
from llmspell_tools._files import open_file, wrap_os_error
from llmspell_tools._operation_tool import (
    OperationTool,
    built_in,
    described,
    operation_parameter,
)
from llmspell_tools._threads import Stop, in_thread
from llmspell_tools.filesystem._answers import done, given, real_path, texts
from llmspell_tools.filesystem._file_rules import check_extension, file_rules
from llmspell_tools.filesystem._patterns import Patterns
from llmspell_tools.filesystem._settings import ArchiveConfig

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_tools.filesystem._archive_creating import Created, Source
    from llmspell_tools.filesystem._archive_extracting import Extracted

LEVEL = 6


@built_in("archive_handler")
class ArchiveHandler(OperationTool):
    """Archives: zip, tar, tar.gz (tgz), and gz of one file.

    Unpacking is all or nothing. A member that leads out of the target fails the call before
    anything is written; links and devices are left out and listed in ``skipped``, hard links
    become files. Sizes, number of files and the ratio to the archive's own size are bounded by
    ``[tools.archive_handler]``; extensions and programs as for ``file_operations``.
    """

    operations = {  # noqa: RUF012 - a ClassVar by its base
        "create": ("compress", "pack", "zip"),
        "extract": ("decompress", "unpack", "unzip"),
        "list": ("ls", "info"),
    }
    unknown_operation = "Unknown archive operation"
    effect_class = EffectClass.IDEMPOTENT
    timeout_seconds = 300.0

    @property
    def schema(self) -> ToolSchema:
        """The parameters."""
        entry = described("archive_handler")
        return ToolSchema(
            entry.name,
            entry.description,
            (
                operation_parameter(type(self)),
                Parameter("path", "string", "The archive", aliases=("archive_path",)),
                Parameter(
                    "input",
                    "any",
                    "create: files and directories, a list of paths or of {path, archive_path}",
                    aliases=("files", "source_path", "sources"),
                ),
                Parameter(
                    "target_path",
                    "string",
                    "extract: the directory to unpack into",
                    aliases=("destination",),
                ),
                Parameter("include_patterns", "any", "Only files whose names match these globs"),
                Parameter("exclude_patterns", "any", "No files whose names match these globs"),
                Parameter("format", "string", "zip, tar, tar.gz or gz; else from the name"),
                Parameter(
                    "compression_level",
                    "integer",
                    "create: 0 (none) to 9 (smallest)",
                    default=LEVEL,
                    minimum=0,
                    maximum=9,
                ),
            ),
            "object",
        )

    def normalise(self, parameters: dict[str, Any]) -> None:
        """``output_path`` and ``target_path`` name the archive where one is made."""
        name = "path" if parameters.get("operation") == "create" else "target_path"
        others = ("output_path", "target_path") if name == "path" else ("output_path",)
        for other in others:
            if other in parameters:
                value = parameters.pop(other)
                parameters.setdefault(name, value)

    def effect_of(self, parameters: Mapping[str, Any]) -> EffectClass:
        """By the operation."""
        return EffectClass.PURE if parameters.get("operation") == "list" else self.effect_class

    def destructive_of(self, parameters: Mapping[str, Any]) -> bool:
        """Creating over an archive, unpacking where something is."""
        operation = parameters.get("operation")
        if operation == "create":
            path = parameters.get("path")
            return isinstance(path, str) and "\0" not in path and os.path.lexists(path)
        target = parameters.get("target_path")
        if operation != "extract" or not isinstance(target, str) or "\0" in target:
            return False
        try:
            return bool(os.listdir(target))
        except OSError:
            return False

    async def do_create(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{archive_path, archived_files, total_size, compression_level, skipped}``."""
        from llmspell_tools.filesystem._archive_creating import Creation
        from llmspell_tools.filesystem._archive_reading import format_of

        path = given(parameters, "path", "create")
        kind = format_of(path, parameters.get("format"))
        rules = file_rules(context)
        check_extension(path, rules)
        sources = _sources(given(parameters, "input", "create"), context)
        level = parameters.get("compression_level", LEVEL)
        real = real_path(path, "write", context)
        limits = _limits(context)
        wanted = _wanted(parameters)

        def work(stop: Stop) -> Created:
            def may_read(found: str) -> str:
                return real_path(found, "read", context)

            return Creation(sources, real, kind, level, limits, rules, wanted, may_read, stop).run()

        made = await in_thread(work)
        count = len(made.files)
        return done(
            "create",
            f"Created archive with {count} files ({made.total_size} bytes)",
            {
                "archive_path": path,
                "archived_files": made.files,
                "total_size": made.total_size,
                "compression_level": level,
                "skipped": made.skipped,
            },
            path,
            {"file_path": path, "count": count},
        )

    async def do_extract(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{extracted_files, total_size, output_dir, skipped}``; names below that directory."""
        from llmspell_tools.filesystem._archive_extracting import Extraction
        from llmspell_tools.filesystem._archive_reading import format_of

        path = given(parameters, "path", "extract")
        target = given(parameters, "target_path", "extract")
        kind = format_of(path, parameters.get("format"))
        real = real_path(path, "read", context)
        there = real_path(target, "write", context)
        rules, limits, wanted = file_rules(context), _limits(context), _wanted(parameters)

        def work(stop: Stop) -> Extracted:
            with wrap_os_error("read", path), open_file(real, os.O_RDONLY) as file:
                return Extraction(file, kind, path, there, limits, rules, wanted, stop).run()

        made = await in_thread(work)
        count = len(made.files)
        return done(
            "extract",
            f"Extracted {count} files ({made.total_size} bytes) to {target}",
            {
                "extracted_files": made.files,
                "total_size": made.total_size,
                "output_dir": target,
                "skipped": made.skipped,
            },
            made.files,
            {"file_path": path, "count": count},
        )

    async def do_list(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{format, files[{name, size, compressed_size, is_dir}], file_count}``."""
        from llmspell_tools.filesystem._archive_listing import listed
        from llmspell_tools.filesystem._archive_reading import format_of

        path = given(parameters, "path", "list")
        kind = format_of(path, parameters.get("format"))
        real = real_path(path, "read", context)
        limits = _limits(context)

        def work(stop: Stop) -> list[dict[str, Any]]:
            with wrap_os_error("read", path), open_file(real, os.O_RDONLY) as file:
                return listed(file, kind, path, limits, stop)

        files = await in_thread(work)
        return done(
            "list",
            f"Listed {len(files)} files in {kind} archive",
            {"format": kind, "files": files, "file_count": len(files)},
            files,
            {"file_path": path, "count": len(files)},
        )


def _limits(context: ExecutionContext) -> ArchiveConfig:
    return context.services.config.section("tools.archive_handler", ArchiveConfig)


def _wanted(parameters: dict[str, Any]) -> Patterns:
    return Patterns(
        texts(parameters.get("include_patterns", []), "include_patterns"),
        texts(parameters.get("exclude_patterns", []), "exclude_patterns"),
    )


def _sources(value: Any, context: ExecutionContext) -> list[Source]:
    from llmspell_tools.filesystem._archive_creating import Source, archive_name

    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    if not items:
        raise ValidationError(
            "Missing 'input' parameter: the list of files is empty",
            field="input",
            code="MISSING_REQUIRED",
        )
    made: list[Source] = []
    for item in items:
        table = cast("Mapping[str, Any]", item) if isinstance(item, Mapping) else {"path": item}
        path, name = table.get("path"), table.get("archive_path")
        if not isinstance(path, str) or not isinstance(name, str | None):
            raise ValidationError(
                "Invalid type for parameter 'input': expected paths, or tables with path and "
                "archive_path",
                field="input",
            )
        real = real_path(path, "read", context)
        inside = os.path.basename(real) or "root" if name is None else archive_name(name)
        made.append(Source(path, real, inside))
    return made
