import math
import time

import pytest

from llmspell_core import AgentInput, ValidationError
from llmspell_testing import ToolSuite
from llmspell_tools.utility import Calculator
from llmspell_tools.utility._expression import analyse


class TestCalculatorKeepsTheToolContract(ToolSuite):
    @pytest.fixture
    def component(self):
        return Calculator()

    @pytest.fixture
    def parameters(self):
        return {"operation": "evaluate", "input": "2 + 2"}

    @pytest.fixture
    def refused(self):
        return [{}, {"input": "2 +"}, {"operation": "divide", "a": 1, "b": 0}]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("2 + 2", 4),
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("7 / 2", 3.5),
        ("-17 % 5", -2),
        ("17 % -5", 2),
        ("2 * 7 % 4", 6),
        ("2 ^ 10", 1024),
        ("2 ^ 3 ^ 2", 512),
        ("-2 ^ 2", -4),
        ("2 ^ -1", 0.5),
        ("- -3", 3),
        ("+3 - -3", 6),
        ("!0 + !5", 1),
        ("1 < 2", 1),
        ("2 <= 1", 0),
        ("3 >= 3 && 1 != 2", 1),
        ("0 || 0", 0),
        ("1 == 1 && 0 || 1", 1),
        ("5 > 3 ? 10 : 20", 10),
        ("0 ? 1 : 0 ? 2 : 3", 3),
        ("sqrt(16) + abs(-3)", 7),
        ("sqrt(sqrt((16)))", 2),
        ("exp(ln(5))", 5),
        ("log(100)", 2),
        ("log(2, 8)", 3),
        ("int(-2.7) + ceil(0.2) + floor(1.9)", 0),
        ("round(2.5) + round(-2.5)", 0),
        ("round(0.5, 2.7)", 2.5),
        ("sign(-3) + sign(0) + sign(8)", 0),
        ("min(3, 1, 2) + max(3, 1, 2)", 4),
        ("sum([1, 2, 3]) + avg([2, 4])", 9),
        ("sum(1, 2) + max([4, 5])", 8),
        ("pow(2, 8)", 256),
        ("sin(0) + cos(0) + tan(0)", 1),
        ("asin(1) * 2 - pi()", 0),
        ("pi - pi() + e - e()", 0),
        ("acosh(1) + asinh(0) + atanh(0) + sinh(0) + cosh(0) + tanh(0) + acos(1) + atan(0)", 1),
        ("1e3 + .5", 1000.5),
        ("3.14159265358979", 3.14159265358979),
    ],
)
async def test_expression_has_its_value(call, expression, expected):
    result = await call("calculator", input=expression)
    assert result.success, result.error
    assert result.value == pytest.approx(expected)
    assert result.result["result_type"] == "float"


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("5 / 0", "Infinity"),
        ("-5 / 0", "-Infinity"),
        ("0 / 0", "NaN"),
        ("5 % 0", "NaN"),
        ("sqrt(-1)", "NaN"),
        ("ln(0)", "-Infinity"),
        ("log(0)", "-Infinity"),
        ("log(-1)", "NaN"),
        ("log(2, 0)", "-Infinity"),
        ("log(1, 5)", "NaN"),
        ("exp(1000)", "Infinity"),
        ("10 ^ 100 ^ 100", "Infinity"),
        ("(0 - 10) ^ 99 ^ 3", "-Infinity"),
        ("0 ^ -1", "Infinity"),
        ("(0-8) ^ 0.5", "NaN"),
        ("1e999", "Infinity"),
        ("int(1e999)", "Infinity"),
        ("sign(0/0)", "NaN"),
        ("round(1/0)", "Infinity"),
    ],
)
async def test_value_that_no_number_holds_is_written_out(call, expression, shown):
    result = await call("calculator", input=expression)
    assert result.success
    assert (result.value, result.result["result_type"]) == (shown, "special")


