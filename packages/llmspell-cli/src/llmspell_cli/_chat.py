"""`Chat`: a conversation with a model, question by question."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from llmspell_cli._chat_commands import command
from llmspell_cli._chat_setup import ChatSetup
from llmspell_cli._chat_turn import ChatTurn, Messages
from llmspell_cli._chat_view import View
from llmspell_core import (
    IO_LOOP,
    ConfigurationError,
    EffectClass,
    LLMSpellError,
    StorageError,
    Usage,
    ValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from llmspell_core import ExecutionContext, Input, Output

T = TypeVar("T")

_MARK = "\\"
"""At the end of a line: the question goes on in the next one."""


class Chat:
    """A conversation.

    Each question with its answer is one effect of the run, so that a replay gives the answer as
    it was, stopped or not, and a resumed conversation goes on with the question that was being
    answered. Model and tool calls are effects inside it.

    Args:
        setup: What it begins with.
        context: The execution.
        output: Where it is shown.
        input: Where questions come from.
    """

    def __init__(
        self, setup: ChatSetup, context: ExecutionContext, output: Output, input: Input | None
    ) -> None:
        self.setup = setup
        self.view = View(output, quiet=setup.quiet, harmless=setup.interactive)
        self.messages: Messages = []
        self.usage: Usage | None = None
        self.turns: list[dict[str, Any]] = []
        self.context = context.child(approval=replace(context.approval, ask=setup.ask))
        self._input = input

    def run(self) -> dict[str, Any]:
        """The whole of it: ``{answer, turns, tokens, cost}``.

        Raises:
            LLMSpellError: what an answer failed with, unless somebody sits there to read it.
        """
        setup = self.setup
        self.choose(setup.model)
        self.use(setup.tools)
        if setup.history is not None:
            self.load(setup.history)
        if setup.message is not None:
            self.ask(setup.message)
        else:
            if setup.interactive:
                self.view.note(self._greeting())
            self._read_on()
        self.view.finish()
        usage = self.usage
        return {
            "answer": self.turns[-1]["text"] if self.turns else None,
            "turns": self.turns,
            "tokens": 0 if usage is None else usage.total_tokens,
            "cost": None if usage is None else usage.cost,
        }

    def _greeting(self) -> str:
        tools = f", with {', '.join(self.setup.tools)}" if self.setup.tools else ""
        return (
            f"Talking to {self.name}{tools}. /help shows the commands; Ctrl-C stops an answer, "
            "Ctrl-D leaves."
        )

    def _read_on(self) -> None:
        while self.context.cancel.reason is None:
            line = self._question()
            if line is None:
                return
            if line.startswith("/"):
                if not command(self, line[1:]):
                    return
            elif line.strip():
                self._ask_or_tell(line)

    def _question(self) -> str | None:
        """The next question; lines that end with a backslash go on."""
        lines: list[str] = []
        while True:
            line = self._line("... " if lines else "> ")
            if line is None:
                return "\n".join(lines) if lines else None
            if not line.endswith(_MARK):
                return "\n".join([*lines, line])
            lines.append(line.removesuffix(_MARK))

    def _line(self, prompt: str) -> str | None:
        asked = False

        def read() -> str | None:
            nonlocal asked
            asked = True
            assert self._input is not None
            return self._input(prompt if self.setup.interactive else "")

        line = self.context.observe("chat.line", prompt, read)
        if not asked and line is not None:
            self.view.show_line(prompt, line)
        return line

    def _ask_or_tell(self, text: str) -> None:
        try:
            self.ask(text)
        except LLMSpellError as error:
            if not self.setup.interactive:
                raise
            self.view.failure(error)

    # -- what commands change --------------------------------------------------------------------

    def choose(self, model: str | None) -> None:
        """Talk to another model from now on.

        Raises:
            ConfigurationError: for one that cannot be asked.
        """
        context = self.context

        def resolve() -> dict[str, Any]:
            try:
                provider, name = context.services.providers.resolve(model)
            except ConfigurationError as error:
                return {"error": error.message, "hint": error.hint, "code": error.code}
            return {"name": f"{provider.name}/{name}"}

        found = context.observe("provider.resolve", {"chat": model}, resolve)
        if "error" in found:
            raise ConfigurationError(found["error"], hint=found["hint"], code=found["code"])
        self.name: str = found["name"]
        self.setup = replace(self.setup, model=model)

    def use(self, tools: Sequence[str]) -> None:
        """Give the model these tools from now on.

        Raises:
            NotFoundError: for one that there is not.
        """
        for name in tools:
            if name != "*" and not self.context.services.tools.has(name):
                self.context.services.tools.get(name)
        self.setup = replace(self.setup, tools=tuple(tools))

    def known_tools(self) -> list[str]:
        """The tools there are."""
        return [info.name for info in self.context.services.tools.list()]

    def load(self, path: str) -> None:
        """Go on from the conversation in a file, if it is there.

        Raises:
            ValidationError: when it holds something else.
        """
        self.messages = self.context.observe("file.read", path, lambda: _read(path))

    def save(self, path: str) -> None:
        """Keep the conversation in a file.

        Raises:
            StorageError: when it cannot be written.
        """
        setup = self.setup
        kept = {
            "version": 1,
            "model": self.name,
            "system": setup.system,
            "messages": self.messages,
        }
        _write(path, json.dumps(kept, ensure_ascii=False, indent=1))

    # -- a question and its answer ---------------------------------------------------------------

    def ask(self, text: str) -> None:
        """Ask, show the answer while it comes, and remember both."""
        turn = ChatTurn(self, text)
        # The request says what the answer depends on, so that a replay of a conversation that
        # was begun otherwise stops here.
        request = {"text": text, "options": self.setup.options()}
        kept = self._wait(
            self.context.effect("chat.turn", request, turn.run, effect_class=EffectClass.IDEMPOTENT)
        )
        if not turn.live:
            self.view.show_again(kept["pieces"])
        self.messages = [*self.messages[: kept["kept"]], *kept["messages"]]
        usage = None if kept["usage"] is None else Usage.from_dict(kept["usage"])
        self._count(usage)
        self.turns.append(_told(text, kept))
        if kept["stopped"]:
            self.view.stopped()
        else:
            self.view.end_answer()
        self.view.cost(kept["model"] or self.name, usage, self.usage, kept["finish_reason"])

    def _count(self, usage: Usage | None) -> None:
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage + usage

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* on the loop and wait; it ends with the execution."""
        future = IO_LOOP.submit(work)

        def give_up(_: str) -> None:
            future.cancel()

        drop = self.context.cancel.subscribe(give_up)
        try:
            return future.result()
        except BaseException:
            self.context.check()
            raise
        finally:
            drop()


