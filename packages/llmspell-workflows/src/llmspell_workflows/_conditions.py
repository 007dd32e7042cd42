"""Conditions: of steps, branches and loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from llmspell_core import ValidationError
from llmspell_workflows._expressions import Expression, compare, parse_expression, truthy
from llmspell_workflows._functions import Function, call, is_function
from llmspell_workflows._interpolation import MISSING, rendered

if TYPE_CHECKING:
    from llmspell_workflows._frames import Frame


class Condition(Protocol):
    """Something that holds or not at a place of a run."""

    async def evaluate(self, frame: Frame) -> Any:
        """A value that is `truthy` when it holds; a function may also name a branch."""
        ...


@dataclass(frozen=True, slots=True)
class Always:
    """Holds, or never holds."""

    value: bool = True

    async def evaluate(self, frame: Frame) -> bool:
        return self.value


@dataclass(frozen=True, slots=True)
class When:
    """Holds when an expression does."""

    expression: Expression

    async def evaluate(self, frame: Frame) -> bool:
        return await self.expression.holds(frame.resolve)


@dataclass(frozen=True, slots=True)
class Asked:
    """Holds when a function, called with the context of the step, says so."""

    function: Function

    async def evaluate(self, frame: Frame) -> Any:
        return await call(self.function, frame.view(), context=frame.context)


@dataclass(frozen=True, slots=True)
class StepOutput:
    """Holds when the output of a step equals a value, or contains a text."""

    step: str
    expected: Any
    contains: bool = False

    async def evaluate(self, frame: Frame) -> bool:
        result = frame.result(self.step)
        if result is None:
            return False
        if self.contains:
            return rendered(self.expected) in rendered(result.output)
        if result.output == self.expected:
            return True
        wanted = rendered(self.expected)
        return wanted in (rendered(result.output), result.text)


@dataclass(frozen=True, slots=True)
class StepSuccess:
    """Holds when a step ran and succeeded, or failed."""

    step: str
    success: bool = True

    async def evaluate(self, frame: Frame) -> bool:
        result = frame.result(self.step)
        return result is not None and not result.skipped and result.success is self.success


@dataclass(frozen=True, slots=True)
class Classified:
    """Holds when an agent's answer, or shared ``<step>_classification``, names a type."""

    step: str
    expected: str

    async def evaluate(self, frame: Frame) -> bool:
        found = await frame.shared(f"{self.step}_classification")
        if found is MISSING:
            result = frame.result(self.step)
            found = "" if result is None else result.output
        return self.expected.casefold() in rendered(found).casefold()


@dataclass(frozen=True, slots=True)
class Shared:
    """Holds when shared data compare with a value as `sign` says (None: are there)."""

    key: str
    sign: str | None
    value: Any = None

    async def evaluate(self, frame: Frame) -> bool:
        found = await frame.shared(self.key)
        if self.sign is None:
            return found is not MISSING and found is not None
        if found is MISSING:
            return False
        return compare(self.sign, found, self.value, f"shared_data.{self.key} {self.sign}")


@dataclass(frozen=True, slots=True)
class Joined:
    """Holds when all, or any, of its parts do; the rest is not asked. No parts: all, not any."""

    parts: tuple[Condition, ...]
    all: bool

    async def evaluate(self, frame: Frame) -> bool:
        for part in self.parts:
            if truthy(await part.evaluate(frame)) is not self.all:
                return not self.all
        return self.all


@dataclass(frozen=True, slots=True)
class Not:
    """Holds when its part does not."""

    part: Condition

    async def evaluate(self, frame: Frame) -> bool:
        return not truthy(await self.part.evaluate(frame))


@dataclass(frozen=True, slots=True)
class AgentSays:
    """Holds when an agent's answer begins with yes or true."""

    agent: Any
    prompt: Any

    async def evaluate(self, frame: Frame) -> bool:
        from llmspell_workflows._actions import ask_agent

        answer = await ask_agent(self.agent, self.prompt, frame)
        return answer.text.lstrip(" \t\n\"'*_").casefold().startswith(("yes", "true"))


