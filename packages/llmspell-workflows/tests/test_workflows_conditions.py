import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell_core import LLMSpellError, ValidationError
from llmspell_workflows import condition_from
from llmspell_workflows._expressions import compare, parse_expression
from llmspell_workflows._interpolation import MISSING

BEFORE = [
    {"name": "score", "tool": "echo", "input": {"input": "0.9"}},
    {"name": "info", "tool": "echo", "input": {"input": {"ok": True, "tags": ["a", "b"], "n": 4}}},
    {"name": "said", "tool": "echo", "input": {"input": "It is a BUG report"}},
    {"name": "broken", "tool": "fail", "input": {}, "on_error": "continue"},
    {
        "name": "share",
        "execute": lambda context, _: [
            context.set("level", 7),
            context.set("word", "yes"),
            context.set("score_classification", "Urgent"),
        ],
    },
]


async def holds(world, condition):
    result = await world.run(
        *BEFORE,
        {"name": "it", "tool": "echo", "input": {"input": 1}, "condition": condition},
        input={"count": 3, "status": "ok", "list": [1, 2]},
    )
    (step,) = [s for s in result["steps"].items if s["name"] == "it"]
    assert step["success"], step["error"]
    return not step["skipped"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("always", True),
        ("never", False),
        (True, True),
        (False, False),
        ("step:score:0.9", True),
        ("step:score:0.8", False),
        ("step:missing:x", False),
        ("step:said:It is a BUG report", True),
        ({"type": "always"}, True),
        ({"type": "never"}, False),
        ({"type": "and", "conditions": ["always", "always"]}, True),
        ({"type": "and", "conditions": ["always", "never"]}, False),
        ({"type": "and", "conditions": {}}, True),
        ({"type": "or", "conditions": ["never", "always"]}, True),
        ({"type": "or", "conditions": ["never"]}, False),
        ({"type": "or", "conditions": []}, False),
        ({"type": "not", "condition": "never"}, True),
        ({"type": "not", "condition": {"type": "always"}}, False),
        ({"type": "step_output_equals", "step": "score", "expected": "0.9"}, True),
        (
            {
                "type": "step_result_equals",
                "step_name": "info",
                "expected": {"ok": True, "tags": ["a", "b"], "n": 4},
            },
            True,
        ),
        ({"type": "step_result_equals", "step": "score", "expected": 1}, False),
        ({"type": "step_output_contains", "step_name": "said", "substring": "BUG"}, True),
        ({"type": "step_output_contains", "step": "said", "search_text": "bug"}, False),
        ({"type": "step_output_contains", "step": "nobody", "search_text": "x"}, False),
        ({"type": "step_succeeded", "step": "score"}, True),
        ({"type": "step_succeeded", "step": "broken"}, False),
        ({"type": "step_succeeded", "step": "nobody"}, False),
        ({"type": "step_failed", "step": "broken"}, True),
        ({"type": "step_failed", "step": "score"}, False),
        ({"type": "agent_classification", "step_name": "said", "expected_type": "bug"}, True),
        ({"type": "agent_classification", "step_name": "said", "expected_type": "praise"}, False),
        ({"type": "agent_classification", "step_name": "score", "expected_type": "urgent"}, True),
        ({"type": "shared_data_equals", "key": "level", "value": 7}, True),
        ({"type": "shared_data_equals", "key": "level", "expected": 8}, False),
        ({"type": "shared_data_equals", "key": "none", "expected_value": 8}, False),
        ({"type": "shared_data_exists", "key": "word"}, True),
        ({"type": "shared_data_exists", "key": "none"}, False),
        ({"type": "shared_data_exists", "key": "stored"}, True),
        ({"type": "shared_data_exists", "key": "global_one"}, True),
        ({"type": "shared_data_greater_than", "key": "level", "value": 6}, True),
        ({"type": "shared_data_less_than", "key": "level", "value": 6}, False),
        ({"type": "custom", "expression": "shared_data.level == 7"}, True),
        ({"type": "custom", "evaluate": lambda context: context.get("level") == 7}, True),
        ({"expression": "count == 3"}, True),
        (
            {
                "type": "agent_evaluates_true",
                "agent": "judge",
                "prompt": "is {{said.output}} true?",
            },
            True,
        ),
        ({"type": "agent_evaluates_true", "agent": "judge", "input": "no"}, False),
        (lambda context: context.outputs["score"] == "0.9", True),
        (lambda context: context.steps["broken"]["success"], False),
        (lambda context: None, False),
        (lambda context: 0, True),  # as in Lua: only nil and false are false
        ("count < 5", True),
        ("count < 5 and status == 'ok'", True),
        ('count > 5 or status == "ok"', True),
        ("not (count > 5)", True),
        ("!(count > 5) && true", True),
        ("not not true", True),
        ("count >= 3 and count <= 3 and count != 4 and count ~= 4", True),
        ("shared_data.level == 7", True),
        ("shared_data.word == 'yes'", True),
        ("shared_data.none == nil", True),
        ("step_result.score.success", True),
        ("step_result.broken.failed", True),
        ("step_result.info.success == true", True),
        ("step_result.score.output > 0.8", True),
        ("step_result.score.output == 0.9", True),
        ("score.output < '1'", True),
        ("step:score:output > 0.8", True),
        ("info.n == 4", True),
        ("info.tags contains 'b'", True),
        ("info.tags contains 'c'", False),
        ("info contains 'ok'", True),
        ("said contains 'BUG'", True),
        ("nobody contains 'x'", False),
        ("list[1] == 1", True),
        ("input.count == 3", True),
        ("{{input.count}} == 3", True),
        ("${input.count} == 3.0", True),
        ("$count == 3", True),
        ("state.saved == 'kept'", True),
        ("state:saved == 'kept'", True),
        ("shared:stored == 1", True),
        ("info.ok", True),
        ("info.ok == 1", False),
        ("nothing", False),
        ("status == 'o\\'k'", False),
        ("-1 < 1e3", True),
        ("TRUE and not FALSE", True),
    ],
)
async def test_each_form_of_condition(world, condition, expected):
    world.agent("judge", lambda text: "Yes, it is." if "BUG" in text else "No.")
    await world.state.set("global", "saved", "kept", world.context)
    await world.state.set("shared", "stored", 1, world.context)
    await world.state.set("global", "global_one", 1, world.context)
    assert await holds(world, condition) is expected


