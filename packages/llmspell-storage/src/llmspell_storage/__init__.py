"""Key/value and vector storage back ends for LLMSpell."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_storage._copying import CopyReport as CopyReport
    from llmspell_storage._copying import copy_store as copy_store
    from llmspell_storage._index_settings import IndexSettings as IndexSettings
    from llmspell_storage._memory import MemoryStorage as MemoryStorage
    from llmspell_storage._memory import open_memory as open_memory
    from llmspell_storage._sqlite import SqliteStorage as SqliteStorage
    from llmspell_storage._sqlite import open_sqlite as open_sqlite
    from llmspell_storage._vector_sqlite import SqliteVectorStore as SqliteVectorStore
    from llmspell_storage._vector_sqlite import open_memory_vectors as open_memory_vectors
    from llmspell_storage._vector_sqlite import open_sqlite_vectors as open_sqlite_vectors
    from llmspell_storage._vector_sqlite import open_vectors as open_vectors
    from llmspell_storage.server._address import ServerConfig as ServerConfig
    from llmspell_storage.server._storage import ServerStorage as ServerStorage
    from llmspell_storage.server._storage import open_mariadb as open_mariadb
    from llmspell_storage.server._storage import open_postgres as open_postgres

__all__ = [
    "CopyReport",
    "IndexSettings",
    "MemoryStorage",
    "ServerConfig",
    "ServerStorage",
    "SqliteStorage",
    "SqliteVectorStore",
    "copy_store",
    "open_mariadb",
    "open_memory",
    "open_memory_vectors",
    "open_postgres",
    "open_sqlite",
    "open_sqlite_vectors",
    "open_vectors",
]

_HOMES = {
    "CopyReport": "_copying",
    "IndexSettings": "_index_settings",
    "MemoryStorage": "_memory",
    "ServerConfig": "server._address",
    "ServerStorage": "server._storage",
    "SqliteStorage": "_sqlite",
    "SqliteVectorStore": "_vector_sqlite",
    "copy_store": "_copying",
    "open_mariadb": "server._storage",
    "open_memory": "_memory",
    "open_memory_vectors": "_vector_sqlite",
    "open_postgres": "server._storage",
    "open_sqlite": "_sqlite",
    "open_sqlite_vectors": "_vector_sqlite",
    "open_vectors": "_vector_sqlite",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
