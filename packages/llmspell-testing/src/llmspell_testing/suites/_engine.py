"""What every `ScriptEngine` keeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import pytest

from llmspell_core import (
    CancelSignal,
    Deadline,
    ExecutionCancelled,
    ExecutionContext,
    LLMSpellError,
    LLMTimeoutError,
    ScriptArguments,
    ScriptEngine,
    ScriptError,
    ScriptResult,
    ScriptState,
    Source,
)
from llmspell_testing._worlds import make_context

PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Programs:
    """The same small programs in the engine's language."""

    returns_42: str
    expression_42: str
    """A bare expression with the value 42."""
    returns_table: str
    """Returns ``{"a": [1, 2], "b": "x"}``."""
    prints_two_lines: str
    """Prints ``one`` and ``two``, a line each."""
    remembers: str
    """Sets a variable of the state to 7."""
    recalls: str
    """Returns that variable, or its language's nothing."""
    fails_on_line_3: str
    """Raises ``went wrong`` on its third line."""
    syntax_error: str
    endless: str
    """Prints ``begun``, then loops for ever without calling anything."""
    endless_protected: str
    """The same, but inside whatever catches errors, again and again."""
    exits_3: str
    """Ends the program with exit code 3."""
    returns_argument: str
    """Returns the option ``name`` it was called with."""


