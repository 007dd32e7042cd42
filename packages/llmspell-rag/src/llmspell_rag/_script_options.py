"""The options that scripts give with documents and queries: for completion and documentation."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from llmspell_core import Registered


class PlaceOptions(TypedDict, total=False):
    """Where documents are.

    Attributes:
        collection: The collection in the scope.
        scope: A scope: ``global``, ``session:ID``, ``user:ID`` …
        scope_id: The id, where the scope has none.
        tenant_id: The scope ``tenant:ID``.
    """

    collection: str
    scope: str
    scope_id: str
    tenant_id: str


class IngestOptions(PlaceOptions, total=False):
    """Where documents go and how they are cut.

    Attributes:
        collection: The collection in the scope.
        scope: A scope: ``global``, ``session:ID``, ``user:ID`` …
        scope_id: The id, where the scope has none.
        tenant_id: The scope ``tenant:ID``.
        chunk_size: Tokens of a chunk.
        chunk_overlap: Tokens that a chunk repeats of the one before.
        strategy: How texts are cut; without one, as suits the document.
        chunking: The three above in one table, without their prefix.
        provider: The embedder.
        metadata: Fields that every document gets.
    """

    chunk_size: int
    chunk_overlap: int
    strategy: Annotated[str, Registered("llmspell.chunkers")]
    chunking: dict[str, Any]
    provider: Annotated[str, Registered("llmspell.embedders")]
    metadata: dict[str, Any]


class SearchOptions(PlaceOptions, total=False):
    """Where is searched and how.

    Attributes:
        collection: The collection in the scope.
        scope: A scope: ``global``, ``session:ID``, ``user:ID`` …
        scope_id: The id, where the scope has none.
        tenant_id: The scope ``tenant:ID``.
        k: How many passages at most; also ``top_k`` and ``limit``.
        threshold: The least score, from 0 to 1.
        filters: Conditions on metadata; also ``metadata_filter`` and ``filter``.
        hybrid: Whether words count beside meaning.
        weights: How much each counts: ``{vector, keyword, metadata, recency}``.
        fusion: How both rankings become one.
        include_metadata: Whether passages come with metadata (true).
        exclude_expired: Whether what has expired is left out (true).
        provider: The embedder.
    """

    k: int
    threshold: float
    filters: dict[str, Any]
    hybrid: bool
    weights: dict[str, float]
    fusion: Literal["weighted", "reciprocal_rank"]
    include_metadata: bool
    exclude_expired: bool
    provider: Annotated[str, Registered("llmspell.embedders")]
