"""What every `StorageBackend` keeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from llmspell_core import StorageBackend
from llmspell_testing.suites._samples import AWKWARD_BYTES, AWKWARD_KEYS


class StorageBackendSuite:
    """Override `backend`: a fresh, empty back end. A persistent one also overrides `reopen`."""

    @pytest.fixture
    def backend(self) -> StorageBackend:
        """A fresh, empty back end."""
        raise NotImplementedError("override the fixture 'backend'")

    @pytest.fixture
    def reopen(self) -> Callable[[], StorageBackend] | None:
        """Opens a second back end on the place of `backend`; None for one in memory."""
        return None

    @pytest.fixture
    def another(self) -> StorageBackend | None:
        """A back end opened elsewhere; None leaves out the test that the two share nothing."""
        return None

    async def test_unknown_key_is_none(self, backend: StorageBackend) -> None:
        assert await backend.get("nothing") is None
        assert await backend.exists("nothing") is False
        assert await backend.list_keys() == []

    async def test_every_key_keeps_its_own_value(self, backend: StorageBackend) -> None:
        for number, key in enumerate(AWKWARD_KEYS):
            await backend.set(key, str(number).encode())
        found = {key: await backend.get(key) for key in AWKWARD_KEYS}
        assert found == {key: str(n).encode() for n, key in enumerate(AWKWARD_KEYS)}
        assert await backend.list_keys() == sorted(AWKWARD_KEYS)

    @pytest.mark.parametrize("value", AWKWARD_BYTES, ids=lambda v: f"{len(v)}-bytes")
    async def test_values_come_back_byte_for_byte(
        self, backend: StorageBackend, value: bytes
    ) -> None:
        await backend.set("key", value)
        found = await backend.get("key")
        assert type(found) is bytes
        assert found == value
        assert [item async for item in backend.scan()] == [("key", value)]

    async def test_empty_value_is_not_absence(self, backend: StorageBackend) -> None:
        await backend.set("empty", b"")
        assert await backend.get("empty") == b""
        assert await backend.exists("empty") is True
        assert await backend.compare_and_swap("empty", None, b"new") is False
        assert await backend.compare_and_swap("empty", b"", b"new") is True

    async def test_overwriting_replaces(self, backend: StorageBackend) -> None:
        await backend.set("key", b"a long first value")
        await backend.set("key", b"2")
        assert await backend.get("key") == b"2"
        assert await backend.list_keys() == ["key"]

    async def test_deleting_removes_and_ignores_unknown_keys(self, backend: StorageBackend) -> None:
        await backend.set_batch({"a": b"1", "b": b"2"})
        await backend.delete("a")
        await backend.delete("never there")
        assert await backend.list_keys() == ["b"]

    async def test_one_write_puts_and_deletes_together(self, backend: StorageBackend) -> None:
        await backend.set_batch({"old": b"1", "kept": b"2"})
        assert await backend.write({"new": b"3", "kept": b"4"}, ("old", "unknown")) is True
        assert [item async for item in backend.scan()] == [("kept", b"4"), ("new", b"3")]

    async def test_empty_write_is_a_write(self, backend: StorageBackend) -> None:
        assert await backend.write({}) is True
        assert await backend.write({}, expect={"absent": None}) is True
        assert await backend.write({}, expect={"absent": b""}) is False

    async def test_a_failed_expectation_writes_nothing(self, backend: StorageBackend) -> None:
        await backend.set_batch({"a": b"1", "b": b"2"})
        for expect in (
            {"a": b"other"},
            {"a": None},
            {"absent": b"1"},
            {"a": b"1", "b": b"other"},
            {"a": b"other", "b": b"2"},
        ):
            done = await backend.write({"a": b"x", "c": b"x"}, ("b",), expect=expect)
            assert done is False, expect
        assert [item async for item in backend.scan()] == [("a", b"1"), ("b", b"2")]

    async def test_expectations_that_hold_let_the_write_through(
        self, backend: StorageBackend
    ) -> None:
        await backend.set_batch({"a": b"1", "b": b"2"})
        done = await backend.write(
            {"a": b"x", "c": b"y"}, ("b",), expect={"a": b"1", "b": b"2", "c": None}
        )
        assert done is True
        assert [item async for item in backend.scan()] == [("a", b"x"), ("c", b"y")]

    async def test_scan_is_in_the_order_of_code_points(self, backend: StorageBackend) -> None:
        keys = ["b", "a", "B", "aa", "a b", "é", "z", "\uffff", "\U00010000", "ß", "1", "10", "2"]
        await backend.set_batch({key: key.encode() for key in keys})
        assert [item async for item in backend.scan()] == [(k, k.encode()) for k in sorted(keys)]

    @pytest.mark.parametrize(
        "prefix", ["", "a", "A", "a%", "a_", "a[", "a*", "a\x00", "é", "\uffff", "\U0010ffff", "zz"]
    )
    async def test_scan_takes_the_prefix_literally(
        self, backend: StorageBackend, prefix: str
    ) -> None:
        stems = ("a", "A", "a%", "a_", "a[", "a*", "a\x00", "ab", "b", "é", "\uffff", "\U0010ffff")
        keys = [stem + end for stem in stems for end in ("", "1", "\U0010ffff")]
        await backend.set_batch(dict.fromkeys(keys, b""))
        wanted = sorted(key for key in keys if key.startswith(prefix))
        assert await backend.list_keys(prefix) == wanted

    async def test_scan_can_be_left_early(self, backend: StorageBackend) -> None:
        await backend.set_batch({f"{n:04}": b"x" for n in range(500)})
        async for key, _ in backend.scan():
            assert key == "0000"
            break
        await backend.set("after", b"y")
        assert await backend.get("after") == b"y"
        assert len(await backend.list_keys()) == 501

    async def test_scan_sees_once_what_stays_while_others_write(
        self, backend: StorageBackend
    ) -> None:
        await backend.set_batch({f"{n:04}": b"x" for n in range(300)})
        seen: list[str] = []
        async for key, _ in backend.scan():
            if len(seen) % 50 == 0:
                await backend.write({f"new-{len(seen)}": b"y"}, ("0299",))
            seen.append(key)
        stayed = [key for key in seen if not key.startswith("new-") and key != "0299"]
        assert stayed == [f"{n:04}" for n in range(299)]

    async def test_batches(self, backend: StorageBackend) -> None:
        await backend.set_batch({f"k{n}": str(n).encode() for n in range(200)})
        await backend.set_batch({})
        assert await backend.get_batch(["k7", "none", "k199"]) == {"k7": b"7", "k199": b"199"}
        assert await backend.get_batch([]) == {}
        await backend.delete_batch([f"k{n}" for n in range(0, 200, 2)] + ["none"])
        assert len(await backend.list_keys("k")) == 100

    async def test_stats_count_keys_and_bytes_of_values(self, backend: StorageBackend) -> None:
        empty = await backend.stats()
        await backend.set_batch({"a": b"12345", "b": b"", "ключ": b"123"})
        full = await backend.stats()
        assert (empty.keys, empty.size_bytes) == (0, 0)
        assert (full.keys, full.size_bytes) == (3, 8)

    async def test_clear_removes_everything_and_counts(self, backend: StorageBackend) -> None:
        await backend.set_batch(dict.fromkeys(AWKWARD_KEYS, b"x"))
        assert await backend.clear() == len(AWKWARD_KEYS)
        assert await backend.list_keys() == []
        assert await backend.clear() == 0

    async def test_compare_and_swap_inserts_replaces_and_deletes(
        self, backend: StorageBackend
    ) -> None:
        assert await backend.compare_and_swap("k", b"wrong", b"1") is False
        assert await backend.compare_and_swap("k", None, b"1") is True
        assert await backend.compare_and_swap("k", None, b"2") is False
        assert await backend.compare_and_swap("k", b"1", b"2") is True
        assert await backend.compare_and_swap("k", b"1", None) is False
        assert await backend.compare_and_swap("k", b"2", None) is True
        assert await backend.get("k") is None

    async def test_what_has_expired_is_as_if_it_were_deleted(self, backend: StorageBackend) -> None:
        now = time.time()
        await backend.set("lives", b"1", expires_at=now + 3600)
        await backend.write({"over": b"2", "over too": b"3"}, expires_at=now - 1)
        await backend.set("stays", b"4")
        assert await backend.get("over") is None
        assert await backend.exists("over") is False
        assert await backend.get_batch(["lives", "over"]) == {"lives": b"1"}
        assert await backend.list_keys() == ["lives", "stays"]
        assert [item async for item in backend.scan()] == [("lives", b"1"), ("stays", b"4")]
        assert (await backend.stats()).keys == 2
        assert await backend.expiries() == {"lives": now + 3600}
        assert await backend.compare_and_swap("over", b"2", b"5") is False
        assert await backend.compare_and_swap("over", None, b"5") is True
        assert await backend.get("over") == b"5"
        assert await backend.update("over too", lambda old: b"was absent" * (old is None)) == (
            b"was absent"
        )
        assert await backend.clear() == 4

    async def test_overwriting_sets_and_lifts_the_end(self, backend: StorageBackend) -> None:
        now = time.time()
        await backend.set("k", b"1", expires_at=now - 1)
        await backend.set("k", b"2")
        assert await backend.get("k") == b"2"
        await backend.write({"k": b"3"}, expires_at=now - 1)
        assert await backend.get("k") is None
        await backend.write({"k": b"4", "other": b"5"}, ("k",), expires_at=now + 3600)
        assert await backend.get("other") == b"5"
        assert await backend.expiries() == {"k": now + 3600, "other": now + 3600}

    async def test_of_many_swaps_from_one_value_one_wins(self, backend: StorageBackend) -> None:
        await backend.set("k", b"start")
        won = await asyncio.gather(
            *(backend.compare_and_swap("k", b"start", str(n).encode()) for n in range(40))
        )
        assert won.count(True) == 1
        assert await backend.get("k") == str(won.index(True)).encode()

    async def test_concurrent_updates_lose_nothing(self, backend: StorageBackend) -> None:
        await asyncio.gather(*(backend.update("n", _plus_one) for _ in range(60)))
        assert await backend.get("n") == b"60"

    async def test_update_may_delete_or_fail(self, backend: StorageBackend) -> None:
        await backend.set("k", b"1")

        def fail(_: bytes | None) -> bytes:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await backend.update("k", fail)
        assert await backend.get("k") == b"1"
        assert await backend.update("k", lambda _: None) is None
        assert await backend.exists("k") is False

    async def test_concurrent_writes_do_not_mix(self, backend: StorageBackend) -> None:
        keys = [f"k{n}" for n in range(20)]
        await asyncio.gather(
            *(backend.write(dict.fromkeys(keys, str(n).encode())) for n in range(20))
        )
        assert len(set((await backend.get_batch(keys)).values())) == 1

    @pytest.mark.parametrize("turns", [0, 1, 2, 5])
    async def test_a_cancelled_write_is_complete_or_absent(
        self, backend: StorageBackend, turns: int
    ) -> None:
        task = asyncio.ensure_future(backend.write({f"k{n}": b"x" for n in range(300)}))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await backend.write({"after": b"y"}) is True
        assert len(await backend.list_keys("k")) in {0, 300}
        assert await backend.get("after") == b"y"

    async def test_another_instance_elsewhere_shares_nothing(
        self, backend: StorageBackend, another: StorageBackend | None
    ) -> None:
        if another is None:
            pytest.skip("no second back end given")
        try:
            await backend.set("k", b"1")
            assert await another.get("k") is None
            await another.clear()
            assert await backend.get("k") == b"1"
        finally:
            await another.aclose()

    async def test_what_was_written_is_there_when_opened_again(
        self, backend: StorageBackend, reopen: Callable[[], StorageBackend] | None
    ) -> None:
        if reopen is None:
            assert backend.persistent is False, "a persistent back end overrides 'reopen'"
            pytest.skip("in memory")
        assert backend.persistent is True
        await backend.set_batch({key: key.encode() for key in AWKWARD_KEYS})
        await backend.delete("plain")
        wanted = [(key, key.encode()) for key in sorted(AWKWARD_KEYS) if key != "plain"]
        second = reopen()
        try:
            assert [item async for item in second.scan()] == wanted
            await backend.aclose()
            assert [item async for item in second.scan()] == wanted
        finally:
            await second.aclose()

    async def test_two_on_one_place_lose_nothing(
        self, backend: StorageBackend, reopen: Callable[[], StorageBackend] | None
    ) -> None:
        if reopen is None:
            pytest.skip("in memory")
        second = reopen()
        try:
            work: list[Awaitable[bytes | None]] = []
            for _ in range(25):
                work += [backend.update("n", _plus_one), second.update("n", _plus_one)]
            await asyncio.gather(*work)
            assert await backend.get("n") == b"50"
            assert await second.get("n") == b"50"
        finally:
            await second.aclose()


def _plus_one(old: bytes | None) -> bytes:
    return str(int(old or b"0") + 1).encode()
