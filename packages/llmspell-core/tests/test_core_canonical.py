"""Canonical JSON and its digest, secrets and their replacement."""

import json
import math
from collections import OrderedDict, UserDict
from datetime import UTC, date, datetime
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell_core import Secrets, Usage, canonical, digest, from_canonical
from llmspell_core._secrets import MARK, redact_fields

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=20)
    | st.sampled_from(["$bytes", "$float", "nan", "inf", "QUJD", "$$bytes"])
)
keys = st.text(max_size=8) | st.sampled_from(["$bytes", "$float", "$$bytes", "$$$float", "$"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_values_survive_the_round_trip(value) -> None:
    again = from_canonical(canonical(value))
    assert again == value
    assert canonical(again) == canonical(value)


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_keys_does_not_matter(value) -> None:
    backwards = dict(reversed(value.items()))
    assert canonical(backwards) == canonical(value)
    assert digest(canonical(backwards)) == digest(canonical(value))


@given(values, values)
def test_different_values_have_different_digests(one, other) -> None:
    same = canonical(one) == canonical(other)
    assert (digest(canonical(one)) == digest(canonical(other))) is same


@given(values)
def test_the_text_is_json_without_white_space(value) -> None:
    text = canonical(value)
    assert (
        json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        == text
    )


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_floats_that_json_lacks_come_back(number: float) -> None:
    again = from_canonical(canonical({"list": [number, 1.5]}))
    assert again["list"][1] == 1.5
    assert repr(again["list"][0]) == repr(number)


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"\x00\xff", '{"$bytes":"AP8="}'),
        (bytearray(b"a"), '{"$bytes":"YQ=="}'),
        (memoryview(b"a"), '{"$bytes":"YQ=="}'),
        ({"b", "a"}, '["a","b"]'),
        (frozenset({2, 1}), "[1,2]"),
        (date(2024, 2, 29), '"2024-02-29"'),
        (datetime(2024, 2, 29, 1, 2, tzinfo=UTC), '"2024-02-29T01:02:00+00:00"'),
        (PurePosixPath("a/b"), '"a/b"'),
        (Colour.RED, '"red"'),
        ({"level": Level.HIGH}, '{"level":3}'),
        (OrderedDict(b=1, a=2), '{"a":2,"b":1}'),
        (UserDict(a=1), '{"a":1}'),
        (MappingProxyType({"a": 1}), '{"a":1}'),
        ((1, (2,)), "[1,[2]]"),
        ({2: "a", "1": "b"}, '{"1":"b","2":"a"}'),
        ({None: 1, "a": 2, 1.5: 3, False: 4}, '{"1.5":3,"a":2,"false":4,"null":1}'),
        ({"a": 1, (1, 2): 3}, '{"(1, 2)":3,"a":1}'),
        ("ünïcode \u2028", '"ünïcode \u2028"'),
        ({"$bytes": "AP8="}, '{"$$bytes":"AP8="}'),
        ({"$bytes": "x", "other": 1}, '{"$bytes":"x","other":1}'),
    ],
)
def test_what_has_a_json_form_and_which(value, text: str) -> None:
    assert canonical(value) == text


def test_objects_say_themselves_what_they_are() -> None:
    usage = Usage(1, 2, cost=math.inf)
    assert from_canonical(canonical({"usage": usage})) == {"usage": usage.to_dict()}


@pytest.mark.parametrize("value", [object(), lambda: 1, {"a": [object()]}, 1j, {object(), 1}, ...])
def test_what_has_no_json_form_is_a_type_error(value) -> None:
    with pytest.raises(TypeError):
        canonical(value)


def test_a_value_that_holds_itself_is_a_type_error() -> None:
    circle: list = []
    circle.append(circle)
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value in (circle, {"a": circle}, deep, [math.nan, deep]):
        with pytest.raises(TypeError, match="nested too deeply"):
            canonical(value)


@pytest.mark.parametrize(
    "text",
    ['{"$bytes":"no base64!"}', '{"$bytes":1}', '{"$float":"other"}', '{"$float":1}', '{"$$x":1}'],
)
def test_what_only_looks_like_a_mark_stays(text: str) -> None:
    assert from_canonical(text) == json.loads(text)


def test_digest_takes_any_text() -> None:
    assert digest("") == digest("")
    assert len(digest("lone \ud800")) == 32
    assert digest("a") != digest("b")


# -- secrets ------------------------------------------------------------------------------------


def test_known_secrets_are_replaced_wherever_they_stand() -> None:
    secrets = Secrets()
    secrets.add("sk-12345")
    secrets.add("sk-12345-longer")
    secrets.add('with "quotes"\n')
    assert secrets.redact("a sk-12345 b sk-12345-longer c") == f"a {MARK} b {MARK} c"
    text = canonical({"key": 'with "quotes"\n', "sk-12345": "x"})
    assert from_canonical(secrets.redact(text)) == {"key": MARK, MARK: "x"}
    assert secrets.redact("nothing here") == "nothing here"


@pytest.mark.parametrize("value", [None, "", "short"])
def test_short_values_are_no_secrets(value: str | None) -> None:
    secrets = Secrets()
    secrets.add(value)
    assert secrets.redact("a short text") == "a short text"


@pytest.mark.parametrize(
    ("secret", "value", "wanted"),
    [
        (
            "123456",
            {"n": 123456, "m": 1234567, "s": "pin 123456"},
            {"n": MARK, "m": 1234567, "s": f"pin {MARK}"},
        ),
        ("1700000000.5", {"t": 1700000000.5}, {"t": MARK}),
        ('":"x","', {"a": "x", "b": "y"}, {"a": "x", "b": "y"}),
        ("hunter2hunter2", {"hunter2hunter2": ["hunter2hunter2!"]}, {MARK: [f"{MARK}!"]}),
        ("ünïcode", {"a": "ünïcode"}, {"a": MARK}),
    ],
)
def test_a_json_text_stays_one(secret: str, value, wanted) -> None:
    secrets = Secrets()
    secrets.add(secret)
    text = canonical(value)
    redacted = secrets.redact_json(text)
    assert json.loads(redacted) == wanted
    assert secrets.redact_json(redacted) == redacted


@given(values, st.text(min_size=6, max_size=8))
def test_redacting_never_breaks_the_text(value, secret: str) -> None:
    secrets = Secrets()
    secrets.add(secret)
    from_canonical(secrets.redact_json(canonical(value)))


def test_fields_are_replaced_by_name_at_any_depth() -> None:
    value = {"Password": "x", "list": [{"token": {"a": 1}}, ("kept",)], "other": {"PASSWORD": 1}}
    assert redact_fields(value, frozenset({"password", "token"})) == {
        "Password": MARK,
        "list": [{"token": MARK}, ["kept"]],
        "other": {"PASSWORD": MARK},
    }
    assert value["Password"] == "x"
