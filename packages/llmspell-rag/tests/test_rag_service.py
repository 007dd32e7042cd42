"""`RetrievalService`: documents, folders, searches."""
# ruff: noqa: ASYNC220, ASYNC221, ASYNC240 - nothing else runs on the loop of a test

import os
import random
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmspell_core import (
    Chunk,
    Chunker,
    ConfigurationError,
    Document,
    Embedder,
    ExecutionCancelled,
    IngestReport,
    NotFoundError,
    Passage,
    SecurityError,
    ValidationError,
)
from llmspell_testing import LedgerDouble, TenancyDouble, make_context, recorded_and_replayed


async def test_a_document_is_found_with_its_place(world: Any) -> None:
    text = "# Guide\n\nIntro.\n\n## Setup\n\nInstall the compiler first.\n"
    report = await world.rag.ingest(
        [Document(text, id="guide", source="guide.md", metadata={"lang": "en"})], world.context
    )
    assert report == IngestReport(1, 2, report.tokens, ("guide",), ("guide:0", "guide:1"))
    (best, *_) = await world.rag.search("install a compiler", world.context)
    assert isinstance(best, Passage)
    assert (best.id, best.source, best.collection) == ("guide:1", "guide.md", "default")
    assert text[best.metadata["start"] : best.metadata["end"]] == best.text
    assert best.citation == "guide.md:5-7 (Guide > Setup)"
    assert best.metadata["lang"] == "en"
    assert best.metadata["document_id"] == "guide"
    assert "fingerprint" not in best.metadata
    assert best.keyword_score is None
    assert best.score == best.vector_score > 0.3


async def test_an_unchanged_document_is_skipped_and_a_changed_one_replaced(world: Any) -> None:
    documents = [Document(f"about subject{n}", id=f"d{n}") for n in range(3)]
    first = await world.rag.ingest(documents, world.context)
    again = await world.rag.ingest(documents, world.context)
    changed = [*documents[:2], Document("about something new", id="d2")]
    third = await world.rag.ingest(changed, world.context)
    assert (first.documents, first.skipped) == (3, 0)
    assert (again.documents, again.skipped, again.chunks) == (0, 3, 0)
    assert again.document_ids == ("d0", "d1", "d2")
    assert (third.documents, third.skipped, third.chunk_ids) == (1, 2, ("d2:0",))
    assert await world.sources("subject2") == ["d0", "d1", "d2"]
    assert (await world.rag.stats(world.context)).vectors == 3
    other = await world.rag.ingest(changed, world.context, options={"chunk_size": 50})
    assert other.skipped == 0


async def test_documents_without_an_id_are_never_the_same(world: Any) -> None:
    for _ in range(2):
        await world.rag.ingest([Document("the same text")], world.context)
    assert (await world.rag.stats(world.context)).documents == 2


async def test_what_a_document_says_twice_is_found_once(world: Any) -> None:
    text = "# A\n\nsame\n\n# A\n\nsame\n\n# B\n\nother\n"
    report = await world.rag.ingest([Document(text, id="d", source="d.md")], world.context)
    assert report.chunks == 2


