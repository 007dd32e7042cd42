"""The suite for script engines fails an engine that breaks one of its promises.

The engines here are the installed one with one fault each.
"""

import re
import subprocess
import sys

import pytest

HEAD = '''\
import time
from concurrent.futures import Future
from dataclasses import replace

import pytest

from llmspell_core import *
from llmspell_testing.suites import Programs, ScriptEngineSuite

Sound = PluginIndex().load("llmspell.engines", "lua")
LUA = Programs(
    returns_42="return 6 * 7",
    expression_42="6 * 7",
    returns_table='return {a = {1, 2}, b = "x"}',
    prints_two_lines='print("one")\\nprint("two")',
    remembers="remembered = 7",
    recalls="return remembered",
    fails_on_line_3='local a = 1\\nlocal b = 2\\nerror("went wrong")\\n',
    syntax_error="local a = = 1",
    endless='print("begun")\\nwhile true do end',
    endless_protected='print("begun")\\nwhile true do pcall(error) end',
    exits_3="os.exit(3)",
    returns_argument="return ARGS.name",
    incomplete="if x then",
    begins=("local x = tostr", "tostring"),
    begins_remembered=("print(rememb", "remembered"),
)


class State(ScriptState):
    """A sound state, to be spoilt."""

    def __init__(self, inner):
        self.inner = inner

    def submit(self, source, context, arguments=None):
        return self.inner.submit(source, context, arguments)

    def close(self):
        self.inner.close()

    def complete(self, code, cursor, *, patience=0.2):
        return self.inner.complete(code, cursor, patience=patience)

    def inspect(self, code, cursor, *, patience=0.2):
        return self.inner.inspect(code, cursor, patience=patience)


class Engine(Sound):
    """A sound engine with states of the class `state`."""

    state = State

    def open_state(self, *, output, input=None):
        return self.state(super().open_state(output=output, input=input))


class Suite(ScriptEngineSuite):
    faulty = Engine

    @pytest.fixture
    def services(self, tmp_path):
        made = Services(Config(home=str(tmp_path / "home")))
        yield made
        made.close()

    @pytest.fixture
    def engine(self, services):
        return self.faulty(services)

    @pytest.fixture
    def programs(self):
        return LUA

    @pytest.fixture
    def context(self, services):
        return ExecutionContext(services)


def mapped(future, change):
    """The future with another result or exception."""
    made = Future()

    def done(_):
        try:
            made.set_result(change(future.result()))
        except BaseException as error:
            made.set_exception(error)

    future.add_done_callback(done)
    return made
'''

FAULTS = {
    "none": "class TestIt(Suite):\n    pass\n",
    "it shares one state": """
class Faulty(Sound):
    one = None

    def open_state(self, *, output, input=None):
        self.one = self.one or super().open_state(output=output, input=input)
        return self.one
""",
    "it forgets between executions": """
class Faulty(Sound):
    def open_state(self, *, output, input=None):
        fresh = super().open_state

        class Fresh(State):
            def submit(self, source, context, arguments=None):
                self.inner.close()
                self.inner = fresh(output=output, input=input)
                return self.inner.submit(source, context, arguments)

        return Fresh(fresh(output=output, input=input))
""",
    "it turns numbers into text": """
class Faulty(Engine):
    class state(State):
        def submit(self, source, context, arguments=None):
            future = super().submit(source, context, arguments)
            return mapped(future, lambda result: replace(result, value=str(result.value)))
""",
    "it does not evaluate expressions": """
class Faulty(Engine):
    class state(State):
        def submit(self, source, context, arguments=None):
            return super().submit(replace(source, expression=False), context, arguments)
""",
    "it swallows output": """
class Faulty(Engine):
    def open_state(self, *, output, input=None):
        def last(stream, text):
            if "one" not in text:
                output(stream, text)
        return super().open_state(output=last, input=input)
""",
    "it hides the line of an error": """
class Faulty(Engine):
    class state(State):
        def submit(self, source, context, arguments=None):
            made = Future()

            def done(future):
                error = future.exception()
                if isinstance(error, ScriptError):
                    error = ScriptError(error.message, language="lua")
                made.set_exception(error) if error else made.set_result(future.result())

            super().submit(source, context, arguments).add_done_callback(done)
            return made
""",
    "it loses arguments": """
class Faulty(Engine):
    class state(State):
        def submit(self, source, context, arguments=None):
            return super().submit(source, context, None)
""",
    "it forgets exit codes": """
class Faulty(Engine):
    class state(State):
        def submit(self, source, context, arguments=None):
            future = super().submit(source, context, arguments)
            return mapped(future, lambda result: replace(result, exit_code=None))
""",
    "it knows no deadline": """
class Faulty(Engine):
    class state(State):
        def submit(self, source, context, arguments=None):
            longer = context.child(deadline=Deadline(3.0))
            made = mapped(super().submit(source, longer, arguments), lambda result: result)
            if context.deadline.at is None:
                return made
            late = Future()
            made.add_done_callback(
                lambda done: late.set_result(ScriptResult(None, 1.0))
            )
            return late
""",
    "it begins what was cancelled": """
class Faulty(Engine):
    class state(State):
        def submit(self, source, context, arguments=None):
            if context.cancel.reason is not None:
                context = context.child(cancel=CancelSignal())
            return super().submit(source, context, arguments)
""",
    "it calls everything finished": """
class Faulty(Sound):
    def is_complete(self, code):
        found = super().is_complete(code)
        return Completeness("complete") if found.status == "incomplete" else found
""",
    "it counts bytes": """
class Faulty(Sound):
    def complete(self, code, cursor):
        found = super().complete(code, cursor)
        more = len(code.encode()) - len(code)
        return replace(found, start=found.start + more, end=found.end + more)
""",
    "it offers what does not fit": """
class Faulty(Sound):
    def complete(self, code, cursor):
        found = super().complete(code, cursor)
        return replace(found, matches=(*found.matches, Completion("zebra", "variable")))
""",
    "it explains what it does not know": """
class Faulty(Sound):
    def inspect(self, code, cursor):
        return super().inspect(code, cursor) or Documentation(
            "x", "variable", ("x",), "", "x", "x", 0, 1
        )
""",
    "it looks into the wrong state": """
class Faulty(Engine):
    first = []

    class state(State):
        def __init__(self, inner):
            super().__init__(inner)
            Faulty.first.append(inner)

        def complete(self, code, cursor, *, patience=0.2):
            return Faulty.first[0].complete(code, cursor, patience=patience)

    @pytest.fixture(autouse=True)
    def forget(self):
        Faulty.first.clear()
""",
    "it runs what it completes": """
class Faulty(Engine):
    class state(State):
        def complete(self, code, cursor, *, patience=0.2):
            context = ExecutionContext(self.inner.services)
            self.inner.submit(Source(code[:cursor], "<inline>"), context).exception(10)
            return super().complete(code, cursor, patience=patience)
""",
    "it waits for a busy state": """
class Faulty(Engine):
    class state(State):
        def complete(self, code, cursor, *, patience=0.2):
            found = super().complete(code, cursor, patience=2)
            return found if found.live else replace(found, matches=())
""",
}

