"""The way past the argument parser, for calls that have no options to parse.

Importing Typer takes longer than everything else such a call does. ``exec CODE`` and
``run SCRIPT words…`` mean the same with and without it as long as no word begins with a dash
before ``--``; every other call goes the long way.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from llmspell_cli._invocation import Invocation


def shortcut(invocation: Invocation) -> Callable[[], int] | None:
    """What to call for *invocation*, or None where its arguments need parsing."""
    arguments = invocation.arguments
    if len(arguments) < 2 or arguments[0] not in {"exec", "run"} or arguments[1] in {"", "--"}:
        return None
    if os.environ.get("LLMSPELL_ENGINE"):
        return None
    command, subject, *words = arguments
    own = words[: words.index("--")] if "--" in words else words
    if any(word.startswith("-") for word in (subject, *own)):
        return None
    plugin = invocation.plugins.find("llmspell.commands", command)
    if plugin is None or plugin.distribution != "llmspell-cli":
        return None
    from llmspell_cli._scripts import run_code, run_file

    if command == "run":
        rest = [*own, *words[len(own) + 1 :]]
        return lambda: run_file(invocation, subject, rest)
    return None if words else lambda: run_code(invocation, subject)
