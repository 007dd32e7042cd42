"""`ChatTurn`: one question of a conversation while it is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, cast

from llmspell_core import CancelSignal, ExecutionCancelled

if TYPE_CHECKING:
    from llmspell_cli._chat import Chat
    from llmspell_core import Agent, AgentOutput, ExecutionContext

Messages = list[Mapping[str, Any]]


class Stoppable(Protocol):
    """Who may stop an answer: ``context.data["chat"]``."""

    def stoppable(self, stop: Callable[[], None]) -> AbstractContextManager[None]:
        """While this lasts, *stop* may be called from any thread."""
        ...


class ChatTurn:
    """One question while it is answered. `live` says that it was, and not taken from a record."""

    def __init__(self, chat: Chat, text: str) -> None:
        self.live = False
        self._chat = chat
        self._text = text
        self._pieces: list[list[str]] = []
        self._output: AgentOutput | None = None

    async def run(self, context: ExecutionContext) -> dict[str, Any]:
        """Ask; the record of what came of it."""
        self.live = True
        chat = self._chat
        stop = CancelSignal(context.cancel)
        inner = context.child(cancel=stop)
        agent = context.services.agents.build(chat.setup.options(), inner)
        try:
            agent.restore_conversation(chat.messages)
            stopped = await self._answered(agent, inner, stop)
            after = list(agent.conversation)
        finally:
            stop.detach()
            context.services.agents.remove(agent.metadata.name)
        if stopped:
            after = self._with_what_was_said(after)
        if chat.setup.history is not None:
            self._keep(after)
        return self._record(after, stopped=stopped)

    async def _answered(self, agent: Agent, context: ExecutionContext, stop: CancelSignal) -> bool:
        """Show the answer as it comes; whether it was stopped."""
        outer = self._chat.context
        # In a pipe there is nothing to go on with: Ctrl-C ends it all.
        who: Stoppable | None = outer.data.get("chat") if self._chat.setup.interactive else None
        stoppable = nullcontext() if who is None else who.stoppable(lambda: stop.cancel("stopped"))
        try:
            with stoppable:
                await self._shown(agent, context)
        except ExecutionCancelled:
            if outer.cancel.reason is not None:
                raise
            return True
        return False

    async def _shown(self, agent: Agent, context: ExecutionContext) -> None:
        if not self._chat.setup.stream:
            self._output = await agent.execute(self._text, context)
            for call in self._output.tool_calls:
                self._piece("tool", call.name)
                self._piece("done", call.name)
            self._piece("text", self._output.text)
            return
        async for chunk in agent.stream(self._text, context):
            if chunk.kind == "text" and chunk.text:
                self._piece("text", chunk.text)
            elif chunk.kind == "tool_call":
                self._piece("tool", chunk.data["name"])
            elif chunk.kind == "tool_result":
                result: dict[str, Any] = chunk.data["result"] or {}
                self._piece("done" if result.get("success") else "failed", chunk.data["name"])
            self._output = chunk.output or self._output

    def _piece(self, kind: str, text: str) -> None:
        if kind == "text" and self._pieces and self._pieces[-1][0] == "text":
            self._pieces[-1][1] += text
        else:
            self._pieces.append([kind, text])
        self._chat.view.piece(kind, text)

    def _said(self) -> str:
        """The text since the last tool."""
        return self._pieces[-1][1] if self._pieces and self._pieces[-1][0] == "text" else ""

    def _with_what_was_said(self, after: Messages) -> Messages:
        """The conversation with the question and the beginning of the answer that was stopped."""
        said = self._said()
        if not said:
            return after
        asked = {"role": "user", "content": self._text}
        known = len(after) > len(self._chat.messages)
        return [*after, *([] if known else [asked]), {"role": "assistant", "content": said}]

    def _keep(self, after: Messages) -> None:
        chat = self._chat
        before, chat.messages = chat.messages, after
        try:
            chat.save(cast("str", chat.setup.history))
        finally:
            chat.messages = before

    def _record(self, after: Messages, *, stopped: bool) -> dict[str, Any]:
        """JSON: of the messages only those that are new, or a long conversation would be written
        down again with each question.
        """
        before, output = self._chat.messages, self._output
        kept = 0
        while kept < min(len(before), len(after)) and before[kept] == after[kept]:
            kept += 1
        usage = None if output is None else output.usage
        metadata: dict[str, Any] = {} if output is None else output.metadata
        provider, model = metadata.get("provider"), metadata.get("model")
        return {
            "text": self._said() if output is None else output.text,
            "pieces": self._pieces,
            "kept": kept,
            "messages": [dict(message) for message in after[kept:]],
            "usage": None if usage is None else usage.to_dict(),
            "model": f"{provider}/{model}" if provider and model else None,
            "finish_reason": "stopped" if output is None else output.finish_reason,
            "tool_calls": [] if output is None else [call.to_dict() for call in output.tool_calls],
            "stopped": stopped,
        }
