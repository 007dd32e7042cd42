from __future__ import annotations

import pytest

from llmspell_core import NetworkError, ProviderError, RateLimitError, ValidationError
from llmspell_utils import Retries, RetryPolicy

PLAIN = RetryPolicy(max_retries=3, initial_delay=1, max_delay=3, multiplier=2, jitter=0)


class Naps(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


async def test_waits_grow_to_their_maximum_and_then_the_error_goes_on() -> None:
    naps = Naps()
    retries = Retries(PLAIN, sleep=naps, random=lambda: 0.5)
    error = NetworkError("down")
    for _ in range(3):
        await retries.wait(error)
    with pytest.raises(NetworkError) as caught:
        await retries.wait(error)
    assert caught.value is error
    assert naps == [1, 2, 3]
    assert retries.made == 3


@pytest.mark.parametrize(
    "error",
    [
        ValidationError("wrong"),
        ProviderError("no", kind="auth"),
        NetworkError("x", retryable=False),
    ],
)
async def test_what_cannot_pass_is_not_waited_for(error: Exception) -> None:
    naps = Naps()
    with pytest.raises(type(error)):
        await Retries(PLAIN, sleep=naps).wait(error)  # type: ignore[arg-type]
    assert naps == []


@pytest.mark.parametrize(
    ("jitter", "random", "seconds"),
    [(1.0, 0.0, 0.0), (1.0, 0.25, 1.0), (1.0, 1.0, 4.0), (0.2, 0.0, 3.2), (0.2, 1.0, 4.0)],
)
async def test_chance_decides_the_part_of_a_wait_that_is_jitter(
    jitter: float, random: float, seconds: float
) -> None:
    naps = Naps()
    policy = RetryPolicy(initial_delay=4.0, jitter=jitter)
    await Retries(policy, sleep=naps, random=lambda: random).wait(NetworkError("x"))
    assert naps == [pytest.approx(seconds)]


def test_the_whole_of_a_wait_is_left_to_chance_unless_somebody_says_otherwise() -> None:
    assert RetryPolicy().delay(0, 0.0) == 0.0
    assert RetryPolicy().delay(2, 1.0) == 4.0


async def test_retry_after_is_never_undercut() -> None:
    naps = Naps()
    retries = Retries(RetryPolicy(jitter=0.2), sleep=naps, random=lambda: 0.5)
    await retries.wait(RateLimitError("slow", retry_after=7))
    assert naps == [pytest.approx(7.1)]


async def test_a_peer_that_asks_for_hours_gets_no_second_call() -> None:
    naps = Naps()
    with pytest.raises(RateLimitError):
        await Retries(PLAIN, sleep=naps).wait(RateLimitError("slow", retry_after=3600))
    assert naps == []


async def test_no_wait_outlasts_the_caller() -> None:
    naps = Naps()
    retries = Retries(PLAIN, sleep=naps, random=lambda: 0.5)
    with pytest.raises(NetworkError):
        await retries.wait(NetworkError("x"), remaining=0.5)
    await retries.wait(NetworkError("x"), remaining=1.5)
    assert naps == [1]


async def test_an_error_may_allow_fewer_retries_than_the_policy() -> None:
    retries = Retries(PLAIN, sleep=Naps())
    await retries.wait(NetworkError("x"), most=1)
    with pytest.raises(NetworkError):
        await retries.wait(NetworkError("x"), most=1)


async def test_without_a_sleep_of_its_own_it_sleeps_for_real() -> None:
    await Retries(RetryPolicy(initial_delay=0, max_delay=0)).wait(NetworkError("x"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_retries": -1},
        {"initial_delay": -0.1},
        {"max_delay": -1},
        {"multiplier": 0.5},
        {"jitter": 1.5},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"negative|multiplier"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]
