from datetime import UTC, datetime

import pytest

from llmspell_core import ExecutionContext, ValidationError
from llmspell_testing import LedgerDouble, ToolSuite, recorded_and_replayed
from llmspell_tools.utility import DateTimeHandler


class TestDateTimeHandlerKeepsTheToolContract(ToolSuite):
    @pytest.fixture
    def component(self):
        return DateTimeHandler()

    @pytest.fixture
    def parameters(self):
        return {"operation": "parse", "input": "2024-02-29"}

    @pytest.fixture
    def refused(self):
        return [{}, {"input": "yesterday"}, {"operation": "add", "input": "2024-01-01"}]


NOON = "2024-03-05T12:30:45Z"


@pytest.mark.parametrize(
    ("text", "utc", "used"),
    [
        (1709641845, NOON, "timestamp"),
        ("1709641845", NOON, "timestamp"),
        (1709641845.5, "2024-03-05T12:30:45.500Z", "timestamp"),
        (NOON, NOON, "RFC3339"),
        ("2024-03-05T14:30:45+02:00", NOON, "RFC3339"),
        ("2024-03-05 12:30:45.250Z", "2024-03-05T12:30:45.250Z", "RFC3339"),
        ("2024-03-05t12:30:45z", NOON, "RFC3339"),
        ("Tue, 05 Mar 2024 12:30:45 +0000", NOON, "RFC2822"),
        ("05 Mar 2024 14:30:45 +0200", NOON, "RFC2822"),
        ("2024-03-05T12:30:45", NOON, "%Y-%m-%dT%H:%M:%S"),
        ("2024-03-05T14:30:45+0200", NOON, "%Y-%m-%dT%H:%M:%S%z"),
        ("2024-03-05 12:30:45", NOON, "%Y-%m-%d %H:%M:%S"),
        ("2024-03-05", "2024-03-05T00:00:00Z", "%Y-%m-%d"),
        ("2024/03/05", "2024-03-05T00:00:00Z", "%Y/%m/%d"),
        ("05/03/2024", "2024-03-05T00:00:00Z", "%d/%m/%Y"),
        ("03/25/2024", "2024-03-25T00:00:00Z", "%m/%d/%Y"),
        ("05-03-2024", "2024-03-05T00:00:00Z", "%d-%m-%Y"),
        ("05.03.2024 12:30:45", NOON, "%d.%m.%Y %H:%M:%S"),
        ("March 5, 2024", "2024-03-05T00:00:00Z", "%B %d, %Y"),
        ("Mar 5, 2024 12:30:45", NOON, "%b %d, %Y %H:%M:%S"),
        ("0001-01-01", "0001-01-01T00:00:00Z", "%Y-%m-%d"),
        (-1, "1969-12-31T23:59:59Z", "timestamp"),
    ],
)
async def test_date_is_read_as_documented(call, text, utc, used):
    result = await call("date_time_handler", input=text)
    assert (result.value, result.result["format_used"]) == (utc, used)


async def test_parsed_fields_are_complete_and_also_on_top(call):
    result = (await call("datetime_handler", date="2024-02-29T23:59:58Z")).result
    parsed = {
        "utc": "2024-02-29T23:59:58Z",
        "timestamp": 1709251198,
        "year": 2024,
        "month": 2,
        "day": 29,
        "hour": 23,
        "minute": 59,
        "second": 58,
        "weekday": "Thursday",
    }
    assert result["parsed"] == parsed
    assert parsed.items() <= result.items()


async def test_own_format_is_used_alone(call):
    result = await call("date_time_handler", input="5|3|2024", format="%d|%m|%Y")
    assert result.value == "2024-03-05T00:00:00Z"
    result = await call("date_time_handler", input="12:00:00.5 2024", format="%H:%M:%S%.f %Y")
    assert result.value == "2024-01-01T12:00:00.500Z"
    with pytest.raises(ValidationError, match="Failed to parse date '2024-03-05' with format"):
        await call("date_time_handler", input="2024-03-05", format="%d|%m|%Y")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2024-02-30",
        "2024-13-01",
        "99999999999999999999",
        "999999999999999",
        10**18,
        float("nan"),
        float("inf"),
        "x" * 100_000,
        "Tue, 99 Mar 2024 12:30:45 +0000",
        "2024-03-05T99:00:00Z",
    ],
)
async def test_what_is_no_date_is_refused(call, text):
    with pytest.raises(ValidationError, match="Failed to parse date"):
        await call("date_time_handler", input=text)


