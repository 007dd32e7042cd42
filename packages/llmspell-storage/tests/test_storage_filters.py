"""Metadata filters."""

from typing import Any

import pytest

from llmspell_core import ValidationError, VectorEntry, VectorQuery
from llmspell_storage import SqliteVectorStore

ENTRY = {
    "name": "Ada",
    "year": 1843,
    "score": 0.5,
    "draft": True,
    "tags": ["maths", "engine"],
    "date": "2024-05-01",
    "stamp": 1_700_000_000,
    "nested": {"a": [1, {"b": None}]},
    "nothing": None,
    "plug_in": "hnsw",
    "size_gt": 3,
}


async def matches(filters: dict[str, Any]) -> bool:
    store = SqliteVectorStore(None)
    entry = VectorEntry("id", "ns", "c", "d", "word", [1.0, 0.0], dict(ENTRY))
    await store.replace("ns", "c", "d", [entry])
    query = VectorQuery("ns", 5, filters=filters)
    near = await store.nearest([1.0, 0.0], query)
    worded = await store.matching("word", query)
    await store.aclose()
    assert len(near) == len(worded)
    return bool(near)


@pytest.mark.parametrize(
    "filters",
    [
        {"year": 1843.0},
        {"name": "Ada", "draft": True},
        {"nested": {"a": [1, {"b": None}]}},
        {"tags": "maths"},
        {"tags": ["maths", "engine"]},
        {"tags": {"$contains": "engine"}},
        {"tags_contains": "engine"},
        {"name_contains": "d"},
        {"date_after": "2024-04-30", "date_before": "2024-05-02T00:00:00+02:00"},
        {"stamp_after": "2023-01-01"},
        {"year_gt": 1842, "year_gte": 1843, "year_lt": 1844, "year_lte": 1843},
        {"year": {"min": 1843, "max": 1843}},
        {"year_in": [1, 1843]},
        {"year_ne": 1},
        {"missing": {"$ne": 1}},
        {"missing": {"$nin": [1]}},
        {"missing": {"$exists": False}},
        {"year": {"$exists": True, "$gt": 1800}},
        {"plug_in": "hnsw"},
        {"size_gt": 3},
        {"name": {"$gte": "Ada", "$lt": "B"}},
        {"nothing": None},
    ],
    ids=str,
)
async def test_matches(filters: dict[str, Any]) -> None:
    assert await matches(filters) is True


@pytest.mark.parametrize(
    "filters",
    [
        {"year": "1843"},
        {"draft": 1},
        {"name": "ada"},
        {"tags": ["maths"]},
        {"tags": {"$ne": "maths"}},
        {"tags_contains": "eng"},
        {"year_contains": 1},
        {"date_after": "2024-05-01"},
        {"name_after": "2024-05-01"},
        {"year_in": []},
        {"year": {"$gt": "text"}},
        {"draft": {"$gt": 0}},
        {"nested": {"a": [1, {}]}},
        {"nested": {"a": [True, {"b": None}]}},
        {"missing": None},
        {"missing": {"$gt": 0}},
        {"nothing": {"$exists": True}},
        {"plug_in": "other"},
        {"size_gt": 4},
        {"year": {"$in": [1], "$exists": True}},
    ],
    ids=str,
)
async def test_does_not_match(filters: dict[str, Any]) -> None:
    assert await matches(filters) is False


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"year": {"$gtt": 1}}, "unknown operator '\\$gtt' in the filter on 'year'"),
        ({"year": {"$in": 5}}, "cannot use 5 with \\$in"),
        ({"year": {"$gt": []}}, "cannot use \\[\\] with \\$gt"),
        ({"date_after": "yesterday"}, "'date_after' cannot use 'yesterday'"),
        ({"date_before": True}, "'date_before' cannot use True"),
    ],
)
async def test_a_filter_nobody_can_mean_is_refused(filters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        await matches(filters)
    assert caught.value.field == "filters"
