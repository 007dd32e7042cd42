"""`Budget`: reserve before a call, settle after it."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell_core import (
    Budget,
    BudgetError,
    BudgetLimits,
    ConfigurationError,
    Usage,
    ValidationError,
)


def budget(**limits: Any) -> Budget:
    return Budget(BudgetLimits(**limits), started=0.0)


def test_what_is_reserved_counts_until_the_call_is_settled_by_what_it_took() -> None:
    wallet = budget(tokens=100, cost=1.0)
    first = wallet.reserve(tokens=60, cost=0.5, now=0.0)
    with pytest.raises(BudgetError, match="budget tokens limit of 100 exceeded"):
        wallet.reserve(tokens=60, cost=0.1, now=0.0)
    wallet.settle(first, Usage(10, 20, cost=0.25))
    second = wallet.reserve(tokens=70, cost=0.75, now=0.0)
    wallet.settle(second, None)
    assert wallet.to_dict() == {"tokens": 100, "cost": 1.0, "calls": 2}


def test_a_released_or_twice_settled_reservation_takes_nothing() -> None:
    wallet = budget(tokens=100)
    held = wallet.reserve(tokens=100, cost=None, now=0.0)
    wallet.release(held)
    wallet.settle(held, Usage(50, 50))
    assert wallet.to_dict() == {"tokens": 0, "cost": 0.0, "calls": 1}
    wallet.reserve(tokens=100, cost=None, now=0.0)


def test_an_inner_budget_spends_from_the_outer_one_too_or_from_neither() -> None:
    outer = budget(tokens=100)
    inner = Budget(BudgetLimits(tokens=80), started=0.0, parent=outer)
    inner.settle(inner.reserve(tokens=50, cost=None, now=0.0), None)
    assert (outer.tokens, inner.tokens) == (50, 50)
    outer.settle(outer.reserve(tokens=40, cost=None, now=0.0), None)
    with pytest.raises(BudgetError, match=r"limit of 100 exceeded \(used: 90\)"):
        inner.reserve(tokens=20, cost=None, now=0.0)
    assert (inner.tokens, inner.calls, outer.calls) == (50, 1, 2)


@pytest.mark.parametrize(
    ("limits", "resource"),
    [({"calls": 1}, "budget calls"), ({"seconds": 5.0}, "budget seconds")],
)
def test_calls_and_seconds_end_it(limits: dict[str, Any], resource: str) -> None:
    wallet = budget(**limits)
    wallet.release(wallet.reserve(tokens=1, cost=None, now=0.0))
    with pytest.raises(BudgetError) as caught:
        wallet.reserve(tokens=1, cost=None, now=5.0)
    assert caught.value.resource == resource


def test_money_cannot_be_limited_where_the_price_is_unknown() -> None:
    with pytest.raises(ConfigurationError, match="price of this model is unknown"):
        budget(cost=1.0).reserve(tokens=1, cost=None, now=0.0)


def test_the_soft_limit_of_an_outer_budget_is_seen_from_inside() -> None:
    outer = budget(seconds=10.0)
    inner = Budget(BudgetLimits(), started=0.0, parent=outer)
    assert [inner.nearly_spent(now) for now in (0.0, 7.9, 8.0)] == [False, False, True]
    assert inner.remaining_seconds(4.0) == 6.0
    assert budget().remaining_seconds(4.0) is None


@pytest.mark.parametrize("wrong", [{"tokens": 0}, {"cost": -1.0}, {"soft": 0.0}, {"soft": 1.1}])
def test_limits_that_allow_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=f"budget.{next(iter(wrong))}"):
        BudgetLimits(**wrong)


def test_the_budget_tells_what_is_left_of_the_narrowest_limit() -> None:
    outer = budget(tokens=100, cost=1.0)
    inner = Budget(BudgetLimits(tokens=80), started=0.0, parent=outer)
    outer.settle(outer.reserve(tokens=50, cost=0.25, now=0.0), None)
    inner.reserve(tokens=30, cost=0.5, now=0.0)
    assert (inner.remaining_tokens(), inner.remaining_cost()) == (20, 0.25)
    assert (budget().remaining_tokens(), budget().remaining_cost()) == (None, None)


def test_a_call_that_was_allowed_before_is_held_without_asking_again() -> None:
    wallet = budget(tokens=10, calls=1)
    wallet.settle(wallet.hold(tokens=50, cost=None), Usage(20, 20))
    assert (wallet.to_dict(), wallet.remaining_tokens()) == (
        {"tokens": 40, "cost": 0.0, "calls": 1},
        0,
    )


def test_the_model_whose_price_is_unknown_is_named() -> None:
    with pytest.raises(ConfigurationError, match="price of 'local/llama' is unknown"):
        budget(cost=1.0).reserve(tokens=1, cost=None, now=0.0, model="local/llama")
