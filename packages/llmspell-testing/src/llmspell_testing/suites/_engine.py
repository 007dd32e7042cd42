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
    incomplete: str | None = None
    """Code that lacks its end; None for an engine that cannot tell."""
    begins: tuple[str, str] | None = None
    """Code that ends with the beginning of a name of the language or of a global, and that whole
    name; None for an engine that completes nothing."""
    begins_remembered: tuple[str, str] | None = None
    """The same for the variable that `remembers` sets; None for an engine whose states are not
    looked into."""


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

    # What editors, notebooks and prompts ask -----------------------------------------------------

    def test_finished_code_is_told_from_unfinished(
        self, engine: ScriptEngine, programs: Programs
    ) -> None:
        if programs.incomplete is None:
            assert engine.is_complete(programs.returns_42).status == "unknown"
            return
        asked = (
            programs.returns_42,
            programs.expression_42,
            programs.incomplete,
            programs.syntax_error,
        )
        assert [engine.is_complete(code).status for code in asked] == [
            "complete",
            "complete",
            "incomplete",
            "invalid",
        ]
        assert engine.is_complete(programs.incomplete).indent.strip() == ""

    def test_what_is_typed_is_completed(self, engine: ScriptEngine, programs: Programs) -> None:
        code, name = _begins(programs.begins)
        # An astral character before it is one code point.
        for before in ("", f'{programs.expression_42} == "𝄞"\n'):
            found = engine.complete(before + code, len(before + code))
            texts = [each.text for each in found.matches]
            assert name in texts
            assert len(set(texts)) == len(texts)
            typed = (before + code)[found.start : found.end]
            assert typed
            assert name.startswith(typed)
            assert all(text.startswith(typed) for text in texts)
            assert found.end == len(before + code)
            assert not found.live

    def test_a_cursor_outside_the_code_stands_at_its_end(
        self, engine: ScriptEngine, programs: Programs
    ) -> None:
        code, _ = _begins(programs.begins)
        assert engine.complete(code, len(code) + 100) == engine.complete(code, len(code))
        assert engine.complete(code, -1) == engine.complete(code, 0)
        assert engine.inspect(code, len(code) + 100) == engine.inspect(code, len(code))

    def test_a_name_is_explained_and_an_unknown_one_is_not(
        self, engine: ScriptEngine, programs: Programs
    ) -> None:
        _, name = _begins(programs.begins)
        found = engine.inspect(name, 1)
        assert found is not None
        assert found.signatures
        assert found.text
        assert found.markdown
        assert name[found.start : found.end]
        assert engine.inspect("nobody_knows_this_name", 3) is None

    def test_a_state_knows_what_exists_in_it(
        self,
        engine: ScriptEngine,
        state: ScriptState,
        programs: Programs,
        context: ExecutionContext,
    ) -> None:
        code, name = _begins(programs.begins_remembered)
        assert not state.complete(code, len(code), patience=PATIENCE).live
        run(state, programs.remembers, context)
        found = state.complete(code, len(code), patience=PATIENCE)
        assert found.live
        assert name in [each.text for each in found.matches]
        assert state.inspect(name, 1, patience=PATIENCE) is not None
        other = engine.open_state(output=Written())
        try:
            run(other, programs.returns_42, context)
            found = other.complete(code, len(code), patience=PATIENCE)
            assert name not in [each.text for each in found.matches]
        finally:
            other.close()

    def test_looking_into_a_state_runs_nothing(
        self,
        state: ScriptState,
        programs: Programs,
        context: ExecutionContext,
        output: Written,
    ) -> None:
        _begins(programs.begins_remembered)
        run(state, programs.returns_42, context)
        for code in (programs.prints_two_lines, programs.remembers):
            for cursor in range(len(code) + 1):
                state.complete(code, cursor, patience=PATIENCE)
                state.inspect(code, cursor, patience=PATIENCE)
        assert output.pieces == []
        assert run(state, programs.recalls, context).value is None

    def test_a_busy_or_closed_state_answers_all_the_same(
        self,
        engine: ScriptEngine,
        programs: Programs,
        context: ExecutionContext,
    ) -> None:
        code, name = _begins(programs.begins)
        output = Written()
        state = engine.open_state(output=output)
        cancel = CancelSignal()
        future = state.submit(Source(programs.endless, "<inline>"), context.child(cancel=cancel))
        output.wait_for("begun")
        found = state.complete(code, len(code), patience=0.05)
        assert not future.done()
        assert name in [each.text for each in found.matches]
        cancel.cancel("stop")
        with pytest.raises(ExecutionCancelled):
            future.result(PATIENCE)
        state.close()
        assert name in [each.text for each in state.complete(code, len(code)).matches]


def _begins(program: tuple[str, str] | None) -> tuple[str, str]:
    if program is None:
        pytest.skip("the engine does not complete")
    return program


def finish(future: Future[ScriptResult]) -> ScriptResult:
    """The result; a bounded wait."""
    return future.result(PATIENCE)


def run(
    state: ScriptState, text: str, context: ExecutionContext, *, name: str = "<inline>"
) -> ScriptResult:
    """Run *text* to its end."""
    return finish(state.submit(Source(text, name), context))
