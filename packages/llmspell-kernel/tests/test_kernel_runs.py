"""Scripts are executed, recorded, replayed, resumed and interrupted through `Kernel`."""

import asyncio
import os
import threading

import pytest

from kernel_testkit import MemoryBackend, Output, PythonEngine, make_kernel_services
from llmspell_core import (
    ComponentError,
    Config,
    ConfigurationError,
    EffectClass,
    ExecutionCancelled,
    Intent,
    LLMTimeoutError,
    NotFoundError,
    Outcome,
    ReplayError,
    RunRecord,
    RunStatus,
    ScriptArguments,
    ScriptError,
    Source,
    StorageError,
    Tenancy,
    UnsettledEffectError,
)
from llmspell_kernel import Kernel, SqliteLedger

CLASSES = "from llmspell_core import EffectClass\n"


def script(text, **fields):
    return Source(CLASSES + text, "test", **fields)


@pytest.fixture
def kernel(services, output):
    made = Kernel(services, output=output)
    yield made
    made.close()


# -- executing -----------------------------------------------------------------------------------


def test_a_script_runs_and_gives_its_result(kernel, output, home):
    execution = kernel.execute(script("emit('hello'); result = 40 + 2"))
    assert execution.result(10).value == 42
    assert (execution.done, execution.run_id, execution.engine) == (True, None, "pytest")
    assert output.pieces == [("stdout", "hello\n")]
    assert not home.exists()


async def test_an_execution_can_be_awaited(kernel):
    assert (await kernel.execute(script("result = 1"))).value == 1
    with pytest.raises(ScriptError, match="test: boom"):
        await kernel.execute(script("raise ValueError('boom')"))


def test_globals_stay_from_one_execution_to_the_next(kernel):
    kernel.execute(script("shared['x'] = 5")).result(10)
    assert kernel.execute(script("result = shared['x']")).result(10).value == 5


def test_a_recorded_run_starts_with_a_clean_state(kernel):
    kernel.execute(script("shared['x'] = 5")).result(10)
    text = "result = shared.get('x'); shared['y'] = 1"
    assert kernel.execute(script(text), record=True).result(10).value is None
    assert kernel.execute(script("result = shared")).result(10).value == {"x": 5}


def test_arguments_reach_the_script(kernel):
    text = "result = [arguments.script, arguments.positional, dict(arguments.options)]"
    given = ScriptArguments("a.lua", ("1", "zwei"), {"name": "Ada"})
    assert kernel.execute(script(text), arguments=given).result(10).value == [
        "a.lua",
        ("1", "zwei"),
        {"name": "Ada"},
    ]
    assert kernel.execute(script(text)).result(10).value[0] == "<inline>"
    named = script(text, path="/some/where/x.pyt")
    assert kernel.execute(named).result(10).value[0] == "x.pyt"


def test_the_engine_is_chosen_by_name_then_suffix_then_default(home, output):
    services = make_kernel_services(home, {"default_engine": "nowhere"})
    kernel = Kernel(services, output=output)
    assert kernel.execute(script("", path="a.pyt"), engine="PyTest").engine == "pytest"
    assert kernel.execute(script("", path="a.pyscript")).engine == "pytest"
    with pytest.raises(NotFoundError, match="script engine 'nowhere' not found"):
        kernel.execute(script("", path="a.txt"))
    with pytest.raises(NotFoundError, match="script engine 'pytes' not found") as e:
        kernel.execute(script(""), engine="pytes")
    assert e.value.hint == "Did you mean 'pytest'?"
    for name in ("js", "javascript"):
        with pytest.raises(
            ConfigurationError, match="Script engine 'javascript' is not available yet"
        ):
            kernel.execute(script(""), engine=name)
    with pytest.raises(ConfigurationError, match="'python' is not available yet"):
        kernel.execute(script("", path="x.py"))
    kernel.close()


def test_a_script_that_takes_too_long_is_ended(home, output):
    services = make_kernel_services(home, {"runtime": {"script_timeout_seconds": 0.05}})
    with Kernel(services, output=output) as kernel:
        endless = script("while True: context.check()")
        with pytest.raises(LLMTimeoutError, match=r"timed out after 0\.05s"):
            kernel.execute(endless).result(10)
        with pytest.raises(LLMTimeoutError, match=r"timed out after 0\.01s"):
            kernel.execute(endless, timeout_seconds=0.01).result(10)


