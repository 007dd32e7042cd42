"""File system tools: files and directories."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_tools.filesystem._file_operations import FileOperations as FileOperations

__all__ = ["FileOperations"]

_HOMES = {"FileOperations": "_file_operations"}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
