"""What calls cost: the published prices, and those somebody sets."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import pytest

import llmspell_providers
from llmspell_core import ConfigurationError, Usage
from llmspell_providers._catalogue import VENDORS
from llmspell_providers._prices import Price, PriceList, published_prices, read_pricing

FILE = json.loads((files(llmspell_providers) / "prices.json").read_text(encoding="utf-8"))


def test_every_table_of_the_file_says_where_it_was_read_and_when() -> None:
    for vendor, table in FILE["vendors"].items():
        assert vendor in VENDORS
        assert re.fullmatch(r"https://[^\s]+", table["source"]), vendor
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", table["read"]), vendor
        assert table["models"], vendor


def test_every_row_of_the_file_makes_sense() -> None:
    for vendor, prices in published_prices().items():
        for model, price in prices.items():
            where = f"{vendor}/{model}"
            # Dollars for 1,000 tokens: beyond these somebody wrote another unit.
            assert 0 < price.prompt <= 0.2, where
            assert 0 <= price.completion <= 0.7, where
            assert price.cached is None or 0 <= price.cached <= price.prompt, where
            assert price.cache_write is None or price.prompt <= price.cache_write * 1.01, where


USAGE = Usage(1000, 500, cached_tokens=400, cache_write_tokens=100, reasoning_tokens=200)


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        (Price(1.0, 2.0), 1.0 + 1.0),
        (Price(1.0, 2.0, cached=0.1), 0.6 + 0.04 + 1.0),
        (Price(1.0, 2.0, cached=0.1, cache_write=1.25), 0.5 + 0.04 + 0.125 + 1.0),
        (Price(1.0, 2.0, reasoning=3.0), 1.0 + 0.6 + 0.6),
    ],
)
def test_each_kind_of_token_has_its_price(price: Price, cost: float) -> None:
    assert price.cost(USAGE) == pytest.approx(cost)
    assert price.at_most(1000, 500) >= price.cost(USAGE)


def test_a_long_prompt_costs_more_where_the_vendor_says_so() -> None:
    price = Price(1.0, 2.0, above=((200, Price(10.0, 20.0)), (1000, Price(100.0, 200.0))))
    costs = [price.cost(Usage(tokens, 10)) for tokens in (200, 201, 1001)]
    assert costs == [pytest.approx(0.22), pytest.approx(2.21), pytest.approx(102.1)]
    assert price.at_most(1001, 10) == pytest.approx(102.1)


def test_counts_that_contradict_each_other_never_make_a_price_negative() -> None:
    price = Price(1.0, 1.0, cached=0.5, cache_write=2.0, reasoning=5.0)
    odd = Usage(10, 10, cached_tokens=50, cache_write_tokens=50, reasoning_tokens=50)
    assert price.cost(odd) == pytest.approx(0.005 + 0.05)


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("gpt-4o", True),
        ("gpt-4o-2024-08-06", True),
        ("models/gpt-4o", True),
        ("gpt-4o-latest", True),
        ("gpt-4o-20240806", True),
        ("gpt-4o-0613", False),
        ("gpt-4o-audio", False),
        ("gpt-4", False),
    ],
)
def test_a_dated_model_costs_as_the_model(model: str, known: bool) -> None:
    price = Price(1.0, 2.0)
    assert PriceList({"gpt-4o": price}).of(model) == (price if known else None)


def test_a_price_of_its_own_goes_before_that_of_the_undated_name() -> None:
    prices = PriceList({"m": Price(1.0), "m-2024-05-13": Price(2.0), "*": Price(3.0)})
    found = [prices.of(name) for name in ("m-2024-05-13", "m-2025-01-01", "other")]
    assert found == [Price(2.0), Price(1.0), Price(3.0)]


def test_what_the_provider_charged_stays_and_an_unknown_price_is_no_zero() -> None:
    prices = PriceList({"m": Price(1.0, 1.0)})
    assert prices.priced(Usage(1, 1, cost=0.5), "m") == Usage(1, 1, cost=0.5)
    assert prices.priced(Usage(1, 1), "other") == Usage(1, 1, cost=None)
    assert prices.priced(None, "m") is None


def test_the_published_prices_are_those_of_the_contract() -> None:
    def per_thousand(vendor: str, model: str) -> tuple[float, float] | None:
        price = PriceList(published_prices()[vendor]).of(model)
        return None if price is None else (round(price.prompt, 6), round(price.completion, 6))

    assert per_thousand("openai", "gpt-4") == (0.03, 0.06)
    assert per_thousand("openai", "gpt-3.5-turbo") == (0.0005, 0.0015)
    assert per_thousand("anthropic", "claude-3-opus-20240229") == (0.015, 0.075)
    assert per_thousand("anthropic", "claude-3-sonnet-20240229") == (0.003, 0.015)


def test_pricing_of_the_configuration_takes_every_kind_of_token() -> None:
    row = {"input": 1, "output": 2, "cached_input": 0.5, "cache_write": 1.5, "reasoning": 3}
    assert read_pricing("p", {"m": row, "*": {"input": 0, "output": 0}}) == {
        "m": Price(1.0, 2.0, 0.5, 1.5, 3.0),
        "*": Price(0.0, 0.0),
    }


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (3, "'providers.p.pricing' must be a table"),
        ({"m": 3}, r"'providers.p.pricing.m' needs input and output"),
        ({"m": {"input": 1}}, "needs input and output"),
        ({"m": {"input": "1", "output": 1}}, "needs input and output"),
        ({"m": {"input": -1, "output": 1}}, "needs input and output"),
        (
            {"m": {"input": 1, "output": 1, "cached": 1}},
            r"unknown key 'providers.p.pricing.m.cached'",
        ),
    ],
)
def test_pricing_that_is_none_is_refused(table: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read_pricing("p", table)
