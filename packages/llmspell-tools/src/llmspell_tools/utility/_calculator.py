"""The tool ``calculator``."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmspell_core import Parameter, ToolResult, ToolSchema, ValidationError
from llmspell_tools._operation_tool import (
    OperationTool,
    built_in,
    described,
    operation_parameter,
)
from llmspell_tools._results import soft_failure
from llmspell_tools.utility._expression import (
    Evaluator,
    ExpressionError,
    analyse,
    divide,
    modulo,
    power,
)

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext

_EXACT = 2**53

_CATALOGUE: Mapping[str, Any] = {
    "arithmetic": ["+", "-", "*", "/", "%", "^"],
    "comparison": ["==", "!=", "<", ">", "<=", ">="],
    "logical": ["&&", "||", "!", "? :"],
    "trigonometric": ["sin", "cos", "tan", "asin", "acos", "atan"],
    "hyperbolic": ["sinh", "cosh", "tanh", "asinh", "acosh", "atanh"],
    "mathematical": ["sqrt", "exp", "ln", "log(x)", "log(base, x)", "pow", "abs", "sign"],
    "rounding": ["int", "ceil", "floor", "round(x)", "round(modulus, x)"],
    "constants": ["pi()", "e()", "pi", "e"],
    "utility": ["min", "max", "sum([…])", "avg([…])"],
    "examples": {
        "basic": "2 + 3 * 4",
        "power": "2 ^ 10",
        "functions": "sqrt(16) + round(0.5, 2.7)",
        "trigonometry": "sin(pi() / 2)",
        "variables": "price * (1 + tax)",
        "condition": "score >= 50 ? 1 : 0",
        "list": "avg([90, 85, 77])",
    },
    "note": "Angles are in radians; % keeps the sign of the dividend; comparisons give 1 or 0.",
}


@built_in("calculator")
class Calculator(OperationTool):
    """Evaluates expressions of at most 1000 characters; see `analyse` for the other limits."""

    operations = {  # noqa: RUF012 - a ClassVar by its base
        "evaluate": ("eval", "calculate", "compute"),
        "validate": (),
        "functions": ("help",),
        "add": ("plus", "sum"),
        "subtract": ("minus", "sub"),
        "multiply": ("times", "mul"),
        "divide": ("div",),
        "power": ("pow",),
        "modulo": ("mod",),
    }
    default_operation = "evaluate"

    @property
    def schema(self) -> ToolSchema:
        """The parameters."""
        entry = described("calculator")
        return ToolSchema(
            entry.name,
            entry.description,
            (
                operation_parameter(type(self), default="evaluate"),
                Parameter(
                    "input",
                    "string",
                    "evaluate, validate: the expression",
                    aliases=("expression", "expr"),
                ),
                Parameter("variables", "object", "evaluate: name and number"),
                Parameter("a", "number", "The left number of add, subtract, …"),
                Parameter("b", "number", "The right number of add, subtract, …"),
            ),
            "object",
        )

    async def do_evaluate(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{input, result, result_type, variables}``."""
        text = _expression(parameters)
        variables = _numbers(parameters.get("variables", {}))
        found = analyse(text)
        if found.unsafe_reason is not None:
            return soft_failure("evaluate", found.unsafe_reason)
        started = time.thread_time()
        try:
            evaluator = Evaluator(text, variables)
            value = evaluator.value()
        except (ExpressionError, RecursionError) as error:
            return soft_failure("evaluate", f"Failed to evaluate '{text}': {error}")
        result, kind = _shown(value)
        return ToolResult(
            operation="evaluate",
            message=f"{text} = {result}",
            result={"input": text, "result": result, "result_type": kind, "variables": variables},
            value=result,
            metadata={
                "resource_usage": {
                    "memory_bytes": found.memory_bytes,
                    "cpu_time_ms": (time.thread_time() - started) * 1000,
                    "operations_count": evaluator.operations,
                }
            },
        )

    async def do_validate(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{input, valid, error?}``, evaluated without variables."""
        text = _expression(parameters)
        error = analyse(text).unsafe_reason
        if error is None:
            try:
                Evaluator(text, {}).value()
            except (ExpressionError, RecursionError) as raised:
                error = str(raised)
        result: dict[str, Any] = {"input": text, "valid": error is None}
        if error is not None:
            result["error"] = error
        return ToolResult(
            operation="validate",
            message="The expression is valid" if error is None else "The expression is not valid",
            result=result,
            value=error is None,
        )

    async def do_functions(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """What the language has, with examples."""
        return ToolResult(
            operation="functions",
            message="Functions and operators of the calculator",
            result=dict(_CATALOGUE),
        )

    async def do_add(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``a + b``."""
        a, b = _operands(parameters)
        return _computed("add", f"{a:g} + {b:g}", a + b)

    async def do_subtract(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``a - b``."""
        a, b = _operands(parameters)
        return _computed("subtract", f"{a:g} - {b:g}", a - b)

    async def do_multiply(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``a * b``."""
        a, b = _operands(parameters)
        return _computed("multiply", f"{a:g} * {b:g}", a * b)

    async def do_divide(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``a / b``; by zero it fails softly."""
        a, b = _operands(parameters)
        if b == 0:
            return soft_failure("divide", "Division by zero")
        return _computed("divide", f"{a:g} / {b:g}", divide(a, b))

    async def do_power(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``a ^ b``."""
        a, b = _operands(parameters)
        return _computed("power", f"{a:g} ^ {b:g}", power(a, b))

    async def do_modulo(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """The remainder, with the sign of *a*; by zero it fails softly."""
        a, b = _operands(parameters)
        if b == 0:
            return soft_failure("modulo", "Division by zero")
        return _computed("modulo", f"{a:g} % {b:g}", modulo(a, b))


def _expression(parameters: dict[str, Any]) -> str:
    text = parameters.get("input")
    if text is None:
        raise ValidationError(
            "Missing required parameter 'input'",
            field="input",
            code="MISSING_REQUIRED",
            hint='Give an expression, as in {input = "2 + 2"}.',
        )
    return text


def _operands(parameters: dict[str, Any]) -> tuple[float, float]:
    for name in ("a", "b"):
        if name not in parameters:
            raise ValidationError(
                f"Missing required parameter '{name}'", field=name, code="MISSING_REQUIRED"
            )
    try:
        return float(parameters["a"]), float(parameters["b"])
    except OverflowError:
        raise ValidationError("A number is too large", field="a") from None


def _numbers(given: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in given.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                found[str(name)] = float(value)
            except OverflowError:
                found[str(name)] = math.inf if value > 0 else -math.inf
    return found


def _shown(value: float) -> tuple[float | int | str, str]:
    if math.isnan(value):
        return "NaN", "special"
    if math.isinf(value):
        return ("Infinity" if value > 0 else "-Infinity"), "special"
    # Scripts print 4, not 4.0; the type stays that of the arithmetic.
    return (int(value) if value.is_integer() and abs(value) < _EXACT else value), "float"


def _computed(operation: str, text: str, value: float) -> ToolResult:
    result, kind = _shown(value)
    return ToolResult(
        operation=operation,
        message=f"{text} = {result}",
        result={"input": text, "result": result, "result_type": kind},
        value=result,
    )
