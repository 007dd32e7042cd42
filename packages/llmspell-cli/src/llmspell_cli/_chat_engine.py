"""The engine `chat`: a conversation is executed, recorded, replayed and resumed like a script.

Its "script" is a `ChatSetup`; it reads questions where scripts read lines, and prints answers
where they print.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from llmspell_core import (
    ExecutionCancelled,
    ScriptEngine,
    ScriptResult,
    ScriptState,
    ValidationError,
)

if TYPE_CHECKING:
    from llmspell_core import (
        ExecutionContext,
        Input,
        Output,
        ScriptArguments,
        Services,
        Source,
    )

_PATIENCE = 5.0
"""Seconds for a conversation to end when its state is closed."""


class ChatEngine(ScriptEngine):
    """See the module."""

    language = "chat"
    suffixes = (".chat",)

    def __init__(self, services: Services) -> None:
        self._services = services

    def open_state(self, *, output: Output, input: Input | None = None) -> ScriptState:
        """A state for conversations, one at a time."""
        return ChatState(output, input)


class ChatState(ScriptState):
    """Has a thread for each conversation."""

    def __init__(self, output: Output, input: Input | None) -> None:
        self._output = output
        self._input = input
        self._running: list[tuple[ExecutionContext, threading.Thread]] = []

    def submit(
        self, source: Source, context: ExecutionContext, arguments: ScriptArguments | None = None
    ) -> Future[ScriptResult]:
        """Begin a conversation."""
        done: Future[ScriptResult] = Future()
        thread = threading.Thread(
            target=self._work, args=(source, context, done), name="llmspell-chat", daemon=True
        )
        self._running = [one for one in self._running if one[1].is_alive()]
        self._running.append((context, thread))
        thread.start()
        return done

    def _work(self, source: Source, context: ExecutionContext, done: Future[ScriptResult]) -> None:
        started = time.perf_counter()
        try:
            value = self._converse(source, context)
        except BaseException as error:
            # Whatever it is, the one who waits for the conversation must hear of it.
            done.set_exception(error)
        else:
            done.set_result(ScriptResult(value, (time.perf_counter() - started) * 1000))

    def _converse(self, source: Source, context: ExecutionContext) -> object:
        from llmspell_cli._chat import Chat
        from llmspell_cli._chat_setup import ChatSetup

        setup = ChatSetup.read(source)
        if setup.message is None and self._input is None:
            raise ValidationError("there is nobody to ask a question", field="message")
        chat = Chat(setup, context, self._output, self._input)
        value = chat.run()
        if context.cancel.reason is not None:
            raise ExecutionCancelled(context.cancel.reason)
        return value

    def close(self) -> None:
        """End what runs."""
        for context, thread in self._running:
            context.cancel.cancel("closed")
            if thread is not threading.current_thread():
                thread.join(_PATIENCE)
