"""State: JSON under scoped keys, recorded, shared, atomic."""

import asyncio
import math
import os
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_testkit import BACKENDS, MemoryBackend, make_kernel_services
from llmspell_core import (
    ConfigurationError,
    EffectClass,
    ExecutionCancelled,
    ExecutionContext,
    Recording,
    ReplayError,
    Replaying,
    ResourceLimitError,
    Resuming,
    RunRecord,
    Services,
    StateUsage,
    StorageError,
    Tenancy,
    ValidationError,
)
from llmspell_kernel import MemoryLedger, StateService
from llmspell_testing.suites import StateStoreSuite


@pytest.fixture
def state(services):
    return services.state


@pytest.fixture
def context(services):
    return ExecutionContext(services)


async def test_values_come_back_as_they_were(state, context):
    values = {
        "text": "grüße \U0001f600",
        "int": 2**60,
        "float": 2.0,
        "list": [1, [], {}, None, "x"],
        "deep": {"a": {"b": [{"c": False}]}},
        "bytes": b"\xff\x00",
        "marked": {"$bytes": "QUJD"},
    }
    for key, value in values.items():
        await state.set("global", key, value, context)
    assert await state.all("global", context) == values
    assert isinstance(await state.get("global", "float", context), float)
    assert await state.get("global", "nothing", context) is None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]))
            | st.sampled_from(["$bytes", "$float"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values.filter(lambda value: value is not None))
def test_every_json_value_comes_back(value):
    async def check():
        services = make_kernel_services("/nowhere", {"runtime": MEMORY})
        context = ExecutionContext(services)
        await services.state.set("global", "k", value, context)
        found = await services.state.get("global", "k", context)
        assert found == value
        assert type(found) is type(value)
        await services.aclose()

    asyncio.run(check())


MEMORY = {"state_persistence": {"backend_type": "memory"}}


async def test_infinities_come_back(state, context):
    await state.set("global", "k", [math.inf, -math.inf, math.nan], context)
    found = await state.get("global", "k", context)
    assert found[:2] == [math.inf, -math.inf]
    assert math.isnan(found[2])


async def test_none_deletes(state, context):
    await state.set("global", "k", 1, context)
    await state.set("global", "k", None, context)
    assert await state.list("global", context) == []
    await state.set_many("global", {"a": 1, "b": 2}, context)
    await state.set_many("global", {"a": None, "c": 3}, context)
    assert await state.all("global", context) == {"b": 2, "c": 3}


async def test_the_key_space_is_flat(state, context):
    await state.set("workflow", "pipeline:status", "ok", context)
    await state.set("workflow:pipeline", "other", 1, context)
    assert await state.get("workflow:pipeline", "status", context) == "ok"
    assert await state.list("workflow", context) == ["pipeline:other", "pipeline:status"]
    assert await state.list("workflow:pipeline:", context) == ["other", "status"]
    assert await state.list("workflow", context, prefix="pipeline:s") == ["pipeline:status"]
    assert await state.list("workflow:pipe", context) == []


async def test_scope_names_compare_without_case_and_ids_with_it(state, context):
    await state.set("User:Ada", "k", 1, context)
    assert await state.get("USER:Ada", "k", context) == 1
    assert await state.get("user:ada", "k", context) is None
    await state.set("MyOwn", "k", 2, context)
    assert await state.get("myown", "k", context) == 2


async def test_keys_are_one_whatever_their_composition(state, context):
    await state.set("global", "e\u0301", 1, context)
    assert await state.get("global", "\u00e9", context) == 1
    assert await state.list("global", context) == ["\u00e9"]


async def test_scopes_and_usage_say_what_is_there(state, context):
    assert await state.scopes(context) == []
    assert await state.usage(context) == StateUsage(0, 0, {})
    for scope, key in (
        ("global", "a:b"),
        ("global", "c"),
        ("workflow:w1", "s1"),
        ("workflow", "w1:s2"),
        ("custom", "x"),
        ("mine", "a:b"),
    ):
        await state.set(scope, key, "1234", context)
    assert await state.scopes(context) == ["custom", "global", "mine", "workflow:w1"]
    used = await state.usage(context)
    assert used.scopes == {"custom": 1, "global": 2, "mine": 1, "workflow:w1": 2}
    assert used.entries == 6
    assert 6 * len('"1234"') < used.size_bytes < 6 * 100


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "key is empty"),
        ("x" * 257, "key is longer than 256 characters"),
        ("a/../b", "looks like a path"),
        ("a\\b", "looks like a path"),
        ("a//b", "looks like a path"),
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        ("a\rb", "control character"),
        ("a\x85b", "control character"),
        ("__x", "reserved"),
        ("$$x", "reserved"),
        ("\ud800", "not valid Unicode"),
    ],
)
async def test_bad_keys_and_scopes_are_refused(state, context, key, words):
    for use in (
        state.get("global", key, context),
        state.set("global", key, 1, context),
        state.set_many("global", {key: 1}, context),
        state.delete("global", key, context),
        state.increment("global", key, 1, context),
        state.append("global", key, 1, context),
        state.compare_and_swap("global", key, None, 1, context),
    ):
        with pytest.raises(ValidationError, match=r"Invalid format: ") as e:
            await use
        assert words in e.value.message
        assert e.value.field == "key"
    for use in (state.list(key, context), state.all(key, context), state.clear(key, context)):
        with pytest.raises(ValidationError, match=r"Invalid format: "):
            await use