async def test_a_batch_with_one_bad_document_stores_none(world: Any) -> None:
    good = Document("good text", id="good")
    for bad, message in (
        (Document(""), "requires 'content' or 'text'"),
        (Document(" \n"), "requires 'content' or 'text'"),
        (Document(7), "requires 'content' or 'text'"),  # type: ignore[arg-type]
        (Document("text", metadata={"ttl": -1}), "'ttl' must be a number of seconds above 0"),
        (Document("text", metadata={"ttl": True}), "'ttl' must be a number"),
        (Document("text", metadata={"timestamp": "soon"}), "'timestamp' must be Unix seconds"),
        (Document("text", metadata={"expires_at": []}), "'expires_at' must be Unix seconds"),
        (Document("text", metadata={"heading": "x"}), "metadata 'heading' is written by retrieval"),
        (Document("half \ud800"), "not valid Unicode"),
        (Document("twice", id="good"), "'good' is given twice"),
    ):
        with pytest.raises(ValidationError, match=re.escape(message)):
            await world.rag.ingest([good, bad], world.context)
    assert not world.home.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_size": 0}, "chunk_size must be a whole number of tokens, at least 1"),
        ({"chunk_size": 1.5}, "chunk_size must be a whole number"),
        ({"chunk_size": "big"}, "chunk_size must be a whole number"),
        ({"chunk_size": 10, "overlap": 10}, "overlap (10) must be less than the chunk size (10)"),
        ({"chunking": {"chunk_size": 10, "overlap": 11}}, "must be less than the chunk size"),
        ({"overlap": -1}, "overlap must be a whole number of tokens, at least 0"),
        ({"chunking": []}, "chunking must be a table"),
        ({"strategy": 5}, "strategy must be a name"),
        ({"strategy": "markdwon"}, "'markdwon' not found in chunkers"),
        ({"provider": "nobody"}, "'nobody' not found in embedders"),
    ],
)
async def test_options_that_cannot_be_met_are_refused(
    world: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValidationError, NotFoundError), match=re.escape(message)):
        await world.rag.ingest([Document("text")], world.context, options=options)
    assert not world.home.exists()


async def test_a_smaller_chunk_size_shrinks_the_default_overlap(world: Any) -> None:
    text = " ".join(f"word{n}" for n in range(400))
    report = await world.rag.ingest([Document(text)], world.context, options={"chunk_size": 40})
    assert report.chunks > 10


async def test_a_configured_overlap_that_is_too_large_is_cut_with_a_warning(
    open_world: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    world = open_world({"rag": {"chunking": {"chunk_size": 40, "overlap": 40}}})
    text = " ".join(f"word{n}" for n in range(400))
    report = await world.rag.ingest([Document(text)], world.context)
    assert report.chunks > 10
    assert [record.message for record in caplog.records] == [
        "rag.chunking.overlap (40) is not less than chunk_size (40); using 5"
    ]


async def test_a_text_over_the_limit_is_refused(open_world: Callable[..., Any]) -> None:
    world = open_world({"rag": {"security": {"max_input_size_kb": 1}}})
    await world.rag.ingest([Document("ä" * 512)], world.context)
    with pytest.raises(ValidationError, match="over the limit of 1 KB"):
        await world.rag.ingest([Document("ä" * 513)], world.context)


async def test_scopes_and_collections_are_kept_apart(world: Any) -> None:
    for scope in ("global", "tenant:a", "tenant:b", "session:1", "notes"):
        document = Document(f"secret of {scope}", id="d")
        await world.rag.ingest([document], world.context, scope=scope)
    for scope in ("", "tenant:a", "tenant:b", "custom:session:1", "custom:notes"):
        hits = await world.rag.search("secret", world.context, scope=scope)
        expected = scope.removeprefix("custom:") or "global"
        assert [hit.text for hit in hits] == [f"secret of {expected}"]
    assert await world.rag.search("secret", world.context, scope="tenant:c") == []
    await world.rag.ingest([Document("secret too", id="e")], world.context, collection="x")
    assert await world.sources("secret") == ["d", "e"]
    assert await world.sources("secret", collection="x") == ["e"]
    assert await world.sources("secret", collection="y") == []
    assert await world.rag.clear(world.context, collection="x") == 1
    assert await world.rag.delete(["d"], world.context, scope="tenant:a") == 1
    assert await world.rag.clear(world.context, scope="tenant:b") == 1
    assert (await world.rag.stats(world.context)).vectors == 1
    for scope in ("tenant", "tenant:", "session: "):
        with pytest.raises(ValidationError, match="needs an id"):
            await world.rag.search("x", world.context, scope=scope)
    with pytest.raises(ValidationError, match="collection needs a name"):
        await world.rag.ingest([Document("x")], world.context, collection="")


async def test_the_tenant_of_the_context_sees_only_its_own(world: Any) -> None:
    world.services.provide("tenancy", TenancyDouble())
    one, two = (make_context(world.services, tenant=name) for name in ("one", "two"))
    await world.rag.ingest([Document("secret", id="d")], one)
    assert len(await world.rag.search("secret", one)) == 1
    assert await world.rag.search("secret", two) == []
    assert await world.rag.search("secret", world.context) == []


async def test_event_time_and_expiry_come_from_metadata(world: Any) -> None:
    documents = [
        Document("old news", id="gone", metadata={"expires_at": "2001-01-01"}),
        Document("old news again", id="here", metadata={"timestamp": "2020-02-02", "ttl": 3600}),
    ]
    await world.rag.ingest(documents, world.context)
    assert await world.sources("news") == ["here"]
    assert await world.sources("news", exclude_expired=False) == ["gone", "here"]
    again = await world.rag.ingest(documents, world.context)
    assert (again.documents, again.skipped) == (1, 1)  # a time to live begins anew
    await world.rag.save(world.context)
    assert (await world.rag.stats(world.context)).vectors == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": " "}, "query must be a text that is not empty"),
        ({"query": None}, "query must be a text that is not empty"),
        ({"k": 0}, "k must be a positive integer"),
        ({"k": True}, "k must be a positive integer"),
        ({"k": 10_001}, "k value too large"),
        ({"threshold": 1.1}, "threshold must be a number from 0 to 1"),
        ({"threshold": "high"}, "threshold must be a number from 0 to 1"),
        ({"filters": {"a": {"$like": 1}}}, "unknown operator"),
        ({"hybrid": True, "weights": {"vectors": 1}}, "there is no weight 'vectors'"),
        ({"hybrid": True, "weights": {"vector": 2}}, "weight 'vector' must be 0 to 1"),
        ({"hybrid": True, "weights": {"vector": 0.05}}, "must sum to between 0.1 and 2"),
        ({"fusion": "rrf"}, "there is no fusion 'rrf'"),
    ],
)
async def test_a_search_nobody_can_mean_is_refused(
    world: Any, arguments: dict[str, Any], message: str
) -> None:
    await world.rag.ingest([Document("text")], world.context)
    with pytest.raises(ValidationError, match=re.escape(message)):
        await world.rag.search(**{"query": "text", "context": world.context, **arguments})


