"""Script engines for LLMSpell: Lua through lupa, value conversion, the portal."""