async def test_scope_and_key_together_have_a_limit_and_types(state, context):
    with pytest.raises(ValidationError, match="longer than 512"):
        await state.get("s" * 256, "k" * 256, context)
    await state.set("s" * 255, "k" * 256, 1, context)
    for scope, key in ((1, "k"), ("global", 1), ("global", None), (None, "k")):
        with pytest.raises(TypeError, match="must be str"):
            await state.get(scope, key, context)
    with pytest.raises(ValidationError, match="scope is empty"):
        await state.list(":", context)


async def test_what_is_no_json_is_refused_before_anything_is_written(state, context):
    circle = []
    circle.append(circle)
    deep = value = []
    for _ in range(100_000):
        value.append([])
        value = value[0]
    for bad, words in (
        (object(), "cannot be kept as JSON"),
        ({"k": lambda: 1}, "cannot be kept as JSON"),
        (circle, "nested too deeply, or holds itself"),
        (deep, "nested too deeply"),
        ("\ud800", "cannot be kept as JSON"),
    ):
        for use in (
            state.set("global", "k", bad, context),
            state.append("global", "k", bad, context),
            state.compare_and_swap("global", "k", None, bad, context),
        ):
            with pytest.raises(ValidationError, match=words):
                await use
    while deep:
        deep = deep.pop()
    assert await state.scopes(context) == []


async def test_a_value_has_a_largest_size(home):
    limit = {"runtime": {"state_persistence": {"max_state_size_bytes": 1000}}}
    services = make_kernel_services(home, limit)
    context = ExecutionContext(services)
    with pytest.raises(ResourceLimitError, match="state value 'global:k' limit of 1000") as e:
        await services.state.set("global", "k", "x" * 1000, context)
    assert e.value.limit == 1000
    await services.state.set("global", "k", "x" * 500, context)
    await services.state.append("global", "l", "x" * 500, context)
    with pytest.raises(ResourceLimitError):
        await services.state.append("global", "l", "x" * 500, context)
    assert await services.state.get("global", "l", context) == ["x" * 500]
    await services.aclose()


async def test_delete_and_clear_say_what_was_there(state, context):
    await state.set_many("global", {"a": 1, "b": 2}, context)
    await state.set("user:1", "a", 3, context)
    await state.set("user:12", "a", 4, context)
    assert await state.delete("global", "a", context) is True
    assert await state.delete("global", "a", context) is False
    assert await state.clear("user:1", context) == 1
    assert await state.clear("user:1", context) == 0
    assert await state.scopes(context) == ["global", "user:12"]


async def test_increment_adds_and_keeps_integers_integers(state, context):
    assert await state.increment("global", "n", 1, context) == 1
    assert await state.increment("global", "n", 41, context) == 42
    assert isinstance(await state.get("global", "n", context), int)
    assert await state.increment("global", "n", -0.5, context) == 41.5
    for bad in ("text", True, [1], {}):
        await state.set("global", "k", bad, context)
        with pytest.raises(ValidationError, match=r"State key 'global:k' holds .* cannot be incr"):
            await state.increment("global", "k", 1, context)
        assert await state.get("global", "k", context) == bad
    for amount in ("1", True, None):
        with pytest.raises(TypeError, match="amount must be a number"):
            await state.increment("global", "n", amount, context)


