"""What every `Embedder` and every `Chunker` keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest

from llmspell_core import Chunker, Embedder, ExecutionContext, ValidationError
from llmspell_testing._worlds import make_context

TEXTS = (
    "The cat sat on the mat.",
    "A cat was sitting on a mat.",
    "Quarterly revenue exceeded every forecast.",
    "ünïcode текст 文字 \U0001f511",
    "x",
    "  spaces around\nand\tlines  ",
    "nul\x00inside",
    "long " * 3000,
)


class EmbedderSuite:
    """Override `embedder`."""

    @pytest.fixture
    def embedder(self) -> Embedder:
        """The embedder."""
        raise NotImplementedError("override the fixture 'embedder'")

    @pytest.fixture
    def context(self) -> ExecutionContext:
        """The context of the calls."""
        return make_context()

    async def test_it_has_a_name_and_a_length(self, embedder: Embedder) -> None:
        assert embedder.name
        assert embedder.dimensions > 0

    async def test_every_text_gets_a_normalised_vector(
        self, embedder: Embedder, context: ExecutionContext
    ) -> None:
        vectors = await embedder.embed(TEXTS, context)
        assert [len(vector) for vector in vectors] == [embedder.dimensions] * len(TEXTS)
        assert [math.sqrt(_dot(v, v)) for v in vectors] == pytest.approx(
            [1.0] * len(TEXTS), abs=1e-3
        )

    async def test_order_and_batch_do_not_matter(
        self, embedder: Embedder, context: ExecutionContext
    ) -> None:
        together = [list(v) for v in await embedder.embed(TEXTS, context)]
        backwards = [list(v) for v in await embedder.embed(TEXTS[::-1], context)]
        alone = [list((await embedder.embed([text], context))[0]) for text in TEXTS]
        for one, two, three in zip(together, backwards[::-1], alone, strict=True):
            assert two == pytest.approx(one, abs=1e-4)
            assert three == pytest.approx(one, abs=1e-4)

    async def test_no_texts_give_no_vectors(
        self, embedder: Embedder, context: ExecutionContext
    ) -> None:
        assert list(await embedder.embed([], context)) == []

    async def test_an_empty_text_is_refused(
        self, embedder: Embedder, context: ExecutionContext
    ) -> None:
        for texts in ([""], ["good", ""]):
            with pytest.raises(ValidationError):
                await embedder.embed(texts, context)

    async def test_related_texts_are_nearer_than_unrelated_ones(
        self, embedder: Embedder, context: ExecutionContext
    ) -> None:
        first, second, unrelated, *_ = await embedder.embed(TEXTS, context)
        assert _dot(first, second) > _dot(first, unrelated)
        assert _dot(first, second) > _dot(second, unrelated)


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


PROSE = """\
# Guide

An introduction. It has two sentences, and the second is longer than the first one was.

## Setup

First install it. Then configure it: open the file, change the key, save it. "Quoted?" Yes!

- a list item
- another one

### Details

| a | b |
|---|---|
| 1 | 2 |

```lua
-- # not a heading
print("hello")
```

## Last part

The end; ünïcode \U0001f511 and 文字 too.
"""

DOCUMENTS = {
    "prose": PROSE,
    "long prose": "\n\n".join(
        f"## Part {n}\n\nSentence one of {n}. Sentence two of {n}! Is there a third of {n}?"
        for n in range(120)
    ),
    "one word": "word",
    "one endless word": "x" * 5000,
    "no line breaks": "some words without any end " * 400,
    "windows lines": PROSE.replace("\n", "\r\n"),
    "blank lines around": "\n\n\n  text  \n\n\n",
    "headings only": "# One\n## Two\n# Three\n",
    "unicode": "日本語の文章です。" * 300,
    "open fence": "text\n\n```\ncode that never ends\n" + "line\n" * 300,
    "odd separators": "a\x0bb\x0cc\u2028d\x85e\n" * 50,
}


class ChunkerSuite:
    """Override `chunker`."""

    @pytest.fixture
    def chunker(self) -> Chunker:
        """The chunker."""
        raise NotImplementedError("override the fixture 'chunker'")

    @pytest.mark.parametrize("text", ["", " ", "\n\n\t \r\n"], ids=repr)
    def test_blank_text_gives_no_chunks(self, chunker: Chunker, text: str) -> None:
        assert chunker.chunk(text, size=100, overlap=10) == []

    @pytest.mark.parametrize(("size", "overlap"), [(512, 64), (64, 0), (40, 10), (16, 4)])
    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_pieces_cover_the_text_and_stand_where_they_say(
        self, chunker: Chunker, name: str, size: int, overlap: int
    ) -> None:
        text = DOCUMENTS[name]
        chunks = chunker.chunk(text, size=size, overlap=overlap)
        covered = bytearray(len(text))
        for chunk in chunks:
            assert text[chunk.start : chunk.end] == chunk.text
            assert chunk.text.strip()
            assert 0 < chunk.tokens <= size
            assert chunk.first_line == text.count("\n", 0, chunk.start) + 1
            last = chunk.start + len(chunk.text.rstrip("\n"))
            assert chunk.first_line <= chunk.last_line
            assert chunk.last_line in {
                text.count("\n", 0, last) + 1,
                text.count("\n", 0, chunk.end) + 1,
            }
            covered[chunk.start : chunk.end] = b"\x01" * (chunk.end - chunk.start)
        lost = [i for i, seen in enumerate(covered) if not seen and not text[i].isspace()]
        assert lost == [], f"not in any chunk: {text[lost[0] : lost[0] + 60]!r}"

    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_pieces_go_forward(self, chunker: Chunker, name: str) -> None:
        chunks = chunker.chunk(DOCUMENTS[name], size=40, overlap=10)
        starts = [chunk.start for chunk in chunks]
        ends = [chunk.end for chunk in chunks]
        assert starts == sorted(set(starts))
        assert ends == sorted(set(ends))

    def test_without_overlap_nothing_is_said_twice(self, chunker: Chunker) -> None:
        chunks = chunker.chunk(DOCUMENTS["long prose"], size=40, overlap=0)
        assert len(chunks) > 1
        for one, two in pairwise(chunks):
            assert one.end <= two.start

    def test_a_small_text_is_one_piece(self, chunker: Chunker) -> None:
        (only,) = chunker.chunk("A short text.", size=512, overlap=64)
        assert (only.text.strip(), only.first_line, only.last_line) == ("A short text.", 1, 1)

    def test_same_text_same_pieces(self, chunker: Chunker) -> None:
        once = chunker.chunk(PROSE, size=40, overlap=10)
        assert chunker.chunk(PROSE, size=40, overlap=10) == once
