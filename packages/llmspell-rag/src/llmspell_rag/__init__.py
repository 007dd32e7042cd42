"""Ingestion, chunking, embedding and retrieval with citations for LLMSpell."""
