"""Model providers for LLMSpell over httpx."""