def condition_from(value: Any, comparison: Any = None) -> Condition:
    """Read a condition as scripts write it: text, table or function.

    Args:
        value: The condition.
        comparison: The second half of the form ``("step:x:output", "> 0.8")``.

    Raises:
        ValidationError: ``Unknown condition …``.
    """
    if is_function(value):
        return Asked(value)
    if isinstance(value, bool):
        return Always(value)
    if isinstance(value, str):
        return _from_text(value if comparison is None else f"{value} {comparison}")
    if isinstance(value, Mapping):
        return _from_table(cast("Mapping[str, Any]", value))
    if hasattr(value, "evaluate"):
        return cast("Condition", value)
    raise ValidationError(
        f"Unknown condition: {type(value).__name__}",
        field="condition",
        hint="A condition is a text, a table with 'type', or a function.",
    )


def _from_text(text: str) -> Condition:
    word = text.strip()
    if word in ("always", "never"):
        return Always(word == "always")
    if word.startswith("step:"):
        parts = word.split(":", 2)
        if len(parts) == 3 and parts[1] and parts[2]:
            head = parts[2].split(maxsplit=1)
            if len(head) == 2 and head[1].startswith(("==", "!=", "~=", "<", ">", "contains ")):
                return When(parse_expression(word))
            return StepOutput(parts[1], parts[2])
        raise ValidationError(
            f"Invalid step condition format: {text}",
            field="condition",
            hint="Write it as step:NAME:VALUE.",
        )
    return When(parse_expression(text))


def _from_table(table: Mapping[str, Any]) -> Condition:
    kind = table.get("type")
    if kind is None and ("expression" in table or "evaluate" in table):
        kind = "custom"
    if kind in ("always", "never"):
        return Always(kind == "always")
    if kind in ("and", "or"):
        parts = table.get("conditions") or ()
        if isinstance(parts, Mapping) or not isinstance(parts, Sequence):
            raise ValidationError(f"'{kind}' needs a list 'conditions'", field="condition")
        return Joined(tuple(condition_from(p) for p in cast("Sequence[Any]", parts)), kind == "and")
    if kind == "not":
        return Not(condition_from(_need(table, "not", "condition")))
    if kind == "custom":
        return condition_from(_need(table, "custom", "evaluate", "expression", "function"))
    if kind == "agent_evaluates_true":
        return AgentSays(_need(table, kind, "agent"), _need(table, kind, "prompt", "input"))
    made = _about_step(kind, table) or _about_shared(kind, table)
    if made is None:
        raise ValidationError(f"Unknown condition type: {kind}", field="condition")
    return made


def _about_step(kind: Any, table: Mapping[str, Any]) -> Condition | None:
    if kind in ("step_output_equals", "step_result_equals"):
        return StepOutput(
            _need(table, kind, "step", "step_name"),
            _need(table, kind, "expected", "value", "expected_value"),
        )
    if kind == "step_output_contains":
        return StepOutput(
            _need(table, kind, "step_name", "step"),
            _need(table, kind, "substring", "search_text"),
            contains=True,
        )
    if kind in ("step_succeeded", "step_failed"):
        return StepSuccess(_need(table, kind, "step", "step_name"), kind == "step_succeeded")
    if kind == "agent_classification":
        return Classified(
            _need(table, kind, "step_name", "step"), str(_need(table, kind, "expected_type"))
        )
    return None


_SHARED_SIGNS = {
    "shared_data_equals": "==",
    "shared_data_greater_than": ">",
    "shared_data_less_than": "<",
}


def _about_shared(kind: Any, table: Mapping[str, Any]) -> Condition | None:
    if kind == "shared_data_exists":
        return Shared(_need(table, kind, "key"), None)
    if kind in _SHARED_SIGNS:
        value = _need(table, kind, "value", "expected", "expected_value")
        return Shared(_need(table, kind, "key"), _SHARED_SIGNS[kind], value)
    return None


def _need(table: Mapping[str, Any], kind: str, *names: str) -> Any:
    for name in names:
        if table.get(name) is not None:
            return table[name]
    raise ValidationError(f"Condition '{kind}' needs '{names[0]}'", field="condition")