def test_an_interrupt_ends_the_script_with_its_reason(kernel):
    execution = kernel.execute(script("emit('on'); \nwhile True: context.check()"))
    with pytest.raises(TimeoutError):
        execution.result(0.01)
    execution.interrupt("enough")
    with pytest.raises(ExecutionCancelled) as e:
        execution.result(10)
    assert e.value.reason == "enough"


async def test_cancelling_the_wait_interrupts_the_script(kernel):
    execution = kernel.execute(script("while True: context.check()"))
    waiter = asyncio.ensure_future(execution._wait())
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    with pytest.raises(ExecutionCancelled, match="cancelled"):
        await execution


def test_no_more_scripts_run_at_once_than_configured(home):
    services = make_kernel_services(home, {"runtime": {"max_concurrent_scripts": 2}})
    running, most, gate = [0], [0], threading.Semaphore(0)
    lock = threading.Lock()

    def output(stream, text):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        gate.acquire(timeout=10)
        with lock:
            running[0] -= 1

    kernel = Kernel(services, output=output)
    executions = [kernel.execute(script("emit('x')"), record=True) for _ in range(5)]
    for _ in executions:
        gate.release()
    for execution in executions:
        execution.result(10)
    assert most[0] <= 2
    kernel.close()


def test_waiting_in_the_queue_does_not_count_towards_the_time_limit(home, output):
    gate = threading.Event()
    services = make_kernel_services(home)
    kernel = Kernel(services, output=lambda *_: gate.wait(10))
    first = kernel.execute(script("emit('hold')"))
    second = kernel.execute(script("result = context.deadline.remaining()"), timeout_seconds=1.0)
    with pytest.raises(TimeoutError):
        second.result(0.2)
    gate.set()
    first.result(10)
    assert second.result(10).value > 0.9
    kernel.close()


def test_closing_ends_what_runs_and_what_waits(home, output):
    kernel = Kernel(make_kernel_services(home), output=output)
    running = kernel.execute(script("while True: context.check()"))
    waiting = kernel.execute(script("result = 1"))
    recorded = kernel.execute(script("while True: context.check()"), record=True)
    kernel.close()
    kernel.close()
    for execution in (running, waiting, recorded):
        with pytest.raises(ExecutionCancelled, match="kernel closed"):
            execution.result(10)
    assert kernel.services.ledger.run(recorded.run_id).status is RunStatus.CANCELLED
    with pytest.raises(ComponentError, match="the kernel is closed"):
        kernel.execute(script("result = 1"))


async def test_open_makes_a_kernel_with_services_of_its_own(home, capsys, monkeypatch):
    monkeypatch.setenv("LLMSPELL_HOME", str(home))
    monkeypatch.setattr("llmspell_kernel._kernel.Services", lambda config: make(config))
    made = []

    def make(config):
        assert isinstance(config, Config)
        made.append(make_kernel_services(home))
        return made[-1]

    async with Kernel.open() as kernel:
        await kernel.execute(script("emit('printed')"))
    with Kernel.open(Config()) as kernel:
        kernel.execute(script("emit('again')")).result(10)
    assert capsys.readouterr().out == "printed\nagain\n"
    for services in made:
        with pytest.raises(Exception, match="closed"):
            services.get("ledger")


def test_two_services_share_nothing(tmp_path, output):
    one, two = make_kernel_services(tmp_path / "1"), make_kernel_services(tmp_path / "2")
    first, second = Kernel(one, output=output), Kernel(two, output=output)
    text = (
        "wait(context.services.state.set('global', 'k', 'mine', context)); shared['k'] = 1;"
        "context.services.secrets.add('secret-of-one')"
    )
    run_id = first.execute(script(text), record=True).run_id
    first.close()
    text = "result = [wait(context.services.state.get('global', 'k', context)), dict(shared)]"
    assert second.execute(script(text)).result(10).value == [None, {}]
    assert two.ledger.run(run_id) is None
    assert two.secrets.redact("secret-of-one") == "secret-of-one"
    second.close()


