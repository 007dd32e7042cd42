"""What can be typed in a conversation besides questions: ``/help`` and its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from llmspell_cli._chat_view import spent
from llmspell_core import LLMSpellError, nearest

if TYPE_CHECKING:
    from llmspell_cli._chat import Chat


def _help(chat: Chat, _: str) -> None:
    width = max(len(usage) for usage, _ in _COMMANDS.values())
    for usage, text in _COMMANDS.values():
        chat.view.note(f"  {usage:<{width}}  {text}")
    chat.view.note("A line that ends with \\ goes on in the next one.")


def _model(chat: Chat, name: str) -> None:
    if name:
        chat.choose(name)
    chat.view.note(f"Talking to {chat.name}")


def _tools(chat: Chat, names: str) -> None:
    if names:
        words = names.replace(",", " ").split()
        chat.use([] if words in (["none"], ["-"]) else words)
    used = ", ".join(chat.setup.tools) or "none"
    chat.view.note(f"Tools in use: {used}")
    if not names:
        chat.view.note(f"There are: {', '.join(chat.known_tools())}")


def _system(chat: Chat, text: str) -> None:
    from dataclasses import replace

    if text:
        chat.setup = replace(chat.setup, system=None if text == "none" else text)
    chat.view.note(f"System prompt: {chat.setup.system or 'none'}")


def _clear(chat: Chat, _: str) -> None:
    chat.messages = []
    chat.view.note("The conversation is forgotten; what it cost is not.")


def _cost(chat: Chat, _: str) -> None:
    turns = len(chat.turns)
    answers = "1 answer" if turns == 1 else f"{turns} answers"
    chat.view.note(f"{answers}: {spent(chat.usage) if chat.usage else 'nothing spent'}")


def _save(chat: Chat, path: str) -> None:
    if not path:
        chat.view.note("Where to? /save FILE")
        return
    chat.save(path)
    chat.view.note(f"✓ Saved to {path}; go on with: llmspell chat --history {path}")


_DO: dict[str, Callable[[Chat, str], None]] = {
    "help": _help,
    "model": _model,
    "tools": _tools,
    "system": _system,
    "clear": _clear,
    "cost": _cost,
    "save": _save,
}
_COMMANDS = {
    "help": ("/help", "This"),
    "model": ("/model [MODEL]", "Who answers; from now on another"),
    "tools": ("/tools [NAME… | none]", "What the model may use; from now on these"),
    "system": ("/system [TEXT | none]", "The system prompt; from now on another"),
    "clear": ("/clear", "Forget the conversation"),
    "cost": ("/cost", "Tokens and money so far"),
    "save": ("/save FILE", "Keep the conversation, for --history"),
    "quit": ("/quit", "Leave, as Ctrl-D does"),
}
_ALIASES = {"exit": "quit", "q": "quit", "h": "help", "?": "help", "tool": "tools"}


def command(chat: Chat, line: str) -> bool:
    """Do what *line* says, without its slash; whether the conversation goes on."""
    word, _, rest = line.strip().partition(" ")
    name = _ALIASES.get(word.lower(), word.lower())
    if name == "quit":
        return False
    if name not in _DO:
        close = nearest(name, list(_COMMANDS))
        advice = f"Did you mean /{close}?" if close else "/help shows what there is."
        chat.view.note(f"Unknown command: /{word}. {advice}")
        return True
    try:
        _DO[name](chat, rest.strip())
    except LLMSpellError as error:
        chat.view.failure(error)
    return True
