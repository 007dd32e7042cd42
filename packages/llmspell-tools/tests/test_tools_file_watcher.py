import asyncio
import os
import re
import threading
from pathlib import Path

import pytest

from llmspell_core import (
    EffectClass,
    ExecutionContext,
    LLMTimeoutError,
    NotFoundError,
    ResourceLimitError,
    SecurityError,
    ValidationError,
)
from llmspell_testing import SecurityDouble, ToolSuite
from llmspell_tools.filesystem import FileWatcher
from llmspell_tools.filesystem import _file_watcher as implementation
from llmspell_tools.filesystem import _watching as watching
from llmspell_tools.filesystem._patterns import Patterns
from llmspell_tools.filesystem._watching import Change, Root, Watch


class TestFileWatcherKeepsTheToolContract(ToolSuite):
    @pytest.fixture
    def component(self):
        return FileWatcher()

    @pytest.fixture
    def services(self, allowed):
        class Policy(SecurityDouble):
            def path(self, path, mode, context, *, caller="script"):
                return super().path(path, mode, context)

        return {"security": Policy(allowed)}

    @pytest.fixture
    def parameters(self, allowed):
        return {
            "operation": "watch",
            "input": [str(allowed)],
            "timeout_seconds": 0.01,
        }

    @pytest.fixture
    def refused(self, allowed, secret):
        return [
            {"operation": "watch", "input": [str(secret)]},
            {"operation": "watch", "input": [str(allowed / "none")]},
            {"operation": "watch"},
            {"operation": "unwatch", "watch_id": "none"},
            {"operation": "get_changes"},
            {"operation": "fly"},
        ]


@pytest.fixture
def watcher(call):
    async def run(operation, **parameters):
        plain = {k: str(v) if isinstance(v, Path) else v for k, v in parameters.items()}
        return await call("file_watcher", operation=operation, **plain)

    return run


@pytest.fixture
def begun(monkeypatch):
    """Is set when a watch has taken note of what there is."""
    event = threading.Event()
    begin = Watch.begin

    def noted(self, check):
        begin(self, check)
        event.set()

    monkeypatch.setattr(Watch, "begin", noted)
    return event


def kinds(events, root):
    return [(e["event_type"], os.path.relpath(e["path"], root)) for e in events]


# What is noticed -----------------------------------------------------------------------------


@pytest.fixture
def look(allowed):
    def make(pattern=None, recursive=True, depth=10, root=allowed):
        patterns = Patterns([] if pattern is None else [pattern])
        watch = Watch([Root(str(root), str(root))], patterns, recursive=recursive, depth=depth)
        watch.begin(lambda: None)

        def changes():
            return [
                Change(
                    c.event_type,
                    os.path.relpath(c.path, allowed),
                    c.old_path and os.path.relpath(c.old_path, allowed),
                )
                for c in watch.changes(lambda: None)
            ]

        return changes

    return make


def test_every_kind_of_change_is_told_once(look, allowed):
    (allowed / "sub").mkdir()
    for name in ("a", "b", "c", "sub/d"):
        (allowed / name).write_text("1")
    changes = look()
    assert changes() == []
    (allowed / "new").write_text("1")
    (allowed / "b").write_text("22")
    (allowed / "c").unlink()
    (allowed / "sub/d").rename(allowed / "moved")
    (allowed / "folder").mkdir()
    assert changes() == [
        Change("Delete", "c"),
        Change("Modify", "b"),
        Change("Create", "folder"),
        Change("Rename", "moved", "sub/d"),
        Change("Create", "new"),
    ]
    assert changes() == []


def test_a_new_file_with_the_number_of_a_deleted_one_is_no_rename(look, allowed):
    (allowed / "old").write_text("1")
    changes = look()
    (allowed / "old").unlink()
    (allowed / "new").write_text("longer")
    assert changes() == [Change("Delete", "old"), Change("Create", "new")]


def test_replacing_a_file_modifies_it(look, allowed):
    (allowed / "a").write_text("1")
    (allowed / "b").write_text("22")
    changes = look()
    (allowed / "b").replace(allowed / "a")
    assert Change("Modify", "a") in changes()


