"""`Kernel`: runs scripts, records them, runs them again."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from llmspell_core import (
    ComponentError,
    Config,
    Deadline,
    ExecutionCancelled,
    ExecutionContext,
    LLMSpellError,
    NotFoundError,
    Recording,
    RunRecord,
    RunStatus,
    ScriptArguments,
    ScriptResult,
    Services,
    Source,
    new_id,
)
from llmspell_kernel._engines import engine_name, make_engine
from llmspell_kernel._execution import Execution
from llmspell_kernel._launch import Launch, recordable
from llmspell_kernel._run_rules import in_progress
from llmspell_kernel._settings import BudgetConfig, RuntimeConfig

if TYPE_CHECKING:
    from concurrent.futures import Future

    from llmspell_core import (
        ApprovalPolicy,
        Budget,
        BudgetLimits,
        Input,
        Output,
        RunLedger,
        ScriptState,
        Secrets,
    )

_CLOSING_SECONDS = 5.0


class _Job:
    """An execution with what it takes to run it.

    `run` is set when it writes to the ledger. One that is recorded, replayed or resumed has a
    script state of its own (`state`), because what earlier executions left in the shared one is
    in no recording; `fresh` services are its own too. `opened` says whether `run` is in the ledger.
    """

    __slots__ = (
        "approval", "data", "execution", "fresh", "launch", "opened", "policy", "run", "services",
        "state",
    )  # fmt: skip

    def __init__(
        self,
        execution: Execution,
        launch: Launch,
        services: Services,
        policy: Recording | None = None,
        run: RunRecord | None = None,
        *,
        fresh: bool = False,
        data: Mapping[str, Any] | None = None,
        approval: ApprovalPolicy | None = None,
    ) -> None:
        self.approval = approval
        self.data = data or {}
        self.execution = execution
        self.launch = launch
        self.services = services
        self.policy = policy
        self.run = run
        self.opened = False
        self.fresh = fresh
        self.state: ScriptState | None = None

    @property
    def lane(self) -> str | None:
        """Executions in one lane share a state and run one after the other."""
        return self.launch.engine if self.policy is None else None


class Kernel:
    """Runs scripts with one set of services.

    Executions of one kernel share the script state, so globals of one are there in the next;
    each that is recorded, replayed or resumed has a state of its own. At most
    ``runtime.max_concurrent_scripts`` run at a time, the others wait; waiting does not count
    towards a script's time limit.

    Args:
        services: What scripts use. They stay open when the kernel closes.
        output: Called with ``"stdout"`` or ``"stderr"`` and text, on a script's thread.
        input: Asked by scripts that read a line; None means there is none.
    """

    def __init__(self, services: Services, *, output: Output, input: Input | None = None) -> None:
        self.services = services
        self._output = output
        self._input = input
        self._owns_services = False
        self._lock = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._running: list[_Job] = []
        self._states: dict[str, ScriptState] = {}
        self._closed = False

    @classmethod
    def open(
        cls,
        config: Config | Mapping[str, Any] | None = None,
        *,
        output: Output | None = None,
        input: Input | None = None,
    ) -> Kernel:
        """A kernel with services of its own, for ``with`` and ``async with``.

        Args:
            config: Settings; None finds ``llmspell.toml`` and the environment as the command
                line does.
            output: As for the class; None prints.
            input: As for the class.
        """
        if config is None:
            from llmspell_config import load

            config = load()
        kernel = cls(Services(config), output=output or _print, input=input)
        kernel._owns_services = True
        return kernel

    # -- the three ways to run -------------------------------------------------------------------

    def execute(
        self,
        source: Source,
        *,
        arguments: ScriptArguments | None = None,
        engine: str | None = None,
        record: bool = False,
        timeout_seconds: float | None = None,
        data: Mapping[str, Any] | None = None,
        budget: BudgetLimits | None = None,
        approval: ApprovalPolicy | None = None,
    ) -> Execution:
        """Start a script.

        Args:
            source: The script.
            arguments: What it finds in ``ARGS``.
            engine: The name of its language; None goes by the suffix of its file, then by
                ``default_engine``.
            record: Write everything it takes from or does to the world to the run ledger, so
                that it can be replayed and resumed.
            timeout_seconds: How long it may take; None: ``runtime.script_timeout_seconds``.
                ``runtime.security.max_execution_time_ms``, where set, bounds both.
            data: What components find in the context's ``data``; it is not recorded.
            budget: What it and all it starts may spend on models; a limit that is None here is
                that of ``[runtime.budget]``, where there is one.
            approval: Who is asked before calls that cannot be taken back.

        Raises:
            NotFoundError, ConfigurationError: for an engine that is not installed. All that
                happens later comes from the execution.
        """
        name = engine_name(self.services, source, engine)
        script = os.path.basename(source.path) if source.path else "<inline>"
        launch = Launch(
            source,
            arguments or ScriptArguments(script=script),
            engine=name,
            timeout_seconds=_time_limit(self.services.config, timeout_seconds),
            tenant=_tenant(self.services),
            settings=recordable(self.services.config, self.services.secrets) if record else {},
            home=self.services.config.home if record else "",
            budget=_budget(self.services.config, budget),
        )
        if not record:
            job = _Job(Execution(name), launch, self.services, data=data, approval=approval)
            return self._enqueue(job)
        run = RunRecord(new_id(), source.path or source.name, time.time(), pid=os.getpid())
        policy = Recording(self.services.ledger, run.run_id, secrets=self.services.secrets)
        execution = Execution(name, run.run_id)
        job = _Job(execution, launch, self.services, policy, run, data=data, approval=approval)
        return self._enqueue(job)

    def replay(self, run_id: str) -> Execution:
        """Run a recorded run again, from the recording alone: every effect returns what was
        recorded, nothing is done and nothing written. The settings are the recorded ones.

        Args:
            run_id: The run's id, or an unambiguous beginning of it.

        Raises:
            NotFoundError: for an unknown run.
            ReplayError: when its payloads were erased. From the execution: when it asks for
                something that was not recorded, even if the script swallows that error.
        """
        from llmspell_core import Replaying

        run = self._recorded(run_id)
        launch = Launch.recorded(self.services.ledger, run.run_id)
        services = self._again(launch.settings, launch.home)
        policy = Replaying(self.services.ledger, run.run_id, secrets=services.secrets)
        execution = Execution(launch.engine, run.run_id)
        return self._enqueue(_Job(execution, launch, services, policy, fresh=True))

    def resume(
        self,
        run_id: str,
        *,
        repeat_irreversible: bool = False,
        data: Mapping[str, Any] | None = None,
        approval: ApprovalPolicy | None = None,
    ) -> Execution:
        """Go on with a run that failed, was cancelled or whose process died: what has an outcome
        is not done again, the rest is done and added to the same run. A completed run is
        replayed. Secrets, which are never recorded, come from the present settings.

        Args:
            run_id: The run's id, or an unambiguous beginning of it.
            repeat_irreversible: Do again what was begun, cannot be taken back, and of which
                nobody knows whether it happened.
            data: As for `execute`.
            approval: As for `execute`.

        Raises:
            NotFoundError: for an unknown run.
            ComponentError: when the run is still in progress.
            ReplayError: when its payloads were erased.
            UnsettledEffectError: from the execution, without *repeat_irreversible*.
        """
        from llmspell_core import Resuming

        run = self._recorded(run_id)
        if run.status is RunStatus.COMPLETED:
            return self.replay(run.run_id)
        if in_progress(run):
            raise ComponentError(
                f"run {run.run_id} is still in progress (process {run.pid})",
                hint="Wait for it, or end that process.",
                code="RUN_IN_PROGRESS",
            )
        launch = Launch.recorded(self.services.ledger, run.run_id)
        services = self._again(launch.settings_with_secrets(self.services.config), launch.home)
        policy = Resuming(
            self.services.ledger,
            run.run_id,
            secrets=services.secrets,
            repeat_irreversible=repeat_irreversible,
        )
        again = RunRecord(run.run_id, run.script, run.started_at, pid=os.getpid())
        execution = Execution(launch.engine, run.run_id)
        job = _Job(
            execution, launch, services, policy, again, fresh=True, data=data, approval=approval
        )
        return self._enqueue(job)

    def _recorded(self, run_id: str) -> RunRecord:
        run = self.services.ledger.run(run_id)
        if run is None:
            raise NotFoundError(
                f"run '{run_id}' not found",
                hint="See what there is with: llmspell runs list",
                code="RUN_NOT_FOUND",
            )
        return run

    def _again(self, settings: Mapping[str, Any], home: str) -> Services:
        config = self.services.config.replaced(settings, home=home)
        return Services(config, plugins=self.services.plugins)

    # -- queue -----------------------------------------------------------------------------------

    def _enqueue(self, job: _Job) -> Execution:
        with self._lock:
            if self._closed:
                raise ComponentError("the kernel is closed", hint="Open another one.")
            self._waiting.append(job)
        self._start_waiting()
        return job.execution

    def _start_waiting(self) -> None:
        while True:
            with self._lock:
                job = self._next()
                if job is None:
                    return
                self._waiting.remove(job)
                self._running.append(job)
            self._start(job)

    def _next(self) -> _Job | None:
        settings = self.services.config.section("runtime", RuntimeConfig)
        if self._closed or len(self._running) >= settings.max_concurrent_scripts:
            return None
        busy = {job.lane for job in self._running} - {None}
        return next((job for job in self._waiting if job.lane not in busy), None)

    def _start(self, job: _Job) -> None:
        launch = job.launch
        try:
            if job.run is not None:
                self.services.ledger.open_run(job.run)
                job.opened = True
            context = ExecutionContext(
                job.services,
                effects=job.policy,
                execution_id=job.execution.run_id,
                tenant=launch.tenant,
                deadline=Deadline(launch.timeout_seconds),
                cancel=job.execution.cancel,
                data={**_place(launch.source), **job.data},
                approval=job.approval,
            )
            if job.policy is not None:
                launch.observe(context)
            if launch.budget is not None:
                context.budget = _wallet(launch.budget, context)
            future = self._state(job).submit(launch.source, context, launch.arguments)
        except BaseException as error:
            # Whatever it is, the one who waits for the execution must hear of it.
            self._over(job, None, error)
            return
        future.add_done_callback(partial(self._ended, job))

    def _state(self, job: _Job) -> ScriptState:
        lane = job.lane
        if lane is not None and lane in self._states:
            return self._states[lane]
        engine = make_engine(job.services, job.launch.engine)
        state = engine.open_state(output=self._output, input=self._input)
        if lane is None:
            job.state = state
        else:
            self._states[lane] = state
        return state

    # -- the end of an execution -----------------------------------------------------------------

    def _ended(self, job: _Job, future: Future[ScriptResult]) -> None:
        """Called on the thread of the script state."""
        if future.cancelled():
            self._over(job, None, ExecutionCancelled())
            return
        error = future.exception()
        self._over(job, None if error is not None else future.result(), error)

    def _over(self, job: _Job, result: ScriptResult | None, error: BaseException | None) -> None:
        if job.policy is None:
            self._conclude(job, result, error)
            return
        # A state cannot be closed on its own thread, nor services on their loop.
        threading.Thread(
            target=self._release, args=(job, result, error), name="llmspell-run-end"
        ).start()

    def _release(self, job: _Job, result: ScriptResult | None, error: BaseException | None) -> None:
        try:
            error = self._settle(job, error)
            if job.state is not None:
                job.state.close()
            if job.fresh:
                job.services.close()
        except BaseException as failure:
            error = error or failure
        self._conclude(job, result, error)

    def _conclude(
        self, job: _Job, result: ScriptResult | None, error: BaseException | None
    ) -> None:
        with self._lock:
            self._running.remove(job)
        job.execution.conclude(result, error)
        self._start_waiting()

    def _settle(self, job: _Job, error: BaseException | None) -> BaseException | None:
        """Look at the policy, write how the run ended; returns the error it really ended with."""
        from llmspell_core import Replaying, Resuming

        policy = job.policy
        if isinstance(policy, Replaying):
            if policy.mismatch is not None:
                error = policy.mismatch
            if not isinstance(policy, Resuming):
                job.execution.unused = policy.unused()
        if job.run is None:
            return error
        if not job.opened:
            # Nothing was written, so there is no run to name.
            job.execution.run_id = None
            return error
        run_id = job.run.run_id
        if isinstance(error, LLMSpellError):
            error.details["run_id"] = run_id
        try:
            _close(self.services.ledger, run_id, error, job.services.secrets)
        except LLMSpellError as failure:
            # The script's own error says more than that it could not be written down.
            if error is None:
                failure.details["run_id"] = run_id
                return failure
        return error

    # -- closing ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Interrupt what runs, end what waits, free the script states; again is harmless.

        Services are closed only when `open` made them.
        """
        with self._lock:
            self._closed = True
            waiting, running = list(self._waiting), list(self._running)
            self._waiting.clear()
        for job in waiting:
            job.execution.conclude(None, ExecutionCancelled("kernel closed"))
        for job in running:
            job.execution.interrupt("kernel closed")
        states, self._states = self._states, {}
        for state in states.values():
            state.close()
        for job in running:
            job.execution.settled(_CLOSING_SECONDS)
        if self._owns_services:
            self.services.close()

    def __enter__(self) -> Kernel:
        """The kernel itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    async def __aenter__(self) -> Kernel:
        """The kernel itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it, without holding up the event loop."""
        import asyncio

        await asyncio.to_thread(self.close)


def _time_limit(config: Config, asked: float | None) -> float:
    seconds = asked
    if seconds is None:
        seconds = config.section("runtime", RuntimeConfig).script_timeout_seconds
    # A default of the policy must not shorten what somebody set: only a set value bounds.
    most = config.get("runtime.security.max_execution_time_ms")
    return seconds if most is None else min(seconds, most / 1000)


def _budget(config: Config, asked: BudgetLimits | None) -> Mapping[str, Any] | None:
    """The limits of *asked*, and where it has none those of the configuration."""
    if asked is None and config.get("runtime.budget") is None:
        return None
    usual = config.section("runtime.budget", BudgetConfig)
    names = ("tokens", "cost", "calls", "seconds")
    made = {name: getattr(asked, name, None) or getattr(usual, name) for name in names}
    if all(value is None for value in made.values()):
        return None
    unset = config.get("runtime.budget.soft") is None
    return {**made, "soft": asked.soft if asked is not None and unset else usual.soft}


def _wallet(limits: Mapping[str, Any], context: ExecutionContext) -> Budget:
    from llmspell_core import Budget, BudgetLimits

    return Budget(BudgetLimits(**limits), started=context.monotonic())


def _tenant(services: Services) -> str | None:
    # Asking imports the tenancy package, so it is asked only where somebody speaks of tenants.
    if services.config.get("tenancy") is None and "LLMSPELL_TENANT_ID" not in os.environ:
        return None
    return services.tenancy.current()


def _place(source: Source) -> dict[str, Any]:
    # A script may read what lies beside it, wherever it was started from.
    return {"script_dir": os.path.dirname(os.path.abspath(source.path))} if source.path else {}


def _close(ledger: RunLedger, run_id: str, error: BaseException | None, secrets: Secrets) -> None:
    if error is None:
        status = RunStatus.COMPLETED
    elif isinstance(error, ExecutionCancelled):
        status = RunStatus.CANCELLED
    else:
        status = RunStatus.FAILED
    message = None if error is None else secrets.redact(str(error))
    ledger.close_run(run_id, status, finished_at=time.time(), error=message)


def _print(stream: Literal["stdout", "stderr"], text: str) -> None:
    import sys

    target = sys.stdout if stream == "stdout" else sys.stderr
    target.write(text)
    target.flush()
