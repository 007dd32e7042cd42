import asyncio
import os
import re
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from llmspell_core import (
    CancelSignal,
    EffectClass,
    ExecutionCancelled,
    ExecutionContext,
    LLMTimeoutError,
    SecurityError,
    ValidationError,
)
from llmspell_testing import SecurityDouble, ToolSuite
from llmspell_tools.filesystem import FileSearch
from llmspell_tools.filesystem import _searching as searching
from llmspell_utils import unless_cancelled


class TestFileSearchKeepsTheToolContract(ToolSuite):
    @pytest.fixture
    async def component(self):
        tool = FileSearch()
        yield tool
        tool.close()

    @pytest.fixture
    def services(self, allowed):
        class Policy(SecurityDouble):
            def path(self, path, mode, context, *, caller="script"):
                return super().path(path, mode, context)

        (allowed / "a.txt").write_text("hello")
        return {"security": Policy(allowed)}

    @pytest.fixture
    def parameters(self, allowed):
        return {"operation": "search", "path": str(allowed), "pattern": "hell"}

    @pytest.fixture
    def refused(self, allowed, secret):
        return [
            {"operation": "search", "path": str(secret), "pattern": "secret"},
            {"operation": "search", "path": str(allowed), "pattern": ""},
            {"operation": "search", "path": str(allowed / "none"), "pattern": "x"},
            {"operation": "search", "path": str(allowed), "pattern": "(", "use_regex": True},
            {"operation": "fly", "path": str(allowed), "pattern": "x"},
        ]


@pytest.fixture
def search(call, allowed):
    async def run(pattern, **parameters):
        plain = {k: str(v) if isinstance(v, Path) else v for k, v in parameters.items()}
        plain.setdefault("path", str(allowed))
        return await call("file_search", pattern=pattern, **plain)

    return run


@pytest.fixture
def tree(allowed):
    files = {
        "a.txt": "one\ntwo needle\nthree\r\nfour\nfive needle needle\nsix\n",
        "b.md": "Needle\n",
        "c.bin": "needle",
        "noext": "needle",
        "sub/d.py": "x = 'needle'",
        "sub/deep/e.txt": "ä needle",
        ".git/config.txt": "needle",
        "node_modules/f.js": "needle",
    }
    for name, content in files.items():
        (allowed / name).parent.mkdir(parents=True, exist_ok=True)
        (allowed / name).write_bytes(content.encode())
    return allowed


def places(result):
    return [
        (os.path.basename(m["file_path"]), m["line_number"], m["column_number"])
        for m in result.value
    ]


async def test_a_match_says_where_it_is_and_what_is_around_it(search, tree):
    found = await search("needle", path=tree / "a.txt", context_lines=1)
    path = str(tree / "a.txt")
    assert found.text == "Found 3 matches across 1 files for 'needle'"
    assert found.result["matches"] == found.result["results"] == found.value
    assert found.value[0] == {
        "file_path": path,
        "line_number": 2,
        "column_number": 5,
        "line_content": "two needle",
        "matched_text": "needle",
        "context_before": ["one"],
        "context_after": ["three"],
    }
    assert places(found) == [("a.txt", 2, 5), ("a.txt", 5, 6), ("a.txt", 5, 13)]
    assert found.value[2]["context_before"] == ["four"]
    assert found.result["summary"] == {
        "total_matches": 3,
        "files_searched": 1,
        "files_skipped": 0,
        "has_matches": True,
        "truncated": False,
    }
    assert found.result["skipped_files"] == []


