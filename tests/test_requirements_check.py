"""The check that holds requirements and tests together sees what it is for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parent.parent / "scripts" / "check_requirements.py"
TESTS = """
import pytest

@pytest.mark.requirement("a.first", "a.second")
def test_two(): ...

@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.requirement("a.third"))])
def test_parameter(x): ...

@pytest.mark.skipif(True, reason="never")
@pytest.mark.requirement("a.skipped")
def test_skipped(): ...
"""


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, CHECK, "--manifest", folder / "manifest.toml", folder / "test_sample.py"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=CHECK.parent.parent,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        ('["1"]\n"a.first" = "x"\n"a.second" = "x"\n"a.third" = "x"\n', "names 'a.skipped', which"),
        ('["1"]\n"a.skipped" = "x"\n', "'a.skipped': every test that names it is skipped"),
        ('["1"]\n"a.fourth" = "Nobody tests me."\n', "'a.fourth' has no test: Nobody tests me."),
        (
            '["1"]\n"a.w" = { text = "x", waits_for = "JSON" }\n',
            "'a.w' waited for JSON, which is there now, and has no test",
        ),
        (
            '["1"]\n"a.w" = { text = "x", waits_for = "tools/calculator" }\n',
            "'a.w' waited for tools/calculator, which is there now, and has no test",
        ),
        ('["1"]\n"a.w" = { text = "x", waits_for = "NotBuilt" }\n', None),
    ],
)
def test_each_kind_of_gap_is_told(tmp_path: Path, manifest: str, complaint: str | None) -> None:
    (tmp_path / "manifest.toml").write_text(manifest)
    (tmp_path / "test_sample.py").write_text(TESTS)
    done = check(tmp_path)
    if complaint is not None:
        assert done.returncode == 1
        assert complaint in done.stderr
    else:
        assert "a.w" not in done.stderr


@pytest.mark.slow
def test_a_complete_manifest_passes(tmp_path: Path) -> None:
    (tmp_path / "manifest.toml").write_text('["1"]\n"a.first" = "x"\n"a.second" = "x"\n')
    (tmp_path / "test_sample.py").write_text(TESTS.split("@pytest.mark.parametrize")[0])
    done = check(tmp_path)
    assert (done.returncode, done.stdout) == (
        0,
        "2 requirements, 1 tests that name them, 0 waiting for what is not built yet\n",
    ), done.stderr