async def test_result_tells_everything_and_scripts_get_the_envelope_as_text(call):
    result = await call(
        "calculator", expression="a * (b + 1)", variables={"a": 2, "b": 3, "x": "?"}
    )
    assert result.result == {
        "input": "a * (b + 1)",
        "result": 8,
        "result_type": "float",
        "variables": {"a": 2.0, "b": 3.0},
    }
    assert result.text is None
    usage = result.metadata["resource_usage"]
    assert usage["operations_count"] == 2
    assert usage["memory_bytes"] > 0
    assert usage["cpu_time_ms"] >= 0


async def test_variable_hides_the_constant_of_its_name(call):
    assert (await call("calculator", input="pi * 2", variables={"pi": 4})).value == 8


async def test_huge_variable_is_infinite_and_booleans_are_ignored(call):
    result = await call("calculator", input="x", variables={"x": -(10**400), "y": True})
    assert result.value == "-Infinity"
    assert list(result.result["variables"]) == ["x"]


@pytest.mark.parametrize(
    ("expression", "phrase"),
    [
        ("2 +", "ends where a value is expected"),
        ("", "ends where a value is expected"),
        ("2 2", "unexpected '2' at position 3"),
        ("2 $ 2", "unexpected character '\\$' at position 3"),
        ("(1", "expected '\\)' at position 3, where the expression ends"),
        ("1 ? 2", "expected ':'"),
        ("x + 1", "unknown variable 'x'"),
        ("nosuch(1)", "unknown function 'nosuch'"),
        ("sin()", "sin takes 1 arguments, not 0"),
        ("log(1, 2, 3)", "log takes 1 to 2 arguments, not 3"),
        ("sum([])", "at least one number"),
        ("[1, 2]", "a list stands where a number is expected"),
        ("sqrt([1])", "a list stands where"),
        ("[[1]]", "a list stands where"),
        (")", "unexpected '\\)'"),
        ("__import__('os')", "unexpected character"),
        ("().__class__", "unexpected"),
    ],
)
async def test_what_is_no_expression_fails_softly(call, expression, phrase):
    result = await call("calculator", input=expression)
    assert not result.success
    assert result.text is None
    import re

    assert re.search(phrase, result.error), result.error
    assert result.error_details["code"] == "TOOL_ERROR"


BOMBS = {
    "length": ("1+" * 600 + "1", "too long"),
    "depth": ("(1+" * 21 + "1" + ")" * 21, "too deep"),
    "operations": ("+".join(["1"] * 102), "Too many operations"),
    "functions": ("+".join(["pi()"] * 51), "Too many function calls"),
    "consecutive": ("1 +++ 2", "consecutive"),
    "consecutive minus": ("1 --- 2", "consecutive"),
    "stars": ("2 *** 2", "consecutive"),
    "stack": ("((((1))))", "stack overflow"),
    "stack with blanks": ("( ( ( (1))))", "stack overflow"),
    "large": ("1234567890", "large number"),
    "exp of exp": ("exp( exp (1))", "Banned pattern"),
    "pow of pow": ("pow(pow(9,9),9)", "Banned pattern"),
    "power of power": ("2^(^3)", "Banned pattern"),
    "factorial": ("factorial(9)", "Banned pattern"),
    "while": ("while 1", "Banned pattern"),
    "exec": ("exec(1)", "Banned pattern"),
    "System": ("System(1)", "Banned pattern"),
    "eval": ("eval(1)", "Banned pattern"),
    "many exponentials": ("exp(1)+exp(1)+exp(1)+pow(1,1)+pow(2,1)", "Banned pattern"),
    "recursion": ("sin(cos(tan(sqrt(1))))", "Recursive depth"),
    "variables": ("+".join(f"v{i}" for i in range(51)), "Too many unique variables"),
    "exponent": ("2 ^ 101", "Exponent too large"),
    "hidden exponent": ("2 ^ (101)", "Exponent too large"),
}


