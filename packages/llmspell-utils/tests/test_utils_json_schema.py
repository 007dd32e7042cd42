"""Values held to a JSON Schema."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from llmspell_core import ConfigurationError, ValidationError
from llmspell_utils import JsonSchema, Problem

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "friends": {"type": "array", "items": {"$ref": "#"}},
        "born": {"type": "string", "format": "date"},
    },
    "required": ["name"],
    "additionalProperties": False,
}


def test_what_is_wrong_is_said_with_its_place() -> None:
    schema = JsonSchema(PERSON)
    assert schema.problems({"name": "Ada", "friends": [{"name": "Bob"}]}) == []
    assert schema.problems({"friends": [{"name": 5}], "x": 1, "born": "soon"}) == [
        Problem("$.friends[0].name", '5 is not of type "string"', "type"),
        Problem("$.born", '"soon" is not a "date"', "format"),
        Problem("$", "Additional properties are not allowed ('x' was unexpected)",
                "additionalProperties"),
        Problem("$", '"name" is a required property', "required"),
    ]  # fmt: skip
    assert str(schema.problems(1)[0]) == '$: 1 is not of type "object"'


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (5, "it must be an object, not int"),
        ("{}", "it must be an object, not str"),
        ({"type": "text"}, 'at $.type: "text" is not valid under any of the schemas'),
        ({"properties": {"a": {"minimum": "1"}}}, "at $.properties.a.minimum:"),
        ({"pattern": "("}, 'at $.pattern: "(" is not a "regex"'),
        ({"$ref": "#/nowhere"}, "Pointer '/nowhere' does not exist"),
        ({"$ref": "http://127.0.0.1:1/schema"}, "only references inside the schema are followed"),
        ({"$ref": "file:///etc/hostname"}, "only references inside the schema are followed"),
        ({"enum": [object()]}, "Unsupported type: 'object'"),
    ],
)
def test_what_is_no_schema_is_refused(schema: Any, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        JsonSchema(schema)
    assert caught.value.message.startswith("Not a JSON Schema: ")
    assert words in caught.value.message
    assert (caught.value.field, caught.value.code) == ("schema", "INVALID_SCHEMA")


def test_each_draft_has_its_own_words() -> None:
    pair = [{"type": "integer"}, {"type": "string"}]
    assert JsonSchema({"prefixItems": pair}).problems([1, 2])[0].path == "$[1]"
    assert JsonSchema({"items": pair}, draft=7).problems([1, 2])[0].path == "$[1]"
    seventh = {"$schema": "http://json-schema.org/draft-07/schema#", "items": pair}
    assert JsonSchema(seventh).problems([1, 2])[0].path == "$[1]"
    with pytest.raises(ValidationError):
        JsonSchema({"items": pair})


def test_an_empty_table_of_a_script_is_the_list_it_stands_for() -> None:
    schema = JsonSchema({"type": "object", "properties": {"required": {}}, "required": {}})
    assert schema.schema["required"] == []
    assert schema.schema["properties"] == {"required": {}}
    assert JsonSchema({"properties": []}).problems({"a": 1}) == []
    assert JsonSchema({"const": {"required": {}}}).problems({"required": {}}) == []


def test_a_pattern_cannot_run_for_long() -> None:
    started = time.monotonic()
    assert JsonSchema({"pattern": "^(a+)+$"}).problems("a" * 50_000 + "!")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("depth", [500, 200_000])
def test_depth_without_end_is_a_problem_and_not_a_crash(depth: int) -> None:
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(depth):
        inner["properties"] = inner = {}
    assert [p.keyword for p in JsonSchema(True).problems(deep)] == ["depth"]
    with pytest.raises(ValidationError, match="nested more than 200 levels deep"):
        JsonSchema(deep)


@pytest.mark.parametrize("value", ["\ud800", b"bytes", object()])
def test_what_json_cannot_hold_is_a_problem(value: Any) -> None:
    assert [p.path for p in JsonSchema({"type": "string"}).problems(value)] == ["$"]


def test_there_is_an_end_to_problems_and_to_their_length() -> None:
    assert len(JsonSchema({"items": False}).problems(list(range(500)), most=7)) == 7
    assert len(JsonSchema({"type": "null"}).problems("x" * 100_000)[0].message) == 200


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    with pytest.raises(ConfigurationError) as caught:
        JsonSchema({})
    assert caught.value.hint == "pip install 'llmspell-utils[schema]'"
