"""The portal: the one place where a script's thread waits for the event loop.

Script code runs in tasks (Lua coroutines). A call that has to wait starts its Python coroutine on
the loop and hands Lua a token; the task yields, and the thread serves its inbox: calls that came
back, callbacks that the loop wants to run, the cancel signal. So callbacks run on the script's own
thread, each in a task of its own, and tasks that wait do so beside each other.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from llmspell_core import (
    IO_LOOP,
    ExecutionCancelled,
    ExecutionContext,
    LLMSpellError,
    ResourceLimitError,
)

if TYPE_CHECKING:
    import asyncio

Values = tuple[Any, ...]

CALLING: ContextVar[ExecutionContext] = ContextVar("llmspell_bridge.calling")
"""On the event loop: the context of the task of a script that made the call in progress."""

MOST_CALLS = 10_000
"""Calls of a state that wait for the loop."""
MOST_TASKS = 4_000
"""Callbacks of a state that have begun and not ended."""

DONE, WAITS, FAILED = 0, 1, 2
"""What became of a step, see ``lua/core.lua``."""


class Run:
    """What tasks belong to: an execution. `fatal` ends all of them, past any pcall."""

    def __init__(self, context: ExecutionContext) -> None:
        self.context = context
        self.fatal: BaseException | None = None
        self.open: set[Pending] = set()
        """Promises not yet settled."""
        self.jobs = 0
        """Promise handlers not yet finished."""
        self.exit_code: int | None = None
        """With which code the program should end, if the script goes to its end."""


class Task:
    """A coroutine of ours. `deliver` gets its outcome, `fatal` ends it alone."""

    __slots__ = ("address", "context", "deliver", "fatal", "number", "run", "waits")

    def __init__(
        self, run: Run, context: ExecutionContext, deliver: Callable[[Any, Any], None]
    ) -> None:
        self.run = run
        self.context = context
        self.deliver = deliver
        self.fatal: BaseException | None = None
        self.number = 0
        self.address = 0
        self.waits: Pending | None = None

    @property
    def doom(self) -> BaseException | None:
        """Why it must end, if it must."""
        return self.fatal or self.run.fatal


class Pending:
    """A call that Lua waits for, or a wait of Lua's own (`future` is None)."""

    __slots__ = (
        "abandoned", "error", "finish", "future", "landed", "local", "promise", "run", "task",
        "token", "value",
    )  # fmt: skip

    def __init__(self, token: int, task: Task, finish: Callable[[Any, Any], Values]) -> None:
        self.token = token
        self.task = task
        self.run = task.run
        self.finish = finish
        self.future: asyncio.Task[Any] | None = None
        self.local = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.landed = False
        self.promise = False
        self.abandoned = False


class Callback:
    """A function of the script that the loop wants to call."""

    __slots__ = ("args", "context", "function", "future", "loop", "task")

    def __init__(
        self,
        function: int,
        args: Values,
        context: ExecutionContext | None,
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[Any],
    ) -> None:
        self.function = function
        self.args = args
        self.context = context
        self.loop = loop
        self.future = future
        self.task: Task | None = None

    def settle(self, value: Any, error: Any) -> None:
        """Hand the outcome to the loop."""

        def put() -> None:
            if self.future.done():
                return
            if error is None:
                self.future.set_result(value)
            else:
                self.future.set_exception(error)

        try:
            self.loop.call_soon_threadsafe(put)
        except RuntimeError:  # that loop was closed: nobody waits any more
            return


class _Job:
    """A promise's handler that runs as a task."""

    __slots__ = ("_portal", "_run", "waits")

    def __init__(self, portal: Portal, run: Run) -> None:
        self._portal = portal
        self._run = run
        self.waits = False

    def over(self, _value: Any, _error: Any) -> None:
        """It ended; if it had to wait, nobody else looks for the handlers that are due now."""
        self._run.jobs -= 1
        if self.waits:
            self._portal.run_jobs(self._run)


def _too_many(what: str, limit: int) -> ResourceLimitError:
    return ResourceLimitError(
        what, limit=limit, used=limit, hint="Wait for some of them before starting more."
    )


