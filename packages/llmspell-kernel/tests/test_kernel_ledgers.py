"""Both run ledgers keep the same promises; one suite for the two."""

import os
import sqlite3
import subprocess
import sys
import threading

import pytest

from llmspell_core import (
    Effect,
    EffectClass,
    ExecutionContext,
    Intent,
    Outcome,
    Recording,
    ReplayError,
    Replaying,
    RunRecord,
    RunStatus,
    Services,
    StorageError,
    ValidationError,
    digest,
)
from llmspell_kernel import MemoryLedger, SqliteLedger
from llmspell_testing.suites import RunLedgerSuite

DEAD = 2**22 + 1  # above the largest process id


def intent(sequence, *, run="run", request='"x"', path="", kind="k", cls=EffectClass.PURE):
    return Intent(run, sequence, path, kind, 0, digest(request), request, cls, 5.0)


def outcome(sequence, *, run="run", ok=True, payload="1", tokens=None, cost=None):
    return Outcome(run, sequence, ok, payload, 2.5, tokens, cost)


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request, tmp_path):
    made = MemoryLedger() if request.param == "memory" else SqliteLedger(tmp_path / "d" / "runs.db")
    yield made
    made.close()


def open_run(ledger, run_id="run", started_at=1.0, pid=None, status=RunStatus.COMPLETED):
    ledger.open_run(RunRecord(run_id, "script.lua", started_at, pid=pid))
    if status is not RunStatus.RUNNING:
        ledger.close_run(run_id, status, finished_at=started_at + 1)


def test_effects_come_back_as_they_were_written(ledger):
    open_run(ledger)
    first = intent(1, request='{"text":"grüße \\ud800 \U0001f600"}', path="/agent:a#0")
    ledger.append(first)
    ledger.settle(outcome(1, payload="[" + "7," * 2000 + "7]", tokens=12, cost=0.25))
    ledger.append(intent(2, cls=EffectClass.IRREVERSIBLE))
    seen = intent(3), outcome(3, payload="null")
    ledger.note(*seen)
    assert list(ledger.effects("run")) == [
        Effect(first, outcome(1, payload="[" + "7," * 2000 + "7]", tokens=12, cost=0.25)),
        Effect(intent(2, cls=EffectClass.IRREVERSIBLE), None),
        Effect(*seen),
    ]
    assert list(ledger.effects("nobody")) == []


def test_lone_surrogates_survive(ledger):
    open_run(ledger)
    odd = intent(1, request='"\ud800"')
    ledger.note(odd, outcome(1, payload='"' + "\udfff" * 200 + '"'))
    assert list(ledger.effects("run")) == [
        Effect(odd, outcome(1, payload='"' + "\udfff" * 200 + '"'))
    ]


def test_more_effects_than_a_page_come_in_order(ledger):
    open_run(ledger)
    for sequence in range(1, 1203):
        ledger.append(intent(sequence))
    assert [e.intent.sequence for e in ledger.effects("run")] == list(range(1, 1203))


def test_a_second_outcome_is_added_and_the_newest_counts(ledger):
    open_run(ledger)
    ledger.append(intent(1))
    ledger.settle(outcome(1, ok=False, payload='{"error":1}', tokens=3, cost=0.5))
    ledger.settle(outcome(1, payload="2", tokens=4, cost=0.25))
    ledger.settle(outcome(1, payload="3"))
    assert [e.outcome for e in ledger.effects("run")] == [outcome(1, payload="3")]
    run = ledger.run("run")
    assert (run.effects, run.tokens, run.cost) == (1, 7, 0.75)


def test_an_intent_is_never_overwritten(ledger):
    open_run(ledger)
    ledger.append(intent(1))
    with pytest.raises(StorageError, match="effect 1 of run 'run' was written already"):
        ledger.append(intent(1, request='"other"'))
    assert [e.intent for e in ledger.effects("run")] == [intent(1)]