EXPECTED = {
    "it shares one state": "test_a_state_remembers_and_another_does_not",
    "it forgets between executions": "test_a_state_remembers_and_another_does_not",
    "it turns numbers into text": "test_a_script_returns_its_value",
    "it does not evaluate expressions": "test_a_bare_expression_is_evaluated_on_demand",
    "it swallows output": "test_output_goes_to_the_one_who_opened_the_state",
    "it hides the line of an error": "test_a_failing_script_says_where",
    "it loses arguments": "test_arguments_reach_the_script",
    "it forgets exit codes": "test_an_exit_is_a_result",
    "it knows no deadline": "test_a_deadline_ends_an_endless_script",
    "it begins what was cancelled": "test_a_cancelled_execution_does_not_begin",
    "it calls everything finished": "test_finished_code_is_told_from_unfinished",
    "it counts bytes": "test_what_is_typed_is_completed",
    "it offers what does not fit": "test_what_is_typed_is_completed",
    "it explains what it does not know": "test_a_name_is_explained_and_an_unknown_one_is_not",
    "it looks into the wrong state": "test_a_state_knows_what_exists_in_it",
    "it runs what it completes": "test_looking_into_a_state_runs_nothing",
    "it waits for a busy state": "test_a_busy_or_closed_state_answers_all_the_same",
}
"""Only the test that must notice a fault is run: several faults keep others from ending."""


@pytest.fixture(scope="module")
def failed(tmp_path_factory) -> dict[str, set[str]]:
    """The tests that failed, by fault: one pytest run over all faulty engines."""
    folder = tmp_path_factory.mktemp("engines")
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    names = {f"test_engine_{number}": fault for number, fault in enumerate(FAULTS)}
    wanted: list[str] = []
    for name, fault in names.items():
        text = FAULTS[fault]
        if "class TestIt" not in text:
            text += "\n\nclass TestIt(Suite):\n    faulty = Faulty\n"
        (folder / f"{name}.py").write_text(f"{HEAD}\n{text}")
        only = f"::{EXPECTED[fault]}" if fault in EXPECTED else ""
        wanted.append(f"{name}.py::TestIt{only}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "--tb=short", "-rfE", *wanted],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert not re.search("^ERROR", done.stdout, re.MULTILINE), done.stdout
    found: dict[str, set[str]] = {fault: set() for fault in FAULTS}
    for name, test in re.findall(r"^FAILED (\w+)\.py::TestIt::(\w+)", done.stdout, re.MULTILINE):
        found[names[name]].add(test)
    return found


def test_a_sound_engine_passes(failed: dict[str, set[str]]) -> None:
    assert failed["none"] == set()


@pytest.mark.parametrize("fault", EXPECTED)
def test_the_engine_suite_notices_when(failed: dict[str, set[str]], fault: str) -> None:
    assert failed[fault] == {EXPECTED[fault]}


def test_which_tests_of_the_suite_no_fault_proves_is_known() -> None:
    from llmspell_testing.suites import ScriptEngineSuite

    tests = {name for name in dir(ScriptEngineSuite) if name.startswith("test_")}
    unproved = tests - set(EXPECTED.values())
    # What no fault stands for: faults that would hang, or that a sound engine cannot have.
    assert unproved == {
        "test_it_names_its_language_and_its_files",
        "test_a_script_that_cannot_be_read_says_where",
        "test_executions_run_one_after_the_other",
        "test_cancelling_ends_an_endless_script",
        "test_closing_ends_what_runs",
        "test_a_cursor_outside_the_code_stands_at_its_end",
    }
