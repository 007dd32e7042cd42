"""The llmspell command."""