async def test_append_grows_a_list(state, context):
    assert await state.append("global", "l", {"a": 1}, context) == 1
    assert await state.append("global", "l", None, context) == 2
    assert await state.get("global", "l", context) == [{"a": 1}, None]
    await state.set("global", "empty table", {}, context)
    assert await state.append("global", "empty table", 1, context) == 1
    for bad in ("text", 3, {"a": 1}, False):
        await state.set("global", "k", bad, context)
        with pytest.raises(ValidationError, match="not a list to append to"):
            await state.append("global", "k", 1, context)


async def test_compare_and_swap_compares_as_json(state, context):
    cas = state.compare_and_swap
    assert await cas("global", "k", 1, 2, context) is False
    assert await cas("global", "k", None, {"a": [1, (2,)]}, context) is True
    assert await cas("global", "k", None, 0, context) is False
    assert await cas("global", "k", {"a": [1.0, [2]]}, 1, context) is True
    assert await cas("global", "k", True, 2, context) is False
    assert await cas("global", "k", 1.0, [], context) is True
    assert await cas("global", "k", [1], 2, context) is False
    assert await cas("global", "k", {}, 2, context) is False
    assert await cas("global", "k", [], None, context) is True
    assert await state.get("global", "k", context) is None


async def test_many_coroutines_lose_no_change(state, context):
    async def work(number):
        await state.increment("global", "n", 1, context)
        await state.append("global", "l", number, context)

    await asyncio.gather(*(work(number) for number in range(50)))
    assert await state.get("global", "n", context) == 50
    assert sorted(await state.get("global", "l", context)) == list(range(50))


async def test_a_key_that_is_never_left_alone_is_an_error_not_an_endless_loop(services, context):
    class Busy(MemoryBackend):
        async def write(self, puts, deletes=(), *, expect=None):
            return False

    services.state._root = Busy()
    with pytest.raises(StorageError, match="State write error: too many others"):
        await services.state.increment("global", "n", 1, context)


# -- back ends -----------------------------------------------------------------------------------


async def test_state_lies_in_the_data_directory_and_outlives_the_services(home):
    for expected in (None, 1):
        services = make_kernel_services(home)
        context = ExecutionContext(services)
        assert await services.state.get("global", "k", context) == expected
        await services.state.set("global", "k", 1, context)
        await services.aclose()
    assert f"{home}/state.db" in BACKENDS


@pytest.mark.parametrize("name", ["sled", "file", "sqlite", "SQLite"])
async def test_every_name_of_the_embedded_store_means_it(home, tmp_path, name):
    settings = {"backend_type": name, "schema_directory": str(tmp_path / name)}
    services = make_kernel_services(home, {"runtime": {"state_persistence": settings}})
    await services.state.set("global", "k", 1, ExecutionContext(services))
    assert f"{tmp_path}/{name}/state.db" in BACKENDS
    assert f"{home}/state.db" not in BACKENDS
    await services.aclose()


@pytest.mark.parametrize("settings", [{"backend_type": "memory"}, {"enabled": False}])
async def test_memory_is_honoured(home, settings):
    for _ in range(2):
        services = make_kernel_services(home, {"runtime": {"state_persistence": settings}})
        context = ExecutionContext(services)
        assert await services.state.get("global", "k", context) is None
        await services.state.set("global", "k", 1, context)
        assert await services.state.get("global", "k", context) == 1
        await services.aclose()


async def test_a_back_end_that_is_not_installed_is_named(home):
    settings = {"runtime": {"state_persistence": {"backend_type": "redis"}}}
    services = make_kernel_services(home, settings)
    with pytest.raises(ConfigurationError, match="state back end 'redis' is not installed") as e:
        await services.state.get("global", "k", ExecutionContext(services))
    assert "file, memory, sled, sqlite" in e.value.hint


async def test_closing_closes_the_back_end_once_opened(home):
    services = make_kernel_services(home)
    state = services.state
    await state.get("global", "k", ExecutionContext(services))
    root = state._root
    await services.aclose()
    assert root.closed
    untouched = StateService(make_kernel_services(home))
    await untouched.aclose()


class ByPrefix(Tenancy):
    def current(self):
        return None

    def storage(self, backend, tenant):
        return MemoryBackend(backend.values.setdefault(f"of {tenant}", {}))

    def namespace(self, namespace, tenant):
        return namespace


