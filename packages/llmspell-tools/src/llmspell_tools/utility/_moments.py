"""Moments in time: read from many texts, written in others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import product

from llmspell_core import ValidationError

DEFAULT_FORMAT = "%Y-%m-%dT%H:%M:%S%.fZ"
OFFSET_FORMAT = "%Y-%m-%dT%H:%M:%S%.f%:z"

_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d.%m.%Y")
_WORDY = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y")
_TIMES = (" %H:%M:%S", " %H:%M:%S.%f", " %H:%M", "")

FORMATS: tuple[str, ...] = (
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S.%fZ",
    "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%dT%H:%M:%S.%f%z",
    "%Y-%m-%dT%H:%M:%S",
    *(date + time for date, time in product((*_DATES, *_WORDY), _TIMES)),
)
"""What is tried in order, after epoch seconds, RFC 3339 and RFC 2822."""

_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2}):?(\d{2})?", re.IGNORECASE)
_LONGEST = 200


def zone(name: str) -> tzinfo:
    """The time zone *name*: ``local``, ``UTC``, an IANA name or an offset (``+02:00``).

    Raises:
        ValidationError: ``Invalid timezone``.
    """
    if name.lower() == "local":
        found = datetime.now(UTC).astimezone().tzinfo
        return found or UTC
    if name.upper() in ("UTC", "Z", "GMT"):
        return UTC
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        sign, hours, minutes = offset.groups(default="0")
        span = timedelta(hours=int(hours), minutes=int(minutes))
        if span < timedelta(hours=24):
            return timezone(-span if sign == "-" else span)
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValidationError(
            f"Invalid timezone: '{name}'",
            field="timezone",
            hint="Use an IANA name such as Europe/Berlin, UTC, local or +02:00. If none is known, "
            "this machine has no time zone database: pip install tzdata",
        ) from None


def from_epoch(seconds: float) -> datetime:
    """The moment *seconds* after 1970 in UTC.

    Raises:
        ValidationError: outside the years 1 to 9999.
    """
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        raise ValidationError(
            f"Failed to parse date: {seconds!r} is out of range", field="input"
        ) from None


def parse(value: str | float, form: str | None = None) -> tuple[datetime, str]:
    """The moment that *value* names, and the format it was read by. Naive times are UTC.

    Raises:
        ValidationError: ``Failed to parse date``.
    """
    if not isinstance(value, str):
        return from_epoch(value), "timestamp"
    text = value.strip()
    if form is not None:
        found = _by(text, form)
        if found is None:
            raise ValidationError(
                f"Failed to parse date '{_cut(value)}' with format '{form}'", field="input"
            )
        return found, form
    if len(text) <= _LONGEST:
        for found, used in _guesses(text):
            if found is not None:
                return found, used
    raise ValidationError(
        f"Failed to parse date: '{_cut(value)}'",
        field="input",
        hint="Write it as 2026-01-31, 2026-01-31T12:00:00Z, or give a format.",
    )


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"


def _guesses(text: str) -> Iterator[tuple[datetime | None, str]]:
    if re.fullmatch(r"[+-]?\d{1,15}", text, re.ASCII):
        yield from_epoch(int(text)), "timestamp"
    yield _rfc3339(text), "RFC3339"
    yield _rfc2822(text), "RFC2822"
    for form in FORMATS:
        yield _by(text, form), form


def _rfc3339(text: str) -> datetime | None:
    if not re.match(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d.*([Zz]|[+-]\d\d:\d\d)$", text):
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        return None


def _rfc2822(text: str) -> datetime | None:
    if not re.match(r"(?:[A-Za-z]{3},\s*)?\d{1,2}\s+[A-Za-z]{3}\s+\d{4}\s+\d", text):
        return None
    if not re.search(r"(?:[+-]\d{4}|[A-Z]{1,5})$", text):
        return None
    from email.utils import parsedate_to_datetime

    try:
        return _aware(parsedate_to_datetime(text))
    except (ValueError, TypeError, OverflowError):
        return None


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _by(text: str, form: str) -> datetime | None:
    plain = form.replace("%:z", "%z")
    # A fraction is optional where `%.f` stands.
    options = [plain.replace("%.f", ".%f"), plain.replace("%.f", "")] if "%.f" in plain else [plain]
    for option in options:
        try:
            return _aware(datetime.strptime(text, option))  # noqa: DTZ007 - made aware
        except (ValueError, re.error, OverflowError):
            continue
    return None


def write(moment: datetime, form: str) -> str:
    """*moment* by strftime, with ``%.f`` (dot and fraction, nothing when it is zero), ``%:z``,
    and years always of four digits.

    Raises:
        ValidationError: for a format that strftime refuses.
    """

    def special(found: re.Match[str]) -> str:
        name = found.group(1)
        if name == "%":
            return "%%"
        if name == "Y":
            return f"{moment.year:04d}"
        if name == ".f":
            return _fraction(moment)
        if name == "f":
            return f"{moment.microsecond:06d}"
        if name == ":z":
            return _offset(moment)
        return f".{moment.microsecond:06d}"[: int(name[1]) + 1]

    prepared = re.sub(r"%(%|Y|\.f|\.[36]f|f|:z)", special, form)
    try:
        return moment.strftime(prepared)
    except (ValueError, UnicodeError) as error:
        raise ValidationError(f"Invalid format: '{form}': {error}", field="format") from None


def _fraction(moment: datetime) -> str:
    micros = moment.microsecond
    if micros == 0:
        return ""
    return f".{micros // 1000:03d}" if micros % 1000 == 0 else f".{micros:06d}"


def _offset(moment: datetime) -> str:
    text = moment.strftime("%z") or "+0000"
    return f"{text[:3]}:{text[3:5]}"


def standard(moment: datetime) -> str:
    """In the default format: ``Z`` for UTC, else the real offset."""
    form = DEFAULT_FORMAT if moment.utcoffset() == timedelta(0) else OFFSET_FORMAT
    return write(moment, form)


def human(span: timedelta) -> str:
    """``1 day, 2 hours``; a negative one ends with ``ago``."""
    seconds = abs(int(span.total_seconds()))
    parts: list[str] = []
    for name, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}{'s' if count != 1 else ''}")
    text = ", ".join(parts) or "0 seconds"
    return f"{text} ago" if span < timedelta(0) and parts else text
