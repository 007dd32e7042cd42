"""Data tools: CSV, JSON, graphs, PDF, databases."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_tools.data._csv_analyzer import CsvAnalyzer as CsvAnalyzer
    from llmspell_tools.data._database_connector import DatabaseConnector as DatabaseConnector
    from llmspell_tools.data._graph_builder import GraphBuilder as GraphBuilder
    from llmspell_tools.data._json_processor import JsonProcessor as JsonProcessor
    from llmspell_tools.data._pdf_processor import PdfProcessor as PdfProcessor
    from llmspell_tools.data._settings import DatabaseConfig as DatabaseConfig
    from llmspell_tools.data._settings import DataConfig as DataConfig
    from llmspell_tools.data._settings import DocumentConfig as DocumentConfig

__all__ = [
    "CsvAnalyzer",
    "DataConfig",
    "DatabaseConfig",
    "DatabaseConnector",
    "DocumentConfig",
    "GraphBuilder",
    "JsonProcessor",
    "PdfProcessor",
]

_HOMES = {
    "CsvAnalyzer": "_csv_analyzer",
    "DataConfig": "_settings",
    "DatabaseConfig": "_settings",
    "DatabaseConnector": "_database_connector",
    "DocumentConfig": "_settings",
    "GraphBuilder": "_graph_builder",
    "JsonProcessor": "_json_processor",
    "PdfProcessor": "_pdf_processor",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
