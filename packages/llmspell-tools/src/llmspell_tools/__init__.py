"""LLMSpell's built-in tools, the registry that finds them and the pipeline that runs them."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_tools._config import FileOperationsConfig as FileOperationsConfig
    from llmspell_tools._config import ToolsConfig as ToolsConfig
    from llmspell_tools._face import ToolGlobal as ToolGlobal
    from llmspell_tools._face import ToolHandle as ToolHandle
    from llmspell_tools._function_tool import tool as tool
    from llmspell_tools._operation_tool import OperationTool as OperationTool
    from llmspell_tools._registry import ToolService as ToolService
    from llmspell_tools._worker import WorkerPool as WorkerPool

__all__ = [
    "FileOperationsConfig",
    "OperationTool",
    "ToolGlobal",
    "ToolHandle",
    "ToolService",
    "ToolsConfig",
    "WorkerPool",
    "tool",
]

_HOMES = {
    "FileOperationsConfig": "_config",
    "OperationTool": "_operation_tool",
    "ToolGlobal": "_face",
    "ToolHandle": "_face",
    "ToolService": "_registry",
    "ToolsConfig": "_config",
    "WorkerPool": "_worker",
    "tool": "_function_tool",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
