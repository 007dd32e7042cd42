"""`IndexSettings`: the parameters of the approximate index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import ConfigurationError

if TYPE_CHECKING:
    from llmspell_core import Config


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """The parameters of HNSW, from ``[rag.vector_storage.hnsw]``.

    `max_elements` limits the vectors of a namespace, with or without an index. With a `seed`
    the index is built on one thread, so that equal input in equal order gives an equal index.
    """

    m: int = 16
    ef_construction: int = 200
    ef_search: int = 50
    max_elements: int = 1_000_000
    seed: int | None = None
    num_threads: int | None = None

    def __post_init__(self) -> None:
        bounds = {"m": (2, 100), "ef_construction": (self.m, None), "ef_search": (1, None)}
        for name, (least, most) in {**bounds, "max_elements": (1, None)}.items():
            value = getattr(self, name)
            if value < least or (most is not None and value > most):
                wanted = f"{least} to {most}" if most else f"at least {least}"
                raise ConfigurationError(
                    f"rag.vector_storage.hnsw.{name} must be {wanted}, not {value}"
                )

    @property
    def threads(self) -> int:
        """How many threads build; -1 is as many as there are processors."""
        return 1 if self.seed is not None else self.num_threads or -1

    @classmethod
    def of(cls, config: Config) -> IndexSettings:
        """The settings in *config*.

        Raises:
            ConfigurationError: naming the key, for a value out of range or not a number.
        """
        table: Any = config.get("rag.vector_storage.hnsw")
        if not isinstance(table, Mapping):
            return cls()
        given: dict[str, int] = {}
        for known in fields(cls):
            value = cast("Mapping[str, Any]", table).get(known.name)
            if value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool):
                raise ConfigurationError(
                    f"rag.vector_storage.hnsw.{known.name} must be a whole number, not {value!r}"
                )
            given[known.name] = value
        return cls(**given)
