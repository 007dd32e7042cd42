"""Retrieval's embedders that ask a provider, over HTTP."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from llmspell_core import (
    ConfigurationError,
    Embedder,
    ExecutionContext,
    PluginIndex,
    ProviderError,
    Services,
    ValidationError,
)
from llmspell_testing import EmbedderSuite, Fault, ModelServer, Reply

NAMES = ["cohere", "gemini", "mistral", "ollama", "openai", "together"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("LLMSPELL_") or name.endswith(("_API_KEY", "_BASE_URL")):
            monkeypatch.delenv(name)


@asynccontextmanager
async def opened(
    server: ModelServer, *, dimensions: int | None = None, **embedding: Any
) -> AsyncIterator[tuple[Embedder, ExecutionContext]]:
    name = server.vendor.name
    rag: dict[str, Any] = {"embedding": {"default_provider": name, **embedding}}
    if dimensions is not None:
        rag["vector_storage"] = {"dimensions": dimensions}
    table = {**server.settings, "max_retries": 0}
    async with Services({"providers": {name: table}, "rag": rag}) as services:
        factory = PluginIndex().load("llmspell.embedders", name)
        yield factory(services, name=name, dimensions=384), ExecutionContext(services)


class TestEveryEmbedderKeepsTheContract(EmbedderSuite):
    @pytest.fixture(params=NAMES)
    async def embedder(self, request: pytest.FixtureRequest) -> AsyncIterator[Embedder]:  # type: ignore[override]
        async with (
            ModelServer(request.param) as server,
            opened(server, dimensions=64, model="a-model-of-ones-own") as (made, context),
        ):
            self._context = context
            yield made

    @pytest.fixture
    def context(self, embedder: Embedder) -> ExecutionContext:
        return self._context


@pytest.mark.covers("embeddings")
@pytest.mark.parametrize("vendor", NAMES)
async def test_the_usual_model_is_asked_for_vectors_of_its_own_length(vendor: str) -> None:
    lengths = {"cohere": 1536, "gemini": 3072, "mistral": 1024, "ollama": 768, "openai": 1536}
    length = lengths.get(vendor, 1024)
    async with ModelServer(vendor) as server, opened(server) as (embedder, context):
        server.answer(Reply(data=[[3.0, 4.0] + [0.0] * (length - 2)]), to="embed")
        (vector,) = await embedder.embed(["one"], context)
        assert embedder.dimensions == length == len(vector)
        assert [round(n, 6) for n in vector[:3]] == [0.6, 0.8, 0.0]
        assert server.calls[-1].dimensions is None


async def test_shorter_vectors_are_asked_for_where_they_are_set() -> None:
    async with (
        ModelServer("openai") as server,
        opened(server, dimensions=256) as (embedder, context),
    ):
        (vector,) = await embedder.embed(["one"], context)
        assert (len(vector), server.calls[0].dimensions) == (256, 256)
        assert server.calls[0].model == "text-embedding-3-small"


async def test_the_model_is_the_configured_one() -> None:
    async with (
        ModelServer("openai") as server,
        opened(server, model="text-embedding-3-large") as (embedder, _),
    ):
        assert embedder.dimensions == 3072


async def test_another_embedder_does_not_get_the_model_of_the_configured_one() -> None:
    async with ModelServer("mistral") as server:
        config = {
            "providers": {"mistral": {**server.settings, "embedding_model": "codestral-embed"}},
            "rag": {"embedding": {"default_provider": "openai", "model": "text-embedding-3-large"}},
        }
        async with Services(config) as services:
            factory = PluginIndex().load("llmspell.embedders", "mistral")
            assert factory(services, name="mistral").dimensions == 1536


@pytest.mark.parametrize(
    ("dimensions", "model", "words"),
    [
        (None, "unheard-of", "is not known"),
        (384, "text-embedding-ada-002", "makes vectors of 1536 numbers, not of 384"),
        (4096, "text-embedding-3-small", "makes vectors of 1536 numbers, not of 4096"),
    ],
)
async def test_a_length_that_cannot_be_is_refused_before_anything_is_asked(
    dimensions: int | None, model: str, words: str
) -> None:
    async with ModelServer("openai") as server:
        with pytest.raises(ConfigurationError, match=words) as caught:
            async with opened(server, dimensions=dimensions, model=model):
                pass
        assert "rag.vector_storage.dimensions" in (caught.value.hint or "")
        assert server.requests == []


async def test_a_server_that_answers_with_another_length_is_told() -> None:
    async with (
        ModelServer("openai") as server,
        opened(server, dimensions=8, model="mine") as (embedder, context),
    ):
        server.answer(Reply(data=[[1.0] * 12]), to="embed")
        with pytest.raises(ConfigurationError, match="makes vectors of 12 numbers, not of 8"):
            await embedder.embed(["x"], context)


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ([[1.0] * 8, [1.0] * 8], "2 vectors for 1 texts"),
        ([[0.0] * 8], "a vector without a direction"),
        ([[]], "0 vectors for 1 texts"),
        ([["x"] * 8], "something that is no number"),
    ],
)
async def test_vectors_that_are_none_are_an_error(vectors: list[Any], words: str) -> None:
    async with (
        ModelServer("openai") as server,
        opened(server, dimensions=8, model="mine") as (embedder, context),
    ):
        server.answer(Reply(data=vectors), to="embed")
        with pytest.raises(ProviderError, match=words):
            await embedder.embed(["x"], context)


async def test_an_error_of_the_vendor_comes_through() -> None:
    async with (
        ModelServer("openai") as server,
        opened(server, dimensions=8, model="mine") as (embedder, context),
    ):
        server.answer(Fault("auth"), to="embed")
        with pytest.raises(ProviderError) as caught:
            await embedder.embed(["x"], context)
        assert caught.value.kind == "auth"
        with pytest.raises(ValidationError):
            await embedder.embed(["x", ""], context)


async def test_embedders_are_not_opened_by_naming_them() -> None:
    # A key that is missing is told when texts are embedded, not before.
    async with Services({"rag": {"embedding": {"default_provider": "openai"}}}) as services:
        factory: Callable[..., Embedder] = PluginIndex().load("llmspell.embedders", "openai")
        embedder = factory(services, name="openai")
        with pytest.raises(ProviderError, match="OpenAI API key required"):
            await embedder.embed(["x"], ExecutionContext(services))
