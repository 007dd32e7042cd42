"""Settings from environment variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from llmspell_config._convert import Misfit, convert
from llmspell_config._known import PROVIDER_KEYS, provider_key
from llmspell_config._layers import Settled
from llmspell_config._plain import plain
from llmspell_config._problems import Problem
from llmspell_config._schema import Key, Path, Table

PREFIX = "LLMSPELL_"

_SHORT = {
    "API_KEY": "api_key",
    "BASE_URL": "base_url",
    "ENDPOINT": "base_url",
    "MODEL": "default_model",
    "TIMEOUT": "timeout_seconds",
    "MAX_RETRIES": "max_retries",
}
_WORDS = {key.upper(): key for key in PROVIDER_KEYS}
_STRONG = re.compile(r"LLMSPELL_PROVIDER_([A-Z0-9_]+?)_(" + "|".join(_SHORT | _WORDS) + ")")
_GENERIC = re.compile(r"LLMSPELL_PROVIDERS_([A-Z0-9_]+?)_(" + "|".join(_WORDS) + ")")


def variable_of(path: Path) -> str:
    """The generic variable of a key: ``LLMSPELL_<PATH>``."""
    return PREFIX + "_".join(part.upper() for part in path)


def variables(known: Table) -> dict[str, tuple[Path, Key]]:
    """Every variable that sets a declared key; a key's own names are stronger than the generic
    one, and stand later.
    """
    generic: dict[str, tuple[Path, Key]] = {}
    named: dict[str, tuple[Path, Key]] = {}
    for path, key in known.leaves():
        generic[variable_of(path)] = (path, key)
        for name in reversed(key.env):
            named[name] = (path, key)
    return {**{k: v for k, v in generic.items() if k not in named}, **named}


def from_environment(known: Table, environ: Mapping[str, str]) -> Settled:
    """The layer that the environment is; a variable that is empty sets nothing.

    Keys of providers are known by pattern: ``LLMSPELL_PROVIDER_OPENAI_MODEL``, and weaker
    ``LLMSPELL_PROVIDERS_OPENAI_DEFAULT_MODEL``. Variables that are weaker than the file
    (``OPENAI_API_KEY``, ``LLMSPELL_OPENAI_MODEL``) are no layer: the providers ask for them.
    """
    made = Settled()
    declared = variables(known)
    for name, (path, key) in [*declared.items(), *_of_providers(environ, declared)]:
        text = environ.get(name)
        if not text or not name.startswith(PREFIX):
            continue
        try:
            value = convert(text, key.wanted, key.unit)
        except Misfit as misfit:
            made.problems.append(Problem("environment", ".".join(path), str(misfit), name))
            continue
        if key.above_zero and value is not None and value <= 0:
            made.problems.append(
                Problem("environment", ".".join(path), "cannot be zero or less", name)
            )
            continue
        made.set(path, plain(value), name)
    return made


def _of_providers(
    environ: Mapping[str, str], declared: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[Path, Key]]]:
    strong: list[tuple[str, tuple[Path, Key]]] = []
    for name in sorted(environ):
        if name in declared:
            continue
        match = _GENERIC.fullmatch(name)
        if match is not None:
            key = _WORDS[match[2]]
            yield name, (("providers", match[1].lower(), key), provider_key(key))
            continue
        match = _STRONG.fullmatch(name)
        if match is not None:
            key = _SHORT.get(match[2]) or _WORDS[match[2]]
            strong.append((name, (("providers", match[1].lower(), key), provider_key(key))))
    yield from strong