async def test_threshold_filters_and_k_bound_the_hits(world: Any) -> None:
    documents = [
        Document(f"apples and number{n}", id=f"d{n}", metadata={"n": n}) for n in range(30)
    ]
    await world.rag.ingest([*documents, Document("pears", id="pears")], world.context)
    assert len(await world.rag.search("apples", world.context, k=7)) == 7
    hits = await world.rag.search("apples", world.context, k=50, threshold=0.4)
    assert len(hits) == 30
    assert all(hit.score >= 0.4 for hit in hits)
    hits = await world.rag.search("apples", world.context, filters={"n": {"$gte": 25}})
    assert {hit.metadata["n"] for hit in hits} == {25, 26, 27, 28, 29}


async def test_hybrid_finds_exact_terms(world: Any) -> None:
    documents = [
        Document(f"The error code E{n} has its own meaning.", id=f"E{n}") for n in range(80)
    ]
    await world.rag.ingest(documents, world.context)
    (best, second) = await world.rag.search("What means E42?", world.context, k=2, hybrid=True)
    assert best.source == "E42"
    assert best.keyword_score == 1.0
    assert best.score > second.score
    only = {"keyword": 1.0}
    hits = await world.rag.search("E42", world.context, hybrid=True, weights=only)
    assert [(hit.source, hit.score) for hit in hits if hit.score] == [("E42", 1.0)]
    ranked = await world.rag.search(
        "What means E42?", world.context, hybrid=True, fusion="reciprocal_rank"
    )
    assert ranked[0].source == "E42"
    assert ranked[0].score == 1.0
    assert [h.score for h in ranked] == sorted((h.score for h in ranked), reverse=True)


async def test_newer_passages_may_weigh_more(world: Any) -> None:
    await world.rag.ingest(
        [
            Document("prices of bread", id="old", metadata={"timestamp": "2000-01-01"}),
            Document("prices of bread", id="new"),
        ],
        world.context,
    )
    weights = {"vector": 0.5, "recency": 0.5}
    hits = await world.rag.search("bread prices", world.context, hybrid=True, weights=weights)
    assert [hit.source for hit in hits] == ["new", "old"]
    ranked = await world.rag.search(
        "bread", world.context, hybrid=True, weights={"recency": 1}, fusion="reciprocal_rank"
    )
    assert {hit.score for hit in ranked} == {0.0}


