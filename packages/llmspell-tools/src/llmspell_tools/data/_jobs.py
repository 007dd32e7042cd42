"""What the JSON tool lets its worker process do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from llmspell_tools._worker_main import Refused

MOST_OUTPUTS = 100_000


def run_jq(program: str, texts: list[str]) -> list[Any]:
    """The outputs of a jq program for each of the JSON *texts*, one after the other."""
    try:
        import jq  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise Refused("MISSING:jq") from None
    try:
        compiled: Any = jq.compile(program)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    except ValueError as error:
        raise Refused(f"Invalid jq syntax: {_first_line(error)}") from None
    outputs: list[Any] = []
    try:
        for text in texts:
            outcomes = cast("Iterable[Any]", cast("Any", compiled).input_text(text))
            for output in outcomes:
                if len(outputs) == MOST_OUTPUTS:
                    raise Refused(f"jq execution error: more than {MOST_OUTPUTS} outputs")
                outputs.append(output)
    except ValueError as error:
        raise Refused(f"jq execution error: {_first_line(error)}") from None
    return outputs


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
