"""`Routing`: how a team decides who of its members works on what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from llmspell_core import BaseAgent, ScriptFunction, ValidationError, nearest

STRATEGIES = {
    "sequential": "each member gets the answer of the one before it",
    "parallel": "all members get the input at once; their answers are joined",
    "vote": "all members get the input at once; the answer most of them give wins",
    "hierarchical": "the others work on the input at once; the first one gets their answers",
    "supervised": "the first one, an agent with a model, calls the others as tools",
    "conditional": "the first member whose condition holds",
    "first_match": "the first member with the capabilities that are asked for",
    "best_match": "of the members with these capabilities, the one that did best and last",
    "round_robin": "of the members with these capabilities, each in its turn",
    "load_balanced": "of the members with these capabilities, the one with the least to do",
    "random": "of the members with these capabilities, any",
    "custom": "the members that a function names",
}
_ALIASES = {
    "pipeline": "sequential",
    "chain": "sequential",
    "ensemble": "parallel",
    "voting": "vote",
    "consensus": "vote",
    "hierarchy": "hierarchical",
    "supervisor": "supervised",
    "first": "first_match",
    "best": "best_match",
    "delegation": "best_match",
    "delegating": "best_match",
    "capability": "best_match",
    "capability_based": "best_match",
    "roundrobin": "round_robin",
}
DELEGATING = ("first_match", "best_match", "round_robin", "load_balanced", "random")
"""Strategies that give the work to one member, by its capabilities."""


@dataclass(frozen=True, slots=True)
class Routing:
    """Who of a team works on an input.

    Attributes:
        strategy: One of `STRATEGIES`.
        threshold: For ``vote``: the part of all members, above 0 and at most 1, that must agree.
            None: the most votes win, the first of equals.
        fallback: Who works on the input when the team fails; an agent or its name.
        timeout_seconds: How long the team may take; None: as its limits say.
        on_failure: For ``parallel``, ``vote`` and ``hierarchical``: ``fail`` ends at the first
            member that fails, ``continue`` goes on with the others. Who does not answer does not
            vote, so ``vote`` continues unless told otherwise.
        select: For ``custom``: a function of the input and the names of the members that names
            one or several.
        conditions: For ``conditional``: a function of the input by the name of a member.
        capabilities: What every task of the team asks for, besides what an input asks for.
        retries: For strategies that delegate: how many further members are tried after failures.
        max_concurrent: How many members work at once.
    """

    strategy: str = "sequential"
    threshold: float | None = None
    fallback: Any = None
    timeout_seconds: float | None = None
    on_failure: Literal["fail", "continue"] | None = None
    select: Callable[..., Any] | ScriptFunction | None = None
    conditions: Mapping[str, Callable[..., Any]] = field(
        default_factory=dict[str, "Callable[..., Any]"]
    )
    capabilities: tuple[str, ...] = ()
    retries: int = 3
    max_concurrent: int = 10

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            known = [*STRATEGIES, *_ALIASES]
            close = nearest(self.strategy, known)
            raise ValidationError(
                f"Unknown routing strategy: {self.strategy}",
                field="strategy",
                hint=f"Did you mean '{close}'?" if close else f"Known: {', '.join(STRATEGIES)}",
            )
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise ValidationError(
                f"threshold must be above 0 and at most 1, not {self.threshold:g}",
                field="threshold",
            )
        if self.timeout_seconds is not None and not self.timeout_seconds > 0:
            raise ValidationError(
                f"timeout must be above zero, not {self.timeout_seconds:g}", field="timeout"
            )
        if self.on_failure not in (None, "fail", "continue"):
            raise ValidationError(
                f"on_failure must be 'fail' or 'continue', not {self.on_failure!r}",
                field="on_failure",
            )
        if self.strategy == "custom" and self.select is None:
            raise ValidationError(
                "the strategy 'custom' needs a function that names members", field="select"
            )
        if self.strategy == "conditional" and not self.conditions:
            raise ValidationError(
                "the strategy 'conditional' needs conditions: a function by name of a member",
                field="conditions",
            )
        if self.retries < 0 or self.max_concurrent < 1:
            raise ValidationError(
                "retries must be at least 0 and max_concurrent at least 1", field="routing"
            )

    @property
    def goes_on(self) -> bool:
        """Whether the team goes on without members that fail."""
        return self.on_failure == "continue" or (
            self.on_failure is None and self.strategy == "vote"
        )

    def to_dict(self) -> dict[str, Any]:
        """What scripts may see; functions are only told of."""
        fallback = self.fallback
        if isinstance(fallback, BaseAgent):
            fallback = fallback.metadata.name
        return {
            "strategy": self.strategy,
            "threshold": self.threshold,
            "fallback_agent": fallback,
            "timeout_ms": None if self.timeout_seconds is None else self.timeout_seconds * 1000,
            "on_failure": self.on_failure,
            "conditions": sorted(self.conditions),
            "capabilities": list(self.capabilities),
            "retries": self.retries,
            "max_concurrent": self.max_concurrent,
        }

    @classmethod
    def of(cls, value: Any) -> Routing:
        """From the word of a strategy, a function (``custom``), or a table ``{strategy,
        threshold, fallback_agent, timeout_ms, on_failure, select, conditions, capabilities,
        retries, max_concurrent}``.

        Raises:
            ValidationError: for anything else.
        """
        if value is None:
            return cls()
        if isinstance(value, Routing):
            return value
        if isinstance(value, str):
            return cls(_strategy(value))
        if isinstance(value, Mapping):
            return cls._of_table(cast("Mapping[str, Any]", value))
        if isinstance(value, ScriptFunction) or callable(value):
            return cls("custom", select=value)
        raise ValidationError(
            f"routing must be a strategy, a function or a table, not {type(value).__name__}",
            field="routing",
        )

    @classmethod
    def _of_table(cls, table: Mapping[str, Any]) -> Routing:
        made: dict[str, Any] = {}
        for key, item in table.items():
            if item is None:
                continue
            if key in ("strategy", "type"):
                if isinstance(item, str):
                    made["strategy"] = _strategy(item)
                else:
                    made["strategy"], made["select"] = "custom", _function(key, item)
            elif key in _READERS:
                name, read = _READERS[key]
                made[name] = read(key, item)
            else:
                close = nearest(key, list(_READERS))
                raise ValidationError(
                    f"routing has no option '{key}'",
                    field=f"routing.{key}",
                    hint=f"Did you mean '{close}'?"
                    if close
                    else f"Known: strategy, {', '.join(_READERS)}",
                )
        if "strategy" not in made and "select" in made:
            made["strategy"] = "custom"
        return replace(cls(), **made)


def _strategy(word: str) -> str:
    plain = word.lower().replace("-", "_").replace(" ", "_")
    return _ALIASES.get(plain, plain)


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValidationError(f"routing.{key} must be a number", field=f"routing.{key}")
    return value


def _whole(key: str, value: Any) -> int:
    number = _number(key, value)
    if not float(number).is_integer():
        raise ValidationError(f"routing.{key} must be a whole number", field=f"routing.{key}")
    return int(number)


def _milliseconds(key: str, value: Any) -> float:
    return _number(key, value) / 1000


def _as_it_is(key: str, value: Any) -> Any:
    return value


def _words(key: str, value: Any) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if words == {}:
        words = []
    if not isinstance(words, list | tuple) or not all(
        isinstance(word, str) for word in cast("list[Any]", words)
    ):
        raise ValidationError(f"routing.{key} must be a list of words", field=f"routing.{key}")
    return tuple(cast("list[str]", words))


def _function(key: str, value: Any) -> Any:
    if isinstance(value, ScriptFunction) or callable(value):
        return value
    raise ValidationError(f"routing.{key} must be a function", field=f"routing.{key}")


def _functions(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValidationError(
            f"routing.{key} must be a table of functions by name of a member",
            field=f"routing.{key}",
        )
    table = cast("Mapping[str, Any]", value)
    return {name: _function(f"{key}.{name}", each) for name, each in table.items()}


_READERS: Mapping[str, tuple[str, Callable[[str, Any], Any]]] = {
    "threshold": ("threshold", _number),
    "fallback_agent": ("fallback", _as_it_is),
    "fallback": ("fallback", _as_it_is),
    "timeout_ms": ("timeout_seconds", _milliseconds),
    "timeout": ("timeout_seconds", _milliseconds),
    "timeout_seconds": ("timeout_seconds", _number),
    "on_failure": ("on_failure", _as_it_is),
    "select": ("select", _function),
    "conditions": ("conditions", _functions),
    "capabilities": ("capabilities", _words),
    "retries": ("retries", _whole),
    "max_concurrent": ("max_concurrent", _whole),
}
