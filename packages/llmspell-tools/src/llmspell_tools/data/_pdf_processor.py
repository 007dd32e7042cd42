"""The tool ``pdf-processor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell_core import (
    ConfigurationError,
    Parameter,
    ToolResult,
    ToolSchema,
    ValidationError,
)
from llmspell_tools._operation_tool import (
    OperationTool,
    built_in,
    described,
    operation_parameter,
)
from llmspell_tools.data._nested import nested
from llmspell_tools.data._settings import DocumentConfig

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_tools._worker import WorkerPool

NAME = "pdf-processor"
_INSTALL = {
    "pypdf": "pip install 'llmspell-tools[pdf]'",
    "cryptography": "pip install 'llmspell-tools[pdf]' 'cryptography'",
}


@built_in(NAME)
class PdfProcessor(OperationTool):
    """Text, pages and metadata of PDF files in the allowed directories.

    The file is read in a child process with bounded memory, which is killed when the time is
    up. Text beyond one MiB is cut off. Needs ``llmspell-tools[pdf]``.
    """

    operations = {  # noqa: RUF012 - a ClassVar by its base
        "extract_text": ("text", "read"),
        "extract_metadata": ("metadata", "info"),
        "extract_pages": ("pages",),
    }
    default_operation = "extract_text"
    unknown_operation = "Unsupported operation"

    def __init__(self) -> None:
        self._workers: WorkerPool | None = None

    @property
    def schema(self) -> ToolSchema:
        """The parameters."""
        entry = described(NAME)
        return ToolSchema(
            entry.name,
            entry.description,
            (
                operation_parameter(type(self), default="extract_text"),
                Parameter(
                    "input",
                    "string",
                    "The path of the file",
                    required=True,
                    aliases=("path", "file_path", "file"),
                ),
                Parameter("start_page", "integer", "The first page, from 1", minimum=1),
                Parameter("end_page", "integer", "The last page", minimum=1),
                Parameter("pages", "array", "Instead: the numbers of the pages", items="integer"),
                Parameter("password", "string", "Of an encrypted file", sensitive=True),
            ),
            "object",
        )

    def close(self) -> None:
        """End the worker processes."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    async def do_extract_text(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{text, file_path, length, page_count, truncated}``."""
        found = await self._run("text", parameters, context)
        return _answer("extract_text", parameters, found, found["text"])

    async def do_extract_pages(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{text, start_page, file_path, pages[{page, text}], page_count, truncated}``."""
        found = await self._run("pages", parameters, context)
        return _answer("extract_pages", parameters, found, found["text"])

    async def do_extract_metadata(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """Size, name, dates, number of pages, and what the document says of itself."""
        found = await self._run("metadata", parameters, context)
        return _answer("extract_metadata", parameters, found, found)

    async def _run(
        self, job: str, parameters: dict[str, Any], context: ExecutionContext
    ) -> dict[str, Any]:
        path = parameters.get("input")
        if path is None:
            raise ValidationError(
                "Missing required parameter 'input': the path of a PDF",
                field="input",
                code="MISSING_REQUIRED",
            )
        limits = context.services.config.section("tools.document", DocumentConfig)
        options = {
            "path": context.services.security.path(path, "read", context, caller="tool"),
            "shown": path,
            "limit": limits.max_pdf_size,
            "max_pages": limits.max_pages,
            "password": parameters.get("password", ""),
            "start_page": parameters.get("start_page"),
            "end_page": parameters.get("end_page"),
            "pages": parameters.get("pages"),
        }
        if self._workers is None:
            from llmspell_tools._worker import WorkerPool

            self._workers = WorkerPool()
        try:
            return await self._workers.run(f"llmspell_tools.data._pdf_jobs:{job}", options)
        except ValidationError as error:
            missing = error.message.removeprefix("MISSING:")
            if missing not in _INSTALL:
                raise
            raise ConfigurationError(
                f"This PDF needs the package '{missing}', which is not installed",
                hint=_INSTALL[missing],
                code="MISSING_DEPENDENCY",
            ) from None


def _answer(
    operation: str, parameters: dict[str, Any], found: dict[str, Any], value: Any
) -> ToolResult:
    path = parameters["input"]
    result = {**found, "file_path": path}
    return nested(NAME, operation, result, value=value, metadata={"file_path": path})
