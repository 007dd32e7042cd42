"""LLMSpell workflows: sequential, parallel, conditional and loop."""