@pytest.mark.parametrize("value", [True, [1], {"a": 1}])
async def test_value_of_another_type_is_refused(call, value):
    with pytest.raises(ValidationError, match="Invalid type for parameter 'input'"):
        await call("date_time_handler", input=value)


async def test_now_is_the_clock_of_the_context(call, context):
    result = await call("date_time_handler", operation="now", timezone="UTC")
    assert abs(result.result["timestamp"] - context.now()) < 5
    assert result.value.endswith("Z")
    assert datetime.fromisoformat(result.result["iso8601"]).tzinfo is not None
    assert result.result["timezone"] == "UTC"
    local = await call("date_time_handler", operation="now")
    assert local.result["timezone"] == "local"
    there = await call("date_time_handler", operation="now", timezone="+05:30")
    assert there.value.endswith("+05:30")
    year = await call("date_time_handler", operation="now", format="%Y")
    assert year.value == str(datetime.fromtimestamp(context.now(), UTC).year)


async def test_replayed_now_is_the_recorded_one(services):
    async def work(context: ExecutionContext):
        return (
            await services.tools.invoke("date_time_handler", {"operation": "now"}, context)
        ).value

    first, second = await recorded_and_replayed(
        work, LedgerDouble(), record_with=services, replay_with=services
    )
    assert first == second


@pytest.mark.parametrize(
    ("parameters", "shown"),
    [
        ({"format": "%d.%m.%Y %H:%M"}, "05.03.2024 12:30"),
        ({}, NOON),
        ({"timezone": "America/New_York"}, "2024-03-05T07:30:45-05:00"),
        ({"timezone": "-02:00", "format": "%H:%M %:z"}, "10:30 -02:00"),
        ({"format": "%A, %%f%f %.3f"}, "Tuesday, %f000000 .000"),
    ],
)
async def test_format(call, parameters, shown):
    result = await call("date_time_handler", operation="format", timestamp=1709641845, **parameters)
    assert result.value == result.result["formatted"] == shown


async def test_convert_timezone(call):
    result = await call(
        "date_time_handler", operation="convert_timezone", input=NOON, to_timezone="Asia/Tokyo"
    )
    assert result.result == {
        "input": NOON,
        "target_timezone": "Asia/Tokyo",
        "original": NOON,
        "converted": "2024-03-05 21:30:45 JST",
    }
    with pytest.raises(ValidationError, match="Missing 'target_timezone' parameter"):
        await call("date_time_handler", operation="convert_timezone", input=NOON)


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "../../../../etc/passwd", "/etc/localtime", "", "+99:00", "a\0b"]
)
async def test_unknown_time_zone_is_refused(call, name):
    with pytest.raises(ValidationError, match="Invalid timezone"):
        await call("date_time_handler", operation="now", timezone=name)


@pytest.mark.parametrize(
    ("amount", "unit", "shown"),
    [
        (1, "second", "2024-01-31T00:00:01Z"),
        (90, "mins", "2024-01-31T01:30:00Z"),
        (2, "hr", "2024-01-31T02:00:00Z"),
        (1, "D", "2024-02-01T00:00:00Z"),
        (1, "weeks", "2024-02-07T00:00:00Z"),
        (1, "month", "2024-02-29T00:00:00Z"),
        (13, "months", "2025-02-28T00:00:00Z"),
        (1, "year", "2025-01-31T00:00:00Z"),
        (-1, "s", "2024-01-30T23:59:59Z"),
        (5.0, "days", "2024-02-05T00:00:00Z"),
    ],
)
async def test_add(call, amount, unit, shown):
    result = await call(
        "date_time_handler", operation="add", input="2024-01-31", amount=amount, unit=unit
    )
    assert result.result == {
        "input": "2024-01-31",
        "amount": int(amount),
        "unit": unit,
        "original": "2024-01-31T00:00:00Z",
        "result": shown,
    }


