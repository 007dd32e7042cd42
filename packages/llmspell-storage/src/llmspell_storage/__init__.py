"""Key/value and vector storage back ends for LLMSpell."""
