"""Write the reference of the script globals from their declarations.

``docs/user-guide/api/lua/reference`` has one page for each global that a package of this
repository declares. With ``--check`` nothing is written: the exit code is 1 if a page is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from llmspell_bridge import reference_page
from llmspell_core import GlobalDescription, PluginIndex, describe_globals

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "user-guide" / "api" / "lua" / "reference"
NOTE = "<!-- Written by scripts/write_api_reference.py from the declarations; do not edit. -->"
PROSE = {"logger": "utils"}
"""Pages of prose that are not called like their global."""


def ours() -> list[GlobalDescription]:
    """The globals that packages of this repository declare.

    Raises:
        SystemExit: when one cannot be described.
    """
    packages = {folder.name for folder in (ROOT / "packages").iterdir()}
    found = [each for each in describe_globals(PluginIndex()) if each.distribution in packages]
    for each in found:
        if each.error:
            raise SystemExit(f"{each.name}: {each.error}")
    return found


def pages() -> Mapping[Path, str]:
    """The text of each page."""
    found = ours()
    made = {FOLDER / f"{each.name.lower()}.md": page(each) for each in found}
    made[FOLDER / "README.md"] = contents(found)
    return made


def contents(found: list[GlobalDescription]) -> str:
    """The page that lists the others."""
    rows = "\n".join(
        f"| [`{each.name}`]({each.name.lower()}.md) | {each.object.summary.replace('``', '`')} |"
        for each in found
    )
    return f"""\
# Reference of the globals

{NOTE}

Every function of every global, with its parameters. The same is shown by `llmspell api NAME`, and
by editors with `llmspell api --luacats > llmspell.lua`. Names are shown in snake_case; each exists
in camelCase too. `?` marks what may be left out or be nil; `?, string?` behind a result means that
a failure gives nil and a message.

| Global | |
|---|---|
{rows}
"""


def page(described: GlobalDescription) -> str:
    """The page of a global, with the way to the page of prose."""
    name = PROSE.get(described.name.lower(), described.name.lower())
    prose = FOLDER.parent / f"{name}.md"
    more = f"\n\nExamples and explanations: [{described.name}](../{name}.md)."
    return reference_page(described, note=NOTE + (more if prose.exists() else ""))


def main() -> int:
    wanted = pages()
    present = set(FOLDER.glob("*.md"))
    stale = [
        path for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]  # fmt: skip
    left_over = sorted(present - set(wanted))
    if "--check" in sys.argv[1:]:
        for path in [*stale, *left_over]:
            print(f"stale: {path.relative_to(ROOT)}")
        if stale or left_over:
            print("Write it anew: uv run python scripts/write_api_reference.py")
            return 1
        return 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
    for path in left_over:
        path.unlink()
    print(f"{len(stale)} of {len(wanted)} pages written, {len(left_over)} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