async def test_a_comparison_may_be_given_in_two_halves(world):
    condition = condition_from("step:score:output", "> 0.8")
    assert await holds(world, condition)
    assert not await holds(world, condition_from("step:score:output", "> 0.95"))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("step:x", "Invalid step condition format: step:x"),
        ("step::x", "Invalid step condition format"),
        ("foo bar", "Unknown condition: foo bar"),
        ("", "Unknown condition: "),
        ("count <", "Unknown condition"),
        ("(count", "Unknown condition"),
        ("count)", "Unknown condition"),
        ("== 3", "Unknown condition"),
        ("a == b == c", "Unknown condition"),
        ("__import__('os')", "Unknown condition"),
        ("a; b", "Unknown condition"),
        ("{{#if}} == 1", "Unknown condition"),
        ("(" * 60 + "1" + ")" * 60, "Unknown condition"),
        ("not " * 60 + "1", "Unknown condition"),
        ("x" * 10_001, "too long"),
        ({"type": "nonsense"}, "Unknown condition type: nonsense"),
        ({}, "Unknown condition type: None"),
        ({"type": "not"}, "Condition 'not' needs 'condition'"),
        ({"type": "and", "conditions": {"a": "always"}}, "needs a list"),
        ({"type": "step_succeeded"}, "needs 'step'"),
        ({"type": "shared_data_equals", "key": "x"}, "needs 'value'"),
        ({"type": "shared_data_exists"}, "needs 'key'"),
        ({"type": "custom"}, "needs 'evaluate'"),
        (3, "Unknown condition: int"),
        (None, "Unknown condition: NoneType"),
    ],
)
def test_what_is_no_condition_is_refused(condition, message):
    with pytest.raises(ValidationError) as caught:
        condition_from(condition)
    assert message in caught.value.message


async def test_and_and_or_ask_no_more_than_needed(world):
    asked = []

    def ask(name, answer):
        def function(context):
            asked.append(name)
            return answer

        return function

    await holds(world, {"type": "or", "conditions": [ask("a", True), ask("b", True)]})
    await holds(world, {"type": "and", "conditions": [ask("c", False), ask("d", True)]})
    assert asked == ["a", "c"]


@pytest.mark.parametrize("text", ["info > 3", "nothing < 3", "info.ok > 1", "count contains 3"])
async def test_what_cannot_be_compared_fails_the_step_and_says_why(world, text):
    result = await world.run(
        *BEFORE, {"name": "it", "tool": "echo", "condition": text}, input={"count": 3}
    )
    assert not result["success"]
    assert result["failed_step"] == "it"
    assert f"condition '{text}' cannot be evaluated" in result["error"]


async def test_a_condition_that_raises_fails_the_step(world):
    def wrong(context):
        raise KeyError("oops")

    result = await world.run({"name": "it", "tool": "echo", "skip_if": wrong})
    assert not result["success"]
    assert "oops" in result["error"]


async def test_skip_if_is_the_opposite_of_condition(world):
    result = await world.run(
        {"name": "a", "tool": "echo", "input": {"input": 1}, "skip_if": "always"},
        {"name": "b", "tool": "echo", "input": {"input": 2}, "skip_if": "never"},
    )
    assert (result["outputs"], result["steps_skipped"], result["success"]) == ({"b": 2}, 1, True)


@given(st.text(max_size=40) | st.text(alphabet="()andor <>=!'\"1.ab$\\{}", max_size=40))
async def test_any_text_is_an_expression_or_a_clear_refusal(text):
    async def nothing(reference):
        return MISSING

    refusals = []
    try:
        value = await parse_expression(text).holds(nothing)
        refusals.append(isinstance(value, bool))
    except ValidationError as error:
        refusals.append(error.message == f"Unknown condition: {text}")
    except LLMSpellError as error:
        refusals.append("cannot be evaluated" in error.message)
    assert refusals == [True]


@given(st.integers() | st.floats(allow_nan=False), st.integers() | st.floats(allow_nan=False))
def test_numbers_compare_as_in_python(left, right):
    for sign, expected in [
        ("==", left == right),
        ("!=", left != right),
        ("<", left < right),
        ("<=", left <= right),
        (">", left > right),
        (">=", left >= right),
    ]:
        assert compare(sign, left, right, "x") is expected
