"""A Lua interpreter with its globals: an actor, one thread for life."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmspell_bridge._errors import script_error
from llmspell_bridge._execution import Between, Execution, script_seconds, timed_out
from llmspell_bridge._host import LuaHost
from llmspell_bridge._input import ScriptInput
from llmspell_bridge._interrupt import Interrupter, Watch
from llmspell_bridge._output import LineOutput
from llmspell_bridge._portal import CALLING, Callback, Portal, Run, Task
from llmspell_bridge._sandbox import Sandbox
from llmspell_bridge._source import chunk_name, prepare
from llmspell_core import (
    ExecutionCancelled,
    ExecutionContext,
    LLMSpellError,
    LLMTimeoutError,
    ScriptArguments,
    ScriptError,
    ScriptExit,
    ScriptResult,
    ScriptState,
    Source,
)

if TYPE_CHECKING:
    from llmspell_bridge._config import Limits
    from llmspell_bridge._editor import Editor
    from llmspell_bridge._interpreter import Interpreter
    from llmspell_core import Completions, Documentation, Input, Output, Services

_FORCE_AFTER = 1.0
"""Seconds that an awaited coroutine has to end after it was cancelled."""
_ABANDON_AFTER = 2.0
"""Seconds after which a state that does not react (a C function, a blocked call) is given up."""
_GIVEN_UP = "had to be abandoned; open another"
_STACK_BYTES = 16 * 1024 * 1024
_stack_lock = threading.Lock()


class LuaState(ScriptState):
    """One Lua interpreter, its thread, its inbox.

    Args:
        services: For the globals.
        module: The lupa module to use.
        limits: What scripts may use.
        language: The engine's name, for errors.
        editor: Gives what answers `complete` and `inspect`.
        output: Called on the state's thread.
        input: Asked for lines.
    """

    def __init__(
        self,
        services: Services,
        module: Any,
        limits: Limits,
        *,
        language: str,
        editor: Callable[[], Editor],
        output: Output,
        input: Input | None = None,
    ) -> None:
        self.services = services
        self.module = module
        self.language = language
        self._editor = editor
        self.limits = limits
        self.output = LineOutput(output)
        self.host = LuaHost(self)
        self.input = ScriptInput(input, self.context, self.doomed, limits.memory_bytes)
        self.sandbox = Sandbox(
            services,
            self.context,
            spawn=limits.spawn,
            most_output=limits.memory_bytes,
            output=self.output,
            input=self.input,
            ending=self.doomed,
        )
        self.interrupter = Interrupter(module)
        self.portal = Portal(
            idle_context=self._idle_context,
            failed=self._failed,
            convert=self._converted,
            push=self._pushed,
            room=self._room,
            calm=self.interrupter.disarm,
        )
        self.failures: deque[tuple[str, Exception]] = deque(maxlen=16)
        """What host calls raised lately: the causes of Lua errors."""
        self.interpreter: Interpreter | None = None
        self._watch = Watch(self._strike)
        self._between = Between(limits.timeout_seconds or script_seconds(services.config))
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._backlog: deque[Execution] = deque()
        self._held: dict[int, int] = {}
        self._released: deque[int] = deque()
        self._last_context: ExecutionContext | None = None
        self._closed = False
        self._abandoned = False
        self._broken: BaseException | None = None

    # The outer face -----------------------------------------------------------------------------

    def submit(
        self, source: Source, context: ExecutionContext, arguments: ScriptArguments | None = None
    ) -> Future[ScriptResult]:
        """Queue an execution."""
        execution = Execution(source, context, arguments)
        with self._lock:
            if self._broken is not None:
                execution.future.set_exception(self._broken)
                return execution.future
            if self._closed or self._abandoned:
                why = "was closed" if self._closed else _GIVEN_UP
                execution.future.set_exception(
                    ScriptError(f"the script's state {why}", language=self.language)
                )
                return execution.future
            if self._thread is None:
                self._start()
        self.portal.inbox.put(execution)
        return execution.future

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._live, name="llmspell-lua", daemon=True)
        with _stack_lock:
            # Lua → Python → Lua needs more C stack than some platforms give a thread.
            before = threading.stack_size(_STACK_BYTES)
            try:
                self._thread.start()
            finally:
                threading.stack_size(before)

    def close(self) -> None:
        """Interrupt what runs, end the thread, free the interpreter."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            thread = self._thread
        if thread is None:
            return
        run = self.portal.run
        reason = ExecutionCancelled("the state was closed")
        if isinstance(run, Execution):
            self.kill(run, reason)
        else:
            self._between.reason = reason
            self._watch.now()
        self.portal.inbox.put(_nothing)
        if thread is not threading.current_thread():
            thread.join(_ABANDON_AFTER + 1.0)
        self._watch.close()

    def complete(self, code: str, cursor: int, *, patience: float = 0.2) -> Completions:
        """From the declarations, the code and what exists in this state."""
        from llmspell_bridge._peek import Peek

        peek = Peek(self, self._editor(), patience)
        found = peek.editor.complete(code, cursor, peek.live)
        return replace(found, live=peek.answered)

    def inspect(self, code: str, cursor: int, *, patience: float = 0.2) -> Documentation | None:
        """From the same."""
        from llmspell_bridge._peek import Peek

        peek = Peek(self, self._editor(), patience)
        return peek.editor.inspect(code, cursor, peek.live)

    def run_between(self, item: Callable[[], None]) -> bool:
        """Have the state's thread do something that does not raise, between two steps of the
        script; False where there is no thread.
        """
        if self._thread is None or self._closed or self._abandoned:
            return False
        if threading.current_thread() is self._thread:
            item()
        else:
            self.portal.inbox.put(item)
        return True

    def post(self, item: Callback) -> None:
        """A callback for the script's thread; from any thread."""
        if self._closed or self._abandoned or self._thread is None:
            item.settle(None, ScriptError("the script's state was closed", language=self.language))
        else:
            self.portal.inbox.put(item)

    @property
    def run_context(self) -> ExecutionContext | None:
        """The context of the execution in progress."""
        run = self.portal.run
        return None if run is None else run.context

    # Killing ------------------------------------------------------------------------------------

    def kill(self, execution: Execution, reason: BaseException) -> None:
        """End an execution; from any thread. The first reason stays."""
        if execution.fatal is None:
            execution.fatal = reason
        self._watch.now()

    def abort(self, item: Callback, reason: BaseException) -> None:
        """End a callback; from the loop's thread."""
        if item.future.done() and not item.future.cancelled():
            return

        def look() -> None:
            if item.task is not None:
                if item.task.fatal is None:
                    item.task.fatal = reason
                self.portal.end(item.task)

        task = item.task
        if task is not None:
            if task.fatal is None:
                task.fatal = reason
            if self.portal.current is task:
                self._insist(task)
        elif not item.future.done():
            item.future.set_exception(reason)
        self.portal.inbox.put(look)

    def _insist(self, task: Task) -> None:
        """Arm a callback's coroutines until it has ended."""

        def insist() -> None:
            for _ in range(int(_ABANDON_AFTER * 1000)):
                if self.portal.current is not task:
                    return
                self.arm_running(task)
                time.sleep(0.001)

        threading.Thread(target=insist, name="llmspell-insist", daemon=True).start()

    def _strike(self, number: int) -> bool:
        """On the watch's thread: the deadline came or somebody cancelled."""
        execution = self.portal.run
        if execution is None:
            return self._strike_between()
        if not isinstance(execution, Execution) or execution.ended:
            return False
        now = time.monotonic()
        if execution.doomed_at is None:
            execution.doomed_at = now
            if execution.fatal is None:
                execution.fatal = timed_out(execution.context)
            self.portal.inbox.put(self.portal.doom)
        task = self.portal.current
        if task is not None:
            self.arm_running(task)
        since = now - execution.doomed_at
        if since > _ABANDON_AFTER:
            self._abandon(execution)
            return False
        if since > _FORCE_AFTER and number % 20 == 0:
            self.portal.inbox.put(lambda: self.portal.doom(by_force=True))
        return True

    def _strike_between(self) -> bool:
        """The same for a callback between two executions."""
        between, task = self._between, self.portal.current
        if task is None:
            return True
        if task.fatal is None:
            task.fatal = between.over()
        self.arm_running(task)
        if time.monotonic() - between.doomed_at > _ABANDON_AFTER:
            self._give_up()
            task.deliver(None, task.fatal)
            return False
        return True

    def arm_running(self, task: Task) -> None:
        """Interrupt *task* and the coroutine of the script's own that runs in it."""
        self.interrupter.strike(task.address, lambda: self.portal.current is task)

    def dying(self, address: bytes) -> bool:
        """Lua asks whether its task must end; if so its coroutine is armed."""
        if not self.doomed():
            return False
        self.interrupter.arm(int(address, 16))
        return True

    def doomed(self) -> bool:
        """Whether the task that runs must end."""
        task = self.portal.current
        if task is not None and task.doom is not None:
            return True
        self.interrupter.disarm()
        return False

    def _give_up(self) -> None:
        """Nothing more is done on the state's thread, which may never come back."""
        with self._lock:
            self._abandoned = True
        self._refuse(ScriptError(f"the script's state {_GIVEN_UP}", language=self.language))

    def _abandon(self, execution: Execution) -> None:
        self._give_up()
        reason = execution.fatal
        note = (
            f"The script did not react within {_ABANDON_AFTER:g}s (it is inside a function of the "
            "host that does not return); its state was abandoned."
        )
        if isinstance(reason, LLMTimeoutError):
            reason.hint = note
        elif reason is not None:
            reason.add_note(note)
        self.output.flush()
        execution.settle(None, reason)

    # The thread ---------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            from llmspell_bridge._interpreter import Interpreter

            self.interpreter = Interpreter(self)
        except BaseException as error:
            self._fail_all(error)
            return
        try:
            while not self._closed and not self._abandoned:
                item = self._backlog.popleft() if self._backlog else self.portal.inbox.get()
                if isinstance(item, Execution):
                    self._execute(item)
                else:
                    self._serve(item)
        finally:
            self._end()

    def _serve(self, item: Any) -> None:
        if isinstance(item, Execution):
            self._backlog.append(item)
        elif self.portal.run is None:
            self._watch.until(self._between.begin())
            try:
                self.portal.serve(item)
            finally:
                self._watch.rest()
        else:
            self.portal.serve(item)
        if self._released:
            self._forget_released()

    def _fail_all(self, error: BaseException) -> None:
        with self._lock:
            self._broken = error
        self._refuse(error)

    def _refuse(self, error: BaseException) -> None:
        while not self.portal.inbox.empty():
            item = self.portal.inbox.get()
            if isinstance(item, Execution | Callback):
                item.settle(None, error)

    def _end(self) -> None:
        closed = ScriptError("the script's state was closed", language=self.language)
        while self._backlog:
            self._backlog.popleft().settle(None, closed)
        self._refuse(closed)
        interpreter, self.interpreter = self.interpreter, None
        self.interrupter.detach()
        self.input.close()
        self.portal.attach(None)
        if interpreter is not None:
            interpreter.close()

    def _execute(self, execution: Execution) -> None:
        if not execution.future.set_running_or_notify_cancel():
            return
        started = time.perf_counter()
        context = execution.context
        self.portal.run = execution
        self._last_context = context
        self.failures.clear()
        unlink = context.cancel.subscribe(
            lambda reason: self.kill(execution, _cancelled(context, reason))
        )
        error: BaseException | None = None
        try:
            self._watch.until(self._deadline(context))
            if execution.fatal is not None:
                raise execution.fatal
            context.check()
            self._run(execution)
            error = execution.error
        except BaseException as raised:
            error = raised
        finally:
            execution.ended = True
            unlink()
            self._watch.rest()
        self._conclude(execution, error, started)

    def _deadline(self, context: ExecutionContext) -> float | None:
        if context.deadline.at is not None:
            return context.deadline.at
        seconds = self.limits.timeout_seconds
        return None if seconds is None else time.monotonic() + seconds

    def _run(self, execution: Execution) -> None:
        interpreter = self.interpreter
        assert interpreter is not None
        source = execution.source
        self.sandbox.enter(source.path)
        text = prepare(source.text, source.name)
        interpreter.begin(execution.context, execution.arguments)
        interpreter.load(text, chunk_name(source), source.expression)
        main = Task(execution, execution.context, execution.main_over)
        self.portal.begin(main, interpreter.spawn_main)
        portal = self.portal
        while not execution.over:
            self._wait(execution)
        if execution.error is not None:
            if execution.fatal is None:
                execution.fatal = execution.error
            portal.drop(execution)
            portal.doom()
            return
        portal.run_jobs(execution)
        while execution.open or execution.jobs:
            if execution.fatal is not None:
                execution.error = execution.fatal
                portal.drop(execution)
                return
            self._wait(execution)

    def _wait(self, execution: Execution) -> None:
        self._serve(self.portal.inbox.get())

    def _conclude(self, execution: Execution, error: BaseException | None, started: float) -> None:
        interpreter = self.interpreter
        assert interpreter is not None
        exit_code = execution.exit_code
        if execution.fatal is not None:
            error = execution.fatal
        if isinstance(error, ScriptExit):
            exit_code, error, execution.value = error.exit_code, None, None
        try:
            self.output.flush()
        except Exception as raised:
            error = error or raised
        mismatch = getattr(execution.context.effects, "mismatch", None)
        if mismatch is not None:
            error = mismatch
        self.portal.run = None
        self.interrupter.disarm()
        if not self._abandoned:
            interpreter.collect()
            self._forget_released()
        if isinstance(error, self.module.LuaMemoryError):
            error = script_error(
                "not enough memory", "", None, self.limits.memory_bytes, self.language
            )
        took = (time.perf_counter() - started) * 1000
        self.failures.clear()
        execution.settle(ScriptResult(execution.value, took, exit_code), error)

    # For the portal and the interpreter ---------------------------------------------------------

    def context(self) -> ExecutionContext:
        """On the event loop that of the task that made the call; on the script's thread that of
        the task that runs, else of the execution.
        """
        calling = CALLING.get(None)
        if calling is not None and threading.current_thread() is not self._thread:
            return calling
        task = self.portal.current
        if task is not None:
            return task.context
        run = self.portal.run
        return self._idle_context() if run is None else run.context

    def _idle_context(self) -> ExecutionContext:
        last = self._last_context
        if last is None or last.cancel.reason is not None or last.deadline.passed:
            return ExecutionContext(self.services)
        return last

    def _failed(self, task: Task, message: str, traceback: str) -> BaseException:
        doom = task.doom
        if doom is not None:
            return doom
        cause = next(
            (error for text, error in reversed(self.failures) if text and message.endswith(text)),
            None,
        )
        return script_error(message, traceback, cause, self.limits.memory_bytes, self.language)

    def _converted(self, raw: Any) -> Any:
        assert self.interpreter is not None
        return self.interpreter.converter.value(raw)

    def _pushed(self, value: Any) -> Any:
        assert self.interpreter is not None
        return self.interpreter.converter.push(value)

    def _room(self) -> LLMSpellError | None:
        assert self.interpreter is not None
        return self.interpreter.converter.room()

    def call_now(self, identity: int, args: tuple[Any, ...]) -> Any:
        """Call a function of the script in place; on the script's thread."""
        interpreter = self.interpreter
        if interpreter is None or threading.current_thread() is not self._thread:
            raise ScriptError(
                "a script's function was called outside its thread", language=self.language
            )
        current = self.portal.current
        run = self.portal.run or (Run(self._idle_context()) if current is None else current.run)
        task = Task(run, self.context(), _ignore)
        value, error = self.portal.call_now(
            task, interpreter.spawn_function, identity, *(self._pushed(a) for a in args)
        )
        if error is not None:
            raise error
        return value

    def hold(self, identity: int) -> None:
        """Python has one more reference to the function; on the script's thread."""
        self._held[identity] = self._held.get(identity, 0) + 1

    def let_go(self, identity: int) -> None:
        """Python has one reference less; from any thread, within a garbage collection too."""
        self._released.append(identity)

    def _forget_released(self) -> None:
        interpreter = self.interpreter
        while self._released and interpreter is not None:
            identity = self._released.popleft()
            left = self._held.get(identity, 1) - 1
            if left > 0:
                self._held[identity] = left
            else:
                self._held.pop(identity, None)
                interpreter.release(identity)


def _nothing() -> None:
    """Wakes the thread."""


def _ignore(_value: Any, _error: Any) -> None:
    """Replaced before it is called."""


def _cancelled(context: ExecutionContext, reason: str) -> BaseException:
    mismatch = getattr(context.effects, "mismatch", None)
    return mismatch if mismatch is not None else ExecutionCancelled(reason)
