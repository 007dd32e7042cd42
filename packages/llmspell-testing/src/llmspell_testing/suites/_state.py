"""What every `StateStore` keeps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmspell_core import ExecutionContext, LLMSpellError, RunStatus, StateStore, ValidationError
from llmspell_testing._stores import LedgerDouble
from llmspell_testing._worlds import make_context, recording_context, replaying_context
from llmspell_testing.suites._samples import AWKWARD_JSON


class StateStoreSuite:
    """Override `state`: a fresh, empty store."""

    @pytest.fixture
    def state(self) -> StateStore:
        """A fresh, empty store."""
        raise NotImplementedError("override the fixture 'state'")

    @pytest.fixture
    def context(self) -> ExecutionContext:
        """The context of the calls."""
        return make_context()

    async def test_unknown_key_is_none(self, state: StateStore, context: ExecutionContext) -> None:
        assert await state.get("global", "nothing", context) is None
        assert await state.list("global", context) == []
        assert await state.all("global", context) == {}
        assert await state.scopes(context) == []
        assert await state.delete("global", "nothing", context) is False

    @pytest.mark.parametrize("value", AWKWARD_JSON, ids=lambda v: repr(v)[:20])
    async def test_json_values_come_back_as_they_were(
        self, state: StateStore, context: ExecutionContext, value: Any
    ) -> None:
        await state.set("global", "key", value, context)
        found = await state.get("global", "key", context)
        assert found == value
        assert type(found) is type(value)

    async def test_none_deletes(self, state: StateStore, context: ExecutionContext) -> None:
        await state.set("global", "key", 1, context)
        await state.set("global", "key", None, context)
        assert await state.list("global", context) == []
        assert await state.scopes(context) == []

    async def test_a_stored_value_is_not_shared(
        self, state: StateStore, context: ExecutionContext
    ) -> None:
        value: dict[str, Any] = {"list": [1]}
        await state.set("global", "key", value, context)
        value["list"].append(2)
        found = await state.get("global", "key", context)
        assert found == {"list": [1]}
        found["list"].append(3)
        assert await state.get("global", "key", context) == {"list": [1]}

    async def test_scopes_are_apart(self, state: StateStore, context: ExecutionContext) -> None:
        scopes = ["global", "session:1", "session:11", "workflow:w:step", "agent:a b", "user:ü"]
        for number, scope in enumerate(scopes):
            await state.set(scope, "key", number, context)
        found = [await state.get(scope, "key", context) for scope in scopes]
        assert found == list(range(len(scopes)))
        assert await state.scopes(context) == sorted(scopes)
        assert await state.clear("session:1", context) == 1
        assert await state.get("session:11", "key", context) == 2

    async def test_keys_are_apart(self, state: StateStore, context: ExecutionContext) -> None:
        keys = ["a", "A", "a:b", "a/b", "a.b", "a b", "100%", "a_b", "ключ", "\U0001f511", "'q\""]
        await state.set_many("global", {key: key for key in keys}, context)
        assert await state.list("global", context) == sorted(keys)
        assert await state.all("global", context) == {key: key for key in keys}

    async def test_list_by_prefix(self, state: StateStore, context: ExecutionContext) -> None:
        await state.set_many("global", dict.fromkeys(["a%1", "ab", "b", "a%2", "A"], 1), context)
        assert await state.list("global", context, prefix="a%") == ["a%1", "a%2"]
        assert await state.list("global", context, prefix="a") == ["a%1", "a%2", "ab"]
        assert await state.list("global", context, prefix="zz") == []

    @pytest.mark.parametrize("key", ["", "nul\x00", "line\nbreak", "\x7f", "k" * 5000])
    async def test_keys_that_cannot_be_are_refused(
        self, state: StateStore, context: ExecutionContext, key: str
    ) -> None:
        with pytest.raises(ValidationError):
            await state.set("global", key, 1, context)
        with pytest.raises(ValidationError):
            await state.set_many("global", {"good": 1, key: 2}, context)
        assert await state.list("global", context) == []

    async def test_set_many_is_all_or_nothing(
        self, state: StateStore, context: ExecutionContext
    ) -> None:
        await state.set("global", "a", "old", context)
        with pytest.raises(LLMSpellError):
            await state.set_many("global", {"a": "new", "b": object()}, context)
        assert await state.all("global", context) == {"a": "old"}

    async def test_delete_and_clear_tell_what_they_did(
        self, state: StateStore, context: ExecutionContext
    ) -> None:
        await state.set_many("global", {"a": 1, "b": 2, "c": 3}, context)
        assert await state.delete("global", "a", context) is True
        assert await state.delete("global", "a", context) is False
        assert await state.clear("global", context) == 2
        assert await state.clear("global", context) == 0

    async def test_tenants_never_see_each_other(
        self, state: StateStore, context: ExecutionContext
    ) -> None:
        acme = make_context(context.services, tenant="acme")
        other = make_context(context.services, tenant="other")
        for owner in (context, acme, other):
            await state.set("global", "key", owner.tenant or "nobody", owner)
        assert [await state.get("global", "key", c) for c in (context, acme, other)] == [
            "nobody",
            "acme",
            "other",
        ]
        await state.set("private", "key", 1, acme)
        assert await state.scopes(other) == ["global"]
        assert await state.clear("global", acme) == 1
        assert await state.get("global", "key", other) == "other"

    async def test_concurrent_increments_lose_nothing(
        self, state: StateStore, context: ExecutionContext
    ) -> None:
        sums = await asyncio.gather(
            *(state.increment("global", "n", 1, context) for _ in range(50))
        )
        assert sorted(sums) == list(range(1, 51))
        assert await state.increment("global", "n", -0.5, context) == pytest.approx(49.5)
        assert await state.get("global", "n", context) == pytest.approx(49.5)

    async def test_concurrent_appends_lose_nothing(
        self, state: StateStore, context: ExecutionContext
    ) -> None:
        lengths = await asyncio.gather(
            *(state.append("global", "l", {"n": n}, context) for n in range(50))
        )
        assert sorted(lengths) == list(range(1, 51))
        found = await state.get("global", "l", context)
        assert sorted(item["n"] for item in found) == list(range(50))

    async def test_what_is_no_number_or_list_is_left_alone(
        self, state: StateStore, context: ExecutionContext
    ) -> None:
        await state.set("global", "text", "hello", context)
        with pytest.raises(LLMSpellError):
            await state.increment("global", "text", 1, context)
        with pytest.raises(LLMSpellError):
            await state.append("global", "text", 1, context)
        assert await state.get("global", "text", context) == "hello"

    async def test_compare_and_swap_compares_as_json(
        self, state: StateStore, context: ExecutionContext
    ) -> None:
        first = {"b": [1, 2], "a": 1}
        assert await state.compare_and_swap("global", "k", {"x": 1}, first, context) is False
        assert await state.compare_and_swap("global", "k", None, first, context) is True
        assert await state.compare_and_swap("global", "k", None, 2, context) is False
        same = {"a": 1, "b": [1, 2]}
        assert await state.compare_and_swap("global", "k", same, 2, context) is True
        assert await state.compare_and_swap("global", "k", 2, None, context) is True
        assert await state.list("global", context) == []

    async def test_of_many_swaps_from_one_value_one_wins(
        self, state: StateStore, context: ExecutionContext
    ) -> None:
        won = await asyncio.gather(
            *(state.compare_and_swap("global", "k", None, n + 1, context) for n in range(30))
        )
        assert won.count(True) == 1
        assert await state.get("global", "k", context) == won.index(True) + 1

    async def test_a_replay_gives_the_recorded_values_and_writes_nothing(
        self, state: StateStore, context: ExecutionContext
    ) -> None:
        async def work(inside: ExecutionContext) -> list[Any]:
            before = await state.get("global", "key", inside)
            await state.set("global", "key", {"n": 1}, inside)
            total = await state.increment("global", "count", 2, inside)
            length = await state.append("global", "list", "x", inside)
            await state.set("global", "gone", 1, inside)
            gone = await state.delete("global", "gone", inside)
            swapped = await state.compare_and_swap("global", "key", {"n": 1}, {"n": 2}, inside)
            return [
                before,
                total,
                length,
                gone,
                swapped,
                await state.get("global", "key", inside),
                await state.list("global", inside),
                await state.all("global", inside),
                await state.scopes(inside),
            ]

        ledger = LedgerDouble()
        first = await work(recording_context(ledger, context.services))
        ledger.close_run("run", RunStatus.COMPLETED, finished_at=1.0)
        await state.clear("global", context)
        await state.set("global", "key", "changed since", context)
        second = await work(replaying_context(ledger, context.services))
        assert second == first
        assert await state.all("global", context) == {"key": "changed since"}
