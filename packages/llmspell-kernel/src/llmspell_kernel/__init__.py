"""The LLMSpell kernel: runtime, run ledger, state."""
