"""Names chosen by wildcards."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

from llmspell_core import ValidationError

LONGEST = 500
MOST = 100


class Patterns:
    """Relative paths chosen by globs; one without ``/`` is compared with the last component.

    ``*`` matches any characters, ``/`` too, ``?`` one, ``[…]`` a set.

    Args:
        include: What is wanted; empty means everything.
        exclude: What is not wanted all the same.

    Raises:
        ValidationError: ``Invalid glob pattern``, for one of absurd length or too many.
    """

    def __init__(self, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        self._include = _compiled(include)
        self._exclude = _compiled(exclude)

    @property
    def all(self) -> bool:
        """Whether everything is wanted."""
        return not self._include and not self._exclude

    def match(self, path: str) -> bool:
        """Whether *path* is wanted."""
        name = path.rpartition("/")[2]
        if self._include and not _any(self._include, path, name):
            return False
        return not _any(self._exclude, path, name)


def _any(patterns: list[tuple[re.Pattern[str], bool]], path: str, name: str) -> bool:
    return any(pattern.match(path if whole else name) for pattern, whole in patterns)


def _compiled(globs: Iterable[str]) -> list[tuple[re.Pattern[str], bool]]:
    made: list[tuple[re.Pattern[str], bool]] = []
    for glob in globs:
        # `fnmatch` turns runs of stars into atomic groups, so that no pattern can explode.
        if not glob or len(glob) > LONGEST or len(made) == MOST:
            raise ValidationError(
                f"Invalid glob pattern: '{glob[:50]}' (at most {MOST} of at most {LONGEST} "
                "characters)",
                field="pattern",
            )
        try:
            made.append((re.compile(translate(glob)), "/" in glob))
        except re.error as error:
            raise ValidationError(
                f"Invalid glob pattern: '{glob}': {error}", field="pattern"
            ) from None
    return made
