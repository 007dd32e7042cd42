"""The sample plugin keeps the contracts it registers for."""

from __future__ import annotations

from typing import Any

import pytest
from llmspell_sample_plugin import ReadingTime, ReverseProvider, SampleGlobal, Stopwatch

from llmspell_core import (
    BaseAgent,
    ChatRequest,
    Message,
    PluginIndex,
    Provider,
    ProviderError,
    ProviderSettings,
    Record,
    ValidationError,
)
from llmspell_testing import (
    HostDouble,
    LedgerDouble,
    ToolsDouble,
    make_context,
    make_services,
    recorded_and_replayed,
)
from llmspell_testing.suites import ProviderSuite, ToolSuite


class TestReadingTime(ToolSuite):
    @pytest.fixture
    def component(self) -> BaseAgent:
        return ReadingTime()

    @pytest.fixture
    def parameters(self) -> dict[str, Any]:
        return {"text": "One two. Three!", "words_per_minute": 60}

    @pytest.fixture
    def refused(self) -> list[dict[str, Any]]:
        return [{"text": ""}, {"text": " \n\t"}]


class TestReverseProvider(ProviderSuite):
    @pytest.fixture
    def provider(self) -> Provider:
        return ReverseProvider(ProviderSettings("reverse", "reverse"), make_services())


@pytest.mark.parametrize(
    ("text", "words", "sentences", "seconds"),
    [
        ("Hello", 1, 1, 1),
        ("Hello. World!", 2, 2, 2),
        ('He said "Stop." And (then) went', 6, 2, 6),
        ("ünïcode 文字… \U0001f511?", 3, 2, 3),
        ("word " * 1000, 1000, 1, 1000),
    ],
)
async def test_it_counts(text: str, words: int, sentences: int, seconds: int) -> None:
    result = await ReadingTime().run({"text": text, "words_per_minute": 60}, make_context())
    assert result.result == {"words": words, "sentences": sentences, "seconds": seconds}
    assert result.text == f"{words} words, {seconds} seconds to read"


async def test_two_hundred_words_take_a_minute() -> None:
    result = await ReadingTime().run({"text": "word " * 200}, make_context())
    assert result.value == 60


async def test_the_model_reverses_the_last_question() -> None:
    provider = ReverseProvider(ProviderSettings("mine", "reverse"), make_services())
    request = ChatRequest(
        "words", (Message("user", "no"), Message("assistant", "x"), Message("user", "a b  c"))
    )
    chunks = [chunk async for chunk in provider.stream(request, make_context())]
    assert [chunk.text for chunk in chunks] == ["c", " b", " a", ""]
    assert [model.id for model in await provider.models()] == ["words"]
    with pytest.raises(ProviderError, match="mine was given no user message"):
        await provider.chat(ChatRequest("words", (Message("system", "x"),)), make_context())


async def test_the_global_asks_the_tool() -> None:
    host = HostDouble(make_services(tools=ToolsDouble(ReadingTime())))
    sample = SampleGlobal(host)
    answer = await sample.reading_time("One two three", {"words_per_minute": 90})
    assert answer == Record(
        {"words": 3, "sentences": 1, "seconds": 2}, text="3 words, 2 seconds to read"
    )
    with pytest.raises(ValidationError):
        await sample.reading_time("")


async def test_a_stopwatch_measures_the_same_in_replay() -> None:
    async def work(context):
        watch = SampleGlobal(HostDouble(context=context)).stopwatch("race")
        assert isinstance(watch, Stopwatch)
        assert watch.name == "race"
        first, second = watch.lap(), watch.lap()
        assert watch.laps() == [first, second]
        assert watch.elapsed >= first + second > 0
        return [first, second, watch.elapsed]

    first, second = await recorded_and_replayed(work, LedgerDouble())
    assert second == first


def test_it_is_installed_as_everybody_else() -> None:
    index = PluginIndex()
    found = {
        (p.group, p.name): index.load(p.group, p.name)
        for p in index.all()
        if p.distribution == "llmspell-sample-plugin"
    }
    assert found == {
        ("llmspell.tools", "reading_time"): ReadingTime,
        ("llmspell.providers", "reverse"): ReverseProvider,
        ("llmspell.globals", "Sample"): SampleGlobal,
    }