async def test_search_before_anything_was_ingested_finds_nothing(world: Any) -> None:
    assert await world.rag.search("anything", world.context, hybrid=True) == []
    assert (await world.rag.stats(world.context)).vectors == 0
    assert await world.rag.delete(["x"], world.context) == 0
    assert await world.rag.clear(world.context) == 0
    await world.rag.save(world.context)
    assert not world.home.exists()


# --- folders


async def test_a_folder_is_ingested_file_by_file(world: Any, monkeypatch: Any) -> None:
    world.write("docs/a.md", "# A\n\nApples are red.\n")
    world.write("docs/sub/b.txt", "Bananas are yellow.\n")
    world.write("docs/c.py", "# cherries = 'dark'\n")
    world.write("docs/.hidden/d.md", "dates")
    world.write("docs/.e.md", "elderberries")
    monkeypatch.chdir(world.folder)
    seen: list[tuple[int, int]] = []
    report = await world.rag.ingest_folder(
        "./docs/", world.context, progress=lambda done, total: seen.append((done, total))
    )
    assert report.document_ids == ("docs/a.md", "docs/sub/b.txt")
    assert report.failed == ()
    assert seen == [(1, 2), (2, 2)]
    (best, *_) = await world.rag.search("yellow bananas", world.context)
    assert best.citation == "docs/sub/b.txt:1-1"
    again = await world.rag.ingest_folder("docs", world.context)
    assert (again.documents, again.skipped) == (0, 2)


async def test_documents_of_vanished_files_are_removed(world: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(world.folder)
    first = world.write("docs/a.md", "text about a")
    world.write("docs/b.md", "text about b")
    world.write("docs/c.txt", "text about c")
    await world.rag.ingest([Document("text of my own", id="docs/mine.md")], world.context)
    await world.rag.ingest_folder("docs", world.context)
    assert len(await world.sources("text")) == 4
    first.unlink()
    await world.rag.ingest_folder("docs", world.context, glob="*.md")
    # What the pattern leaves out is still there, and so is what was never a file.
    assert await world.sources("text") == ["docs/b.md", "docs/c.txt", "docs/mine.md"]
    # The same folder by another name is the same folder.
    await world.rag.ingest_folder(str(world.folder / "docs"), world.context)
    where = str(world.folder / "docs")
    assert await world.sources("text") == [f"{where}/b.md", f"{where}/c.txt", "docs/mine.md"]


async def test_files_that_are_no_text_are_reported(world: Any) -> None:
    world.write("good.md", "good text")
    world.write("bom.txt", b"\xef\xbb\xbfwith a mark")
    world.write("latin.txt", "caf\xe9".encode("latin-1"))
    world.write("binary.txt", b"PNG\0\1\2")
    world.write("empty.md", "")
    outside = world.folder.parent / "outside.md"
    outside.write_text("a secret outside")
    (world.folder / "link.md").symlink_to(outside)
    (world.folder / "dangling.md").symlink_to(world.folder / "nowhere.md")
    (world.folder / "inside.md").symlink_to(world.folder / "good.md")
    report = await world.rag.ingest_folder(str(world.folder), world.context)
    failed = {os.path.basename(source): reason for source, reason in report.failed}
    assert set(failed) == {"latin.txt", "binary.txt", "link.md", "dangling.md"}
    assert failed["latin.txt"] == "not UTF-8 (byte 0xe9 at 3)"
    assert failed["binary.txt"] == "binary, not text"
    assert "not in allowlist" in failed["link.md"]
    names = sorted(os.path.basename(each) for each in await world.sources("text mark secret"))
    assert names == ["bom.txt", "good.md", "inside.md"]


async def test_a_file_that_became_empty_is_no_longer_found(world: Any) -> None:
    path = world.write("a.md", "some text")
    world.write("b.md", "some other text")
    await world.rag.ingest_folder(str(world.folder), world.context)
    path.write_text(" \n")
    await world.rag.ingest_folder(str(world.folder), world.context)
    assert await world.sources("text") == [str(world.folder / "b.md")]


async def test_a_single_file_can_be_ingested(world: Any) -> None:
    path = world.write("notes/today.log", "The pump failed at noon.")
    report = await world.rag.ingest_folder(str(path), world.context)
    assert report.document_ids == (str(path),)
    assert await world.sources("pump") == [str(path)]


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("**/*.md", ["a.md", "sub/b.md", "sub/deep/c.md"]),
        ("*.md", ["a.md"]),
        ("sub/*", ["sub/b.md", "sub/x.txt"]),
        ("sub/**", ["sub/b.md", "sub/deep/c.md", "sub/x.txt"]),
        (["?.md", "**/x.txt"], ["a.md", "sub/x.txt"]),
        ("**/*.{md,txt}", ["a.md", "sub/b.md", "sub/deep/c.md", "sub/x.txt"]),
        ("**/[!ab].md", ["sub/deep/c.md"]),
        ("**/[ab].md", ["a.md", "sub/b.md"]),
        (".git/*", [".git/config"]),
        ("(a).md", ["(a).md"]),
    ],
)
async def test_globs(world: Any, monkeypatch: Any, glob: Any, names: list[str]) -> None:
    for name in ("a.md", "sub/b.md", "sub/deep/c.md", "sub/x.txt", ".git/config"):
        world.write(name, f"text of {name}")
    if "(a).md" in names:
        world.write("(a).md", "text")
    monkeypatch.chdir(world.folder)
    report = await world.rag.ingest_folder(".", world.context, glob=glob)
    assert list(report.document_ids) == names


