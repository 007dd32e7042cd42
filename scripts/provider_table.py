"""The table of what works with which provider, from the tests that show it.

Tests say so with ``@pytest.mark.covers("tools")`` (the vendor is their parameter) or
``@pytest.mark.covers("responses", vendor="openai")``.

    python scripts/provider_table.py          # write the table into the documentation
    python scripts/provider_table.py --check  # fail when it is not what the tests say
    python scripts/provider_table.py --json   # print it as data
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/user-guide/providers.md"
BEGIN = "<!-- Written by scripts/provider_table.py from what the tests cover. -->"
END = "<!-- End of the table. -->"
COLUMNS = {
    "chat": "chat",
    "stream": "stream",
    "tools": "tools",
    "structured output": "schema",
    "images": "images",
    "reasoning": "reasoning",
    "embeddings": "embeddings",
    "usage": "usage",
    "models": "models",
    "check": "check",
    "errors": "errors",
}


class Covered:
    """A plugin of pytest that notes what the collected tests cover, and runs none."""

    def __init__(self) -> None:
        self.features: dict[str, set[str]] = defaultdict(set)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for mark in item.iter_markers("covers"):
                self._note(item, *mark.args, **mark.kwargs)

    def _note(self, item: pytest.Item, feature: str, vendor: str | None = None) -> None:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        name = vendor or parameters.get("vendor")
        if name is None:
            raise pytest.UsageError(f"{item.nodeid} covers '{feature}' of no vendor")
        if feature not in COLUMNS:
            raise pytest.UsageError(f"{item.nodeid} covers '{feature}', which is no column")
        self.features[name].add(feature)


def covered() -> dict[str, list[str]]:
    """Features by vendor, both sorted."""
    plugin = Covered()
    arguments = ["--collect-only", "-qq", "-p", "no:cacheprovider", "-p", "no:xdist"]
    tests = ROOT / "packages/llmspell-providers/tests"
    files = [
        str(path) for path in sorted(tests.glob("test_*.py")) if "mark.covers" in path.read_text()
    ]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main([*arguments, *files], [plugin])

    if code != 0:
        raise SystemExit(f"the tests cannot be collected:\n{said.getvalue()[-2000:]}")
    return {name: sorted(plugin.features[name]) for name in sorted(plugin.features)}


def table(features: dict[str, list[str]]) -> str:
    """As Markdown."""
    from llmspell_providers._catalogue import VENDORS

    rows = [["", *COLUMNS.values()], ["---"] * (len(COLUMNS) + 1)]
    for name, has in features.items():
        vendor, _, api = name.partition(":")
        label = f"{VENDORS[vendor].label}{f' ({api})' if api else ''} `{vendor}`"
        rows.append([label, *("✓" if column in has else "" for column in COLUMNS)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(arguments: list[str]) -> int:
    """The exit code."""
    features = covered()
    if "--json" in arguments:
        print(json.dumps(features, indent=2))
        return 0
    page = PAGE.read_text(encoding="utf-8")
    before, found, rest = page.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found or not found_end:
        print(f"{PAGE} has no place for the table: {BEGIN} … {END}", file=sys.stderr)
        return 1
    made = f"{before}{BEGIN}\n\n{table(features)}\n\n{END}{after}"
    if "--check" not in arguments:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    if made != page:
        print(f"{PAGE} is not what the tests cover; run scripts/provider_table.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