# -- tenants -------------------------------------------------------------------------------------


class OneTenant(Tenancy):
    def __init__(self, services):
        self.name = os.environ.get("LLMSPELL_TENANT_ID") or services.config.get("tenancy.id")

    def current(self):
        return self.name

    def storage(self, backend, tenant):
        return MemoryBackend(backend.values.setdefault(f"of {tenant}", {}))

    def namespace(self, namespace, tenant):
        return f"{tenant}:{namespace}"


def test_the_tenant_is_asked_for_only_where_one_is_spoken_of(home, output, monkeypatch):
    asked = script("result = [context.tenant, context.services.made()]")
    monkeypatch.delenv("LLMSPELL_TENANT_ID", raising=False)
    for config, env, expected in (
        ({}, None, [None, []]),
        ({"tenancy": {"id": "acme"}}, None, ["acme", ["tenancy"]]),
        ({}, "umbrella", ["umbrella", ["tenancy"]]),
    ):
        if env:
            monkeypatch.setenv("LLMSPELL_TENANT_ID", env)
        services = make_kernel_services(home, config)
        if expected[0]:
            services.provide("tenancy", OneTenant(services))
        with Kernel(services, output=output) as kernel:
            assert kernel.execute(asked).result(10).value == expected


def test_a_replay_is_for_the_tenant_of_the_recording(home, output, monkeypatch):
    services = make_kernel_services(home)
    services.provide("tenancy", OneTenant(services))
    services.tenancy.name = "acme"
    monkeypatch.setenv("LLMSPELL_TENANT_ID", "acme")
    with Kernel(services, output=output) as kernel:
        execution = kernel.execute(script("result = context.tenant"), record=True)
        assert execution.result(10).value == "acme"
        services.tenancy.name = "other"
        monkeypatch.delenv("LLMSPELL_TENANT_ID")
        assert kernel.replay(execution.run_id).result(10).value == "acme"


# -- recording and replaying ---------------------------------------------------------------------

WORLD = """
import os
async def touch(inner):
    with open(os.environ["LEDGER_TEST_TRACE"], "a") as file:
        file.write("x")
    return {"n": inner.now()}
with context.span("step", "one") as step:
    pass
seen = [
    context.now(), context.monotonic(), context.new_id("id-"), context.environ("LEDGER_TEST"),
    wait(step.effect("touch", {"a": 1}, touch, effect_class=EffectClass.IRREVERSIBLE)),
    wait(step.effect("touch", {"a": 1}, touch, effect_class=EffectClass.IRREVERSIBLE)),
    context.execution_id, list(arguments.positional),
    context.services.config.get("some.setting"),
]
emit(repr(seen))
result = seen
"""


@pytest.fixture
def trace(tmp_path, monkeypatch):
    path = tmp_path / "trace"
    monkeypatch.setenv("LEDGER_TEST_TRACE", str(path))
    monkeypatch.setenv("LEDGER_TEST", "then")
    return path


def test_a_replay_is_the_same_run_from_the_recording_alone(home, output, trace, monkeypatch):
    services = make_kernel_services(home, {"some": {"setting": "as recorded"}})
    with Kernel(services, output=output) as kernel:
        execution = kernel.execute(
            script(WORLD, path="/x/world.pyt"), arguments=ScriptArguments("w", ("a",)), record=True
        )
        first = execution.result(10)
    services.close()
    assert trace.read_text() == "xx"
    assert first.value[8] == "as recorded"
    monkeypatch.setenv("LEDGER_TEST", "now")
    later, said = make_kernel_services(home, {"some": {"setting": "other"}}), Output()
    with Kernel(later, output=said) as kernel:
        before = (home / "runs.db").read_bytes()
        again = kernel.replay(execution.run_id[:13])
        assert again.result(10).value == first.value
        assert (again.run_id, list(again.unused)) == (execution.run_id, [])
    assert said.pieces == output.pieces
    assert trace.read_text() == "xx"
    assert (home / "runs.db").read_bytes() == before
    later.close()