async def test_a_folder_without_anything_to_ingest_says_what_is_there(world: Any) -> None:
    world.write("a.py", "x")
    world.write("b.py", "x")
    world.write("Makefile", "x")
    with pytest.raises(NotFoundError, match=r"no file below .* matches \*\*/\*\.md") as caught:
        await world.rag.ingest_folder(str(world.folder), world.context, glob="**/*.md")
    assert caught.value.hint == "There are: 2 .py, 1 no suffix."
    (world.folder / "empty").mkdir()
    with pytest.raises(NotFoundError) as caught:
        await world.rag.ingest_folder(str(world.folder / "empty"), world.context)
    assert caught.value.hint == "The folder is empty."
    with pytest.raises(NotFoundError, match="there is no folder"):
        await world.rag.ingest_folder(str(world.folder / "nowhere"), world.context)
    with pytest.raises(SecurityError, match="not in allowlist"):
        await world.rag.ingest_folder("/etc", world.context)
    for path, glob in (
        ("", "*"),
        ("x", []),
        (str(world.folder), "/etc/*"),
        (str(world.folder), "../*"),
    ):
        with pytest.raises(ValidationError):
            await world.rag.ingest_folder(path, world.context, glob=glob)


async def test_front_matter_becomes_metadata_and_lines_stay_right(world: Any) -> None:
    world.write(
        "post.md",
        "---\ntitle: \"A Post\"\ntags: [red, 'green']\ndate: 2024-01-01\nheading: no\nnested:\n"
        "  key: x\n---\n\n# Start\n\nThe story begins.\n",
    )
    world.write("odd.md", "---\ntitle: Odd\ncreated_at: some day\n---\nThe oddity.\n")
    await world.rag.ingest_folder(str(world.folder), world.context)
    (best,) = await world.rag.search("story", world.context, k=1, filters={"tags": "green"})
    assert best.text == "# Start\n\nThe story begins."
    assert (best.metadata["first_line"], best.metadata["last_line"]) == (10, 12)
    assert best.metadata["title"] == "A Post"
    assert best.metadata["date"] == "2024-01-01"
    assert best.metadata["heading"] == "Start"
    (odd,) = await world.rag.search("oddity", world.context, k=1)
    assert odd.metadata["title"] == "Odd"


# --- effects