async def test_a_tenant_sees_its_own_state_only(services):
    services.provide("tenancy", ByPrefix())
    one, two, nobody = (
        ExecutionContext(services, tenant=tenant) for tenant in ("t-one", "t-two", None)
    )
    await services.state.set("global", "k", 1, one)
    await services.state.increment("global", "k", 5, two)
    assert await services.state.get("global", "k", one) == 1
    assert await services.state.all("global", two) == {"k": 5}
    assert await services.state.get("global", "k", nobody) is None


async def test_failures_of_the_back_end_say_what_was_tried(services, context):
    class Failing(MemoryBackend):
        async def get(self, key):
            raise StorageError("disk gone", operation="read", hint="Look.", code="X")

        async def write(self, puts, deletes=(), *, expect=None):
            raise StorageError("disk full", operation="write", details={"path": "/p"})

    services.state._root = Failing()
    with pytest.raises(StorageError, match="Storage error: State read error: disk gone") as e:
        await services.state.get("global", "k", context)
    assert (e.value.operation, e.value.hint, e.value.code) == ("read", "Look.", "X")
    with pytest.raises(StorageError, match="State write error: disk full") as e:
        await services.state.set("global", "k", 1, context)
    assert e.value.details == {"path": "/p"}
    assert e.value.is_retryable()


@pytest.mark.parametrize("raw", [b"\xff", b"{", b"[]", b"{}"])
async def test_a_damaged_value_names_its_key(services, context, raw):
    services.state._root = MemoryBackend({"state:global:k": raw})
    for use in (
        services.state.get("global", "k", context),
        services.state.all("global", context),
    ):
        with pytest.raises(StorageError, match="the value of 'global:k' is damaged"):
            await use


# -- recording, replay, resume -------------------------------------------------------------------


@pytest.fixture
def ledger():
    made = MemoryLedger()
    made.open_run(RunRecord("run", "s", 1.0, pid=os.getpid()))
    return made


async def use_all(state, context):
    await state.set("global", "a", {"x": 1}, context)
    return [
        await state.get("global", "a", context),
        await state.increment("global", "n", 2, context),
        await state.append("global", "l", "v", context),
        await state.compare_and_swap("global", "a", {"x": 1}, {"x": 2}, context),
        await state.all("global", context),
        await state.list("global", context),
        await state.scopes(context),
        (await state.usage(context)).entries,
        await state.delete("global", "a", context),
        await state.clear("global", context),
    ]


async def test_a_replay_reads_and_writes_nothing(services, ledger):
    recorded = await use_all(
        services.state, ExecutionContext(services, effects=Recording(ledger, "run"))
    )
    kinds = [(e.intent.kind, e.intent.effect_class) for e in ledger.effects("run")]
    read, write = ("state.read", EffectClass.PURE), ("state.write", EffectClass.RECONCILABLE)
    assert kinds == [
        ("state.write", EffectClass.IDEMPOTENT),
        *[read, write, write, write, read, read, read, read, write, write],
    ]
    backend = MemoryBackend()
    services.state._root = backend
    policy = Replaying(ledger, "run")
    again = await use_all(services.state, ExecutionContext(services, effects=policy))
    assert again == recorded
    assert (backend.calls, policy.unused()) == (0, [])


async def test_a_replay_that_writes_something_else_is_stopped(services, ledger):
    context = ExecutionContext(services, effects=Recording(ledger, "run"))
    await services.state.set("global", "k", {"a": 1}, context)
    context = ExecutionContext(services, effects=Replaying(ledger, "run"))
    with pytest.raises(ReplayError, match=r"value\.a: recorded 1, now 2"):
        await services.state.set("global", "k", {"a": 2}, context)


class DiesAfterWriting(MemoryBackend):
    """As if the process had been killed when the write was done and the outcome not yet kept."""

    async def write(self, puts, deletes=(), *, expect=None):
        await super().write(puts, deletes, expect=expect)
        raise ExecutionCancelled("killed")


