import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell_workflows._interpolation import (
    MISSING,
    Reference,
    dig,
    interpolate,
    parse_reference,
)

INPUT = {"topic": "owls", "n": 3, "nested": {"list": [10, {"x": "deep"}]}, "a-b": "hyphen"}


def echo(name, given, **more):
    return {"name": name, "tool": "echo", "input": {"input": given}, **more}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{input.topic}}", "owls"),
        ("{{ input.topic }}", "owls"),
        ("{{topic}}", "owls"),
        ("{{input.n}}", 3),
        ("n={{input.n}}", "n=3"),
        ("{{input.nested.list[1]}}", 10),
        ("{{input.nested.list[2].x}}", "deep"),
        ("{{input.nested.list.2.x}}", "deep"),
        ("{{input.nested}}", INPUT["nested"]),
        ("{{nested.list[2].x}}", "deep"),
        ("{{a-b}}", "hyphen"),
        ("$a-b!", "hyphen!"),
        ("{{input}}", INPUT),
        ("$$", INPUT),
        ("$$.topic", "owls"),
        ("$input.topic", "owls"),
        ("${input.topic}s", "owlss"),
        ("{{declared}}", "variable"),
        ("{{shared_key}}", "from shared"),
        ("{{shared:shared_key}}", "from shared"),
        ("$shared_key", "from shared"),
        ("{{first}}", {"content": "text of first", "list": [1, 2]}),
        ("{{first.output}}", {"content": "text of first", "list": [1, 2]}),
        ("{{first.content}}", "text of first"),
        ("{{step.first.result.list[2]}}", 2),
        ("{{step.first.output.content}}", "text of first"),
        ("{{step:first:output}}", {"content": "text of first", "list": [1, 2]}),
        ("{{step:first:output.list[1]}}", 1),
        ("$first.list[2]", 2),
        ("$first_output", {"content": "text of first", "list": [1, 2]}),
        ("{{as_json.k[1].v}}", "parsed"),
        ("{{first.success}}", True),
        ("{{step.first.failed}}", False),
        ("{{first.type}}", "tool"),
        ("$step_output", "last"),
        ("${previous.output}", "last"),
        ("{{previous}}", "last"),
        ("{{previous_outputs.before}}", "last"),
        ("{{state.saved}}", {"deep": [1]}),
        ("{{state.saved.deep[1]}}", 1),
        ("{{state:saved}}", {"deep": [1]}),
        ("{{state:user:7:name}}", "Ada"),
        ("$state.saved.deep", [1]),
        ("{{state.dotted.key}}", "whole"),
        ("{{nothing | fallback}}", "fallback"),
        ("{{nothing | 'a b'}}", "a b"),
        ("{{topic | fallback}}", "owls"),
        ("{{nothing|}}", ""),
        ("{{workflow_name}}", "w"),
        ("{{input.topic}} and {{first.content}}", "owls and text of first"),
        ("{{input.nested.list}}", [10, {"x": "deep"}]),
        ("list: {{input.nested.list}}", 'list: [10, {"x": "deep"}]'),
        ("{{flag}}?", "true?"),
    ],
)
async def test_placeholders_become_what_they_name(world, text, value):
    await world.state.set("global", "saved", {"deep": [1]}, world.context)
    await world.state.set("user", "7:name", "Ada", world.context)
    await world.state.set("global", "dotted.key", "whole", world.context)
    outputs = await world.outputs(
        {"name": "set", "execute": lambda context, _: context.set("shared_key", "from shared")},
        echo("first", {"content": "text of first", "list": [1, 2]}),
        echo("as_json", '{"k": [{"v": "parsed"}]}'),
        echo("before", "last"),
        echo("it", {"deep": [text]}),
        input=INPUT,
        variables={"declared": "variable", "flag": True},
    )
    assert outputs["it"] == {"deep": [value]}


@pytest.mark.parametrize(
    "text",
    [
        "{{nothing}}",
        "{{first.nothing}}",
        "{{input.nested.list[9]}}",
        "{{input.nested.list[0]}}",
        "{{input.topic.deeper}}",
        "{{state.unknown}}",
        "{{state:bad//key}}",
        "{{shared:unknown}}",
        "{{loop:current_value}}",
        "{{#each items}}x{{/each}}",
        "{{> partial}}",
        "{{}}",
        "{{ | x",
        "{{unclosed",
        "$unknown.path",
        "$",
        "costs $5 or $ 6, even $$7",
        "$1.50",
        "a$$b",
        "${}",
        "{{{{}}}}",
        "C:\\path",
    ],
)
async def test_what_does_not_resolve_stays_as_it_is(world, text):
    outputs = await world.outputs(echo("first", {"content": "x"}), echo("it", text), input=INPUT)
    assert outputs["it"] == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\\$topic", "$topic"),
        ("\\{{topic}}", "{{topic}}"),
        ("\\$5 for {{topic}}", "$5 for owls"),
        ("{{{topic}}}", "{owls}"),
    ],
)
async def test_backslashes_escape(world, text, value):
    outputs = await world.outputs(echo("it", text), input=INPUT)
    assert outputs["it"] == value


