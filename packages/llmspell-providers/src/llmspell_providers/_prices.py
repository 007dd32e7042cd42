"""What model calls cost, as data: US dollars for 1,000 tokens, as published in mid 2025.

A model that is not listed, or is served from another address than the vendor's own, has no
known price, and its cost is None. `pricing` in a provider's configuration adds and overrides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from llmspell_core import ConfigurationError, Usage


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for 1,000 tokens; `cached` is for prompt tokens read from the vendor's cache."""

    prompt: float
    completion: float
    cached: float | None = None

    def cost(self, usage: Usage) -> float:
        """Dollars for *usage*. Reasoning tokens are part of the completion."""
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        fresh = usage.prompt_tokens - cached
        at_cache = self.prompt if self.cached is None else self.cached
        return (
            fresh * self.prompt + cached * at_cache + usage.completion_tokens * self.completion
        ) / 1000


PRICES: dict[str, dict[str, Price]] = {
    "openai": {
        "gpt-3.5-turbo": Price(0.0005, 0.0015),
        "gpt-4": Price(0.03, 0.06),
        "gpt-4-turbo": Price(0.01, 0.03),
        "gpt-4.1": Price(0.002, 0.008, 0.0005),
        "gpt-4.1-mini": Price(0.0004, 0.0016, 0.0001),
        "gpt-4.1-nano": Price(0.0001, 0.0004, 0.000025),
        "gpt-4o": Price(0.0025, 0.01, 0.00125),
        "gpt-4o-mini": Price(0.00015, 0.0006, 0.000075),
    },
}

_SNAPSHOT = re.compile(r"-\d{4}(-\d{2}-\d{2})?$")


class PriceList:
    """The prices of one provider's models, by name; ``gpt-4o-2024-08-06`` is a ``gpt-4o``."""

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = dict(prices)

    def priced(self, usage: Usage | None, model: str) -> Usage | None:
        """*usage* with its cost, where the provider told none and the price is known."""
        if usage is None or usage.cost is not None:
            return usage
        price = self._prices.get(model) or self._prices.get(_SNAPSHOT.sub("", model))
        return usage if price is None else replace(usage, cost=price.cost(usage))


def read_pricing(provider: str, table: Any) -> dict[str, Price]:
    """The ``pricing`` table: model → ``{input, output, cached_input?}`` in dollars.

    Raises:
        ConfigurationError: naming the key that does not fit.
    """
    place = f"providers.{provider}.pricing"
    if not isinstance(table, Mapping):
        raise ConfigurationError(
            f"'{place}' must be a table, not {type(table).__name__}", hint=_example(place)
        )
    made: dict[str, Price] = {}
    for model, row in cast("Mapping[str, Any]", table).items():
        values: Mapping[str, Any] = (
            cast("Mapping[str, Any]", row) if isinstance(row, Mapping) else {}
        )
        prompt, completion = values.get("input"), values.get("output")
        cached = values.get("cached_input")
        if not (_dollars(prompt) and _dollars(completion) and (cached is None or _dollars(cached))):
            raise ConfigurationError(
                f"'{place}.{model}' needs input and output in dollars for 1,000 tokens",
                hint=_example(place),
            )
        made[model] = Price(
            float(cast("float", prompt)),
            float(cast("float", completion)),
            None if cached is None else float(cached),
        )
    return made


def _dollars(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _example(place: str) -> str:
    return f'Write it as: [{place}] "my-model" = {{ input = 0.0005, output = 0.0015 }}'
