"""`Budget`: what an execution may spend on models, reserved before a call and settled after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmspell_core._errors import ConfigurationError, ResourceLimitError, ValidationError

if TYPE_CHECKING:
    from llmspell_core._values import Usage


class BudgetError(ResourceLimitError):
    """A call would pass a budget: it was not made."""

    code = "BUDGET_EXCEEDED"


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """The most that may be spent: model tokens, US dollars, model calls, seconds. None: no limit.

    From the fraction `soft` of any limit on, `Budget.nearly_spent` tells agents to finish.

    Raises:
        ValidationError: for a limit that is not positive, or a `soft` outside 0 to 1.
    """

    tokens: int | None = None
    cost: float | None = None
    calls: int | None = None
    seconds: float | None = None
    soft: float = 0.8

    def __post_init__(self) -> None:
        for name in ("tokens", "cost", "calls", "seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValidationError(
                    f"budget.{name} must be above 0, not {value!r}", field=f"budget.{name}"
                )
        if not 0 < self.soft <= 1:
            raise ValidationError(
                f"budget.soft must be above 0 and at most 1, not {self.soft!r}", field="budget.soft"
            )


@dataclass(slots=True)
class Reservation:
    """What a call in progress holds of the budget; `Budget.settle` or `release` ends it."""

    tokens: int
    cost: float
    open: bool = True


class Budget:
    """The money and tokens of an execution and of all that it starts.

    A budget inside another one spends from both. It belongs to one event loop. The clock is the
    caller's (`ExecutionContext.monotonic`), so that a replay decides the same.

    Args:
        limits: The most that may be spent.
        started: The caller's clock at the beginning.
        parent: The budget this one lies in.
    """

    __slots__ = ("_held_cost", "_held_tokens", "_parent", "_started", "calls", "cost", "limits",
                 "tokens")  # fmt: skip

    def __init__(
        self, limits: BudgetLimits, *, started: float, parent: Budget | None = None
    ) -> None:
        self.limits = limits
        self.tokens = 0
        self.cost = 0.0
        self.calls = 0
        self._held_tokens = 0
        self._held_cost = 0.0
        self._started = started
        self._parent = parent

    def reserve(
        self, *, tokens: int, cost: float | None, now: float, model: str | None = None
    ) -> Reservation:
        """Set aside what a call will take at most.

        Args:
            tokens: Its prompt and completion, as estimated.
            cost: Their price; None when it is unknown.
            now: The caller's clock.
            model: Who is to be called, for the message when the price is unknown.

        Raises:
            BudgetError: when it is more than is left; nothing is reserved then.
            ConfigurationError: ``PRICE_UNKNOWN``, when money is limited and the price is not
                known.
        """
        late = self.out_of_time(now)
        if late is not None:
            raise late
        for budget in self._line():
            budget._check(tokens, cost, model)
        return self.hold(tokens=tokens, cost=cost)

    def hold(self, *, tokens: int, cost: float | None) -> Reservation:
        """As `reserve`, without asking whether it is left: for a call that was allowed before,
        when the run that made it is replayed.
        """
        for budget in self._line():
            budget._held_tokens += tokens
            budget._held_cost += cost or 0.0
            budget.calls += 1
        return Reservation(tokens, cost or 0.0)

    def settle(self, reservation: Reservation, usage: Usage | None) -> None:
        """Replace the reservation by what the call really took; without *usage* by itself."""
        tokens, cost = reservation.tokens, reservation.cost
        if usage is not None:
            tokens = usage.total_tokens
            cost = cost if usage.cost is None else usage.cost
        if self._give_back(reservation):
            for budget in self._line():
                budget.tokens += tokens
                budget.cost += cost

    def release(self, reservation: Reservation) -> None:
        """Give it back: the call did not happen. Its try still counts as a call."""
        self._give_back(reservation)

    def nearly_spent(self, now: float) -> bool:
        """Whether the soft limit of this or an outer budget is reached."""
        return any(budget._nearly(now) for budget in self._line())

    def remaining_seconds(self, now: float) -> float | None:
        """Until the nearest end; None without one."""
        left = [
            b.limits.seconds - (now - b._started)
            for b in self._line()
            if b.limits.seconds is not None
        ]
        return max(0.0, min(left)) if left else None

    def out_of_time(self, now: float) -> BudgetError | None:
        """The error that the time of this or an outer budget is over; None while it is not."""
        for budget in self._line():
            seconds, used = budget.limits.seconds, now - budget._started
            if seconds is not None and used >= seconds:
                return BudgetError("budget seconds", limit=seconds, used=round(used, 3))
        return None

    def remaining_tokens(self) -> int | None:
        """What neither was spent nor is held, here and in the outer budgets; None: no limit."""
        left = [
            b.limits.tokens - b.tokens - b._held_tokens
            for b in self._line()
            if b.limits.tokens is not None
        ]
        return max(0, min(left)) if left else None

    def remaining_cost(self) -> float | None:
        """As `remaining_tokens`, in US dollars."""
        left = [
            b.limits.cost - b.cost - b._held_cost for b in self._line() if b.limits.cost is not None
        ]
        return max(0.0, min(left)) if left else None

    def to_dict(self) -> dict[str, Any]:
        """What was spent: ``{tokens, cost, calls}``."""
        return {"tokens": self.tokens, "cost": self.cost, "calls": self.calls}

    def _line(self) -> list[Budget]:
        line: list[Budget] = [self]
        while line[-1]._parent is not None:
            line.append(line[-1]._parent)
        return line

    def _check(self, tokens: int, cost: float | None, model: str | None) -> None:
        limits = self.limits
        if limits.calls is not None and self.calls >= limits.calls:
            raise BudgetError("budget calls", limit=limits.calls, used=self.calls)
        if limits.tokens is not None:
            used = self.tokens + self._held_tokens
            if used + tokens > limits.tokens:
                raise BudgetError(
                    "budget tokens",
                    limit=limits.tokens,
                    used=used,
                    hint=f"The next call may take up to {tokens} tokens; raise the limit, or "
                    "lower max_tokens.",
                )
        if limits.cost is not None:
            if cost is None:
                raise ConfigurationError(
                    "The budget limits money, but the price of "
                    + (f"'{model}'" if model else "this model")
                    + " is unknown",
                    hint="Add its price under [providers.NAME.pricing], or limit tokens instead.",
                    details={"model": model},
                    code="PRICE_UNKNOWN",
                )
            spent = self.cost + self._held_cost
            if spent + cost > limits.cost:
                raise BudgetError(
                    "budget cost",
                    limit=f"${limits.cost:g}",
                    used=f"${spent:.6g}",
                    hint=f"The next call may cost up to ${cost:.6g}.",
                )

    def _give_back(self, reservation: Reservation) -> bool:
        if not reservation.open:
            return False
        reservation.open = False
        for budget in self._line():
            budget._held_tokens -= reservation.tokens
            budget._held_cost -= reservation.cost
        return True

    def _nearly(self, now: float) -> bool:
        limits = self.limits
        spent = (
            (self.tokens + self._held_tokens, limits.tokens),
            (self.cost + self._held_cost, limits.cost),
            (self.calls, limits.calls),
            (now - self._started, limits.seconds),
        )
        return any(most is not None and used >= limits.soft * most for used, most in spent)
