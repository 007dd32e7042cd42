"""What is put around every provider, and in which order.

::

    Budgeted( Recorded( Ending( Falling( guarded, substitutes … ))))
    guarded = Breaking( Retrying( Paced( Priced( provider ))))

- `Budgeted` stands outside of `Recorded`, so that a replay, which asks nobody, decides and
  counts the same. Whatever happens below is one call to it.
- `Recorded` writes one effect for the whole of it: which try or which model succeeded is part of
  the outcome.
- `Ending` gives up whatever goes on inside when the execution is cancelled or out of time.
- `Falling` moves on to the next model when one is at its end: after its retries, or at once when
  its circuit is open.
- `Breaking` counts calls that failed in spite of their retries.
- `Retrying` waits and tries again; each try takes its turn in `Paced`, because each counts at
  the vendor.
- `Priced` knows what the answer cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmspell_core import Provider
from llmspell_providers._breaker import Breaker, Breaking
from llmspell_providers._budgeted import Budgeted
from llmspell_providers._ending import Ending
from llmspell_providers._fallback import Falling, Substitute
from llmspell_providers._paced import Paced
from llmspell_providers._priced import Priced
from llmspell_providers._recorded import Recorded
from llmspell_providers._retrying import Retrying

if TYPE_CHECKING:
    from llmspell_providers._pacing import Pace
    from llmspell_providers._prices import Price, PriceList
    from llmspell_providers._resilience import Resilience
    from llmspell_utils import RetryPolicy


class Guarded:
    """A provider with what keeps it within its limits; `breaker` tells how it is.

    Args:
        provider: The provider itself.
        resilience: What is configured.
        retry: How often it is tried again.
        prices: What its models cost.
        pace: Its turns; the provider's settings let it hear the headers.
        when_unreachable: Try again when the server cannot be reached.
    """

    def __init__(
        self,
        provider: Provider,
        resilience: Resilience,
        retry: RetryPolicy,
        prices: PriceList,
        pace: Pace,
        *,
        when_unreachable: bool = True,
    ) -> None:
        self.breaker = Breaker(provider.name, resilience.breaker)
        self.prices = prices
        paced = Paced(Priced(provider, prices), pace, gate=self.breaker.check)
        retrying = Retrying(
            paced,
            retry,
            when_unreachable=when_unreachable,
            when_limited=resilience.rate_limit.auto_retry,
        )
        self.provider = Breaking(retrying, self.breaker)
        self.usual_answer = resilience.usual_answer


def wrapped(guarded: Guarded, substitutes: Sequence[tuple[Guarded, Substitute]] = ()) -> Provider:
    """A guarded provider as agents get it, with those that stand in for it."""
    provider: Provider = guarded.provider
    if substitutes:
        provider = Falling(provider, [substitute for _, substitute in substitutes])

    def prices(model: str) -> Sequence[tuple[str, Price | None]]:
        first = (f"{provider.name}/{model}", guarded.prices.of(model))
        others = ((other.text, own.prices.of(other.model)) for own, other in substitutes)
        return [first, *others]

    return Budgeted(Recorded(Ending(provider)), prices, usual_answer=guarded.usual_answer)
