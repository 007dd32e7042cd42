"""`TerminalApprover`: asks whoever sits at the terminal whether a call may be made."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from llmspell_cli._invocation import write
from llmspell_core import Approval, ApprovalPolicy

if TYPE_CHECKING:
    import asyncio

    from llmspell_core import ApprovalRequest, ExecutionContext

_LONGEST = 2_000
_TRIES = 3
_WHY = {
    "destructive": "It overwrites or removes something.",
    "irreversible": "It cannot be taken back.",
    "always": "Every call is asked about.",
}


def terminal_approval() -> ApprovalPolicy | None:
    """Whom executions ask: the person at the terminal; None where there is none."""
    try:
        there = sys.stdin.isatty() and sys.stderr.isatty()
    except (AttributeError, ValueError):  # closed, or no stream at all
        return None
    return ApprovalPolicy(TerminalApprover()) if there else None


class TerminalApprover:
    """Asks on stderr and reads the answer from stdin, one question at a time.

    ``a`` allows all further calls of that tool by this process. Three answers that are none, and
    the end of the input, count as no. The wait ends with the execution.
    """

    def __init__(self) -> None:
        self._always: set[str] = set()
        self._turn: asyncio.Lock | None = None

    async def __call__(self, request: ApprovalRequest, context: ExecutionContext) -> Approval:
        """Ask."""
        import asyncio

        if self._turn is None:
            self._turn = asyncio.Lock()
        async with self._turn:
            if request.tool in self._always:
                return Approval(True)
            write(sys.stderr, _question(request))
            for _ in range(_TRIES):
                write(sys.stderr, "Allow it? [y]es, [n]o, [a]ll calls of this tool: ")
                line = await _line()
                word = line.strip().lower()
                if not line or word in ("n", "no"):
                    break
                if word in ("a", "all", "always"):
                    self._always.add(request.tool)
                if word in ("y", "yes", "a", "all", "always"):
                    return Approval(True)
            return Approval(False, "the person at the terminal said no")


def _question(request: ApprovalRequest) -> str:
    import json

    who = f"Agent '{request.agent}' wants" if request.agent else "The script wants"
    what = f" ({request.operation})" if request.operation else ""
    shown = json.dumps(request.parameters, ensure_ascii=False, indent=2, sort_keys=True)
    if len(shown) > _LONGEST:
        shown = f"{shown[:_LONGEST]}\n… {len(shown) - _LONGEST} more characters"
    return _harmless(
        f"\n{who} to call {request.tool}{what}. {_WHY.get(request.reason, '')}\n{shown}\n"
    )


def _harmless(text: str) -> str:
    """Without what would move the cursor or turn the writing round: models wrote some of it."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else f"\\u{ord(letter):04x}"
        for letter in text
    )


async def _line() -> str:
    """A line of the terminal, empty at its end. Waits without holding a thread, so that an
    interrupted execution leaves nobody reading.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    number = sys.stdin.fileno()
    ready: asyncio.Future[None] = loop.create_future()

    def arrived() -> None:
        loop.remove_reader(number)
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(number, arrived)
    try:
        await ready
    finally:
        loop.remove_reader(number)
    # A terminal gives a line at a time.
    return os.read(number, 4_096).decode("utf-8", "replace")
