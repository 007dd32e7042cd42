"""Configuration discovery, precedence and validation for LLMSpell."""
