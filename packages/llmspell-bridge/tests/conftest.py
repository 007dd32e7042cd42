import sys
from pathlib import Path

import pytest

# Declared globals of the tests are found by module name, as installed ones are.
sys.path.insert(0, str(Path(__file__).parent))

import bridge_testkit


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
