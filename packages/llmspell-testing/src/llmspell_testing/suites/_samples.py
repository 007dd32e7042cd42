"""Values that break what was not thought through."""

from __future__ import annotations

from typing import Any

AWKWARD_KEYS = (
    "plain",
    "",
    " ",
    "a/b:c.d",
    "100%",
    "a_b",
    "a%b",
    "[a-z]*?",
    "quo'te\"s",
    "back\\slash",
    "nul\x00inside",
    "\x01\x1f\x7f",
    "line\nbreak",
    "ключ",
    "鍵",
    "e\u0301",
    "\u00e9",
    "\uffff",
    "\U0001f511",
    "\U0010ffff",
    "k" * 4000,
)
"""Different keys that all must stay different."""

AWKWARD_BYTES = (
    b"",
    b"\x00",
    b"text",
    bytes(range(256)),
    "ünïcode \U0001f511".encode(),
    b"\xff\xfe\xfd",
    b"x" * 1_000_000,
)

AWKWARD_JSON: tuple[Any, ...] = (
    True,
    False,
    0,
    -1,
    1.5,
    -0.1,
    1e300,
    2**53,
    "",
    "text",
    "nul\x00 \u2028 \U0001f511 'quoted\" \\",
    [],
    {},
    [1, [2, [3, None]]],
    {"a": {"b": [True, None, "x"]}, "": 1, "ключ": "значение"},
    ["x"] * 1000,
)
"""JSON values but null."""

AWKWARD_TEXTS = (
    "nul\x00inside",
    "tab\tand\nlines\r\n",
    "'; DROP TABLE runs; --",
    '{"quoted": "\\" \\\\"}',
    "ünïcode \u2028 \U0001f511",
    "lone surrogate \ud800 stays",
    "long " * 20_000,
)
