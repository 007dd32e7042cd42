"""Nobody gets out: every attempt of the corpus is stopped as the contract says."""

import gc
import os
import threading
from collections import deque

import pytest

from bridge_testkit import World, make_services
from escape_corpus import ESCAPES, SECRET, Escape
from escape_limits import SMALL
from llmspell_core import Security, SecurityError

CONFIGS = {
    "": {},
    SMALL: {"engines": {"lua": {"max_memory_bytes": 10_000_000}}},
    "strict": {"engines": {"lua": {"stdlib": "Basic"}}},
}
CASES = [
    pytest.param(
        escape,
        id=escape.id,
        marks=[
            pytest.mark.requirement(escape.requirement),
            *([] if "luajit" in escape.engines else [pytest.mark.only_lua("it needs Lua 5.4")]),
        ],
    )
    for escape in ESCAPES
]


class Only(Security):
    """Allows what lies below one folder."""

    def __init__(self, folder):
        self._folder = os.path.realpath(folder)

    def path(self, path, mode, context):
        real = os.path.realpath(path)
        if real.startswith(self._folder + os.sep):
            return real
        raise SecurityError(f"Path not allowed: {path} not in allowlist")

    def tool(self, name, level):
        raise AssertionError("not asked")


@pytest.fixture
def prison(tmp_path, monkeypatch):
    """The folders of an attempt; the current one is its own."""
    for name in ("home", "outside", "work"):
        (tmp_path / name).mkdir()
    home, outside = tmp_path / "home", tmp_path / "outside"
    (home / "inside.txt").write_text("inside")
    (home / "module.lua").write_text("return 'module'")
    (home / "link.txt").symlink_to(outside / "secret.txt")
    (home / "linked").symlink_to(outside)
    (outside / "secret.txt").write_text(SECRET)
    for name in ("API_KEY", "SECRET", "PASSWORD", "TOKEN"):
        monkeypatch.setenv(f"BRIDGE_{name}", SECRET)
    monkeypatch.chdir(home)
    return tmp_path


def flat(value):
    """Every scalar in a result."""
    if isinstance(value, dict):
        for item in value.values():
            yield from flat(item)
    elif isinstance(value, list):
        for item in value:
            yield from flat(item)
    else:
        yield value


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("escape", CASES)
def test_nobody_gets_out(escape: Escape, prison):
    outside = prison / "outside"
    services = make_services(CONFIGS[escape.config])
    services.provide("security", Only(prison / "work"))
    world = World(services=services)
    code = escape.code.replace("OUT", str(outside)).replace("WORK", str(prison / "work"))
    kind, expected = escape.expects
    threads = set(threading.enumerate())
    world.written = deque(maxlen=1)  # what is written must pile up nowhere
    before = resident() if kind == "bounded" else 0
    submitted = world.submit(code, seconds=escape.seconds)
    error = submitted.exception(60)
    result = None if error else submitted.result()
    said = [str(error)] if error else [str(v) for v in flat(result.value)]
    assert SECRET not in "".join(said) + world.out

    if kind == "denied":
        assert any(phrase in text for text in said for phrase in expected), said
    elif kind == "gone":
        assert error is None, error
        assert result.value in (None, False)
    elif kind == "harmless":
        assert error is None, error
        assert result.value == expected
    elif kind == "exits":
        assert error is None, error
        assert (result.exit_code, result.value, world.out) == (expected, None, "")
    elif kind == "ends":
        assert type(error).__name__ == expected, said
    else:
        assert kind == "bounded"
        assert said == ["done"]
        gc.collect()
        assert resident() - before < expected

    assert world.run("return 'served'") == "served"
    assert sorted(p.name for p in outside.iterdir()) == ["secret.txt"]
    assert (outside / "secret.txt").read_text() == SECRET
    assert (prison / "home" / "inside.txt").read_text() == "inside"
    world.close()
    left = [t for t in set(threading.enumerate()) - threads if t.name.startswith("llmspell-lua")]
    assert left == []


def test_the_attempts_differ_and_are_many():
    assert len(ESCAPES) >= 80
    assert len({escape.id for escape in ESCAPES}) == len(ESCAPES)
    assert len({(escape.code, escape.config) for escape in ESCAPES}) == len(ESCAPES)