def _told(text: str, kept: Mapping[str, Any]) -> dict[str, Any]:
    """A turn for programs."""
    usage = kept["usage"]
    return {
        "question": text,
        "text": kept["text"],
        "model": kept["model"],
        "finish_reason": kept["finish_reason"],
        "tool_calls": [
            {
                "name": call["name"],
                "parameters": call["parameters"],
                "success": None if call["result"] is None else call["result"]["success"],
            }
            for call in kept["tool_calls"]
        ],
        "usage": usage,
        "cost": None if usage is None else usage["cost"],
    }


def _read(path: str) -> list[Any]:
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            value: Any = json.load(file)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise ValidationError(
            f"the conversation in {path} cannot be read: {error}", field="history"
        ) from error
    messages: Any = cast("dict[str, Any]", value).get("messages") if isinstance(value, dict) else 0
    if not isinstance(messages, list):
        raise ValidationError(
            f"{path} does not hold a conversation",
            field="history",
            hint="It is written by /save or --history.",
        )
    return cast("list[Any]", messages)


def _write(path: str, text: str) -> None:
    """Whole or not at all."""
    whole = os.path.expanduser(path)
    beside = f"{whole}.{os.getpid()}.new"
    try:
        with open(beside, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.replace(beside, whole)
    except OSError as error:
        raise StorageError(
            f"the conversation cannot be kept in {path}: {error.strerror}",
            operation="keep",
            hint="Name a file in a directory that is there and may be written to.",
        ) from error
