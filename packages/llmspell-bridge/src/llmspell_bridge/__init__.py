"""Script engines for LLMSpell: Lua through lupa, value conversion, the portal."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_bridge._config import LuaConfig as LuaConfig
    from llmspell_bridge._lua_engine import LuaEngine as LuaEngine

__all__ = ["LuaConfig", "LuaEngine"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "LuaConfig": "_config",
        "LuaEngine": "_lua_engine",
    },
)