async def test_a_directory_is_searched_and_what_lies_below_on_request(search, tree):
    flat = await search("needle")
    assert places(flat) == [("a.txt", 2, 5), ("a.txt", 5, 6), ("a.txt", 5, 13)]
    below = await search("needle", recursive=True)
    assert places(below) == [*places(flat), ("d.py", 1, 6), ("e.txt", 1, 3)]
    assert below.value[-1]["file_path"] == f"{tree}/sub/deep/e.txt"
    assert below.result["summary"]["files_searched"] == 4
    one = await search("needle", recursive=True, max_depth=2)
    assert [p[0] for p in places(one)] == ["a.txt", "a.txt", "a.txt", "d.py"]
    none = await search("haystack", recursive=True)
    assert none.text == "No matches found in 4 files searched for 'haystack'"
    assert none.value == []
    assert none.result["summary"]["has_matches"] is False


async def test_files_are_chosen_by_extension_name_and_directory(search, tree):
    async def names(**given):
        found = await search("needle", recursive=True, **given)
        return sorted({os.path.basename(m["file_path"]) for m in found.value})

    assert await names(include_extensions=["py"]) == ["d.py"]
    assert await names(include_extensions="*.py, .md", case_sensitive=False) == ["b.md", "d.py"]
    assert await names(include_extensions=[]) == ["a.txt", "d.py", "e.txt", "noext"]
    everything = ["a.txt", "c.bin", "d.py", "e.txt", "noext"]
    assert await names(include_extensions={}, exclude_extensions=["md"]) == everything
    assert await names(exclude_dirs="sub") == ["a.txt", "config.txt", "f.js"]
    assert await names(file_pattern="[de].*") == ["d.py", "e.txt"]
    explicit = await search("needle", path=tree / "c.bin")
    assert len(explicit.value) == 1


async def test_case_overlap_and_regular_expressions(search, allowed):
    (allowed / "x.txt").write_text("aaaa\nStraße ÄRGER\nprice: 42 EUR, 7 EUR\n")
    assert [p[2] for p in places(await search("aa"))] == [1, 2, 3]
    assert places(await search("ärger", case_sensitive=False)) == [("x.txt", 2, 8)]
    assert places(await search("PRICE", case_sensitive=False)) == [("x.txt", 3, 1)]
    assert places(await search("PRICE")) == []
    assert places(await search("a.a")) == []
    for given in ({"use_regex": True}, {"operation": "search_regex"}, {"operation": "regex"}):
        found = await search(r"(\d+) EUR", **given)
        assert [m["matched_text"] for m in found.value] == ["42 EUR", "7 EUR"]
    anchored = await search(r"^a+$", use_regex=True)
    assert [m["matched_text"] for m in anchored.value] == ["aaaa"]
    loud = await search(r"^PRICE", use_regex=True, case_sensitive=False)
    assert places(loud) == [("x.txt", 3, 1)]


PARTS = r"a b . ^ $ \s \b \W [^a] (?:a|b) a* b+ a{2} (?!b) (?=a) (?<!a) \A \Z (a) a*+"


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@for_all(
    st.lists(
        st.sampled_from(PARTS.split()),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.sampled_from(["a", "b", " ", "\n", "\r\n", "\r"]), max_size=12).map("".join),
)
def test_a_regular_expression_matches_line_by_line(tmp_path, parts, text):
    """As if each line stood alone, however the search gets there faster."""
    pattern = "".join(parts)
    try:
        compiled = re.compile(pattern)
    except re.error:
        return
    (tmp_path / "x.txt").write_text(text, newline="")
    lines = text.split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    expected = [
        (number, found.start() + 1)
        for number, line in enumerate(lines, 1)
        for found in compiled.finditer(line.removesuffix("\r"))
    ]
    options = {
        "pattern": pattern,
        "case_sensitive": True,
        "use_regex": True,
        "context_lines": 0,
        "include": [],
        "exclude": [],
        "exclude_dirs": [],
        "file_pattern": None,
        "max_file_size": 1000,
        "max_per_file": 0,
        "max_results": 1000,
        "max_depth": 1,
    }
    answer = searching.search(str(tmp_path), str(tmp_path), options)
    found = [(match["line_number"], match["column_number"]) for match in answer["matches"]]
    assert found == expected


