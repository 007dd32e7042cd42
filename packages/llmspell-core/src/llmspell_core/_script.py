"""The vocabulary to declare what scripts see, independent of the script language.

A script global is a plain typed Python class marked with `script_global`; what its methods hand
out (agents, builders, timers) are instances of classes marked with `script_object`. Methods
marked with `exposed` are reachable from scripts, properties marked with `attribute` are fields.
The engine compiles each declaration once into the script-facing function: snake_case and
camelCase names, dot and colon calls, optional trailing arguments, conversion by annotation, the
failure convention, and for an ``async def`` the hop to the event loop. A plain ``def`` runs
inline on the script's thread and must not block.

Annotations say how arguments are converted:

=========================  ==================================================================
``str``                    text; numbers are accepted and formatted
``int``, ``float``         numbers; numeric text is accepted
``bool``                   true or false
``bytes``                  the bytes of a script string
``dict[str, Any]``         a table; an empty table is ``{}``
``list[…]``                a sequence; an empty table is ``[]``; a single value is refused
``ScriptFunction``         a function of the script
a `script_object` class    a handle made by that class
``Literal[…]``             one of the words; they are offered as completions
``Any``                    whatever it is: tables become dicts or lists, functions
                           `ScriptFunction`, handles their object
``… | None``               nil or missing is None
a ``TypedDict`` class      as ``dict[str, Any]``, unchecked; its keys are offered as completions,
                           described by the section ``Attributes:`` of its docstring
``Annotated[T, D]``        as ``T``; where ``D`` is a ``TypedDict`` or dataclass, its keys are
                           offered in tables; where it is `Registered`, the names in that
                           entry-point group
=========================  ==================================================================

Results are converted back: None, booleans, numbers, ``str``, ``bytes``, lists, dicts and the
classes `Record`, `Items`, `Live`, `Returns` below, nested as needed; `script_object` instances
become handles, the same instance the same handle.

Docstrings of the classes and of what is exposed are what users read: `llmspell api`, completion
and hover in editors and notebooks, the reference. The first sentence stands alone in lists; the
sections ``Args:``, ``Returns:`` and ``Raises:`` are those of the Google style. See
`describe_globals`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from llmspell_core._editing import Completeness, Completions, Documentation
from llmspell_core._errors import LLMSpellError

if TYPE_CHECKING:
    from llmspell_core._context import ExecutionContext
    from llmspell_core._services import Services

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])

Failure = Literal["raise", "pair", "table"]


@dataclass(frozen=True, slots=True)
class Exposure:
    """How a method is reached from scripts, see `exposed`."""

    names: tuple[str, ...] = ()
    fails: Failure = "raise"
    raises: tuple[type[LLMSpellError], ...] = ()
    async_twin: bool = False
    promise: bool = False
    misuse: Failure = "raise"
    native: bool = False


def exposed(
    *,
    names: tuple[str, ...] = (),
    fails: Failure = "raise",
    raises: tuple[type[LLMSpellError], ...] = (),
    async_twin: bool = False,
    promise: bool = False,
    misuse: Failure = "raise",
    native: bool = False,
) -> Callable[[F], F]:
    """Make a method reachable from scripts.

    Args:
        names: Further names, besides the method's own in snake_case and camelCase.
        fails: What an `LLMSpellError` becomes: ``raise``; ``pair`` returns ``nil, message``;
            ``table`` returns ``{success=false, error=message, error_type, error_details}`` and
            the message.
        raises: Error classes that count as misuse, whatever *fails* says.
        async_twin: Also offer ``<name>_async`` / ``<name>Async``, which take a callback last
            and return a promise.
        promise: The method itself takes a callback last and returns a promise: for a twin that
            differs from the synchronous form in more than that. Name it ``<name>_async``.
        misuse: What wrong arguments and the classes of *raises* become.
        native: Every engine brings it itself, because it needs what only the language has: its
            stack, its coroutines, its tables. The declaration is its documentation; the body is
            never run.
    """
    exposure = Exposure(names, fails, raises, async_twin, promise, misuse, native)

    def mark(function: F) -> F:
        function.__script__ = exposure  # type: ignore[attr-defined]
        return function

    return mark


def attribute(getter: Callable[[Any], Any]) -> property:
    """A property that scripts read as a field of the handle."""
    getter.__script__ = True  # type: ignore[attr-defined]
    return property(getter)


def script_global(name: str) -> Callable[[C], C]:
    """Declare the class of a script global. It is constructed with the `ScriptHost`, once per
    script state, at the first touch; registered under several names it is one instance under
    all of them. ``__script_index__(self, key)``, where defined, answers fields that no method
    has (``Tool.calculator``).
    """

    def mark(cls: C) -> C:
        cls.__script_name__ = name
        cls.__script_kind__ = "global"
        return cls

    return mark


def script_object(name: str) -> Callable[[C], C]:
    """Declare a class whose instances scripts hold as handles. ``tostring`` gives ``name(x)``
    with the instance's ``__script_title__``, else its ``name``, else its ``id``, where that is a
    text that is not empty; else x is a number that no other of its class has in this state.
    """

    def mark(cls: C) -> C:
        cls.__script_name__ = name
        cls.__script_kind__ = "object"
        return cls

    return mark


@dataclass(frozen=True, slots=True)
class Registered:
    """In ``Annotated[str, Registered("llmspell.tools")]``: a name that something is registered
    by in that entry-point group. Completion offers those names; any other is taken as well.
    """

    group: str


@dataclass(frozen=True, slots=True)
class Record:
    """A result table. With `text`, ``tostring`` and ``..`` give it."""

    fields: Mapping[str, Any]
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Items:
    """A result that is a sequence and a record: ``#r``, ``ipairs`` and ``pairs`` see the items
    only, the fields answer by name. With `text`, ``tostring`` and ``..`` give it.
    """

    items: Sequence[Any]
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    text: str | None = None


class Live(dict[str, Any]):
    """A dict that scripts see as a table and change in place."""


class Returns(tuple[Any, ...]):
    """Several return values: ``Returns((result, None))``."""

    __slots__ = ()


class ScriptFunction(ABC):
    """A function of the script. It runs on the script's own thread, never elsewhere."""

    @property
    @abstractmethod
    def where(self) -> str:
        """``file:line`` of its definition."""

    @abstractmethod
    async def __call__(self, *args: Any, context: ExecutionContext | None = None) -> Any:
        """Call it from the event loop, while the script waits; *context* is what its own
        effects belong to.

        Raises:
            ScriptError: when it raised.
        """

    @abstractmethod
    def call(self, *args: Any) -> Any:
        """Call it from an inline method, on the script's thread."""