async def test_a_change_that_happened_before_a_crash_is_not_made_again(services, ledger):
    values = {}
    services.state._root = MemoryBackend(values)
    context = ExecutionContext(services, effects=Recording(ledger, "run"))
    await services.state.set_many("global", {"n": 1, "l": [1], "c": 1, "d": 1}, context)
    await services.state.set("own", "x", 1, context)
    calls = {
        "increment": lambda s, c: s.increment("global", "n", 1, c),
        "append": lambda s, c: s.append("global", "l", 2, c),
        "cas": lambda s, c: s.compare_and_swap("global", "c", 1, 2, c),
        "delete": lambda s, c: s.delete("global", "d", c),
        "clear": lambda s, c: s.clear("own", c),
    }
    for call in calls.values():
        services.state._root = DiesAfterWriting(values)
        with pytest.raises(ExecutionCancelled):
            await call(services.state, context)
    await services.state.aclose()
    services = make_kernel_services("/nowhere")
    services.state._root = MemoryBackend(values)
    context = ExecutionContext(services, effects=Resuming(ledger, "run"))
    # Somebody else was there in between; that is no reason to do it again.
    await services.state.increment("global", "n", 10, ExecutionContext(services))
    await services.state.set_many("global", {"n": 1, "l": [1], "c": 1, "d": 1}, context)
    await services.state.set("own", "x", 1, context)
    answers = {name: await call(services.state, context) for name, call in calls.items()}
    assert answers == {"increment": 2, "append": 2, "cas": True, "delete": True, "clear": 1}
    assert await services.state.all("global", ExecutionContext(services)) == {
        "n": 12,
        "l": [1, 2],
        "c": 2,
    }
    await services.state.aclose()
    assert [key for key in values if key.startswith("once:")] == []


async def test_a_change_that_did_not_happen_is_made_on_resume(services, ledger):
    class Dies(MemoryBackend):
        async def write(self, puts, deletes=(), *, expect=None):
            raise ExecutionCancelled("killed")

    services.state._root = Dies()
    with pytest.raises(ExecutionCancelled):
        await services.state.increment(
            "global", "n", 1, ExecutionContext(services, effects=Recording(ledger, "run"))
        )
    services.state._root = MemoryBackend()
    context = ExecutionContext(services, effects=Resuming(ledger, "run"))
    assert await services.state.increment("global", "n", 1, context) == 1


async def test_notes_of_changes_do_not_pile_up(services, ledger):
    values = {}
    services.state._root = MemoryBackend(values)
    context = ExecutionContext(services, effects=Recording(ledger, "run"))
    for _ in range(20):
        await services.state.increment("global", "n", 1, context)
        assert sum(key.startswith("once:") for key in values) == 1
    await asyncio.gather(
        *(services.state.increment("global", f"p{n}", 1, context) for n in range(20))
    )
    await services.state.aclose()
    assert [key for key in values if not key.startswith("state:")] == []


async def test_without_recording_no_notes_are_written(services, context):
    values = {}
    services.state._root = MemoryBackend(values)
    await services.state.increment("global", "n", 1, context)
    assert list(values) == ["state:global:n"]


# -- the installed store -------------------------------------------------------------------------


async def test_the_installed_store_keeps_state_and_creates_nothing_before_a_write(tmp_path):
    services = Services({"x": 1})
    services.config._home = str(tmp_path / "home")
    context = ExecutionContext(services)
    assert await services.state.get("global", "k", context) is None
    assert await services.state.scopes(context) == []
    assert await services.state.delete("global", "k", context) is False
    assert list(tmp_path.iterdir()) == []
    await services.state.set("workflow:w", "s", [1], context)
    await services.aclose()
    assert (tmp_path / "home" / "state.db").exists()
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    again = Services({"x": 1})
    again.config._home = str(tmp_path / "home")
    assert await again.state.all("workflow", ExecutionContext(again)) == {"w:s": [1]}
    await again.aclose()
    connection = sqlite3.connect(tmp_path / "home" / "state.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


class TestStateService(StateStoreSuite):
    @pytest.fixture
    def state(self, services):
        services.provide("tenancy", ByPrefix())
        return services.state

    @pytest.fixture
    def context(self, services):
        return ExecutionContext(services)

    async def test_scopes_are_apart(self, state, context):
        # The key space is flat: a scope is listed by its word and its id, what follows is key.
        scopes = ["agent:a b", "global", "session:1", "session:11", "user:ü", "workflow:w:step"]
        for number, scope in enumerate(scopes):
            await state.set(scope, "key", number, context)
        found = [await state.get(scope, "key", context) for scope in scopes]
        assert found == list(range(len(scopes)))
        assert await state.scopes(context) == [*scopes[:-1], "workflow:w"]
        assert await state.clear("session:1", context) == 1
        assert await state.get("session:11", "key", context) == 3