@pytest.mark.parametrize("names", [("query", "directory"), ("search", "dir"), ("input", "path")])
async def test_parameters_have_other_names(call, tree, names):
    pattern, path = names
    found = await call("file-search", **{pattern: "needle", path: str(tree)})
    assert len(found.value) == 3


async def test_what_cannot_be_searched_is_counted_and_named(search, allowed):
    (allowed / "binary.txt").write_bytes(b"needle\0")
    (allowed / "large.txt").write_text("needle" * 1000)
    (allowed / "fine.txt").write_bytes(b"\xff needle")
    os.mkfifo(allowed / "pipe.txt")
    (allowed / "link.txt").symlink_to(allowed / "fine.txt")
    found = await search("needle", max_file_size=100)
    assert found.value[0]["line_content"] == "\ufffd needle"
    assert found.result["summary"]["files_searched"] == 1
    assert found.result["summary"]["files_skipped"] == 2
    assert found.result["skipped_files"] == [
        {"file_path": f"{allowed}/binary.txt", "reason": "binary file"},
        {"file_path": f"{allowed}/large.txt", "reason": "larger than 100 bytes"},
    ]


async def test_answers_are_bounded(search, allowed):
    (allowed / "x.txt").write_text("hit hit hit\n" * 100)
    (allowed / "y.txt").write_text("hit\n" * 10)
    per_file = await search("hit", max_matches_per_file=2)
    assert places(per_file) == [("x.txt", 1, 1), ("x.txt", 1, 5), ("y.txt", 1, 1), ("y.txt", 2, 1)]
    assert per_file.result["summary"]["truncated"] is False
    few = await search("hit", max_results=5)
    assert len(few.value) == 5
    assert few.result["summary"]["truncated"] is True
    assert few.metadata["truncated"] is True
    (allowed / "long.txt").write_text("x" * 2_000_000 + "needle" + "y" * 2_000_000)
    (allowed / "x.txt").write_text("z" * 5000 + "\nneedle\n")
    found = await search("needle")
    assert found.value[0]["column_number"] == 2_000_001
    assert len(found.value[0]["line_content"]) == 1000
    assert "needle" in found.value[0]["line_content"]
    assert len(found.value[1]["context_before"][0]) == 300


async def test_files_are_found_by_name(search, tree):
    found = await search("e.txt", operation="find_files", recursive=True)
    assert [m["file_path"] for m in found.value] == [f"{tree}/sub/deep/e.txt"]
    assert found.value[0]["name"] == "e.txt"
    assert found.value[0]["size"] == len("ä needle".encode())
    assert found.text == "Found 1 matches across 1 files for 'e.txt'"

    async def names(pattern, **given):
        result = await search(pattern, operation="find-files", recursive=True, **given)
        return [m["name"] for m in result.value]

    assert await names("*.[bm]*") == ["b.md", "c.bin"]
    assert await names("*.MD", case_sensitive=False) == ["b.md"]
    assert await names(r"^[a-d]\.\w{2}$", use_regex=True) == ["b.md", "d.py"]
    assert await names("*", max_results=2) == ["a.txt", "b.md"]
    assert await names("a", path=tree / "a.txt") == ["a.txt"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"pattern": ""}, "Pattern cannot be empty"),
        ({"context_lines": 51}, "Context lines cannot exceed 50"),
        ({"max_depth": 101}, "Max depth cannot exceed 100"),
        ({"pattern": "(", "use_regex": True}, "Invalid regex pattern"),
        ({"pattern": "a{99999999999}", "use_regex": True}, "Invalid regex pattern"),
        ({"pattern": "a\nb"}, "spans lines"),
        ({"path": "none"}, "Path does not exist: none"),
        ({"include_extensions": [1]}, "Invalid type for parameter 'include_extensions'"),
        ({"file_pattern": "x" * 501}, "Invalid glob pattern"),
    ],
)
async def test_what_makes_no_sense_is_refused(search, tree, given, words):
    with pytest.raises(ValidationError, match=re.escape(words)):
        await search(**{"pattern": "x", **given})