def test_depth_pattern_and_links_are_kept_to(look, allowed, secret):
    (allowed / "one" / "two" / "three").mkdir(parents=True)
    (allowed / "link").symlink_to(secret)
    deep, flat, texts = look(depth=3), look(recursive=False), look(pattern="*.txt")
    (secret / "planted.txt").write_text("x")
    (allowed / "one" / "two" / "a.txt").write_text("x")
    (allowed / "one" / "two" / "three" / "b.txt").write_text("x")
    (allowed / "one" / "c.md").write_text("x")
    assert deep() == [Change("Create", "one/c.md"), Change("Create", "one/two/a.txt")]
    assert flat() == []
    assert texts() == [
        Change("Create", "one/two/a.txt"),
        Change("Create", "one/two/three/b.txt"),
    ]


def test_one_file_is_watched_and_a_root_that_goes_away(look, allowed):
    (allowed / "d").mkdir()
    (allowed / "d" / "x").write_text("1")
    file, folder = look(root=allowed / "d" / "x"), look(root=allowed / "d")
    (allowed / "d" / "x").write_text("22")
    assert file() == [Change("Modify", "d/x")]
    folder()
    (allowed / "d").rename(allowed / "e")
    assert file() == [Change("Delete", "d/x")]
    assert folder() == [Change("Delete", "d/x")]
    (allowed / "d").symlink_to(allowed / "e")
    assert folder() == []


# Waiting -------------------------------------------------------------------------------------