def test_a_recorded_run_is_in_the_ledger_when_its_result_is_there(kernel, trace):
    execution = kernel.execute(script(WORLD, path="/x/world.pyt"), record=True)
    execution.result(10)
    run = kernel.services.ledger.run(execution.run_id)
    assert (run.script, run.status, run.error) == ("/x/world.pyt", RunStatus.COMPLETED, None)
    assert run.finished_at >= run.started_at
    assert [
        (e.intent.path, e.intent.kind, e.outcome is not None)
        for e in kernel.services.ledger.effects(execution.run_id)
    ][:8] == [
        ("", "configuration", True),
        ("", "script.source", True),
        ("", "script.arguments", True),
        ("", "execution", True),
        ("", "step", True),
        ("", "clock.time", True),
        ("", "clock.monotonic", True),
        ("", "id", True),
    ]


def test_a_failed_run_tells_its_id_and_replays_to_the_same_error(kernel):
    text = "t = context.now()\nraise ValueError(f'at {t}')"
    execution = kernel.execute(script(text), record=True)
    with pytest.raises(ScriptError) as failed:
        execution.result(10)
    assert failed.value.details["run_id"] == execution.run_id
    run = kernel.services.ledger.run(execution.run_id)
    assert (run.status, run.error) == (RunStatus.FAILED, str(failed.value))
    with pytest.raises(ScriptError) as again:
        kernel.replay(execution.run_id).result(10)
    assert str(again.value) == str(failed.value)


def test_an_interrupted_run_is_written_as_cancelled(kernel):
    execution = kernel.execute(script("while True: context.check()"), record=True)
    execution.interrupt()
    with pytest.raises(ExecutionCancelled):
        execution.result(10)
    run = kernel.services.ledger.run(execution.run_id)
    assert (run.status, run.error) == (RunStatus.CANCELLED, "interrupted")


CHANGING = """
import os, pathlib
text = pathlib.Path(os.environ["LEDGER_TEST_TRACE"]).read_text()
async def answer(inner):
    return "ok"
try:
    wait(context.effect("ask", {"text": text, "n": 1}, answer, effect_class=EffectClass.PURE))
except Exception:
    pass
result = "done"
"""


def test_a_mismatch_fails_the_replay_even_if_the_script_swallows_it(kernel, trace):
    trace.write_text("one")
    execution = kernel.execute(script(CHANGING), record=True)
    assert execution.result(10).value == "done"
    trace.write_text("two")
    with pytest.raises(ReplayError, match='text: recorded "one", now "two"') as e:
        kernel.replay(execution.run_id).result(10)
    assert e.value.details["differences"] == [{"field": "text", "recorded": "one", "now": "two"}]


def test_effects_a_replay_did_not_ask_for_are_reported(kernel, trace):
    text = (
        "import os, pathlib\n"
        "for _ in range(int(pathlib.Path(os.environ['LEDGER_TEST_TRACE']).read_text())):"
        " context.new_id()"
    )
    trace.write_text("3")
    execution = kernel.execute(script(text), record=True)
    execution.result(10)
    trace.write_text("1")
    again = kernel.replay(execution.run_id)
    again.result(10)
    assert [(e.intent.kind, e.intent.occurrence) for e in again.unused] == [("id", 1), ("id", 2)]


def test_unknown_ambiguous_and_erased_runs_are_refused(kernel):
    for call in (kernel.replay, kernel.resume):
        with pytest.raises(NotFoundError, match="run 'nope' not found") as e:
            call("nope")
        assert e.value.hint == "See what there is with: llmspell runs list"
    execution = kernel.execute(script("result = 1"), record=True)
    execution.result(10)
    kernel.services.ledger.erase_payloads(execution.run_id)
    with pytest.raises(ReplayError, match="its script is gone") as e:
        kernel.replay(execution.run_id)
    assert e.value.code == "RUN_ERASED"


def test_a_run_that_never_began_says_so(kernel):
    kernel.services.ledger.open_run(RunRecord("early", "s", 1.0))
    with pytest.raises(ReplayError, match="does not hold the script"):
        kernel.replay("early")


