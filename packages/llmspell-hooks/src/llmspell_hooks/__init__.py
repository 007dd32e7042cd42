"""LLMSpell hook points and their executor."""
