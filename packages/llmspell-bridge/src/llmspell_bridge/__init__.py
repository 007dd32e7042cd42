"""Script engines for LLMSpell: Lua through lupa, value conversion, the portal."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_bridge._config import LuaConfig as LuaConfig
    from llmspell_bridge._config import LuaJITConfig as LuaJITConfig
    from llmspell_bridge._lua_engine import LuaEngine as LuaEngine
    from llmspell_bridge._lua_engine import LuaJITEngine as LuaJITEngine
    from llmspell_bridge._luacats import definitions as definitions
    from llmspell_bridge._reference import reference_page as reference_page

__all__ = [
    "LuaConfig",
    "LuaEngine",
    "LuaJITConfig",
    "LuaJITEngine",
    "definitions",
    "reference_page",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "LuaConfig": "_config",
        "LuaEngine": "_lua_engine",
        "LuaJITConfig": "_config",
        "LuaJITEngine": "_lua_engine",
        "definitions": "_luacats",
        "reference_page": "_reference",
    },
)