def test_secrets_of_the_settings_are_not_in_the_file(home, output):
    config = {
        "providers": {
            "openai": {"api_key": "sk-live-0123456789", "api_key_env": "MY_KEY"},
            "other": {"headers": [{"auth_token": "bearer-xyz-987"}]},
        },
        "rag": {"max_tokens": 512, "token_budget": 100},
    }
    services = make_kernel_services(home, config)
    with Kernel(services, output=output) as kernel:
        text = "context.observe('leak', None, lambda: context.services.config.get('providers'))"
        execution = kernel.execute(script(text), record=True)
        execution.result(10)
        failing = kernel.execute(script("raise ValueError('sk-live-0123456789')"), record=True)
        with pytest.raises(ScriptError):
            failing.result(10)
        content = b"".join(p.read_bytes() for p in home.iterdir())
        assert b"sk-live-0123456789" not in content
        assert b"bearer-xyz-987" not in content
        recorded = next(
            e for e in services.ledger.effects(execution.run_id) if e.intent.kind == "configuration"
        )
        assert '"api_key":"<REDACTED>","api_key_env":"MY_KEY"' in recorded.outcome.payload
        assert '"max_tokens":512,"token_budget":100' in recorded.outcome.payload
        assert kernel.replay(execution.run_id).result(10)
    services.close()


def test_a_ledger_that_cannot_be_written_fails_the_recorded_run(tmp_path, output):
    (tmp_path / "file").write_text("in the way")
    services = make_kernel_services(tmp_path / "file")
    with Kernel(services, output=output) as kernel:
        execution = kernel.execute(script("emit('never')"), record=True)
        with pytest.raises(StorageError, match=r"the run ledger .* cannot be used") as e:
            execution.result(10)
        assert "LLMSPELL_HOME" in e.value.hint
    assert output.pieces == []


def test_a_run_whose_end_cannot_be_written_is_not_reported_as_done(home, output):
    services = make_kernel_services(home)
    with Kernel(services, output=output) as kernel:
        execution = kernel.execute(
            script("context.services.ledger.close(); result = 1"), record=True
        )
        with pytest.raises(StorageError, match="is closed") as e:
            execution.result(10)
        assert e.value.details["run_id"] == execution.run_id


def test_an_engine_that_cannot_open_fails_the_execution(home, output):
    class Broken(PythonEngine):
        def open_state(self, **_):
            raise RuntimeError("no interpreter")

    services = make_kernel_services(home)
    with Kernel(services, output=output) as kernel:
        kernel._states.clear()
        original, PythonEngine.open_state = PythonEngine.open_state, Broken.open_state
        try:
            with pytest.raises(RuntimeError, match="no interpreter"):
                kernel.execute(script("")).result(10)
        finally:
            PythonEngine.open_state = original
        assert kernel.execute(script("result = 1")).result(10).value == 1


# -- resuming ------------------------------------------------------------------------------------

STEPS = """
import os
trace = os.environ["LEDGER_TEST_TRACE"]
async def step(inner, name):
    with open(trace, "a") as file:
        file.write(name)
    if name == "b" and os.environ.get("LEDGER_TEST") == "broken":
        raise ValueError("b broke")
    return name.upper()
made = [context.new_id()]
for name in "abc":
    with context.span("step", name) as inner:
        made.append(wait(inner.effect(
            "do", name, lambda c, name=name: step(c, name), effect_class=EffectClass.IRREVERSIBLE
        )))
result = made
"""


def test_a_failed_run_goes_on_where_it_failed(kernel, trace, monkeypatch):
    monkeypatch.setenv("LEDGER_TEST", "broken")
    execution = kernel.execute(script(STEPS), record=True)
    with pytest.raises(ScriptError, match="b broke"):
        execution.result(10)
    first_id = next(
        e for e in kernel.services.ledger.effects(execution.run_id) if e.intent.kind == "id"
    ).outcome.payload
    monkeypatch.setenv("LEDGER_TEST", "mended")
    resumed = kernel.resume(execution.run_id)
    assert resumed.result(10).value == [first_id.strip('"'), "A", "B", "C"]
    assert trace.read_text() == "abbc"
    run = kernel.services.ledger.run(execution.run_id)
    assert (resumed.run_id, run.status, run.error) == (execution.run_id, RunStatus.COMPLETED, None)
    assert all(e.outcome.ok for e in kernel.services.ledger.effects(execution.run_id))
    replayed = kernel.replay(execution.run_id)
    assert replayed.result(10).value == resumed.result().value
    assert list(replayed.unused) == []


