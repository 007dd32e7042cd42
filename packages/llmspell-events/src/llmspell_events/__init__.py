"""LLMSpell's in-process event bus."""