async def test_watching_returns_after_the_first_events(watcher, allowed, begun):
    task = asyncio.ensure_future(watcher("watch", input=[str(allowed)], timeout_seconds=60))
    assert await asyncio.to_thread(begun.wait, 20)
    (allowed / "a.txt").write_text("1")
    found = await asyncio.wait_for(task, 30)
    assert found.message == "Captured 1 file events"
    event = found.value[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", event.pop("timestamp"))
    assert event == {"event_type": "Create", "path": str(allowed / "a.txt"), "old_path": None}
    assert found.result["events"] == found.value
    assert found.result["event_count"] == 1


async def test_watching_ends_with_its_time(watcher, allowed):
    for given in ({"timeout_ms": 1}, {"duration": 0.01}, {"timeout": 0.01}):
        found = await watcher("watch", paths=[str(allowed)], **given)
        assert found.result == {"events": [], "event_count": 0}


async def test_no_more_events_than_asked_for(watcher, allowed, begun):
    task = asyncio.ensure_future(watcher("watch", input=[str(allowed)], max_events=3))
    assert await asyncio.to_thread(begun.wait, 20)
    for number in range(10):
        (allowed / str(number)).write_text("")
    assert len((await asyncio.wait_for(task, 30)).value) == 3


async def test_a_watch_that_is_cancelled_stops_looking(services, context, allowed, begun):
    with pytest.raises(LLMTimeoutError):
        await services.tools.invoke(
            "file_watcher", {"input": [str(allowed)]}, context, timeout_seconds=0.3
        )
    assert begun.is_set()


# In the background ---------------------------------------------------------------------------


async def collected(watcher, wanted, **which):
    """The changes of a background watcher, as soon as there are as many as *wanted*."""
    changes = []
    async with asyncio.timeout(30):
        while len(changes) < wanted:
            await asyncio.sleep(0.02)
            changes += (await watcher("get_changes", **which)).result["changes"]
    return changes


@pytest.mark.parametrize("given", [{"background": True}, {}])
async def test_a_watcher_in_the_background_collects(watcher, allowed, given):
    name = "input" if given else "path"
    value = [str(allowed)] if given else str(allowed)
    begun = await watcher("watch", **{name: value}, debounce_ms=10, **given)
    watch_id = begun.result["watch_id"]
    assert begun.value == watch_id
    (allowed / "a").write_text("1")
    assert await collected(watcher, 1, watch_id=watch_id) == [
        {"path": str(allowed / "a"), "kind": "create"}
    ]
    (allowed / "a").rename(allowed / "b")
    assert await collected(watcher, 2, path=str(allowed)) == [
        {"path": str(allowed / "a"), "kind": "delete"},
        {"path": str(allowed / "b"), "kind": "create"},
    ]
    stopped = await watcher("unwatch", watch_id=watch_id)
    assert stopped.result == {"watch_id": watch_id, "stopped": True}
    with pytest.raises(NotFoundError, match="No watcher"):
        await watcher("get_changes", watch_id=watch_id)


async def test_a_watcher_belongs_to_its_session_and_tenant(services, allowed):
    def on_behalf(**who):
        context = ExecutionContext(services, **who)
        return lambda **given: services.tools.invoke("file_watcher", given, context)

    mine = on_behalf(tenant="a", session_id="1")
    watch_id = (await mine(operation="watch", path=str(allowed))).value
    for other in (on_behalf(tenant="b", session_id="1"), on_behalf(tenant="a", session_id="2")):
        for operation in ("get_changes", "unwatch"):
            for which in ({"watch_id": watch_id}, {"path": str(allowed)}):
                with pytest.raises(NotFoundError):
                    await other(operation=operation, **which)
    assert (await mine(operation="unwatch", path=str(allowed))).result["stopped"]


async def test_watchers_end_with_the_services(make_services, allowed):
    services = make_services()
    context = ExecutionContext(services)
    await services.tools.invoke("file_watcher", {"path": str(allowed)}, context)
    tool = services.tools.get("file_watcher")
    tasks = [watcher.task for watcher in tool._background.values()]
    await services.aclose()
    assert [task.done() for task in tasks] == [True]


async def test_watchers_are_few_and_end_when_nobody_asks(watcher, allowed, monkeypatch, services):
    monkeypatch.setattr(implementation, "MOST_BACKGROUND", 1)
    first = await watcher("watch", path=allowed, debounce_ms=1)
    with pytest.raises(ResourceLimitError, match="watchers in the background"):
        await watcher("watch", path=allowed)
    monkeypatch.setattr(implementation, "FORGOTTEN_AFTER", 0.0)
    task = services.tools.get("file_watcher")._background[first.value].task
    await asyncio.wait_for(task, 30)
    with pytest.raises(NotFoundError):
        await watcher("unwatch", watch_id=first.value)


async def test_events_beyond_the_limit_are_counted(watcher, allowed):
    begun = await watcher("watch", path=allowed, max_events=2, debounce_ms=10)
    for number in range(5):
        (allowed / str(number)).write_text("")
    seen = {"changes": 0, "dropped": 0}
    async with asyncio.timeout(30):
        while sum(seen.values()) < 5:
            await asyncio.sleep(0.02)
            found = (await watcher("get_changes", watch_id=begun.value)).result
            seen["changes"] += len(found["changes"])
            seen["dropped"] += found["dropped"]
    assert seen["changes"] >= 2
    assert sum(seen.values()) == 5


# Rules ---------------------------------------------------------------------------------------


async def test_the_limits_are_told(watcher):
    assert (await watcher("config")).result == {
        "max_events": 1000,
        "default_timeout": 300,
        "default_debounce_ms": 100,
        "max_paths": 100,
    }


async def test_what_makes_no_sense_is_refused(watcher, allowed, secret):
    for given, words in (
        ({}, "Missing required array parameter 'input'"),
        ({"input": []}, "Missing required array parameter 'input'"),
        ({"input": [str(allowed)] * 101}, "Too many paths to watch"),
        ({"input": [str(allowed / "none")]}, "Path does not exist"),
        ({"input": [str(allowed)], "pattern": "x" * 501}, "Invalid glob pattern"),
        ({"input": [1]}, "Invalid type for parameter 'input"),
    ):
        with pytest.raises(ValidationError, match=re.escape(words)):
            await watcher("watch", **given)
    with pytest.raises(SecurityError, match="Path not allowed by sandbox"):
        await watcher("watch", input=[str(secret)])


async def test_too_many_files_are_not_watched(watcher, allowed, monkeypatch):
    monkeypatch.setattr(watching, "MOST_ENTRIES", 3)
    for number in range(4):
        (allowed / str(number)).write_text("")
    with pytest.raises(ResourceLimitError, match="watched files limit of 3"):
        await watcher("watch", input=[str(allowed)])
    (allowed / "0").unlink()
    begun = await watcher("watch", path=allowed, debounce_ms=1)
    (allowed / "0").write_text("")
    with pytest.raises(ResourceLimitError):
        await collected(watcher, 5, watch_id=begun.value)


def test_looking_takes_a_small_part_of_the_time(look, allowed):
    for number in range(500):
        (allowed / str(number)).write_text("")
    watch = Watch([Root(str(allowed), str(allowed))], Patterns(), recursive=True, depth=10)
    watch.begin(lambda: None)
    assert 0 < watch.pause <= watching.LONGEST_PAUSE


def test_operations_say_what_they_may_do():
    tool = FileWatcher()
    for operation in FileWatcher.operations:
        assert tool.read_only_of({"operation": operation})
        assert not tool.destructive_of({"operation": operation})
    assert tool.effect_of({"operation": "watch"}) is EffectClass.IDEMPOTENT
    assert tool.effect_of({"operation": "config"}) is EffectClass.PURE
