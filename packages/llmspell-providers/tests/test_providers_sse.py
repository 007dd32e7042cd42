"""Server-sent events, cut anywhere."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell_providers._sse import SseParser


def events(*pieces: bytes) -> list[str]:
    parser = SseParser()
    found = [event for piece in pieces for event in parser.feed(piece)]
    return [*found, *parser.close()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"data: one\n\ndata:two\n\n", ["one", "two"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b": comment\n\nevent: x\nid: 1\ndata: one\n\n", ["one"]),
        (b"data: last without an end", ["last without an end"]),
        (b"data:  kept blank\r\n\r\n", [" kept blank"]),
        (b"data: one\rdata: two\r\r", ["one\ntwo"]),
        (b"data: \xff\xfe\n\n", ["\ufffd\ufffd"]),
        (b"\n\n\n", []),
        (b"data:\n\n", [""]),
        (b"", []),
    ],
)
def test_events_are_read_as_the_standard_says(text: bytes, expected: list[str]) -> None:
    assert events(text) == expected


LINES = st.lists(
    st.sampled_from([b"data: one", b"data: zw\xc3\xb6lf", b"", b": c", b"event: e", b"data:"]),
    max_size=12,
)


@given(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(0, 200), max_size=9))
def test_where_a_stream_is_cut_does_not_matter(
    lines: list[bytes], end: bytes, places: list[int]
) -> None:
    text = end.join([*lines, b"", b""])
    cuts = sorted({0, len(text), *(place for place in places if place < len(text))})
    pieces = [text[a:b] for a, b in pairwise(cuts)]
    assert events(*pieces) == events(text) == events(*(text[n : n + 1] for n in range(len(text))))


def test_a_line_that_never_ends_costs_no_more_than_its_length() -> None:
    parser = SseParser()
    piece = b"x" * 65_536
    start = time.process_time()
    for _ in range(1000):
        assert parser.feed(piece) == []
    # Looking through the open line for every piece would take minutes.
    assert time.process_time() - start < 10
