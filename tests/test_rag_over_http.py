"""Retrieval with the embedders of providers: real HTTP, found through entry points."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmspell_core import Document, ExecutionContext, Services
from llmspell_testing import ModelServer

from .conftest import User

TEXTS = {
    "pumps": "Pumps move water from the well to the tank.",
    "bread": "Bread is baked from flour, yeast and salt.",
    "stars": "Stars are born in clouds of cold gas.",
}


@pytest.mark.parametrize("name", ["cohere", "gemini", "mistral", "ollama", "openai", "together"])
async def test_documents_are_found_by_the_vectors_of_a_provider(name: str, tmp_path: Path) -> None:
    async with ModelServer(name) as server:
        rag = {
            "embedding": {"default_provider": name, "model": "mine", "batch_size": 2},
            "vector_storage": {"dimensions": 64, "persistence_path": str(tmp_path)},
        }
        async with Services({"providers": {name: server.settings}, "rag": rag}) as services:
            context = ExecutionContext(services)
            documents = [Document(text, id=key) for key, text in TEXTS.items()]
            report = await services.rag.ingest(documents, context)
            assert (report.documents, report.failed) == (3, ())
            hits = await services.rag.search("flour and yeast for bread", context, k=1)
        asked = [call.inputs for call in server.calls if call.operation == "embed"]
    assert [hit.text for hit in hits] == [TEXTS["bread"]]
    assert sorted(sum(asked, ())) == sorted([*TEXTS.values(), "flour and yeast for bread"])
    assert max(map(len, asked)) <= 2


def test_a_script_searches_with_openais_vectors(user: User) -> None:
    script = user.script(
        'for _, text in ipairs({"Pumps move water.", "Bread is baked from flour."}) do\n'
        "  RAG.ingest({content = text})\n"
        "end\n"
        'print(RAG.search("baked flour", {k = 1})[1].text)\n'
    )
    with ModelServer("openai") as server:
        done = user.run(
            "run", script, env={**server.environment, "LLMSPELL_EMBEDDING_PROVIDER": "openai"}
        )
        models = {call.model for call in server.calls}
    assert (done.code, done.out.strip()) == (0, "Bread is baked from flour."), done.err
    assert models == {"text-embedding-3-small"}
