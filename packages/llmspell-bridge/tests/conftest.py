import sys
from pathlib import Path

import pytest

# Declared globals of the tests are found by module name, as installed ones are.
sys.path.insert(0, str(Path(__file__).parent))

import bridge_testkit


def pytest_generate_tests(metafunc):
    """Whatever opens a world runs on every engine."""
    code = metafunc.function.__code__
    asks = "language" in code.co_varnames[: code.co_argcount]
    if asks or "world" in metafunc.fixturenames or hasattr(metafunc.module, "World"):
        metafunc.parametrize("language", bridge_testkit.ENGINES, indirect=True)


@pytest.fixture(autouse=True)
def language(request, monkeypatch):
    """The engine under test."""
    name = getattr(request, "param", "lua")
    marker = request.node.get_closest_marker("only_lua")
    if marker is not None and name == "luajit":
        pytest.skip(marker.args[0])
    monkeypatch.setattr(bridge_testkit.World, "language", name)
    return name


@pytest.fixture
def world():
    made = bridge_testkit.World()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def forget():
    bridge_testkit.PROBES.clear()
    bridge_testkit.KEPT.clear()
    bridge_testkit.HANGS.clear()
    bridge_testkit.HUNG.clear()
    bridge_testkit.UNBLOCK.clear()