def test_resuming_a_completed_run_does_nothing_again(kernel, trace):
    execution = kernel.execute(script(STEPS), record=True)
    value = execution.result(10).value
    assert kernel.resume(execution.run_id).result(10).value == value
    assert trace.read_text() == "abc"


def test_a_run_in_progress_cannot_be_resumed(kernel):
    execution = kernel.execute(script("emit('x')\nwhile True: context.check()"), record=True)
    with pytest.raises(ComponentError, match=f"still in progress \\(process {os.getpid()}\\)"):
        kernel.resume(execution.run_id)
    execution.interrupt()


def unsettle(ledger, run_id):
    """As if the process had died in the middle of a payment."""
    ledger.open_run(RunRecord(run_id, "s", 1.0, pid=2**22 + 1))
    known = list(ledger.effects(run_id))
    pay = known[-1].intent
    assert pay.kind == "pay"
    fresh = "copy-" + run_id
    ledger.open_run(RunRecord(fresh, "s", 1.0, pid=2**22 + 1))
    for effect in known[:-1]:
        ledger.note(
            Intent(fresh, *[getattr(effect.intent, f) for f in Intent.__slots__[1:]]),
            Outcome(fresh, *[getattr(effect.outcome, f) for f in Outcome.__slots__[1:]]),
        )
    ledger.append(Intent(fresh, *[getattr(pay, f) for f in Intent.__slots__[1:]]))
    return fresh


PAY = """
import os
async def pay(inner):
    with open(os.environ["LEDGER_TEST_TRACE"], "a") as file:
        file.write("paid")
    return 1
try:
    wait(context.effect("pay", 5, pay, effect_class=EffectClass.IRREVERSIBLE))
except Exception:
    pass
"""


def test_what_may_have_happened_and_cannot_be_taken_back_is_not_done_again(kernel, trace):
    execution = kernel.execute(script(PAY), record=True)
    execution.result(10)
    fresh = unsettle(kernel.services.ledger, execution.run_id)
    with pytest.raises(UnsettledEffectError, match=r"pay .* was begun") as e:
        kernel.resume(fresh).result(10)
    assert "--repeat-irreversible" in e.value.hint
    assert e.value.details["run_id"] == fresh
    assert trace.read_text() == "paid"
    assert kernel.services.ledger.run(fresh).status is RunStatus.FAILED
    kernel.resume(fresh, repeat_irreversible=True).result(10)
    assert trace.read_text() == "paidpaid"
    assert kernel.services.ledger.run(fresh).status is RunStatus.COMPLETED


def test_resume_takes_secrets_from_the_present_settings(home, output, trace):
    config = {
        "keys": {"api_key": "first-secret", "password": "gone-secret", "plain": "old"},
    }
    services = make_kernel_services(home, config)
    text = (
        "import os\nresult = context.services.config.get('keys')\n"
        "if not os.path.exists(os.environ['LEDGER_TEST_TRACE']): raise ValueError('not yet')"
    )
    with Kernel(services, output=output) as kernel:
        execution = kernel.execute(script(text), record=True)
        with pytest.raises(ScriptError):
            execution.result(10)
    services.close()
    trace.write_text("")
    config = {"keys": {"api_key": "second-secret", "plain": "new"}}
    services = make_kernel_services(home, config)
    with Kernel(services, output=output) as kernel:
        assert kernel.resume(execution.run_id).result(10).value == {
            "api_key": "second-secret",
            "plain": "old",
        }
        assert b"second-secret" not in (home / "runs.db-wal").read_bytes()
    services.close()


def test_the_ledger_service_lies_in_the_data_directory(services, home):
    assert isinstance(services.ledger, SqliteLedger)
    assert services.ledger.path == str(home / "runs.db")
    assert EffectClass.PURE.value == "pure"
