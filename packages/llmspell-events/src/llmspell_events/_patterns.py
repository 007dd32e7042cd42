"""Patterns that name topics."""

from __future__ import annotations

import re
from collections.abc import Callable

from llmspell_core import ValidationError


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A function that tells whether a topic fits *pattern*.

    ``*`` fits everything; a star at the end (``agent.*``) or at the beginning (``*.error``) fits
    any text there; a star between fits within one segment (``workflow.*.complete``); ``**``
    between dots fits any number of segments, none included. Without a star the topic must be
    equal, upper and lower case being different.

    Raises:
        ValidationError: ``Pattern cannot be empty``.
    """
    if not pattern:
        raise ValidationError("Pattern cannot be empty", field="pattern")
    if "*" not in pattern:
        return pattern.__eq__
    if not pattern.strip("*"):
        return lambda topic: True
    body = pattern.strip("*")
    if "*" not in body:
        if pattern.startswith("*"):
            if pattern.endswith("*"):
                return lambda topic: body in topic
            return lambda topic: topic.endswith(body)
        return lambda topic: topic.startswith(body)
    matches = re.compile(_regular_expression(pattern), re.DOTALL).fullmatch
    return lambda topic: matches(topic) is not None


def _regular_expression(pattern: str) -> str:
    body = pattern.strip("*")
    made = ".*" if pattern.startswith("*") else ""
    rest = body
    while rest:
        if rest.startswith(".**."):
            made, rest = made + r"\.(?:.*\.)?", rest[4:]
        elif rest.startswith("**"):
            made, rest = made + ".*", rest.lstrip("*")
        elif rest.startswith(".*."):
            # The dot that ends this segment may begin the next one: keep it.
            made, rest = made + r"\.[^.]+", rest[2:]
        elif rest[0] == "*":
            made, rest = made + "[^.]*", rest[1:]
        else:
            made, rest = made + re.escape(rest[0]), rest[1:]
    return made + (".*" if pattern.endswith("*") else "")
