"""Public test doubles, fixtures and one conformance suite per LLMSpell abstract base."""