def test_what_is_observed_anew_gets_a_second_outcome(ledger):
    open_run(ledger)
    ledger.note(intent(1), outcome(1, payload='"first"'))
    ledger.erase_payloads("run")
    (erased,) = ledger.effects("run")
    ledger.note(erased.intent, outcome(1, payload='"second"'))
    assert list(ledger.effects("run")) == [Effect(erased.intent, outcome(1, payload='"second"'))]
    with pytest.raises(StorageError, match="was written already"):
        ledger.note(intent(1, kind="other"), outcome(1, payload='"third"'))
    assert [e.outcome.payload for e in ledger.effects("run")] == ['"second"']


def test_runs_are_listed_newest_first_with_their_sums(ledger):
    open_run(ledger, "a", 1.0)
    open_run(ledger, "b", 3.0, pid=os.getpid(), status=RunStatus.RUNNING)
    open_run(ledger, "c", 2.0, status=RunStatus.RUNNING)
    open_run(ledger, "d", 2.0, status=RunStatus.RUNNING)
    ledger.append(intent(1, run="a", cls=EffectClass.SPAN))
    ledger.note(intent(2, run="a"), outcome(2, run="a", tokens=5, cost=0.5))
    ledger.note(intent(3, run="a"), outcome(3, run="a", tokens=6, cost=0.25))
    ledger.close_run("c", RunStatus.FAILED, finished_at=9.0, error="no")
    assert ledger.runs() == [
        RunRecord("b", "script.lua", 3.0, pid=os.getpid()),
        RunRecord("d", "script.lua", 2.0),
        RunRecord("c", "script.lua", 2.0, RunStatus.FAILED, 9.0, "no"),
        RunRecord(
            "a", "script.lua", 1.0, RunStatus.COMPLETED, 2.0, effects=2, tokens=11, cost=0.75
        ),
    ]
    assert [run.run_id for run in ledger.runs(limit=2)] == ["b", "d"]


def test_a_reopened_run_keeps_its_beginning(ledger):
    open_run(ledger, status=RunStatus.FAILED)
    ledger.append(intent(1))
    ledger.open_run(RunRecord("run", "other", 77.0, pid=5))
    assert ledger.run("run") == RunRecord("run", "script.lua", 1.0, pid=5, effects=1)


def test_an_unambiguous_beginning_of_an_id_is_enough(ledger):
    for run_id in ("abc", "abcd", "abx", "%_"):
        open_run(ledger, run_id)
    assert ledger.run("abc").run_id == "abc"
    assert ledger.run("abx").run_id == "abx"
    assert ledger.run("%").run_id == "%_"
    assert ledger.run("zzz") is None
    assert ledger.run("") is None
    with pytest.raises(ValidationError, match="run id 'ab' is ambiguous: abc, abcd, abx"):
        ledger.run("ab")


def test_prune_takes_old_runs_and_those_beyond_the_newest_but_none_in_progress(ledger):
    open_run(ledger, "old", 1.0)
    open_run(ledger, "old-alive", 2.0, pid=os.getpid(), status=RunStatus.RUNNING)
    open_run(ledger, "old-killed", 3.0, pid=DEAD, status=RunStatus.RUNNING)
    open_run(ledger, "mid", 10.0)
    open_run(ledger, "new", 20.0)
    ledger.note(intent(1, run="old"), outcome(1, run="old"))
    ledger.note(intent(1, run="mid"), outcome(1, run="mid"))
    assert ledger.prune() == 0
    assert ledger.prune(older_than=5.0) == 2
    assert [run.run_id for run in ledger.runs()] == ["new", "mid", "old-alive"]
    assert ledger.prune(keep=1) == 1
    assert [run.run_id for run in ledger.runs()] == ["new", "old-alive"]
    assert list(ledger.effects("mid")) == []
    with pytest.raises(ValidationError, match="keep must not be negative"):
        ledger.prune(keep=-1)
    assert ledger.prune(keep=0) == 1


def test_another_user_s_process_counts_as_alive(ledger):
    open_run(ledger, pid=1, status=RunStatus.RUNNING)
    assert ledger.prune(keep=0) == 0


