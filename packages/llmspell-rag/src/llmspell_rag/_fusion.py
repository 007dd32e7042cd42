"""Several scores made into one order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmspell_core import ValidationError, VectorHit, nearest

DEFAULT_WEIGHTS: Mapping[str, float] = {
    "vector": 0.7,
    "keyword": 0.2,
    "metadata": 0.05,
    "recency": 0.05,
}
FUSIONS = ("weighted", "reciprocal_rank")
_RANK_OFFSET = 60
_DAYS = 86_400.0


@dataclass(frozen=True, slots=True)
class Scored:
    """A hit with its components, each 0 to 1, and what they make together."""

    hit: VectorHit
    score: float
    vector: float
    keyword: float


def checked_weights(given: Mapping[str, Any] | None) -> Mapping[str, float]:
    """The weights of a hybrid search: those given, 0 for the others; all defaults for None.

    Raises:
        ValidationError: for an unknown name, a weight outside 0 to 1, or a sum outside 0.1 to 2.
    """
    if given is None:
        return DEFAULT_WEIGHTS
    for name, weight in given.items():
        if name not in DEFAULT_WEIGHTS:
            close = nearest(str(name), list(DEFAULT_WEIGHTS))
            raise ValidationError(
                f"there is no weight '{name}'",
                field="weights",
                hint=f"Did you mean '{close}'?" if close else "vector keyword metadata recency",
            )
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not 0 <= weight <= 1:
            raise ValidationError(
                f"weight '{name}' must be 0 to 1, not {weight!r}", field="weights"
            )
    total = sum(given.values())
    if not 0.1 <= total <= 2:
        raise ValidationError(
            f"the weights must sum to between 0.1 and 2, not {total:g}", field="weights"
        )
    return {name: float(given.get(name, 0.0)) for name in DEFAULT_WEIGHTS}


def by_vector(hits: list[VectorHit]) -> list[Scored]:
    """Vector scores alone, as they are."""
    return [Scored(hit, _clamped(hit.score), _clamped(hit.score), 0.0) for hit in hits]


def fused(
    near: list[VectorHit],
    worded: list[VectorHit],
    weights: Mapping[str, float],
    fusion: str,
    now: float,
) -> list[Scored]:
    """Both lists in one order, best first.

    ``weighted`` adds up the weighted components: cosine similarity, BM25 as a share of the best
    one, how much metadata there is, how new it is. ``reciprocal_rank`` adds weight / (60 + rank)
    of the two lists, scaled so that first in both is 1.
    """
    hits = {(hit.collection, hit.id): hit for hit in (*worded, *near)}
    best = max((hit.score for hit in worded), default=0.0)
    vector = {(h.collection, h.id): _clamped(h.score) for h in near}
    keyword = {(h.collection, h.id): _clamped(h.score / best) for h in worded} if best > 0 else {}
    near_rank = {(h.collection, h.id): rank for rank, h in enumerate(near)}
    worded_rank = {(h.collection, h.id): rank for rank, h in enumerate(worded)}
    scored: list[Scored] = []
    for key, hit in hits.items():
        if fusion == "reciprocal_rank":
            score = _by_rank(near_rank.get(key), worded_rank.get(key), weights)
        else:
            score = (
                weights["vector"] * vector.get(key, 0.0)
                + weights["keyword"] * keyword.get(key, 0.0)
                + weights["metadata"] * min(len(hit.metadata) / 10, 1.0)
                + weights["recency"] * _recency(hit, now)
            )
        scored.append(Scored(hit, _clamped(score), vector.get(key, 0.0), keyword.get(key, 0.0)))
    # A stable sort: equal scores stay in the order of the vector search.
    order = {key: rank for rank, key in enumerate([*near_rank, *worded_rank])}
    scored.sort(key=lambda s: (-s.score, order[(s.hit.collection, s.hit.id)]))
    return scored


def _by_rank(near: int | None, worded: int | None, weights: Mapping[str, float]) -> float:
    whole = weights["vector"] + weights["keyword"]
    if whole == 0:
        return 0.0
    parts = ((near, weights["vector"]), (worded, weights["keyword"]))
    made = sum(w * (_RANK_OFFSET + 1) / (_RANK_OFFSET + 1 + r) for r, w in parts if r is not None)
    return made / whole


def _recency(hit: VectorHit, now: float) -> float:
    moment = hit.created_at if hit.event_time is None else hit.event_time
    if not moment:
        return 0.5
    return math.exp(-max(now - moment, 0.0) / _DAYS / 30)


def _clamped(score: float) -> float:
    return min(max(score, 0.0), 1.0)
