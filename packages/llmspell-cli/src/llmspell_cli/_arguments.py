"""Arguments of a script."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmspell_core import ScriptArguments

_NUMBER = re.compile(r"-\d+(\.\d+)?")


def script_arguments(script: str, words: Sequence[str]) -> ScriptArguments:
    """What ``ARGS`` holds for the *words* behind the script.

    ``--key value``, ``--key=value`` and ``-k value`` are options; one without a value is
    ``"true"``. After ``--`` everything is positional. A negative number is no option.
    """
    positional: list[str] = []
    options: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name = word.lstrip("-")
        if word == "--":
            positional += rest
            break
        if not name or name == word or _NUMBER.fullmatch(word):
            positional.append(word)
        elif "=" in name:
            key, _, value = name.partition("=")
            options[key] = value
        elif rest and not rest[0].startswith("--"):
            options[name] = rest.pop(0)
        else:
            options[name] = "true"
    return ScriptArguments(script, tuple(positional), options)
