"""What the chunkers cut, seen on small texts."""

import pytest

from llmspell_core import Chunker, Services
from llmspell_rag import (
    FixedChunker,
    MarkdownChunker,
    ParagraphChunker,
    RecursiveChunker,
    SentenceChunker,
    WindowChunker,
)

GUIDE = """\
Intro before any heading.

# Guide #

## Setup

Install it first.

```sh
# a comment, no heading
## neither

install
```

### Details `code` and [a link](x.md)

More words.

Second Title
============

Text under it.

Third
---

1. one
2. two
"""


def cut(chunker: Chunker, text: str, size: int = 512, overlap: int = 0) -> list[str]:
    return [chunk.text for chunk in chunker.chunk(text, size=size, overlap=overlap)]


def test_markdown_is_cut_at_headings_and_knows_them() -> None:
    chunks = MarkdownChunker().chunk(GUIDE, size=512, overlap=64)
    assert [(c.heading, c.first_line, c.last_line, c.text.split("\n")[0]) for c in chunks] == [
        ("", 1, 1, "Intro before any heading."),
        ("Guide > Setup", 3, 14, "# Guide #"),
        (
            "Guide > Setup > Details code and a link",
            16,
            18,
            "### Details `code` and [a link](x.md)",
        ),
        ("Second Title", 20, 23, "Second Title"),
        ("Second Title > Third", 25, 29, "Third"),
    ]


def test_a_code_block_is_cut_only_if_it_alone_is_too_long() -> None:
    fence = "```\n" + "".join(f"line {n} of the code\n" for n in range(10)) + "```\n"
    text = f"# T\n\n{'Words before. ' * 12}\n\n{fence}\nWords after.\n"
    assert any(fence.strip() in piece for piece in cut(MarkdownChunker(), text, size=60))
    pieces = cut(MarkdownChunker(), text, size=20)
    lines = [line for piece in pieces for line in piece.split("\n") if "line" in line]
    assert lines == [f"line {n} of the code" for n in range(10)]


def test_fences_close_with_their_own_mark() -> None:
    text = "# A\n\n~~~~\n```\n# not\n~~~\n# nor this\n~~~~\n\n# B\n\n```x`y\n# C\n\nend"
    headings = [c.heading for c in MarkdownChunker().chunk(text, size=512, overlap=0)]
    assert headings == ["A", "B", "C"]


def test_headings_climb_up_again() -> None:
    text = "# A\na\n### B\nb\n## C\nc\n# D\nd\n#\nnameless\n#not a heading"
    headings = [c.heading for c in MarkdownChunker().chunk(text, size=512, overlap=0)]
    assert headings == ["A", "A > B", "A > C", "D", ""]


def test_windows_end_behind_sentences_and_begin_with_words() -> None:
    text = "The first sentence is here. The second one follows it. And a third one ends it all."
    assert cut(WindowChunker(), text, size=10, overlap=3) == [
        "The first sentence is here.",
        "is here. The second one follows it.",
        "follows it. And a third one ends it all.",
    ]


def test_fixed_windows_are_exact() -> None:
    assert cut(FixedChunker(), "abcdefghijklmnopqrst", size=2, overlap=1) == [
        "abcdefgh",
        "efghijkl",
        "ijklmnop",
        "mnopqrst",
    ]


def test_sentences_stay_whole_and_overlap_by_whole_ones() -> None:
    text = "One is short. Two is short. Three is short. Four is short."
    assert cut(SentenceChunker(), text, size=8, overlap=4) == [
        "One is short. Two is short.",
        "Two is short. Three is short.",
        "Three is short. Four is short.",
    ]


def test_paragraphs_are_packed_and_long_ones_split_into_sentences() -> None:
    text = "Short.\n\nAlso short.\n\n" + "A sentence of some length. " * 4
    assert cut(ParagraphChunker(), text, size=16) == [
        "Short.\n\nAlso short.\n\nA sentence of some length.",
        "A sentence of some length. A sentence of some length.",
        "A sentence of some length.",
    ]


def test_recursion_splits_only_what_does_not_fit() -> None:
    text = "first line\nsecond line\n\nthird paragraph, with words that go on and on and on"
    assert cut(RecursiveChunker(), text, size=7) == [
        "first line\nsecond line",
        "third paragraph, with words",
        "that go on and on and on",
    ]


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (5, 5), (5, -1)])
def test_sizes_that_cannot_be_met_are_refused(size: int, overlap: int) -> None:
    plugins = Services({}).plugins
    names = {"fixed", "markdown", "paragraph", "recursive", "sentence", "sliding_window"}
    assert names <= set(plugins.names("llmspell.chunkers"))
    for name in names:
        chunker = plugins.load("llmspell.chunkers", name)()
        with pytest.raises(ValueError, match="must be at least"):
            chunker.chunk("text", size=size, overlap=overlap)