def test_erased_payloads_leave_the_rows(ledger):
    open_run(ledger)
    open_run(ledger, "other")
    ledger.note(intent(1), outcome(1, payload='"secret"', tokens=7, cost=0.5))
    ledger.append(intent(2, request='"ask"'))
    ledger.note(intent(1, run="other"), outcome(1, run="other"))
    before = list(ledger.effects("other"))
    assert ledger.erase_payloads("run") > 0
    assert ledger.erase_payloads("run") == 0
    assert ledger.erase_payloads("nobody") == 0
    kept = [(e.intent.key, e.intent.request, e.outcome) for e in ledger.effects("run")]
    assert kept == [
        (intent(1).key, "", outcome(1, payload=None, tokens=7, cost=0.5)),
        (intent(2, request='"ask"').key, "", None),
    ]
    assert ledger.run("run").tokens == 7
    assert list(ledger.effects("other")) == before


def test_the_error_of_an_erased_run_is_erased_too(ledger):
    open_run(ledger, status=RunStatus.RUNNING)
    ledger.append(intent(1))
    ledger.close_run("run", RunStatus.FAILED, finished_at=2.0, error="cannot pay 4111")
    ledger.erase_payloads("run")
    assert ledger.run("run").error == "<erased>"


async def test_replaying_an_erased_run_says_so(ledger):
    open_run(ledger, status=RunStatus.RUNNING)
    context = ExecutionContext(Services(), effects=Recording(ledger, "run"))

    async def answer(_):
        return "yes"

    await context.effect("ask", "x", answer, effect_class=EffectClass.PURE)
    ledger.erase_payloads("run")
    context = ExecutionContext(Services(), effects=Replaying(ledger, "run"))
    with pytest.raises(ReplayError, match=r"the payload of ask .* was erased"):
        await context.effect("ask", "x", answer, effect_class=EffectClass.PURE)
    context = ExecutionContext(Services(), effects=Replaying(ledger, "run"))
    with pytest.raises(ReplayError, match="ask in the script was not recorded"):
        await context.effect("ask", "other", answer, effect_class=EffectClass.PURE)


def test_writing_to_a_run_nobody_opened_is_refused(ledger):
    open_run(ledger, "there")
    for write in (
        lambda: ledger.append(intent(1)),
        lambda: ledger.settle(outcome(1)),
        lambda: ledger.note(intent(1), outcome(1)),
        lambda: ledger.close_run("run", RunStatus.FAILED, finished_at=1.0),
    ):
        with pytest.raises(StorageError, match="run 'run' is not in the ledger"):
            write()


def test_many_threads_write_at_once(ledger):
    for number in range(4):
        open_run(ledger, f"r{number}")

    def work(number):
        for sequence in range(1, 101):
            ledger.append(intent(sequence, run=f"r{number}"))
            ledger.settle(outcome(sequence, run=f"r{number}", payload=str(sequence) * 100))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number in range(4):
        run = f"r{number}"
        assert list(ledger.effects(run)) == [
            Effect(intent(s, run=run), outcome(s, run=run, payload=str(s) * 100))
            for s in range(1, 101)
        ]


# -- the file ------------------------------------------------------------------------------------


def test_asking_a_ledger_that_is_not_there_finds_nothing_and_makes_nothing(tmp_path):
    ledger = SqliteLedger(tmp_path / "home" / "runs.db")
    assert ledger.runs() == []
    assert ledger.run("a") is None
    assert list(ledger.effects("a")) == []
    assert ledger.prune(keep=0) == 0
    assert ledger.erase_payloads("a") == 0
    ledger.close()
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_for_its_owner_only(tmp_path):
    ledger = SqliteLedger(tmp_path / "home" / "runs.db")
    open_run(ledger)
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "home").iterdir()}
    assert modes == {"runs.db": 0o600, "runs.db-wal": 0o600, "runs.db-shm": 0o600}
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    ledger.close()


