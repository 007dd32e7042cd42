"""What a provider's table says of limits, pauses, waits and substitutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import ConfigurationError, ProviderSettings, nearest
from llmspell_providers._breaker import BreakerPolicy
from llmspell_providers._pacing import RateLimit

if TYPE_CHECKING:
    from llmspell_providers._http import Waits

_LONGEST_CONNECT = 10.0


@dataclass(frozen=True, slots=True)
class Resilience:
    """How calls of a provider are protected.

    `fallback` are the models that stand in when it cannot answer. `usual_answer` is the
    `max_tokens` that is sent when a request has none, where one is configured.
    """

    rate_limit: RateLimit = field(default_factory=RateLimit)
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    fallback: tuple[str, ...] = ()
    usual_answer: int | None = None


def take_resilience(provider: str, table: dict[str, Any]) -> Resilience:
    """Take the keys ``rate_limit``, ``max_concurrent_requests``, ``circuit_breaker`` and
    ``fallback`` out of a provider's *table*, and check ``timeouts``.

    Raises:
        ConfigurationError: naming the key that does not fit.
    """
    reader = _Reader(f"providers.{provider}")
    _timeouts(reader, table.get("timeouts"))
    breaker = table.pop("circuit_breaker", True)
    return Resilience(
        _rate_limit(
            reader, table.pop("rate_limit", None), table.pop("max_concurrent_requests", None)
        ),
        _breaker(reader, breaker),
        _fallback(reader, table.pop("fallback", ())),
    )


class _Reader:
    """Reads values below one place of the configuration."""

    def __init__(self, place: str) -> None:
        self.place = place

    def wrong(self, key: str, wanted: str, value: Any) -> ConfigurationError:
        return ConfigurationError(
            f"'{self.place}.{key}' must be {wanted}, not {type(value).__name__}"
        )

    def table(self, key: str, value: Any, known: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise self.wrong(key, "a table", value)
        made = dict(cast("Mapping[str, Any]", value))
        for inner in made:
            if inner not in known:
                close = nearest(inner, known)
                raise ConfigurationError(
                    f"unknown key '{self.place}.{key}.{inner}'",
                    hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(known)}",
                )
        return made

    def count(self, key: str, value: Any) -> int | None:
        """A whole number above 0, or nothing."""
        if value is None:
            return None
        number = self.number(key, value)
        if number is not None and number != int(number):
            raise self.wrong(key, "a whole number", value)
        return None if number is None else int(number)

    def number(self, key: str, value: Any) -> float | None:
        """A number above 0, or nothing."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, "a number", value)
        if value == 0:
            raise ConfigurationError(f"'{self.place}.{key}' cannot be zero")
        if not 0 < value < 1e12:
            raise ConfigurationError(f"'{self.place}.{key}' is {value:g}; it must be above 0")
        return float(value)

    def flag(self, key: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false", value)
        return value


def _rate_limit(reader: _Reader, value: Any, most: Any) -> RateLimit:
    at_once = reader.count("max_concurrent_requests", most)
    if value is None or value is False:
        return RateLimit(max_concurrent_requests=at_once)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return RateLimit(reader.count("rate_limit", value), max_concurrent_requests=at_once)
    known = ("requests_per_minute", "tokens_per_minute", "auto_retry")
    table = reader.table("rate_limit", value, known)
    inner = _Reader(f"{reader.place}.rate_limit")
    # Who limits only the tokens has said all there is to say.
    usual = None if "tokens_per_minute" in table else 60
    return RateLimit(
        inner.count("requests_per_minute", table.get("requests_per_minute", usual)),
        inner.count("tokens_per_minute", table.get("tokens_per_minute")),
        inner.flag("auto_retry", table.get("auto_retry", True)),
        at_once,
    )


def _breaker(reader: _Reader, value: Any) -> BreakerPolicy:
    usual = BreakerPolicy()
    if isinstance(value, bool):
        return usual if value else BreakerPolicy(failures=0)
    known = (
        "enabled",
        "failure_threshold",
        "success_threshold",
        "timeout_seconds",
        "half_open_max_requests",
    )
    table = reader.table("circuit_breaker", value, known)
    inner = _Reader(f"{reader.place}.circuit_breaker")
    if not inner.flag("enabled", table.get("enabled", True)):
        return BreakerPolicy(failures=0)
    return BreakerPolicy(
        inner.count("failure_threshold", table.get("failure_threshold")) or usual.failures,
        inner.count("success_threshold", table.get("success_threshold")) or usual.successes,
        inner.number("timeout_seconds", table.get("timeout_seconds")) or usual.seconds,
        inner.count("half_open_max_requests", table.get("half_open_max_requests")) or usual.probes,
    )


def _fallback(reader: _Reader, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        raise reader.wrong(
            "fallback", 'a list of models like ["anthropic/claude-sonnet-4-5"]', value
        )
    models = list(cast("list[Any]", value))
    for model in models:
        if not isinstance(model, str):
            raise reader.wrong("fallback", "a list of texts", model)
    return tuple(cast("list[str]", models))


_TIMEOUTS = ("connect", "first_token", "between_tokens", "total")


def _timeouts(reader: _Reader, value: Any) -> dict[str, float]:
    if value is None:
        return {}
    table = reader.table("timeouts", value, _TIMEOUTS)
    inner = _Reader(f"{reader.place}.timeouts")
    read = {key: inner.number(key, table.get(key)) for key in _TIMEOUTS}
    return {key: seconds for key, seconds in read.items() if seconds is not None}


def waits(settings: ProviderSettings, asked: float | None, *, stream: bool) -> Waits:
    """How long a call of this provider waits for what.

    ``timeout_seconds`` is the whole of an answer in one piece. A streamed answer may take longer
    as long as it keeps coming: there it is the wait for the first token, and between tokens.
    ``timeouts.total`` bounds both, and so does what the request itself allows. A connection
    takes at most ten seconds, unless ``timeouts.connect`` says otherwise.

    Args:
        settings: The provider's.
        asked: Seconds that the request allows for all of it.
        stream: Whether the answer comes in pieces.
    """
    from llmspell_providers._http import Waits

    set_ = _timeouts(_Reader(f"providers.{settings.name}"), settings.options.get("timeouts"))
    usual = settings.timeout_seconds
    total = asked if asked is not None else set_.get("total")
    if not stream:
        whole = usual if total is None else total
        return Waits(set_.get("connect", min(whole, _LONGEST_CONNECT)), whole, whole)
    return Waits(
        set_.get("connect", min(usual, _LONGEST_CONNECT)),
        set_.get("between_tokens", usual),
        total,
        set_.get("first_token", usual),
    )
