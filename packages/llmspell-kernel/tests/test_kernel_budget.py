"""What an execution may spend, and who is asked, comes from its caller or the configuration."""

from __future__ import annotations

import pytest

from kernel_testkit import Output, make_kernel_services
from llmspell_core import (
    ApprovalPolicy,
    BudgetError,
    BudgetLimits,
    Source,
    ValidationError,
)
from llmspell_kernel import Kernel

TELL = """
budget = context.budget
result = None if budget is None else [
    budget.limits.cost, budget.limits.tokens, budget.limits.calls, budget.limits.seconds,
    budget.limits.soft,
]
"""


def limits(tmp_path, config, budget=None):
    services = make_kernel_services(tmp_path, {"runtime": {"budget": config}} if config else {})
    try:
        with Kernel(services, output=Output()) as kernel:
            return kernel.execute(Source(TELL, "t"), budget=budget).result(10).value
    finally:
        services.close()


@pytest.mark.parametrize(
    ("config", "budget", "expected"),
    [
        (None, None, None),
        ({"soft": 0.5}, None, None),
        ({"cost": 0.5, "calls": 3}, None, [0.5, None, 3, None, 0.8]),
        (None, BudgetLimits(tokens=9, seconds=2.5), [None, 9, None, 2.5, 0.8]),
        ({"cost": 0.5, "soft": 0.4}, BudgetLimits(cost=9.0, calls=1), [9.0, None, 1, None, 0.4]),
        ({"cost": 0.5}, BudgetLimits(calls=1, soft=0.6), [0.5, None, 1, None, 0.6]),
    ],
)
def test_limits_of_the_caller_go_before_those_of_the_configuration(
    tmp_path, config, budget, expected
):
    assert limits(tmp_path, config, budget) == expected


def test_a_soft_limit_beyond_the_hard_one_is_refused(tmp_path):
    with pytest.raises(ValidationError, match=r"budget\.soft"):
        limits(tmp_path, {"cost": 0.5, "soft": 1.5})


def test_each_execution_has_the_whole_budget(services, output):
    spend = "context.budget.reserve(tokens=6, cost=None, now=0.0)"
    with Kernel(services, output=output) as kernel:
        for _ in range(2):
            kernel.execute(Source(spend, "t"), budget=BudgetLimits(tokens=10)).result(10)
        with pytest.raises(BudgetError, match="budget tokens limit of 10"):
            kernel.execute(Source(f"{spend}\n{spend}", "t"), budget=BudgetLimits(tokens=10)).result(
                10
            )


def test_a_replay_has_the_budget_of_the_run_whatever_the_configuration_says_now(tmp_path):
    services = make_kernel_services(tmp_path)
    with Kernel(services, output=Output()) as kernel:
        recorded = kernel.execute(
            Source(TELL, "t"), budget=BudgetLimits(cost=0.25, calls=7), record=True
        )
        first = recorded.result(10).value
    services.close()
    services = make_kernel_services(tmp_path, {"runtime": {"budget": {"cost": 9.0}}})
    with Kernel(services, output=Output()) as kernel:
        assert kernel.replay(recorded.run_id).result(10).value == first
        assert kernel.resume(recorded.run_id).result(10).value == first
    services.close()
    assert first == [0.25, None, 7, None, 0.8]


def test_whoever_answers_questions_is_found_in_the_context(services, output):
    policy = ApprovalPolicy(ask="always")
    with Kernel(services, output=output) as kernel:
        asked = kernel.execute(Source("result = context.approval", "t"), approval=policy)
        assert asked.result(10).value is policy
        unasked = kernel.execute(Source("result = context.approval.ask", "t"))
        assert unasked.result(10).value == "configured"