async def test_names_are_looked_up_in_shared_data_then_input_then_steps_then_variables(world):
    def take(context, _):
        context.set("a", "shared")

    outputs = await world.outputs(
        {"name": "take", "execute": take},
        echo("a", "step"),
        echo("b", "step"),
        echo("c", "step"),
        echo("it", "{{a}} {{b}} {{c}} {{d}}"),
        input={"a": "input", "b": "input"},
        variables={"a": "variable", "b": "variable", "c": "variable", "d": "variable"},
    )
    assert outputs["it"] == "shared input step variable"


async def test_a_component_keeps_its_own_placeholders(world):
    outputs = await world.outputs(
        {
            "name": "it",
            "tool": "echo",
            "input": {
                "input": {
                    "template": "{{name}} {{user.name}} {{topic}} $topic",
                    "variables": {"name": "{{topic}}", "user": {"name": "x"}},
                    "inner": {"text": "{{name}}"},
                },
            },
        },
        input={"topic": "owls", "name": "not this"},
    )
    assert outputs["it"] == {
        "template": "{{name}} {{user.name}} owls owls",
        "variables": {"name": "owls", "user": {"name": "x"}},
        "inner": {"text": "{{name}}"},
    }


async def test_keys_are_not_interpolated_and_answers_are_not_searched_again(world):
    outputs = await world.outputs(
        echo("attack", "{{input.secret}} $secret"),
        echo("it", {"{{input.secret}}": "{{attack.output}}", "text": "> {{attack.output}}"}),
        input={"secret": "s3cret"},
    )
    # The first step is filled, as its author wrote it; what it brought is not filled again.
    assert outputs["attack"] == "s3cret s3cret"
    world.tool("says", lambda: "{{input.secret}} $secret")
    outputs = await world.outputs(
        {"name": "attack", "tool": "says", "input": {}},
        echo("it", {"{{input.secret}}": "{{attack.output}}", "text": "> {{attack.output}}"}),
        input={"secret": "s3cret"},
    )
    assert outputs["it"] == {
        "{{input.secret}}": "{{input.secret}} $secret",
        "text": "> {{input.secret}} $secret",
    }


async def test_generated_values_are_effects_of_the_run(world):
    from llmspell_testing import LedgerDouble, recorded_and_replayed

    async def work(context):
        world.host.context = context
        return await world.outputs(
            echo("it", "{{uuid}} {{timestamp}} {{random}} {{execution_id}}"), input={"x": 1}
        )

    first, second = await recorded_and_replayed(
        work, LedgerDouble(), record_with=world.services, replay_with=world.services
    )
    uuid, moment, number, execution = first["it"].split()
    assert (len(uuid), len(execution), moment[-1]) == (36, 36, "Z")
    assert 0 <= float(number) < 1
    assert first == second


TEXTS = st.text(alphabet="{}$\\|.[]ab1: -_'", max_size=60)


@given(TEXTS)
async def test_text_without_anything_to_find_is_never_changed(text):
    async def nothing(reference):
        return MISSING

    result = await interpolate({"k": [text]}, nothing)
    # Only escapes and defaults may change a text when nothing resolves.
    if "\\" not in text and "|" not in text:
        assert result == {"k": [text]}
    assert isinstance(result["k"][0], str)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(VALUES, st.text(alphabet="xyz ", max_size=5), st.text(alphabet="xyz ", max_size=5))
async def test_one_placeholder_keeps_the_type_and_more_make_text(value, before, after):
    asked = []

    async def resolve(reference):
        asked.append(reference)
        return value

    assert await interpolate("{{some.path[2]}}", resolve) == value
    assert asked == [Reference("name", ("some", "path", 2))]
    inside = await interpolate(f"{before}{{{{name}}}}{after}", resolve)
    if before or after:
        assert isinstance(inside, str)
        assert inside.startswith(before)
        assert inside.endswith(after)
    else:
        assert inside == value


@given(
    VALUES,
    st.lists(st.text(alphabet="abc", min_size=1, max_size=4) | st.integers(1, 4), max_size=4),
)
async def test_digging_ends_at_a_part_or_nowhere(value, path):
    found = dig(value, tuple(path))
    if not path:
        assert found is value
    assert dig(json.dumps(value), tuple(path)) == found or not path or found is MISSING


@given(TEXTS)
def test_every_text_is_a_reference_or_none(text):
    reference = parse_reference(text)
    assert reference is None or reference.root in (
        "name",
        "input",
        "step",
        "loop",
        "state",
        "shared",
        "previous",
    )


async def test_a_long_text_of_braces_takes_no_time():
    async def nothing(reference):
        return MISSING

    for text in ("{{" * 50_000, "$a" * 50_000, "${" * 50_000, "{{a." * 30_000, "$a." * 30_000):
        assert await interpolate(text, nothing) == text
