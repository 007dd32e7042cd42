"""``python -m llmspell`` is the command ``llmspell``; the library is in the other packages."""
