"""Every script of the corpus does on every engine what the contract says."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from llmspell_core import Config, LLMSpellError, PluginIndex, ScriptArguments, Source
from llmspell_kernel import Kernel

from .corpus import ENGINES, Like, Prints, Raises, Script, everything

CORPUS = everything()
CASES = [
    pytest.param(
        engine,
        script,
        id=f"{engine}-{script.requirement}-{script.what}",
        marks=pytest.mark.requirement(script.requirement),
    )
    for engine in ENGINES
    if engine in PluginIndex().names("llmspell.engines")
    for script in CORPUS
    if engine in script.engines
]
ARGUMENTS = ScriptArguments(
    "corpus.lua", ("first", "22"), {"name": "Ada", "max-cost": "3", "flag": "true"}
)
SETTINGS = {"providers": {"test": {"provider_type": "echo", "api_key": "very-secret"}}}


class World:
    """A kernel, and what its scripts print."""

    def __init__(self, home: str) -> None:
        self.written: list[tuple[str, str]] = []
        self.kernel = Kernel.open(
            Config(SETTINGS, home=home), output=lambda *piece: self.written.append(piece)
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(str(tmp_path_factory.mktemp("corpus")))
    yield made
    made.kernel.close()


def named(value: Any, word: str) -> Any:
    """*value* with the word of the script in place of ``$N``."""
    if isinstance(value, str):
        return value.replace("$N", word)
    if isinstance(value, list):
        return [named(item, word) for item in value]
    if isinstance(value, dict):
        return {named(key, word): named(item, word) for key, item in value.items()}
    if isinstance(value, Like):
        return Like(value.pattern.replace(r"\$N", "$N").replace("$N", re.escape(word)))
    return value


def exact(value: Any) -> Any:
    """*value* with the kinds of its numbers."""
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    return (type(value), value) if isinstance(value, int | float) else value


@pytest.mark.parametrize(("engine", "script"), CASES)
def test_the_corpus(world: World, engine: str, script: Script) -> None:
    word = f"{engine}{zlib.crc32(script.code.encode()):x}"
    world.written.clear()
    execution = world.kernel.execute(
        Source(script.code.replace("$N", word), "t.lua"),
        engine=engine,
        arguments=ARGUMENTS,
        timeout_seconds=30,
    )
    try:
        result: Any = execution.result(60).value
    except LLMSpellError as error:
        result = error
    outcome = script.outcome
    if isinstance(outcome, Raises):
        assert isinstance(result, LLMSpellError), result
        missing = [p for p in named(list(outcome.phrases), word) if p not in str(result)]
        assert missing == [], str(result)
    elif isinstance(outcome, Prints):
        assert not isinstance(result, LLMSpellError), result
        printed = "".join(text for stream, text in world.written if stream == "stdout")
        assert printed == named(outcome.text, word)
    elif engine == "lua" and not isinstance(outcome, Like):
        assert exact(result) == exact(named(outcome, word))
    else:
        assert result == named(outcome, word)


def test_the_corpus_is_large_and_no_script_is_there_twice() -> None:
    assert len(CORPUS) >= 500
    assert len({(script.code, script.engines) for script in CORPUS}) == len(CORPUS)