@pytest.mark.parametrize("name", list(BOMBS))
async def test_bomb_is_refused_before_it_is_evaluated(call, name):
    expression, phrase = BOMBS[name]
    result = await call("calculator", input=expression)
    assert not result.success
    assert phrase in result.error
    assert result.error.startswith(("Expression too complex:", "Expression failed security check:"))
    validated = await call("calculator", operation="validate", input=expression)
    assert (validated.success, validated.value) == (True, False)
    assert phrase in validated.result["error"]


@pytest.mark.parametrize(
    "expression", ["system_load + 1", "executed * 2", "forecast", "max_loops", "evaluation"]
)
async def test_banned_words_are_whole_words(call, expression):
    result = await call("calculator", input=expression, variables={expression.split()[0]: 1})
    assert result.success, result.error


def test_largest_expression_that_is_allowed_is_computed_within_the_time_limit():
    from llmspell_tools.utility._expression import Evaluator

    worst = "+".join(["sin(cos(tan(1)))"] * 16 + ["9^99"] * 40)
    assert analyse(worst).is_safe
    started = time.perf_counter()
    assert math.isfinite(Evaluator(worst, {}).value())
    assert time.perf_counter() - started < 2.0


def test_a_million_characters_are_judged_by_their_length_alone():
    started = time.perf_counter()
    found = analyse("(" * 1_000_000)
    assert not found.is_safe
    assert found.length == 1_000_000
    assert time.perf_counter() - started < 2.0


def test_analysis_counts_what_is_there():
    found = analyse("sin(1) + (2 * [3])")
    assert (found.length, found.max_depth, found.operation_count, found.function_count) == (
        18,
        2,
        2,
        1,
    )
    assert found.is_safe
    assert found.memory_bytes == 8 * 18 + 1024 + 200


@pytest.mark.parametrize(
    ("operation", "a", "b", "value"),
    [
        ("add", 1, 2, 3),
        ("Plus", 1, 2, 3),
        ("subtract", 1, 2, -1),
        ("multiply", 3, 4, 12),
        ("divide", 1, 4, 0.25),
        ("power", 2, 0.5, 2**0.5),
        ("modulo", -17, 5, -2),
    ],
)
async def test_named_arithmetic(call, operation, a, b, value):
    result = await call("calculator", operation=operation, a=a, b=b)
    assert result.value == pytest.approx(value)


@pytest.mark.parametrize("operation", ["divide", "modulo"])
async def test_named_division_by_zero_fails_softly(call, operation):
    result = await call("calculator", operation=operation, a=1, b=0)
    assert (result.success, result.error) == (False, "Division by zero")


async def test_missing_input_is_a_hard_error_that_names_it(call):
    for parameters in ({}, {"operation": "validate"}):
        with pytest.raises(ValidationError, match="Missing required parameter 'input'"):
            await call("calculator", **parameters)
    with pytest.raises(ValidationError, match="Missing required parameter 'b'"):
        await call("calculator", operation="add", a=1)
    with pytest.raises(ValidationError, match="too large"):
        await call("calculator", operation="add", a=10**400, b=1)


async def test_validate_never_fails(call):
    assert (await call("calculator", operation="validate", input="1 + 1")).result == {
        "input": "1 + 1",
        "valid": True,
    }
    assert (await call("calculator", operation="validate", input="x")).result == {
        "input": "x",
        "valid": False,
        "error": "unknown variable 'x'",
    }


async def test_every_example_of_the_function_list_is_valid(call):
    listed = (await call("calculator", operation="functions")).result
    values = {"price": 10, "tax": 0.1, "score": 60}
    for example in listed["examples"].values():
        assert (await call("calculator", input=example, variables=values)).success, example
    assert {"sin", "cos", "tan"} <= set(listed["trigonometric"])


async def test_execute_gives_the_envelope_as_text(context):
    import json

    output = await Calculator().execute(AgentInput(parameters={"input": "1+1"}), context)
    assert json.loads(output.text)["result"]["result"] == 2
