"""Tenant isolation for LLMSpell."""
