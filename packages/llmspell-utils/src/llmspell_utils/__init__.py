"""Retry, circuit breaker and rate limiting shared by LLMSpell packages."""
