"""LLMSpell's built-in tools and the tool execution pipeline."""
