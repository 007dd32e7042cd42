"""`LexicalEmbedder`: vectors from words alone, without a model, offline."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from llmspell_core import Embedder, ValidationError
from llmspell_rag._words import STOP_WORDS, stem, tokens

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services

_STOP_WEIGHT = 0.05
_PARTS = 0.35  # what the character n-grams of a word weigh beside the word itself
_INLINE = 400  # a text so short is embedded faster than a thread is reached
# 1 + ln(n), rounded so that no platform's logarithm makes a difference.
_DAMPED = [0.0, 1.0, 1.6931, 2.0986, 2.3863, 2.6094, 2.7918, 2.9459, 3.0794, 3.1972, 3.3026]


class LexicalEmbedder(Embedder):
    """Texts that share words, or parts of words, have similar vectors; it knows no synonyms.

    Each word gives a feature for its stem and features for its runs of four characters; the
    features are hashed into *dimensions* places with a sign, weighed sub-linearly by how often
    the word occurs, and stop words hardly count. The same text has the same vector in every
    process and on every platform.
    """

    name = "lexical"

    def __init__(self, dimensions: int = 384) -> None:
        if dimensions < 1:
            raise ValueError(f"dimensions must be at least 1, not {dimensions}")
        self.dimensions = dimensions
        self._features = lru_cache(maxsize=50_000)(self._features_of)
        self._ready = False

    async def embed(
        self, texts: Sequence[str], context: ExecutionContext
    ) -> Sequence[Sequence[float]]:
        for text in texts:
            if not text.strip():
                raise ValidationError("an empty text has no vector", field="text")
        if self._ready and sum(map(len, texts)) <= _INLINE:
            return self._embed_all(texts)
        import asyncio

        return await asyncio.to_thread(self._embed_all, texts)

    def _embed_all(self, texts: Sequence[str]) -> list[array[float]]:
        vectors = [self._embed_one(text) for text in texts]
        self._ready = True
        return vectors

    def _embed_one(self, text: str) -> array[float]:
        import numpy as np

        counts = Counter(tokens(text))
        if not counts:  # punctuation only: its characters are all there is
            counts = Counter(text.split())
        places: list[Any] = []
        weights: list[Any] = []
        for word, count in counts.items():
            place, weight = self._features(word)
            places.append(place)
            weights.append(weight * _DAMPED[min(count, len(_DAMPED) - 1)])
        vector = np.bincount(
            np.concatenate(places), np.concatenate(weights), minlength=self.dimensions
        )
        norm = float(np.linalg.norm(vector))
        if norm == 0:  # features that cancel each other out
            vector[places[0][0]] = norm = 1.0
        return array("f", (vector / norm).astype(np.float32).tobytes())

    def _features_of(self, word: str) -> tuple[Any, Any]:
        """Places and signed weights of a word."""
        import numpy as np

        root = stem(word)
        weight = _STOP_WEIGHT if word in STOP_WORDS else 1.0
        features = [(f"w:{root}", weight)]
        if weight == 1.0 and len(root) > 3:
            marked = f"^{root}$"
            grams = [marked[i : i + 4] for i in range(len(marked) - 3)]
            features += [(f"g:{gram}", _PARTS / len(grams) ** 0.5) for gram in grams]
        places: list[int] = []
        weights: list[float] = []
        for feature, strength in features:
            number = int.from_bytes(
                blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
            )
            places.append((number >> 1) % self.dimensions)
            weights.append(strength if number & 1 else -strength)
        return np.array(places, np.intp), np.array(weights, np.float64)


def open_lexical(services: Services, *, name: str, dimensions: int | None = None) -> Embedder:
    """The factory ``lexical`` of the group ``llmspell.embedders``, also ``local`` and ``mock``."""
    return LexicalEmbedder(dimensions or 384)