def test_what_was_written_is_there_for_the_next_ledger(tmp_path):
    one = SqliteLedger(tmp_path / "runs.db")
    open_run(one)
    one.note(intent(1), outcome(1))
    two = SqliteLedger(tmp_path / "runs.db")
    assert list(two.effects("run")) == [Effect(intent(1), outcome(1))]
    two.append(intent(2))
    assert len(list(one.effects("run"))) == 2
    one.close()
    two.close()


def test_a_closed_ledger_says_so(tmp_path):
    ledger = SqliteLedger(tmp_path / "runs.db")
    ledger.close()
    with pytest.raises(StorageError, match="is closed"):
        ledger.runs()
    with pytest.raises(StorageError, match="is closed"):
        open_run(ledger)


def test_a_newer_ledger_is_refused_and_left_untouched(tmp_path):
    path = tmp_path / "runs.db"
    ledger = SqliteLedger(path)
    open_run(ledger)
    ledger.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    before = path.read_bytes()
    ledger = SqliteLedger(path)
    for use in (ledger.runs, lambda: open_run(ledger)):
        with pytest.raises(
            StorageError, match=r"newer LLMSpell \(schema 2; this one knows 1\)"
        ) as e:
            use()
        assert e.value.code == "SCHEMA_TOO_NEW"
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["runs.db"]


@pytest.mark.parametrize("content", [b"not a database " * 100, None])
def test_a_file_that_is_no_ledger_is_refused_and_left_untouched(tmp_path, content):
    path = tmp_path / "runs.db"
    if content is None:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE mine (x)")
        connection.commit()
        connection.close()
    else:
        path.write_bytes(content)
    ledger = SqliteLedger(path)
    with pytest.raises(StorageError, match=r"runs\.db cannot be used: file is not a database") as e:
        ledger.runs()
    assert "move it away" in e.value.hint
    if content is not None:
        assert path.read_bytes() == content
    else:
        connection = sqlite3.connect(path)
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]
        connection.close()


def test_erased_text_is_gone_from_the_files(tmp_path):
    ledger = SqliteLedger(tmp_path / "runs.db")
    open_run(ledger)
    needle = "unmistakable-needle"
    for sequence in range(1, 50):
        ledger.note(intent(sequence), outcome(sequence, payload=f'"{needle * sequence}"'))
    assert any(needle.encode() in p.read_bytes() for p in tmp_path.iterdir())
    ledger.erase_payloads("run")
    assert not any(needle.encode() in p.read_bytes() for p in tmp_path.iterdir())
    ledger.close()


def test_pruned_text_is_gone_from_the_files(tmp_path):
    ledger = SqliteLedger(tmp_path / "runs.db")
    open_run(ledger)
    ledger.note(intent(1), outcome(1, payload='"' + "unmistakable-needle" * 40 + '"'))
    assert ledger.prune(keep=0) == 1
    assert not any(b"unmistakable-needle" in p.read_bytes() for p in tmp_path.iterdir())
    ledger.close()


def test_equal_payloads_of_a_run_are_kept_once(tmp_path):
    ledger = SqliteLedger(tmp_path / "runs.db")
    open_run(ledger)
    open_run(ledger, "other")
    big = '"' + "a" * 100_000 + '"'
    for sequence in range(1, 21):
        ledger.note(intent(sequence), outcome(sequence, payload=big))
    ledger.note(intent(1, run="other"), outcome(1, run="other", payload=big))
    ledger.erase_payloads("run")
    assert next(ledger.effects("other")).outcome.payload == big
    ledger.close()
    assert (tmp_path / "runs.db").stat().st_size < 500_000


