"""The documentation says of each provider what the tests show, and no more."""

import subprocess
import sys

import pytest

from .conftest import PROJECT


@pytest.mark.slow
def test_the_table_of_providers_is_what_the_tests_cover() -> None:
    done = subprocess.run(
        [sys.executable, PROJECT / "scripts/provider_table.py", "--check"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
