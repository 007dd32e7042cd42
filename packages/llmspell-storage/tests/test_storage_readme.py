"""The example in the README runs and shows what it says."""

import re
import subprocess
import sys
from pathlib import Path


def test_the_example_runs(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert found is not None
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", found[1]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == EXPECTED


EXPECTED = """\
True b'2'
p1 0.993884 Pumps move water.
['p1']
"""