class Written:
    """What a state wrote: ``(stream, text)``; its reader may wait for a text."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, str]] = []
        self._changed = threading.Condition()

    def __call__(self, stream: str, text: str) -> None:
        """Take a piece; this is the `Output` of a state."""
        with self._changed:
            self.pieces.append((stream, text))
            self._changed.notify_all()

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(text for _, text in self.pieces)

    def wait_for(self, text: str) -> None:
        """Wait until *text* was written."""
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.text, PATIENCE), self.pieces


class ScriptEngineSuite:
    """Override `engine` and `programs`; `context` where the engine needs services."""

    @pytest.fixture
    def engine(self) -> ScriptEngine:
        """The engine."""
        raise NotImplementedError("override the fixture 'engine'")

    @pytest.fixture
    def programs(self) -> Programs:
        """The programs."""
        raise NotImplementedError("override the fixture 'programs'")

    @pytest.fixture
    def context(self) -> ExecutionContext:
        """The context of the executions."""
        return make_context()

    @pytest.fixture
    def output(self) -> Written:
        """What the state wrote."""
        return Written()

    @pytest.fixture
    def state(self, engine: ScriptEngine, output: Written) -> Iterator[ScriptState]:
        """A fresh state."""
        made = engine.open_state(output=output)
        yield made
        made.close()

    def test_it_names_its_language_and_its_files(self, engine: ScriptEngine) -> None:
        assert engine.language
        assert engine.suffixes
        assert all(suffix.startswith(".") for suffix in engine.suffixes)

    def test_a_script_returns_its_value(
        self, state: ScriptState, programs: Programs, context: ExecutionContext
    ) -> None:
        result = run(state, programs.returns_42, context)
        assert (result.value, result.exit_code) == (42, None)
        assert result.duration_ms >= 0
        assert run(state, programs.returns_table, context).value == {"a": [1, 2], "b": "x"}

    def test_a_bare_expression_is_evaluated_on_demand(
        self, state: ScriptState, programs: Programs, context: ExecutionContext
    ) -> None:
        source = Source(programs.expression_42, "<inline>", expression=True)
        assert finish(state.submit(source, context)).value == 42

    def test_output_goes_to_the_one_who_opened_the_state(
        self,
        state: ScriptState,
        programs: Programs,
        context: ExecutionContext,
        output: Written,
    ) -> None:
        run(state, programs.prints_two_lines, context)
        assert {stream for stream, _ in output.pieces} == {"stdout"}
        assert output.text.splitlines() == ["one", "two"]

    def test_a_state_remembers_and_another_does_not(
        self,
        engine: ScriptEngine,
        state: ScriptState,
        programs: Programs,
        context: ExecutionContext,
    ) -> None:
        run(state, programs.remembers, context)
        assert run(state, programs.recalls, context).value == 7
        other = engine.open_state(output=lambda stream, text: None)
        try:
            assert run(other, programs.recalls, context).value is None
        finally:
            other.close()

    def test_a_failing_script_says_where(
        self, state: ScriptState, programs: Programs, context: ExecutionContext
    ) -> None:
        with pytest.raises(ScriptError, match="went wrong") as caught:
            run(state, programs.fails_on_line_3, context, name="broken")
        assert caught.value.line == 3
        assert caught.value.traceback
        assert "broken" in str(caught.value) + caught.value.traceback
        assert run(state, programs.returns_42, context).value == 42

    def test_a_script_that_cannot_be_read_says_where(
        self, state: ScriptState, programs: Programs, context: ExecutionContext
    ) -> None:
        with pytest.raises(ScriptError) as caught:
            run(state, programs.syntax_error, context)
        assert caught.value.line is not None
        assert run(state, programs.returns_42, context).value == 42

    def test_executions_run_one_after_the_other(
        self, state: ScriptState, programs: Programs, context: ExecutionContext
    ) -> None:
        source = Source(programs.remembers, "<inline>")
        futures = [state.submit(source, context) for _ in range(20)]
        last = state.submit(Source(programs.recalls, "<inline>"), context)
        assert finish(last).value == 7
        assert all(future.done() for future in futures)

    def test_arguments_reach_the_script(
        self, state: ScriptState, programs: Programs, context: ExecutionContext
    ) -> None:
        arguments = ScriptArguments("x", ("one",), {"name": "Ada ünïcode"})
        future = state.submit(Source(programs.returns_argument, "x"), context, arguments)
        assert finish(future).value == "Ada ünïcode"

    def test_an_exit_is_a_result(
        self, state: ScriptState, programs: Programs, context: ExecutionContext
    ) -> None:
        assert run(state, programs.exits_3, context).exit_code == 3

    @pytest.mark.parametrize("program", ["endless", "endless_protected"])
    def test_cancelling_ends_an_endless_script(
        self,
        state: ScriptState,
        programs: Programs,
        context: ExecutionContext,
        output: Written,
        program: str,
    ) -> None:
        cancel = CancelSignal()
        inner = context.child(cancel=cancel)
        future = state.submit(Source(getattr(programs, program), "<inline>"), inner)
        output.wait_for("begun")
        cancelled_at = time.monotonic()
        cancel.cancel("stop")
        with pytest.raises(ExecutionCancelled):
            future.result(PATIENCE)
        assert time.monotonic() - cancelled_at < 5
        assert run(state, programs.returns_42, context).value == 42

    def test_a_deadline_ends_an_endless_script(
        self, state: ScriptState, programs: Programs, context: ExecutionContext
    ) -> None:
        inner = context.child(deadline=Deadline(0.2))
        future = state.submit(Source(programs.endless, "<inline>"), inner)
        with pytest.raises(LLMTimeoutError):
            future.result(PATIENCE)
        assert run(state, programs.returns_42, context).value == 42

    def test_a_cancelled_execution_does_not_begin(
        self,
        state: ScriptState,
        programs: Programs,
        context: ExecutionContext,
        output: Written,
    ) -> None:
        cancel = CancelSignal()
        cancel.cancel("stop")
        with pytest.raises(ExecutionCancelled):
            run(state, programs.prints_two_lines, context.child(cancel=cancel))
        assert output.pieces == []

    def test_closing_ends_what_runs(
        self, engine: ScriptEngine, programs: Programs, context: ExecutionContext
    ) -> None:
        output = Written()
        state = engine.open_state(output=output)
        future = state.submit(Source(programs.endless, "<inline>"), context)
        output.wait_for("begun")
        closing = threading.Thread(target=state.close)
        closing.start()
        closing.join(PATIENCE)
        assert not closing.is_alive()
        with pytest.raises((ExecutionCancelled, LLMSpellError)):
            future.result(PATIENCE)
        state.close()


def finish(future: Future[ScriptResult]) -> ScriptResult:
    """The result; a bounded wait."""
    return future.result(PATIENCE)


def run(
    state: ScriptState, text: str, context: ExecutionContext, *, name: str = "<inline>"
) -> ScriptResult:
    """Run *text* to its end."""
    return finish(state.submit(Source(text, name), context))
