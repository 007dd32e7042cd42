"""What the documentation shows, runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = ("json", "args", "debug", "streaming", "utils")
SNIPPETS = [
    (page, number, found[1])
    for page in PAGES
    for number, found in enumerate(
        re.finditer(
            r"```lua\n(.*?)```", (ROOT / f"docs/user-guide/api/lua/{page}.md").read_text(), re.S
        )
    )
]


@pytest.mark.parametrize(("page", "number", "code"), SNIPPETS)
def test_lua_snippets_run_and_print_what_they_show(world, page, number, code):
    world.run(code, name=f"{page}-{number}.lua")
    shown = "".join(f"{line}\n" for line in re.findall(r"^--> (.*)$", code, re.M))
    assert world.out == shown


def test_the_readme_example_runs():
    text = (Path(__file__).parents[1] / "README.md").read_text()
    found = re.search(r"```python\n(.*?)```", text, re.S)
    done = subprocess.run(
        [sys.executable, "-c", found[1]], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "stdout: hello from\tLua 5.4\n3\n"
