"""What vendors tell of their limits in the headers of an answer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_RESOURCES = ("requests", "tokens", "input_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of one resource: ``requests, tokens, input_tokens, output_tokens``.

    `remaining` may be taken now. `reset_seconds` is until all of `limit` is there again:
    little by little where `refills`, else at once.
    """

    resource: str
    remaining: float
    limit: float | None = None
    reset_seconds: float | None = None
    refills: bool = False


def read_limits(headers: Mapping[str, str], *, now: Callable[[], float] = time.time) -> list[Told]:
    """The limits in *headers*, in any of the forms that are in use.

    - OpenAI, Azure, Groq and others: ``x-ratelimit-remaining-requests``, ``-tokens``, reset as
      ``6m0s`` (https://platform.openai.com/docs/guides/rate-limits)
    - Anthropic: ``anthropic-ratelimit-requests-remaining``, ``-tokens-``, ``-input-tokens-``,
      ``-output-tokens-``, reset as an RFC 3339 time
      (https://docs.anthropic.com/en/api/rate-limits)
    - Mistral: ``x-ratelimit-remaining-req-minute``, ``-tokens-minute``
    - ``x-ratelimit-remaining``, ``x-rate-limit-remaining``, ``ratelimit-remaining``

    Args:
        headers: By lower-case name.
        now: Unix seconds; used for dates where the answer has no ``Date`` of its own, so that a
            wrong clock here does not matter.
    """
    base = _Clock(headers, now)
    found = [
        told
        for resource in _RESOURCES
        for told in (_openai(headers, resource, base), _anthropic(headers, resource, base))
        if told is not None
    ]
    found += [told for told in (_mistral(headers, r) for r in ("requests", "tokens")) if told]
    return found or [told for told in [_generic(headers, base)] if told is not None]


class _Clock:
    """The moment of an answer, by its sender's clock."""

    def __init__(self, headers: Mapping[str, str], now: Callable[[], float]) -> None:
        self._date = headers.get("date")
        self._now = now

    def until(self, moment: float) -> float:
        """Seconds from the answer to *moment*, never negative."""
        base: float | None = None
        if self._date is not None:
            # Late: it imports more than all the rest of this package.
            from email.utils import parsedate_to_datetime

            try:
                base = parsedate_to_datetime(self._date).timestamp()
            except ValueError:
                base = None
        return max(0.0, moment - (self._now() if base is None else base))


def _number(text: str | None) -> float | None:
    try:
        value = float((text or "").partition(",")[0])
    except ValueError:
        return None
    return value if 0 <= value < 1e15 else None


def _openai(headers: Mapping[str, str], resource: str, clock: _Clock) -> Told | None:
    remaining = _number(headers.get(f"x-ratelimit-remaining-{resource}"))
    if remaining is None:
        return None
    limit = _number(headers.get(f"x-ratelimit-limit-{resource}"))
    reset = _span(headers.get(f"x-ratelimit-reset-{resource}"), clock)
    return Told(resource, remaining, limit, reset, refills=limit is not None)


def _anthropic(headers: Mapping[str, str], resource: str, clock: _Clock) -> Told | None:
    beginning = f"anthropic-ratelimit-{resource.replace('_', '-')}"
    remaining = _number(headers.get(f"{beginning}-remaining"))
    if remaining is None:
        return None
    limit = _number(headers.get(f"{beginning}-limit"))
    reset = _moment(headers.get(f"{beginning}-reset"), clock)
    return Told(resource, remaining, limit, reset, refills=limit is not None)


def _mistral(headers: Mapping[str, str], resource: str) -> Told | None:
    word = "req" if resource == "requests" else resource
    remaining = _number(headers.get(f"x-ratelimit-remaining-{word}-minute"))
    if remaining is None:
        return None
    limit = _number(headers.get(f"x-ratelimit-limit-{word}-minute"))
    return Told(resource, remaining, limit, 60.0)


def _generic(headers: Mapping[str, str], clock: _Clock) -> Told | None:
    for beginning in ("x-ratelimit", "x-rate-limit", "ratelimit"):
        remaining = _number(headers.get(f"{beginning}-remaining"))
        if remaining is not None:
            limit = _number(headers.get(f"{beginning}-limit"))
            return Told("requests", remaining, limit, _reset(headers, beginning, clock))
    return None


def _reset(headers: Mapping[str, str], beginning: str, clock: _Clock) -> float | None:
    text = headers.get(f"{beginning}-reset")
    number = _number(text)
    if number is None:
        return _moment(text, clock)
    if number > 1e11:
        return clock.until(number / 1000)
    return clock.until(number) if number > 1e9 else number


_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _span(text: str | None, clock: _Clock) -> float | None:
    """``6m0s``, ``120ms``, a number of seconds, or a time."""
    if text is None:
        return None
    parts = _PART.findall(text)
    if parts and "".join(f"{amount}{unit}" for amount, unit in parts) == text.strip():
        return sum(float(amount) * _UNITS[unit] for amount, unit in parts)
    number = _number(text)
    return _moment(text, clock) if number is None else number


def _moment(text: str | None, clock: _Clock) -> float | None:
    """A time in RFC 3339."""
    if not text:
        return None
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return None if moment.tzinfo is None else clock.until(moment.timestamp())
