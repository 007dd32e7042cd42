"""Where a run stands: its data, the results so far, and what a name means at this place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmspell_core import Live, ValidationError
from llmspell_workflows._interpolation import MISSING, Path, Reference, dig, interpolate
from llmspell_workflows._keys import key_part

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services, StateStore
    from llmspell_workflows._definitions import Options, Step
    from llmspell_workflows._results import StepResult
    from llmspell_workflows._view import StepView

SCOPES = frozenset({"global", "workflow", "agent", "tool", "session", "user", "tenant", "custom"})
RECORD_FIELDS = frozenset(
    {"name", "type", "success", "skipped", "error", "duration_ms", "retry_count"}
)


def optional_service(services: Services, name: str) -> Any:
    """The service, or None when nobody installed it."""
    made = services.peek(name)
    if made is None and services.plugins.find("llmspell.services", name) is not None:
        made = services.get(name)
    return made


class Run:
    """One execution of a workflow: what all its steps share.

    `shared` and `state` are tables that functions of the script change in place; `changed`
    names the shared keys that were set through the API and are yet to be stored.
    """

    def __init__(
        self,
        *,
        execution_id: str,
        workflow_id: str,
        name: str,
        kind: str,
        options: Options,
        inputs: Mapping[str, Any],
        input_text: str,
        shared: Mapping[str, Any],
        started: float,
    ) -> None:
        self.execution_id = execution_id
        self.workflow_id = workflow_id
        self.name = name
        self.kind = kind
        self.options = options
        self.inputs = inputs
        self.input_text = input_text
        self.shared = Live(shared)
        self.state = Live()
        self.started = started
        self.changed: set[str] = set()
        self.results: dict[str, StepResult] = {}
        self.agent_outputs: dict[str, Any] = {}
        self.executed = 0
        self.failed = 0
        self.skipped = 0
        self.optional_failures = 0
        self.current_step: str | None = None
        self.undo: list[tuple[Step, StepView, StepResult]] = []

    @property
    def input(self) -> Any:
        """The whole input: the table, or the text when there is none."""
        return self.inputs or self.input_text

    def count(self, result: StepResult) -> None:
        """Count a result."""
        if result.skipped:
            self.skipped += 1
            return
        self.executed += 1
        if not result.success:
            self.failed += 1
            if not result.required:
                self.optional_failures += 1


class Frame:
    """A place in a run. Names are looked up here first, then in the frame around it.

    Args:
        run: The run.
        context: What effects at this place belong to.
        parent: The frame around this one.
        loop: The loop's variables, in a loop.
        place: The part of state keys that tells this place: ``branch_x:``, ``iteration_3:``.
        branch: The branch, in one.
        book: Where the results of the run are kept in order; None is that of the frame around.
    """

    __slots__ = (
        "book",
        "branch",
        "context",
        "iterations",
        "loop",
        "parent",
        "place",
        "previous",
        "results",
        "run",
        "step",
    )

    def __init__(
        self,
        run: Run,
        context: ExecutionContext,
        *,
        parent: Frame | None = None,
        loop: Mapping[str, Any] | None = None,
        place: str = "",
        branch: str | None = None,
        book: dict[str, StepResult] | None = None,
    ) -> None:
        self.run = run
        self.context = context
        self.parent = parent
        self.loop: Mapping[str, Any] = loop if loop is not None else (parent.loop if parent else {})
        self.place = place
        self.branch = branch
        around = run.results if parent is None else parent.book
        self.book = around if book is None else book
        self.step = ""
        self.previous: Any = parent.previous if parent else None
        self.iterations: list[Any] = parent.iterations if parent else []
        self.results: dict[str, StepResult] = {}

    def at(self, context: ExecutionContext, step: str) -> Frame:
        """This place with the context of one step; results are shared."""
        inner = object.__new__(Frame)
        for slot in Frame.__slots__:
            setattr(inner, slot, getattr(self, slot))
        inner.context = context
        inner.step = step
        return inner

    def leave(self) -> None:
        """Make the results of this frame visible in the one around it."""
        if self.parent is not None:
            self.parent.results.update(self.results)
            self.parent.previous = self.previous

    def keep(self, result: StepResult) -> None:
        """Add a result of this place."""
        self.results[result.name] = result
        if result.success and not result.skipped:
            self.previous = result.output
        self.enter(result)
        self.run.count(result)

    def enter(self, result: StepResult) -> None:
        """Keep it for the run's result; of a step that runs again only the last is kept, two
        branches that use one name are told apart.
        """
        key = result.name
        known = self.book.get(key)
        if known is not None and known.branch != result.branch:
            key = f"{result.branch}.{result.name}"
        self.book[key] = result

    def result(self, step: str) -> StepResult | None:
        """The latest result of a step that is visible here."""
        frame: Frame | None = self
        while frame is not None:
            if step in frame.results:
                return frame.results[step]
            frame = frame.parent
        return None

    def visible(self) -> dict[str, StepResult]:
        """All results that are visible here."""
        found = {} if self.parent is None else self.parent.visible()
        found.update(self.results)
        return found

    def view(self) -> StepView:
        """What functions are called with."""
        from llmspell_workflows._view import StepView

        return StepView(self)

    async def filled(self, value: Any, variables: Mapping[str, Any] | None = None) -> Any:
        """*value* with its placeholders replaced; *variables* win over all other names."""
        if not variables:
            return await interpolate(value, self.resolve)

        async def resolve(reference: Reference) -> Any:
            if reference.root == "name" and reference.head in variables:
                return dig(variables[reference.head], reference.path[1:])
            return await self.resolve(reference)

        return await interpolate(value, resolve)

    async def resolve(self, reference: Reference) -> Any:
        """What *reference* names here, or `MISSING`."""
        path = reference.path
        if reference.root == "shared":
            return dig(await self.shared(str(path[0])), path[1:])
        if reference.root == "state":
            return await self._state(path)
        return self.peek(reference)

    def peek(self, reference: Reference) -> Any:
        """As `resolve`, for what is known without asking the state store."""
        path = reference.path
        match reference.root:
            case "name":
                return self._named(str(path[0]), path[1:])
            case "input":
                return self._input(path)
            case "step":
                return self._step(str(path[0]), path[1:])
            case "loop":
                return dig(self.loop, path)
            case "previous":
                inner = path[1:] if path and path[0] in ("output", "result") else path
                return dig(self.previous, inner)
            case _:
                return MISSING

    def _named(self, head: str, rest: Path) -> Any:
        run = self.run
        for table in (self.loop, run.shared, run.inputs):
            if head in table:
                found = dig(table[head], rest)
                if found is not MISSING:
                    return found
        found = self._step(head, rest)
        if found is MISSING and head in run.options.variables:
            found = dig(run.options.variables[head], rest)
        return self._generated(head, rest) if found is MISSING else found

    def _generated(self, head: str, rest: Path) -> Any:
        if head in ("step_output", "previous_output"):
            return dig(self.previous, rest)
        if head == "previous_outputs":
            return dig({n: r.output for n, r in self.visible().items()}, rest)
        if head.endswith("_output"):
            found = self._step(head.removesuffix("_output"), rest)
            if found is not MISSING:
                return found
        if rest:
            return MISSING
        match head:
            case "execution_id":
                return self.run.execution_id
            case "workflow_id":
                return self.run.workflow_id
            case "workflow_name":
                return self.run.name
            case "uuid":
                return self.context.new_id()
            case "timestamp":
                return timestamp(self.context.now())
            case "random":
                from random import random

                return self.context.observe("random", None, random)
            case _:
                return MISSING

    def _input(self, path: Path) -> Any:
        if not path:
            return self.run.input
        found = dig(self.run.inputs, path)
        if found is MISSING and path in (("text",), ("prompt",)):
            return self.run.input_text
        return found

    def _step(self, name: str, rest: Path) -> Any:
        result = self.result(name)
        if result is None:
            return MISSING
        if not rest or rest == ("output",) or rest == ("result",):
            return result.output
        first = rest[0]
        if first == "failed":
            return not result.success
        fields = result.to_fields()
        if first in RECORD_FIELDS:
            return dig(fields, rest)
        found = dig(result.output, rest[1:] if first in ("output", "result") else rest)
        return dig(fields, rest) if found is MISSING else found

    async def shared(self, key: str) -> Any:
        """Shared data: of this run, else what state holds for the workflow or for all."""
        if key in self.loop:
            return self.loop[key]
        if key in self.run.shared:
            return self.run.shared[key]
        state = self._store()
        if state is None:
            return MISSING
        for scope, name in (
            ("workflow", f"{self.run.workflow_id}:shared:{key_part(key)}"),
            ("shared", key_part(key)),
            ("global", key_part(key)),
        ):
            found = await state.get(scope, name, self.context)
            if found is not None:
                return found
        return MISSING

    async def _state(self, path: Path) -> Any:
        state = self._store()
        if state is None or not path:
            return MISSING
        key = str(path[0])
        found = await self._read(state, key)
        if found is not None:
            return dig(found, path[1:])
        if len(path) > 1:
            found = await self._read(state, ".".join(str(part) for part in path))
        return MISSING if found is None else found

    async def _read(self, state: StateStore, key: str) -> Any:
        scope, colon, name = key.partition(":")
        if not colon or not name or scope.lower() not in SCOPES:
            scope, name = "global", key
        try:
            return await state.get(scope.lower(), name, self.context)
        except ValidationError:
            return None  # no key could be called that

    def _store(self) -> StateStore | None:
        return optional_service(self.context.services, "state")


def timestamp(seconds: float) -> str:
    """Unix seconds as RFC 3339 in UTC, to the millisecond."""
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