async def test_a_known_secret_never_reaches_the_file(tmp_path):
    ledger = SqliteLedger(tmp_path / "runs.db")
    open_run(ledger, status=RunStatus.RUNNING)
    services = Services()
    key = 'sk-"quoted"-0123456789abcdef'
    services.secrets.add(key)
    context = ExecutionContext(services, effects=Recording(ledger, "run", secrets=services.secrets))

    async def fail(_):
        raise StorageError(f"refused {key}", details={"key": key})

    async def answer(_):
        return {"echo": [key]}

    await context.effect("ask", {"key": key}, answer, effect_class=EffectClass.PURE)
    with pytest.raises(StorageError):
        await context.effect("ask", {"k": key}, fail, effect_class=EffectClass.PURE)
    context.observe("environment", "KEY", lambda: key)
    with context.span("agent", key) as inner:
        inner.now()
    contents = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    ledger.close()
    assert b"0123456789abcdef" not in contents
    assert contents.count(b"<REDACTED>") >= 6


def test_a_read_only_directory_is_named_with_what_to_do(tmp_path):
    if os.geteuid() == 0:
        folder = "/proc/llmspell-cannot-be-made"
    else:
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
    ledger = SqliteLedger(f"{folder}/home/runs.db")
    with pytest.raises(StorageError, match=r"runs\.db cannot be used") as e:
        open_run(ledger)
    assert e.value.details == {"path": f"{folder}/home/runs.db"}
    assert "LLMSPELL_HOME" in e.value.hint


FULL = """
import os, resource, sys
from llmspell_core import EffectClass, Intent, Outcome, RunRecord, StorageError
from llmspell_kernel import SqliteLedger
ledger = SqliteLedger(sys.argv[1])
ledger.open_run(RunRecord("run", "s", 1.0, pid=os.getpid()))
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
written = 0
try:
    while True:
        text = '"' + "x" * 5000 + str(written) + '"'
        ledger.note(
            Intent("run", written, "", "k", 0, str(written), text, EffectClass.PURE, 1.0),
            Outcome("run", written, True, text, 1.0),
        )
        written += 1
except StorageError as error:
    print(written)
    print(error.message, "|", error.hint, "|", error.operation)
"""


def test_a_full_disk_is_a_clear_error_and_loses_nothing_that_was_acknowledged(tmp_path):
    path = tmp_path / "runs.db"
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    written, told = ran.stdout.splitlines()
    assert str(path) in told
    assert "Free space" in told
    assert told.endswith("| write")
    ledger = SqliteLedger(path)
    assert [e.intent.sequence for e in ledger.effects("run")] == list(range(int(written)))
    assert all(e.outcome.payload is not None for e in ledger.effects("run"))
    ledger.close()


WRITER = """
import os, sys
from llmspell_core import EffectClass, Intent, Outcome, RunRecord
from llmspell_kernel import SqliteLedger
path, run = sys.argv[1:]
ledger = SqliteLedger(path)
print("ready", flush=True)
sys.stdin.readline()
ledger.open_run(RunRecord(run, "s", 1.0, pid=os.getpid()))
for n in range(300):
    ledger.append(Intent(run, n, "", "k", 0, str(n), f'"{run} {n}"', EffectClass.PURE, 1.0))
    ledger.settle(Outcome(run, n, True, str(n), 1.0))
ledger.close()
"""


def test_several_processes_write_to_one_file(tmp_path):
    path = tmp_path / "home" / "runs.db"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), f"run{n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        _, errors = writer.communicate(timeout=100)
        assert (writer.returncode, errors) == (0, "")
    ledger = SqliteLedger(path)
    for n in range(3):
        effects = list(ledger.effects(f"run{n}"))
        assert [(e.intent.request, e.outcome.payload) for e in effects] == [
            (f'"run{n} {i}"', str(i)) for i in range(300)
        ]
    ledger.close()


class TestMemoryLedger(RunLedgerSuite):
    @pytest.fixture
    def ledger(self):
        return MemoryLedger()


class TestSqliteLedger(RunLedgerSuite):
    @pytest.fixture
    def ledger(self, tmp_path):
        made = SqliteLedger(tmp_path / "runs.db")
        yield made
        made.close()

    @pytest.fixture
    def reopen(self, tmp_path):
        return lambda: SqliteLedger(tmp_path / "runs.db")