async def test_places_outside_and_links_are_not_searched(search, allowed, secret, tree):
    with pytest.raises(SecurityError, match="Path validation failed: Path not allowed"):
        await search("secret", path=secret)
    (tree / "sub" / "away").symlink_to(secret)
    (tree / "sub" / "key.txt").symlink_to(secret / "key.txt")
    assert (await search("secret", recursive=True)).value == []
    with pytest.raises(SecurityError):
        await search("secret", path=tree / "sub" / "away")


async def test_names_that_are_no_text_are_shown_all_the_same(search, allowed):
    (allowed / os.fsdecode(b"\xff.txt")).write_text("needle")
    found = await search("needle")
    assert found.value[0]["file_path"] == f"{allowed}/\ufffd.txt"


def test_searching_changes_nothing():
    tool = FileSearch()
    for operation in FileSearch.operations:
        assert tool.effect_of({"operation": operation}) is EffectClass.PURE
        assert tool.read_only_of({"operation": operation})
        assert not tool.destructive_of({"operation": operation})


# Attacks -------------------------------------------------------------------------------------

BOMB = {"pattern": r"(a|a)*$", "use_regex": True}


@pytest.fixture
def bomb(allowed):
    (allowed / "x.txt").write_text("a" * 60 + "b\n")
    return {"path": str(allowed), **BOMB}


@pytest.fixture
def working(monkeypatch):
    """The worker processes that were given work, and an event for the first time."""
    from llmspell_tools import _worker

    workers, begun = [], threading.Event()
    call = _worker._Worker.call

    def called(self, *given):
        workers.append(self)
        begun.set()
        return call(self, *given)

    monkeypatch.setattr(_worker._Worker, "call", called)
    return workers, begun


async def test_a_pattern_that_explodes_ends_with_the_time_out(services, context, bomb, working):
    with pytest.raises(LLMTimeoutError):
        await services.tools.invoke("file_search", bomb, context, timeout_seconds=1.0)
    assert [worker.alive for worker in working[0]] == [False]
    again = await services.tools.invoke("file_search", {**bomb, "pattern": "a+"}, context)
    assert len(again.value) == 1


async def test_a_pattern_that_explodes_ends_with_the_execution(services, bomb, working):
    signal = CancelSignal()
    context = ExecutionContext(services, cancel=signal)
    task = asyncio.ensure_future(
        unless_cancelled(services.tools.invoke("file_search", bomb, context), context)
    )
    assert await asyncio.to_thread(working[1].wait, 20)
    signal.cancel("stop")
    with pytest.raises(ExecutionCancelled):
        await task
    assert [worker.alive for worker in working[0]] == [False]


async def test_the_loop_goes_on_while_a_search_runs(services, context, bomb):
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticker = asyncio.ensure_future(tick())
    with pytest.raises(LLMTimeoutError):
        await services.tools.invoke("file_search", bomb, context, timeout_seconds=1.0)
    ticker.cancel()
    assert ticks > 10


async def test_a_link_put_in_the_way_while_searching_never_leads_out(search, allowed, secret):
    """Somebody swaps a directory for a link to a secret one, over and over."""
    folder = allowed / "d"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number}.txt").write_text("public")
        (secret / f"{number}.txt").write_text("secret")
    done = threading.Event()

    def swap():
        while not done.is_set():
            folder.rename(allowed / "aside")
            folder.symlink_to(secret)
            folder.unlink()
            (allowed / "aside").rename(folder)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        seen = [
            match
            for _ in range(15)
            for match in (await search("secret", recursive=True, include_extensions="txt")).value
        ]
    finally:
        done.set()
        await asyncio.to_thread(thread.join)
    assert seen == []
