"""What an engine answers to an editor, a notebook or a prompt that edits a script.

Positions are offsets in code points (characters of the Python `str`), the first is 0, as in the
Jupyter protocol. A cursor stands before the character at its offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CompletionKind = Literal[
    "keyword", "global", "module", "class", "function", "method", "field", "variable", "key",
    "value",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Completion:
    """One way to go on.

    Attributes:
        text: What replaces the text between the `Completions`' start and end.
        kind: What it is; ``key`` of an option table, ``value`` inside a string.
        signature: How it is called or what type it has, in the language; empty if unknown.
        summary: One sentence; empty if there is none.
    """

    text: str
    kind: CompletionKind
    signature: str = ""
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Completions:
    """What can stand where the cursor is, best first, each text once.

    Attributes:
        matches: The candidates, which all begin with what is typed.
        start: Where the typed part begins.
        end: The cursor.
        live: Whether the running state was read; False means from declarations and the code
            alone.
    """

    matches: tuple[Completion, ...]
    start: int
    end: int
    live: bool = False


@dataclass(frozen=True, slots=True)
class Documentation:
    """What is known about the name at the cursor.

    Attributes:
        name: As it would be written: ``Agent.builder``, ``agent:execute``.
        kind: What it is.
        signatures: How it is called, or its type; several where there are several forms.
        summary: One sentence; empty if there is none.
        text: All of it as plain text.
        markdown: The same as Markdown.
        start: Where the name begins in the code.
        end: Where it ends.
        parameter: Inside the parentheses of a call, the number of the argument the cursor is
            in, from 0; None elsewhere.
    """

    name: str
    kind: CompletionKind
    signatures: tuple[str, ...]
    summary: str
    text: str
    markdown: str
    start: int
    end: int
    parameter: int | None = None


@dataclass(frozen=True, slots=True)
class Completeness:
    """Whether code can be run as it stands.

    Attributes:
        status: ``complete``; ``incomplete`` when more text could make it complete; ``invalid``
            when none could; ``unknown`` when the engine cannot tell.
        indent: What the next line of incomplete code begins with.
    """

    status: Literal["complete", "incomplete", "invalid", "unknown"]
    indent: str = ""
