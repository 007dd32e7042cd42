"""The tool ``file_search``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell_core import Parameter, ToolResult, ToolSchema, ValidationError
from llmspell_tools._operation_tool import (
    OperationTool,
    built_in,
    described,
    operation_parameter,
)
from llmspell_tools.filesystem._answers import done, given, texts, validated_path

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_tools._worker import WorkerPool

MOST_CONTEXT = 50
DEEPEST = 100
LARGEST_FILE = 10 * 1024**2
MOST_RESULTS = 1000

TEXT = (
    "txt,md,rs,py,js,ts,java,cpp,c,h,json,xml,yaml,yml,toml,ini,cfg,conf,log,lua,go,html,css,sh,csv"
)
BINARY = (
    "exe,dll,so,dylib,bin,obj,o,a,lib,zip,tar,gz,bz2,xz,7z,rar,jpg,jpeg,png,gif,bmp,ico,webp,mp3,"
    "mp4,avi,mkv,mov,wav,flac,ogg,pdf,doc,docx,xls,xlsx,ppt,pptx,db,sqlite,pyc,class,jar,wasm"
)
FOLDERS = ".git,.svn,.hg,node_modules,target,.idea,.vscode"


@built_in("file_search")
class FileSearch(OperationTool):
    """Text in files, and files by name, below an allowed directory.

    A child process does the work, because a regular expression may run for ever and only
    killing ends that: when the time is up, or the caller is cancelled, the child is killed.
    Links are not followed. Binary files, and those over ``max_file_size``, are skipped and listed.
    """

    operations = {  # noqa: RUF012 - a ClassVar by its base
        "search": ("grep", "search_content", "search_text", "find"),
        "search_regex": ("regex",),
        "find_files": ("find_file", "search_files", "glob"),
    }
    default_operation = "search"
    unknown_operation = "Unknown search operation"

    def __init__(self) -> None:
        self._workers: WorkerPool | None = None

    @property
    def schema(self) -> ToolSchema:
        """The parameters."""
        entry = described("file_search")
        return ToolSchema(
            entry.name,
            entry.description,
            (
                operation_parameter(type(self), default="search"),
                Parameter(
                    "pattern",
                    "string",
                    "What to look for: text, a regular expression, or a name (find_files)",
                    required=True,
                    aliases=("query", "search", "input"),
                ),
                Parameter(
                    "path",
                    "string",
                    "A file or directory",
                    required=True,
                    aliases=("directory", "dir"),
                ),
                Parameter("recursive", "boolean", "Directories below it too", default=False),
                Parameter("case_sensitive", "boolean", "A is not a", default=True),
                Parameter("use_regex", "boolean", "pattern is a regular expression", default=False),
                Parameter(
                    "context_lines",
                    "integer",
                    f"Lines around each match, at most {MOST_CONTEXT}",
                    default=2,
                    minimum=0,
                ),
                Parameter(
                    "include_extensions",
                    "any",
                    "Only these, a list or with commas; empty: all. Without it: those of texts",
                ),
                Parameter("exclude_extensions", "any", "Not these, where all are included"),
                Parameter("exclude_dirs", "any", "Names of directories to leave out"),
                Parameter("file_pattern", "string", "Only files whose names match this glob"),
                Parameter(
                    "max_file_size",
                    "integer",
                    "Skip larger files (bytes)",
                    default=LARGEST_FILE,
                    minimum=1,
                    maximum=LARGEST_FILE * 10,
                ),
                Parameter("max_matches_per_file", "integer", "0: no limit", default=0, minimum=0),
                Parameter(
                    "max_results",
                    "integer",
                    "Stop after so many matches",
                    default=MOST_RESULTS,
                    minimum=1,
                    maximum=MOST_RESULTS * 10,
                ),
                Parameter(
                    "max_depth",
                    "integer",
                    f"Levels to descend, at most {DEEPEST}",
                    default=20,
                    minimum=1,
                ),
            ),
            "object",
        )

    def close(self) -> None:
        """End the worker processes."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    async def do_search(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{matches, results, summary, skipped_files}``."""
        return await self._run("search", parameters, context)

    async def do_search_regex(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """As search, with a regular expression."""
        return await self._run("search_regex", {**parameters, "use_regex": True}, context)

    async def do_find_files(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """As search, with ``{file_path, name, size, modified}`` of files by their names."""
        everything = {"include_extensions": "", "exclude_extensions": "", **parameters}
        return await self._run("find_files", everything, context)

    async def _run(
        self, operation: str, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        path = given(parameters, "path", operation)
        options = _options(parameters)
        real = validated_path(path, "read", context)
        job = "find" if operation == "find_files" else "search"
        found = await self._pool().run(
            f"llmspell_tools.filesystem._searching:{job}",
            real,
            path.rstrip("/") if path.strip("/") else "",
            options,
        )
        return _result(operation, path, options["pattern"], found)

    def _pool(self) -> WorkerPool:
        if self._workers is None:
            from llmspell_tools._worker import WorkerPool

            self._workers = WorkerPool()
        return self._workers


def _options(parameters: dict[str, Any]) -> dict[str, Any]:
    pattern = given(parameters, "pattern", "search")
    if not pattern:
        raise ValidationError("Pattern cannot be empty", field="pattern")
    if "\n" in pattern:
        raise ValidationError(
            "The pattern spans lines, and files are searched line by line", field="pattern"
        )
    around, depth = parameters.get("context_lines", 2), parameters.get("max_depth", 20)
    if around > MOST_CONTEXT:
        raise ValidationError(
            f"Context lines cannot exceed {MOST_CONTEXT}: {around}", field="context_lines"
        )
    if depth > DEEPEST:
        raise ValidationError(f"Max depth cannot exceed {DEEPEST}: {depth}", field="max_depth")
    return {
        "pattern": pattern,
        "case_sensitive": parameters.get("case_sensitive", True),
        "use_regex": parameters.get("use_regex", False),
        "context_lines": around,
        "include": _extensions(parameters, "include_extensions", TEXT),
        "exclude": _extensions(parameters, "exclude_extensions", BINARY),
        "exclude_dirs": texts(parameters.get("exclude_dirs", FOLDERS), "exclude_dirs"),
        "file_pattern": parameters.get("file_pattern"),
        "max_file_size": parameters.get("max_file_size", LARGEST_FILE),
        "max_per_file": parameters.get("max_matches_per_file", 0),
        "max_results": parameters.get("max_results", MOST_RESULTS),
        "max_depth": depth if parameters.get("recursive", False) else 1,
    }


def _extensions(parameters: dict[str, Any], name: str, default: str) -> list[str]:
    words = texts(parameters.get(name, default), name)
    return [word.lower().removeprefix("*").removeprefix(".") for word in words]


def _result(operation: str, path: str, pattern: str, found: dict[str, Any]) -> ToolResult:
    matches: list[dict[str, Any]] = found["matches"]
    searched: int = found["searched"]
    if matches:
        message = (
            f"Found {len(matches)} matches across {found['with_matches']} files for '{pattern}'"
        )
    else:
        message = f"No matches found in {searched} files searched for '{pattern}'"
    metadata: dict[str, Any] = {"file_path": path, "count": len(matches)}
    if found["truncated"]:
        metadata["truncated"] = True
        metadata["warnings"] = ["There may be more matches: max_results was reached"]
    return done(
        operation,
        message,
        {
            "matches": matches,
            "results": matches,
            "summary": {
                "total_matches": len(matches),
                "files_searched": searched,
                "files_skipped": found["skipped"],
                "has_matches": bool(matches),
                "truncated": found["truncated"],
            },
            "skipped_files": found["reasons"],
        },
        matches,
        metadata,
    )