async def test_subtract_keeps_the_zone(call):
    result = await call(
        "date_time_handler",
        operation="subtract",
        input="2024-01-01T00:00:00+02:00",
        amount=1,
        unit="hour",
    )
    assert result.value == "2023-12-31T23:00:00+02:00"


@pytest.mark.parametrize(
    ("parameters", "phrase"),
    [
        ({"unit": "day"}, "Missing or invalid 'amount' parameter"),
        ({"amount": 1}, "Missing 'unit' parameter"),
        ({"amount": 1, "unit": "fortnight"}, "Unknown time unit: 'fortnight'"),
        ({"amount": 1.5, "unit": "day"}, "Invalid type for parameter 'amount': expected integer"),
        ({"amount": "1", "unit": "day"}, "Invalid type for parameter 'amount': expected integer"),
        ({"amount": 10**9, "unit": "year"}, "outside the years 1 to 9999"),
        ({"amount": 10**30, "unit": "day"}, "outside the years 1 to 9999"),
    ],
)
async def test_wrong_shift_is_refused(call, parameters, phrase):
    with pytest.raises(ValidationError, match=phrase):
        await call("date_time_handler", operation="add", input="2024-01-01", **parameters)


@pytest.mark.parametrize(
    ("start", "end", "seconds", "human"),
    [
        ("2024-01-01", "2024-01-02T02:00:00Z", 93600, "1 day, 2 hours"),
        ("2024-01-01T00:01:01Z", "2024-01-01T00:00:00Z", -61, "1 minute, 1 second ago"),
        ("2024-01-01", "2024-01-01", 0, "0 seconds"),
    ],
)
async def test_difference(call, start, end, seconds, human):
    result = await call("date_time_handler", **{"operation": "diff", "from": start, "to": end})
    difference = result.result["difference"]
    assert (difference["total_seconds"], difference["human_readable"]) == (seconds, human)
    assert difference["hours"] == int(seconds / 3600)
    assert result.value == human


@pytest.mark.parametrize(
    ("start", "end", "unit", "value"),
    [
        ("2024-01-01", "2024-01-02", "hours", 24),
        ("2024-01-01", "2024-01-02T12:00:00Z", "day", 1.5),
        ("2024-01-31", "2024-02-29", "month", 1),
        ("2024-01-31", "2024-03-30", "month", 1),
        ("2024-03-30", "2024-01-31", "month", -1),
        ("2020-02-29", "2024-02-28", "years", 3),
    ],
)
async def test_difference_in_a_unit(call, start, end, unit, value):
    result = await call(
        "date_time_handler", operation="difference", start=start, end=end, unit=unit
    )
    assert result.result["value"] == value


async def test_difference_names_what_is_missing(call):
    with pytest.raises(ValidationError, match="Missing 'start' parameter"):
        await call("date_time_handler", operation="difference", end="2024-01-01")
    with pytest.raises(ValidationError, match="Missing 'end' parameter"):
        await call("date_time_handler", operation="difference", start="2024-01-01")


async def test_info(call):
    info = (await call("date_time_handler", operation="info", input="2024-02-29")).result["info"]
    assert (info["day_of_year"], info["week_of_year"], info["days_in_month"]) == (60, 9, 29)
    assert info["is_leap_year"] is True
    assert info["start_of_day"] == "2024-02-29T00:00:00Z"
    assert info["end_of_day"] == "2024-02-29T23:59:59Z"


async def test_every_listed_format_reads_its_own_example(call):
    listed = (await call("date_time_handler", operation="formats")).result
    assert list(listed["example_formats"]) == listed["available_formats"]
    for form, example in listed["example_formats"].items():
        if form in ("RFC3339", "RFC2822", "timestamp"):
            result = await call("date_time_handler", input=example)
            assert result.result["format_used"] == form
        else:
            result = await call("date_time_handler", input=example, format=form)
        assert result.result["year"] == 2026


async def test_unknown_operation_is_named(call):
    with pytest.raises(ValidationError, match="Unknown operation: 'guess'"):
        await call("date_time_handler", operation="guess")
    with pytest.raises(ValidationError, match="Missing required parameter 'input'"):
        await call("date_time_handler")
