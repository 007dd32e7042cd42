"""The tool ``date_time_handler``."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from llmspell_core import Parameter, ToolResult, ToolSchema, ValidationError
from llmspell_tools._operation_tool import (
    OperationTool,
    built_in,
    described,
    operation_parameter,
)
from llmspell_tools.utility import _moments as moments

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext

_CONVERTED_FORMAT = "%Y-%m-%d %H:%M:%S %Z"
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_MONTHS = {"month": 1, "year": 12}
_UNITS = {
    **{short: unit for unit in _SECONDS for short in (unit, unit + "s")},
    **{short: unit for unit in _MONTHS for short in (unit, unit + "s")},
    **{"sec": "second", "secs": "second", "s": "second"},
    **{"min": "minute", "mins": "minute", "m": "minute"},
    **{"hr": "hour", "hrs": "hour", "h": "hour", "d": "day", "w": "week"},
}


@built_in("date_time_handler")
class DateTimeHandler(OperationTool):
    """Dates and times. The clock is the context's; times without a zone are UTC."""

    operations = {  # noqa: RUF012 - a ClassVar by its base
        "parse": (),
        "now": ("current", "today"),
        "format": (),
        "convert_timezone": ("convert", "timezone"),
        "add": (),
        "subtract": ("sub",),
        "difference": ("diff",),
        "info": (),
        "formats": (),
    }
    default_operation = "parse"
    unknown_operation = "Unknown operation"

    @property
    def schema(self) -> ToolSchema:
        """The parameters."""
        entry = described("date_time_handler")
        return ToolSchema(
            entry.name,
            entry.description,
            (
                operation_parameter(type(self), default="parse"),
                Parameter(
                    "input",
                    "any",
                    "A date or time: text or Unix seconds",
                    aliases=("date", "datetime", "timestamp"),
                ),
                Parameter("format", "string", "A strftime format"),
                Parameter("timezone", "string", "now, format: IANA name, UTC, local, +02:00"),
                Parameter(
                    "target_timezone",
                    "string",
                    "convert_timezone: the zone to convert to",
                    aliases=("to_timezone",),
                ),
                Parameter("amount", "integer", "add, subtract: how many units"),
                Parameter("unit", "string", "second, minute, hour, day, week, month, year"),
                Parameter("start", "any", "difference: the earlier moment", aliases=("from",)),
                Parameter("end", "any", "difference: the later moment", aliases=("to",)),
            ),
            "object",
        )

    async def do_parse(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{input, parsed{…}, format_used}`` and the parsed fields."""
        given = _required(parameters, "input")
        moment, used = _read(given, "input", parameters.get("format"))
        fields = _fields(moment)
        return ToolResult(
            operation="parse",
            message=f"Parsed {fields['utc']}",
            result={**fields, "input": given, "parsed": fields, "format_used": used},
            value=fields["utc"],
        )

    async def do_now(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{timezone, datetime, format, timestamp, iso8601}``."""
        name = parameters.get("timezone", "local")
        moment = moments.from_epoch(context.now()).astimezone(moments.zone(name))
        form = parameters.get("format")
        shown = moments.standard(moment) if form is None else moments.write(moment, form)
        default = moments.DEFAULT_FORMAT if shown.endswith("Z") else moments.OFFSET_FORMAT
        return ToolResult(
            operation="now",
            message=f"It is {shown}",
            result={
                "timezone": name,
                "datetime": shown,
                "format": form or default,
                "timestamp": int(moment.timestamp()),
                "iso8601": moment.isoformat(),
            },
            value=shown,
        )

    async def do_format(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{formatted}`` and the parsed fields."""
        given = _required(parameters, "input")
        moment, _ = _read(given, "input")
        if "timezone" in parameters:
            moment = moment.astimezone(moments.zone(parameters["timezone"]))
        form = parameters.get("format")
        shown = moments.standard(moment) if form is None else moments.write(moment, form)
        return ToolResult(
            operation="format",
            message=f"Formatted as {shown}",
            result={**_fields(moment), "input": given, "formatted": shown},
            value=shown,
        )

    async def do_convert_timezone(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{input, target_timezone, original, converted}``."""
        given = _required(parameters, "input")
        target = parameters.get("target_timezone", parameters.get("timezone"))
        if target is None:
            raise _missing("target_timezone")
        moment, _ = _read(given, "input")
        there = _within_calendar(lambda: moment.astimezone(moments.zone(target)))
        shown = moments.write(there, parameters.get("format", _CONVERTED_FORMAT))
        return ToolResult(
            operation="convert_timezone",
            message=f"Converted to {shown}",
            result={
                "input": given,
                "target_timezone": target,
                "original": moments.standard(moment),
                "converted": shown,
            },
            value=shown,
        )

    async def do_add(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{input, amount, unit, original, result}``."""
        return self._shifted("add", parameters, 1)

    async def do_subtract(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{input, amount, unit, original, result}``."""
        return self._shifted("subtract", parameters, -1)

    def _shifted(self, operation: str, parameters: dict[str, Any], sign: int) -> ToolResult:
        given = _required(parameters, "input")
        amount = parameters.get("amount")
        if amount is None:
            raise ValidationError(
                "Missing or invalid 'amount' parameter", field="amount", code="MISSING_REQUIRED"
            )
        asked = parameters.get("unit")
        if asked is None:
            raise _missing("unit")
        unit = _unit(asked)
        moment, _ = _read(given, "input")
        shifted = _within_calendar(lambda: _shift(moment, sign * amount, unit))
        shown = moments.standard(shifted)
        return ToolResult(
            operation=operation,
            message=f"The result is {shown}",
            result={
                "input": given,
                "amount": amount,
                "unit": asked,
                "original": moments.standard(moment),
                "result": shown,
            },
            value=shown,
        )

    async def do_difference(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{start, end, difference{…}}``, with `value` in a unit when one is asked for."""
        for name in ("start", "end"):
            if name not in parameters:
                raise _missing(name)
        start, _ = _read(parameters["start"], "start")
        end, _ = _read(parameters["end"], "end")
        span = end - start
        total = span.total_seconds()
        difference: dict[str, Any] = {
            "total_seconds": int(total),
            "days": int(total / 86400),
            "hours": int(total / 3600),
            "minutes": int(total / 60),
            "human_readable": moments.human(span),
        }
        result: dict[str, Any] = {
            "start": moments.standard(start),
            "end": moments.standard(end),
            "difference": difference,
        }
        if "unit" in parameters:
            unit = _unit(parameters["unit"])
            result["unit"] = unit
            result["value"] = _in_unit(start, end, unit)
        return ToolResult(
            operation="difference",
            message=difference["human_readable"],
            result=result,
            value=difference["human_readable"],
        )

    async def do_info(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{input, info{…}}``."""
        given = _required(parameters, "input")
        moment, _ = _read(given, "input")
        fields = _fields(moment)
        here = moment.astimezone(UTC)
        midnight = here.replace(hour=0, minute=0, second=0, microsecond=0)
        leap = calendar.isleap(here.year)
        info = {
            **fields,
            "day_of_year": here.timetuple().tm_yday,
            "week_of_year": here.isocalendar().week,
            "is_leap_year": leap,
            "days_in_month": calendar.monthrange(here.year, here.month)[1],
            "start_of_day": moments.standard(midnight),
            "end_of_day": moments.standard(midnight.replace(hour=23, minute=59, second=59)),
        }
        return ToolResult(
            operation="info",
            message=f"About {fields['utc']}",
            result={"input": given, "info": info},
        )

    async def do_formats(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{available_formats, example_formats}``."""
        moment = datetime(2026, 1, 31, 14, 5, 9, 250_000, tzinfo=UTC)
        shown = ("RFC3339", "RFC2822", "timestamp")
        examples = {
            "RFC3339": moment.isoformat(),
            "RFC2822": moment.strftime("%a, %d %b %Y %H:%M:%S +0000"),
            "timestamp": str(int(moment.timestamp())),
            **{form: moments.write(moment, form) for form in moments.FORMATS},
        }
        return ToolResult(
            operation="formats",
            message="Formats that are understood",
            result={
                "available_formats": [*shown, *moments.FORMATS],
                "example_formats": examples,
            },
        )


def _missing(name: str) -> ValidationError:
    return ValidationError(f"Missing '{name}' parameter", field=name, code="MISSING_REQUIRED")


def _required(parameters: dict[str, Any], name: str) -> Any:
    if name not in parameters:
        raise ValidationError(
            f"Missing required parameter '{name}'", field=name, code="MISSING_REQUIRED"
        )
    return parameters[name]


def _read(value: Any, field: str, form: str | None = None) -> tuple[datetime, str]:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValidationError(
            f"Invalid type for parameter '{field}': expected string or number", field=field
        )
    return moments.parse(value, form)


def _fields(moment: datetime) -> dict[str, Any]:
    utc = _within_calendar(lambda: moment.astimezone(UTC))
    return {
        "utc": moments.standard(utc),
        "timestamp": int((utc - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() // 1),
        "year": utc.year,
        "month": utc.month,
        "day": utc.day,
        "hour": utc.hour,
        "minute": utc.minute,
        "second": utc.second,
        "weekday": calendar.day_name[utc.weekday()],
    }


def _unit(text: str) -> str:
    found = _UNITS.get(text.strip().lower())
    if found is None:
        raise ValidationError(
            f"Unknown time unit: '{text}'",
            field="unit",
            hint=f"Use one of: {', '.join([*_SECONDS, *_MONTHS])}",
        )
    return found


def _within_calendar(compute: Any) -> datetime:
    try:
        return compute()
    except (OverflowError, ValueError):
        raise ValidationError("The result is outside the years 1 to 9999", field="input") from None


def _shift(moment: datetime, amount: int, unit: str) -> datetime:
    if unit in _SECONDS:
        return moment + timedelta(seconds=amount * _SECONDS[unit])
    months = moment.year * 12 + moment.month - 1 + amount * _MONTHS[unit]
    year, month = divmod(months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError
    # The 31st of a month that has 30 days is its last day.
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


def _in_unit(start: datetime, end: datetime, unit: str) -> float:
    if unit in _SECONDS:
        value = (end - start).total_seconds() / _SECONDS[unit]
    else:
        months = (end.year - start.year) * 12 + end.month - start.month
        if months > 0 and _shift(start, months, "month") > end:
            months -= 1
        elif months < 0 and _shift(start, months, "month") < end:
            months += 1
        value = int(months / _MONTHS[unit])
    return int(value) if value == int(value) else value
