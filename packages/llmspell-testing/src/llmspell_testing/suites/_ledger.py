"""What every `RunLedger` keeps."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from llmspell_core import (
    Effect,
    EffectClass,
    Intent,
    Outcome,
    RunLedger,
    RunRecord,
    RunStatus,
    ValidationError,
    canonical,
    digest,
)
from llmspell_testing.suites._samples import AWKWARD_TEXTS


def run_record(run_id: str, started_at: float = 100.0) -> RunRecord:
    """A run that begins."""
    return RunRecord(run_id, "script.lua", started_at, pid=os.getpid())


def intent(
    run_id: str,
    sequence: int,
    request: str = "{}",
    *,
    kind: str = "tool.call",
    effect_class: EffectClass = EffectClass.IDEMPOTENT,
) -> Intent:
    """An intent at the top of a run."""
    return Intent(run_id, sequence, "", kind, 0, digest(request), request, effect_class, 50.0)


def outcome(run_id: str, sequence: int, payload: str | None = "1", **fields: Any) -> Outcome:
    """A good outcome."""
    return Outcome(run_id, sequence, True, payload, 1.5, **fields)


class RunLedgerSuite:
    """Override `ledger`: a fresh, empty ledger. A persistent one also overrides `reopen`."""

    @pytest.fixture
    def ledger(self) -> RunLedger:
        """A fresh, empty ledger."""
        raise NotImplementedError("override the fixture 'ledger'")

    @pytest.fixture
    def reopen(self) -> Callable[[], RunLedger] | None:
        """Opens a second ledger on the place of `ledger`; None for one in memory."""
        return None

    def test_empty_ledger_knows_nothing(self, ledger: RunLedger) -> None:
        assert ledger.runs() == []
        assert ledger.run("nothing") is None
        assert list(ledger.effects("nothing")) == []
        assert ledger.prune(older_than=1e12, keep=0) == 0
        assert ledger.erase_payloads("nothing") == 0

    def test_a_run_begins_and_ends(self, ledger: RunLedger) -> None:
        ledger.open_run(run_record("r1"))
        assert ledger.run("r1") == run_record("r1")
        ledger.close_run("r1", RunStatus.FAILED, finished_at=200.0, error="it broke: ünïcode")
        assert ledger.run("r1") == RunRecord(
            "r1",
            "script.lua",
            100.0,
            RunStatus.FAILED,
            200.0,
            "it broke: ünïcode",
            os.getpid(),
        )

    def test_effects_come_back_as_they_were_written(self, ledger: RunLedger) -> None:
        ledger.open_run(run_record("r1"))
        first = Intent(
            "r1", 1, "/agent:a#0", "model.chat", 2, "h" * 32, '{"a":1}', EffectClass.PURE, 1.25
        )
        second = intent("r1", 2, effect_class=EffectClass.IRREVERSIBLE)
        settled = Outcome("r1", 1, False, '{"error":{}}', 12.5, 42, 0.25)
        ledger.append(first)
        ledger.append(second)
        ledger.settle(settled)
        assert list(ledger.effects("r1")) == [Effect(first, settled), Effect(second, None)]

    def test_every_effect_class_comes_back(self, ledger: RunLedger) -> None:
        ledger.open_run(run_record("r1"))
        for number, effect_class in enumerate(EffectClass, 1):
            ledger.append(intent("r1", number, effect_class=effect_class))
        assert [e.intent.effect_class for e in ledger.effects("r1")] == list(EffectClass)

    def test_note_writes_both(self, ledger: RunLedger) -> None:
        ledger.open_run(run_record("r1"))
        ledger.note(intent("r1", 1), outcome("r1", 1, "17"))
        assert list(ledger.effects("r1")) == [Effect(intent("r1", 1), outcome("r1", 1, "17"))]

    def test_effects_are_in_the_order_of_their_sequence(self, ledger: RunLedger) -> None:
        ledger.open_run(run_record("r1"))
        for sequence in (3, 1, 10, 2):
            ledger.append(intent("r1", sequence))
        for sequence in (2, 10, 3):
            ledger.settle(outcome("r1", sequence, str(sequence)))
        assert [
            (e.intent.sequence, e.outcome.payload if e.outcome else None)
            for e in ledger.effects("r1")
        ] == [(1, None), (2, "2"), (3, "3"), (10, "10")]

    def test_a_second_outcome_takes_the_place_of_the_first(self, ledger: RunLedger) -> None:
        ledger.open_run(run_record("r1"))
        ledger.append(intent("r1", 1))
        ledger.settle(Outcome("r1", 1, False, '{"error":1}', 1.0))
        ledger.settle(outcome("r1", 1, "2"))
        assert [e.outcome for e in ledger.effects("r1")] == [outcome("r1", 1, "2")]

    @pytest.mark.parametrize("text", AWKWARD_TEXTS, ids=range(len(AWKWARD_TEXTS)))
    def test_awkward_text_comes_back_unchanged(self, ledger: RunLedger, text: str) -> None:
        ledger.open_run(run_record("r1"))
        request = canonical({"text": text})
        ledger.append(intent("r1", 1, request))
        ledger.settle(outcome("r1", 1, canonical(text)))
        found = next(ledger.effects("r1"))
        assert found == Effect(intent("r1", 1, request), outcome("r1", 1, canonical(text)))

    def test_an_outcome_too_large_to_keep_has_no_payload(self, ledger: RunLedger) -> None:
        ledger.open_run(run_record("r1"))
        ledger.append(intent("r1", 1))
        ledger.settle(outcome("r1", 1, None))
        assert [e.outcome for e in ledger.effects("r1")] == [outcome("r1", 1, None)]

    def test_runs_do_not_mix(self, ledger: RunLedger) -> None:
        for run_id in ("r1", "r2"):
            ledger.open_run(run_record(run_id))
            ledger.append(intent(run_id, 1, canonical(run_id)))
        ledger.settle(outcome("r2", 1))
        assert list(ledger.effects("r1")) == [Effect(intent("r1", 1, '"r1"'), None)]
        assert list(ledger.effects("r2")) == [
            Effect(intent("r2", 1, '"r2"'), outcome("r2", 1)),
        ]

    def test_a_beginning_finds_a_run_when_it_is_unambiguous(self, ledger: RunLedger) -> None:
        for run_id in ("abc-1", "abd-2", "abc-11", "x%", "xyz"):
            ledger.open_run(run_record(run_id))

        def find(text: str) -> str | None:
            try:
                run = ledger.run(text)
            except ValidationError:
                return "ambiguous"
            return None if run is None else run.run_id

        texts = ("abd", "ab", "abc", "abc-1", "abc-11", "x%", "xy", "_bd", "%", "ABD")
        found = {text: find(text) for text in texts}
        for text in ("ab", "abc"):
            assert found.pop(text) in (None, "ambiguous")
        assert found == {
            "abd": "abd-2",
            "abc-1": "abc-1",
            "abc-11": "abc-11",
            "x%": "x%",
            "xy": "xyz",
            "_bd": None,
            "%": None,
            "ABD": None,
        }

    def test_runs_are_listed_newest_first(self, ledger: RunLedger) -> None:
        for run_id, started in (("b", 20.0), ("d", 40.0), ("a", 10.0), ("c", 30.0)):
            ledger.open_run(run_record(run_id, started))
        assert [run.run_id for run in ledger.runs()] == ["d", "c", "b", "a"]
        assert [run.run_id for run in ledger.runs(limit=2)] == ["d", "c"]
        assert ledger.runs(limit=0) == []

    def test_a_run_sums_up_its_effects(self, ledger: RunLedger) -> None:
        ledger.open_run(run_record("r1"))
        ledger.append(intent("r1", 1, kind="agent", effect_class=EffectClass.SPAN))
        for sequence, tokens, cost in ((2, 100, 0.5), (3, None, None), (4, 20, 0.25)):
            ledger.append(intent("r1", sequence))
            ledger.settle(outcome("r1", sequence, tokens=tokens, cost=cost))
        found = ledger.run("r1")
        assert found is not None
        assert (found.effects, found.tokens, found.cost) == (3, 120, pytest.approx(0.75))
        assert ledger.runs() == [found]

    def test_a_sum_with_an_unknown_price_in_it_is_unknown(self, ledger: RunLedger) -> None:
        ledger.open_run(run_record("r1"))
        for sequence, tokens, cost in ((1, 100, 0.5), (2, 20, None)):
            ledger.append(intent("r1", sequence))
            ledger.settle(outcome("r1", sequence, tokens=tokens, cost=cost))
        found = ledger.run("r1")
        assert found is not None
        assert (found.tokens, found.cost) == (120, None)

    def test_a_run_without_known_cost_has_none(self, ledger: RunLedger) -> None:
        ledger.open_run(run_record("r1"))
        ledger.note(intent("r1", 1), outcome("r1", 1))
        found = ledger.run("r1")
        assert found is not None
        assert (found.tokens, found.cost) == (0, None)

    def test_reopening_a_run_keeps_what_it_holds(self, ledger: RunLedger) -> None:
        ledger.open_run(run_record("r1"))
        ledger.note(intent("r1", 1), outcome("r1", 1))
        ledger.close_run("r1", RunStatus.FAILED, finished_at=200.0, error="broke")
        ledger.open_run(RunRecord("r1", "script.lua", 300.0, pid=4712))
        found = ledger.run("r1")
        assert found is not None
        assert (found.status, found.finished_at, found.error, found.pid) == (
            RunStatus.RUNNING,
            None,
            None,
            4712,
        )
        assert [e.intent.sequence for e in ledger.effects("r1")] == [1]
        assert len(ledger.runs()) == 1

    def test_prune_by_age_spares_running_and_young_runs(self, ledger: RunLedger) -> None:
        for run_id, started in (("old", 10.0), ("old-running", 11.0), ("edge", 50.0)):
            ledger.open_run(run_record(run_id, started))
            ledger.note(intent(run_id, 1), outcome(run_id, 1))
            if run_id != "old-running":
                ledger.close_run(run_id, RunStatus.COMPLETED, finished_at=60.0)
        assert ledger.prune(older_than=50.0) == 1
        assert [run.run_id for run in ledger.runs()] == ["edge", "old-running"]
        assert list(ledger.effects("old")) == []
        assert len(list(ledger.effects("edge"))) == 1

    def test_prune_keeps_the_newest(self, ledger: RunLedger) -> None:
        for number in range(5):
            ledger.open_run(run_record(f"r{number}", 10.0 + number))
            ledger.close_run(f"r{number}", RunStatus.COMPLETED, finished_at=60.0)
        assert ledger.prune(keep=5) == 0
        assert ledger.prune(keep=2) == 3
        assert [run.run_id for run in ledger.runs()] == ["r4", "r3"]
        assert ledger.prune() == 0
        assert ledger.prune(keep=0) == 2

    def test_erasing_payloads_leaves_the_rows(self, ledger: RunLedger) -> None:
        ledger.open_run(run_record("r1"))
        ledger.open_run(run_record("r2"))
        for run_id in ("r1", "r2"):
            ledger.note(intent(run_id, 1, '"private"'), outcome(run_id, 1, '"private"'))
            ledger.append(intent(run_id, 2, '"private too"'))
        assert ledger.erase_payloads("r1") > 0
        effects = list(ledger.effects("r1"))
        assert [e.intent.sequence for e in effects] == [1, 2]
        assert [e.intent.key for e in effects] == [
            intent("r1", 1, '"private"').key,
            intent("r1", 2, '"private too"').key,
        ]
        assert "private" not in repr(effects)
        assert effects[0].outcome == outcome("r1", 1, None)
        assert effects[1].outcome is None
        assert repr(list(ledger.effects("r2"))).count("private") == 3
        assert ledger.erase_payloads("r1") == 0

    def test_many_threads_write_one_run(self, ledger: RunLedger) -> None:
        ledger.open_run(run_record("r1"))
        failures: list[Exception] = []

        def write(first: int) -> None:
            try:
                for sequence in range(first, first + 50):
                    ledger.append(intent("r1", sequence))
                    ledger.settle(outcome("r1", sequence, str(sequence)))
            except Exception as error:
                failures.append(error)

        _together([lambda n=n: write(n * 50 + 1) for n in range(8)])
        assert failures == []
        assert [
            (e.intent.sequence, e.outcome.payload if e.outcome else None)
            for e in ledger.effects("r1")
        ] == [(n, str(n)) for n in range(1, 401)]

    def test_reading_while_writing_works(self, ledger: RunLedger) -> None:
        ledger.open_run(run_record("r1"))
        for sequence in range(1, 101):
            ledger.note(intent("r1", sequence), outcome("r1", sequence))
        seen: list[int] = []
        for effect in ledger.effects("r1"):
            seen.append(effect.intent.sequence)
            ledger.note(intent("r1", 1000 + len(seen)), outcome("r1", 1000 + len(seen)))
            if len(seen) == 150:
                break
        assert seen[:100] == list(range(1, 101))

    def test_what_was_written_is_there_when_opened_again(
        self, ledger: RunLedger, reopen: Callable[[], RunLedger] | None
    ) -> None:
        if reopen is None:
            pytest.skip("in memory")
        ledger.open_run(run_record("r1"))
        ledger.note(intent("r1", 1), outcome("r1", 1))
        ledger.append(intent("r1", 2))
        # The first one is not closed: what was acknowledged may not depend on that.
        second = reopen()
        try:
            found = second.run("r1")
            assert found is not None
            assert (found.status, found.pid) == (RunStatus.RUNNING, os.getpid())
            assert list(second.effects("r1")) == [
                Effect(intent("r1", 1), outcome("r1", 1)),
                Effect(intent("r1", 2), None),
            ]
            ledger.close()
            second.settle(outcome("r1", 2))
            second.close_run("r1", RunStatus.COMPLETED, finished_at=200.0)
            assert [e.outcome is not None for e in second.effects("r1")] == [True, True]
        finally:
            second.close()

    def test_two_processes_share_a_persistent_ledger(
        self, ledger: RunLedger, reopen: Callable[[], RunLedger] | None
    ) -> None:
        if reopen is None:
            pytest.skip("in memory")
        second = reopen()
        try:
            ledger.open_run(run_record("r1"))
            second.open_run(run_record("r2"))

            def write(where: RunLedger, run_id: str) -> None:
                for sequence in range(1, 101):
                    where.note(intent(run_id, sequence), outcome(run_id, sequence))

            _together([lambda: write(ledger, "r1"), lambda: write(second, "r2")])
            assert len(list(second.effects("r1"))) == 100
            assert len(list(ledger.effects("r2"))) == 100
        finally:
            second.close()


def _together(work: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