class ScriptHost(ABC):
    """What a script global is constructed with."""

    @property
    @abstractmethod
    def services(self) -> Services:
        """The services of the kernel."""

    @property
    @abstractmethod
    def context(self) -> ExecutionContext:
        """The context of the execution in progress; ask anew at each call."""

    @abstractmethod
    def write(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        """Emit output of the script."""


@dataclass(frozen=True, slots=True)
class Source:
    """A script. `name` stands in messages; `path` is its file, if it has one.

    With `expression`, a bare expression is evaluated and returned (``exec``, notebooks).
    """

    text: str
    name: str
    path: str | None = None
    expression: bool = False


@dataclass(frozen=True, slots=True)
class ScriptArguments:
    """What the script finds in ``ARGS``: all values are text."""

    script: str = "<inline>"
    positional: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class ScriptResult:
    """What came of an execution. `exit_code` is set when the script called ``os.exit``."""

    value: Any
    duration_ms: float
    exit_code: int | None = None


Output = Callable[[Literal["stdout", "stderr"], str], None]
Input = Callable[[str], str | None]


class ScriptState(ABC):
    """A running interpreter with its globals: an actor whose one thread owns it for life."""

    @abstractmethod
    def submit(
        self, source: Source, context: ExecutionContext, arguments: ScriptArguments | None = None
    ) -> Any:
        """Queue an execution; returns a ``concurrent.futures.Future`` of `ScriptResult`.

        Its exceptions: `ScriptError`, `LLMTimeoutError` (the context's deadline),
        `ResourceLimitError` (memory), `ExecutionCancelled`.
        """

    @abstractmethod
    def close(self) -> None:
        """Interrupt what runs, end the thread, free the interpreter."""

    def complete(self, code: str, cursor: int, *, patience: float = 0.2) -> Completions:
        """What can stand at *cursor*, as `ScriptEngine.complete`, and what exists in this state.

        Nothing of the script runs for it: no function, no metamethod. Safe from any thread and
        while an execution runs. Waits at most *patience* seconds for the state to answer (never
        while nothing was executed yet), then answers without it; from an event loop call it in
        a thread.
        """
        return Completions((), cursor, cursor)

    def inspect(self, code: str, cursor: int, *, patience: float = 0.2) -> Documentation | None:
        """About the name at *cursor*, as `ScriptEngine.inspect`, or about its value in this
        state; waits as `complete` does.
        """
        return None


class ScriptEngine(ABC):
    """A script language. The entry-point group ``llmspell.engines`` holds classes of it, made
    with the `Services`; states read their limits from the configuration.

    What editors, notebooks and prompts ask is answered from the declarations of the globals and
    from the code itself, without a state and without running anything. Cursors are offsets in
    code points, from 0 to the length of the code; others are taken as the nearest of these.
    """

    language: str
    suffixes: tuple[str, ...]

    @abstractmethod
    def open_state(self, *, output: Output, input: Input | None = None) -> ScriptState:
        """A fresh state. *output* is called on the state's thread, line by line; *input* is
        asked with a prompt for a line, None means the end.
        """

    def complete(self, code: str, cursor: int) -> Completions:
        """What can stand at *cursor*."""
        return Completions((), cursor, cursor)

    def inspect(self, code: str, cursor: int) -> Documentation | None:
        """About the name that *cursor* stands in or behind; where there is none, about the
        function whose arguments it stands in.
        """
        return None

    def is_complete(self, code: str) -> Completeness:
        """Whether *code* can be run as it stands, as a program or as an expression."""
        return Completeness("unknown")


def camel(name: str) -> str:
    """``get_info`` → ``getInfo``."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def script_names(name: str, more: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Every name by which scripts reach a member: its own, *more*, each in snake_case and
    camelCase, the name to be shown first. A trailing underscore of a Python name is dropped.
    """
    found: list[str] = []
    for other in (name.rstrip("_"), *more):
        found += [other, camel(other)]
    return tuple(dict.fromkeys(found))


def twin_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the asynchronous twin of a member with these *names*."""
    found = [f"{name}_async" if name == name.lower() else f"{name}Async" for name in names]
    found += [camel(name) for name in found]
    for name in names:
        found += [f"{name}_async", f"{name}Async"]
    return tuple(dict.fromkeys(found))


@script_object("Promise")
class Promise:
    """What an asynchronous twin returns: a value that comes later.

    A field that a promise does not have is read from its value, which is waited for. Handlers
    run on the script's own thread, at the latest when it waits or ends.
    """

    @exposed(names=("and_then", "then"), native=True)
    def next(
        self, on_value: ScriptFunction | None = None, on_error: ScriptFunction | None = None
    ) -> Promise:
        """Call a function with the value, or the other with the message of the failure.

        Args:
            on_value: Called with the value; what it returns is the value of the new promise.
            on_error: Called with the message; what it returns is the value of the new promise.

        Returns:
            A promise of what the handler returns.
        """
        ...

    @exposed(native=True)
    def catch(self, on_error: ScriptFunction) -> Promise:
        """Call a function with the message of a failure; a value passes by.

        Args:
            on_error: Called with the message; what it returns is the value of the new promise.
        """
        ...

    @exposed(native=True)
    def finally_(self, function: ScriptFunction) -> Promise:
        """Call a function without arguments, whatever became of the call.

        Returns:
            A promise of the same outcome.
        """
        ...

    @exposed(native=True)
    def await_(self, timeout_ms: float | None = None) -> Returns:
        """Wait for the value.

        Args:
            timeout_ms: The longest to wait, in milliseconds; without it as long as the script
                may run.

        Returns:
            The value, or nil and the message of the failure (``Timeout error: …`` when it did
            not come in time).
        """
        ...

    @exposed(native=True)
    def status(self) -> Literal["pending", "fulfilled", "rejected"]:
        """What became of it so far."""
        ...

    @exposed(native=True)
    def is_done(self) -> bool:
        """Whether it has a value or failed."""
        ...
