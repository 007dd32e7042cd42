"""Arguments of a script."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmspell_core import ScriptArguments

_NUMBER = re.compile(r"-\d+(\.\d+)?")


def script_arguments(script: str, tokens: Sequence[str]) -> ScriptArguments:
    """What ``ARGS`` holds for the *tokens* behind the script.

    ``--key value``, ``--key=value`` and ``-k value`` are options; one without a value is
    ``"true"``. After ``--`` everything is positional. A negative number is no option.
    """
    positional: list[str] = []
    options: dict[str, str] = {}
    rest = list(tokens)
    while rest:
        token = rest.pop(0)
        name = token.lstrip("-")
        if token == "--":
            positional += rest
            break
        if not name or name == token or _NUMBER.fullmatch(token):
            positional.append(token)
        elif "=" in name:
            key, _, value = name.partition("=")
            options[key] = value
        elif rest and not rest[0].startswith("--"):
            options[name] = rest.pop(0)
        else:
            options[name] = "true"
    return ScriptArguments(script, tuple(positional), options)
