"""``llmspell chat``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from llmspell_cli._approver import terminal_approval
from llmspell_cli._budget import budget_option
from llmspell_cli._chat_setup import ChatSetup
from llmspell_cli._desk import Desk, interactive
from llmspell_cli._execution import perform, tell_run
from llmspell_cli._help import Command
from llmspell_cli._invocation import Invocation
from llmspell_core import ValidationError

if TYPE_CHECKING:
    from llmspell_core import BudgetLimits
    from llmspell_kernel import Execution, Kernel

chat = typer.Typer(add_completion=False, rich_markup_mode=None)

_MONTH = 30 * 86_400.0
"""Seconds: a conversation has no time limit that anybody would notice."""


_Model = Annotated[
    str | None, typer.Argument(metavar="MODEL", help="Like openai/gpt-4o-mini; the default")
]
_Message = Annotated[
    str | None,
    typer.Option("-m", "--message", help="The only question; - is stdin", metavar="TEXT"),
]
_System = Annotated[str | None, typer.Option("--system", help="The system prompt", metavar="TEXT")]
_Tool = Annotated[
    list[str] | None,
    typer.Option("--tool", help="A tool the model may use; several times", metavar="NAME"),
]
_History = Annotated[
    str | None, typer.Option("--history", help="Go on from that file, and keep it", metavar="FILE")
]
_Budget = Annotated[
    list[str] | None,
    typer.Option("--budget", help="At most so much: 0.50usd,20ktokens", metavar="LIMITS"),
]
_MaxCost = Annotated[
    float | None, typer.Option("--max-cost", help="As --budget USD", metavar="USD", min=0)
]
_Ask = Annotated[
    Literal["destructive", "always", "never"],
    typer.Option("--ask", help="Before which tool calls you are asked"),
]
_Temperature = Annotated[
    float | None, typer.Option("--temperature", min=0, max=2, metavar="N", help="From 0 to 2")
]
_MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", min=1, metavar="N", help="The longest answer")
]
_NoStream = Annotated[bool, typer.Option("--no-stream", help="Show answers when they are complete")]
_Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing of tokens and cost")]
_Record = Annotated[bool, typer.Option("--record", help="Record it, to replay or resume it")]
_Json = Annotated[bool, typer.Option("--json", help="As --output json")]


@chat.command(
    "chat",
    cls=Command,
    epilog="""
    llmspell chat
    llmspell chat anthropic/claude-haiku-4-5 --tool calculator --tool file_operations
    llmspell chat -m "What is a monad, in one sentence?"
    git diff | llmspell chat -m - --system "Write the commit message." --quiet
    llmspell chat --history talk.json --budget 0.50usd
    """,
)
def converse(
    ctx: typer.Context,
    model: _Model = None,
    message: _Message = None,
    system: _System = None,
    tool: _Tool = None,
    history: _History = None,
    budget: _Budget = None,
    max_cost: _MaxCost = None,
    ask: _Ask = "destructive",
    temperature: _Temperature = None,
    max_tokens: _MaxTokens = None,
    no_stream: _NoStream = False,
    quiet: _Quiet = False,
    record: _Record = False,
    json: _Json = False,
) -> int:
    """Talk to a model: streaming, with tools, and with the cost in sight.

    Without a terminal each line of stdin is a question, and nobody can be asked: tools that
    destroy something are refused.
    """
    invocation: Invocation = ctx.obj
    if json:
        invocation.output = "json"
    if model == "-":
        model, message = None, message or "-"
    limits = budget_option(ctx, [*(budget or []), *([] if not max_cost else [f"{max_cost}usd"])])
    setup = ChatSetup(
        model,
        system,
        tuple(tool or ()),
        stream=not no_stream and invocation.output != "json",
        interactive=message is None and interactive() and invocation.output != "json",
        message=_message(message),
        history=history,
        temperature=temperature,
        max_tokens=max_tokens,
        quiet=quiet or invocation.output == "json",
        ask=ask,
    )
    return _converse(invocation, setup, limits, record=record)


def _converse(
    invocation: Invocation, setup: ChatSetup, budget: BudgetLimits | None, *, record: bool
) -> int:
    desk = Desk()
    desk.conversation = True
    started: list[Execution] = []

    def start(kernel: Kernel) -> Execution:
        execution = kernel.execute(
            setup.source(),
            engine="chat",
            record=record,
            timeout_seconds=_MONTH,
            data={"chat": desk},
            budget=budget,
            approval=terminal_approval(),
        )
        started.append(execution)
        return execution

    as_json = invocation.output == "json"
    try:
        result, _, execution = perform(invocation, start, desk=desk, collect=as_json)
    except BaseException:
        tell_run(invocation, started[0].run_id if started else None, failed=True)
        raise
    assert result is not None
    tell_run(invocation, execution.run_id, failed=False)
    if as_json:
        value = cast("dict[str, Any]", result.value)
        invocation.say_json({"status": "success", "run": execution.run_id, **value}, indent=2)
    return 0


def _message(text: str | None) -> str | None:
    if text != "-":
        if text is not None and not text.strip():
            raise ValidationError("the message is empty", field="message")
        return text
    whole = sys.stdin.read().strip()
    if not whole:
        raise ValidationError("there is no message on stdin", field="message")
    return whole
