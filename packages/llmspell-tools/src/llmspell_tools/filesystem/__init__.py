"""File system tools: files and directories, archives, conversion, search, watching."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_tools.filesystem._archive_handler import ArchiveHandler as ArchiveHandler
    from llmspell_tools.filesystem._file_converter import FileConverter as FileConverter
    from llmspell_tools.filesystem._file_operations import FileOperations as FileOperations
    from llmspell_tools.filesystem._file_search import FileSearch as FileSearch
    from llmspell_tools.filesystem._file_watcher import FileWatcher as FileWatcher
    from llmspell_tools.filesystem._settings import ArchiveConfig as ArchiveConfig
    from llmspell_tools.filesystem._settings import ConverterConfig as ConverterConfig

__all__ = [
    "ArchiveConfig",
    "ArchiveHandler",
    "ConverterConfig",
    "FileConverter",
    "FileOperations",
    "FileSearch",
    "FileWatcher",
]

_HOMES = {
    "ArchiveConfig": "_settings",
    "ArchiveHandler": "_archive_handler",
    "ConverterConfig": "_settings",
    "FileConverter": "_file_converter",
    "FileOperations": "_file_operations",
    "FileSearch": "_file_search",
    "FileWatcher": "_file_watcher",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
