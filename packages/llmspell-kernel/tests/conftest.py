import sys
from pathlib import Path

import pytest

# The kit is imported by the processes that tests start, too.
sys.path.insert(0, str(Path(__file__).parent))

from kernel_testkit import Output, make_kernel_services


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def output():
    return Output()


@pytest.fixture
def services(home):
    made = make_kernel_services(home)
    yield made
    made.close()
