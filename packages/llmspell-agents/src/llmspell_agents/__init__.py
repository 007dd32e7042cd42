"""LLMSpell agents: builder, lifecycle and the tool-calling loop."""
