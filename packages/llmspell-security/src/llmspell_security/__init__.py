"""Path, network and process policy for LLMSpell."""