async def test_replay_asks_neither_files_nor_stores(
    open_world: Callable[..., Any], monkeypatch: Any
) -> None:
    world = open_world()
    path = world.write("a.md", "# T\n\nSome text about pumps.\n")

    async def work(context: Any) -> list[Any]:
        rag = context.services.rag
        return [
            await rag.ingest([Document("a text without an id")], context),
            await rag.ingest_folder(str(world.folder), context),
            await rag.search("pumps", context, hybrid=True),
            await rag.stats(context),
            await rag.delete([str(path)], context),
            await rag.clear(context),
            await rag.save(context),
        ]

    elsewhere = open_world({"rag": {"vector_storage": {"backend": "mock"}}})
    first, second = await recorded_and_replayed(
        work, LedgerDouble(), record_with=world.services, replay_with=elsewhere.services
    )
    assert first == second
    assert first[1].documents == 1
    assert "vectors" not in elsewhere.services.made()
    assert first[2][0].source == str(path)
    assert first[4] == 1


async def test_the_text_of_documents_is_not_kept_in_the_ledger(world: Any) -> None:
    from llmspell_testing import recording_context

    ledger = LedgerDouble()
    context = recording_context(ledger, world.services)
    await world.rag.ingest([Document("a very private text", id="d")], context)
    requests = [effect.intent.request for effect in ledger.effects("run")]
    assert any("rag" in effect.intent.kind for effect in ledger.effects("run"))
    assert not any("private" in request for request in requests)


async def test_a_cancelled_ingestion_leaves_whole_documents(world: Any) -> None:
    documents = [Document(f"{n} " + "many words " * 300, id=f"d{n}") for n in range(200)]

    def stop(done: int, total: int) -> None:
        if done == 100:
            world.context.cancel.cancel("enough")

    with pytest.raises(ExecutionCancelled):
        await world.rag.ingest(documents, world.context, options={"chunk_size": 64}, progress=stop)
    fresh = make_context(world.services)
    stats = await world.rag.stats(fresh)
    assert 0 < stats.documents < 100
    whole = await world.rag.ingest(documents, fresh, options={"chunk_size": 64})
    assert whole.skipped == stats.documents
    assert (await world.rag.stats(fresh)).documents == 200


