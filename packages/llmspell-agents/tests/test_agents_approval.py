"""Who is asked before calls that cannot be taken back, seen from an agent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmspell_agents import AgentBuilder
from llmspell_core import (
    Approval,
    ApprovalPolicy,
    ApprovalRequest,
    EffectClass,
    ExecutionContext,
    Parameter,
    Record,
    ScriptFunction,
    Services,
    Tool,
    ToolResult,
    ToolSchema,
    ValidationError,
)
from llmspell_testing import ProvidersDouble, Reply, ScriptedProvider, make_context


class Safe(Tool):
    """Opens and closes; opening cannot be taken back."""

    def __init__(self) -> None:
        self.opened: list[Any] = []

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema(
            "safe",
            "A safe",
            (Parameter("operation", "string"), Parameter("code", "string", sensitive=True)),
        )

    def effect_of(self, parameters: Any) -> EffectClass:
        looks = parameters.get("operation") == "look"
        return EffectClass.PURE if looks else EffectClass.IRREVERSIBLE

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        self.opened.append(parameters["operation"])
        return ToolResult(text="done")


class Function(ScriptFunction):
    """A function of a script that gives the next of its answers."""

    where = "test.lua:1"

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[Any] = []

    async def __call__(self, *args: Any, context: ExecutionContext | None = None) -> Any:
        assert context is not None
        self.asked.append(args[0])
        return self._answers.pop(0)

    def call(self, *args: Any) -> Any:
        raise AssertionError("not from inline code")


def use(*operations: str) -> Reply:
    return Reply(tools=[("safe", {"operation": one, "code": "1234"}) for one in operations])


async def run(
    approval: Any,
    *operations: str,
    around: ApprovalPolicy | None = None,
    required: bool = False,
) -> tuple[list[Any], list[str]]:
    """What the safe did, and what the model was told."""
    provider = ScriptedProvider(use(*operations), "ok")
    safe = Safe()
    config = {"tools": {"security": {"require_approval": required}}}
    async with Services(config) as services:
        services.provide("providers", ProvidersDouble(provider))
        services.tools.register(safe)
        options = {} if approval is None else {"approval": approval}
        builder = AgentBuilder("ada", model="scripted/m", tools=["safe"], **options)
        context = make_context(services, approval=around)
        await builder.build(services).execute("go", context)
    return safe.opened, [m.content for m in provider.requests[1].messages if m.role == "tool"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (True, None),
        (Approval(True), None),
        ({"allowed": True}, None),
        (False, "the answer was no"),
        (None, "nothing was answered"),
        ("not on Sundays", "not on Sundays"),
        (Approval(False, "no"), "no"),
        ({"allowed": False, "reason": "late"}, "late"),
        ({"allowed": 1}, "the answer was no"),
        ({}, "the answer was no"),
    ],
)
@pytest.mark.parametrize("kind", ["script", "python", "async"])
async def test_a_function_of_script_or_program_answers(
    answer: Any, reason: str | None, kind: str
) -> None:
    asked: list[ApprovalRequest] = []

    def plain(request: ApprovalRequest) -> Any:
        asked.append(request)
        return answer

    async def waiting(request: ApprovalRequest, context: ExecutionContext) -> Any:
        assert context.approval.agent == "ada"
        return plain(request)

    function = {"script": Function(answer), "python": plain, "async": waiting}[kind]
    opened, told = await run(function, "open", "look")
    if isinstance(function, Function):
        record = function.asked[0]
        assert isinstance(record, Record)
        assert record.fields == {
            "tool": "safe",
            "operation": "open",
            "parameters": {"operation": "open", "code": "<REDACTED>"},
            "reason": "irreversible",
            "agent": "ada",
        }
    else:
        assert [(request.operation, request.reason) for request in asked] == [
            ("open", "irreversible")
        ]
    if reason is None:
        assert opened == ["open", "look"]
        return
    assert opened == ["look"]
    failure = json.loads(told[0])
    assert failure == {
        "success": False,
        "error": f"Tool 'safe' (open) was not approved: {reason}",
        "error_type": "Security",
        "hint": "Do not make this call again; go on without it, or say why it is needed.",
    }


async def test_an_answer_that_is_none_lets_nothing_happen() -> None:
    opened, told = await run(lambda request: 5, "open")
    assert opened == []
    assert "the approval function answered with a int" in told[0]


@pytest.mark.parametrize(
    ("approval", "required", "opened"),
    [
        (None, False, ["open", "look"]),
        (None, True, ["look"]),
        ("configured", True, ["look"]),
        ("never", True, ["open", "look"]),
        ("destructive", False, ["look"]),
        ("always", False, []),
    ],
)
async def test_with_nobody_to_ask_the_words_decide(
    approval: Any, required: bool, opened: list[str]
) -> None:
    done, told = await run(approval, "open", "look", required=required)
    assert done == opened
    refused = [text for text in told if "nobody is there to give it" in text]
    assert len(refused) == 2 - len(opened)


async def test_whoever_is_there_is_asked_for_an_agent_that_names_nobody() -> None:
    asked: list[ApprovalRequest] = []

    async def yes(request: ApprovalRequest, context: ExecutionContext) -> Approval:
        asked.append(request)
        return Approval(True)

    opened, _ = await run("always", "open", "look", around=ApprovalPolicy(yes))
    assert opened == ["open", "look"]
    assert [(request.reason, request.agent) for request in asked] == [("always", "ada")] * 2
    opened, _ = await run(None, "open", "look", around=ApprovalPolicy(yes, "destructive"))
    assert len(asked) == 3
    opened, _ = await run(lambda _: False, "open", around=ApprovalPolicy(yes))
    assert (opened, len(asked)) == ([], 3)


async def test_a_function_may_be_asked_about_every_call() -> None:
    function = Function(True, True)
    opened, _ = await run({"approver": function, "ask": "always"}, "open", "look")
    assert opened == ["open", "look"]
    assert [record.fields["reason"] for record in function.asked] == ["always", "always"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("sometimes", "'sometimes' is not one of"),
        (5, "it is a int"),
        ({}, "a table must have"),
        ({"ask": "always", "who": 1}, "a table must have"),
        ({"ask": "often"}, "'often' is not one of"),
    ],
)
def test_another_answer_to_who_is_refused(value: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        AgentBuilder("ada", approval=value)


def test_the_builder_takes_function_and_word_apart() -> None:
    def never(request: ApprovalRequest) -> bool:
        return False

    policy = AgentBuilder("ada").approval(never, "always").config.approval
    assert policy is not None
    assert (policy.ask, policy.scripted, callable(policy.approver)) == ("always", False, True)
    scripted = AgentBuilder("ada").approval(Function(True)).config.approval
    assert scripted is not None
    assert (scripted.ask, scripted.scripted) == ("destructive", True)
