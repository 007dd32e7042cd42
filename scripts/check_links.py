"""Every relative link in the project's Markdown leads to a file, and its anchor to a heading."""

from __future__ import annotations

import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
PLACES = ("*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/**/*.md", "packages/*/*.md")

LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\s{0,3}\[[^\]]+\]:\s*<?(\S+?)>?\s*$", re.MULTILINE)
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$", re.MULTILINE)
FENCE = re.compile(r"^( {0,3}|\s*)(`{3,}|~{3,}).*?^\s*\2[`~]*\s*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)


def prose(text: str) -> str:
    """*text* with its code blanked out; lines stay where they are."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match.group())

    return CODE.sub(blank, FENCE.sub(blank, text))


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"[`*]|(?<!\w)_|_(?!\w)|<[^>]+>", "", text).strip().lower()
    return re.sub(r"\s", "-", re.sub(r"[^\w\- ]", "", text))


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a Markdown file."""
    text = path.read_text(encoding="utf-8")
    seen: Counter[str] = Counter()
    found = set(re.findall(r"<a\s+(?:id|name)=\"([^\"]+)\"", text))
    for heading in HEADING.findall(FENCE.sub("", text)):
        name = slug(heading)
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return frozenset(found)


def problem(page: Path, target: str) -> str | None:
    """What is wrong with a link, or None."""
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", target) or target.startswith("//"):
        return None
    place, _, anchor = target.partition("#")
    path = (page.parent / unquote(place)).resolve() if place else page
    if place.startswith("/"):
        return "is absolute"
    if not path.is_relative_to(ROOT):
        return "leads out of the project"
    if not path.exists():
        return "does not exist"
    if anchor and path.suffix == ".md" and unquote(anchor).lower() not in anchors(path):
        return f"has no heading '{anchor}'"
    return None


def main() -> int:
    """Check all; the exit code."""
    pages = sorted({page for place in PLACES for page in ROOT.glob(place) if page.is_file()})
    links, broken = 0, 0
    for page in pages:
        text = prose(page.read_text(encoding="utf-8"))
        for match in [*LINK.finditer(text), *REFERENCE.finditer(text)]:
            links += 1
            wrong = problem(page, match.group(1))
            if wrong is not None:
                broken += 1
                line = text.count("\n", 0, match.start()) + 1
                print(f"{page.relative_to(ROOT)}:{line}: {match.group(1)} {wrong}")
    print(f"{len(pages)} pages, {links} links, {broken} broken")
    return 1 if broken or not pages else 0


if __name__ == "__main__":
    sys.exit(main())
