"""The question before a call that cannot be taken back: when it is asked, of whom, what follows."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from llmspell_core import (
    Approval,
    ApprovalPolicy,
    ApprovalRequest,
    CancelSignal,
    EffectClass,
    ExecutionCancelled,
    ExecutionContext,
    Parameter,
    Recording,
    Resuming,
    RunRecord,
    SecurityError,
    Tool,
    ToolError,
    ToolResult,
    ToolSchema,
)
from llmspell_testing import LedgerDouble, recording_context, replaying_context
from llmspell_tools import tool


class Door(Tool):
    """A tool of the class it is told."""

    def __init__(
        self, effect_class: EffectClass = EffectClass.IRREVERSIBLE, *, destructive: bool = False
    ) -> None:
        self.effect_class = effect_class
        self.destructive = destructive
        self.opened: list[dict[str, Any]] = []

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema(
            "door",
            "Opens",
            (Parameter("operation", "string"), Parameter("code", "string", sensitive=True)),
        )

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        self.opened.append(parameters)
        return ToolResult(text="open")


class Keeper:
    """An approver that says what it is told and keeps what it was asked."""

    def __init__(self, *answers: Approval | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[ApprovalRequest] = []

    async def __call__(self, request: ApprovalRequest, context: ExecutionContext) -> Approval:
        self.asked.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


YES, NO = Approval(True), Approval(False, "not today")


@pytest.mark.parametrize(
    ("required", "ask", "effect_class", "destructive", "reason"),
    [
        (False, "configured", EffectClass.IRREVERSIBLE, True, None),
        (True, "configured", EffectClass.IRREVERSIBLE, False, "irreversible"),
        (True, "configured", EffectClass.IDEMPOTENT, False, None),
        (True, "configured", EffectClass.PURE, True, None),
        (True, "never", EffectClass.IRREVERSIBLE, True, None),
        (False, "destructive", EffectClass.IDEMPOTENT, True, "destructive"),
        (False, "destructive", EffectClass.SPAN, True, "destructive"),
        (False, "destructive", EffectClass.SPAN, False, None),
        (False, "always", EffectClass.PURE, False, "always"),
    ],
)
async def test_it_is_asked_where_policy_and_call_say_so(
    make_services: Any,
    required: bool,
    ask: Any,
    effect_class: EffectClass,
    destructive: bool,
    reason: str | None,
) -> None:
    services = make_services(security={"require_approval": required})
    services.tools.register(door := Door(effect_class, destructive=destructive))
    keeper = Keeper(YES)
    context = ExecutionContext(services, approval=ApprovalPolicy(keeper, ask))
    result = await services.tools.invoke("door", {}, context)
    assert result.text == "open"
    assert [request.reason for request in keeper.asked] == ([] if reason is None else [reason])
    assert len(door.opened) == 1


async def test_the_question_shows_the_call_without_what_is_secret(services: Any) -> None:
    services.secrets.add("hunter2-hunter2")
    services.tools.register(door := Door())
    keeper = Keeper(YES)
    context = ExecutionContext(services, approval=ApprovalPolicy(keeper, "always", "ada"))
    parameters = {"operation": "open hunter2-hunter2", "code": "1234"}
    await services.tools.invoke("door", parameters, context)
    assert keeper.asked == [
        ApprovalRequest(
            "door",
            {"operation": "open <REDACTED>", "code": "<REDACTED>"},
            "always",
            "open hunter2-hunter2",
            "ada",
        )
    ]
    assert door.opened == [parameters]


async def test_no_is_an_error_and_nothing_happens(services: Any) -> None:
    services.tools.register(door := Door())
    context = ExecutionContext(services, approval=ApprovalPolicy(Keeper(NO), "destructive"))
    with pytest.raises(SecurityError) as caught:
        await services.tools.invoke("door", {"operation": "wide"}, context)
    assert caught.value.message == "Tool 'door' (wide) was not approved: not today"
    assert (caught.value.code, caught.value.violation_type) == ("APPROVAL_DENIED", "approval")
    assert door.opened == []


async def test_with_nobody_to_ask_it_is_refused_and_said_how_to_allow_it(
    make_services: Any,
) -> None:
    services = make_services(security={"require_approval": True})
    services.tools.register(door := Door())
    with pytest.raises(SecurityError, match="nobody is there to give it") as caught:
        await services.tools.invoke("door", {}, ExecutionContext(services))
    assert caught.value.hint is not None
    for way in ("terminal", ":approval(function)", "tools.security.require_approval = false"):
        assert way in caught.value.hint
    assert door.opened == []


async def test_a_question_that_fails_lets_nothing_happen(services: Any) -> None:
    services.tools.register(door := Door())
    keeper = Keeper(RuntimeError("no paper"), ToolError("no ink"))
    context = ExecutionContext(services, approval=ApprovalPolicy(keeper, "always"))
    for words in ("RuntimeError: no paper", "no ink"):
        with pytest.raises(ToolError, match=words):
            await services.tools.invoke("door", {}, context)
    assert door.opened == []


async def test_waiting_for_an_answer_ends_with_the_execution(services: Any) -> None:
    asked = asyncio.Event()

    async def think(request: ApprovalRequest, context: ExecutionContext) -> Approval:
        asked.set()
        return await asyncio.get_running_loop().create_future()

    services.tools.register(door := Door())
    cancel = CancelSignal()
    context = ExecutionContext(services, approval=ApprovalPolicy(think, "always"), cancel=cancel)
    call = asyncio.ensure_future(services.tools.invoke("door", {}, context))
    await asyncio.wait_for(asked.wait(), 10)
    cancel.cancel("enough")
    with pytest.raises(ExecutionCancelled):
        await asyncio.wait_for(call, 10)
    assert door.opened == []


async def opened(services: Any, context: ExecutionContext) -> str:
    try:
        return (await services.tools.invoke("door", {"code": "1234"}, context)).rendered()
    except SecurityError as error:
        return str(error)


@pytest.mark.parametrize("answer", [YES, NO])
@pytest.mark.parametrize("scripted", [False, True])
async def test_the_answer_is_recorded_and_stands_in_a_replay(
    services: Any, answer: Approval, scripted: bool
) -> None:
    services.tools.register(Door())
    ledger = LedgerDouble()
    first, again = Keeper(answer), Keeper(Approval(not answer.allowed))
    policy = ApprovalPolicy(first, "destructive", scripted=scripted)
    recorded = await opened(services, recording_context(ledger, services, approval=policy))
    policy = ApprovalPolicy(again, "destructive", scripted=scripted)
    replayed = await opened(services, replaying_context(ledger, services, approval=policy))
    assert recorded == replayed
    assert len(first.asked) == 1
    # A function of the script runs again, for the sake of the script's own values.
    assert len(again.asked) == (1 if scripted else 0)
    written = {e.intent.kind: e for e in ledger.effects("run")}
    assert json.loads(written["approval"].outcome.payload)["allowed"] is answer.allowed
    assert "1234" not in str(list(ledger.effects("run")))


async def test_a_refusal_for_want_of_anybody_stands_in_a_replay_with_somebody(
    services: Any,
) -> None:
    services.tools.register(Door())
    ledger = LedgerDouble()
    policy = ApprovalPolicy(ask="destructive")
    first = await opened(services, recording_context(ledger, services, approval=policy))
    keeper = Keeper(YES)
    policy = ApprovalPolicy(keeper, "destructive")
    second = await opened(services, replaying_context(ledger, services, approval=policy))
    assert first == second
    assert keeper.asked == []


async def test_a_resume_does_not_ask_again_what_was_answered(services: Any) -> None:
    ledger = LedgerDouble()
    ledger.open_run(RunRecord("run", "test", 0.0))
    killed = asyncio.CancelledError()

    class Dying(Door):
        async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
            raise killed

    services.tools.register(Dying(EffectClass.IDEMPOTENT, destructive=True))
    policy = ApprovalPolicy(Keeper(YES), "destructive")
    context = ExecutionContext(services, effects=Recording(ledger, "run"), approval=policy)
    with pytest.raises(asyncio.CancelledError):
        await services.tools.invoke("door", {}, context)
    services.tools.unregister("door")
    services.tools.register(door := Door(EffectClass.IDEMPOTENT, destructive=True))
    policy = ApprovalPolicy(Keeper(), "destructive")
    context = ExecutionContext(services, effects=Resuming(ledger, "run"), approval=policy)
    await services.tools.invoke("door", {}, context)
    assert door.opened == [{}]


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"operation": "read", "path": "old.txt"}, None),
        ({"operation": "list_dir", "path": "."}, None),
        ({"operation": "write", "path": "new.txt", "input": "x"}, None),
        ({"operation": "write", "path": "old.txt", "input": "x"}, "destructive"),
        ({"operation": "save", "path": "old.txt", "input": "x"}, "destructive"),
        (
            {"operation": "write", "path": "old.txt", "input": "x", "mode": "append"},
            "irreversible",
        ),
        ({"operation": "append", "path": "old.txt", "input": "x"}, "irreversible"),
        ({"operation": "delete", "path": "old.txt"}, "destructive"),
        ({"operation": "copy", "source_path": "old.txt", "target_path": "new.txt"}, None),
        ({"operation": "copy", "from": "old.txt", "to": "older.txt"}, "destructive"),
        ({"operation": "copy", "source_path": "old.txt", "target_path": "folder"}, "destructive"),
        ({"operation": "move", "source_path": "old.txt", "target_path": "new.txt"}, "destructive"),
        ({"operation": "create_dir", "path": "new"}, None),
    ],
)
async def test_files_are_asked_about_where_something_would_be_lost(
    make_services: Any, allowed: Any, parameters: dict[str, Any], reason: str | None
) -> None:
    services = make_services(security={"require_approval": True})
    (allowed / "folder").mkdir()
    for name in ("old.txt", "older.txt", "folder/old.txt"):
        (allowed / name).write_text(name)
    names = ("path", "source_path", "target_path", "from", "to")
    placed = {
        key: str(allowed / value) if key in names else value for key, value in parameters.items()
    }
    keeper = Keeper(NO)
    context = ExecutionContext(services, approval=ApprovalPolicy(keeper))
    with suppress(SecurityError):
        await services.tools.invoke("file_operations", placed, context)
    assert [request.reason for request in keeper.asked] == ([] if reason is None else [reason])
    if reason is not None:
        assert (allowed / "old.txt").read_text() == "old.txt"


async def test_a_function_may_say_that_it_destroys(services: Any) -> None:
    @tool(effect_class=EffectClass.IDEMPOTENT, destructive=True)
    def wipe(disk: str) -> str:
        """Wipe a disk."""
        return disk

    services.tools.register(wipe)
    keeper = Keeper(YES)
    context = ExecutionContext(services, approval=ApprovalPolicy(keeper, "destructive"))
    await services.tools.invoke("wipe", {"disk": "sda"}, context)
    assert [request.reason for request in keeper.asked] == ["destructive"]


async def test_what_may_have_happened_is_not_repeated(services: Any) -> None:
    from llmspell_core import NetworkError, RateLimitError

    class Flaky(Door):
        async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
            await super().run(parameters, context)
            if len(self.opened) == 1:
                raise RateLimitError("later", retry_after=0)
            raise NetworkError("the answer was lost", retry_after=0)

    services.tools.register(door := Flaky())
    with pytest.raises(NetworkError):
        await services.tools.invoke("door", {}, ExecutionContext(services), retry=5)
    assert len(door.opened) == 2
    services.tools.unregister("door")
    services.tools.register(door := Flaky(EffectClass.IDEMPOTENT))
    with pytest.raises(NetworkError):
        await services.tools.invoke("door", {}, ExecutionContext(services), retry=3)
    assert len(door.opened) == 4
