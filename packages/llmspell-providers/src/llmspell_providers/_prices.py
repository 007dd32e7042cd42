"""What model calls cost, as data: ``prices.json`` beside this file.

A model that is not listed, or is served from another address than the vendor's own, has no
known price, and its cost is None. `pricing` in a provider's configuration adds and overrides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast

from llmspell_core import ConfigurationError, Usage

ANY = "*"
"""In ``pricing``, the price of all models that have none of their own."""


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for 1,000 tokens.

    `cached` is for prompt tokens read from the vendor's cache, `cache_write` for those written
    to it, `reasoning` for completion tokens of thinking; None: as all prompt tokens, as all
    completion tokens. `above` are the prices of calls with longer prompts: from how many tokens
    on, and what they cost then.
    """

    prompt: float
    completion: float = 0.0
    cached: float | None = None
    cache_write: float | None = None
    reasoning: float | None = None
    above: tuple[tuple[int, Price], ...] = ()

    def cost(self, usage: Usage) -> float:
        """Dollars for *usage*."""
        price = self.of_prompt(usage.prompt_tokens)
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        written = min(usage.cache_write_tokens, usage.prompt_tokens - cached)
        fresh = usage.prompt_tokens - cached - written
        thought = min(usage.reasoning_tokens, usage.completion_tokens)
        said = usage.completion_tokens - thought
        return (
            fresh * price.prompt
            + cached * _or(price.cached, price.prompt)
            + written * _or(price.cache_write, price.prompt)
            + said * price.completion
            + thought * _or(price.reasoning, price.completion)
        ) / 1000

    def of_prompt(self, tokens: int) -> Price:
        """The price of a call with a prompt of so many tokens."""
        price = self
        for more_than, dearer in self.above:
            if tokens > more_than:
                price = dearer
        return price

    def at_most(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Dollars for so many tokens, when nothing is cheaper than it can be."""
        price = self.of_prompt(prompt_tokens)
        prompt = max(price.prompt, price.cache_write or 0.0)
        return (prompt_tokens * prompt + completion_tokens * price.dearest_completion) / 1000

    @property
    def dearest_completion(self) -> float:
        """Of an answer and of thinking, what costs more."""
        return max(self.completion, self.reasoning or 0.0)


def _or(price: float | None, other: float) -> float:
    return other if price is None else price


@cache
def published_prices() -> dict[str, dict[str, Price]]:
    """The published prices by provider type and model."""
    import json
    from importlib.resources import files

    text = (files("llmspell_providers") / "prices.json").read_text(encoding="utf-8")
    vendors: dict[str, dict[str, Any]] = json.loads(text)["vendors"]
    return {
        vendor: {model: _published(row) for model, row in table["models"].items()}
        for vendor, table in vendors.items()
    }


def _published(row: Mapping[str, Any]) -> Price:
    """A row of the file, which is in dollars for a million, as vendors write them."""
    above = tuple((int(tokens), _published(dearer)) for tokens, dearer in _above(row))
    return _price({key: row[key] / 1000 for key in _KEYS if key in row}, above)


def _price(dollars: Mapping[str, float], above: tuple[tuple[int, Price], ...] = ()) -> Price:
    """The price of a row, by its keys in files."""
    return Price(
        dollars["input"],
        dollars["output"],
        dollars.get("cached_input"),
        dollars.get("cache_write"),
        dollars.get("reasoning"),
        above,
    )


def _above(row: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return sorted(row.get("above", {}).items(), key=lambda one: int(one[0]))


_KEYS = ("input", "output", "cached_input", "cache_write", "reasoning")

_DATED = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|latest|\d{3}|\d{2}-\d{4})$")


class PriceList:
    """The prices of one provider's models, by name. ``gpt-4o-2024-08-06`` is a ``gpt-4o``,
    unless it has a price of its own.
    """

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = dict(prices)

    def of(self, model: str) -> Price | None:
        """The price of *model*; None when it is unknown."""
        name = model.removeprefix("models/")
        for form in (name, _DATED.sub("", name)):
            found = self._prices.get(form)
            if found is not None:
                return found
        return self._prices.get(ANY)

    def priced(self, usage: Usage | None, *models: str) -> Usage | None:
        """*usage* with its cost, where the provider told none and the price is known.

        Args:
            usage: What was used.
            models: The name of the model, the most exact one first.
        """
        if usage is None or usage.cost is not None:
            return usage
        price = next((p for p in map(self.of, models) if p is not None), None)
        return usage if price is None else replace(usage, cost=price.cost(usage))


def read_pricing(provider: str, table: Any) -> dict[str, Price]:
    """The ``pricing`` table: model → ``{input, output, cached_input?, cache_write?,
    reasoning?}`` in dollars for 1,000 tokens; the model ``*`` is all others.

    Raises:
        ConfigurationError: naming the key that does not fit.
    """
    place = f"providers.{provider}.pricing"
    if not isinstance(table, Mapping):
        raise ConfigurationError(
            f"'{place}' must be a table, not {type(table).__name__}", hint=_example(place)
        )
    return {
        model: _row(place, model, row) for model, row in cast("Mapping[str, Any]", table).items()
    }


def _row(place: str, model: str, row: Any) -> Price:
    values: dict[str, Any] = {}
    if isinstance(row, Mapping):
        values = dict(cast("Mapping[str, Any]", row))
    needed = all(_dollars(values.get(key)) for key in ("input", "output"))
    if not needed or not all(_dollars(value) for value in values.values()):
        raise ConfigurationError(
            f"'{place}.{model}' needs input and output in dollars for 1,000 tokens",
            hint=_example(place),
        )
    for key in values:
        if key not in _KEYS:
            raise ConfigurationError(
                f"unknown key '{place}.{model}.{key}'", hint=f"Known: {', '.join(_KEYS)}"
            )
    return _price({key: float(value) for key, value in values.items()})


def _dollars(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6


def _example(place: str) -> str:
    return f'Write it as: [{place}] "my-model" = {{ input = 0.0005, output = 0.0015 }}'
