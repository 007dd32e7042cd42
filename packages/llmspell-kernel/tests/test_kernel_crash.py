"""A recording process is killed at every point; a resume completes the run exactly once."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_testkit import Output, PythonEngine
from llmspell_core import (
    Config,
    ExecutionContext,
    Plugin,
    PluginIndex,
    RunStatus,
    Services,
    Source,
    UnsettledEffectError,
)
from llmspell_kernel import Kernel

pytestmark = pytest.mark.slow

STEPS = 3
SCRIPT = """
import os
from llmspell_core import EffectClass
state = context.services.state
home = context.services.config.home
seen = []
async def note(inner, number):
    with open(os.path.join(home, f"note-{number}"), "w") as file:
        file.write(inner.new_id())
    return number
for number in range(3):
    with context.span("step", str(number)) as step:
        seen.append(context.new_id())
        seen.append(wait(state.increment("global", "count", 1, step)))
        seen.append(wait(state.append("global", "list", number, step)))
        wait(state.set("global", f"key-{number}", seen[-2], step))
        seen.append(wait(state.delete("global", f"key-{number}", step)))
        seen.append(wait(step.effect(
            "note", number, lambda inner, n=number: note(inner, n),
            effect_class=EffectClass.IDEMPOTENT,
        )))
    emit(f"step {number}")
result = seen
"""

CHILD = """
import os, signal, sys
home, point = sys.argv[1], int(sys.argv[2])
sys.path.insert(0, sys.argv[3])
import test_kernel_crash as crash
from llmspell_core import StorageBackend
from llmspell_kernel import Kernel, SqliteLedger, StateService

passed = 0
def here():
    global passed
    passed += 1
    if passed == point:
        os.kill(os.getpid(), signal.SIGKILL)

ledger_write = SqliteLedger._write
def write(self, work):
    here()
    done = ledger_write(self, work)
    here()
    return done
SqliteLedger._write = write

state_make = StateService._make
def make(self):
    backend = state_make(self)
    backend_write = backend.write
    async def write(*args, **kwargs):
        here()
        done = await backend_write(*args, **kwargs)
        here()
        return done
    backend.write = write
    return backend
StateService._make = make

kernel = Kernel(crash.real_services(home), output=lambda *_: None)
kernel.execute(crash.Source(crash.SCRIPT, "crash"), record=True).result(60)
kernel.close()
print(passed)
"""


class Engine(Plugin):
    __slots__ = ()

    def load(self):
        return PythonEngine


def real_services(home):
    """The installed services, with the test engine beside the installed ones."""
    installed = [p for p in PluginIndex().all() if p.group != "llmspell.engines"]
    engine = Engine("llmspell.engines", "pytest", "-", "kit", "1")
    config = Config({"default_engine": "pytest"}, home=str(home))
    return Services(config, plugins=PluginIndex([*installed, engine]))


def run_child(home, point):
    folder = str(Path(__file__).parent)
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(home), str(point), folder],
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """How many points there are to be killed at."""
    ran = run_child(tmp_path_factory.mktemp("whole") / "home", 0)
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout)


PARTS = 12


@pytest.mark.parametrize("part", range(PARTS))
def test_a_killed_run_is_completed_exactly_once(tmp_path, points, part):
    assert points > 60
    # Each part takes other points, early to late, so that a run covers them evenly.
    point = 13 + part * (points - 13) // PARTS
    home = tmp_path / "home"
    killed = run_child(home, point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    services, output = real_services(home), Output()
    with Kernel(services, output=output) as kernel:
        (run,) = services.ledger.runs()
        assert run.status is RunStatus.RUNNING
        resumed = kernel.resume(run.run_id)
        value = resumed.result(60).value
        ids = value[0::5]
        assert len(set(ids)) == STEPS
        expected = []
        for number in range(STEPS):
            expected += [ids[number], number + 1, number + 1, True, number]
        assert value == expected
        assert output.text == "step 0\nstep 1\nstep 2\n"
        assert services.ledger.run(run.run_id).status is RunStatus.COMPLETED
        replayed = kernel.replay(run.run_id)
        assert replayed.result(60).value == value
        assert list(replayed.unused) == []
    execution = Kernel(services, output=output).execute(
        Source("result = wait(context.services.state.all('global', context))", "look")
    )
    assert execution.result(60).value == {"count": STEPS, "list": [0, 1, 2]}
    services.close()
    written = {path.name for path in home.glob("note-*")}
    assert written == {"note-0", "note-1", "note-2"}


def test_killed_before_the_script_was_written_there_is_nothing_to_resume(tmp_path):
    home = tmp_path / "home"
    killed = run_child(home, 3)
    assert killed.returncode == -signal.SIGKILL
    services = real_services(home)
    with Kernel(services, output=Output()) as kernel:
        (run,) = services.ledger.runs()
        with pytest.raises(Exception, match="does not hold the script"):
            kernel.resume(run.run_id)
        assert services.ledger.prune(keep=0) == 1
    services.close()


COUNTING = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[2])
import test_kernel_crash as crash
from llmspell_core import ExecutionContext

async def main():
    services = crash.real_services(sys.argv[1])
    context = ExecutionContext(services)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(100):
        await services.state.increment("global", "n", 1, context)
        await services.state.append("global", "l", number, context)
    await services.aclose()
asyncio.run(main())
"""


def test_two_processes_change_the_same_state_and_lose_nothing(tmp_path):
    home = tmp_path / "home"
    folder = str(Path(__file__).parent)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", COUNTING, str(home), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in workers:
        _, errors = worker.communicate(timeout=100)
        assert (worker.returncode, errors) == (0, "")

    async def read():
        services = real_services(home)
        found = await services.state.all("global", ExecutionContext(services))
        await services.aclose()
        return found

    found = asyncio.run(read())
    assert found["n"] == 200
    assert sorted(found["l"]) == sorted([*range(100)] * 2)


def test_an_irreversible_effect_that_a_kill_cut_off_is_asked_about(tmp_path):
    home = tmp_path / "home"
    text = (
        "import os, signal\n"
        "from llmspell_core import EffectClass\n"
        "async def pay(inner):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "wait(context.effect('pay', {'amount': 5}, pay, effect_class=EffectClass.IRREVERSIBLE))\n"
    )
    child = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "import test_kernel_crash as crash\n"
        "kernel = crash.Kernel(crash.real_services(sys.argv[1]), output=print)\n"
        f"kernel.execute(crash.Source({text!r}, 'pay'), record=True).result(60)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", child, str(home), str(Path(__file__).parent)],
        capture_output=True,
        timeout=100,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    services = real_services(home)
    with Kernel(services, output=Output()) as kernel:
        (run,) = services.ledger.runs()
        with pytest.raises(UnsettledEffectError, match='"amount":5') as e:
            kernel.resume(run.run_id).result(60)
        assert e.value.details["run_id"] == run.run_id
    services.close()
    assert os.listdir(home) != []