INGEST = """
import asyncio, sys
from llmspell_core import Config, ExecutionContext, Services
from llmspell_testing import SecurityDouble

async def main(home, folder):
    services = Services(Config({}, home=home))
    services.provide("security", SecurityDouble(folder))
    await services.rag.ingest_folder(
        folder, ExecutionContext(services), options={"chunk_size": 48},
        progress=lambda done, total: print(done, flush=True))
    await services.aclose()
    print("done", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.slow
async def test_killed_ingestion_leaves_every_document_complete_or_absent(world: Any) -> None:
    chance = random.Random(4)
    words = [
        "river",
        "stone",
        "paper",
        "cloud",
        "engine",
        "garden",
        "window",
        "music",
        "copper",
        "salt",
    ]
    sizes: dict[str, int] = {}
    for n in range(120):
        count = chance.randint(30, 900)
        world.write(f"f{n}.txt", f"file{n} " + " ".join(chance.choice(words) for _ in range(count)))
    command = [sys.executable, "-c", INGEST, str(world.home), str(world.folder)]
    expected: IngestReport | None = None
    for turn in range(10):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(chance.randint(1, 100)):
            process.stdout.readline()
        process.kill()
        process.communicate(timeout=10)
        database = world.home / "rag.db"
        if not database.exists():
            continue
        connection = sqlite3.connect(database)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        counts = dict(
            connection.execute(
                "SELECT name, COUNT(entry) FROM documents LEFT JOIN entries USING(document) "
                "GROUP BY document"
            ).fetchall()
        )
        spaces = connection.execute("SELECT space FROM spaces").fetchall()
        for (space,) in spaces:
            connection.execute(
                f"INSERT INTO words_{space}(words_{space}) VALUES('integrity-check')"
            )
            worded = connection.execute(f"SELECT COUNT(*) FROM words_{space}").fetchone()
            stored = connection.execute("SELECT COUNT(*) FROM vectors").fetchone()
            assert worded == stored == (sum(counts.values()),)
        connection.close()
        if expected is None:
            sizes = await _sizes(world)
        assert {name: sizes[name] for name in counts} == counts
        if turn % 3 == 2:
            database.unlink()
            for rest in world.home.glob("rag.db-*"):
                rest.unlink()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.endswith("done\n")
    assert await world.sources("file17") != []
    assert (await world.rag.stats(world.context)).vectors == sum(sizes.values())


async def _sizes(world: Any) -> dict[str, int]:
    """How many chunks each file has, from an ingestion that nobody disturbs."""
    from llmspell_rag import WindowChunker

    found: dict[str, int] = {}
    for path in Path(world.folder).iterdir():
        chunks = WindowChunker().chunk(path.read_text(), size=48, overlap=6)
        found[str(path)] = len({chunk.text for chunk in chunks})
    return found


async def test_two_processes_ingest_into_one_index(world: Any) -> None:
    for n in range(60):
        world.write(f"f{n}.txt", f"file{n} says something of its own")
    command = [sys.executable, "-c", INGEST, str(world.home), str(world.folder)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=60)[1] for process in running]
    assert errors == ["", ""]
    stats = await world.rag.stats(world.context)
    assert (stats.documents, stats.vectors) == (60, 60)
    assert len(await world.sources("file33 something")) == 60


# --- configuration and plugins


class Loud(Embedder):
    name = "loud"

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self.asked: list[int] = []

    async def embed(self, texts: Sequence[str], context: Any) -> list[list[float]]:
        self.asked.append(len(texts))
        return [[1.0] * self.dimensions for _ in texts]


class Lines(Chunker):
    def chunk(self, text: str, *, size: int, overlap: int) -> list[Chunk]:
        made: list[Chunk] = []
        start = 0
        for number, line in enumerate(text.split("\n"), 1):
            made.append(Chunk(line, start, start + len(line), number, number, "", 1))
            start += len(line) + 1
        return made


async def test_a_stranger_brings_an_embedder_and_a_chunker(
    open_world: Callable[..., Any], monkeypatch: Any
) -> None:
    settings = {"default_provider": "loud", "batch_size": 3}
    config = {"rag": {"embedding": settings, "vector_storage": {"dimensions": 4}}}
    world = open_world(config)
    made: list[Loud] = []

    def factory(services: Any, *, name: str, dimensions: int) -> Loud:
        made.append(Loud(dimensions))
        return made[-1]

    plugins = world.services.plugins
    find, load = plugins.find, plugins.load
    known = {("llmspell.embedders", "loud"): factory, ("llmspell.chunkers", "lines"): Lines}
    monkeypatch.setattr(plugins, "find", lambda g, n: known.get((g, n)) or find(g, n))
    monkeypatch.setattr(plugins, "load", lambda g, n: known.get((g, n)) or load(g, n))
    text = "\n".join(f"line {n}" for n in range(8))
    report = await world.rag.ingest([Document(text)], world.context, options={"strategy": "lines"})
    assert report.chunks == 8
    hits = await world.rag.search("x", world.context, k=3)
    assert [hit.text for hit in hits] == ["line 0", "line 1", "line 2"]
    assert made[0].dimensions == 4
    assert made[0].asked == [3, 3, 2, 1]
    assert len(made) == 1


async def test_a_configured_embedder_that_is_missing_is_replaced_with_a_warning(
    open_world: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    world = open_world({"rag": {"embedding": {"default_provider": "nobody"}}})
    for _ in range(2):
        await world.rag.ingest([Document("words to find", id="d")], world.context)
    assert await world.sources("words") == ["d"]
    assert [record.message for record in caplog.records] == [
        "embedder 'nobody' (rag.embedding.default_provider) is not installed; "
        "using the lexical embedder, which matches words, not meanings"
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"chunking": {"overlap": -1}}, "rag.chunking.overlap must not be -1"),
        ({"vector_storage": {"dimensions": 0}}, "rag.vector_storage.dimensions must be 1 to 10000"),
        ({"vector_storage": {"dimension": 3}}, "unknown key 'rag.vector_storage.dimension'"),
    ],
)
async def test_a_setting_that_cannot_be_met_is_refused(
    open_world: Callable[..., Any], table: dict[str, Any], message: str
) -> None:
    world = open_world({"rag": table})
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        await world.rag.search("x", world.context)
