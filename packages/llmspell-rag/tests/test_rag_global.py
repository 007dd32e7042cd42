"""The script global ``RAG``, as plain Python."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from llmspell_core import ConfigurationError, Items, NotFoundError, Services, ValidationError
from llmspell_rag import RagGlobal
from llmspell_testing import HostDouble


@pytest.fixture
def rag(world: Any) -> RagGlobal:
    return RagGlobal(HostDouble(world.services, world.context))


async def texts(rag: RagGlobal, query: str, options: Any = None) -> list[str]:
    found = await rag.search(query, options)
    return sorted(item["text"] for item in found.items)


async def test_what_was_ingested_is_found(rag: RagGlobal) -> None:
    report = await rag.ingest({"content": "Pumps move water.", "id": "p", "metadata": {"n": 1}})
    assert report == {
        "success": True,
        "documents_processed": 1,
        "documents_skipped": 0,
        "vectors_created": 1,
        "total_tokens": 5,
        "id": "p",
        "ids": ["p"],
        "document_ids": ["p"],
        "vector_ids": ["p:0"],
        "failed": [],
    }
    found = await rag.search("water pumps")
    assert isinstance(found, Items)
    assert {k: v for k, v in found.fields.items() if k not in ("results", "retrieval_time_ms")} == {
        "success": True,
        "total": 1,
        "query": "water pumps",
    }
    assert found.fields["results"] == found.items
    assert found.fields["retrieval_time_ms"] >= 0
    (item,) = found.items
    assert item["text"] == item["content"] == "Pumps move water."
    assert item["distance"] == pytest.approx(1 - item["score"])
    assert (item["id"], item["collection"], item["source"]) == ("p:0", "default", "p")
    assert (item["first_line"], item["start"], item["citation"]) == (1, 0, "p:1-1")
    assert item["metadata"]["n"] == 1


@pytest.mark.parametrize(
    ("documents", "count"),
    [
        ("a text", 1),
        (["a text", "another"], 2),
        ([{"text": "a text"}, "another", {"content": "third", "metadata": []}], 3),
        ({"text": "a text", "id": 7}, 1),
        ([], 0),
        ({}, 0),
    ],
)
async def test_documents_in_every_form(rag: RagGlobal, documents: Any, count: int) -> None:
    report = await rag.ingest(documents)
    assert report["success"] is True
    assert report["documents_processed"] == report["vectors_created"] == count
    assert len(report["ids"]) == count


@pytest.mark.parametrize(
    ("documents", "options", "message"),
    [
        (None, None, "Document requires 'content' or 'text' field"),
        (5, None, "Document requires 'content' or 'text' field"),
        ({"id": "x"}, None, "Document requires 'content' or 'text' field"),
        ({"content": ""}, None, "Document requires 'content' or 'text' field"),
        ({"content": 42}, None, "Document requires 'content' or 'text' field"),
        ({"content": {"a": 1}}, None, "Document requires 'content' or 'text' field"),
        (["good", ""], None, "Document requires 'content' or 'text' field"),
        (["good", 3], None, "Document requires 'content' or 'text' field"),
        ({"content": "x", "metadata": "y"}, None, "metadata must be a table"),
        ({"content": "x", "metadata": ["y"]}, None, "metadata must be a table"),
        ({"content": "x", "id": {}}, None, "id must be a text"),
        ({"content": "x"}, 5, "options must be a table"),
        ({"content": "x"}, {"metadata": 5}, "metadata must be a table"),
        ({"content": "x"}, {"collection": 5}, "collection must be a text"),
        ({"content": "x"}, {"chunk_size": 10, "overlap": 10}, "must be less than the chunk size"),
        ({"content": "x"}, {"scope": "tenant"}, "needs an id"),
        ({"path": 5}, None, "path must be a text"),
        ({"path": "x", "glob": 5}, None, "glob must be a text or a list"),
    ],
)
async def test_misuse_of_ingest_raises(
    world: Any, rag: RagGlobal, documents: Any, options: Any, message: str
) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        await rag.ingest(documents, options)
    assert not world.home.exists()


async def test_a_folder_is_ingested(world: Any, rag: RagGlobal, monkeypatch: Any) -> None:
    world.write("docs/a.md", "# Pumps\n\nPumps move water.\n")
    world.write("docs/b.txt", "Wells hold water.")
    world.write("docs/c.txt", b"\xff\xfe")
    monkeypatch.chdir(world.folder)
    report = await rag.ingest({"path": "docs", "collection": "manual", "chunk_size": 100})
    assert report["ids"] == ["docs/a.md", "docs/b.txt"]
    assert report["failed"] == [{"source": "docs/c.txt", "error": "not UTF-8 (byte 0xff at 0)"}]
    found = await rag.search({"query": "pumps", "k": 1, "collection": "manual", "hybrid": True})
    assert found.items[0]["citation"] == "docs/a.md:1-3 (Pumps)"
    assert await rag.list_collections() == ["manual"]
    report = await rag.ingest({"path": "docs", "glob": ["*.md"]}, {"collection": "other"})
    assert report["ids"] == ["docs/a.md"]
    with pytest.raises(NotFoundError):
        await rag.ingest({"path": "docs", "glob": "*.rst"})


async def test_search_options(rag: RagGlobal) -> None:
    await rag.ingest(
        [{"text": f"apples number{n}", "id": f"d{n}", "metadata": {"n": n}} for n in range(20)]
    )
    assert len((await rag.search("apples")).items) == 10
    for key in ("k", "top_k", "limit"):
        assert len((await rag.search("apples", {key: 3})).items) == 3
    assert len((await rag.search("apples", {"limit": 9, "k": 2, "top_k": 5.0})).items) == 2
    assert len((await rag.search({"query": "apples", "k": 4}, {"k": 1})).items) == 4
    for key in ("filters", "metadata_filter", "filter"):
        (item,) = (await rag.search("apples", {key: {"n": 7}})).items
        assert item["metadata"]["n"] == 7
    (item, *_) = (await rag.search("apples", {"include_metadata": False, "filters": []})).items
    assert item["metadata"] is None
    assert item["keyword_score"] is None
    (item, *_) = (await rag.search("number7", {"weights": {"keyword": 1}})).items
    assert (item["text"], item["keyword_score"]) == ("apples number7", 1.0)
    assert (await rag.search("apples", {"threshold": 1})).items == []
    assert (await rag.search("apples", "session:none")).fields["total"] == 0


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        (None, None, "query must be a text"),
        (5, None, "query must be a text"),
        ("  ", None, "query must be a text"),
        ({"k": 1}, None, "query must be a text"),
        ({"query": 5}, None, "query must be a text"),
        ("x", {"k": 0}, "k must be a positive integer"),
        ("x", {"k": -5}, "k must be a positive integer"),
        ("x", {"k": "many"}, "k must be a positive integer"),
        ("x", {"k": 1.5}, "k must be a positive integer"),
        ("x", {"k": 10_001}, "k value too large"),
        ("x", {"threshold": 2}, "threshold must be a number from 0 to 1"),
        ("x", {"filters": "n=1"}, "filters must be a table"),
        ("x", {"filters": [1]}, "filters must be a table"),
        ("x", {"weights": 1}, "weights must be a table"),
        ("x", {"scope": 5}, "scope must be a text"),
        ("x", {"fusion": "best"}, "there is no fusion 'best'"),
    ],
)
async def test_misuse_of_search_raises(
    rag: RagGlobal, query: Any, options: Any, message: str
) -> None:
    await rag.ingest("x")
    with pytest.raises(ValidationError, match=re.escape(message)):
        await rag.search(query, options)


async def test_scopes_are_strict(rag: RagGlobal) -> None:
    await rag.ingest("ours")
    await rag.ingest({"text": "of a", "tenant_id": "a"})
    await rag.ingest([{"text": "of b", "tenant_id": "b"}, {"text": "ours too"}])
    await rag.ingest("of user", {"scope": "user", "scope_id": "u"})
    await rag.ingest("of session", "session:s")
    await rag.ingest("knowledge", {"scope": "personal_knowledge"})
    assert await texts(rag, "of ours") == ["knowledge", "ours", "ours too"]
    assert await texts(rag, "of", {"tenant_id": "a"}) == ["of a"]
    assert await texts(rag, "of", {"tenant_id": "b", "scope": "user", "scope_id": "u"}) == ["of b"]
    assert await texts(rag, "of", {"scope": "user:u"}) == ["of user"]
    assert await texts(rag, "of", {"scope": "session", "scope_id": "s"}) == ["of session"]
    assert await texts(rag, "of", {"scope": "custom", "scope_id": "session:s"}) == ["of session"]
    assert await texts(rag, "knowledge", "personal_knowledge") == ["knowledge"]
    found = await rag.search("of", {"tenant_id": "a"})
    assert found.items[0]["metadata"]["tenant"] == "a"


async def test_the_scope_of_later_calls_can_be_set(rag: RagGlobal) -> None:
    assert rag.set_scope("tenant:x") == "global"
    await rag.ingest("mine")
    assert rag.set_scope("global") == "tenant:x"
    assert await texts(rag, "mine") == []
    assert rag.set_scope("tenant", "x") == "global"
    assert await texts(rag, "mine") == ["mine"]
    assert await texts(rag, "mine", {"scope": "global"}) == []
    assert rag.set_scope() == "tenant:x"
    with pytest.raises(ValidationError, match="must be texts"):
        rag.set_scope(5)


async def test_stats_and_collections(rag: RagGlobal) -> None:
    assert (await rag.get_stats())["total_vectors"] == 0
    await rag.ingest(["one", "two"], {"collection": "a"})
    await rag.ingest("three", {"collection": "b"})
    stats = await rag.get_stats()
    assert stats["total_storage_bytes"] == stats["storage_bytes"] > 3 * 384 * 4
    assert {k: v for k, v in stats.items() if "storage" not in k} == {
        "total_vectors": 3,
        "total_documents": 3,
        "namespace_count": 1,
        "collections": 2,
    }
    assert (await rag.get_stats("a"))["total_vectors"] == 2
    assert (await rag.get_stats("global"))["total_vectors"] == 3
    assert (await rag.get_stats("default"))["total_vectors"] == 3
    assert (await rag.get_stats({"collection": "b"}))["total_vectors"] == 1
    assert set((await rag.get_stats("tenant", "nobody")).values()) == {0}
    assert await rag.list_collections() == ["a", "b"]
    assert await rag.list_collections("session:1") == []


async def test_removing(rag: RagGlobal) -> None:
    await rag.ingest([{"text": f"text {n}", "id": f"d{n}"} for n in range(5)])
    await rag.ingest("kept", {"collection": "other"})
    await rag.ingest("theirs", {"scope": "session:1"})
    assert await rag.delete("d0") == 1
    assert await rag.delete(["d1", "d2:0", "nobody"]) == 2
    for wrong in (None, 5, {"id": "x"}, [5], ""):
        with pytest.raises(ValidationError, match="an id or a list of ids"):
            await rag.delete(wrong)
    assert await rag.clear("default_not_there") == 0
    assert await rag.clear({"collection": "default"}) == 2
    assert await texts(rag, "text kept") == ["kept"]
    assert await rag.clear() == 1
    assert await rag.cleanup_scope("session:1") == 1
    assert await rag.cleanup_scope("session", "1") == 0


async def test_cleanup_with_a_table_needs_confirmation(rag: RagGlobal) -> None:
    await rag.ingest(["one", "two"], {"tenant_id": "acme"})
    for wrong, message in (
        ({"scope": "tenant_acme"}, "confirm=true"),
        ({"scope": "tenant_acme", "confirm": "yes"}, "confirm=true"),
        ({"confirm": True}, "needs a scope"),
        (None, "needs a scope"),
    ):
        with pytest.raises(ValidationError, match=message):
            await rag.cleanup_scope(wrong)
    done = await rag.cleanup_scope({"scope": "tenant_acme", "confirm": True})
    freed = done["stats"].pop("storage_freed_mb")
    assert done == {"success": True, "deleted": 2, "stats": {"documents_removed": 2}}
    assert 0 < freed < 1


async def test_the_rest(open_world: Callable[..., Any]) -> None:
    world = open_world({"rag": {"multi_tenant": {"enabled": True}, "default_collection": "notes"}})
    rag = RagGlobal(HostDouble(world.services, world.context))
    assert await rag.save() is True
    assert {"lexical", "local", "mock"} <= set(rag.list_providers())
    assert rag.config == {
        "enabled": True,
        "multi_tenant": True,
        "collection": "notes",
        "provider": "lexical",
        "embedding_model": None,
        "dimensions": 384,
        "chunk_size": 512,
        "overlap": 64,
    }
    await rag.ingest("text")
    assert await rag.list_collections() == ["notes"]
    assert (await rag.ingest("text", {"provider": "mock"}))["success"] is True


async def test_defaults_come_from_the_configuration(open_world: Callable[..., Any]) -> None:
    retrieval = {"default_top_k": 2, "default_threshold": 0.5}
    world = open_world({"rag": {"retrieval": retrieval}})
    rag = RagGlobal(HostDouble(world.services, world.context))
    await rag.ingest(["apples", "apples again", "apples once more", "pears"])
    assert len((await rag.search("apples")).items) == 2
    assert len((await rag.search("apples", {"k": 9})).items) == 3
    assert len((await rag.search("apples", {"k": 9, "threshold": 0})).items) == 4


async def test_another_retrieval_service_needs_a_global_of_its_own() -> None:
    services = Services({})
    services.provide("rag", object())
    with pytest.raises(ConfigurationError, match="has no script global"):
        await RagGlobal(HostDouble(services)).search("x")