class Portal:
    """The scheduler of one script state. All but `post` and `stop` is for the script's thread.

    Args:
        idle_context: The context of callbacks that come between executions.
        failed: Turns a Lua message and traceback into the exception of a task.
        convert: Turns the raw result of a task into its value.
        push: Turns a value into what is handed to Lua.
        room: None when the heap has room for small values, else the error to report.
        calm: Called when a task that had to end has ended.
    """

    def __init__(
        self,
        *,
        idle_context: Callable[[], ExecutionContext],
        failed: Callable[[Task, str, str], BaseException],
        convert: Callable[[Any], Any],
        push: Callable[[Any], Any],
        room: Callable[[], LLMSpellError | None],
        calm: Callable[[], None],
    ) -> None:
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self.current: Task | None = None
        self.run: Run | None = None
        self._idle_context = idle_context
        self._failed = failed
        self._convert = convert
        self._push = push
        self._room = room
        self._calm = calm
        self._tasks: dict[int, Task] = {}
        self._pending: dict[int, Pending] = {}
        self._next_token = 0
        self._lua: Any = None

    def attach(self, lua: Any) -> None:
        """The functions of ``lua/core.lua``; None when the state closes."""
        self._lua = lua

    # Starting and resuming tasks ----------------------------------------------------------------

    def begin(self, task: Task, spawn: Callable[..., Values], *args: Any) -> None:
        """Run a new task until it ends or waits."""
        before = self.current
        self.current = task
        try:
            number, address, *outcome = spawn(*args)
            task.number, task.address = number, int(address, 16)
            self._tasks[number] = task
        finally:
            self.current = before
        self._after(task, outcome)

    def _step(self, task: Task, values: Values) -> None:
        before = self.current
        self.current = task
        try:
            outcome = self._lua.step(task.number, *values)
        finally:
            self.current = before
        self._after(task, outcome)

    def _after(self, task: Task, outcome: Any) -> None:
        status = outcome[0]
        if status == WAITS:
            pending = self._pending[outcome[1]]
            pending.task = task
            task.waits = pending
            if pending.landed:
                self._resume(pending)
            elif task.doom is not None:
                self._abort(pending)
            return
        self._tasks.pop(task.number, None)
        if task.doom is not None:
            self._calm()
        if status == DONE:
            if task.doom is not None:
                task.deliver(None, task.doom)
                return
            try:
                value = self._convert(outcome[1])
            except Exception as error:
                task.deliver(None, error)
                return
            task.deliver(value, None)
            return
        message: bytes = outcome[1]
        stack: Any = outcome[2] or b""
        task.deliver(
            None,
            self._failed(
                task, message.decode("utf-8", "replace"), stack.decode("utf-8", "replace")
            ),
        )

    # Waiting ------------------------------------------------------------------------------------

    def _token(self, finish: Callable[[Any, Any], Values]) -> Pending:
        self._next_token += 1
        assert self.current is not None
        pending = Pending(self._next_token, self.current, finish)
        self._pending[pending.token] = pending
        return pending

    def start(
        self, coroutine: Coroutine[Any, Any, Any], finish: Callable[[Any, Any], Values]
    ) -> int | Values:
        """Run *coroutine* on the loop; *finish* makes of its result or error what Lua gets: at
        once, where too many calls are in progress already.
        """
        if len(self._pending) >= MOST_CALLS:
            coroutine.close()
            return finish(None, _too_many("calls in progress", MOST_CALLS))
        pending = self._token(finish)
        calling = pending.task.context
        IO_LOOP.loop().call_soon_threadsafe(self._launch, pending, coroutine, calling)
        return pending.token

    def _launch(
        self, pending: Pending, coroutine: Coroutine[Any, Any, Any], calling: ExecutionContext
    ) -> None:
        # The script's thread has gone on by now, maybe with another task.
        around = copy_context()
        around.run(CALLING.set, calling)
        task = IO_LOOP.loop().create_task(coroutine, context=around)
        pending.future = task
        task.add_done_callback(lambda done: self._land(pending, done))
        if pending.abandoned:
            task.cancel()

    def _land(self, pending: Pending, done: asyncio.Task[Any]) -> None:
        if done.cancelled():
            pending.error = ExecutionCancelled("the call was cancelled")
        else:
            pending.error = done.exception()
            if pending.error is None:
                pending.value = done.result()
        self.inbox.put(pending)

    def local(self, timeout_seconds: float | None) -> int:
        """A token that `wake` settles, or the time-out."""
        pending = self._token(lambda _value, _error: (True,))
        pending.local = True
        if timeout_seconds is not None:
            loop = IO_LOOP.loop()
            loop.call_soon_threadsafe(loop.call_later, timeout_seconds, self.inbox.put, pending)
        return pending.token

    def wake(self, token: int) -> None:
        """Settle a local token."""
        pending = self._pending.get(token)
        if pending is not None:
            self.inbox.put(pending)

    def promise(self, token: int) -> None:
        """Nobody waits for this call; its outcome settles a promise."""
        pending = self._pending[token]
        pending.promise = True
        pending.run.open.add(pending)

    def block(self, token: int) -> Values:
        """Wait in place, serving the inbox meanwhile: where Lua cannot yield."""
        pending = self._pending[token]
        task = self.current
        assert task is not None
        pending.task = task
        while not pending.landed:
            if task.doom is not None and pending.local:
                break
            self.serve(self.inbox.get())
        self._pending.pop(token, None)
        return self._values(pending)

    def call_now(self, task: Task, spawn: Callable[..., Values], *args: Any) -> tuple[Any, Any]:
        """Run a new task to its end in place; returns its value and error."""
        outcome: list[tuple[Any, Any]] = []

        def deliver(value: Any, error: Any) -> None:
            outcome.append((value, error))

        task.deliver = deliver
        self.begin(task, spawn, *args)
        while not outcome:
            self.serve(self.inbox.get())
        return outcome[0]

    def _values(self, pending: Pending) -> Values:
        task = pending.task
        if task.doom is None:
            full = self._room()
            if full is not None:
                task.run.fatal = full
        if task.doom is not None:
            return (None,)
        return pending.finish(pending.value, pending.error)

    def _resume(self, pending: Pending) -> None:
        task = pending.task
        self._pending.pop(pending.token, None)
        task.waits = None
        before = self.current
        self.current = task
        try:
            values = self._values(pending)
        finally:
            self.current = before
        self._step(task, values)

    # Serving ------------------------------------------------------------------------------------

    def serve(self, item: Any) -> None:
        """Do what the inbox item asks for."""
        if type(item) is Pending:
            self._landed(item)
        elif type(item) is Callback:
            self._callback(item)
        elif callable(item):
            item()

    def _landed(self, pending: Pending) -> None:
        if pending.landed:
            return
        pending.landed = True
        if pending.promise:
            self._pending.pop(pending.token, None)
            pending.run.open.discard(pending)
            before = self.current
            self.current = pending.task
            try:
                self._lua.settle(pending.token, *pending.finish(pending.value, pending.error))
            finally:
                self.current = before
            self.run_jobs(pending.run)
        elif pending.task.waits is pending:
            self._resume(pending)

    def run_jobs(self, run: Run) -> None:
        """Run the promise handlers that are due, each as a task."""
        while True:
            job = _Job(self, run)
            task = Task(run, run.context, job.over)
            before = self.current
            self.current = task
            try:
                found = self._lua.next_job()
            finally:
                self.current = before
            if found is None:
                return
            number, address, *outcome = found
            task.number, task.address = number, int(address, 16)
            self._tasks[number] = task
            run.jobs += 1
            self._after(task, outcome)
            job.waits = True

    def _callback(self, item: Callback) -> None:
        if item.future.done():
            return
        run = self.run
        if run is None:
            run = Run(item.context or self._idle_context())
        task = Task(run, item.context or run.context, item.settle)
        item.task = task
        try:
            full = self._room()
            if full is None and len(self._tasks) >= MOST_TASKS:
                full = _too_many("callbacks in progress", MOST_TASKS)
            if full is not None:
                raise full
            args = [self._push(value) for value in item.args]
        except Exception as error:
            item.settle(None, error)
            return
        self.begin(task, self._lua.spawn_function, item.function, *args)

    # Ending -------------------------------------------------------------------------------------

    def _abort(self, pending: Pending) -> None:
        """Cancel what a doomed task waits for; it goes on, and dies, when that has ended."""
        pending.abandoned = True
        if pending.future is not None:
            IO_LOOP.loop().call_soon_threadsafe(pending.future.cancel)
        elif pending.local:
            self._landed(pending)

    def end(self, task: Task) -> None:
        """End what *task* waits for, since it must end."""
        if task.waits is not None:
            self._abort(task.waits)
            return
        for pending in list(self._pending.values()):
            if pending.task is task and not pending.landed:
                self._abort(pending)

    def doom(self, *, by_force: bool = False) -> None:
        """Look for tasks that must end and end their waits; *by_force* without their consent."""
        for task in list(self._tasks.values()):
            pending = task.waits
            if pending is None or task.doom is None:
                continue
            if by_force:
                pending.landed = True
                self._resume(pending)
            else:
                self._abort(pending)
        for pending in list(self._pending.values()):
            if pending.task.doom is not None and not pending.landed:
                pending.abandoned = True
                if pending.future is not None:
                    IO_LOOP.loop().call_soon_threadsafe(pending.future.cancel)
                if by_force:
                    pending.landed = True

    def drop(self, run: Run) -> None:
        """Cancel the promises of a run that failed."""
        for pending in list(run.open):
            pending.abandoned = True
            if pending.future is not None:
                IO_LOOP.loop().call_soon_threadsafe(pending.future.cancel)
            self._pending.pop(pending.token, None)
        run.open.clear()
